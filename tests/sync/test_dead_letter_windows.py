"""Dead letters and consent: a letter brings in only whom the list carries, and welcomes only who was new to its run."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from conftest import CONFIG, CommandResult, Importer, MakeImporter, accept_one_more_push, expected_ids, imported_ids
from engine.distributed.test_executor import LATER, page_message, sent, workplace
from passing import time_passes

from mcimport.engine.distributed.messages import Processed
from mcimport.models import Window
from mcimport.models.timestamps import epoch, iso
from mcimport.sandbox.audience.member_list import MemberView
from mcimport.sandbox.settings import Span
from mcimport.services.http.shutdown import StopSignal

AT_ONCE = CONFIG + "reconcile.settling = 0\n"
AGAIN = [("sync",), ("dlq", "replay"), ("sync",)]


def letters(importer: Importer, *options: str) -> list[dict[str, Any]]:
    return importer("dlq", "list", *options, "--json").lines


def state(importer: Importer, statement: str, *values: Any) -> list[Any]:
    """What a statement finds in, or does to, the state file."""
    with closing(sqlite3.connect(importer.db)) as db, db:
        return db.execute(statement, values).fetchall()


def begun_now(make_importer: MakeImporter, size: int, **knobs: Any) -> Importer:
    """A list that was begun with `--since now`: nobody on it was imported."""
    importer = make_importer(size=size, **knobs)
    importer.configure(AT_ONCE)
    assert importer("sync", "--since", "now").code == 0
    time_passes(600)
    return importer


def second_of(one: MemberView) -> tuple[int, int]:
    """The span of the second in which a member changed last."""
    second = epoch(one["last_changed"])
    assert second
    return second - 1, second


def compared_over_a_broken_span(importer: Importer, *broken: Span | str) -> CommandResult:
    """What `reconcile` says of a list of which a part cannot be read; it can be read again afterwards."""
    importer.sandbox.settings.broken[:] = broken
    importer.sandbox.settings.broken_lookups = True
    result = importer("reconcile", "--json")
    importer.sandbox.settings.broken.clear()
    return result


def events(importer: Importer) -> int:
    return sum("timestamp_subscribed" in contact for contact in importer.sandbox.contacts().values())


def person_of(importer: Importer, one: MemberView) -> dict[str, Any]:
    return importer.sandbox.contacts()["mailchimp", f"{importer.sandbox.list_key}-{one['contact_id']}"]


# ---- a comparison writes no letters


def test_what_a_comparison_cannot_read_brings_in_nobody_of_a_list_begun_with_since_now(
    make_importer: MakeImporter,
) -> None:
    """Neither the next sync nor a replay imports people who were left out on purpose."""
    importer = begun_now(make_importer, 1_800)
    assert compared_over_a_broken_span(importer, "900-901").code == 3
    assert letters(importer) == []
    for command in AGAIN:
        assert importer(*command).code == 0
    assert imported_ids(importer) == set()


def test_what_a_comparison_cannot_read_brings_in_nobody_who_was_archived_before_the_first_sync(
    make_importer: MakeImporter,
) -> None:
    """The archive is compared, too, and stays out of Ometria all the same."""
    importer = make_importer(size=400)
    importer.configure(AT_ONCE)
    importer("sync")
    time_passes(600)
    before = imported_ids(importer)
    result = compared_over_a_broken_span(importer, second_of(importer.sandbox.audience().archived()[8]))
    assert result.code == 3
    assert "archived" in {one["sweep"] for one in result.line["unread_spans"]}
    for command in AGAIN:
        assert importer(*command).code == 0
    assert imported_ids(importer) == before


def test_what_a_comparison_cannot_read_announces_nobody_again(make_importer: MakeImporter) -> None:
    """Who was welcomed long ago is sent without the time of the opt-in, if they are sent at all."""
    importer = make_importer(size=50)
    importer.configure(AT_ONCE)
    importer("sync")
    time_passes(600)
    importer.sandbox.audience().add(email_address="new@example.com")
    time_passes(600)
    importer("sync")
    assert importer.sandbox.subscription_events().total() == 1
    time_passes(86_400)
    importer("sync")
    importer.sandbox.clear_requests()
    rank = len(importer.sandbox.audience().listed()) - 1
    assert compared_over_a_broken_span(importer, f"{rank}-{rank}").code == 3
    for command in AGAIN:
        assert importer(*command).code == 0
    assert sum(len(request.ids) for request in importer.sandbox.requests) == 0


def test_what_a_comparison_cannot_read_is_named_and_read_again(make_importer: MakeImporter) -> None:
    """In words and in JSON, with its times and the reason; `status` tells; the next comparison reads it."""
    importer = make_importer(size=300)
    importer.configure(AT_ONCE)
    importer("sync")
    time_passes(600)
    importer.sandbox.settings.broken.append("100-101")
    said, compared = importer("reconcile"), importer("reconcile", "--json")
    assert (said.code, compared.code) == (3, 3)
    assert "not everything could be read" in said.err
    assert "could not be read; the next `mcimport reconcile` reads" in said.err
    spans = compared.line["unread_spans"]
    assert compared.line["unread"] == len(spans) >= 1
    assert {one["sweep"] for one in spans} == {"listed"}
    assert all(one["until"] and "500" in one["reason"] for one in spans)
    assert compared.line["dead_letters"] == 0
    assert "that could not be read" in importer("status").out
    run = importer("runs", "list", "--json").lines[0]
    assert run["windows_dead"] >= 1
    importer.sandbox.settings.broken.clear()
    again = importer("reconcile", "--json")
    assert (again.code, again.line["unread"], again.line["unread_spans"]) == (0, 0, [])


def test_the_log_for_machines_names_what_could_not_be_read(make_importer: MakeImporter) -> None:
    """An event of its own: it is no dead letter."""
    importer = begun_now(make_importer, 100)
    importer.sandbox.settings.broken.append("50-50")
    told = importer("reconcile", "--log-format", "json").err
    assert '"event": "unread"' in told
    assert '"event": "dead letter"' not in told


@pytest.mark.parametrize("hours", [2, 24 * 365], ids=["two hours", "a year"])
def test_a_push_from_the_future_is_waited_for_no_longer_than_settling(make_importer: MakeImporter, hours: int) -> None:
    """A clock that was set back holds the client's lock for `settling` at most."""
    importer = make_importer(size=50)
    importer.configure(CONFIG + "reconcile.settling = 1\n")
    importer("sync")
    importer.sandbox.delete_contacts(list(importer.sandbox.contacts())[:1])
    state(importer, "UPDATE runs SET finished_at = ?", iso(importer.sandbox.clock.second() + hours * 3_600))
    result = importer("reconcile")
    assert result.code == 3
    assert "waited 1 s until Ometria had processed" in result.err


# ---- letters that a comparison of an earlier version wrote


def as_an_earlier_version(importer: Importer, **letter: Any) -> None:
    """A letter that `reconcile` wrote: by default a span from the beginning until now, over everybody on the list."""
    (row,) = state(importer, "SELECT id, client, list_key FROM lists")
    now = iso(importer.sandbox.clock.second())
    state(
        importer,
        "INSERT INTO runs (list_id, client, list_key, kind, status, started_at, finished_at, moves_sync_point, until)"
        " VALUES (?, ?, ?, 'reconcile', 'completed', ?, ?, 0, ?)",
        *(*row, now, now, now),
    )
    ((run_id,),) = state(importer, "SELECT max(id) FROM runs")
    values = {
        "list_id": row[0],
        "run_id": run_id,
        "first_run_id": run_id,
        "client": row[1],
        "list_key": row[2],
        "kind": "window",
        "cause": "transport",
        "sweep": "listed",
        "since": None,
        "until": now,
        "member_id": None,
        "reason": "Mailchimp answered 500",
        "created_at": now,
        "updated_at": now,
        **letter,
    }
    names = ", ".join(values)
    state(importer, f"INSERT INTO dead_letters ({names}) VALUES ({', '.join('?' * len(values))})", *values.values())  # noqa: S608 - the names of the columns


@pytest.mark.parametrize("command", [("sync",), ("dlq", "replay")], ids=" ".join)
@pytest.mark.parametrize("sweep", ["listed", "archived"])
def test_an_old_letter_brings_in_only_whom_the_list_carries(
    make_importer: MakeImporter, command: tuple[str, ...], sweep: str
) -> None:
    """A span over everybody: of a list begun with `--since now` those who changed since, of its archive the same."""
    importer = begun_now(make_importer, 300)
    audience = importer.sandbox.audience()
    changed = [one for one in audience.change(9) if one["email_address"]]
    left = [one for one in audience.archive(4) if one["email_address"]]
    time_passes(600)
    assert importer("sync").code == 0
    importer.sandbox.delete_contacts(list(importer.sandbox.contacts()))
    time_passes(600)
    as_an_earlier_version(importer, sweep=sweep)
    importer.sandbox.clear_requests()
    assert importer(*command).code == 0
    gone = {str(one.get("contact_id") or one["web_id"]) for one in left}
    due = {str(one.get("contact_id") or one["web_id"]) for one in changed} - gone
    assert imported_ids(importer) == (due if sweep == "listed" else gone)
    assert [one["status"] for one in letters(importer, "--all")] == ["replayed"]


@pytest.mark.parametrize("command", [("sync",), ("dlq", "replay")], ids=" ".join)
def test_an_old_letter_that_lies_before_all_that_is_carried_is_closed_without_a_request(
    make_importer: MakeImporter, command: tuple[str, ...]
) -> None:
    """It names nobody whom the list carries, which is said; of its span nothing is asked for."""
    importer = begun_now(make_importer, 300)
    first = importer.sandbox.audience().listed()[5]["last_changed"]
    as_an_earlier_version(importer, until=first)
    as_an_earlier_version(importer, until=first, sweep="archived")
    importer.sandbox.clear_requests()
    result = importer(*command)
    assert result.code == 0
    assert "dead letters closed because they affect no member that this list imports: 2" in result.err
    assert imported_ids(importer) == set()
    assert [one["status"] for one in letters(importer, "--all")] == ["gone", "gone"]
    if command == ("dlq", "replay"):
        assert importer.sandbox.requests == []


@pytest.mark.parametrize("command", [("sync",), ("dlq", "replay")], ids=" ".join)
@pytest.mark.parametrize("setting", ["new", "all"])
def test_an_old_letter_announces_nobody(make_importer: MakeImporter, command: tuple[str, ...], setting: str) -> None:
    """A comparison causes no event, so neither does what it could not read: who was welcomed long ago is not again."""
    importer = make_importer(size=60)
    importer.configure(f'[ometria]\nsubscription_events = "{setting}"\n' + CONFIG)
    importer("sync", "--since", "now")
    time_passes(600)
    new = importer.sandbox.audience().add(email_address="new@example.com")
    time_passes(600)
    importer("sync")
    assert "timestamp_subscribed" in person_of(importer, new)
    time_passes(86_400)
    importer("sync")
    importer.sandbox.delete_contacts(list(importer.sandbox.contacts()))
    as_an_earlier_version(importer)
    importer("sync")
    importer(*command)
    assert imported_ids(importer) == {new["contact_id"]}
    assert "timestamp_subscribed" not in person_of(importer, new)


def test_an_old_letter_that_fails_again_stays_with_what_is_carried_of_it(make_importer: MakeImporter) -> None:
    """It keeps its id, and from then on names no more than the list carries."""
    importer = begun_now(make_importer, 100)
    importer.sandbox.audience().change(5)
    time_passes(600)
    importer("sync")
    as_an_earlier_version(importer)
    (before,) = letters(importer)
    importer.sandbox.settings.fault = lambda one: "reset" if one.path == "/push" else None
    assert importer("dlq", "replay").code == 3
    importer.sandbox.settings.fault = None
    (after,) = letters(importer)
    ((start,),) = state(importer, "SELECT carried_since FROM lists")
    assert (after["id"], after["since"], after["until"]) == (before["id"], start, before["until"])
    assert importer("dlq", "replay").code == 0
    assert letters(importer) == []


# ---- letters of single members


@pytest.mark.parametrize("is_changed", [False, True], ids=["as they were", "changed since"])
def test_a_letter_for_a_member_who_was_left_out_brings_them_in_only_once_they_change(
    make_importer: MakeImporter, *, is_changed: bool
) -> None:
    """Asked for by id: delivered when they changed after the list began to be carried, else the letter closes."""
    importer = begun_now(make_importer, 100)
    one = next(one for one in importer.sandbox.audience().with_status("subscribed") if one.get("contact_id"))
    fields = {"kind": "contact", "cause": "refusal", "member_id": one["contact_id"]}
    since, until = second_of(one)
    as_an_earlier_version(importer, since=iso(since), until=iso(until), **fields)
    if is_changed:
        importer.sandbox.audience().change(who=[one])
    assert importer("dlq", "replay").code == 0
    assert imported_ids(importer) == ({one["contact_id"]} if is_changed else set())
    assert [one["status"] for one in letters(importer, "--all")] == ["replayed" if is_changed else "gone"]


def test_whom_ometria_refuses_while_they_are_mended_is_a_letter_that_a_replay_delivers(
    make_importer: MakeImporter,
) -> None:
    """They are due in Ometria; the letter is theirs alone, and causes no event."""
    importer = make_importer(size=60)
    importer.configure(AT_ONCE)
    importer("sync")
    time_passes(600)
    new = importer.sandbox.audience().add(email_address="new@example.com")
    time_passes(600)
    importer("sync")
    time_passes(600)
    importer("sync")
    importer.sandbox.delete_contacts([("mailchimp", f"{importer.sandbox.list_key}-{new['contact_id']}")])
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{new['contact_id']}"}
    assert importer("reconcile", "--mend", "--yes").code == 3
    assert [one["member_id"] for one in letters(importer)] == [new["contact_id"]]
    importer.sandbox.settings.rejects = set()
    assert importer("dlq", "replay").code == 0
    assert letters(importer) == []
    assert "timestamp_subscribed" not in person_of(importer, new)


# ---- who is new to the run that failed


def joined(importer: Importer, name: str) -> MemberView:
    """Somebody opts in; ten minutes pass."""
    one = importer.sandbox.audience().add(email_address=f"{name}@example.com")
    time_passes(600)
    return one


def is_announced(importer: Importer, *people: MemberView) -> list[bool]:
    return ["timestamp_subscribed" in person_of(importer, one) for one in people]


def taken_out(importer: Importer) -> None:
    """Nothing of what was sent before is in Ometria: whoever comes now shows with what they were sent."""
    importer.sandbox.delete_contacts(list(importer.sandbox.contacts()))


def failing(make_importer: MakeImporter) -> tuple[Importer, MemberView, MemberView]:
    """No push goes through, for somebody who was welcomed and changed since, and for somebody who is new."""
    importer = make_importer(size=60)
    importer("sync")
    time_passes(600)
    early = joined(importer, "early")
    importer("sync")
    time_passes(600)
    importer.sandbox.audience().change(who=[early])
    late = joined(importer, "late")
    taken_out(importer)
    accept_one_more_push(importer)
    return importer, early, late


@pytest.mark.parametrize("command", [("sync",), ("dlq", "replay")], ids=" ".join)
@pytest.mark.parametrize("kind", [(), ("--full",), ("--since", "3d")], ids=["changes", "full", "since"])
def test_a_letter_announces_only_who_was_new_to_the_run_that_failed(
    make_importer: MakeImporter, kind: tuple[str, ...], command: tuple[str, ...]
) -> None:
    """Who opted in before that run changed in its span, too, and was welcomed already; its new people were not."""
    importer, early, late = failing(make_importer)
    assert importer("sync", *kind).code == 3
    importer.sandbox.settings.fault = None
    assert late["contact_id"] not in imported_ids(importer)
    time_passes(3_600)
    assert importer(*command).code == 0
    assert letters(importer) == []
    assert is_announced(importer, early, late) == [False, True]


def test_a_letter_of_an_earlier_version_announces_only_who_was_new_to_its_run(make_importer: MakeImporter) -> None:
    """That version did not write down who was new: the beginning of the run says it."""
    importer, early, late = failing(make_importer)
    assert importer("sync").code == 3
    importer.sandbox.settings.fault = None
    state(importer, "UPDATE windows SET new_since = NULL")
    assert importer("dlq", "replay").code == 0
    assert is_announced(importer, early, late) == [False, True]


def test_a_run_that_takes_a_letter_along_announces_nobody_of_its_own_span_again(make_importer: MakeImporter) -> None:
    """An old letter does not make its run's other members new: only the letter's own are judged by its moment."""
    importer = make_importer(size=60)
    importer("sync")
    time_passes(600)
    refused = importer.sandbox.audience().add(email_address="refused@example.com")
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{refused['contact_id']}"}
    time_passes(600)
    assert importer("sync").code == 3
    early = joined(importer, "early")
    importer("sync")
    time_passes(3_600)
    importer("sync")
    importer.sandbox.settings.rejects = set()
    importer.sandbox.audience().change(who=[early, refused])
    taken_out(importer)
    time_passes(600)
    result = importer("sync", "--json")
    assert (result.code, result.line["subscription_events"]) == (0, 1)
    assert is_announced(importer, early, refused) == [False, True]


def test_a_letter_whose_run_is_not_in_the_log_announces_nobody(make_importer: MakeImporter) -> None:
    """Nothing says who was new to it."""
    importer = make_importer(size=60)
    importer("sync")
    time_passes(600)
    late = joined(importer, "late")
    accept_one_more_push(importer)
    assert importer("sync").code == 3
    importer.sandbox.settings.fault = None
    state(importer, "UPDATE dead_letters SET first_run_id = 99")
    assert importer("dlq", "replay").code == 0
    assert is_announced(importer, late) == [False]


def test_whom_a_replay_cannot_deliver_is_still_new_to_the_run_that_failed(make_importer: MakeImporter) -> None:
    """Ometria refuses a new subscriber of a span that is replayed: their own letter remembers the span's run."""
    importer = make_importer(size=60)
    importer("sync")
    time_passes(600)
    late = joined(importer, "late")
    accept_one_more_push(importer)
    assert importer("sync").code == 3
    importer.sandbox.settings.fault = None
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{late['contact_id']}"}
    assert importer("dlq", "replay").code == 3
    assert [one["member_id"] for one in letters(importer)] == [late["contact_id"]]
    importer.sandbox.settings.rejects = set()
    assert importer("dlq", "replay").code == 0
    assert is_announced(importer, late) == [True]


def test_a_replay_before_an_unfinished_full_run_ends_closes_nothing_that_it_was_to_bring(
    make_importer: MakeImporter,
) -> None:
    """A list begun with `--since now` is carried as a whole once `--full` is asked for, also before that is through."""
    importer = begun_now(make_importer, 300)
    importer.configure(AT_ONCE + "mailchimp.window = 50\nmailchimp.connections = 1\n")
    importer.sandbox.settings.broken.append("100-100")
    importer.sandbox.settings.fault = lambda one: "401" if one.path == "/push" and one.nth > 4 else None
    assert importer("sync", "--full").code == 1
    importer.sandbox.settings.fault = None
    importer.sandbox.settings.broken.clear()
    assert letters(importer)
    importer("dlq", "replay")
    assert importer("sync").code == 0
    assert importer("dlq", "replay").code == 0
    assert imported_ids(importer) >= expected_ids(importer)


def test_a_worker_judges_each_by_their_window_and_by_their_letter(make_importer: MakeImporter) -> None:
    """What it needs for that stands in the order: who is new to the window, and who was never sent."""
    importer = make_importer(size=20)
    early, never_sent, late = (joined(importer, name) for name in ("early", "never", "late"))
    opted = {one["contact_id"]: epoch(one["timestamp_opt"]) or 0 for one in (never_sent, late)}
    window = Window(0, "listed", None, LATER, new_since=opted[late["contact_id"]])
    watched = {never_sent["contact_id"]: opted[never_sent["contact_id"]]}
    rules: dict[str, Any] = {"subscription_events": "new", "new_since": 0, "events_left": 100}
    message = page_message(importer, window=window, watched=watched, **rules)
    stop = StopSignal()
    place = workplace(importer, stop)
    reply = place.execute(place.opened(sent(importer, message)))
    stop.abort()
    assert type(reply) is Processed
    assert is_announced(importer, early, never_sent, late) == [False, True, True]


@pytest.mark.parametrize("kind", [(), ("--full",)], ids=["changes", "full"])
def test_who_opted_in_in_the_span_of_a_letter_and_changed_since_is_announced(
    make_importer: MakeImporter, kind: tuple[str, ...]
) -> None:
    """They are in the letter's span no more; the run that finds them in its own sends the event that was never sent."""
    importer = make_importer(size=60)
    importer("sync")
    time_passes(600)
    new = joined(importer, "new")
    accept_one_more_push(importer)
    assert importer("sync").code == 3
    time_passes(600)
    importer.sandbox.audience().change(who=[new])
    time_passes(600)
    importer.sandbox.settings.fault = None
    assert importer("sync", *kind).code == 0
    assert is_announced(importer, new) == [True]
    assert events(importer) == 1
