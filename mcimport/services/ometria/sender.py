"""The sender of one run: batches filled from all of its pages, as many on the wire as Ometria's rate limit allows.

A page hands over its records and waits until all are answered. The thread that gets the next permit takes the records
that have waited longest, so that every batch is full while there are enough. A batch that is refused is halved until
the record is found.

Two versions of one contact never race: the later record waits until the earlier one is answered.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

from mcimport.errors import (
    FatalError,
    InterruptedRunError,
    McimportError,
    RetriableError,
    ServiceDownError,
    UnreachableError,
)
from mcimport.services.http.rate_limit import Permit
from mcimport.services.ometria.client import MOST_PUSHES, OmetriaClient
from mcimport.services.ometria.delivery import LOOK, Batch, Delivery, Part, Piece, Pushed, by_page, first_page, halves

MOST_BYTES = 16 * 1024 * 1024  # on the wire at once, by which another batch is still begun
ROOM = 512 * 1024  # bytes that wait for a permit, by which another page is still read
MOST_HALVED = 2  # batches that are being halved, with which no other is begun: perhaps everything is refused
IN_VAIN = 20  # records in two batches or more, of which none was accepted, after which they are not the reason
ALL_REFUSED = 100  # records refused one by one, and none ever accepted, after which they are not the reason
FEW_PUSHES = 4  # on the wire at once, until answers show that more would be waiting for the network
SLOW = 0.02  # seconds for an answer, from which on one more push at a time is worth its thread


class BatchSender:
    """Sends the records of one run. Safe to share between threads; its own threads are those of the client.

    Until the first try is answered, one batch is sent alone: nothing more is sent with a wrong key or address.

    `account_known_good`: an earlier run is on record in which the account accepted records. Only where neither that nor
    this process knows of any is a refusal of everything, or a 404, taken for a wrong setting. `accepted` is called with
    the number of records of each batch that Ometria accepted, as soon as that is known.
    """

    def __init__(
        self,
        ometria: OmetriaClient,
        *,
        account_known_good: bool = False,
        accepted: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._ometria = ometria
        self._accepted = accepted
        self._account_known_good = account_known_good
        self._lock = threading.Condition(threading.Lock())
        self._waiting: list[Delivery] = []  # for the answer to an earlier record of one of their contacts
        self._queue: deque[Delivery] = deque()
        self._unanswered: set[str] = set()  # ids of the contacts in the queue and on the wire
        self._is_taking = False  # a thread waits for the next permit
        self._is_stranded = False  # no thread can be started for that
        self._batches = 0  # on the wire
        self._bytes = 0
        self._queued_bytes = 0
        self._halved = 0
        self._is_answered = False
        self._most = FEW_PUSHES
        self._refused = 0
        self._in_vain = (0, 0)  # batches in a row of which no record was accepted, and their records
        self._failure: BaseException | None = None  # what ended the run

    def push(self, ids: Sequence[str], records: Sequence[bytes], *, is_counted: bool = True) -> Pushed:
        """Upserts encoded contacts and waits until all are answered: see `begin` and `Delivery.result`."""
        return self.begin(ids, records, is_counted=is_counted).result()

    def begin(self, ids: Sequence[str], records: Sequence[bytes], *, is_counted: bool = True) -> Delivery:
        """Hands over encoded contacts. `ids`: the contact of each record, no contact twice.

        `is_counted`: `accepted` is told of them.
        """
        window = self._ometria.http.trace.present_window
        delivery = Delivery(ids, [*records], self._ometria, window, left=len(records), is_counted=is_counted)
        with self._lock:
            self._queued_bytes += sum(map(len, records))
            if self._failure is not None and records:
                self._drop(delivery, self._failure)
            self._waiting.append(delivery)
            self._admit()
            self._start()
            is_alone = self._is_stranded and not self._batches
            if is_alone:
                self._is_taking, self._is_stranded = True, False
        if is_alone:
            self._send_next()
        return delivery

    @property
    def has_room(self) -> bool:
        """Says whether few records wait for a permit."""
        return self._queued_bytes <= ROOM

    def await_room(self, delivery: Delivery) -> None:
        """Waits until few records wait for a permit, or none of this delivery: to read more would only fill memory.

        Raises InterruptedRunError once the stop is forced.
        """

        def is_room() -> bool:
            return self.has_room or delivery.is_permitted.is_set()

        with self._ometria.meter.timed("waited_limiter"), self._lock:
            while not self._lock.wait_for(is_room, LOOK):
                if self._ometria.policy.stop.aborted.is_set():
                    raise InterruptedRunError("stopped")

    def cancel(self, deliveries: Iterable[Delivery]) -> None:
        """Sends nothing more of these, and waits for what is on the wire, unless the stop is forced.

        For a page that ends with an error: nothing of it may be sent after that is known.
        """
        for delivery in deliveries:
            with self._lock:
                self._drop(delivery, InterruptedRunError("stopped"))
            with suppress(McimportError):
                delivery.result()

    # ---- the queue: the lock is held

    def _admit(self) -> None:
        """Queues deliveries that need not wait for an answer any more, in their order."""
        waiting, self._waiting = self._waiting, []
        earlier: set[str] = set()
        for delivery in waiting:
            if not delivery.left:
                delivery.is_permitted.set()
                delivery.over.set()
            elif self._unanswered.isdisjoint(delivery.ids) and earlier.isdisjoint(delivery.ids):
                self._unanswered.update(delivery.ids)
                delivery.is_admitted = True
                self._queue.append(delivery)
            else:
                earlier.update(delivery.ids)
                self._waiting.append(delivery)

    def _start(self) -> None:
        """Has a thread wait for the next permit, where records are queued and there is room on the wire."""
        most = self._most if self._is_answered else 1
        is_full = self._batches >= most or self._bytes >= MOST_BYTES or self._halved >= MOST_HALVED
        if self._is_taking or is_full or not self._queue:
            return
        try:
            self._ometria.threads.submit(self._send_next)
        except RuntimeError:  # no thread is left: whoever ends a batch goes on, else whoever hands records over
            self._is_stranded = True
        else:
            self._is_taking, self._is_stranded = True, False

    def _take(self, batch: Batch) -> None:
        """Fills a batch; it stays empty where nothing of the queue is to be sent any more."""
        part: Part = []
        room = self._ometria.batch
        while self._queue and room:
            delivery = self._queue[0]
            places = range(delivery.begun, min(delivery.begun + room, len(delivery.records)))
            delivery.begun = places.stop
            room -= len(places)
            if places:
                part.append((delivery, places))
            if delivery.begun == len(delivery.records):
                delivery.is_permitted.set()
                self._queue.popleft()
        batch.fill(part)

    def _close(self, delivery: Delivery, answered: int) -> None:
        """Notes that so many more records of a delivery are answered, and ends it with the last one."""
        delivery.left -= answered
        if not delivery.left and not delivery.over.is_set():
            if delivery.is_admitted:  # else the same contacts may be on the wire for an earlier one
                self._unanswered.difference_update(delivery.ids)
            delivery.over.set()
            self._admit()

    def _drop(self, delivery: Delivery, error: BaseException, answered: int = 0) -> None:
        """Sends no further record of a delivery, of which so many could not be sent."""
        if delivery.error is None or isinstance(delivery.error, RetriableError):
            delivery.error = error
        rest = len(delivery.records) - delivery.begun
        self._queued_bytes -= sum(map(len, itertools.islice(delivery.records, delivery.begun, None)))
        self._lock.notify_all()
        delivery.begun = len(delivery.records)
        delivery.is_permitted.set()
        self._close(delivery, answered + rest)

    def _fail(self, error: BaseException, pieces: Sequence[Piece] = ()) -> None:
        """Notes that these records could not be sent; where the error ends the run, no others will be, either."""
        for delivery, places in pieces:
            self._drop(delivery, error, len(places))
        if not isinstance(error, RetriableError | InterruptedRunError):
            self._failure = self._failure or error
            unsent = [*self._queue, *self._waiting]
            self._queue.clear()
            for delivery in unsent:
                self._drop(delivery, error)

    # ---- one batch, in a thread of its own

    def _send_next(self) -> None:
        """Sends a batch; and more, where no other thread can be started."""
        is_alone = True
        while is_alone:
            self._send_one()
            with self._lock:
                is_alone = self._is_stranded
                if is_alone:
                    self._is_taking, self._is_stranded = True, False

    def _send_one(self) -> None:
        """Waits for the next permit and sends a batch with it; meanwhile another thread waits for the one after it."""
        with self._ometria.meter.apart() as spent:
            try:
                permit = self._ometria.permit()
            except BaseException as error:  # noqa: BLE001 - whatever it is, pages wait to be told
                with self._lock:
                    self._is_taking = False
                    self._fail(error)
                return
            batch, began = Batch(), time.monotonic()
            try:
                self._begin_batch(batch)
                self._send(batch, permit, spent)
            except BaseException as error:  # noqa: BLE001 - as above: no memory, say
                with self._lock:
                    self._is_taking = False
                    self._fail(error, [*itertools.chain(*batch.parts), *(piece for piece, _ in batch.refused)])
            finally:
                permit.sent()
                self._end_batch(batch, time.monotonic() - began)

    def _begin_batch(self, batch: Batch) -> None:
        with self._lock:
            self._batches += 1
            self._take(batch)
            self._is_taking = False
            self._bytes += batch.size
            self._queued_bytes -= batch.size
            self._lock.notify_all()
            self._start()

    def _end_batch(self, batch: Batch, seconds: float) -> None:
        with self._lock:
            if seconds > SLOW:
                self._most = min(MOST_PUSHES, self._most + 1)
            self._batches -= 1
            self._bytes -= batch.size
            self._halved -= batch.is_halved
            self._start()

    def _send(self, batch: Batch, permit: Permit, spent: Callable[[], dict[str, float]]) -> None:
        """Sends a batch, halved as often as it is refused, and tells the pages what became of each record."""
        first: Permit | None = permit
        while batch.parts:
            part, error, reason = batch.parts[-1], None, ""
            try:
                reason = self._push_part(batch, part, first)
            except (RetriableError, InterruptedRunError) as raised:
                error = raised
            finally:
                with self._lock:
                    first_page(part).book(spent())
            first = None
            with self._lock:
                if error is not None:
                    self._note_failure(batch, error)
                else:
                    self._note_answer(batch, reason)
        with self._lock:
            if not batch.is_failing:
                self._note_in_vain(batch)
            self._tell_refused(batch)

    def _push_part(self, batch: Batch, part: Part, permit: Permit | None) -> str:
        with self._ometria.http.trace.window(first_page(part).window):
            return self._ometria.push_batch(
                [delivery.records[place] for delivery, places in part for place in places],
                permit,
                account_known_good=self._account_known_good,
                tried=partial(self._note_tried, batch),
                is_once=batch.is_failing,
            )

    def _note_failure(self, batch: Batch, error: RetriableError | InterruptedRunError) -> None:
        """Notes that a part could not be sent. The records of each page in it are tried alone once more.

        One record may be the reason, and the pages of the others must not suffer from it.
        """
        batch.is_failing = True
        pages = by_page(batch.parts.pop())
        if len(pages) > 1 and not isinstance(error, UnreachableError | InterruptedRunError):
            batch.parts += reversed(pages)
        else:
            for delivery, _ in itertools.chain(*pages):
                delivery.perhaps_taken |= batch.is_perhaps_taken
            self._fail(error, list(itertools.chain(*pages)))

    def _note_tried(self, batch: Batch, is_perhaps_taken: bool) -> None:  # noqa: FBT001 - the client calls it
        """Lets other batches begin, once it is known that neither key nor address is wrong."""
        batch.is_perhaps_taken |= is_perhaps_taken
        if not self._is_answered:
            with self._lock:
                self._is_answered = True
                self._start()

    def _note_answer(self, batch: Batch, reason: str) -> None:
        """Notes what became of the last part of a batch. Raises FatalError where no record was ever accepted."""
        part = batch.parts[-1]
        if not reason:
            batch.parts.pop()
            batch.is_in_vain = False
            self._accepted(sum(len(places) for delivery, places in part if delivery.is_counted))
            for delivery, places in part:
                delivery.taken += places
                for place in places:
                    delivery.records[place] = b""
                self._close(delivery, len(places))
            return
        both = halves(part)
        if len(both) > 1:
            self._halved += not batch.is_halved
            batch.is_halved = True
            batch.parts[-1:] = reversed(both)
            return
        batch.parts.pop()
        batch.refused.append((part[0], reason))
        self._refused += not first_page(part).is_single
        # A wrong collection, or a proxy that refuses everything, must not make every member a dead letter.
        if self._refused >= ALL_REFUSED and not (self._account_known_good or self._ometria.has_accepted):
            raise FatalError(
                f"Ometria refused the first {self._refused} records, one by one ({reason})",
                hint="The records are probably fine. Check `collection` and `url` in [ometria].",
            )

    def _note_in_vain(self, batch: Batch) -> None:
        """Raises ServiceDownError after two batches in a row, with 20 records or more, of which none was accepted.

        One such batch may be chance; after two, something refuses everything. A record that was handed over alone does
        not count: it may be one that was refused before.
        """
        if not batch.is_in_vain:
            self._in_vain = (0, 0)
        if not batch.is_in_vain or batch.count <= 1:
            return
        batches, records = self._in_vain
        self._in_vain = (batches + 1, records + batch.count)
        if batches and records + batch.count >= IN_VAIN:
            raise ServiceDownError(
                f"Ometria refused {records + batch.count:,} records in a row and accepted none",
                hint="Ometria, or a proxy in front of it, refuses everything. Nothing is lost: the next `mcimport sync`"
                " resumes where this one stopped.",
            )

    def _tell_refused(self, batch: Batch) -> None:
        """Tells the pages of refused records once the batch is over: a refusal of everything ends the run instead."""
        for (delivery, places), reason in batch.refused:
            delivery.refused += [(place, reason) for place in places]
            self._close(delivery, len(places))
        batch.refused.clear()
