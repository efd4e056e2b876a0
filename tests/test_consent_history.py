"""What is history: opt-ins that have not come yet, those before Ometria accepted anybody, and a lost state file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from conftest import CONFIG, Ended, Importer, Stage, carried, expected

from mcimport.sandbox.audience import People
from mcimport.times import iso

IN, OUT, NEITHER = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"
DAY = 86_400
FUTURE = "opted in at a time that has not come yet"
BEFORE = "this list was synced before"
LEFT = "was not compared, and may still be opted in"


def contact_id(importer: Importer, member: Any) -> tuple[str, str]:
    return "mailchimp", f"{importer.box.list_key}-{member.get('contact_id') or member['web_id']}"


def consents(importer: Importer, people: People) -> list[str | None]:
    """What Ometria holds of these; None for whom it does not hold."""
    held = importer.box.contacts()
    return [held.get(contact_id(importer, one), {}).get("marketing_optin") for one in people]


def welcomed(importer: Importer) -> int:
    return importer.box.welcomes().total()


def remembered(importer: Importer, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(importer.db)) as state:
        return state.execute(sql).fetchall()


def synced(importer: Importer, *words: str, code: int = 0) -> Ended:
    ended = importer("sync", *words)
    assert ended.code == code, ended.err
    return ended


# ---- an opt-in in the future


def later(importer: Importer, seconds: int = 600) -> None:
    importer.box.clock.advance(seconds)


def opts_in(importer: Importer, when: str, number: int = 0, **fields: Any) -> Any:
    address = f"m{number}@example.com"
    return importer.box.audience().add(email_address=address, timestamp_opt=when, timestamp_signup=when, **fields)


@pytest.mark.parametrize("events", ["new", "all"])
@pytest.mark.parametrize("when", ["nine days ahead", "2096-08-11T10:00:00+00:00", "2096-08-11T10:00:00"])
def test_an_opt_in_in_the_future_is_no_event(stage: Stage, when: str, events: str) -> None:
    """Day and month were swapped, or a digit: they are carried as opted in, and nobody is welcomed for it."""
    importer = stage()
    importer.configure(CONFIG + f'ometria.subscription_events = "{events}"\n')
    synced(importer)
    later(importer)
    ahead = iso(importer.box.clock.second() + 9 * DAY)
    wrong = opts_in(importer, ahead if when == "nine days ahead" else when)
    right = opts_in(importer, iso(importer.box.clock.second()), 1)
    ended = synced(importer, "--json")
    held = importer.box.contacts()
    assert held[contact_id(importer, wrong)]["marketing_optin"] == IN
    assert "timestamp_subscribed" not in held[contact_id(importer, wrong)]
    assert "timestamp_subscribed" in held[contact_id(importer, right)]
    assert (ended.line["subscription_events"], welcomed(importer)) == (1, 1)
    assert f"1 member {FUTURE}" in ended.err


def test_opt_ins_in_the_future_are_not_counted_against_the_welcome_limit(stage: Stage) -> None:
    """A file of 600 with swapped dates keeps nobody who really opted in from being welcomed."""
    importer = stage()
    importer.configure(CONFIG + "ometria.welcome_limit = 100\nmailchimp.window = 200\n")
    synced(importer)
    later(importer)
    now = importer.box.clock.second()
    for number in range(600):
        opts_in(importer, iso(now + 9 * DAY), number)
    importer.box.audience().join(20)
    later(importer)
    ended = synced(importer, "--json")
    assert ended.line["subscription_events"] == welcomed(importer) == 20
    assert f"600 members {FUTURE}" in ended.err
    assert "welcome_limit" not in ended.err


def test_a_last_change_in_the_future_makes_no_event_of_an_opt_in_there(stage: Stage) -> None:
    """Whoever opts in changes by it, so the one is believed for the other; but not where that has not come either."""
    importer = stage()
    synced(importer)
    later(importer)
    ahead = iso(importer.box.clock.second() + 9 * DAY)
    opts_in(importer, ahead, last_changed=ahead)
    ended = synced(importer)
    assert welcomed(importer) == 0
    assert f"1 member {FUTURE}" in ended.err


@pytest.mark.parametrize("junk", ["-0001-11-30T00:00:00+00:00", "0000-00-00T00:00:00+00:00", "0000-00-00 00:00:00"])
def test_a_date_that_does_not_exist_is_no_time(stage: Stage, junk: str) -> None:
    """It is left out, without a word about the future."""
    importer = stage()
    importer.configure(CONFIG + 'ometria.subscription_events = "all"\n')
    member = opts_in(importer, junk)
    ended = synced(importer)
    held = importer.box.contacts()[contact_id(importer, member)]
    assert not {name for name in held if name.startswith("timestamp_")}
    assert FUTURE not in ended.err


@pytest.mark.parametrize("blank", ["T", " "])
def test_times_without_an_offset_are_utc(stage: Stage, blank: str) -> None:
    """They are sent with the offset; a new opt-in is an event, and the change stands where it belongs."""
    importer = stage()
    synced(importer)
    later(importer)
    now = iso(importer.box.clock.second())
    naive = now.removesuffix("+00:00").replace("T", blank)
    member = opts_in(importer, naive, last_changed=naive)
    ended = synced(importer)
    held = importer.box.contacts()[contact_id(importer, member)]
    assert (held["timestamp_subscribed"], held["timestamp_acquired"]) == (now, now)
    assert welcomed(importer) == 1, ended.err


def test_members_whose_last_change_names_no_offset_are_carried_once(stage: Stage) -> None:
    """Pages are cut by time: these members have one, too."""
    importer = stage()
    importer.configure(CONFIG + "mailchimp.window = 50\n")
    start = importer.box.clock.second() - DAY
    for number in range(300):
        changed = iso(start + number).removesuffix("+00:00")
        opts_in(importer, changed, number, last_changed=changed)
    ended = synced(importer, "--json")
    assert ended.line["members_read"] == 300
    assert carried(importer) == expected(importer)
