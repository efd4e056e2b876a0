"""Holds the members of one list in the order of `last_changed`, and finds them.

The order is kept up to date, not sorted for each request: one sorted list of keys (see `stored_member`) for all listed
members, and one for each status.
"""

# ruff: noqa: S311 - the sandbox's chance must be repeatable, not secret

from __future__ import annotations

import random
import re
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from threading import RLock
from typing import Any, overload

from mcimport.sandbox.audience.invented_members import ListIdentity, address_of, invent, md5
from mcimport.sandbox.audience.stored_member import ABSENT, StoredMember, key_of, number_of
from mcimport.sandbox.clock import Clock
from mcimport.sandbox.settings import SandboxSettings

LISTED = "listed"
ARCHIVED = "archived"

STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional", ARCHIVED)
_WEIGHTS = (70, 18, 4, 2, 2, 4)
_YEAR = 365 * 86_400
_NEWEST_CHANGE = 240
_SAME_SECOND = 3000
_SAME_SECOND_SHARE = 0.15
_UNKNOWN_OPT_IN = 0.01
_SIGNED_UP_BY_FORM = 0.6
_CACHE_SIZE = 10_000  # members whose invented fields are kept, some 60 MB: inventing one costs more than encoding it


class MemberView(dict[str, Any]):
    """Holds a member as it is when it is looked up: the API's fields, all tags, no `_links`.

    `number` stays the same whatever changes, so a view can be passed as `who` later.
    """

    __slots__ = ("number",)

    def __init__(self, number: int, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.number = number


MemberRefs = Iterable[MemberView | str | int]
"""Names members: by a view, MD5, address, contact_id or (a number) web_id."""


class MemberViews(Sequence[MemberView]):
    """Shows some members, each as it is when it is accessed; iteration leaves out those deleted in the meantime."""

    def __init__(self, members: MemberList, numbers: Sequence[int]) -> None:
        self._members = members
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: int) -> MemberView: ...
    @overload
    def __getitem__(self, at: slice) -> MemberViews: ...
    def __getitem__(self, at: int | slice) -> MemberView | MemberViews:
        if isinstance(at, slice):
            return MemberViews(self._members, self.numbers[at])
        return self._members.member(self.numbers[at])

    def __iter__(self) -> Iterator[MemberView]:
        for number in self.numbers:
            with self._members.lock:
                there = number in self._members.rows
                member = self._members.member(number) if there else None
            if member is not None:
                yield member


class MemberList:
    """Holds the members of one list; for use by any thread.

    Attributes:
        lock: held for every change, and by readers that need two facts of one moment.
        rows: by member number.
        orders: sorted keys of `listed`, and of each status.
        listeners: called with a member's number when it changes.
    """

    def __init__(self, list_key: str, size: int, settings: SandboxSettings, clock: Clock) -> None:
        self.list_key = list_key
        self.settings = settings
        self.lock = RLock()
        self.identity = ListIdentity(list_key, settings.seed)
        self.rows: dict[int, StoredMember] = {}
        self.orders: defaultdict[str, list[int]] = defaultdict(list)
        self.listeners: list[Callable[[int], None]] = []
        self._clock = clock
        self._rng = random.Random(f"{settings.seed}/{list_key}")
        self._changes = count(1)  # what a change invents differs from change to change
        self._aliases: dict[str, int] = {}
        self._number_by_md5: dict[str, int] | None = None
        self._cache: dict[int, tuple[Sequence[str], dict[str, Any]]] = {}
        self._next_number = size
        self._fill(size)

    def _fill(self, size: int) -> None:
        now, rng = self._clock.second(), self._rng
        together = min(_SAME_SECOND, int(size * _SAME_SECOND_SHARE))
        second = now - rng.randrange(_YEAR // 12, 2 * _YEAR)
        statuses = rng.choices(STATUSES, _WEIGHTS, k=size)
        for number, status in enumerate(statuses):
            changed = second if number < together else now - _NEWEST_CHANGE - int(rng.random() * 3 * _YEAR)
            row = StoredMember(number, status, changed, *self._opt_in(status, changed))
            row.key = key_of(row.number, changed, self.identity.web_base)
            self.rows[number] = row
        for key in sorted(row.key for row in self.rows.values()):
            for order in _orders_of(self.rows[number_of(key)].status):
                self.orders[order].append(key)

    def _opt_in(self, status: str, changed: int) -> tuple[int, int]:
        """Returns when a member opted in and signed up; 0 where that is not known."""
        rng = self._rng.random
        if status in {"pending", "transactional"} or rng() < _UNKNOWN_OPT_IN:
            return 0, 0
        opt = changed - int(rng() ** 2 * 2 * _YEAR)
        return opt, opt - 60 if rng() < _SIGNED_UP_BY_FORM else 0

    @property
    def members(self) -> MemberViews:
        """All members, the archived included."""
        with self.lock:
            return MemberViews(self, tuple(self.rows))

    def listed(self) -> MemberViews:
        """Returns all members but the archived, in the order of `last_changed`."""
        return self.with_status(LISTED)

    def archived(self) -> MemberViews:
        return self.with_status(ARCHIVED)

    def with_status(self, status: str) -> MemberViews:
        with self.lock:
            return MemberViews(self, [number_of(key) for key in self.orders[status]])

    def member(self, number: int) -> MemberView:
        """Returns a member. Raises KeyError for one that was deleted."""
        with self.lock:
            row = self.rows[number]
            fields = self._invented_fields(row)
            if row.overrides:
                fields = {name: value for name, value in (fields | row.overrides).items() if value is not ABSENT}
            return MemberView(number, fields)

    def _invented_fields(self, row: StoredMember) -> dict[str, Any]:
        """Returns the invented fields, from the cache until the member changes; callers must not change them."""
        texts = self.settings.permissions
        known = self._cache.get(row.number)
        if known is not None and known[0] == texts:
            return known[1]
        invented = invent(self.identity, row, texts)
        if len(self._cache) < _CACHE_SIZE:
            self._cache[row.number] = texts, invented
        return invented

    def find(self, key: str) -> MemberView | None:
        """Finds a member by MD5 of the lowercased address, by address, or by contact_id, as the API does."""
        key = key.lower()
        with self.lock:
            for number in self._candidates(key):
                if number in self.rows and key in lookup_keys(member := self.member(number)):
                    return member
        return None

    def _candidates(self, key: str) -> Iterator[int]:
        yield self._aliases.get(key, -1)
        yield self.identity.number_of(key) or 0
        if re.fullmatch(r"[0-9a-f]{32}", key):
            if self._number_by_md5 is None:  # built when first needed: a second for 100,000 members
                self._number_by_md5 = {md5(address_of(self.identity, number)): number for number in self.rows}
            yield self._number_by_md5.get(key, -1)

    def _add_row(self, row: StoredMember) -> StoredMember:
        row.number = self._next_number
        self._next_number += 1
        self._insert_into_orders(row, row.changed)
        self._index(row)
        return row

    def _remove_from_orders(self, row: StoredMember) -> None:
        for name in _orders_of(row.status):
            order = self.orders[name]
            del order[bisect_left(order, row.key)]
        self._notify(row.number)

    def _insert_into_orders(self, row: StoredMember, second: int) -> None:
        row.key = key_of(row.number, second, self.identity.web_base)
        self.rows[row.number] = row
        for name in _orders_of(row.status):
            insort(self.orders[name], row.key)
        self._notify(row.number)

    def _notify(self, number: int) -> None:
        self._cache.pop(number, None)
        for listener in self.listeners:
            listener(number)

    def _index(self, row: StoredMember) -> None:
        """Indexes lookup keys that do not follow from the member's number."""
        if row.overrides and {"email_address", "id", "contact_id"} & row.overrides.keys():
            for name in lookup_keys(self.member(row.number)):
                self._aliases[name] = row.number
        elif self._number_by_md5 is not None:
            self._number_by_md5[md5(address_of(self.identity, row.number))] = row.number


def lookup_keys(member: Mapping[str, Any]) -> set[str]:
    """Returns what a single member can be looked up by, in lower case."""
    return {str(member[field]).lower() for field in ("id", "email_address", "contact_id") if member.get(field)}


def _orders_of(status: str) -> tuple[str, ...]:
    return (ARCHIVED,) if status == ARCHIVED else (LISTED, status)
