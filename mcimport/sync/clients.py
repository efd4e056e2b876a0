"""Every client of a call: each under its lock, its lists one after another, several clients at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

from mcimport.config import Client
from mcimport.engine import Engine, LocalEngine
from mcimport.errors.machine import as_ours, submit
from mcimport.models.records import ListRow
from mcimport.models.results import ListResult
from mcimport.report.reporter import Reporter
from mcimport.services.connections import ClientServices, ConnectionPool
from mcimport.services.http.shutdown import StopSignal
from mcimport.state import State, StatePool, copy_in_memory, lock_client
from mcimport.sync.destination import check_no_worker_has_pages
from mcimport.sync.list_run import ListRun
from mcimport.sync.probed import with_answers
from mcimport.sync.results import result_of, status_of
from mcimport.sync.turns import RoundTurns


class ClientObserver(Protocol):
    """Is notified when the work for each client begins and ends; called from the threads of several clients."""

    def begun(self, client: Client) -> None: ...

    def ended(self, client: Client, results: Sequence[ListResult]) -> None: ...


class SyncSession(Struct, frozen=True):
    """Holds what all clients of one call share.

    Attributes:
        observer: is notified of each client; None: no one is.
        clients: every client in the settings, also those that this call leaves alone: they may share accounts.
        take_result: is called with the result of each list when it ends, from the threads of several clients.
    """

    db_path: Path
    accounts: ConnectionPool
    stop: StopSignal
    reporter: Reporter
    observer: ClientObserver | None = None
    engine: Engine = field(default_factory=LocalEngine)
    clients: tuple[Client, ...] = ()
    take_result: Callable[[ListResult], None] | None = None

    def ended(self, result: ListResult) -> None:
        self.reporter.ended(result)
        if self.take_result is not None:
            self.take_result(result)


class OpenClient(Struct, frozen=True):
    """Holds one client's connections and state file; belongs to the thread that holds the client's lock."""

    client: Client
    services: ClientServices
    state: State
    session: SyncSession
    dry_run: bool

    def run_list(self, list_key: str, find_row: Callable[[], ListRow], work: Callable[[ListRun], None]) -> ListResult:
        """Does the work for one list; whatever fails is in the result, and ends this list alone."""
        begun = time.monotonic()
        list_run, failure = None, None
        try:
            session, row = self.session, find_row()
            client = with_answers(self.state, self.client, list_key)
            list_run = ListRun(
                client, list_key, self.services, self.state, session.reporter, row, session.engine, self.dry_run
            )
            work(list_run)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this list alone
            failure = as_ours(error)
        return result_of(self.client, list_key, list_run, failure, time.monotonic() - begun)


class ClientWork(Struct, frozen=True):
    """Names what is to be done for one client: the keys of its lists in order, each with the work for it.

    The work returns None where there is nothing to tell of the list.
    """

    client: Client
    lists: Sequence[tuple[str, Callable[[OpenClient], ListResult | None]]]


def by_client(
    pairs: Iterable[tuple[Client, str]], run_list: Callable[[str, OpenClient], ListResult]
) -> list[ClientWork]:
    """Groups pairs of a client and a list key by the client; `run_list` does the work for each list."""
    return [
        ClientWork(client, [(key, partial(run_list, key)) for _, key in group])
        for client, group in groupby(pairs, key=lambda pair: pair[0])
    ]


class ClientRunner(Struct, frozen=True):
    """Runs the work of a call.

    Attributes:
        may_push: contacts may be pushed from this process, so Celery workers must not have pages of the client.
        dry_run: the work is done on a copy of the state file, which is then dropped.
        creates_state: a state file is made where there is none; else that is a StateError.
        turns: lets each client work when it is its turn; None: all may work.
    """

    session: SyncSession
    may_push: bool
    dry_run: bool = False
    creates_state: bool = False
    turns: RoundTurns | None = None

    def run(self, clients: Sequence[ClientWork], jobs: int) -> list[ListResult]:
        """Runs `jobs` clients at a time, in order where that is one. One client's failure touches no other."""
        at_once = min(jobs, len(clients))
        with StatePool(self.session.db_path, create=self.creates_state) as states:
            if at_once <= 1:
                return [result for work in clients for result in self._run_client(states, work)]
            with ThreadPoolExecutor(at_once, thread_name_prefix="client") as pool:
                futures = [submit(pool, partial(self._run_client, states, work)) for work in clients]
                pool.shutdown(wait=False)  # a thread ends when no client is left for it, though another takes hours
                return list(_results(futures, states, at_once))

    def _run_client(self, states: StatePool, work: ClientWork) -> list[ListResult]:
        with nullcontext() if self.turns is None else self.turns.turn(work.client.name):
            return self._run_observed(states, work)

    def _run_observed(self, states: StatePool, work: ClientWork) -> list[ListResult]:
        observer = self.session.observer
        if observer is not None:
            observer.begun(work.client)
        results = self._run_lists(states, work)
        if observer is not None:
            observer.ended(work.client, results)
        return results

    def _run_lists(self, states: StatePool, work: ClientWork) -> list[ListResult]:
        """Raises nothing: what ends the client's work before its time is in the results of the lists that are left."""
        results: list[ListResult] = []
        left = deque(work.lists)
        try:
            with self._open(states, work) as opened:
                while left:
                    _check_not_aborted(results, opened)
                    result = left[0][1](opened)
                    left.popleft()
                    if result is not None:
                        self._end(results, result)
        except Exception as raised:  # noqa: BLE001 - whatever it is, it ends this client's work alone
            error = as_ours(raised)
            for key, _ in left:
                failed = ListResult(work.client.name, key, status_of(error), error=error, dry_run=self.dry_run)
                self._end(results, failed)
        return results

    def _end(self, results: list[ListResult], result: ListResult) -> None:
        results.append(result)
        self.session.ended(result)

    @contextmanager
    def _open(self, states: StatePool, work: ClientWork) -> Iterator[OpenClient]:
        """Locks the client, and opens its connections and the state file."""
        session, path, client = self.session, self.session.db_path, work.client
        told = (partial(told, client.name) for told in (session.reporter.retries, session.reporter.requests))
        with (
            lock_client(path, client.name, [key for key, _ in work.lists]),
            session.engine.client_lock(client),
            session.accounts.open(client, *told) as services,
            copy_in_memory(path) if self.dry_run else states.lend() as state,
        ):
            if self.may_push and session.engine.is_local:
                check_no_worker_has_pages(state, client)
            yield OpenClient(client, services, state, session, self.dry_run)


def _results(futures: Sequence[Future[list[ListResult]]], states: StatePool, at_once: int) -> Iterator[ListResult]:
    """Yields the results as clients end, and closes connections to the state file that no client will need."""
    for ended, future in enumerate(as_completed(futures), 1):
        yield from future.result()
        if len(futures) - ended < at_once:
            states.close_idle()


def _check_not_aborted(results: Sequence[ListResult], opened: OpenClient) -> None:
    """Raises the last list's error where the client's connections had to be closed under requests that hung.

    Nothing gets through for that client any more in this call.
    """
    is_leaving = opened.session.stop.requested.is_set()
    if results and results[-1].error and opened.services.stop.requested.is_set() and not is_leaving:
        raise results[-1].error
