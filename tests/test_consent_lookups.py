"""A no in Ometria that neither a yes nor another no may touch: looked up where what is sent depends on it."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import CONFIG, Importer, Stage

IN, OUT, NEITHER = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"


def planted(importer: Importer, status: str = "subscribed", **fields: Any) -> Any:
    number = len(importer.box.audience().members)
    return importer.box.audience().add(
        **{"email_address": f"m{number}@example.com", "contact_id": f"{number + 1:032x}", "status": status, **fields}
    )


def key_of(importer: Importer, member: Any) -> tuple[str, str]:
    return "mailchimp", f"{importer.box.list_key}-{member['contact_id']}"


def contact_of(importer: Importer, member: Any) -> dict[str, Any]:
    """What Ometria holds of a member."""
    return importer.box.contacts()[key_of(importer, member)]


def become(importer: Importer, member: Any, status: str, **fields: Any) -> None:
    """A later change, as Mailchimp dates it."""
    importer.box.clock.advance(100)
    audience = importer.box.audience()
    audience.change(who=[member])
    audience.edit_unseen(member, status=status, **fields)


# ---- [consent] keep


@pytest.mark.parametrize("status", ["cleaned", "archived", "pending", "transactional"])
@pytest.mark.parametrize("before", [IN, OUT])
def test_keep_leaves_a_consent_as_ometria_has_it(stage: Stage, status: str, before: str) -> None:
    """Whatever that is, nothing is asked, no time of leaving is sent, and the summary calls it neither."""
    importer = stage()
    member = planted(importer)
    importer.configure(CONFIG + f'consent.{status} = "keep"\nometria.force_optin = true\n')
    assert importer("sync").code == 0
    importer.box.overwrite([{"id": key_of(importer, member)[1], "marketing_optin": before, "@force_optin": False}])
    become(importer, member, status)
    ended = importer("sync", "--json")
    assert ended.code == 0
    held = contact_of(importer, member)
    assert (held["marketing_optin"], held["properties"]["mailchimp_status"]) == (before, status)
    assert (held["@force_optin"], "timestamp_unsubscribed" in held) == (False, False)
    assert (ended.line["contacts_pushed"], ended.line["opted_in"], ended.line["opted_out"]) == (1, 0, 0)
    assert not [one for one in importer.box.requests if "/contacts" in one.path]
