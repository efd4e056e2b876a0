"""Sums what the log says was done for each client in a period; only reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from mcimport.models.activity import ClientActivity, ListActivity, RunSums
from mcimport.models.records import ListRow
from mcimport.models.timestamps import iso
from mcimport.state import lists, retention, runs
from mcimport.state.database import State
from mcimport.state.row_mapping import text

_DAY = 86_400  # seconds
_SUMS = {  # each name of RunSums, in their order, and how it is added up
    **{name: f"sum({name})" for name in RunSums.__struct_fields__},
    "runs": "count(*)",
    "runs_failed": "sum(status = 'failed')",
    "members_compared": "sum(members_read * (kind = 'reconcile'))",
}
_BEGAN = "started_at BETWEEN ? AND ?"

_ByDay = dict[tuple[str, str], RunSums]  # by list and day
_Letters = dict[str, tuple[int, int]]  # by list: how many were opened in the period, how many are open now


def active_clients(state: State, since: int, until: int) -> list[str]:
    """Returns the clients with runs that began in the period, which includes both its ends."""
    query = f"SELECT DISTINCT client FROM runs WHERE {_BEGAN} ORDER BY client"  # noqa: S608 - fixed texts
    return [client for (client,) in state.rows(query, [text(since), text(until)])]


def of_clients(
    state: State, clients: Mapping[str, Sequence[str]], since: int, until: int, keep: int
) -> list[ClientActivity]:
    """Returns what was done for these clients in the period, in their order.

    `clients`: by name, the lists that are shown even where nothing was done; empty: all that the state file knows.
    `keep`: seconds for which the log is kept.
    """
    by_day, letters = _run_sums(state, since, until), _letters(state, since, until)
    rows: dict[str, list[ListRow]] = defaultdict(list)
    for row in lists.all_lists(state):
        rows[row.client].append(row)
    first = runs.first_started_at(state)
    whole_since = retention.whole_since(state, keep)
    is_whole = whole_since is None or first is None or max(since, first) >= whole_since
    return [
        ClientActivity(
            client,
            since,
            until,
            lists=tuple(_lists(state, keys, rows[client], by_day[client], letters[client])),
            days=_days(by_day[client], max(since, until if first is None else first), until),
            whole_since=None if is_whole else whole_since,
        )
        for client, keys in clients.items()
    ]


def _run_sums(state: State, since: int, until: int) -> dict[str, _ByDay]:
    """Returns by client the sums over the runs that began in the period."""
    columns = ", ".join(["client", "list_key", "substr(started_at, 1, 10)", *_SUMS.values()])
    query = f"SELECT {columns} FROM runs WHERE {_BEGAN} GROUP BY 1, 2, 3"  # noqa: S608 - fixed texts
    found: dict[str, _ByDay] = defaultdict(dict)
    for client, list_key, day, *numbers in state.rows(query, [text(since), text(until)]):
        found[client][list_key, day] = RunSums(*numbers)
    return found


def _letters(state: State, since: int, until: int) -> dict[str, _Letters]:
    """Returns by client how many dead letters there are, of lists that have any."""
    query = (
        "SELECT client, list_key, sum(created_at BETWEEN ? AND ?) AS opened, sum(status = 'open') AS still_open"
        " FROM dead_letters GROUP BY 1, 2 HAVING opened OR still_open"
    )
    found: dict[str, _Letters] = defaultdict(dict)
    for client, list_key, opened, still_open in state.rows(query, [text(since), text(until)]):
        found[client][list_key] = opened, still_open
    return found


def _lists(
    state: State, configured: Sequence[str], rows: Sequence[ListRow], by_day: _ByDay, letters: _Letters
) -> Iterator[ListActivity]:
    known = configured or [row.list_key for row in rows]
    for list_key in dict.fromkeys([*known, *(key for key, _ in by_day), *letters]):
        sums = (found for (key, _), found in by_day.items() if key == list_key)
        own = [row for row in rows if row.list_key == list_key]  # several where the destination has changed
        synced = (runs.last_success_at(state, row.id) for row in own)
        compared = max(own, key=lambda row: row.reconciled_at or 0, default=None)
        yield ListActivity(
            list_key,
            sum(sums, RunSums()),
            *letters.get(list_key, (0, 0)),
            synced_at=max((moment for moment in synced if moment is not None), default=None),
            compared_at=compared.reconciled_at if compared else None,
            compared=lists.reconciled(compared) if compared else {},
        )


def _days(by_day: _ByDay, first: int, last: int) -> dict[str, int]:
    """Returns how many contacts were pushed on each day."""
    days = {iso(second)[:10]: 0 for second in range(first - first % _DAY, last + 1, _DAY)}
    for (_, day), sums in by_day.items():
        days[day] = days.get(day, 0) + sums.contacts_pushed
    return dict(sorted(days.items()))
