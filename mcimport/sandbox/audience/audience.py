"""Changes the members of one list: they join, change, are archived, unsubscribe, are deleted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mcimport.sandbox.audience.countries import COUNTRIES
from mcimport.sandbox.audience.invented_members import md5, moved_address, permissions_of, unique_email_id
from mcimport.sandbox.audience.member_list import ARCHIVED, LISTED, MemberList, MemberRefs, MemberView, MemberViews
from mcimport.sandbox.audience.stored_member import ABSENT, StoredMember, number_of, second_of
from mcimport.sandbox.clock import epoch

Change = Callable[[StoredMember], None]


class Audience(MemberList):
    """Changes the members of one list. Any thread may call any method, also while the list is being read.

    A change sets `last_changed` to the clock's second. Its `n` members are drawn from the seed, unless `who` names
    them, and returned as they are afterwards. If there are fewer members of the kind, all of them change.
    """

    def change(self, n: int = 1, who: MemberRefs | None = None) -> MemberViews:
        """Gives members other names and another number of points."""
        return self._apply(who, n, self._rename)

    def join(self, n: int = 1) -> MemberViews:
        """Adds subscribers, this second."""
        return self.join_in_second(n, self._clock.second())

    def join_in_second(self, n: int, at: int) -> MemberViews:
        """Adds subscribers who all share the second `at`, as after an import."""
        with self.lock:
            rows = [self._add_row(StoredMember(0, "subscribed", at, at, at)) for _ in range(n)]
        return self._views(rows)

    def archive(self, n: int = 1, who: MemberRefs | None = None) -> MemberViews:
        return self._apply(who, n, lambda row: self._update(row, status=ARCHIVED))

    def unarchive(self, n: int = 1, who: MemberRefs | None = None) -> MemberViews:
        """Subscribes archived members again; `timestamp_opt` stays as old as it is, as reported of Mailchimp."""
        return self._apply(who, n, lambda row: self._update(row, status="subscribed"), ARCHIVED)

    def unsubscribe(self, n: int = 1, who: MemberRefs | None = None) -> MemberViews:
        return self._apply(who, n, lambda row: self._update(row, status="unsubscribed"), "subscribed")

    def subscribe(self, n: int = 1, who: MemberRefs | None = None) -> MemberViews:
        """Subscribes unsubscribed members, with a new opt-in time."""
        return self._apply(who, n, self._opt_in_again, "unsubscribed")

    def change_address(self, n: int = 1, who: MemberRefs | None = None) -> MemberViews:
        """Gives members another address, and with it another MD5; contact_id and web_id stay."""
        with self.lock:
            if who is None:
                drawn = [self.member(row.number) for row in self._select(None, 4 * n + 40)]
                who = [member for member in drawn if member.get("email_address")][:n]
            return self._apply(who, n, self._change_address)

    def change_unseen(self, n: int = 1, who: MemberRefs | None = None) -> MemberViews:
        """Gives members other names without moving `last_changed`, so that no incremental request returns them."""
        return self._apply(who, n, lambda row: self._rename(row, move=False))

    def unsubscribe_unseen(self, n: int = 1, who: MemberRefs | None = None) -> MemberViews:
        """Unsubscribes members without moving `last_changed`."""
        return self._apply(who, n, lambda row: self._update(row, move=False, status="unsubscribed"), "subscribed")

    def edit_unseen(self, member: MemberView, **fields: Any) -> None:
        """Changes any fields of a member without moving `last_changed`."""
        self._apply([member], 1, lambda row: self._update(row, move=False, **_with_hashes(fields)))

    def sign_up_again(self, n: int = 1, who: MemberRefs | None = None) -> MemberViews:
        """Makes unsubscribed members `pending`, as a double opt-in form does until they confirm."""
        return self._apply(who, n, lambda row: self._update(row, status="pending"), "unsubscribed")

    def set_sms_status(
        self, n: int = 1, who: MemberRefs | None = None, *, status: Any, number: Any = "", **fields: Any
    ) -> MemberViews:
        """Sets SMS status and number, and any other fields at the same time; "" for both is a member without SMS."""
        changes = {"sms_subscription_status": status, "sms_phone_number": number, **fields}
        return self._apply(who, n, lambda row: self._update(row, **changes))

    def add_tag(self, n: int = 1, who: MemberRefs | None = None, name: str = "just tagged") -> MemberViews:
        return self._apply(who, n, lambda row: self._add_tag(row, name))

    def give_permission(self, n: int = 1, who: MemberRefs | None = None, text: str = "Email") -> MemberViews:
        return self._apply(who, n, lambda row: self._set_permission(row, text, is_given=True), "subscribed")

    def withdraw_permission(self, n: int = 1, who: MemberRefs | None = None, text: str = "Email") -> MemberViews:
        """Withdraws a marketing permission; the status stays as it is."""
        return self._apply(who, n, lambda row: self._set_permission(row, text, is_given=False), "subscribed")

    def delete(self, n: int = 1, who: MemberRefs | None = None) -> list[MemberView]:
        """Deletes members for good, so that the API does not know them any more. Returns them as they were."""
        with self.lock:
            rows = self._select(who, n)
            gone = [self.member(row.number) for row in rows]
            for row in rows:
                self._remove_from_orders(row)
                del self.rows[row.number]
        return gone

    def add(self, *, at: int | None = None, **fields: Any) -> MemberView:
        """Adds one exact member: an invented subscriber with these fields instead; `ABSENT` leaves a field out.

        Args:
            at: the second by which they are sorted and filtered; else that of `last_changed`, else now.
            fields: whatever the API might hold. `id` and `unique_email_id` follow `email_address` if not given, and
                every marketing permission that the list has is given.
        """
        second = at if at is not None else _epoch(fields.get("last_changed"), self._clock.second())
        opted = 0 if fields.get("timestamp_opt") == "" else _epoch(fields.get("timestamp_opt"), second)
        row = StoredMember(0, str(fields.get("status", "subscribed")), second, opted, 0)
        row.overrides = self._all_permitted() | _with_hashes(fields)
        with self.lock:
            return self.member(self._add_row(row).number)

    def _apply(self, who: MemberRefs | None, n: int, change: Change, order: str = LISTED) -> MemberViews:
        with self.lock:
            rows = self._select(who, n, order)
            for row in rows:
                change(row)
        return self._views(rows)

    def _views(self, rows: Iterable[StoredMember]) -> MemberViews:
        return MemberViews(self, [row.number for row in rows])

    def _select(self, who: MemberRefs | None, n: int, order: str = LISTED) -> list[StoredMember]:
        if who is not None:
            return [self.rows[self._number_of(ref)] for ref in who]
        keys = self.orders[order]
        return [self.rows[number_of(key)] for key in self._rng.sample(keys, min(len(keys), n))]

    def _number_of(self, ref: MemberView | str | int) -> int:
        if isinstance(ref, MemberView):
            return ref.number
        if isinstance(ref, int):
            return ref - self.identity.web_base
        found = self.find(ref)
        if found is None:
            raise KeyError("no member has that MD5, address or contact_id")
        return found.number

    def _update(self, row: StoredMember, *, status: str | None = None, move: bool = True, **overrides: Any) -> None:
        """Changes a row and its place in the orders; without `move`, `last_changed` stays."""
        second = second_of(row.key)
        self._remove_from_orders(row)
        kept = dict(row.overrides or {})
        if move:
            row.changed = second = self._clock.second()
            kept.pop("last_changed", None)
        if status is not None:
            row.status = status
            kept.pop("status", None)
        row.overrides = {**kept, **overrides} or None
        self._insert_into_orders(row, second)
        self._index(row)

    def _rename(self, row: StoredMember, *, move: bool = True) -> None:
        country = self._rng.choice(COUNTRIES)
        given, family = self._rng.choice(country.given).written, self._rng.choice(country.family).written
        before = self.member(row.number).get("merge_fields")
        fields = {"FNAME": given, "LNAME": family, "POINTS": 5000 + next(self._changes)}
        merged = {**before, **fields} if isinstance(before, dict) else fields
        self._update(row, move=move, merge_fields=merged, full_name=f"{given} {family}")

    def _opt_in_again(self, row: StoredMember) -> None:
        row.opt = self._clock.second()
        self._update(row, status="subscribed")
        (row.overrides or {}).pop("timestamp_opt", None)

    def _change_address(self, row: StoredMember) -> None:
        address = moved_address(self.identity, row.number, next(self._changes))
        self._update(row, **_with_hashes({"email_address": address}))

    def _add_tag(self, row: StoredMember, name: str) -> None:
        tags = self.member(row.number).get("tags") or []
        tags = [*tags, {"id": 3_000_000 + next(self._changes), "name": name}]
        self._update(row, move=self.settings.tags_move, tags=tags, tags_count=len(tags))

    def _set_permission(self, row: StoredMember, text: str, *, is_given: bool) -> None:
        shown = self.member(row.number).get("marketing_permissions") or []
        decided = [{**given, "enabled": is_given} if given["text"] == text else given for given in shown]
        self._update(row, move=self.settings.permissions_move, marketing_permissions=decided)

    def _all_permitted(self) -> dict[str, Any]:
        texts = self.settings.permissions
        return {"marketing_permissions": permissions_of(self.identity, texts, [True] * len(texts))} if texts else {}


_CHANGES: tuple[tuple[Callable[[Audience], object], int], ...] = (
    (Audience.change, 45),
    (Audience.join, 12),
    (Audience.archive, 12),
    (Audience.unarchive, 8),
    (Audience.delete, 6),
    (Audience.change_address, 7),
    (Audience.unsubscribe, 5),
    (Audience.subscribe, 5),
)


def random_change(audience: Audience, rng: random.Random) -> None:
    """Makes one change of any kind to one member."""
    kinds, weights = zip(*_CHANGES, strict=True)
    rng.choices(kinds, weights)[0](audience)


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
