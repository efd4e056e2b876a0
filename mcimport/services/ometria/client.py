"""Ometria: push batches of contacts, and read back.

Source of the facts: Ometria's Data API v2 documentation and its users' reports. A push answers 202 with how many
records were accepted and rejected, never which; that is found by halving.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from mcimport.errors import (
    FatalError,
    McimportError,
    NotFoundError,
    RejectedError,
    RetriableError,
    ServiceDownError,
    ServiceError,
    UnreachableError,
)
from mcimport.services.http import decode_slot
from mcimport.services.http.response import UNDECODABLE, Response
from mcimport.services.http.retry import call_with_retry
from mcimport.services.http.service_requests import RateLimitedRequests

HINTS = 5
LONGEST_NUMBER = 12  # digits of a header; a longer one is ignored
LONGEST_HINT = 100  # characters of a path, and of a message
_PATH = re.compile(r"@?\w+(?: *[>.] *(?:@?\w+|\[\d+\]))*")  # names of fields
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"
_PERHAPS_PERSONAL = re.compile(rf"[{_QUOTES}].*?(?:[{_QUOTES}]|$)|\S*[@\d]\S*")
IN_VAIN = 20  # records in two batches or more, of which none was accepted, after which they are not the reason
ALL_REFUSED = 100  # records refused one by one, and none ever accepted, after which they are not the reason


@dataclass(frozen=True, slots=True)
class Pushed:
    """Holds the result of a push, as positions in the records that were handed over.

    Attributes:
        taken: records that Ometria accepted.
        refused: records that it refused, each with a reason.
        error: why the others could not be sent, after all tries; None when there are no others.
    """

    taken: tuple[int, ...]
    refused: tuple[tuple[int, str], ...]
    error: RetriableError | None = None


@dataclass(slots=True)
class _PushProgress:
    """What became of the records of one push so far, by position. `account_known_good`: see `OmetriaClient.push`."""

    records: Sequence[bytes]
    account_known_good: bool
    taken: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)


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
        perhaps_accepted: requests of this client that Ometria may have accepted a record of: it said so, or did not say
            that it refused all of them. It only grows.
    """

    batch: int = 100
    perhaps_accepted: int = field(default=0, init=False)
    # A batch, whole: so a record that is refused is refused for what it holds.
    _has_accepted: bool = field(default=False, init=False)
    # Batches in a row of which no record was accepted, and their records.
    _in_vain: tuple[int, int] = field(default=(0, 0), init=False)

    def push(self, records: Sequence[bytes], *, account_known_good: bool = False) -> Pushed:
        """Upserts encoded contacts, a batch at a time, each when the limiter permits it.

        A refused batch is halved until the record is found. `account_known_good`: an earlier run is on record in which
        the account accepted records. Only where neither that nor this process knows of any is a refusal of everything,
        or a 404, taken for a wrong setting.

        Raises FatalError for a key that is not accepted, or when Ometria refuses whatever it is sent, ServiceDownError
        and InterruptedRunError.
        """
        progress = _PushProgress(records, account_known_good)
        try:
            for start in range(0, len(records), self.batch):
                places, before = range(start, min(start + self.batch, len(records))), len(progress.taken)
                self._push_places(progress, list(places))
                self._note_batch(len(places), is_in_vain=len(progress.taken) == before)
        except RetriableError as error:
            return Pushed(tuple(progress.taken), tuple(progress.refused), error)
        return Pushed(tuple(progress.taken), tuple(progress.refused))

    def check_key(self) -> float | None:
        """Returns how many seconds this machine's clock is ahead of Ometria's; None where the answer has no date.

        It reads, and stores nothing. Raises FatalError for a key that is not accepted.
        """

        def ask() -> Response:
            answer = self._get("push/_errors")
            answer.decode(_ANYTHING, "Ometria's response was not understood")  # a proxy's page of HTML, say
            return answer

        answer = call_with_retry(self.policy, ask)
        return None if answer.date is None else time.time() - answer.date

    def collections_seen(self) -> set[str]:
        """Returns the collections of the oldest 250 contacts: others may exist, too."""
        answer = call_with_retry(self.policy.no_retry(), lambda: self._get("contacts", {"limit": "250"}))
        with suppress(*UNDECODABLE):
            return {contact.collection for contact in _COLLECTED.decode(answer.body)}
        return set()

    def latest_errors(self) -> list[str]:
        """Returns up to five of the account's latest validation errors, of all writers, as "path: message".

        Quoted text, and words with a digit or an @, are left out: they may be a contact's name, number or address.
        """
        answer = call_with_retry(self.policy.no_retry(), lambda: self._get("push/_errors"))
        with suppress(*UNDECODABLE):
            return [_impersonal(hint) for hint in _HINTS.decode(answer.body)[:HINTS]]
        return []

    def _push_places(self, progress: _PushProgress, places: list[int]) -> None:
        reason = self._push_batch([progress.records[place] for place in places], progress)
        if not reason:
            progress.taken.extend(places)
            self._has_accepted = True
        elif len(places) == 1:
            progress.refused.append((places[0], reason))
            refused = len(progress.refused)
            # A wrong collection, or a proxy that refuses everything, must not make every member a dead letter.
            if refused >= ALL_REFUSED and not self._is_known_good(progress):
                raise FatalError(
                    f"Ometria refused the first {refused} records, one by one ({reason})",
                    hint="The records are probably fine. Check `collection` and `url` in [ometria].",
                )
        else:
            middle = len(places) // 2
            self._push_places(progress, places[:middle])
            self._push_places(progress, places[middle:])

    def _is_known_good(self, progress: _PushProgress) -> bool:
        return progress.account_known_good or self._has_accepted

    def _note_batch(self, size: int, *, is_in_vain: bool) -> None:
        """Raises ServiceDownError after two batches in a row, with 20 records or more, of which none was accepted.

        One such batch may be chance; after two, something refuses everything. A batch of one record does not count: it
        may be one that was refused before.
        """
        if not is_in_vain:
            self._in_vain = (0, 0)
        if not is_in_vain or size == 1:
            return
        batches, records = self._in_vain
        self._in_vain = (batches + 1, records + size)
        if batches and records + size >= IN_VAIN:
            raise ServiceDownError(
                f"Ometria refused {records + size:,} records in a row and accepted none",
                hint="Ometria, or a proxy in front of it, refuses everything. Nothing is lost: the next `mcimport sync`"
                " resumes where this one stopped.",
            )

    def _push_batch(self, batch: Sequence[bytes], progress: _PushProgress) -> str:
        """Sends a batch, with retries. Returns why Ometria refuses it or a part of it; empty when it accepted all."""
        body = b"[" + b",".join(batch) + b"]"
        try:
            rejected = call_with_retry(self.policy, lambda: self._attempt(body, len(batch), progress))
        except RejectedError as error:
            return str(error)
        return "Ometria rejected the record" if rejected else ""

    def _attempt(self, body: bytes, size: int, progress: _PushProgress) -> int:
        """Sends a batch and returns how many of its `size` records were rejected."""
        with decode_slot.released():
            permit = self._permit()
            try:
                answer = self._send_with(permit, "POST", "push", body=body)
                self.limiter.served(_room(answer))
                rejected = _rejected(answer, size)
            except McimportError as error:
                is_perhaps_accepted = not _is_refusal(error)  # before the count is read, for threads share it
                self.perhaps_accepted += is_perhaps_accepted
                if isinstance(error, NotFoundError):
                    raise self._not_there(error, progress) from None
                raise
        self.perhaps_accepted += rejected < size
        return rejected

    def _not_there(self, error: NotFoundError, progress: _PushProgress) -> ServiceError:
        """Returns what a 404 means: an incident that passes where pushes were accepted before, else a wrong address."""
        if self._is_known_good(progress):
            return RetriableError(f"{error}, in the middle of a run", status=error.status)
        return FatalError(
            f"{error}: nothing can be pushed to this address",
            hint="Check `url` in [ometria], and MCIMPORT_OMETRIA_URL.",
            status=error.status,
        )

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> Response:
        return self._send("GET", path, params=params)


def _is_refusal(error: McimportError) -> bool:
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
    """Returns how many records still fit into the account's queue; None where the answer does not say so."""
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
