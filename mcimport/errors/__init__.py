"""Every error of the program, named by what its catcher does next.

    McimportError
    ├── ConfigError                    stop before any request; exit 2
    ├── BusyError                      another process holds the client: skip, or exit 4
    ├── WorkersBusyError               workers may have pages of the client: let them, or wait; exit 1
    ├── StateError                     the state file cannot be used; exit 1
    ├── MachineError                   this machine gives no more files, memory or threads, or lost a module; exit 1
    ├── UnforeseenError                a mistake of ours, in one client's work; exit 1
    ├── InterruptedRunError            a signal asked us to leave; the rest stays pending
    └── ServiceError                   one of the two services, or the way to it
        ├── RetriableError             try again, a few times
        │   ├── ThrottledError         slow down and try again, without counting it as a failure
        │   ├── ServiceTimeoutError    ask for less at once
        │   ├── UnreachableError       nobody listens there: asking for less would not help
        │   └── IgnoredParameterError  the answer is to another question: nothing of it may be believed
        ├── RejectedError              these records will never be taken: find the one and set it aside
        ├── NotFoundError              what was asked for is not there
        └── FatalError                 trying again cannot mend it: end the run

Messages never hold an address, a name, a key or the text of a server's answer beyond its status and
title. `hint` is the next thing to type or look at, for the person in front of the screen.
"""

from __future__ import annotations


class McimportError(Exception):
    """`str(error)` is one or two lines for a person; `hint` says what to do next and may be empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(McimportError):
    """The settings, or what was typed, cannot be used. Where it took a request to see that, nothing more was pushed."""


class BusyError(McimportError):
    """Another process works on the same client."""


class WorkersBusyError(McimportError):
    """Pages of the client may be in the hands of workers whom this process cannot ask."""


class StateError(McimportError):
    """The state file is missing, damaged, read-only, full, or no database of ours."""


class MachineError(McimportError):
    """A fault of the machine, or of what is installed on it: no member's, and no service's."""


class UnforeseenError(McimportError):
    """A mistake of ours, named by its type and place: its words may hold a person."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            hint="Please report this, with the output of `mcimport --version`. Nothing is lost: the next run resumes.",
        )


class InterruptedRunError(McimportError):
    """SIGTERM or Ctrl-C: what is not recorded yet stays pending."""


class ServiceError(McimportError):
    """Mailchimp or Ometria did not do what was asked. `status` is the HTTP status, 0 where none came."""

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class RetriableError(ServiceError):
    """May well work the next time. `retry_after` is in seconds, None where the server named no time."""

    def __init__(self, message: str, *, hint: str = "", status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint, status=status)
        self.retry_after = retry_after


class ThrottledError(RetriableError):
    """Too many requests or connections, or a full queue: the account is busy, nothing is broken."""


class ServiceTimeoutError(RetriableError):
    """A time-out or a 504: the same question for fewer members may be answered."""


class UnreachableError(RetriableError):
    """The connection was refused, or the name does not resolve: every other question would fail alike."""


class IgnoredParameterError(RetriableError):
    """The server left out a part of the question (a filter, the order): what it sent is not what it seems."""


class RejectedError(ServiceError):
    """Ometria refuses this batch as it stands (400 or 413)."""


class NotFoundError(ServiceError):
    """404: no such list or member, as far as the server knows at this moment."""


class FatalError(ServiceError):
    """A refusal that no further try can mend: a wrong key, a list that is not there, a right that is missing."""


class UnknownListError(FatalError):
    """Mailchimp knows no list of this id under this key."""


class ServiceDownError(ServiceError):
    """So much failed in a row, with nothing delivered in between, that the service, or the way to it, must be down."""
