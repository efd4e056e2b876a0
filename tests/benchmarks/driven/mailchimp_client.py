"""Mailchimp's own client in ten threads, offset pages, pushing with the `ometria` client: an afternoon's importer."""

from __future__ import annotations

import json
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mailchimp_marketing
import ometria

CONNECTIONS, PAGE, BATCH = 10, 1_000, 100
PATIENCE = 300  # seconds, then the system ends this process


def main() -> None:
    signal.alarm(PATIENCE)
    wish = json.loads(sys.argv[1])
    total = _members(wish, count=1)["total_items"]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in pool.map(lambda offset: _carry(wish, offset), range(0, total, PAGE)):
            pass  # whatever a thread raised is raised here


def _carry(wish: dict[str, Any], offset: int) -> None:
    members = _members(wish, count=PAGE, offset=offset, sort_field="last_changed", sort_dir="ASC")["members"]
    records = [_record(wish, member) for member in members if member["email_address"]]
    for first in range(0, len(records), BATCH):
        # One for each push: the client keeps what it was last used for in itself.
        client = ometria.Client(key=wish["ometria_key"], version="2")
        client.base_url = f"{wish['ometria_url']}/"
        client.push.post(data=records[first : first + BATCH])


def _members(wish: dict[str, Any], **query: Any) -> dict[str, Any]:
    client = mailchimp_marketing.Client({"api_key": wish["mailchimp_key"]})
    client.api_client.host = wish["mailchimp_url"]
    answer: dict[str, Any] = client.lists.get_list_members_info(wish["list_key"], **query)
    return answer


def _record(wish: dict[str, Any], member: dict[str, Any]) -> dict[str, Any]:
    fields = member["merge_fields"]
    names = {"firstname": fields.get("FNAME"), "lastname": fields.get("LNAME")}
    return {
        "@type": "contact",
        "@collection": "mailchimp",
        "id": f"{wish['list_key']}-{member.get('contact_id') or member['web_id']}",
        "email": member["email_address"],
        "marketing_optin": "EXPLICITLY_OPTEDIN" if member["status"] == "subscribed" else "NOT_SPECIFIED",
        **{name: value for name, value in names.items() if value},
    }


if __name__ == "__main__":
    main()
