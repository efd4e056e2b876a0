"""What is history: opt-ins that have not come yet, those before Ometria accepted anybody, and a lost state file."""

from __future__ import annotations

import itertools
import signal
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from conftest import CONFIG, CommandResult, Importer, MakeImporter, expected_ids, imported_ids
from end_to_end.test_interrupted_runs import nth, run_and_signal
from passing import time_passes

from mcimport.engine import LocalEngine, RunSpec
from mcimport.errors import ServiceDownError
from mcimport.models.timestamps import iso
from mcimport.sandbox.audience.member_list import MemberViews
from mcimport.sync.reconcile import archive_check

IN, OUT, NEITHER = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"
DAY = 86_400
FUTURE = "opt-in time in the future"
BEFORE = "this list was synced before"
LEFT = "were not compared, and may still be opted in"


def contact_id(importer: Importer, member: Any) -> tuple[str, str]:
    return "mailchimp", f"{importer.sandbox.list_key}-{member.get('contact_id') or member['web_id']}"


def consents(importer: Importer, people: MemberViews) -> list[str | None]:
    """What Ometria holds of these; None for whom it does not hold."""
    held = importer.sandbox.contacts()
    return [held.get(contact_id(importer, one), {}).get("marketing_optin") for one in people]


def welcomed(importer: Importer) -> int:
    return importer.sandbox.subscription_events().total()


def remembered(importer: Importer, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(importer.db)) as state:
        return state.execute(sql).fetchall()


def synced(importer: Importer, *words: str, code: int = 0) -> CommandResult:
    result = importer("sync", *words)
    assert result.code == code, result.err
    return result


# ---- an opt-in in the future


def opts_in(importer: Importer, when: str, number: int = 0, **fields: Any) -> Any:
    address = f"m{number}@example.com"
    return importer.sandbox.audience().add(email_address=address, timestamp_opt=when, timestamp_signup=when, **fields)


@pytest.mark.parametrize("events", ["new", "all"])
@pytest.mark.parametrize("when", ["nine days ahead", "2096-08-11T10:00:00+00:00", "2096-08-11T10:00:00"])
def test_an_opt_in_in_the_future_is_no_event(make_importer: MakeImporter, when: str, events: str) -> None:
    """Day and month were swapped, or a digit: they are carried as opted in, and nobody is welcomed for it."""
    importer = make_importer()
    importer.configure(CONFIG + f'ometria.subscription_events = "{events}"\n')
    synced(importer)
    time_passes(600)
    ahead = iso(importer.sandbox.clock.second() + 9 * DAY)
    wrong = opts_in(importer, ahead if when == "nine days ahead" else when)
    right = opts_in(importer, iso(importer.sandbox.clock.second()), 1)
    result = synced(importer, "--json")
    held = importer.sandbox.contacts()
    assert held[contact_id(importer, wrong)]["marketing_optin"] == IN
    assert "timestamp_subscribed" not in held[contact_id(importer, wrong)]
    assert "timestamp_subscribed" in held[contact_id(importer, right)]
    assert (result.line["subscription_events"], welcomed(importer)) == (1, 1)
    assert f"1 member has an {FUTURE}" in result.err


def test_opt_ins_in_the_future_are_not_counted_against_the_welcome_limit(make_importer: MakeImporter) -> None:
    """A file of 600 with swapped dates keeps nobody who really opted in from being welcomed."""
    importer = make_importer()
    importer.configure(CONFIG + "ometria.welcome_limit = 100\nmailchimp.window = 200\n")
    synced(importer)
    time_passes(600)
    now = importer.sandbox.clock.second()
    for number in range(600):
        opts_in(importer, iso(now + 9 * DAY), number)
    importer.sandbox.audience().join(20)
    time_passes(600)
    result = synced(importer, "--json")
    assert result.line["subscription_events"] == welcomed(importer) == 20
    assert f"600 members have an {FUTURE}" in result.err
    assert "welcome_limit" not in result.err


def test_a_last_change_in_the_future_makes_no_event_of_an_opt_in_there(make_importer: MakeImporter) -> None:
    """Whoever opts in changes by it, so the one is believed for the other; but not where that has not come either."""
    importer = make_importer()
    synced(importer)
    time_passes(600)
    ahead = iso(importer.sandbox.clock.second() + 9 * DAY)
    opts_in(importer, ahead, last_changed=ahead)
    result = synced(importer)
    assert welcomed(importer) == 0
    assert f"1 member has an {FUTURE}" in result.err


@pytest.mark.parametrize("junk", ["-0001-11-30T00:00:00+00:00", "0000-00-00T00:00:00+00:00", "0000-00-00 00:00:00"])
def test_a_date_that_does_not_exist_is_no_time(make_importer: MakeImporter, junk: str) -> None:
    """It is left out, without a word about the future."""
    importer = make_importer()
    importer.configure(CONFIG + 'ometria.subscription_events = "all"\n')
    member = opts_in(importer, junk)
    result = synced(importer)
    held = importer.sandbox.contacts()[contact_id(importer, member)]
    assert not {name for name in held if name.startswith("timestamp_")}
    assert FUTURE not in result.err


@pytest.mark.parametrize("blank", ["T", " "])
def test_times_without_an_offset_are_utc(make_importer: MakeImporter, blank: str) -> None:
    """They are sent with the offset; a new opt-in is an event, and the change stands where it belongs."""
    importer = make_importer()
    synced(importer)
    time_passes(600)
    now = iso(importer.sandbox.clock.second())
    naive = now.removesuffix("+00:00").replace("T", blank)
    member = opts_in(importer, naive, last_changed=naive)
    result = synced(importer)
    held = importer.sandbox.contacts()[contact_id(importer, member)]
    assert (held["timestamp_subscribed"], held["timestamp_acquired"]) == (now, now)
    assert welcomed(importer) == 1, result.err


def test_members_whose_last_change_names_no_offset_are_carried_once(make_importer: MakeImporter) -> None:
    """Pages are cut by time: these members have one, too."""
    importer = make_importer()
    importer.configure(CONFIG + "mailchimp.window = 50\n")
    start = importer.sandbox.clock.second() - DAY
    for number in range(300):
        changed = iso(start + number).removesuffix("+00:00")
        opts_in(importer, changed, number, last_changed=changed)
    result = synced(importer, "--json")
    assert result.line["members_read"] == 300
    assert imported_ids(importer) == expected_ids(importer)


def test_preview_sends_no_opt_in_in_the_future_either(make_importer: MakeImporter) -> None:
    """What it shows and counts is what a sync would do."""
    importer = make_importer()
    synced(importer)
    time_passes(600)
    opts_in(importer, "2096-08-11T10:00:00+00:00")
    member, fields = importer("preview", importer.sandbox.list_key, "--json").lines
    assert "timestamp_subscribed" not in member["contact"]
    assert [one["field"] for one in member["notes"]] == ["timestamp_subscribed"]
    assert fields["subscription_events"] == 0


def test_a_replay_sends_no_opt_in_in_the_future(make_importer: MakeImporter) -> None:
    """A dead letter has no end of its own to hold an opt-in to: it is the moment of the replay."""
    importer = make_importer()
    synced(importer)
    time_passes(600)
    wrong, right = (
        opts_in(importer, "2096-08-11T10:00:00+00:00"),
        opts_in(importer, iso(importer.sandbox.clock.second()), 1),
    )
    importer.sandbox.settings.rejects = {contact_id(importer, one)[1] for one in (wrong, right)}
    synced(importer, code=3)
    importer.sandbox.settings.rejects = set()
    result = importer("dlq", "replay")
    assert result.code == 0, result.err
    assert welcomed(importer) == 1
    assert f"1 member has an {FUTURE}" in result.err


# ---- history begins with the first contact that Ometria accepted


def only_pushes(fault: str) -> Any:
    return lambda one: fault if one.path == "/push" else None


def fails_at_first(importer: Importer, how: str) -> None:
    """A first try in which Ometria accepts nobody."""
    if how == "killed":
        assert (
            run_and_signal(importer, importer.command("sync"), signal.SIGKILL, nth("/push", 0)).code == -signal.SIGKILL
        )
        return
    if how == "refused":
        importer.sandbox.settings.rejects = {
            contact_id(importer, one)[1] for one in importer.sandbox.audience().members
        }
    else:
        importer.sandbox.settings.fault = only_pushes(how)
    importer("sync")
    importer.sandbox.settings.fault, importer.sandbox.settings.rejects = None, set()


FAILURES = ["403", "500", "refused", "reset", "killed"]


@pytest.mark.parametrize("how", FAILURES)
def test_who_opts_in_before_the_first_sync_that_works_is_history(make_importer: MakeImporter, how: str) -> None:
    """A first try that failed began nothing: nobody is welcomed for having waited. Whoever joins afterwards is."""
    importer = make_importer(size=60)
    fails_at_first(importer, how)
    time_passes(DAY)
    importer.sandbox.audience().join(12)
    time_passes(600)
    importer("sync")
    importer("dlq", "replay")
    assert imported_ids(importer) == expected_ids(importer)
    assert welcomed(importer) == 0
    time_passes(600)
    new = [one for one in importer.sandbox.audience().join(5) if one["email_address"]]
    time_passes(600)
    synced(importer)
    assert welcomed(importer) == len(new) > 0


def test_while_ometria_cannot_be_reached_no_history_begins(make_importer: MakeImporter) -> None:
    """The address is wrong at first, so that nothing goes out."""
    importer = make_importer(size=60)
    importer.configure(ometria_url="http://127.0.0.1:9/v2")
    synced(importer, code=1)
    importer.configure()
    time_passes(DAY)
    importer.sandbox.audience().join(12)
    gone = importer.sandbox.audience().archive(6)
    time_passes(600)
    synced(importer)
    synced(importer)
    assert imported_ids(importer) == expected_ids(importer)
    assert set(consents(importer, gone)) == {None}
    assert welcomed(importer) == 0


@pytest.mark.parametrize("is_lent", [True, False], ids=["lent", "not lent"])
def test_a_first_try_stays_on_record_once_its_pages_went_out_to_workers(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch, *, is_lent: bool
) -> None:
    """They may have pushed members, though no outcome came back; a try that sent no page leaves no trace."""

    def run(_: LocalEngine, spec: RunSpec, *__: object) -> bool:
        if is_lent:
            spec.lent()
        raise ServiceDownError("no worker answers")

    monkeypatch.setattr(LocalEngine, "run", run)
    importer = make_importer(size=60)
    synced(importer, code=1)
    ((began,),) = remembered(importer, "SELECT first_sync_at FROM lists")
    assert (began is not None) == is_lent


def test_after_a_first_sync_of_dead_letters_alone_history_ends_with_the_replay(make_importer: MakeImporter) -> None:
    """The run completed, and nobody was accepted: who opts in until the replay is history, who does after it is new."""
    importer = make_importer(size=9)
    fails_at_first(importer, "refused")
    time_passes(DAY)
    importer.sandbox.audience().join(6)
    time_passes(600)
    assert importer("dlq", "replay").code == 0
    time_passes(600)
    new = [one for one in importer.sandbox.audience().join(4) if one["email_address"]]
    time_passes(600)
    synced(importer)
    assert imported_ids(importer) == expected_ids(importer)
    assert welcomed(importer) == len(new)


def test_an_empty_list_was_carried_whole_so_whoever_joins_is_welcomed(make_importer: MakeImporter) -> None:
    """Nobody was there to be accepted; the first who comes is no history."""
    importer = make_importer()
    synced(importer)
    time_passes(600)
    new = [one for one in importer.sandbox.audience().join(4) if one["email_address"]]
    synced(importer)
    assert welcomed(importer) == len(new) > 0


def test_since_now_ends_the_history_too(make_importer: MakeImporter) -> None:
    """Its operator said so: who opts in afterwards is new, though nobody was pushed before."""
    importer = make_importer(size=9)
    fails_at_first(importer, "refused")
    synced(importer, "--since", "now")
    time_passes(600)
    new = [one for one in importer.sandbox.audience().join(4) if one["email_address"]]
    synced(importer)
    assert welcomed(importer) == len(new) > 0


@pytest.mark.parametrize("how", ["lost", "killed"])
def test_who_may_have_been_pushed_in_a_try_that_failed_is_opted_out_when_archived(
    make_importer: MakeImporter, how: str
) -> None:
    """A push went out, and nobody knows what became of it: it counts for whoever is archived from then on."""
    importer = make_importer(size=60)
    importer.configure(CONFIG + "ometria.batch = 5\n")  # one page, whose pushes follow each other
    if how == "lost":
        fails_at_first(importer, how)
    else:
        run_and_signal(importer, importer.command("sync"), signal.SIGKILL, nth("/push", 4))
    contacts = importer.sandbox.contacts()
    held = [one for one in importer.sandbox.audience().listed() if contact_id(importer, one) in contacts]
    time_passes(600)
    gone = importer.sandbox.audience().archive(who=held[:5])
    assert len(gone) == 5
    time_passes(600)
    synced(importer)
    synced(importer)
    assert IN not in consents(importer, gone)


def test_who_was_archived_before_the_first_sync_that_works_is_not_brought_in(make_importer: MakeImporter) -> None:
    """Every push was refused, so Ometria holds nobody: the archived are as unknown to it as before the first try."""
    importer = make_importer(size=60)
    fails_at_first(importer, "403")
    time_passes(600)
    gone = importer.sandbox.audience().archive(6)
    time_passes(600)
    synced(importer)
    time_passes(600)
    synced(importer)
    assert imported_ids(importer) == expected_ids(importer)
    assert set(consents(importer, gone)) == {None}


def test_who_was_archived_well_before_the_first_sync_is_not_brought_in(make_importer: MakeImporter) -> None:
    """A minute before it is looked at again, for the clocks; nobody who left earlier."""
    importer = make_importer(size=60)
    gone = importer.sandbox.audience().archive(6)
    time_passes(120)
    synced(importer)
    synced(importer)
    synced(importer, "--full")
    assert set(consents(importer, gone)) == {None}


@pytest.mark.parametrize("words", [(), ("--full",)], ids=["changes", "full"])
def test_with_clocks_40_seconds_apart_all_who_are_archived_are_opted_out(
    make_importer: MakeImporter, words: tuple[str, ...]
) -> None:
    """The server that answered the first sync was ahead of the one that dates the changes."""
    importer = make_importer(size=200)
    importer.sandbox.settings.clock_skew = 40
    synced(importer)
    importer.sandbox.settings.clock_skew = 0
    time_passes(5)
    gone = importer.sandbox.audience().archive(20)
    time_passes(120)
    synced(importer, *words)
    synced(importer)
    addressed = [one for one in gone if one["email_address"]]
    assert [one for one in consents(importer, gone) if one] == [OUT] * len(addressed)


# ---- a lost state file


def lost(importer: Importer) -> None:
    """Its side files with it."""
    for path in importer.folder.glob("state.db*"):
        path.unlink()


def lost_after_a_sync(importer: Importer, count: int = 20) -> MemberViews:
    """A list that was synced; then the state file is lost, and so many are archived, the latest of them last."""
    synced(importer)
    time_passes(600)
    held = importer.sandbox.contacts()
    known = [one for one in importer.sandbox.audience().with_status("subscribed") if contact_id(importer, one) in held]
    lost(importer)
    gone = importer.sandbox.audience().archive(who=known[:count])
    time_passes(DAY)
    return gone


def unchecked(importer: Importer) -> list[str | None]:
    return [line["unchecked_at"] for line in importer("status", "--json").lines]


@pytest.mark.parametrize("words", [(), ("--full",)], ids=["plain", "full"])
def test_who_was_archived_since_a_state_file_that_is_lost_is_opted_out(
    make_importer: MakeImporter, words: tuple[str, ...]
) -> None:
    """The first run that finds contacts of ours in Ometria says so, and looks for the archived there."""
    importer = make_importer(size=300)
    gone = lost_after_a_sync(importer)
    result = synced(importer, *words)
    assert BEFORE in result.err
    assert LEFT not in result.err
    assert set(consents(importer, gone)) == {OUT}
    assert unchecked(importer) == [None]
    assert welcomed(importer) == 0


def test_the_archived_whom_ometria_never_held_are_not_brought_in(make_importer: MakeImporter) -> None:
    """They left before the first sync of all."""
    importer = make_importer(size=300)
    strangers = importer.sandbox.audience().archived()
    assert len(strangers) > 5
    lost_after_a_sync(importer)
    synced(importer)
    assert set(consents(importer, strangers)) == {None}


def test_a_list_that_is_new_to_ometria_costs_a_few_reads_once(make_importer: MakeImporter) -> None:
    """Beside a collection full of others, at most nineteen; and nothing is said."""
    importer = make_importer(size=60)
    importer.sandbox.store_contacts([{"id": f"x-{number}", "email": f"x{number}@example.com"} for number in range(400)])
    result = synced(importer)
    reads = [one for one in importer.sandbox.requests if "/contacts" in one.path]
    assert 0 < len(reads) <= 19
    assert BEFORE not in result.err
    assert LEFT not in result.err
    importer.sandbox.clear_requests()
    synced(importer)
    assert [one for one in importer.sandbox.requests if "/contacts" in one.path] == []


@pytest.mark.parametrize("is_single", [True, False])
def test_contacts_of_the_list_are_found_behind_those_of_others(make_importer: MakeImporter, *, is_single: bool) -> None:
    """One by one, by their ids; or, where Ometria does not answer for single ones, in its listing."""
    importer = make_importer(size=60, single_contacts=is_single)
    importer.sandbox.store_contacts([{"id": f"x-{number}", "email": f"x{number}@example.com"} for number in range(400)])
    lost_after_a_sync(importer, 5)
    assert BEFORE in synced(importer).err


def assert_left_until_mended(importer: Importer, gone: MemberViews) -> None:
    """It is said each time, and by `status` and `check`, until both sides were compared and mended."""
    words = f"{LEFT}: `mcimport reconcile --mend {importer.sandbox.list_key}`"
    assert words in synced(importer).err
    assert words in synced(importer).err
    assert unchecked(importer) != [None]
    assert LEFT in " ".join(importer("status").out.split())
    assert LEFT in importer("check", "--offline").out
    assert IN in consents(importer, gone)
    importer("reconcile")
    assert unchecked(importer) != [None]
    assert importer("reconcile", "--mend", "--yes").code == 0
    assert unchecked(importer) == [None]
    assert set(consents(importer, gone)) == {OUT}
    assert LEFT not in synced(importer).err


def unhurried(importer: Importer) -> None:
    importer.configure(CONFIG.replace("[clients.acme]", '[reconcile]\nsettling = 0\nmost = "100%"\n\n[clients.acme]'))


def test_more_archived_than_a_run_compares_are_left_to_reconcile(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would take too long; who reads the status knows what to type."""
    monkeypatch.setattr(archive_check, "MOST_ARCHIVED", 10)
    importer = make_importer(size=300)
    unhurried(importer)
    assert_left_until_mended(importer, lost_after_a_sync(importer))


def test_where_ometria_does_not_answer_for_single_contacts_they_are_left_to_reconcile(
    make_importer: MakeImporter,
) -> None:
    """Who of the archived is held cannot be told then."""
    importer = make_importer(size=300, single_contacts=False)
    unhurried(importer)
    assert_left_until_mended(importer, lost_after_a_sync(importer))


@pytest.mark.parametrize("why", ["too many", "refused by Ometria"])
def test_a_mend_that_left_some_leaves_the_note(make_importer: MakeImporter, why: str) -> None:
    """More consents at once than `most` allows, or records that did not take: the archived are not compared yet."""
    importer = make_importer(size=300, single_contacts=False)
    unhurried(importer)
    gone = lost_after_a_sync(importer)
    synced(importer)
    if why == "too many":
        importer.config.write_text(importer.config.read_text().replace('"100%"', '"0.1%"'))
    else:
        importer.sandbox.settings.rejects = {contact_id(importer, gone[0])[1]}
    result = importer("reconcile", "--mend", "--yes")
    assert result.code == 3, result.err
    assert unchecked(importer) != [None]
    importer.sandbox.settings.rejects = set()
    unhurried(importer)
    assert importer("reconcile", "--mend", "--yes").code == 0
    assert unchecked(importer) == [None]
    assert set(consents(importer, gone)) == {OUT}


def test_a_death_among_the_archived_leaves_the_note(make_importer: MakeImporter) -> None:
    """The next sync finds it, and does the rest."""
    importer = make_importer(size=300)
    gone = lost_after_a_sync(importer)
    asked = itertools.count()
    killed = run_and_signal(
        importer, importer.command("sync"), signal.SIGKILL, lambda one: "/contacts/" in one.path and next(asked) == 5
    )
    assert killed.code == -signal.SIGKILL
    assert unchecked(importer) != [None]
    assert set(consents(importer, gone)) == {IN}
    result = synced(importer)
    assert LEFT not in result.err
    assert unchecked(importer) == [None]
    assert set(consents(importer, gone)) == {OUT}


def test_a_single_contact_that_cannot_be_read_leaves_the_note_to_the_next_sync(make_importer: MakeImporter) -> None:
    """The others are opted out all the same."""
    importer = make_importer(size=300)
    gone = lost_after_a_sync(importer)
    one_of_them = contact_id(importer, gone[3])[1]
    importer.sandbox.settings.fault = lambda one: "500" if one.path.endswith(one_of_them) else None
    assert LEFT in synced(importer).err
    assert sorted(str(one) for one in consents(importer, gone)) == [IN] + [OUT] * 19
    importer.sandbox.settings.fault = None
    assert LEFT not in synced(importer).err
    assert set(consents(importer, gone)) == {OUT}


def test_where_ometria_cannot_be_read_a_first_sync_says_what_it_did_not_compare(make_importer: MakeImporter) -> None:
    """It carries everybody all the same; the next sync compares the archived."""
    importer = make_importer(size=300)
    gone = lost_after_a_sync(importer)
    importer.sandbox.settings.fault = lambda one: "500" if "/contacts" in one.path else None
    assert LEFT in synced(importer).err
    importer.sandbox.settings.fault = None
    synced(importer)
    assert set(consents(importer, gone)) == {OUT}
    assert unchecked(importer) == [None]


def test_since_now_leaves_the_archived_to_the_next_sync(make_importer: MakeImporter) -> None:
    """It pushes nobody, but knows."""
    importer = make_importer(size=300)
    gone = lost_after_a_sync(importer)
    assert BEFORE in synced(importer, "--since", "now").err
    assert set(consents(importer, gone)) == {IN}
    assert unchecked(importer) != [None]
    synced(importer)
    assert set(consents(importer, gone)) == {OUT}


def test_a_dry_run_asks_ometria_nothing(make_importer: MakeImporter) -> None:
    """It pushes nobody, so there is nobody to protect."""
    importer = make_importer(size=300)
    gone = lost_after_a_sync(importer)
    importer.sandbox.clear_requests()
    synced(importer, "--dry-run")
    assert {one.service for one in importer.sandbox.requests} == {"mailchimp"}
    assert set(consents(importer, gone)) == {IN}


def test_an_sms_status_that_ometria_holds_is_remembered(make_importer: MakeImporter) -> None:
    """As if it had been seen in Mailchimp: the new state file did not see who lost theirs before."""
    importer = make_importer(size=60)
    lost_after_a_sync(importer, 5)
    ((_, one), *_) = importer.sandbox.contacts()
    importer.sandbox.store_contacts(
        [{"id": one, "email": "sms@example.com", "channels": {"sms": {"allow_marketing": True}}}]
    )
    synced(importer)
    assert remembered(importer, "SELECT has_sms FROM lists") == [(1,)]


def texted_but_out(importer: Importer, people: MemberViews) -> None:
    """Ometria holds them as opted out of e-mail, and as agreed to text messages."""
    importer.sandbox.store_contacts(
        [
            {
                "id": contact_id(importer, one)[1],
                "marketing_optin": OUT,
                "phone_number": "+447911123456",
                "channels": {"sms": {"allow_marketing": True}},
            }
            for one in people
        ]
    )


def test_who_was_archived_since_is_texted_no_more(make_importer: MakeImporter) -> None:
    """Opted out of e-mail already is not enough, where Ometria still holds a yes to text messages."""
    importer = make_importer(size=300)
    gone = lost_after_a_sync(importer, 5)
    texted_but_out(importer, gone)
    synced(importer)
    contacts = importer.sandbox.contacts()
    assert [contacts[contact_id(importer, one)]["channels"] for one in gone] == [
        {"sms": {"allow_marketing": False}}
    ] * 5


def test_contacts_of_the_newest_are_found_where_the_oldest_were_left_out(make_importer: MakeImporter) -> None:
    """A list that was begun with `--since now` has only its newest in Ometria."""
    importer = make_importer(size=300)
    importer.sandbox.store_contacts([{"id": f"x-{number}", "email": f"x{number}@example.com"} for number in range(400)])
    synced(importer, "--since", "now")
    time_passes(600)
    new = importer.sandbox.audience().add(email_address="new@example.com")
    time_passes(600)
    synced(importer)
    assert importer.sandbox.contacts()[contact_id(importer, new)]["marketing_optin"] == IN
    lost(importer)
    time_passes(600)
    assert BEFORE in synced(importer).err
