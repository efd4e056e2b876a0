"""Every error of mcimport, named so that its catcher knows what to do next.

    McimportError
    ├── ConfigError                    stop before any request; exit 2
    ├── BusyError                      another process has the client's lock: skip the client, or exit 4
    ├── WorkersBusyError               workers may still process pages of the client: wait for them; exit 1
    ├── StateError                     the state file cannot be used; exit 1
    ├── MachineError                   this machine gives no more files, memory or threads, or lost a module; exit 1
    ├── UnforeseenError                a mistake of mcimport, in the work for one client; exit 1
    ├── InterruptedRunError            a signal or a failure stopped the run; the rest stays pending
    └── ServiceError                   Mailchimp, Ometria, or the way to it
        ├── RetriableError             try again, a few times
        │   ├── ThrottledError         slow down and try again, without counting it as a failure
        │   ├── ServiceTimeoutError    request less at once, or try again
        │   ├── UnreachableError       there is no connection: to request less would not help
        │   └── IgnoredParameterError  the server ignored a parameter: do not believe the response
        ├── RejectedError              a record in the batch is refused for good: find it and write a dead letter
        ├── NotFoundError              what was requested does not exist
        ├── FatalError                 another try changes nothing: end the run
        │   └── UnknownListError       Mailchimp has no such list for this key
        └── ServiceDownError           too much failed in a row: end the run, and let the next one resume it

Messages never hold an address, a name, a key, or of a server's response more than its status and title. `hint` names
the next command to type, or what to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class McimportError(Exception):
    """Says in one or two lines what went wrong, and in `hint`, which may be empty, what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(McimportError):
    """The settings, or what was typed, cannot be used. If only a response showed that, nothing was pushed after it."""


class BusyError(McimportError):
    """Another process is running for the same client."""


class WorkersBusyError(McimportError):
    """Celery workers that this process cannot ask may still be processing pages of the client."""


class StateError(McimportError):
    """The state file is missing, damaged, read-only, full, or not one of mcimport's."""


class MachineError(McimportError):
    """The machine, or what is installed on it, failed: neither a member nor a service is the cause."""


class UnforeseenError(McimportError):
    """A mistake of mcimport, named by its type and place, for its own words may hold personal data."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            hint="Please report this, with the output of `mcimport --version`. Nothing is lost: the next run resumes.",
        )


class InterruptedRunError(McimportError):
    """The stop signal was set, by SIGTERM or Ctrl-C, say: what is not recorded yet stays pending."""


class ServiceError(McimportError):
    """Mailchimp or Ometria did not do what was requested. `status`: of HTTP; 0 where no response came."""

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class RetriableError(ServiceError):
    """Another try may succeed. `retry_after`: seconds that the server asks to wait; None where it names none."""

    def __init__(self, message: str, *, hint: str = "", status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint, status=status)
        self.retry_after = retry_after


class ThrottledError(RetriableError):
    """Too many requests or connections, or a full queue: the account is busy, and nothing is wrong."""


class ServiceTimeoutError(RetriableError):
    """A time-out or a 504: a request for fewer members may succeed."""


class UnreachableError(RetriableError):
    """The connection was refused, or the name does not resolve: every other request would fail as well."""


class IgnoredParameterError(RetriableError):
    """The server ignored a parameter (a filter, the order): its response is not what it seems to be."""


class RejectedError(ServiceError):
    """Ometria refuses this batch as it stands (400 or 413)."""


class NotFoundError(ServiceError):
    """404: there is no such list or member, as far as the server knows at this moment."""


class FatalError(ServiceError):
    """A refusal that no other try can change: a wrong key, a list that does not exist, a right that is missing."""


class UnknownListError(FatalError):
    """Mailchimp has no list of this id for this key."""


class ServiceDownError(ServiceError):
    """So much failed in a row, with nothing pushed in between, that the service, or the way to it, must be down."""


@contextmanager
def names_client(client: str) -> Iterator[None]:
    """Puts the client in front of the message of a service's error, which does not say whose key failed."""
    try:
        yield
    except ServiceError as error:
        error.args = (f"{client}: {error}",)
        raise
