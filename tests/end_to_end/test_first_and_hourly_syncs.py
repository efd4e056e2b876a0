"""The main job, from an empty state to an hourly routine: who arrives, and what it costs."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from conftest import CONFIG, Importer, MakeImporter, expected_ids, imported_ids
from passing import time_passes

from mcimport.models.timestamps import epoch
from mcimport.report.format import moment_utc
from mcimport.sandbox.audience.member_list import MemberViews

TAGS_ON_A_PAGE = 50


def requests(importer: Importer, side: str, *, ending: str = "") -> list[int]:
    """The answers of one side since the ledger was cleared, by status."""
    return [one.status for one in importer.sandbox.requests if one.service == side and one.path.endswith(ending)]


def ids(people: MemberViews) -> set[str]:
    return {str(one.get("contact_id") or one["web_id"]) for one in people if one["email_address"]}


def pushed_ids(importer: Importer) -> list[str]:
    return [
        one_id.split("-", 1)[1] for one in importer.sandbox.requests if one.service == "ometria" for one_id in one.ids
    ]


def quiet_hour(importer: Importer) -> None:
    """Time passes until the overlap does not repeat anybody any more."""
    importer("sync", "--quiet")
    time_passes(300)
    importer("sync", "--quiet")
    importer.sandbox.clear_requests()


def test_a_first_sync_of_6_000_carries_everybody_who_is_on_the_list(make_importer: MakeImporter) -> None:
    """Everybody who is not archived is in Ometria, at the stated cost, and within both services' limits."""
    importer = make_importer(size=6_000)
    result = importer("sync", importer.sandbox.list_key, "--json")
    assert result.code == 0, result.err
    people = [one for one in importer.sandbox.audience().listed() if one["email_address"]]
    on_the_list = {str(one.get("contact_id") or one["web_id"]) for one in people}
    assert imported_ids(importer) == on_the_list
    statuses = Counter(one.status for one in importer.sandbox.requests)
    assert set(statuses) <= {200, 202}
    assert importer.sandbox.max_open() <= 10
    tagged = [one for one in people if len(one["tags"]) > TAGS_ON_A_PAGE]
    asked = len(requests(importer, "mailchimp", ending="/tags"))
    assert 0 < len(tagged) <= asked <= 1.1 * len(tagged) + 5
    assert len(requests(importer, "mailchimp")) - asked <= 35
    assert len(pushed_ids(importer)) <= 1.01 * len(on_the_list)
    line = result.line
    assert line["kind"] == "full"
    assert line["contacts_pushed"] == len(on_the_list)
    assert line["members_read"] == line["contacts_pushed"] + line["members_skipped"] + line["contacts_rejected"]
    assert line["windows_done"] == line["windows_total"]


def test_37_changes_cost_two_requests_and_those_that_read_the_fields(make_importer: MakeImporter) -> None:
    """An incremental sync asks once a sweep, reads the list's fields, and pushes those who changed, and nobody else."""
    importer = make_importer(size=1_500)
    quiet_hour(importer)
    changed = ids(importer.sandbox.audience().change(37))
    result = importer("sync", importer.sandbox.list_key, "--json")
    assert result.code == 0
    assert len(requests(importer, "mailchimp", ending="/members")) == 2
    assert len(requests(importer, "mailchimp")) == 2 + 4  # merge fields, categories, and the interests of two of these
    assert set(pushed_ids(importer)) == changed
    assert result.line["kind"] == "incremental"


def test_nothing_changed_costs_one_request_a_sweep_and_no_push(make_importer: MakeImporter) -> None:
    """A list in which nothing happened is asked for its changes and for its archived, and Ometria for nothing."""
    importer = make_importer(size=1_500)
    quiet_hour(importer)
    result = importer("sync", importer.sandbox.list_key)
    assert result.code == 0
    assert requests(importer, "mailchimp") == [200, 200]
    assert requests(importer, "ometria") == []


def test_whoever_is_archived_after_the_first_sync_is_opted_out(make_importer: MakeImporter) -> None:
    """The archived sweep brings those who left since the first sync, and nobody who was archived before it."""
    importer = make_importer(size=600)
    before = expected_ids(importer, archived=True)
    importer("sync", importer.sandbox.list_key)
    left = ids(importer.sandbox.audience().archive(12))
    importer("sync", importer.sandbox.list_key)
    contacts = {key[1].split("-", 1)[1]: contact for key, contact in importer.sandbox.contacts().items()}
    assert {contacts[one]["marketing_optin"] for one in left} == {"EXPLICITLY_OPTEDOUT"}
    assert not before & set(contacts)


def test_since_now_on_a_list_with_a_sync_point_says_what_is_left_out(make_importer: MakeImporter) -> None:
    """Whoever changed between the sync point and now is not carried, and that is said with the sync point's time."""
    importer = make_importer(size=300)
    importer("sync")
    point = importer("status", "--json").lines[0]["sync_point"]
    importer.sandbox.audience().change(5)
    result = importer("sync", "--since", "now", "--json")
    assert (result.code, result.line["contacts_pushed"]) == (0, 0)
    assert f"changes made between {moment_utc(epoch(point) or 0)} and now will not be imported" in result.err


def test_since_now_imports_nobody_and_the_next_sync_only_what_changed(make_importer: MakeImporter) -> None:
    """`--since now` moves the sync point alone; what changes afterwards is all that the next sync brings."""
    importer = make_importer(size=600)
    time_passes(600)
    assert importer("sync", "--since", "now").code == 0
    assert imported_ids(importer) == set()
    changed = ids(importer.sandbox.audience().change(9))
    assert importer("sync", importer.sandbox.list_key).code == 0
    assert imported_ids(importer) == changed


def test_since_an_age_imports_from_there_on_and_the_next_sync_goes_on(make_importer: MakeImporter) -> None:
    """`--since 10m` on a new list brings whoever changed in ten minutes; a plain sync then goes on from its end."""
    importer = make_importer(size=500)
    audience = importer.sandbox.audience()
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    recent = ids(audience.change(7)) | {
        str(one.get("contact_id") or one["web_id"])
        for one in audience.listed()
        if one["email_address"] and one["last_changed"] > start.isoformat()
    }
    assert importer("sync", importer.sandbox.list_key, "--since", "10min").code == 0
    assert recent == imported_ids(importer) < expected_ids(importer)
    changed = ids(audience.change(5))
    assert importer("sync", importer.sandbox.list_key).code == 0
    assert imported_ids(importer) == recent | changed


def test_full_carries_everybody_again(make_importer: MakeImporter) -> None:
    """`--full` reads the whole list whatever is remembered, and the archived since the first sync."""
    importer = make_importer(size=1_500)
    importer("sync", importer.sandbox.list_key)
    left = ids(importer.sandbox.audience().archive(3))
    importer.sandbox.clear_requests()
    result = importer("sync", importer.sandbox.list_key, "--full", "--json")
    assert result.line["kind"] == "full"
    assert set(pushed_ids(importer)) == expected_ids(importer) | left


def test_a_dry_run_pushes_nothing_and_remembers_nothing(make_importer: MakeImporter) -> None:
    """`--dry-run` reads and converts everybody, and leaves both Ometria and the state file as they were."""
    importer = make_importer(size=1_500)
    result = importer("sync", importer.sandbox.list_key, "--dry-run", "--json")
    assert result.code == 0
    assert result.line["contacts_pushed"] == len(expected_ids(importer))
    assert requests(importer, "ometria") == []
    assert not importer.db.exists()
    importer("sync", importer.sandbox.list_key)
    before = importer.db.read_bytes()
    importer.sandbox.audience().change(5)
    importer("sync", importer.sandbox.list_key, "--dry-run")
    assert importer.db.read_bytes() == before


def test_a_page_that_always_fails_is_named_in_a_dead_letter_and_all_others_arrive(make_importer: MakeImporter) -> None:
    """A span that cannot be read ends with exit 3 and one letter, as small as could be found; the rest is in."""
    importer = make_importer(size=1_500, broken=["900-902"])
    result = importer("sync", importer.sandbox.list_key, "--json")
    assert result.code == 3
    assert result.line["dead_letters"] >= 1
    letters = importer("dlq", "list", "--json").lines
    lost = expected_ids(importer) - imported_ids(importer)
    assert lost
    assert len(lost) <= 20
    dead = [(one["since"], one["until"]) for one in letters]
    people = {str(one.get("contact_id") or one["web_id"]): one for one in importer.sandbox.audience().listed()}
    assert all(any(since < people[one]["last_changed"] <= until for since, until in dead) for one in lost)


def test_a_replay_brings_the_rest_also_when_the_list_has_moved(make_importer: MakeImporter) -> None:
    """`dlq replay` delivers who is still in the span once the fault is gone; who left it comes with the next sync."""
    importer = make_importer(size=1_500, broken=["900-902"])
    importer("sync", importer.sandbox.list_key)
    lost = sorted(expected_ids(importer) - imported_ids(importer))
    importer.sandbox.settings.broken.clear()
    importer.sandbox.audience().change(who=[lost[0]])
    importer.sandbox.audience().change(75)
    result = importer("dlq", "replay")
    assert result.code == 0, result.err
    assert set(lost[1:]) <= imported_ids(importer)
    assert importer("dlq", "list", "--json").lines == []
    assert importer("sync", importer.sandbox.list_key).code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_a_list_whose_first_page_is_broken_goes_on_all_the_same(make_importer: MakeImporter) -> None:
    """A member who breaks the very first page costs a dead letter, not the sync of the whole list."""
    importer = make_importer(size=900, broken=["0-0"])
    result = importer("sync", importer.sandbox.list_key)
    assert result.code == 3
    assert len(expected_ids(importer) - imported_ids(importer)) <= 5


def test_a_run_that_was_cut_off_is_resumed(make_importer: MakeImporter) -> None:
    """After a run that failed in its middle the next sync finishes it, then carries what changed, in one call."""
    importer = make_importer(size=2_500)
    importer.configure(CONFIG + "mailchimp.window = 50\n")  # so that pages are whole when it fails
    importer.sandbox.settings.fault = lambda one: "401" if one.path.endswith("/push") and one.nth > 25 else None
    failed = importer("sync", importer.sandbox.list_key, "--json")
    assert failed.code == 1
    assert failed.line["status"] == "failed"
    importer.sandbox.settings.fault = None
    changed = ids(importer.sandbox.audience().change(11))
    importer.sandbox.clear_requests()
    result = importer("sync", importer.sandbox.list_key, "--json")
    assert result.code == 0
    assert imported_ids(importer) == expected_ids(importer)
    assert changed <= set(pushed_ids(importer))
    runs = importer("runs", "list", "--json").lines
    assert [(one["kind"], one["status"]) for one in runs] == [("incremental", "completed"), ("full", "completed")]
    assert len(pushed_ids(importer)) < len(expected_ids(importer))
