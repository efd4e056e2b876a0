"""The records of one page on their way to Ometria, and the batches that hold records of several pages."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from mcimport.errors import InterruptedRunError, McimportError, RetriableError
from mcimport.services.ometria.client import OmetriaClient

LOOK = 0.25  # seconds between two looks at whether the stop was forced


class Pushed(Struct, frozen=True):
    """Holds the result of a push, as positions in the records that were handed over.

    Attributes:
        taken: records that Ometria accepted.
        refused: records that it refused, each with a reason.
        error: why the others could not be sent, after all tries; None when there are no others.
        perhaps_taken: Ometria may have accepted some of the others all the same: an answer was lost.
    """

    taken: tuple[int, ...]
    refused: tuple[tuple[int, str], ...]
    error: RetriableError | None = None
    perhaps_taken: bool = False


@dataclass(eq=False, slots=True)
class Delivery:
    """Follows the records of one page until all are answered. Everything but `result` is for the sender alone.

    Attributes:
        records: those that were accepted are emptied, for they take most of the memory of a page that is sent.
        window: the number of the window that the requests belong to, for the log.
        begun: how many records are in batches, or will not be sent.
        left: how many records are not answered yet.
        is_admitted: no earlier record of one of its contacts has to be answered first.
        is_counted: see `BatchSender.begin`.
        requests: what its batches cost, by the names of `Usage`; a batch of several pages is booked to the first.
    """

    ids: Sequence[str]
    records: list[bytes]
    ometria: OmetriaClient
    window: int | None = None
    begun: int = 0
    left: int = 0
    is_admitted: bool = False
    is_counted: bool = True
    requests: dict[str, float] = field(default_factory=dict)
    taken: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    error: BaseException | None = None
    perhaps_taken: bool = False
    is_permitted: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def is_single(self) -> bool:
        return len(self.records) == 1

    def book(self, spent: Mapping[str, float]) -> None:
        for name, amount in spent.items():
            self.requests[name] = self.requests.get(name, 0) + amount

    def await_permits(self) -> None:
        """Waits until no record waits for a permit any more, in a batch of its own size or because all has failed."""
        with self.ometria.meter.timed("waited_limiter"):
            self._wait(self.is_permitted)

    def result(self) -> Pushed:
        """Waits until all records are answered, and counts the requests that this took as this thread's.

        Raises FatalError, ServiceDownError and InterruptedRunError.
        """
        try:
            self.await_permits()
            with self.ometria.meter.timed("waited_ometria"):
                self._wait(self.over)
        finally:
            self.ometria.meter.book(self.requests)
            self.requests = {}
        if self.error is not None and not isinstance(self.error, RetriableError):
            # A shared error would keep the records of all pages in its traceback. That of a mistake of ours is needed.
            raise copy.copy(self.error) if isinstance(self.error, McimportError) else self.error
        return Pushed(tuple(sorted(self.taken)), tuple(sorted(self.refused)), self.error, self.perhaps_taken)

    def _wait(self, event: threading.Event) -> None:
        """Raises InterruptedRunError once the stop is forced: then records may stay without an answer."""
        while not event.wait(LOOK):
            if self.ometria.policy.stop.aborted.is_set():
                raise InterruptedRunError("stopped")


Piece = tuple[Delivery, range]
"""Some records of a page, by their positions."""

Part = list[Piece]
"""Records that are sent in one request."""


class Batch:
    """Holds what is not answered yet of a batch, the next part last, and the records that were refused."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.count = 0  # records, but for those that were handed over alone
        self.size = 0  # bytes
        self.refused: list[tuple[Piece, str]] = []
        self.is_halved = False
        self.is_in_vain = True
        self.is_failing = False  # a part could not be sent after all tries
        self.is_perhaps_taken = False  # Ometria may have accepted records of a try that failed

    def fill(self, part: Part) -> None:
        self.parts = [part] if part else []
        self.count = sum(len(places) for delivery, places in part if not delivery.is_single)
        self.size = sum(len(delivery.records[place]) for delivery, places in part for place in places)


def first_page(part: Part) -> Delivery:
    return part[0][0]


def by_page(part: Part) -> list[Part]:
    """Returns a part of its own for each page."""
    return [[*pieces] for _, pieces in itertools.groupby(part, key=lambda piece: id(piece[0]))]


def halves(part: Part) -> list[Part]:
    """Returns both halves of a part; a single record, which has none, as it is."""
    pieces = [(delivery, range(place, place + 1)) for delivery, places in part for place in places]
    middle = len(pieces) // 2
    return [half for half in (pieces[:middle], pieces[middle:]) if half]
