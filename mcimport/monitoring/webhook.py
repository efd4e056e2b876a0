"""Notifies webhooks: of each kind of trouble with a list once when it begins, and once when it ends."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from mcimport.config import Client, NotifyUrlSource, Settings
from mcimport.errors import McimportError, StateError
from mcimport.models.records import ListRow, affected
from mcimport.models.results import ListResult
from mcimport.models.timestamps import iso
from mcimport.monitoring import overdue, trouble
from mcimport.monitoring.trouble import Kind, Trouble
from mcimport.report.format import moment_utc
from mcimport.state import State, dead_letters, lists, open_state, runs, spot_checks, troubles

_RECOVERIES = (
    Trouble("dead_letters", "no open dead letters", ()),
    Trouble("differ", "both sides match", ()),
    Trouble("spot_check", "both sides were compared", ()),
)
_MOVED = "the list now goes to another Ometria account or collection"
_Notified = Mapping[tuple[str, str], int]  # client and list: from when on the list was overdue, seconds, UTC
MAX_FAILURES = 3  # failed posts of one client after which the rest is left to the next call


class Webhook:
    """Notifies the webhooks of one call. The state file records each delivery, so the next call repeats failed ones.

    Args:
        post: posts a document to an address, or raises.
    """

    def __init__(self, settings: Settings, post: Callable[[NotifyUrlSource, dict[str, Any]], None]) -> None:
        self._settings = settings
        self._post = post

    def notify_results(self, source: NotifyUrlSource, results: Sequence[ListResult]) -> None:
        """Notifies of what changed with the lists of one client.

        Without a readable state file it is unknown what was delivered before, so trouble is repeated with every call.
        """
        pending = deque(results)
        try:
            with open_state(self._settings.db_path) as state:
                _run_each(partial(self._notify_result, state, source, pending) for _ in results)
        except StateError:
            for result in pending:
                for found in trouble.of_result(result):
                    self._post(source, _document("failure", result, found, int(time.time()), []))

    def clients_to_notify(self) -> list[Client]:
        """Returns the clients with a list that has become overdue or is no longer so: few, of perhaps thousands."""
        now, found = int(time.time()), []
        with suppress(StateError), open_state(self._settings.db_path, create=False) as state:
            notified = troubles.lists_with(state, "overdue")
            unknown = set(notified)
            rows = defaultdict(list)
            for row in lists.all_lists(state):
                rows[row.client].append(row)
            for client in self._settings.clients.values():
                ages = list(overdue.list_ages(self._settings, state, client, rows[client.name], now))
                unknown -= {(client.name, age.list_key) for age in ages}
                is_left = any(name == client.name for name, _ in unknown)
                if client.webhook_source and (is_left or any(_is_news(client, age, notified) for age in ages)):
                    found.append(client)
            for name, key in unknown - {(client.name, key) for client in found for _, key in unknown}:
                troubles.end(state, name, key, "overdue")  # no client with that list has a webhook any more
        return found

    def notify_overdue(self, client: Client, results: Sequence[ListResult]) -> None:
        """Notifies of lists of the client that are overdue or no longer so, whichever of them this call was about."""
        done = {result.list_key: result for result in results if result.client == client.name}
        with suppress(StateError), open_state(self._settings.db_path, create=False) as state:
            notified, rows = troubles.lists_with(state, "overdue"), lists.of_client(state, client.name)
            ages = list(overdue.list_ages(self._settings, state, client, rows, int(time.time())))
            left = {key for name, key in notified if name == client.name} - {age.list_key for age in ages}
            _run_each(partial(self._notify_removed, state, client, key) for key in sorted(left))
            _run_each(partial(self._notify_age, state, client, age, done.get(age.list_key), notified) for age in ages)

    def _notify_age(
        self, state: State, client: Client, age: overdue.ListAge, done: ListResult | None, notified: _Notified
    ) -> None:
        found = trouble.of_age(age, client, done)
        is_over = _is_over(client, age, notified)
        over = [Trouble("overdue", f"synced to {moment_utc(age.since)}", ())] if is_over else []
        result = done or _not_worked_on(state, client, age)
        if client.webhook_source is not None:
            self._notify(state, client.webhook_source, result, [found] if found else [], over)

    def _notify_removed(self, state: State, client: Client, list_key: str) -> None:
        over = Trouble("overdue", "the list is no longer configured", ())
        if client.webhook_source is not None:
            result = ListResult(client.name, list_key, "not begun")
            self._notify(state, client.webhook_source, result, [], [over])

    def _notify_result(self, state: State, source: NotifyUrlSource, pending: deque[ListResult]) -> None:
        result = pending[0]
        known = troubles.open_troubles(state, result.client, result.list_key)
        over = list(_recoveries(state, result, known)) if result.runs else []
        result = _with_remembered(state, result, known) if result.runs else result
        now = [*trouble.of_result(result), *(_last_comparison(state, result, known) if result.runs else ())]
        pending.popleft()
        self._notify(state, source, result, now, over)

    def _notify(
        self, state: State, source: NotifyUrlSource, result: ListResult, now: Sequence[Trouble], over: Sequence[Trouble]
    ) -> None:
        """Posts what has ended, then what has begun: the last message about a list in trouble is not a recovery."""
        place = (result.client, result.list_key)
        known = troubles.open_troubles(state, *place)
        lasting = {*known, *(found.kind for found in now)} - {ended.kind for ended in over}
        for ended in over:
            if ended.kind in known:
                self._post(source, _document("recovery", result, ended, known[ended.kind].since, lasting))
                troubles.end(state, *place, ended.kind)
        for found in now:
            notified = known.get(found.kind)
            if notified is None or notified.has_new_reason(found.reasons):
                since = notified.since if notified else found.since or int(time.time())
                self._post(source, _document("failure", result, found, since, lasting))
                troubles.begin(state, *place, found.kind, found.reasons, since)


def _is_news(client: Client, age: overdue.ListAge, notified: _Notified) -> bool:
    is_notified = (client.name, age.list_key) in notified
    return _is_over(client, age, notified) if is_notified else age.is_overdue


def _is_over(client: Client, age: overdue.ListAge, notified: _Notified) -> bool:
    """Returns whether the webhook was notified that the list is overdue, and its sync point has moved since.

    A first run that began, newer settings or a clock that was set back make the list younger, too, but import nothing.
    """
    began = notified.get((client.name, age.list_key))
    if began is None or age.is_overdue or age.sync_point is None:
        return False
    return age.sync_point + client.overdue != began


def _run_each(steps: Iterable[Callable[[], None]]) -> None:
    """Runs the steps, one for each list; goes on after a failure, but not after MAX_FAILURES of them.

    Raises the first failure at the end, and StateError at once.
    """
    failures: list[McimportError] = []
    for step in steps:
        try:
            step()
        except StateError:
            raise
        except McimportError as error:
            failures.append(error)
        if len(failures) == MAX_FAILURES:
            break
    if failures:
        raise failures[0]


def _with_remembered(state: State, result: ListResult, known: Container[str]) -> ListResult:
    """Adds to the result what an earlier call found, but could not deliver."""
    row = lists.by_id(state, result.runs[-1].list_id)
    result = replace(result, spot_check=spot_checks.unresolved(row))
    if "dead_letters" not in known and not result.dead_letters:
        found = dead_letters.open_for_list(state, row.id)
        result = replace(result, dead_letters=len(found), affected=affected(found))
    return result


def _last_comparison(state: State, result: ListResult, known: Container[str]) -> Iterator[Trouble]:
    """Yields the differences that the last comparison left, where that was not delivered."""
    found = trouble.of_last_comparison(lists.by_id(state, result.runs[-1].list_id))
    if found and "differ" not in known and result.comparison is None:
        yield found


def _recoveries(state: State, result: ListResult, known: Mapping[str, troubles.OpenTrouble]) -> Iterator[Trouble]:
    """Yields the kinds of trouble that this call has ended."""
    run = result.runs[-1]
    kind: Kind = trouble.failing_kind(run)
    if kind in known and result.error is None and run.kind != "replay":  # a replay says nothing about syncs
        yield Trouble(kind, result.status, ())
    here = lists.by_id(state, run.list_id)
    for over in _RECOVERIES:
        if over.kind in known and not _has_trouble(state, here, over.kind):
            yield over if not _was_elsewhere(state, here, over.kind, known) else replace(over, words=_MOVED)


def _has_trouble(state: State, row: ListRow, kind: Kind) -> bool:
    """Returns whether the state file shows such trouble with the list at one destination."""
    if kind == "dead_letters":
        return dead_letters.count_open(state, row.id) > 0
    if kind == "differ":
        return lists.reconciled(row).get("left", 0) > 0
    return spot_checks.unresolved(row) is not None


def _was_elsewhere(state: State, here: ListRow, kind: Kind, known: Mapping[str, troubles.OpenTrouble]) -> bool:
    """Returns whether the trouble was at an earlier destination of the list, and is still there."""
    former = [row for row in lists.of_client(state, here.client) if row.list_key == here.list_key and row.id != here.id]
    began = runs.first_started_at(state, here.id)
    is_older = began is not None and known[kind].since < began
    return is_older and any(_has_trouble(state, row, kind) for row in former)


def _not_worked_on(state: State, client: Client, age: overdue.ListAge) -> ListResult:
    """Returns a result for a list that this call was not about."""
    last = () if age.list_id is None else tuple(runs.latest(state, list_id=age.list_id, limit=1))
    return ListResult(client.name, age.list_key, "not begun", runs=last)


def _document(event: str, result: ListResult, found: Trouble, since: int, lasting: Iterable[str]) -> dict[str, Any]:
    return {
        "event": event,
        "kind": found.kind,
        "client": result.client,
        "list_key": result.list_key,
        "run_id": result.runs[-1].id if result.runs else None,
        "status": result.status,
        "reason": found.words,
        "reasons": list(found.reasons),
        "next": found.next,
        "dead_letters": result.dead_letters,
        "dead_letter_members": result.affected.known_members,
        "other_kinds": sorted({*lasting} - {found.kind}),
        "since": iso(since),
        "at": iso(int(time.time())),
    }
