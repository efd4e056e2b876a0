"""Dead letters and consent: a letter brings in only whom the list carries, and welcomes only who was new to its run."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from conftest import CONFIG, Ended, Importer, Stage, carried

from mcimport.sandbox.audience import Person
from mcimport.sandbox.knobs import Span
from mcimport.times import epoch, iso

AT_ONCE = CONFIG + "reconcile.settling = 0\n"
AGAIN = [("sync",), ("dlq", "replay"), ("sync",)]


def letters(importer: Importer, *options: str) -> list[dict[str, Any]]:
    return importer("dlq", "list", *options, "--json").lines


def state(importer: Importer, statement: str, *values: Any) -> list[Any]:
    """What a statement finds in, or does to, the state file."""
    with closing(sqlite3.connect(importer.db)) as db, db:
        return db.execute(statement, values).fetchall()


def begun_now(stage: Stage, size: int, **knobs: Any) -> Importer:
    """A list that was begun with `--since now`: nobody on it was imported."""
    importer = stage(size=size, **knobs)
    importer.configure(AT_ONCE)
    assert importer("sync", "--since", "now").code == 0
    importer.box.clock.advance(600)
    return importer


def second_of(one: Person) -> tuple[int, int]:
    """The span of the second in which a member changed last."""
    second = epoch(one["last_changed"])
    assert second
    return second - 1, second


def compared_over_a_broken_span(importer: Importer, *broken: Span | str) -> Ended:
    """What `reconcile` says of a list of which a part cannot be read; it can be read again afterwards."""
    importer.box.knobs.broken[:] = broken
    importer.box.knobs.broken_lookups = True
    ended = importer("reconcile", "--json")
    importer.box.knobs.broken.clear()
    return ended


def events(importer: Importer) -> int:
    return sum("timestamp_subscribed" in contact for contact in importer.box.contacts().values())


def person_of(importer: Importer, one: Person) -> dict[str, Any]:
    return importer.box.contacts()["mailchimp", f"{importer.box.list_key}-{one['contact_id']}"]


# ---- a comparison writes no letters


def test_what_a_comparison_cannot_read_brings_in_nobody_of_a_list_begun_with_since_now(stage: Stage) -> None:
    """Neither the next sync nor a replay imports people who were left out on purpose."""
    importer = begun_now(stage, 1_800)
    assert compared_over_a_broken_span(importer, "900-901").code == 3
    assert letters(importer) == []
    for command in AGAIN:
        assert importer(*command).code == 0
    assert carried(importer) == set()


def test_what_a_comparison_cannot_read_brings_in_nobody_who_was_archived_before_the_first_sync(stage: Stage) -> None:
    """The archive is compared, too, and stays out of Ometria all the same."""
    importer = stage(size=400)
    importer.configure(AT_ONCE)
    importer("sync")
    importer.box.clock.advance(600)
    before = carried(importer)
    ended = compared_over_a_broken_span(importer, second_of(importer.box.audience().archived()[8]))
    assert ended.code == 3
    assert "archived" in {one["sweep"] for one in ended.line["unread_spans"]}
    for command in AGAIN:
        assert importer(*command).code == 0
    assert carried(importer) == before


def test_what_a_comparison_cannot_read_announces_nobody_again(stage: Stage) -> None:
    """Who was welcomed long ago is sent without the time of the opt-in, if they are sent at all."""
    importer = stage(size=50)
    importer.configure(AT_ONCE)
    importer("sync")
    importer.box.clock.advance(600)
    importer.box.audience().add(email_address="new@example.com")
    importer.box.clock.advance(600)
    importer("sync")
    assert importer.box.welcomes().total() == 1
    importer.box.clock.advance(86_400)
    importer("sync")
    importer.box.clear_requests()
    rank = len(importer.box.audience().listed()) - 1
    assert compared_over_a_broken_span(importer, f"{rank}-{rank}").code == 3
    for command in AGAIN:
        assert importer(*command).code == 0
    assert sum(len(request.ids) for request in importer.box.requests) == 0


def test_what_a_comparison_cannot_read_is_named_and_read_again(stage: Stage) -> None:
    """In words and in JSON, with its times and the reason; `status` tells; the next comparison reads it."""
    importer = stage(size=300)
    importer.configure(AT_ONCE)
    importer("sync")
    importer.box.clock.advance(600)
    importer.box.knobs.broken.append("100-101")
    said, counted = importer("reconcile"), importer("reconcile", "--json")
    assert (said.code, counted.code) == (3, 3)
    assert "not everything could be read" in said.err
    assert "could not be read; the next `mcimport reconcile` reads" in said.err
    spans = counted.line["unread_spans"]
    assert counted.line["unread"] == len(spans) >= 1
    assert {one["sweep"] for one in spans} == {"listed"}
    assert all(one["until"] and "500" in one["reason"] for one in spans)
    assert counted.line["dead_letters"] == 0
    assert "compared but for" in importer("status").out
    run = importer("runs", "list", "--json").lines[0]
    assert run["windows_dead"] >= 1
    importer.box.knobs.broken.clear()
    again = importer("reconcile", "--json")
    assert (again.code, again.line["unread"], again.line["unread_spans"]) == (0, 0, [])


def test_the_log_for_machines_names_what_could_not_be_read(stage: Stage) -> None:
    """An event of its own: it is no dead letter."""
    importer = begun_now(stage, 100)
    importer.box.knobs.broken.append("50-50")
    told = importer("reconcile", "--log-format", "json").err
    assert '"event": "unread"' in told
    assert '"event": "dead letter"' not in told


@pytest.mark.parametrize("hours", [2, 24 * 365], ids=["two hours", "a year"])
def test_a_push_from_the_future_is_waited_for_no_longer_than_settling(stage: Stage, hours: int) -> None:
    """A clock that was set back holds the client's lock for `settling` at most."""
    importer = stage(size=50)
    importer.configure(CONFIG + "reconcile.settling = 1\n")
    importer("sync")
    importer.box.take_out(list(importer.box.contacts())[:1])
    state(importer, "UPDATE runs SET finished_at = ?", iso(importer.box.clock.second() + hours * 3_600))
    ended = importer("reconcile")
    assert ended.code == 3
    assert "waited 1 s, until Ometria had settled" in ended.err
