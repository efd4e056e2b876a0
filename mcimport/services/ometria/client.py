"""The Ometria client: pushes one batch of contacts, and checks the key.

Source of the facts: Ometria's Data API v2 documentation and its users' reports. A push answers 202 with how many
records were accepted and rejected, never which.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from mcimport.errors import (
    FatalError,
    McimportError,
    NotFoundError,
    RejectedError,
    RetriableError,
    ServiceError,
    UnreachableError,
)
from mcimport.services.http.rate_limit import Permit
from mcimport.services.http.response import UNDECODABLE, Response
from mcimport.services.http.retry import call_with_retry
from mcimport.services.http.service_requests import RateLimitedRequests

HINTS = 5
MOST_PUSHES = 32  # on the wire at once: eight a second at four seconds an answer
LONGEST_NUMBER = 12  # digits of a header; a longer one is ignored
LONGEST_HINT = 100  # characters of a path, and of a message
_PATH = re.compile(r"@?\w+(?: *[>.] *(?:@?\w+|\[\d+\]))*")  # names of fields
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"
_PERHAPS_PERSONAL = re.compile(rf"[{_QUOTES}].*?(?:[{_QUOTES}]|$)|\S*[@\d]\S*")


class _Receipt(msgspec.Struct):
    """Decodes the answer to a push. `accepted` means received and authenticated: validation follows later, unseen."""

    accepted: int
    rejected: int = 0


class _ErrorHint(msgspec.Struct):
    error_message: str = ""
    error_path: str = ""


class _Collected(msgspec.Struct):
    collection: str = msgspec.field(name="@collection", default="")


_RECEIPT = msgspec.json.Decoder(_Receipt)  # all before any thread begins: see `mailchimp.responses`
_HINTS = msgspec.json.Decoder(list[_ErrorHint])
_COLLECTED = msgspec.json.Decoder(list[_Collected])
_ANYTHING = msgspec.json.Decoder()


@dataclass(eq=False, repr=False)
class OmetriaClient(RateLimitedRequests):
    """Pushes to one account, for one client. Safe to share between threads.

    Attributes:
        batch: records a push, at most 100.
        has_accepted: the account accepted a whole batch. So a record that is refused is refused for what it holds.
        threads: in which the batches of its senders are sent.
        perhaps_accepted: pushes of which Ometria may have accepted a record: it said so, did not say that it refused
            all of them, or has not answered yet.
    """

    batch: int = 100
    has_accepted: bool = field(default=False, init=False)
    _perhaps_accepted: int = field(default=0, init=False)
    _unanswered: int = field(default=0, init=False)  # pushes on the wire
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(MOST_PUSHES + 1, thread_name_prefix="push"), init=False
    )

    def close(self) -> None:
        super().close()
        self.threads.shutdown(wait=False)

    @property
    def perhaps_accepted(self) -> int:
        with self._lock:
            return self._perhaps_accepted + self._unanswered

    def push_batch(
        self,
        records: Sequence[bytes],
        permit: Permit | None,
        *,
        account_known_good: bool,
        tried: Callable[[bool], None] = lambda _: None,
        is_once: bool = False,
    ) -> str:
        """Sends encoded contacts as one batch, with retries; returns why Ometria refuses it or a part of it.

        The reason is empty where it accepted all. The decode slot is released.

        Args:
            records: at most `batch`.
            permit: for the first try; None: it waits for one, as every further try does.
            account_known_good: see `BatchSender`.
            tried: is called after every try that does not end the run, with whether Ometria may have taken records of
                which it is not known: no answer came, or it took a part.
            is_once: without a second try.

        Raises RetriableError after all tries, FatalError for a key that is not accepted, or a 404 of an account that is
        not known to accept records, and InterruptedRunError.
        """
        body, permits = b"[" + b",".join(records) + b"]", [permit] if permit else []

        def attempt() -> int:
            try:
                rejected = self._attempt(permits.pop() if permits else self.permit(), body, len(records))
            except NotFoundError as error:
                if not (account_known_good or self.has_accepted):
                    raise FatalError(
                        f"{error}: nothing can be pushed to this address",
                        hint=f"Does {self.http.setting} end in /v2?",
                        status=error.status,
                    ) from None
                tried(not is_refusal(error))
                raise RetriableError(f"{error}, in the middle of a run", status=error.status) from None
            except (RetriableError, RejectedError) as error:
                tried(not is_refusal(error))
                raise
            tried(0 < rejected < len(records))
            return rejected

        try:
            rejected = call_with_retry(self.policy.no_retry() if is_once else self.policy, attempt)
        except RejectedError as error:
            return str(error)
        finally:
            for unused in permits:
                unused.sent()
        self.has_accepted |= not rejected
        return "Ometria rejected the record" if rejected else ""

    def check_key(self) -> float | None:
        """Returns how many seconds this machine's clock is ahead of Ometria's; None where the answer has no date.

        It reads, and stores nothing. Raises FatalError for a key that is not accepted.
        """

        def ask() -> Response:
            answer = self._get("push/_errors")
            answer.decode(_ANYTHING, "Ometria's response was not understood")  # a proxy's page of HTML, say
            return answer

        try:
            answer = call_with_retry(self.policy, ask)
        except NotFoundError:
            raise self.http.not_there("push/_errors", "/v2") from None
        return None if answer.date is None else time.time() - answer.date

    def collections_seen(self) -> set[str]:
        """Returns the collections of the oldest 250 contacts: others may exist, too."""
        answer = call_with_retry(self.policy.no_retry(), lambda: self._get("contacts", {"limit": "250"}))
        with suppress(*UNDECODABLE):
            return {contact.collection for contact in _COLLECTED.decode(answer.body)}
        return set()

    def latest_errors(self) -> list[str]:
        """Returns up to five of the account's latest validation errors (fact ometria-errors), as "path: message".

        Quoted text, and words with a digit or an @, are left out: they may be a contact's name, number or address.
        """
        answer = call_with_retry(self.policy.no_retry(), lambda: self._get("push/_errors"))
        with suppress(*UNDECODABLE):
            return [_impersonal(hint) for hint in _HINTS.decode(answer.body)[:HINTS]]
        return []

    def _attempt(self, permit: Permit, body: bytes, size: int) -> int:
        """Sends a batch once and returns how many of its `size` records were rejected."""
        with self._lock:
            self._unanswered += 1
        is_perhaps_accepted = True
        try:
            answer = self._send_with(permit, "POST", "push", body=body)
            self.limiter.served(_room(answer))
            rejected = _rejected(answer, size)
            is_perhaps_accepted = rejected < size
        except McimportError as error:
            is_perhaps_accepted = not is_refusal(error)
            raise
        finally:
            with self._lock:
                self._unanswered -= 1
                self._perhaps_accepted += is_perhaps_accepted
        return rejected

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> Response:
        return self._send("GET", path, params=params)


def is_refusal(error: McimportError) -> bool:
    """Returns whether it is certain that Ometria accepted nothing. (A 408 may come of a slow answer, too.)"""
    if isinstance(error, UnreachableError):
        return True
    return isinstance(error, ServiceError) and error.status // 100 == 4 and error.status != 408  # noqa: PLR2004 - statuses


def _impersonal(hint: _ErrorHint) -> str:
    path, message = (
        "".join(letter if letter.isprintable() else " " for letter in text[:LONGEST_HINT])
        for text in (hint.error_path, hint.error_message)
    )
    where = path if _PATH.fullmatch(path) else "…"
    return f"{where}: {_PERHAPS_PERSONAL.sub('…', message)}"


def _room(answer: Response) -> int | None:
    """Returns how many records fit into the account's queue (fact ometria-queue); None where it does not say so."""
    text = answer.headers.get("x-queuesize-remaining", "")
    return int(text) if text.isdecimal() and len(text) < LONGEST_NUMBER else None


def _rejected(answer: Response, size: int) -> int:
    """Returns how many records were rejected.

    Raises RetriableError where the answer is no receipt for `size` records: they are sent again.
    """
    receipt = answer.decode(_RECEIPT, "Ometria's response to the push was not understood")
    if receipt.accepted + receipt.rejected != size:
        raise RetriableError("Ometria's response to the push does not add up to the records sent", status=answer.status)
    return receipt.rejected
