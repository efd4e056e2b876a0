"""What must hold between a list and Ometria: each promise looks for those with whom it is broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from member_history import MemberHistory

from mcimport.convert import encode_contact, make_converter, member_id
from mcimport.models import ContactRules, Converted, ListFields, Member, MergeField, Skipped, Unsendable
from mcimport.models.timestamps import epoch
from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.member_list import ARCHIVED, MemberView
from mcimport.sandbox.audience.stored_member import second_of

COLLECTION = "mailchimp"
IN, OUT, NEITHER = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"
CONSENT = {"subscribed": IN, "unsubscribed": OUT, "cleaned": OUT, ARCHIVED: OUT}  # everything else is neither
LATE = 60  # seconds by which a change may be committed after the second that it is dated to

Letter = dict[str, Any]
Contacts = dict[tuple[str, str], dict[str, Any]]


@dataclass(frozen=True)
class Someone:
    """A member as they stand now: their second in the list's order, and what Ometria should say of them.

    `subscribed`: their status is just that, and they gave the permission for e-mail.
    `fields` is None for a member who cannot be carried; `letter` then tells whether a dead letter may say so.
    """

    number: int
    second: int
    archived: bool
    subscribed: bool
    who: str | None
    fields: dict[str, Any] | None
    letter: bool


@dataclass(frozen=True)
class Scene:
    """One moment, at which nobody imports anything.

    Attributes:
        people: everybody who is on the list or archived.
        settled: whoever changed up to this second is due in Ometria; None: everybody is.
        drops_told: nobody is excused whom Ometria dropped, for both sides were compared, or are about to be.
        letters: the open dead letters, as `dlq list --json` shows them.
        archived_due: whoever is archived is opted out; not once a state file was lost, until both sides are compared.
    """

    list_key: str
    people: Sequence[Someone]
    contacts: Contacts
    letters: Sequence[Letter]
    settled: int | None
    history: MemberHistory
    archived_due: bool = True
    drops_told: bool = True

    def contact(self, one: Someone) -> dict[str, Any] | None:
        return self.contacts.get((COLLECTION, f"{self.list_key}-{one.who}".lower()))

    def ours(self) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
        """The contacts of the list's own collection."""
        return ((key, one) for key, one in self.contacts.items() if key[0] == COLLECTION)

    def due(self, one: Someone) -> bool:
        """Whether what Ometria says of them must be what is so today."""
        if not self.drops_told and self.history.key_of(one.number) in self.history.dropped:
            return False
        return (self.settled is None or one.second <= self.settled) and not any(
            _covers(letter, one) for letter in self.letters
        )


def everybody(audience: Audience) -> list[Someone]:
    """As they are at one moment; conversion of names is the project's own, consent and address are judged here."""
    with audience.lock:
        return [_someone(one, second_of(audience.rows[one.number].key)) for one in audience.members]


def breaches(scene: Scene) -> list[str]:
    """What is wrong, in words without personal data; empty when every promise holds."""
    return [
        f"{promise.__name__}: member {who}"
        for promise in (
            *(missing, stale, invented, still_at_a_former_address, barred_yet_brought, welcomed_late),
            opted_in_though_not_subscribed,
        )
        for who in promise(scene)
    ]


def open_letters_without_cause(letters: Sequence[Letter], people: Sequence[Someone]) -> list[Letter]:
    """Where nothing goes wrong only members who cannot be converted may have a letter."""
    hopeless = {one.who for one in people if one.letter}
    return [letter for letter in letters if letter["kind"] != "contact" or letter["member_id"] not in hopeless]


# ---- the promises


def missing(scene: Scene) -> Iterator[str | None]:
    """Everybody who is on the list and has an address is in Ometria."""
    for one in scene.people:
        if one.fields and not one.archived and scene.due(one) and scene.contact(one) is None:
            yield one.who


def stale(scene: Scene) -> Iterator[str | None]:
    """Whoever is in Ometria and not deleted is there with today's address, names and consent, archived or not."""
    for one in scene.people:
        contact = scene.contact(one)
        if contact and one.fields and scene.due(one) and (scene.archived_due or not one.archived):
            stands = contact.get("marketing_optin") == OUT and _may_stand(scene, one)
            wrong = [name for name, value in one.fields.items() if contact.get(name) != value]
            wrong = [name for name in wrong if not (stands and name == "marketing_optin")]
            if wrong:
                yield f"{one.who} ({', '.join(wrong)}; {one.second})"


def invented(scene: Scene) -> Iterator[str | None]:
    """Ometria holds nobody who was never on the list."""
    ever = {f"{scene.list_key}-{who}".lower() for who in list(scene.history.contact_ids.values())}
    yield from (contact_id for where, contact_id in scene.contacts if where == COLLECTION and contact_id not in ever)


def still_at_a_former_address(scene: Scene) -> Iterator[str | None]:
    """Nobody's former address is opted in: not under their own id, nor under that of anybody who was not deleted."""
    if scene.settled is not None:
        return  # until the last sync, `stale` says it of those who are due
    today = {one.fields["email"] for one in scene.people if one.fields}
    alive = {one.number for one in scene.people}
    former = {address for number in alive for address in scene.history.addresses[number]} - today
    gone = {f"{scene.list_key}-{who}" for number, who in scene.history.contact_ids.items() if number not in alive}
    for (_, contact_id), contact in scene.ours():
        if contact.get("marketing_optin") == IN and contact["email"] in former and contact_id not in gone:
            yield contact_id


def barred_yet_brought(scene: Scene) -> Iterator[str | None]:
    """Who was archived before the first sync and did not come back is not brought in."""
    for one in scene.people:
        if one.number in scene.history.barred and scene.contact(one) is not None:
            yield one.who


def welcomed_late(scene: Scene) -> Iterator[str | None]:
    """Who opted in before the first sync began is not announced as a new subscriber."""
    for (_, contact_id), contact in scene.ours():
        opted = epoch(contact.get("timestamp_subscribed"))
        if opted is not None and opted < scene.history.begun - LATE:
            yield contact_id


def opted_in_though_not_subscribed(scene: Scene) -> Iterator[str | None]:
    """In the end nobody at all is opted in who is not subscribed today, whether they are on the list or not."""
    if scene.settled is not None:
        return  # until both sides were compared, those who were deleted are not known
    subscribed = {f"{scene.list_key}-{one.who}".lower() for one in scene.people if one.subscribed}
    for (_, contact_id), contact in scene.ours():
        if contact.get("marketing_optin") == IN and contact_id not in subscribed:
            yield contact_id


# ---- how they are judged


def _may_stand(scene: Scene, one: Someone) -> bool:
    """Whether a no that Ometria holds of them is right: who is neither does not lift it, and one given there stands.

    As does one that was to be lifted by a record that Ometria dropped: nobody can tell it from one given there.
    """
    is_neither = one.fields is not None and one.fields["marketing_optin"] == NEITHER
    history = scene.history
    return is_neither or history.key_of(one.number) in history.said_no | history.dropped


def _covers(letter: Letter, one: Someone) -> bool:
    if letter["kind"] == "contact":
        return bool(letter["member_id"] == one.who)
    since, until = epoch(letter["since"]), epoch(letter["until"])
    sweep = ARCHIVED if one.archived else "listed"
    return letter["sweep"] == sweep and (since is None or one.second > since) and (until is None or one.second <= until)


def _someone(person: MemberView, second: int) -> Someone:
    member = msgspec.convert({name: person.get(name) for name in Member.__struct_fields__}, Member)
    converted = _convert(member)
    status = person["status"]
    is_withheld = status == "subscribed" and not _is_permitted(person)
    fields = None
    if isinstance(converted, Converted) and not isinstance(encode_contact(converted.contact), Unsendable):
        contact = converted.contact
        names = {"firstname": contact.firstname, "lastname": contact.lastname}
        fields = {
            "email": person["email_address"].strip(),
            "marketing_optin": NEITHER if is_withheld else CONSENT.get(person["status"], NEITHER),
            **{name: value for name, value in names.items() if value is not None},  # what is emptied stays in Ometria
        }
    letter = fields is None and not isinstance(converted, Skipped)
    subscribed = status == "subscribed" and not is_withheld
    return Someone(person.number, second, status == ARCHIVED, subscribed, member_id(member), fields, letter)


def _is_permitted(person: MemberView) -> bool:
    return any(one["text"] == "Email" and one["enabled"] for one in person["marketing_permissions"])


_NAMES = ListFields({tag: MergeField(tag, "text") for tag in ("FNAME", "LNAME")})
_convert = make_converter(_NAMES, ContactRules(list_key="any"))
