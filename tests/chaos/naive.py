"""The naive design beside the importer: offset pages over a list that moves; and whom each of the two loses."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from conftest import CONFIG, PLAIN, Importer

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings

BATCH = 100
LEAVERS = 10  # archived after each page

Carry = Callable[[Sandbox, int], None]
"""Carries a whole list, so many members a page."""


@dataclass
class Leavers:
    """After each page, ten of those who changed longest ago are archived: whoever reads in that order has read them."""

    numbers: set[int] = field(default_factory=set)

    def __call__(self, audience: Audience) -> None:
        oldest = audience.listed()[:LEAVERS]
        self.numbers.update(oldest.numbers)
        audience.archive(who=list(oldest))


def lost(carry: Carry, *, size: int, page: int) -> int:
    """How many members who were on the list all the time, and did not change at all, are not in Ometria afterwards."""
    leavers = Leavers()
    with Sandbox(SandboxSettings(size=size, after_page=leavers, pushes_per_second=100_000)) as sandbox:
        before = _ids(sandbox, ())
        carry(sandbox, page)
        stayed = before & _ids(sandbox, leavers.numbers)
        return len(stayed - {contact_id for _, contact_id in sandbox.contacts()})


def naively(sandbox: Sandbox, page: int) -> None:
    """Offsets 0, n, 2n, …, in the order of `last_changed`, until a page is short: as the known connectors read."""
    # Loopback: no proxy of the environment's in between.
    with httpx.Client(trust_env=False, verify=PLAIN, timeout=60) as client:
        for members in _pages(client, sandbox, page):
            records = [_record(sandbox, member) for member in members if member["email_address"]]
            for first in range(0, len(records), BATCH):
                pushed = client.post(
                    f"{sandbox.ometria_url}/push",
                    json=records[first : first + BATCH],
                    headers={"X-Ometria-Auth": sandbox.ometria_key},
                )
                pushed.raise_for_status()


def with_mcimport(sandbox: Sandbox, page: int) -> None:
    """One `mcimport sync`."""
    with tempfile.TemporaryDirectory() as folder:
        importer = Importer(sandbox, Path(folder))
        importer.configure(CONFIG + f"mailchimp.window = {page}\n")
        result = importer("sync", sandbox.list_key, "--quiet")
        assert result.code == 0, result.err


def _pages(client: httpx.Client, sandbox: Sandbox, page: int) -> Iterator[list[dict[str, Any]]]:
    offset = 0
    while True:
        answer = client.get(
            f"{sandbox.mailchimp_url}/lists/{sandbox.list_key}/members",
            params={"count": page, "offset": offset, "sort_field": "last_changed", "sort_dir": "ASC"},
            auth=("any", sandbox.mailchimp_key),
        )
        members = answer.raise_for_status().json()["members"]
        yield members
        if len(members) < page:
            return
        offset += page


def _record(sandbox: Sandbox, member: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": "contact",
        "@collection": "mailchimp",
        "id": _id(sandbox, member),
        "email": member["email_address"],
        "marketing_optin": "EXPLICITLY_OPTEDIN" if member["status"] == "subscribed" else "NOT_SPECIFIED",
    }


def _id(sandbox: Sandbox, member: dict[str, Any]) -> str:
    return f"{sandbox.list_key}-{member.get('contact_id') or member['web_id']}"


def _ids(sandbox: Sandbox, without: Collection[int]) -> set[str]:
    people = sandbox.audience().listed()
    return {_id(sandbox, one) for one in people if one["email_address"] and one.number not in without}
