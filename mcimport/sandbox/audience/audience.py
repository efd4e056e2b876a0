"""One list and the people on it: who they are, in which order they stand, and what happens to them.

The order is kept, not made for each question: sorted lists of whole numbers, `last_changed` in the high bits, then a
scramble of the member's number (members of one second stand in an order that is arbitrary, stable, and not the order in
which they came), then the number itself. One such list for everybody on the list, one for each status.
"""

# ruff: noqa: S311 - the sandbox's chance must be repeatable, not secret

from __future__ import annotations

import random
import re
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import RLock
from typing import Any, overload

from mcimport.sandbox.audience.countries import COUNTRIES
from mcimport.sandbox.audience.invented_members import (
    ABSENT,
    ListIdentity,
    StoredMember,
    address_of,
    invent,
    md5,
    moved_address,
    permissions_of,
    unique_email_id,
    with_own,
)
from mcimport.sandbox.clock import Clock, epoch
from mcimport.sandbox.settings import SandboxSettings

LISTED = "listed"
ARCHIVED = "archived"

_NUMBER_BITS = 28
_NUMBERS = (1 << _NUMBER_BITS) - 1
_TIME_SHIFT = 2 * _NUMBER_BITS
_SCRAMBLE = 2_654_435_761

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

    def __init__(self, audience: Audience, numbers: Sequence[int]) -> None:
        self._audience = audience
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: int) -> Person: ...
    @overload
    def __getitem__(self, at: slice) -> People: ...
    def __getitem__(self, at: int | slice) -> Person | People:
        if isinstance(at, slice):
            return People(self._audience, self.numbers[at])
        return self._audience.person(self.numbers[at])

    def __iter__(self) -> Iterator[Person]:
        for number in self.numbers:
            with self._audience.lock:
                there = number in self._audience.rows
                person = self._audience.person(number) if there else None
            if person is not None:
                yield person


def second_of(key: int) -> int:
    """The `last_changed` by which a member stands in the order."""
    return key >> _TIME_SHIFT


def number_of(key: int) -> int:
    return key & _NUMBERS


def tie_of(key: int) -> int:
    """Orders members in an arbitrary way that no change of theirs touches."""
    return key & ((1 << _TIME_SHIFT) - 1)


def start_of(second: int) -> int:
    """The smallest key that a member of this second can have."""
    return max(0, second) << _TIME_SHIFT


class Audience:
    """The members of one list. Every method may be called from any thread, also while the list is being read.

    What happens to a member sets `last_changed` to the clock's second. Who it happens to is drawn from the seed, unless
    `who` names them; the members concerned are returned as they are afterwards. If there are fewer of the kind than
    asked for, it happens to all there are.

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
        self._moves = 0
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
            row.key = self._key(row.number, changed)
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

    def _key(self, number: int, second: int) -> int:
        tie = (number * _SCRAMBLE + self.identity.web_base) & _NUMBERS
        return start_of(second) | tie << _NUMBER_BITS | number

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

    # -- what happens

    def change(self, n: int = 1, who: Who | None = None) -> People:
        """Other names and another number of points."""
        return self._each(self._whom(who, n), self._rename)

    def join(self, n: int = 1) -> People:
        """New people, subscribed this second."""
        now = self._clock.second()
        return self.crowd(n, now)

    def crowd(self, n: int, at: int) -> People:
        """New subscribers who all share the second `at`, as after an import."""
        with self.lock:
            rows = [self._admit(StoredMember(0, "subscribed", at, at, at)) for _ in range(n)]
        return self._people(rows)

    def leave(self, n: int = 1, who: Who | None = None) -> People:
        """Archived."""
        return self._each(self._whom(who, n), lambda row: self._put(row, status=ARCHIVED))

    def come_back(self, n: int = 1, who: Who | None = None) -> People:
        """From the archive to the subscribers; `timestamp_opt` stays as old as it is, as seen in the wild."""
        return self._each(self._whom(who, n, ARCHIVED), lambda row: self._put(row, status="subscribed"))

    def unsubscribe(self, n: int = 1, who: Who | None = None) -> People:
        return self._each(self._whom(who, n, "subscribed"), lambda row: self._put(row, status="unsubscribed"))

    def subscribe(self, n: int = 1, who: Who | None = None) -> People:
        """A fresh opt-in of somebody who had unsubscribed."""
        return self._each(self._whom(who, n, "unsubscribed"), self._opt_in_again)

    def move_address(self, n: int = 1, who: Who | None = None) -> People:
        """Another address, and with it another MD5; contact_id and web_id stay."""
        return self._each(self._whom(who, n, fits=_has_address), self._move_address)

    def change_unseen(self, n: int = 1, who: Who | None = None) -> People:
        """Other names, without a move of `last_changed`: no incremental question ever brings them."""
        return self._each(self._whom(who, n), lambda row: self._rename(row, move=False))

    def unsubscribe_unseen(self, n: int = 1, who: Who | None = None) -> People:
        """As `change_unseen`."""
        return self._each(
            self._whom(who, n, "subscribed"), lambda row: self._put(row, move=False, status="unsubscribed")
        )

    def edit_unseen(self, one: Person, **fields: Any) -> None:
        """Any fields, as `change_unseen`."""
        status = fields.pop("status", None)
        self._each(
            [self.rows[one.number]], lambda row: self._put(row, move=False, status=status, **_with_hashes(fields))
        )

    def sign_up_again(self, n: int = 1, who: Who | None = None) -> People:
        """Somebody who had unsubscribed is typed into a double opt-in form: `pending`, until they confirm."""
        return self._each(self._whom(who, n, "unsubscribed"), lambda row: self._put(row, status="pending"))

    def text_status(
        self, n: int = 1, who: Who | None = None, *, status: Any, number: Any = "", **fields: Any
    ) -> People:
        """Another SMS status, for this number, and any other fields in the same moment; "" for both: who has none."""
        changes = {"sms_subscription_status": status, "sms_phone_number": number, **fields}
        return self._each(self._whom(who, n), lambda row: self._put(row, **changes))

    def tag(self, n: int = 1, who: Who | None = None, name: str = "just tagged") -> People:
        return self._each(self._whom(who, n), lambda row: self._tag(row, name))

    def permit(self, n: int = 1, who: Who | None = None, text: str = "Email") -> People:
        """A marketing permission is given."""
        return self._each(self._whom(who, n, "subscribed"), lambda row: self._decide(row, text, is_given=True))

    def withdraw(self, n: int = 1, who: Who | None = None, text: str = "Email") -> People:
        """A marketing permission is taken back; the status stays as it is."""
        return self._each(self._whom(who, n, "subscribed"), lambda row: self._decide(row, text, is_given=False))

    def delete(self, n: int = 1, who: Who | None = None) -> list[Person]:
        """For good: the API does not know them any more. Returns them as they were."""
        with self.lock:
            rows = self._whom(who, n)
            gone = [self.person(row.number) for row in rows]
            for row in rows:
                self._take_out(row)
                del self.rows[row.number]
        return gone

    def add(self, *, at: int | None = None, **fields: Any) -> Person:
        """Plants one exact member: an invented subscriber with these fields instead; `ABSENT` leaves one out.

        Args:
            at: the second by which they are sorted and filtered; else that of `last_changed`, else now.
            fields: whatever the API might hold. `id` and `unique_email_id` follow `email_address` if not given, and
                every marketing permission that the list has is given.
        """
        second = at if at is not None else _epoch(fields.get("last_changed"), self._clock.second())
        opted = 0 if fields.get("timestamp_opt") == "" else _epoch(fields.get("timestamp_opt"), second)
        row = StoredMember(0, str(fields.get("status", "subscribed")), second, opted, 0)
        row.own = self._all_permitted() | _with_hashes(fields)
        with self.lock:
            return self.person(self._admit(row).number)

    # -- how it happens

    def _each(self, rows: Sequence[StoredMember], happen: Callable[[StoredMember], None]) -> People:
        with self.lock:
            there = [row for row in rows if row.number in self.rows]
            for row in there:
                happen(row)
        return self._people(there)

    def _people(self, rows: Iterable[StoredMember]) -> People:
        return People(self, [row.number for row in rows])

    def _whom(
        self, who: Who | None, n: int, order: str = LISTED, fits: Callable[[Person], bool] | None = None
    ) -> list[StoredMember]:
        with self.lock:
            if who is not None:
                return [self.rows[self._number(one)] for one in who]
            keys = self.orders[order]
            some = self._chance.sample(keys, min(len(keys), n if fits is None else 4 * n + 40))
            rows = [self.rows[number_of(key)] for key in some]
            return [row for row in rows if fits is None or fits(self.person(row.number))][:n]

    def _number(self, one: Person | str | int) -> int:
        if isinstance(one, Person):
            return one.number
        if isinstance(one, int):
            return one - self.identity.web_base
        found = self.find(one)
        if found is None:
            raise KeyError("nobody by that hash, address or contact_id")
        return found.number

    def _admit(self, row: StoredMember) -> StoredMember:
        row.number = self._next
        self._next += 1
        self._put_in(row, row.changed)
        self._known_by(row)
        return row

    def _put(self, row: StoredMember, *, status: str | None = None, move: bool = True, **own: Any) -> None:
        """Changes a row and gives it its new place; `move` is False for a change that `last_changed` does not tell."""
        second = self._clock.second() if move else second_of(row.key)
        self._take_out(row)
        kept = {field: value for field, value in (row.own or {}).items() if not (move and field == "last_changed")}
        if status is not None:
            row.status = status
            kept.pop("status", None)
        row.own = {**kept, **own} or None
        if move:
            row.changed = second
        self._put_in(row, second)
        self._known_by(row)

    def _take_out(self, row: StoredMember) -> None:
        for name in _orders_of(row.status):
            order = self.orders[name]
            del order[bisect_left(order, row.key)]
        self._tell(row.number)

    def _put_in(self, row: StoredMember, second: int) -> None:
        row.key = self._key(row.number, second)
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

    def _rename(self, row: StoredMember, *, move: bool = True) -> None:
        country = self._chance.choice(COUNTRIES)
        given, family = self._chance.choice(country.given).written, self._chance.choice(country.family).written
        before = self.person(row.number).get("merge_fields")
        fields = {**before} if isinstance(before, dict) else {}
        self._moves += 1
        fields |= {"FNAME": given, "LNAME": family, "POINTS": 5000 + self._moves}
        self._put(row, move=move, merge_fields=fields, full_name=f"{given} {family}")

    def _opt_in_again(self, row: StoredMember) -> None:
        row.opt = self._clock.second()
        self._put(row, status="subscribed")
        (row.own or {}).pop("timestamp_opt", None)

    def _move_address(self, row: StoredMember) -> None:
        self._moves += 1
        address = moved_address(self.identity, row.number, self._moves)
        self._put(row, **_with_hashes({"email_address": address}))

    def _tag(self, row: StoredMember, name: str) -> None:
        tags = self.person(row.number).get("tags") or []
        self._moves += 1
        tags = [*tags, {"id": 3_000_000 + self._moves, "name": name}]
        self._put(row, move=self.knobs.tags_move, tags=tags, tags_count=len(tags))

    def _decide(self, row: StoredMember, text: str, *, is_given: bool) -> None:
        shown = self.person(row.number).get("marketing_permissions") or []
        decided = [{**one, "enabled": is_given} if one["text"] == text else one for one in shown]
        self._put(row, move=self.knobs.permissions_move, marketing_permissions=decided)

    def _all_permitted(self) -> dict[str, Any]:
        texts = self.knobs.permissions
        return {"marketing_permissions": permissions_of(self.identity, texts, [True] * len(texts))} if texts else {}


def names_of(person: Mapping[str, Any]) -> set[str]:
    """What a single member can be asked for by, in lower case."""
    return {str(person[field]).lower() for field in ("id", "email_address", "contact_id") if person.get(field)}


def _orders_of(status: str) -> tuple[str, ...]:
    return (ARCHIVED,) if status == ARCHIVED else (LISTED, status)


def _has_address(person: Person) -> bool:
    return bool(person.get("email_address"))


def _with_hashes(fields: Mapping[str, Any]) -> dict[str, Any]:
    address = fields.get("email_address")
    if address is None or address is ABSENT:
        return dict(fields)
    return {"id": md5(str(address)), "unique_email_id": unique_email_id(str(address)), **fields}


def _epoch(text: Any, otherwise: int) -> int:
    try:
        return epoch(str(text))
    except ValueError:
        return otherwise
