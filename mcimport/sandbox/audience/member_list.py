"""The members of one list, in order."""

# ruff: noqa: S311 - the sandbox's chance must be repeatable, not secret

from __future__ import annotations

import random
import re
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import RLock
from typing import Any, overload

from mcimport.sandbox.audience.invented_members import address_of, invent
from mcimport.sandbox.audience.member_ids import ListIdentity, md5
from mcimport.sandbox.audience.sort_keys import key_of, number_of
from mcimport.sandbox.audience.stored_member import StoredMember, with_own
from mcimport.sandbox.clock import Clock
from mcimport.sandbox.settings import SandboxSettings

LISTED = "listed"
ARCHIVED = "archived"

_STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional", ARCHIVED)
_SHARES = (70, 18, 4, 2, 2, 4)
_YEAR = 365 * 86_400
_NEWEST = 240
_CROWD = 3000
_CROWD_SHARE = 0.15
_UNKNOWN_OPT_IN = 0.01
_SIGNED_UP_BY_FORM = 0.6
_KEPT = 10_000  # inventions kept, some 60 MB: to invent somebody anew costs more than to write them


class Person(dict[str, Any]):
    """A member as the list holds them at the moment of asking: the API's fields, all tags, no `_links`.

    `number` stays the same whatever changes, so a person can be handed back as `who`.
    """

    __slots__ = ("number",)

    def __init__(self, number: int, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.number = number


Who = Iterable[Person | str | int]
"""Exact members: as returned, or by MD5, address or contact_id, or by web_id."""


class People(Sequence[Person]):
    """Certain members, each written when looked at; iteration leaves out whom a deletion took meanwhile."""

    def __init__(self, members: MemberList, numbers: Sequence[int]) -> None:
        self._members = members
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: int) -> Person: ...
    @overload
    def __getitem__(self, at: slice) -> People: ...
    def __getitem__(self, at: int | slice) -> Person | People:
        if isinstance(at, slice):
            return People(self._members, self.numbers[at])
        return self._members.person(self.numbers[at])

    def __iter__(self) -> Iterator[Person]:
        for number in self.numbers:
            with self._members.lock:
                there = number in self._members.rows
                person = self._members.person(number) if there else None
            if person is not None:
                yield person


class MemberList:
    """The members of one list.

    Attributes:
        lock: held for every change; a reader who needs two facts of one moment holds it, too.
        rows: by member number.
        orders: `listed`, and each status; sorted keys (see the module).
    """

    def __init__(self, list_key: str, size: int, knobs: SandboxSettings, clock: Clock) -> None:
        self.list_key = list_key
        self.knobs = knobs
        self.lock = RLock()
        self.identity = ListIdentity(list_key, knobs.seed)
        self.rows: dict[int, StoredMember] = {}
        self.orders: defaultdict[str, list[int]] = defaultdict(list)
        self.when_changed: list[Callable[[int], None]] = []
        self._clock = clock
        self._chance = random.Random(f"{knobs.seed}/{list_key}")
        self._aliases: dict[str, int] = {}
        self._hashes: dict[str, int] | None = None
        self._invented: dict[int, tuple[Sequence[str], dict[str, Any]]] = {}
        self._next = size
        self._settle(size)

    # -- how it begins

    def _settle(self, size: int) -> None:
        now, chance = self._clock.second(), self._chance
        crowd, crowd_at = min(_CROWD, int(size * _CROWD_SHARE)), now - chance.randrange(_YEAR // 12, 2 * _YEAR)
        statuses = chance.choices(_STATUSES, _SHARES, k=size)
        for number, status in enumerate(statuses):
            changed = crowd_at if number < crowd else now - _NEWEST - int(chance.random() * 3 * _YEAR)
            row = StoredMember(number, status, changed, *self._opt_in(status, changed))
            row.key = key_of(row.number, changed, self.identity.web_base)
            self.rows[number] = row
        for key in sorted(row.key for row in self.rows.values()):
            for order in _orders_of(self.rows[number_of(key)].status):
                self.orders[order].append(key)

    def _opt_in(self, status: str, changed: int) -> tuple[int, int]:
        """When they opted in and signed up; 0 where that is not known."""
        chance = self._chance.random
        if status in {"pending", "transactional"} or chance() < _UNKNOWN_OPT_IN:
            return 0, 0
        opt = changed - int(chance() ** 2 * 2 * _YEAR)
        return opt, opt - 60 if chance() < _SIGNED_UP_BY_FORM else 0

    # -- who is there

    @property
    def members(self) -> People:
        """Everybody, the archived included."""
        with self.lock:
            return People(self, tuple(self.rows))

    def listed(self) -> People:
        """Everybody but the archived, in the order of `last_changed`."""
        return self.with_status(LISTED)

    def archived(self) -> People:
        return self.with_status(ARCHIVED)

    def with_status(self, status: str) -> People:
        with self.lock:
            return People(self, [number_of(key) for key in self.orders[status]])

    def person(self, number: int) -> Person:
        """Raises KeyError for somebody who was deleted."""
        with self.lock:
            row = self.rows[number]
            return Person(number, with_own(row, self._invention(row)))

    def _invention(self, row: StoredMember) -> dict[str, Any]:
        """Nobody changes what is in it: it is handed out again until something happens to the member."""
        texts = self.knobs.permissions
        known = self._invented.get(row.number)
        if known is not None and known[0] == texts:
            return known[1]
        invented = invent(self.identity, row, texts)
        if len(self._invented) < _KEPT:
            self._invented[row.number] = texts, invented
        return invented

    def find(self, key: str) -> Person | None:
        """By MD5 of the lowercased address, by the address, or by contact_id, as the API finds a single member."""
        key = key.lower()
        with self.lock:
            for number in self._candidates(key):
                if number in self.rows and key in names_of(person := self.person(number)):
                    return person
        return None

    def _candidates(self, key: str) -> Iterator[int]:
        yield self._aliases.get(key, -1)
        yield self.identity.number_of(key) or 0
        if re.fullmatch(r"[0-9a-f]{32}", key):
            yield self._number_by_hash(key)

    def _number_by_hash(self, key: str) -> int:
        if self._hashes is None:  # built when first needed: a second for 100,000 members
            self._hashes = {md5(address_of(self.identity, number)): number for number in self.rows}
        return self._hashes.get(key, -1)

    # -- how they are put in order

    def _admit(self, row: StoredMember) -> StoredMember:
        row.number = self._next
        self._next += 1
        self._put_in(row, row.changed)
        self._known_by(row)
        return row

    def _take_out(self, row: StoredMember) -> None:
        for name in _orders_of(row.status):
            order = self.orders[name]
            del order[bisect_left(order, row.key)]
        self._tell(row.number)

    def _put_in(self, row: StoredMember, second: int) -> None:
        row.key = key_of(row.number, second, self.identity.web_base)
        self.rows[row.number] = row
        for name in _orders_of(row.status):
            insort(self.orders[name], row.key)
        self._tell(row.number)

    def _tell(self, number: int) -> None:
        self._invented.pop(number, None)
        for listener in self.when_changed:
            listener(number)

    def _known_by(self, row: StoredMember) -> None:
        """Whoever bears a name that cannot be worked out from their number is found by it."""
        if row.own and {"email_address", "id", "contact_id"} & row.own.keys():
            for name in names_of(self.person(row.number)):
                self._aliases[name] = row.number
        elif self._hashes is not None:
            self._hashes[md5(address_of(self.identity, row.number))] = row.number


def names_of(person: Mapping[str, Any]) -> set[str]:
    """What a single member can be asked for by, in lower case."""
    return {str(person[field]).lower() for field in ("id", "email_address", "contact_id") if person.get(field)}


def _orders_of(status: str) -> tuple[str, ...]:
    return (ARCHIVED,) if status == ARCHIVED else (LISTED, status)
