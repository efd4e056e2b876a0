"""Finds the members of a page by filters, order and offset; and those that cannot be read."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable

from msgspec import Struct

from mcimport.sandbox.audience.member_list import ARCHIVED, LISTED, MemberList
from mcimport.sandbox.audience.stored_member import number_of, second_of, start_of, tie_of
from mcimport.sandbox.settings import SandboxSettings, Span

SORT_FIELDS = ("last_changed", "timestamp_opt", "timestamp_signup")


class MemberQuery(Struct, frozen=True):
    """Holds filters, order and page. Times are epoch seconds; None is no bound. Without `status` archived are left out.

    Without `sort_field` the order is arbitrary, and no change of a member moves it.
    """

    status: str | None = None
    since: int | None = None
    before: int | None = None
    opted_since: int | None = None
    opted_before: int | None = None
    sort_field: str | None = None
    descending: bool = False
    offset: int = 0
    count: int = 10


def run_query(audience: MemberList, query: MemberQuery, rng: random.Random) -> tuple[list[int], int]:
    """Returns the numbers of the members on the page as it is now, and how many there are on all pages.

    Takes no longer than the page needs when it is sorted by `last_changed`.
    """
    with audience.lock:
        order, settings = _order(audience, query.status), audience.settings
        low, high = _bounds(order, query, settings)
        total = len(audience.orders[LISTED]) if settings.total_of_list else high - low
        if query.sort_field == "last_changed" and query.opted_since is query.opted_before is None:
            keys = _page(order, low, high, query, rng if settings.unstable_order else None)
            return [number_of(key) for key in keys], total
        matching = _sorted(audience, order[low:high], query)
    total = total if settings.total_of_list else len(matching)
    return [number_of(key) for key in matching[query.offset :][: query.count]], total


def _order(audience: MemberList, status: str | None) -> list[int]:
    """Returns the sorted keys of the members whom a filter by status leaves."""
    archived = audience.settings.archived
    if status == ARCHIVED and archived == "hidden":
        return []
    if status is None and archived == "listed":
        return sorted(audience.orders[LISTED] + audience.orders[ARCHIVED])
    return audience.orders[status or LISTED]


def _bounds(order: list[int], query: MemberQuery, settings: SandboxSettings) -> tuple[int, int]:
    low, high = 0, len(order)
    if query.status == ARCHIVED and settings.archived == "unbounded":
        return low, high
    if query.since is not None:
        low = bisect_left(order, start_of(query.since + (not settings.since_includes)))
    if query.before is not None:
        high = bisect_left(order, start_of(query.before + settings.before_includes))
    return low, max(low, high)


def _page(order: list[int], low: int, high: int, query: MemberQuery, rng: random.Random | None) -> list[int]:
    first, last = low + query.offset, min(high, low + query.offset + query.count)
    if query.descending:
        first, last = max(low, high - query.offset - query.count), high - query.offset
    if first >= last:
        return []
    keys = order[first:last] if rng is None else _shuffled(order, low, high, (first, last), rng)
    return keys[::-1] if query.descending else keys


def _shuffled(order: list[int], low: int, high: int, page: tuple[int, int], rng: random.Random) -> list[int]:
    """Returns the page as if all members of each second, also just beyond its edges, had been shuffled."""
    first = max(low, bisect_left(order, start_of(second_of(order[page[0]]))))
    last = min(high, bisect_left(order, start_of(second_of(order[page[1] - 1]) + 1)))
    keys = sorted(order[first:last], key=lambda key: (second_of(key), rng.random()))
    return keys[page[0] - first : page[1] - first]


def _sorted(audience: MemberList, keys: list[int], query: MemberQuery) -> list[int]:
    rows = audience.rows
    if query.opted_since is not None:
        keys = [key for key in keys if rows[number_of(key)].opt > query.opted_since]
    if query.opted_before is not None:
        keys = [key for key in keys if rows[number_of(key)].opt <= query.opted_before]
    by: dict[str | None, Callable[[int], tuple[int, int]]] = {
        None: lambda key: (0, tie_of(key)),
        "last_changed": lambda key: (second_of(key), tie_of(key)),
        "timestamp_opt": lambda key: (rows[number_of(key)].opt, tie_of(key)),
        "timestamp_signup": lambda key: (rows[number_of(key)].signup, tie_of(key)),
    }
    return sorted(keys, key=by[query.sort_field], reverse=query.descending)


class UnreadableMembers:
    """Tells which members cannot be read. Ranks are resolved once, so that their members stay broken."""

    def __init__(self) -> None:
        self._ranks: dict[str, frozenset[int]] = {}

    def includes_any(self, audience: MemberList, numbers: list[int], broken: list[Span | str]) -> bool:
        if not broken:
            self._ranks.clear()  # ranks that are set later are resolved anew
            return False
        ranked = [self._members(audience, rank) for rank in broken if isinstance(rank, str)]
        spans = [span for span in broken if not isinstance(span, str)]
        with audience.lock:
            seconds = {n: second_of(audience.rows[n].key) for n in numbers if n in audience.rows}
        return any(
            any(number in members for members in ranked) or any(since < second <= until for since, until in spans)
            for number, second in seconds.items()
        )

    def _members(self, audience: MemberList, rank: str) -> frozenset[int]:
        name = f"{audience.list_key} {rank}"
        if name not in self._ranks:
            first, _, last = rank.partition("-")
            numbers = audience.listed().numbers[int(first) : int(last or first) + 1]
            self._ranks[name] = frozenset(numbers)
        return self._ranks[name]
