"""Notifies webhooks: of each kind of trouble with a list once when it begins, and once when it ends."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, get_args

from msgspec.structs import replace

from mcimport.config import Client, NotifyUrlSource, Settings
from mcimport.errors import McimportError, StateError
from mcimport.models.records import ListRow, affected
from mcimport.models.results import ListResult
from mcimport.monitoring import overdue, trouble
from mcimport.monitoring.trouble import Kind, Trouble
from mcimport.monitoring.webhook_document import make_document
from mcimport.report.format import moment_utc
from mcimport.state import State, dead_letters, lists, open_state, runs, spot_checks, troubles

_RECOVERIES: Mapping[Kind, str] = {
    "dead_letters": "no open dead letters",
    "differ": "both sides match",
    "spot_check": "both sides were compared",
}
_MOVED = "the list now goes to another Ometria account or collection"
Change = tuple[NotifyUrlSource, ListResult, Sequence[Trouble], Sequence[Trouble]]  # what has begun, what is over
MAX_FAILURES = 3  # failed posts of one client after which the rest is left to the next call


class Webhook:
    """Notifies the webhooks of one call. The state file records each delivery, so the next call repeats failed ones."""

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
                    self._post(source, make_document("failure", result, found, int(time.time()), []))

    def overdue_changes(self, results: Sequence[ListResult]) -> dict[str, list[Change]]:
        """Returns by client the lists that became overdue or are no longer so, whichever of them this call was about.

        All trouble with a list that has left the settings is over. Of perhaps thousands of clients, few have such a
        list.
        """
        now, done = int(time.time()), {(result.client, result.list_key): result for result in results}
        changes: dict[str, list[Change]] = defaultdict(list)
        with suppress(StateError), open_state(self._settings.db_path, create=False) as state:
            notified = troubles.by_list(state)
            for client in self._settings.clients.values():
                for age in overdue.list_ages(self._settings, state, client, now):
                    began = notified.pop((client.name, age.list_key), {}).get("overdue")
                    if client.webhook_source and _is_news(age, began):
                        result = done.get((client.name, age.list_key)) or _not_worked_on(state, client, age)
                        found = [trouble.of_age(age, result)] if age.is_overdue else []
                        over = [] if found else [Trouble("overdue", f"synced to {moment_utc(age.since)}", ())]
                        changes[client.name].append((client.webhook_source, result, found, over))
            for name, key in sorted(notified.keys() - done.keys()):
                owner, kinds = self._settings.clients.get(name), notified[name, key]
                if owner and owner.any_list:
                    continue  # each call names lists of its own: that this one did not means nothing
                if owner and owner.webhook_source:
                    over = [Trouble(kind, "the list is no longer configured", ()) for kind in get_args(Kind)]
                    changes[name].append((owner.webhook_source, ListResult(name, key, "not begun"), [], over))
                elif owner or "overdue" in kinds:
                    _end_untold(state, name, key, kinds if owner else ["overdue"])
        return changes

    def notify_overdue(self, changes: Sequence[Change]) -> None:
        with suppress(StateError), open_state(self._settings.db_path, create=False) as state:
            _run_each(partial(self._notify, state, *change) for change in changes)

    def _notify_result(self, state: State, source: NotifyUrlSource, pending: deque[ListResult]) -> None:
        result = pending[0]
        known = troubles.open_troubles(state, result.client, result.list_key)
        over, now = [], []
        row = lists.find_by_id(state, result.runs[-1].list_id) if result.runs else None
        # Where the list was forgotten, another may have its number by now.
        if row is not None and (row.client, row.list_key) == (result.client, result.list_key):
            over = list(_recoveries(state, result, row, known))
            result = _with_remembered(state, result, row, known)
            if "differ" not in known and result.comparison is None:
                now = list(trouble.of_last_comparison(row))
        pending.popleft()
        self._notify(state, source, result, [*trouble.of_result(result), *now], over)

    def _notify(
        self, state: State, source: NotifyUrlSource, result: ListResult, now: Sequence[Trouble], over: Sequence[Trouble]
    ) -> None:
        """Posts what has ended, then what has begun: the last message about a list in trouble is not a recovery."""
        place = (result.client, result.list_key)
        known = troubles.open_troubles(state, *place)
        lasting = {*known, *(found.kind for found in now)} - {ended.kind for ended in over}
        for ended in over:
            if ended.kind in known:
                self._post(source, make_document("recovery", result, ended, known[ended.kind].since, lasting))
                troubles.end(state, *place, ended.kind)
        for found in now:
            notified = known.get(found.kind)
            if notified is None or notified.has_new_reason(found.reasons):
                since = notified.since if notified else found.since or int(time.time())
                self._post(source, make_document("failure", result, found, since, lasting))
                troubles.begin(state, *place, found.kind, found.reasons, since)


def _end_untold(state: State, client: str, list_key: str, kinds: Iterable[str]) -> None:
    """Ends trouble of which no webhook can be told. (The rest of a client that was renamed goes to its new name.)"""
    for kind in kinds:
        troubles.end(state, client, list_key, kind)


def _is_news(age: overdue.ListAge, began: int | None) -> bool:
    """Returns whether the list is overdue and the webhook does not know, or the other way round.

    `began`: from when on the list was overdue, as the webhook was notified (seconds, UTC). It is no longer so when its
    sync point has moved. A first run that began, newer settings or a clock that was set back make the list younger,
    too, but import nothing.
    """
    if began is None or age.is_overdue:
        return began is None and age.is_overdue
    return age.sync_point is not None and age.sync_point > began


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


def _with_remembered(state: State, result: ListResult, row: ListRow, known: Container[str]) -> ListResult:
    """Adds to the result what an earlier call found, but could not deliver."""
    result = replace(result, spot_check=spot_checks.unresolved(row))
    if "dead_letters" not in known and not result.dead_letters:
        found = dead_letters.open_for_list(state, row.id)
        result = replace(result, dead_letters=len(found), affected=affected(found))
    return result


def _recoveries(
    state: State, result: ListResult, here: ListRow, known: Mapping[str, troubles.OpenTrouble]
) -> Iterator[Trouble]:
    """Yields the kinds of trouble that this call has ended."""
    run = result.runs[-1]
    kind = trouble.failing_kind(run)
    if kind in known and result.error is None and run.kind != "replay":  # a replay says nothing about syncs
        yield Trouble(kind, result.status, ())
    for kind, words in _RECOVERIES.items():
        if kind in known and not _has_trouble(state, here, kind):
            yield Trouble(kind, _MOVED if _was_elsewhere(state, here, kind, known) else words, ())


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
