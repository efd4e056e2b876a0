"""A sequential importer, as the known connectors are built: one connection, one page at a time, dictionaries.

python -m benchmarks.naive_importer OPTIONS, as JSON. It reads by offset, turns every member into the least that Ometria
takes, and pushes a hundred at a time before it reads on; a 429 costs it a second.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from threading import Event
from typing import Any

import httpx
import msgspec

PAGE, BATCH = 1_000, 100
PATIENCE = 1.0  # seconds after a 429


class Wish(msgspec.Struct, frozen=True):
    """Where from and where to."""

    mailchimp_url: str
    ometria_url: str
    mailchimp_key: str
    ometria_key: str
    list_key: str


def main() -> None:
    wish = msgspec.json.decode(sys.argv[1], type=Wish)
    with httpx.Client(trust_env=False, timeout=60) as client:
        for members in _pages(client, wish):
            records = [_record(wish, member) for member in members if member["email_address"]]
            for first in range(0, len(records), BATCH):
                _push(client, wish, records[first : first + BATCH])


def _pages(client: httpx.Client, wish: Wish) -> Iterator[list[dict[str, Any]]]:
    offset = 0
    while True:
        answer = client.get(
            f"{wish.mailchimp_url}/lists/{wish.list_key}/members",
            params={"count": PAGE, "offset": offset, "sort_field": "last_changed", "sort_dir": "ASC"},
            auth=("any", wish.mailchimp_key),
        )
        members = answer.raise_for_status().json()["members"]
        yield members
        if len(members) < PAGE:
            return
        offset += PAGE


def _record(wish: Wish, member: dict[str, Any]) -> dict[str, Any]:
    fields = member["merge_fields"]
    names = {"firstname": fields.get("FNAME"), "lastname": fields.get("LNAME")}
    return {
        "@type": "contact",
        "@collection": "mailchimp",
        "id": f"{wish.list_key}-{member.get('contact_id') or member['web_id']}",
        "email": member["email_address"],
        "marketing_optin": "EXPLICITLY_OPTEDIN" if member["status"] == "subscribed" else "NOT_SPECIFIED",
        **{name: value for name, value in names.items() if value},
    }


def _push(client: httpx.Client, wish: Wish, records: list[dict[str, Any]]) -> None:
    while True:
        answer = client.post(f"{wish.ometria_url}/push", json=records, headers={"X-Ometria-Auth": wish.ometria_key})
        if answer.status_code != 429:
            answer.raise_for_status()
            return
        Event().wait(PATIENCE)


if __name__ == "__main__":
    main()
