"""Each way in which the two services may differ from what is known: no sync loses a member or invents consent."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import CONFIG, Importer, MakeImporter, expected_ids, imported_ids
from passing import time_passes

from mcimport.sandbox.settings import SandboxSettings

SMALL_PAGES = CONFIG + "mailchimp.window = 50\nometria.batch = 10\n"
IN, OUT = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT"

# The sync imports all of it, whichever way it is.
HARMLESS: list[dict[str, Any]] = [
    {"no_date": True},
    {"edge_skew": 900},
    {"edge_skew": -900},
    {"edge_spread": 600},
    {"unstable_order": True},
    {"since_includes": True},
    {"before_includes": False},
    {"since_includes": True, "before_includes": False},
    {"fractions": "refused"},
    {"fractions": "cut"},
    {"naive_times": True},
    {"archived": "listed"},
    {"count_lies": -20},
    {"count_lies": 20},
    {"total_of_list": True},
    {"field_parts": "absent"},
    {"field_parts": "empty"},
    {"field_parts": "refused"},
    {"unknown_fields_refused": True},
    {"cut_tags": True},
    {"max_count": 30},
    {"gzip": True},
    {"wrong_key": "404"},
    {"unknown_list": "nobody"},
    {"over_limit": "403-bare", "connections": 3},
    {"without_address": "refused"},
    {"without_address": "dropped"},
    {"replaces": True},
    {"dates_opt_ins": True},
    {"other_properties": "left out"},
    {"collection_ignored": True},
    {"newest_first": True},
    {"max_contacts": 20},
    {"single_contacts": False},
    {"address_filter": "ignored"},
    {"unread_fields": {"marketing_optin"}},
    {"unread_fields": {"email"}},
    {"consent_words": {IN: "yes", OUT: "no"}},
    {"queue_headers": "none"},
    {"push_errors": "object"},
    {"push_errors": "absent"},
    {"settling": 0.3},
]

# The sync says what is wrong, and a later one makes up for it when that is over.
SAID: list[tuple[dict[str, Any], str]] = [
    ({"sort_ignored": True}, "Mailchimp ignored sort_field"),
    ({"archived": "unbounded"}, "Mailchimp ignored since_last_changed"),
    ({"max_page": 30}, "dead letters"),
]


def opted_in_wrongly(importer: Importer) -> set[str]:
    """Ids of contacts that are opted in though their member is not subscribed, or is gone."""
    list_key, members = importer.sandbox.list_key, importer.sandbox.audience().members
    subscribed = {
        f"{list_key}-{one.get('contact_id') or one['web_id']}" for one in members if one["status"] == "subscribed"
    }
    contacts = importer.sandbox.contacts().items()
    return {key for (_, key), contact in contacts if contact["marketing_optin"] == IN and key not in subscribed}


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


@pytest.mark.parametrize("settings", HARMLESS, ids=str)
def test_a_first_and_an_hourly_sync_import_all_members_and_no_wrong_consent(
    make_importer: MakeImporter, settings: dict[str, Any]
) -> None:
    """Both syncs succeed, Ometria has all members then, and none is opted in who is not subscribed."""
    importer = make_importer(size=150, **settings)
    importer.configure(SMALL_PAGES)
    for happens in (lambda _: None, stir):
        happens(importer)
        result = importer("sync")
        assert (result.code, "dead letter" in result.err) == (0, False), result.err
        assert expected_ids(importer) <= imported_ids(importer)
        assert opted_in_wrongly(importer) == set()


@pytest.mark.parametrize(("settings", "words"), SAID, ids=str)
def test_what_cannot_be_imported_is_said_and_made_up_for(
    make_importer: MakeImporter, settings: dict[str, Any], words: str
) -> None:
    """The sync that meets it does not succeed, and opts no member in wrongly; once it is over, all are imported."""
    importer = make_importer(size=150)
    importer.configure(SMALL_PAGES)
    assert importer("sync").code == 0
    vars(importer.sandbox.settings).update(settings)
    opted_in = {key for (_, key), contact in importer.sandbox.contacts().items() if contact["marketing_optin"] == IN}
    stir(importer)
    result = importer("sync", "--full")
    assert result.code in (1, 3)
    assert words in result.err
    assert opted_in_wrongly(importer) <= opted_in
    defaults = vars(SandboxSettings())
    vars(importer.sandbox.settings).update({name: defaults[name] for name in settings})
    importer("dlq", "replay")
    assert importer("sync").code == 0
    assert expected_ids(importer) <= imported_ids(importer)
    assert opted_in_wrongly(importer) == set()


def test_archived_members_that_mailchimp_shows_nowhere_are_found_by_a_comparison(make_importer: MakeImporter) -> None:
    """No sync can learn of them, so none opts them out; a comparison of both sides does, as of deleted members."""
    importer = make_importer(size=150, archived="hidden")
    importer.configure(SMALL_PAGES + "reconcile.settling = 0\n")
    assert importer("sync").code == 0
    stir(importer)
    assert importer("sync").code == 0
    assert expected_ids(importer) <= imported_ids(importer)
    left = opted_in_wrongly(importer)
    assert left
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
