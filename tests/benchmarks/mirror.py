"""An Ometria that holds whoever is on the list, and keeps only whom a mend pushes: others are made when asked for."""

from __future__ import annotations

from typing import Any

import msgspec

from mcimport.convert import make_converter, optin_of
from mcimport.models import ContactRules, Converted, ListFields, Member, MergeField
from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.member_list import ARCHIVED
from mcimport.sandbox.ometria_account import OmetriaAccount

OTHERWISE = 100  # of a list's contacts have another first name than the member


def hold_up(store: OmetriaAccount, audience: Audience) -> None:
    """From now on the store gives back what a sync of the list would have brought it to."""
    numbers = [number for number, row in audience.rows.items() if row.status != ARCHIVED]
    names = ListFields({tag: MergeField(tag, "text") for tag in ("FNAME", "LNAME")})
    rules = ContactRules(list_key=audience.list_key)
    convert = make_converter(names, rules)
    every = max(1, len(numbers) // OTHERWISE)

    def contact(place: int) -> dict[str, Any]:
        person = audience.member(numbers[place])
        known = {name: person.get(name) for name in Member.__struct_fields__ if name != "interests"}
        member = msgspec.convert(known, Member)
        found = convert(member)
        own = {"@collection": "mailchimp", "id": f"{audience.list_key}-{person.get('contact_id') or person['web_id']}"}
        if not isinstance(found, Converted):
            return {**own, "email": "", "marketing_optin": optin_of(member, rules)}
        one = found.contact
        first = "Else" if place % every == 0 else one.firstname
        return {
            **own,
            "email": one.email,
            "marketing_optin": one.marketing_optin,
            "firstname": first,
            "lastname": one.lastname,
        }

    def page(_collection: str | None, offset: int, limit: int) -> list[dict[str, Any]]:
        pushed = store.contacts()
        made = (contact(place) for place in range(offset, min(offset + limit, len(numbers))))
        return [pushed.get((one["@collection"], one["id"]), one) for one in made]

    vars(store)["page"] = page
