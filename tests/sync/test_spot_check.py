"""Once a day and list, a few of the contacts that Ometria accepted are read back: who is not there is said."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest
from conftest import CONFIG as ALL_BUT_SPOT_CHECKS
from conftest import Importer, MakeImporter, WebhookReceiver, configure_clients, imported_ids
from msgspec.structs import replace
from passing import time_passes

from mcimport.models import Outcome, Sample, Window
from mcimport.models.timestamps import iso
from mcimport.sandbox.request_log import Request
from mcimport.state import State, destinations, lists, open_state, runs, spot_checks
from mcimport.state.destinations import Destination
from mcimport.sync import spot_check

DAY, HOUR = 86_400, 3_600
CONFIG = ALL_BUT_SPOT_CHECKS.replace("ometria.spot_check = 0\n", "")  # ten, as where nothing is said


@pytest.fixture(name="make_importer")
def a_stage(make_importer: MakeImporter) -> MakeImporter:
    """As everywhere, but with spot checks."""

    def make(**knobs: Any) -> Importer:
        importer = make_importer(**knobs)
        importer.configure(CONFIG)
        return importer

    return make


def joining(importer: Importer, number: int, *, status: str = "subscribed") -> list[str]:
    """So many more on the list, who changed a moment before now; their ids in Ometria."""
    audience, before = importer.sandbox.audience(), len(importer.sandbox.audience().members)
    people = [
        audience.add(email_address=f"m{before + one}@example.com", status=status, merge_fields={})
        for one in range(number)
    ]
    time_passes(120)
    return [f"{importer.sandbox.list_key}-{one.get('contact_id') or one['web_id']}".lower() for one in people]


def imported(make_importer: MakeImporter, number: int = 10, *, config: str = CONFIG, drops: int = 0) -> Importer:
    """After a first sync of so many, of whom Ometria's validation drops some; an hour later."""
    importer = make_importer()
    importer.configure(config)
    importer.sandbox.settings.drops = set(joining(importer, number)[:drops])
    assert importer("sync").code == 0
    time_passes(HOUR)
    importer.sandbox.clear_requests()
    return importer


def telling(receiver: WebhookReceiver) -> str:
    """Settings by which a webhook is told, and a comparison need not wait."""
    return f'[notify]\nwebhook_url = "{receiver.url}/hook"\n\n{CONFIG}reconcile.settling = 0\n'


def reads(importer: Importer) -> list[Request]:
    """Single contacts that were asked for."""
    return [one for one in importer.sandbox.requests if one.path.startswith("/contacts/")]


def accusation(importer: Importer, accepted: int, missing: int) -> list[str]:
    """What is said of them, whether midnight has passed since or not."""
    key = importer.sandbox.list_key
    return [
        f"Ometria accepted {accepted} contacts {day}, but {missing} of them are not there;"
        f" `mcimport reconcile {key}` lists them all"
        for day in ("today", "yesterday")
    ]


def is_said(text: str, words: list[str]) -> bool:
    return any(one in " ".join(text.split()) for one in words)


def sampled(importer: Importer) -> set[str]:
    """Ids (without the list) that the next spot check asks for."""
    with open_state(importer.db) as state:
        return {one.member_id for one in spot_checks.sample(state, 1)}


# ---- what is said


def test_contacts_that_ometria_dropped_after_accepting_them_are_said_by_the_next_sync(
    make_importer: MakeImporter,
) -> None:
    """With the number, and what names them all; the sync has done its work, so it is 0."""
    importer = imported(make_importer, drops=3)
    result = importer("sync", "--json")
    assert result.code == 0
    assert (result.line["spot_check"]["accepted"], result.line["spot_check"]["missing"]) == (10, 3)
    assert [is_said(words, accusation(importer, 10, 3)) for words in result.line["warnings"]] == [True]


def test_the_summary_says_who_is_missing_and_passes_quiet_once(make_importer: MakeImporter) -> None:
    """As cron runs it, too; and the run keeps it."""
    importer = imported(make_importer, drops=2)
    assert is_said(importer("sync", "--quiet").err, accusation(importer, 10, 2))
    shown = importer("runs", "show", "2")
    assert is_said(shown.out, accusation(importer, 10, 2))
    assert "10 contacts from earlier runs read back, 2 missing" in shown.out
    assert importer("runs", "show", "2", "--json").line["spot_check"]["missing"] == 2
    time_passes(HOUR)
    assert importer("sync", "--quiet").err == ""


def test_contacts_that_are_all_there_are_worth_no_word(make_importer: MakeImporter) -> None:
    """Opted out, opted in or neither: whoever was pushed counts alike. The run's record says that it was looked."""
    importer = make_importer()
    for status in ("subscribed", "unsubscribed", "pending"):
        joining(importer, 3, status=status)
    importer("sync")
    time_passes(HOUR)
    importer.sandbox.clear_requests()
    result = importer("sync", "--json")
    assert (result.code, result.line["warnings"], result.line["spot_check"]["missing"]) == (0, [], 0)
    assert len({one.path for one in reads(importer)}) == len(reads(importer)) == 9
    assert "9 contacts from earlier runs read back, 0 missing" in importer("runs", "show", "2").out
    assert importer("status", "--json").line["spot_check"] is None


def test_status_says_who_is_missing_until_both_sides_were_compared(make_importer: MakeImporter) -> None:
    """In the row's note and for programs; a comparison of all knows better than a look at some."""
    importer = imported(make_importer, drops=3)
    key = importer.sandbox.list_key
    importer("sync")
    time_passes(2 * HOUR)
    importer("sync")
    words = f"3 of 10 contacts that Ometria accepted are not there (checked 2 h ago): `mcimport reconcile {key}`"
    assert words in " ".join(importer("status").out.split())
    shown = importer("status", "--json").line["spot_check"]
    assert (shown["accepted"], shown["missing"]) == (10, 3)
    importer.sandbox.settings.drops = set()
    importer.configure(CONFIG + "reconcile.settling = 0\n")
    assert importer("reconcile", "--mend", "--yes").code == 0
    assert importer("status", "--json").line["spot_check"] is None
    assert "not there" not in importer("status").out


def test_a_later_spot_check_that_finds_everybody_ends_nothing(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """It looked at others: those who were missing are so still, and neither `status` nor the webhook says else."""
    importer = imported(make_importer, drops=3, config=telling(receiver))
    importer("sync")
    importer.sandbox.settings.drops = set()
    for _ in range(2):
        joining(importer, 2)
        importer("sync")
        time_passes(DAY)
    assert importer("sync", "--json").line["spot_check"]["missing"] == 0
    assert importer("status", "--json").line["spot_check"]["missing"] == 3
    assert [one["event"] for one in receiver.documents if one["kind"] == "spot_check"] == ["failure"]


def test_a_later_spot_check_that_finds_others_missing_is_what_is_said(make_importer: MakeImporter) -> None:
    """The last look in which contacts were missing counts."""
    importer = imported(make_importer, drops=3)
    importer("sync")
    importer.sandbox.settings.drops = set(joining(importer, 4)[:1])
    importer("sync")
    time_passes(DAY)
    importer("sync")
    shown = importer("status", "--json").line["spot_check"]
    assert (shown["accepted"], shown["missing"]) == (4, 1)


def test_a_comparison_ends_it_and_tells_of_its_own_what_differs(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """Nobody is told that Ometria holds those whom the comparison finds missing as well."""
    importer = imported(make_importer, drops=3, config=telling(receiver))
    importer("sync")
    assert importer("reconcile").code == 3
    assert [(one["event"], one["kind"]) for one in receiver.documents] == [
        ("failure", "spot_check"),
        ("recovery", "spot_check"),
        ("failure", "differ"),
    ]
    assert receiver.documents[1]["reason"] == "both sides were compared"
    assert receiver.documents[1]["other_kinds"] == ["differ"]


def test_a_webhook_is_told_who_is_missing_once_and_of_the_end(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """A sync that goes well mends nothing of it; `reconcile --mend` does. A health check is about the call alone."""
    notify = f'[notify]\nwebhook_url = "{receiver.url}/hook"\nhealthcheck_url = "{receiver.url}/ping"\n\n'
    importer = imported(make_importer, drops=3, config=f"{notify}{CONFIG}reconcile.settling = 0\n")
    for _ in range(2):
        importer("sync")
        time_passes(HOUR)
    (failure,) = receiver.documents
    key = importer.sandbox.list_key
    assert failure["event"] == "failure"
    assert is_said(failure["reason"], [words.partition(";")[0] for words in accusation(importer, 10, 3)])
    assert failure["next"] == f"`mcimport reconcile {key}` lists them all."
    assert "/ping/fail" not in receiver.paths
    importer.sandbox.settings.drops = set()
    assert importer("reconcile", "--mend", "--yes").code == 0
    assert receiver.events == ["failure", "recovery"]


def test_a_webhook_that_failed_is_told_who_is_missing_by_the_next_call(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """That one looks at nobody; the state file has what was found."""
    importer = imported(make_importer, drops=3, config=telling(receiver))
    receiver.statuses = [500] * 2
    assert "notification not delivered" in importer("sync").err
    receiver.received.clear()
    for _ in range(2):
        importer("sync")
    (told,) = receiver.documents
    assert (told["event"], told["kind"]) == ("failure", "spot_check")
    assert "but 3 of them are not there" in told["reason"]


def test_contacts_of_several_days_are_said_to_be_of_the_first_of_them(make_importer: MakeImporter) -> None:
    """A look that had to wait is about those who were pushed before and after midnight."""
    importer = imported(make_importer, config=f"{CONFIG}reconcile.settling = 0\n")
    importer("sync")  # looks, so that the next look is due in a day
    importer.sandbox.settings.drops = set(joining(importer, 2)[:1])
    importer("sync")
    time_passes(DAY / 2)
    joining(importer, 2)
    importer("sync")
    time_passes(DAY / 2)
    said = importer("sync").err
    assert "but 1 of them is not there" in said
    assert "Ometria accepted 4 contacts since " in said or "Ometria accepted 4 contacts yesterday, " in said


# ---- what is not said


def test_where_none_is_found_nobody_is_said_to_be_missing(make_importer: MakeImporter) -> None:
    """Perhaps single contacts are not to be had: only the run's record says that it could not be checked."""
    importer = imported(make_importer)
    importer.sandbox.settings.single_contacts = False
    result = importer("sync", "--json")
    assert (result.code, result.line["warnings"], "spot_check" in result.line) == (0, [], False)
    assert (
        "10 contacts from earlier runs could not be checked: Ometria found none of them"
        in importer("runs", "show", "2").out
    )
    assert importer("runs", "show", "2", "--json").line["spot_check"]["missing"] is None
    assert importer("status", "--json").line["spot_check"] is None


def test_a_look_that_cannot_tell_leaves_what_the_last_one_said(make_importer: MakeImporter) -> None:
    """It has not found that anybody is there."""
    importer = imported(make_importer, drops=3)
    importer("sync")
    joining(importer, 2)
    importer("sync")
    time_passes(DAY)
    importer.sandbox.settings.single_contacts = False
    importer("sync")
    assert importer("status", "--json").line["spot_check"]["missing"] == 3


def test_a_no_that_is_given_while_contacts_are_looked_at_is_sent_by_the_same_run(make_importer: MakeImporter) -> None:
    """The look comes before the members are read, so that nothing that was read waits for it."""
    importer = imported(make_importer)
    (own,) = joining(importer, 1)
    new = importer.sandbox.audience().members[-1]

    def leaves(one: Request) -> None:
        if one.path.startswith("/contacts/") and one.nth == 0:
            importer.sandbox.audience().unsubscribe(who=[new])

    importer.sandbox.settings.fault = leaves
    time_passes(5)
    result = importer("sync", "--json")
    assert result.line["spot_check"]["missing"] == 0
    assert own not in {
        key[1] for key, held in importer.sandbox.contacts().items() if held["marketing_optin"].endswith("IN")
    }
    assert result.line["subscription_events"] == 0


def test_a_look_that_takes_too_long_ends_and_says_so(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync does not wait for a reading API that crawls."""
    importer = imported(make_importer, drops=3)
    monkeypatch.setattr(spot_check, "WITHIN", -1.0)
    assert importer("sync").code == 0
    shown = importer("runs", "show", "2").out
    assert "could not be checked: Ometria took too long to answer" in " ".join(shown.split())
    assert reads(importer) == []


@pytest.mark.parametrize("fault", ["401", "403", "404", "429", "500", "html", "reset", "silent", "wrong-shape"])
def test_a_spot_check_that_fails_fails_no_sync(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Whatever is answered to a read: everybody new is pushed, and nobody is said to be missing."""
    monkeypatch.setattr("mcimport.services.ometria.contacts.BUSY_FOR", 0.0)
    importer = imported(make_importer, drops=3, config=CONFIG + "ometria.timeout = 0.5\n")
    new = joining(importer, 1)
    importer.sandbox.settings.fault = lambda one: fault if one.path.startswith("/contacts") else None
    result = importer("sync", "--json")
    assert (result.code, result.line["warnings"]) == (0, [])
    assert {f"{importer.sandbox.list_key}-{own}" for own in imported_ids(importer)} >= set(new)
    assert "could not be checked" in importer("runs", "show", "2").out


def test_who_is_found_at_the_second_look_is_not_missing(make_importer: MakeImporter) -> None:
    """A 404 has been seen in passing."""
    importer = imported(make_importer)
    seen: set[str] = set()

    def fault(one: Request) -> str | None:
        if not one.path.startswith("/contacts/") or one.path in seen:
            return None
        seen.add(one.path)
        return "404" if len(seen) in (3, 4) else None

    importer.sandbox.settings.fault = fault
    assert importer("sync", "--json").line["spot_check"]["missing"] == 0


def test_where_nothing_is_found_any_more_at_the_end_nobody_is_said_to_be_missing(make_importer: MakeImporter) -> None:
    """An incident that answers 404 to everything may begin in the middle of a look."""
    importer = imported(make_importer)
    asked = iter(range(1_000))
    importer.sandbox.settings.fault = lambda one: (
        "404" if one.path.startswith("/contacts/") and next(asked) > 6 else None
    )
    assert "spot_check" not in importer("sync", "--json").line
    assert (
        "could not be checked: Ometria no longer found a contact that it had found just before"
        in importer("runs", "show", "2").out
    )


# ---- when, how often, how many


def test_a_list_is_looked_at_once_a_day_and_only_where_somebody_was_pushed_since(make_importer: MakeImporter) -> None:
    """Hour by hour an idle list costs two Mailchimp requests and nothing at Ometria; so it does after days."""
    importer = imported(make_importer)
    importer("sync")
    assert len(reads(importer)) == 10
    for hours in (1, 1, 24, 48):
        time_passes(hours * HOUR)
        importer.sandbox.clear_requests()
        importer("sync")
        assert [one.service for one in importer.sandbox.requests] == ["mailchimp", "mailchimp"]


def test_an_hourly_list_is_looked_at_once_in_24_hours(make_importer: MakeImporter) -> None:
    """However often somebody is pushed; a daily one each day, though cron is never exact."""
    importer = imported(make_importer)
    for _ in range(24):
        joining(importer, 1)
        importer("sync")
        time_passes(HOUR - 60)
    assert len(reads(importer)) == 10
    for _ in range(2):
        joining(importer, 1)
        importer("sync")
        importer.sandbox.clear_requests()
        time_passes(DAY - 120)
        importer("sync")
        assert reads(importer) != []


def test_nobody_is_asked_for_before_ometria_had_time_to_settle(make_importer: MakeImporter) -> None:
    """Validation takes a while: what was accepted a moment ago is not missing yet."""
    importer = imported(make_importer, drops=3, config=CONFIG + "reconcile.settling = 3600\n")
    assert sampled(importer) != set()
    time_passes(-60)
    importer("sync")
    assert reads(importer) == []
    time_passes(120)
    assert importer("sync", "--json").line["spot_check"]["missing"] == 3


def test_a_list_that_is_synced_more_often_than_ometria_settles_is_looked_at_all_the_same(
    make_importer: MakeImporter,
) -> None:
    """The sample that is due is kept until it can be looked at, whoever is pushed meanwhile."""
    importer = make_importer()
    importer.configure(CONFIG + "reconcile.settling = 1800\n")
    importer.sandbox.settings.drops = set(joining(importer, 10)[:3])
    importer("sync")
    for _ in range(5):
        time_passes(600)
        joining(importer, 10)
        importer("sync")
    found = importer("runs", "show", "4", "--json").line["spot_check"]
    assert (found["accepted"], found["missing"]) == (10, 3)


@pytest.mark.parametrize(("setting", "asked"), [(0, 0), (3, 3), (100, 20)])
def test_the_setting_says_how_many_are_asked_for(make_importer: MakeImporter, setting: int, asked: int) -> None:
    """0: none. Where fewer were pushed, all of them."""
    importer = imported(make_importer, 20, config=CONFIG + f"ometria.spot_check = {setting}\n")
    importer("sync")
    assert len(reads(importer)) == asked
    assert len(sampled(importer)) == 0


def test_the_same_number_is_chosen_by_chance_of_all_pages(make_importer: MakeImporter) -> None:
    """Not the first or the last of a list: of 600 members in windows of 50, twice the same ten are never chosen."""
    chosen = []
    for _ in range(2):
        importer = make_importer(size=600)
        importer.configure(CONFIG + "mailchimp.window = 50\n")
        importer("sync")
        chosen.append(sampled(importer))
        assert len(chosen[-1]) == 10
        assert chosen[-1] <= imported_ids(importer)
    assert chosen[0] != chosen[1]


def test_a_dry_run_asks_for_nobody_and_leaves_the_sample(make_importer: MakeImporter) -> None:
    """It only reads Mailchimp."""
    importer = imported(make_importer, drops=3)
    assert importer("sync", "--dry-run").code == 0
    assert reads(importer) == []
    assert importer("sync", "--json").line["spot_check"]["missing"] == 3


def test_what_a_run_pushed_before_it_failed_is_looked_at_when_it_is_resumed(make_importer: MakeImporter) -> None:
    """Pushed is pushed; the look is a part of the run that goes on."""
    importer = make_importer()
    importer.configure(CONFIG + "mailchimp.window = 5\nometria.batch = 5\n")
    joining(importer, 5)
    joining(importer, 5)
    pushes = iter(range(1_000))
    importer.sandbox.settings.fault = lambda one: "401" if one.path == "/push" and next(pushes) else None
    assert importer("sync", "--workers", "1").code == 1
    importer.sandbox.settings.fault = None
    importer.sandbox.delete_contacts(list(importer.sandbox.contacts())[:1])
    time_passes(HOUR)
    assert importer("sync").code == 0
    found = importer("runs", "show", "1", "--json").line["spot_check"]
    assert (found["accepted"], found["missing"]) == (5, 1)


def test_the_limit_for_reading_is_kept(make_importer: MakeImporter) -> None:
    """A look waits for its turn as every other read does."""
    importer = imported(make_importer, config=CONFIG.replace("1000", "20"))
    importer.sandbox.settings.reads_per_second = 20
    importer("sync")
    assert [one.status for one in reads(importer)] == [200] * 10
    first, *_, last = [one.at for one in reads(importer)]
    assert last - first > 8 / 20


# ---- what is kept


def test_a_client_that_is_forgotten_is_dropped_from_the_sample(make_importer: MakeImporter) -> None:
    """Their ids are overwritten, and another client's stay."""
    importer = make_importer()
    configure_clients(importer, ["one", "two"], size=5)
    importer.config.write_text(importer.config.read_text().replace("ometria.spot_check = 0\n", ""))
    importer("sync")
    with open_state(importer.db) as state:
        ids = {row.client: row.id for row in lists.all_lists(state)}
        theirs = [one.member_id for one in spot_checks.sample(state, ids["one"])]
        others = spot_checks.sample(state, ids["two"])
    assert theirs
    assert importer("forget", "one", "--yes").code == 0
    with closing(sqlite3.connect(importer.db)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    rests = importer.db.read_bytes()
    assert [own for own in theirs if own.encode() in rests] == []
    with open_state(importer.db) as state:
        assert spot_checks.sample(state, ids["two"]) == others


def a_run(state: State) -> int:
    row = destinations.get_or_create(state, Destination("acme", "1a2d7ebf82", "mailchimp", "d"))
    run_id = runs.begin(state, row, "full", None, moves_sync_point=True)
    runs.plan(state, run_id, 100, 3, [Window(0, "listed", None, 100)])
    return run_id


def kept(state: State, run_id: int, sample: Sample) -> list[str]:
    """What is remembered, three at most, after a page of this run was recorded."""
    window = Window(0, "listed", None, 100)
    runs.record(state, run_id, Outcome(window, replace(window, through=1), sample=sample), sample_size=3)
    return [one.member_id for one in spot_checks.sample(state, 1)]


def test_the_lowest_of_all_pages_are_kept_and_those_of_the_last_run_before_others(make_importer: MakeImporter) -> None:
    """In whatever order pages are recorded; earlier runs fill up what the last one leaves, if no look is due."""
    with open_state(make_importer().db) as state:
        first = a_run(state)
        assert kept(state, first, ((0.5, "e"), (0.7, "g"))) == ["e", "g"]
        assert kept(state, first, ((0.1, "a"), (0.6, "f"))) == ["a", "e", "f"]
        assert kept(state, a_run(state), ((0.9, "i"),)) == ["a", "e", "f"]
        with state.transaction():
            state.write("UPDATE lists SET spot_checked_at = ?", [iso(int(time.time()))])
        assert kept(state, a_run(state), ((0.9, "i"),)) == ["i", "a", "e"]
