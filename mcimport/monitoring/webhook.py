"""What a webhook is told: each kind of trouble with a list once when it begins, and once when it is over."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from mcimport.config import Client, NoticeSource, Settings
from mcimport.errors import McimportError, StateError
from mcimport.models.records import ListRow, affected
from mcimport.models.results import ListResult
from mcimport.models.timestamps import iso
from mcimport.monitoring import overdue, trouble
from mcimport.monitoring.trouble import Kind, Trouble
from mcimport.report.format import moment_utc
from mcimport.state import State, dead_letters, lists, open_state, runs, spot_checks, troubles

_MENDED = (
    Trouble("dead_letters", "no open dead letters", ()),
    Trouble("differ", "both sides match", ()),
    Trouble("spot_check", "both sides were compared", ()),
)
_ELSEWHERE = "the list now goes to another Ometria account or collection"
MOST_FAILED = 3  # posts of one client, after which the rest is left to the next call


class Webhook:
    """Of one call. What could not be told is news with the next call, too.

    Args:
        post: gives a document to somebody, or raises.
    """

    def __init__(self, settings: Settings, post: Callable[[NoticeSource, dict[str, Any]], None]) -> None:
        self._settings = settings
        self._post = post

    def tell_of_results(self, source: NoticeSource, results: Sequence[ListResult]) -> None:
        """Where the state file cannot say what was told before, trouble is told again with every call."""
        untold = deque(results)
        try:
            with open_state(self._settings.db_path) as state:
                _each(partial(self._tell_of_one, state, source, untold) for _ in results)
        except StateError:
            for result in untold:
                for one in trouble.of_result(result):
                    self._post(source, _document("failure", result, one, int(time.time()), []))

    def to_tell_of_ages(self) -> list[Client]:
        """The clients of whose lists one has become overdue, or is so no longer: few, of perhaps thousands."""
        now, found = int(time.time()), []
        with suppress(StateError), open_state(self._settings.db_path, create=False) as state:
            told = troubles.lists_with(state, "overdue")
            unknown = set(told)
            known = defaultdict(list)
            for row in lists.all_lists(state):
                known[row.client].append(row)
            for client in self._settings.clients.values():
                ages = list(overdue.ages(self._settings, state, client, known[client.name], now))
                unknown -= {(client.name, age.list_key) for age in ages}
                is_left = any(name == client.name for name, _ in unknown)
                if client.webhook_source and (is_left or any(_is_news(client, age, told) for age in ages)):
                    found.append(client)
            for name, key in unknown - {(client.name, key) for client in found for _, key in unknown}:
                troubles.end(state, name, key, "overdue")  # nobody is left to be told
        return found

    def tell_of_ages(self, client: Client, results: Sequence[ListResult]) -> None:
        """Which lists of the client are overdue, whichever of them this call was about."""
        done = {result.list_key: result for result in results if result.client == client.name}
        with suppress(StateError), open_state(self._settings.db_path, create=False) as state:
            told, known = troubles.lists_with(state, "overdue"), lists.of_client(state, client.name)
            ages = list(overdue.ages(self._settings, state, client, known, int(time.time())))
            left = {key for name, key in told if name == client.name} - {age.list_key for age in ages}
            _each(partial(self._tell_of_left, state, client, key) for key in sorted(left))
            _each(
                partial(
                    self._tell_of_age, state, client, age, done.get(age.list_key), is_over=_is_over(client, age, told)
                )
                for age in ages
            )

    def _tell_of_age(
        self, state: State, client: Client, age: overdue.Age, done: ListResult | None, *, is_over: bool
    ) -> None:
        found = trouble.of_age(age, client, done)
        over = [Trouble("overdue", f"synced to {moment_utc(age.since)}", ())] if is_over else []
        result = done or _not_worked_on(state, client, age)
        if client.webhook_source is not None:
            self._tell(state, client.webhook_source, result, [found] if found else [], over)

    def _tell_of_left(self, state: State, client: Client, list_key: str) -> None:
        over = Trouble("overdue", "the list is no longer configured", ())
        if client.webhook_source is not None:
            result = ListResult(client.name, list_key, "not begun")
            self._tell(state, client.webhook_source, result, [], [over])

    def _tell_of_one(self, state: State, source: NoticeSource, untold: deque[ListResult]) -> None:
        result = untold[0]
        known = troubles.open_troubles(state, result.client, result.list_key)
        over = list(_over(state, result, known)) if result.runs else []
        result = _with_remembered(state, result, known) if result.runs else result
        now = [*trouble.of_result(result), *(_last_comparison(state, result, known) if result.runs else ())]
        untold.popleft()
        self._tell(state, source, result, now, over)

    def _tell(
        self, state: State, source: NoticeSource, result: ListResult, now: Sequence[Trouble], over: Sequence[Trouble]
    ) -> None:
        """Ends first: a list that is in trouble is not left with the word that something is over."""
        place = (result.client, result.list_key)
        known = troubles.open_troubles(state, *place)
        lasting = {*known, *(one.kind for one in now)} - {one.kind for one in over}
        for one in over:
            if one.kind in known:
                self._post(source, _document("recovery", result, one, known[one.kind].since, lasting))
                troubles.end(state, *place, one.kind)
        for one in now:
            told = known.get(one.kind)
            if told is None or told.has_new_reason(one.reasons):
                since = told.since if told else one.since or int(time.time())
                self._post(source, _document("failure", result, one, since, lasting))
                troubles.begin(state, *place, one.kind, one.reasons, since)


def _is_news(client: Client, age: overdue.Age, told: Mapping[tuple[str, str], int]) -> bool:
    is_told = (client.name, age.list_key) in told
    return _is_over(client, age, told) if is_told else age.is_overdue


def _is_over(client: Client, age: overdue.Age, told: Mapping[tuple[str, str], int]) -> bool:
    """Whether the list was told to be overdue, and its sync point has moved since.

    A first run that began, newer settings or a clock that was set back make it younger, too, and bring nobody.
    """
    began = told.get((client.name, age.list_key))
    if began is None or age.is_overdue or age.sync_point is None:
        return False
    return age.sync_point + client.overdue != began


def _each(steps: Iterable[Callable[[], None]]) -> None:
    """One list after another: a post that failed holds up its own list alone, but where several fail, the rest wait.

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
        if len(failures) == MOST_FAILED:
            break
    if failures:
        raise failures[0]


def _with_remembered(state: State, result: ListResult, known: Container[str]) -> ListResult:
    """What this call found, and what a former one did whose post did not get through."""
    row = lists.by_id(state, result.runs[-1].list_id)
    result = replace(result, spot_check=spot_checks.unresolved(row))
    if "dead_letters" not in known and not result.dead_letters:
        found = dead_letters.open_for_list(state, row.id)
        result = replace(result, dead_letters=len(found), affected=affected(found))
    return result


def _last_comparison(state: State, result: ListResult, known: Container[str]) -> Iterator[Trouble]:
    """What that left, where nobody was told."""
    found = trouble.of_last_comparison(lists.by_id(state, result.runs[-1].list_id))
    if found and "differ" not in known and result.comparison is None:
        yield found


def _over(state: State, result: ListResult, known: Mapping[str, troubles.OpenTrouble]) -> Iterator[Trouble]:
    """What the list does not have any more after this call, as far as the call has seen."""
    run = result.runs[-1]
    kind: Kind = trouble.failing_kind(run)
    if kind in known and result.error is None and run.kind != "replay":  # which shows nothing of a sync
        yield Trouble(kind, result.status, ())
    here = lists.by_id(state, run.list_id)
    for over in _MENDED:
        if over.kind in known and not _has(state, here, over.kind):
            yield over if not _was_elsewhere(state, here, over.kind, known) else replace(over, words=_ELSEWHERE)


def _has(state: State, row: ListRow, kind: Kind) -> bool:
    """Whether the state file shows such trouble with the list at one destination."""
    if kind == "dead_letters":
        return dead_letters.count_open(state, row.id) > 0
    if kind == "differ":
        return lists.reconciled(row).get("left", 0) > 0
    return spot_checks.unresolved(row) is not None


def _was_elsewhere(state: State, here: ListRow, kind: Kind, known: Mapping[str, troubles.OpenTrouble]) -> bool:
    """Whether it was told of a destination to which the list does not go any more, and where it is as it was."""
    former = [row for row in lists.of_client(state, here.client) if row.list_key == here.list_key and row.id != here.id]
    began = runs.first_started_at(state, here.id)
    is_older = began is not None and known[kind].since < began
    return is_older and any(_has(state, row, kind) for row in former)


def _not_worked_on(state: State, client: Client, age: overdue.Age) -> ListResult:
    """What stands for a result where this call was not about the list."""
    last = () if age.list_id is None else tuple(runs.latest(state, list_id=age.list_id, limit=1))
    return ListResult(client.name, age.list_key, "not begun", runs=last)


def _document(event: str, result: ListResult, one: Trouble, since: int, lasting: Iterable[str]) -> dict[str, Any]:
    return {
        "event": event,
        "kind": one.kind,
        "client": result.client,
        "list_key": result.list_key,
        "run_id": result.runs[-1].id if result.runs else None,
        "status": result.status,
        "reason": one.words,
        "reasons": list(one.reasons),
        "next": one.next,
        "dead_letters": result.dead_letters,
        "dead_letter_members": result.affected.known_members,
        "other_kinds": sorted({*lasting} - {one.kind}),
        "since": iso(since),
        "at": iso(int(time.time())),
    }
