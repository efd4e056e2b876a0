"""What can happen to the people of a list, as values that Hypothesis draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fault_plan import MOST_PEOPLE
from hypothesis import strategies as st
from invariants import LATE
from member_history import MemberHistory

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.stored_member import ABSENT
from mcimport.sandbox.server import Sandbox


@dataclass(frozen=True)
class ListEvent:
    """To `n` people. A file is imported `ago` seconds ago: its people are seen first when others are already read."""

    kind: str
    n: int = 1
    ago: int = 0


NUMBERS = ("+447700900123", "+447700900456")
CHANGES: Mapping[str, Callable[[Audience, int], object]] = {
    "change": lambda audience, n: audience.change(n),
    "join": lambda audience, n: audience.join(n),
    "leave": lambda audience, n: audience.archive(n),
    "come back": lambda audience, n: audience.unarchive(n),
    "unsubscribe": lambda audience, n: audience.unsubscribe(n),
    "subscribe": lambda audience, n: audience.subscribe(n),
    "move": lambda audience, n: audience.change_address(n),
    "delete": lambda audience, n: audience.delete(n // 4 + 1),
    "tag": lambda audience, n: audience.add_tag(n),
    "withdraw": lambda audience, n: audience.withdraw_permission(n),
    "permit": lambda audience, n: audience.give_permission(n),
    "sign up again": lambda audience, n: audience.sign_up_again(n),
    "agree to texts": lambda audience, n: audience.set_sms_status(n, status="subscribed", number=NUMBERS[n % 2]),
    "refuse texts": lambda audience, n: audience.set_sms_status(n, status="unsubscribed", number=""),
    "be asked about texts": lambda audience, n: audience.set_sms_status(n, status="pending", number=NUMBERS[n % 2]),
    "leave the texts": lambda audience, n: audience.set_sms_status(n, status="", number=""),
}
ODD_ONES: Mapping[str, dict[str, Any]] = {
    "no address": {"email_address": ""},
    "no usable address": {"email_address": "not an address"},
    "unknown status": {"email_address": "odd.status@example.org", "status": "paused"},
    "shouted status": {"email_address": "shouted@example.org", "status": "SUBSCRIBED"},
    "no contact id": {"email_address": "old.account@example.org", "contact_id": ABSENT},
    "null fields": {"email_address": "null.fields@example.org", "merge_fields": None},
    "far too large": {"email_address": "large@example.org", "merge_fields": {"MMERGE13": "x" * 70_000}},
}
FILE = "file"
OTHER_LIST = "0123456789"  # of another client, with another Mailchimp account and the same one of Ometria's
TWIN, TWIN_LEAVES, NO_IN_OMETRIA, TAKEN_OUT = "twin", "twin leaves", "no in Ometria", "taken out of Ometria"

_odd = st.builds(ListEvent, st.sampled_from(sorted(ODD_ONES)))
_few = st.builds(ListEvent, st.sampled_from(sorted(CHANGES)), st.integers(1, 3))
_many = st.builds(ListEvent, st.sampled_from(sorted(CHANGES)), st.integers(1, 60))
_elsewhere = st.builds(
    ListEvent, st.sampled_from([TWIN, TWIN, TWIN_LEAVES, NO_IN_OMETRIA, TAKEN_OUT]), st.integers(1, 4)
)
_file = st.builds(ListEvent, st.just(FILE), st.integers(40, 160), st.integers(0, LATE - 10))

LIST_EVENTS = st.lists(_few | _odd | _elsewhere, max_size=3) | st.lists(_many | _odd | _file | _elsewhere, max_size=4)
"""So few that one page holds them all, or so many that it does not: these are two ways through the importer."""


def apply_events(what: Sequence[ListEvent], sandbox: Sandbox, history: MemberHistory) -> None:
    """One after another; a list that is large enough does not grow."""
    audience = sandbox.audience()
    for one in what:
        full = len(audience.rows) >= MOST_PEOPLE
        if one.kind in ELSEWHERE:
            ELSEWHERE[one.kind](sandbox, history, one.n)
        elif one.kind in CHANGES:
            CHANGES[one.kind](audience, one.n if one.kind not in {"join", "come back"} or not full else 0)
        elif one.kind in ODD_ONES:
            audience.add(**ODD_ONES[one.kind])
        elif not full:
            _import_a_file(sandbox, one)


def _import_a_file(sandbox: Sandbox, one: ListEvent) -> None:
    """Many share a second; fewer come in the second before it."""
    at = sandbox.clock.second() - one.ago
    sandbox.audience().join_in_second(one.n, at)
    sandbox.audience().join_in_second(one.n // 3, at - 1)


def _twin(sandbox: Sandbox, _: MemberHistory, n: int) -> None:
    """People of the list subscribe to the other client's, under the same address."""
    other = sandbox.audience(OTHER_LIST)
    known = {one["email_address"] for one in other.members}
    for one in list(sandbox.audience().with_status("subscribed"))[:n]:
        if one["email_address"] and one["email_address"] not in known:
            other.add(email_address=one["email_address"])


def _twin_leaves(sandbox: Sandbox, _: MemberHistory, n: int) -> None:
    """By themselves, or deleted for good."""
    other = sandbox.audience(OTHER_LIST)
    (other.delete if n % 2 else other.unsubscribe)(n)


def _no_in_ometria(sandbox: Sandbox, history: MemberHistory, n: int) -> None:
    """In a mail of Ometria's, say."""
    held = _held(sandbox, history, n)
    sandbox.store_contacts(
        {"@collection": key[0], "id": key[1], "marketing_optin": "EXPLICITLY_OPTEDOUT"} for key in held
    )
    history.said_no.update(held)


def _taken_out(sandbox: Sandbox, history: MemberHistory, n: int) -> None:
    """Nobody is told, not even by `GET /push/_errors`."""
    lost = _held(sandbox, history, n)
    sandbox.delete_contacts(lost)
    history.dropped.update(lost)


def _held(sandbox: Sandbox, history: MemberHistory, n: int) -> list[tuple[str, str]]:
    front = (history.collection, f"{sandbox.list_key}-")
    return [key for key in sandbox.contacts() if key[0] == front[0] and key[1].startswith(front[1])][:n]


ELSEWHERE: Mapping[str, Callable[[Sandbox, MemberHistory, int], None]] = {
    TWIN: _twin,
    TWIN_LEAVES: _twin_leaves,
    NO_IN_OMETRIA: _no_in_ometria,
    TAKEN_OUT: _taken_out,
}
