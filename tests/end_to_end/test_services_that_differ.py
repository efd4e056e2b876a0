"""Each way in which the two services may differ from what is known: no sync loses a member or invents consent."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import CONFIG, Importer, MakeImporter, expected_ids, imported_ids
from monitoring.probe.differences import HARMLESS, IN, SAID
from passing import time_passes

from mcimport.monitoring.probe import mailchimp_reading, written_contact
from mcimport.sandbox.settings import SandboxSettings

SMALL_PAGES = CONFIG + "mailchimp.window = 50\nometria.batch = 10\n"
TAGS = [{"id": number, "name": f"tag {number}"} for number in range(60)]
LONG_AGO = 1_700_000_000

PROBE = ("--write", "--address", "operator@example.com", "--yes", "--json")


@pytest.fixture(autouse=True)
def _without_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sandbox never stores, and what it delays, is told from the rest after less than a second."""
    monkeypatch.setattr(written_contact, "SHORTEST_WAIT", 0.2)
    monkeypatch.setattr(mailchimp_reading, "SLOWER", 0.2)


def probed(importer: Importer) -> list[dict[str, Any]]:
    result = importer("probe", importer.sandbox.list_key, *PROBE)
    assert result.code in (0, 1, 3), result.err  # 1: where no consent is read back, the end is not seen
    return result.lines


def different(importer: Importer) -> set[str]:
    """The facts that a probe says are different."""
    return {str(line["fact"]) for line in probed(importer) if line["verdict"] == "differs"}


def opted_in_wrongly(importer: Importer) -> set[str]:
    """Ids of contacts that are opted in though their member is not subscribed, or is gone."""
    list_key, members = importer.sandbox.list_key, importer.sandbox.audience().members
    subscribed = {
        f"{list_key}-{one.get('contact_id') or one['web_id']}" for one in members if one["status"] == "subscribed"
    }
    contacts = importer.sandbox.contacts().items()
    return {key for (_, key), contact in contacts if contact.get("marketing_optin") == IN and key not in subscribed}


def stir(importer: Importer) -> None:
    """All that happens on a list, to different members."""
    audience = importer.sandbox.audience()
    time_passes(120)
    audience.join(5)
    audience.change(10)
    audience.subscribe(3)
    audience.unsubscribe(10)
    audience.archive(10)
    audience.unarchive(2)
    audience.change_address(3)
    time_passes(120)


@pytest.mark.parametrize(("settings", "fact"), HARMLESS, ids=str)
def test_a_probe_names_what_differs_and_the_syncs_import_all_members(
    make_importer: MakeImporter, settings: dict[str, Any], fact: str | None
) -> None:
    """Exactly that fact; the first sync and the next succeed, Ometria has all members, and no wrong consent."""
    importer = make_importer(size=150, **settings)
    importer.sandbox.audience().add(tags=TAGS, tags_count=len(TAGS), at=LONG_AGO, timestamp_opt="")
    importer.sandbox.store_contacts([{"@collection": "shop", "id": "1", "email": "shop@example.com"}])
    assert synced(importer)
    assert different(importer) == ({fact} if fact else set())
    stir(importer)
    assert synced(importer)


def synced(importer: Importer) -> bool:
    """A sync succeeds without a dead letter; nobody is missing then, and nobody opted in wrongly."""
    result = importer("sync")
    assert (result.code, "dead letter" in result.err) == (0, False), result.err
    assert expected_ids(importer) <= imported_ids(importer)
    return not opted_in_wrongly(importer)


@pytest.mark.parametrize(("settings", "fact", "words"), SAID, ids=str)
def test_what_cannot_be_imported_is_named_said_and_made_up_for(
    make_importer: MakeImporter, settings: dict[str, Any], fact: str, words: str
) -> None:
    """The sync that meets it does not succeed, and opts no member in wrongly; once it is over, all are imported."""
    importer = make_importer(size=150)
    importer.configure(SMALL_PAGES)
    assert importer("sync").code == 0
    vars(importer.sandbox.settings).update(settings)
    assert different(importer) == {fact}
    opted_in = {
        key for (_, key), contact in importer.sandbox.contacts().items() if contact.get("marketing_optin") == IN
    }
    stir(importer)
    result = importer("sync", "--full")
    assert result.code in (1, 3)
    assert words in result.err
    assert opted_in_wrongly(importer) <= opted_in
    defaults = vars(SandboxSettings())
    vars(importer.sandbox.settings).update({name: defaults[name] for name in settings})
    importer("dlq", "replay")
    assert synced(importer)


def test_archived_members_that_mailchimp_shows_nowhere_are_found_by_a_comparison(make_importer: MakeImporter) -> None:
    """No sync can learn of them, so none opts them out; a comparison of both sides does, as of deleted members."""
    importer = make_importer(size=150, archived="hidden")
    importer.configure(SMALL_PAGES + "reconcile.settling = 0\n")
    assert importer("sync").code == 0
    stir(importer)
    assert importer("sync").code == 0
    assert expected_ids(importer) <= imported_ids(importer)
    assert opted_in_wrongly(importer)
    (line,) = [line for line in probed(importer) if line["fact"] == "mailchimp-archived"]
    assert (line["verdict"], line["evidence"]["archived"]) == ("unknown", 0)
    assert importer("reconcile").code == 3
    assert importer("reconcile", "--force-mend", "--yes").code == 0
    assert opted_in_wrongly(importer) == set()


@pytest.mark.parametrize("choice", ["unspecified", "out"])
def test_members_who_sign_up_again_are_opted_out_where_nothing_less_takes_an_opt_in_back(
    make_importer: MakeImporter, choice: str
) -> None:
    """Where NOT_SPECIFIED keeps an opt-in, `pending = "out"` ends it; without that, it stays until they confirm."""
    importer = make_importer(size=60, unspecified_keeps=True)
    importer.configure(SMALL_PAGES + f'consent.pending = "{choice}"\n')
    assert importer("sync").code == 0
    audience = importer.sandbox.audience()
    time_passes(120)
    members = [one["web_id"] for one in audience.with_status("subscribed")[:3]]
    audience.sign_up_again(who=audience.unsubscribe(who=members))
    time_passes(120)
    assert importer("sync").code == 0
    assert len(opted_in_wrongly(importer)) == (3 if choice == "unspecified" else 0)


def test_records_whose_properties_were_created_are_stored_where_others_are_dropped(make_importer: MakeImporter) -> None:
    """Ometria accepts both, so `preview` names the properties to create before the first sync."""
    importer = make_importer(size=60)
    importer.configure(SMALL_PAGES)
    assert importer("sync").code == 0
    contacts = importer.sandbox.contacts().values()
    importer.sandbox.settings.created_properties = {name for one in contacts for name in one.get("properties", ())}
    importer.sandbox.settings.other_properties = "dropped"
    stir(importer)
    assert importer("sync").code == 0
    assert importer.sandbox.push_errors() == []
    assert expected_ids(importer) <= imported_ids(importer)
    assert opted_in_wrongly(importer) == set()
