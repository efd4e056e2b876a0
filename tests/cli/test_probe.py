"""The command `probe`: what it prints, writes and ends with; nothing personal in any of it; and few requests."""

from __future__ import annotations

import itertools
import json
import os
import signal
import stat
import subprocess
import time
from typing import Any

import pytest
from conftest import Importer, MakeImporter

from mcimport.monitoring.probe import probe
from mcimport.monitoring.probe.written_contact import COLLECTION, CONTACT
from mcimport.sandbox.request_log import Request
from mcimport.services.api_facts import FACTS
from mcimport.state import lock_client

WRITE = ("--write", "--address", "operator-own@example.com", "--yes")
PLANTED = "Zebedee.Planted@example.com"


def plant(importer: Importer) -> None:
    """A member and a contact with the address in each field that can hold a text, and errors that quote it."""
    texts: dict[str, Any] = dict.fromkeys(
        ("full_name", "unsubscribe_reason", "sms_phone_number", "sms_subscription_status", "source", "language",
         "ip_opt", "ip_signup", "timestamp_opt", "timestamp_signup", "email_client", "contact_id", "unique_email_id"),
        PLANTED,
    )  # fmt: skip
    importer.sandbox.audience().add(
        email_address=PLANTED,
        status=PLANTED,
        merge_fields={"FNAME": PLANTED, PLANTED: PLANTED},
        interests={PLANTED: True},
        tags=[{"id": number, "name": PLANTED} for number in range(51)],
        tags_count=51,
        marketing_permissions=[{"marketing_permission_id": "1", "text": PLANTED, "enabled": True}],
        location={"country_code": PLANTED, "timezone": PLANTED},
        last_note={"note_id": 1, "note": PLANTED},
        at=1_700_000_000,
        **texts,
    )
    contact = {"id": f"{importer.sandbox.list_key}-{'a' * 32}", "email": PLANTED, "firstname": "Zebedee"}
    importer.sandbox.store_contacts([contact | {"properties": {"note": PLANTED}}])
    importer.sandbox.settings.consent_words = {"EXPLICITLY_OPTEDOUT": PLANTED}
    importer.sandbox.store_contacts([{"id": "2", "email": PLANTED, "gender": PLANTED}])  # becomes an error


def test_nothing_personal_is_printed_written_logged_or_kept(make_importer: MakeImporter) -> None:
    """With the address in every field of a member and of a contact: not on the screen, in the report, nor at rest."""
    importer = make_importer(size=120)
    plant(importer)
    importer.create_state_file()
    report = importer.folder / "probe.json"
    command = ("probe", importer.sandbox.list_key, *WRITE, "--report", str(report), "--verbose")
    results = [importer(*command), importer(*command, "--json")]
    for result in results:
        assert result.code == 3, result.err  # the planted word of consent is none of the three
        assert "/members" in result.err  # the log of requests
    document = json.loads(report.read_text())
    assert [one["fact"] for one in document["findings"]] == [line["fact"] for line in results[1].lines]
    assert {one["fact"] for one in document["findings"]} == set(FACTS) - {"mailchimp-connections"}
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    rests = [path.read_bytes() for path in importer.folder.iterdir() if path != importer.config]
    shown = "".join(result.out + result.err for result in results).encode() + b"".join(rests)
    people = [str(one["email_address"]) for one in importer.sandbox.audience().members if one["email_address"]]
    secrets = [importer.sandbox.mailchimp_key, importer.sandbox.ometria_key, "operator-own", "Zebedee", PLANTED]
    assert [text for text in [*people, *secrets] if text.lower().encode() in shown.lower()] == []


def test_a_probe_of_a_long_list_takes_few_requests_and_two_connections(make_importer: MakeImporter) -> None:
    """Some forty, whatever the length; reading only, it changes nothing on either side."""
    importer = make_importer(size=4_000, reads_per_second=4)
    importer.configure(importer.config.read_text().replace("reads_per_second = 1000", "reads_per_second = 4"))
    before = importer.sandbox.contacts()
    result = importer("probe", importer.sandbox.list_key, "--json")
    assert result.code == 0, result.err
    assert {line["fact"] for line in result.lines} == {
        name for name, fact in FACTS.items() if not fact.needs_write and name != "mailchimp-connections"
    }
    requests = importer.sandbox.requests
    assert len(requests) < 60
    assert {one.method for one in requests} == {"GET"}
    assert {one.status for one in requests} <= {200, 400, 401, 404}
    assert importer.sandbox.max_open() <= 2
    assert importer.sandbox.contacts() == before


@pytest.mark.parametrize(
    ("settings", "verdict", "statuses"),
    [
        ({}, "holds", [200, 429]),
        ({"over_limit": "403-bare"}, "differs", [200, 403]),
        ({"connections": 20}, "differs", [200]),
    ],
    ids=str,
)
def test_one_connection_too_many_is_tried_where_that_is_asked_for(
    make_importer: MakeImporter, settings: dict[str, Any], verdict: str, statuses: list[int]
) -> None:
    """Eleven pages are asked for at once, each once; whatever else is asked keeps to ten."""
    importer = make_importer(size=30, **settings)
    importer.sandbox.settings.first_page_latency = 0.2
    result = importer("probe", importer.sandbox.list_key, "--connections", "11", "--json")
    (line,) = [line for line in result.lines if line["fact"] == "mailchimp-connections"]
    assert (line["verdict"], line["evidence"]["statuses"]) == (verdict, statuses)
    assert line["evidence"]["open_at_once"] == importer.sandbox.max_open() == 11
    assert [line["fact"] for line in result.lines if line["verdict"] == "differs"] == ["mailchimp-connections"] * (
        verdict == "differs"
    )


def test_members_who_are_not_as_documented_are_counted(make_importer: MakeImporter) -> None:
    """By status, opt-in, SMS, permission and field, and by what they would become; the status alone is a difference."""
    importer = make_importer(size=0, permissions=("Email", "Post"))
    audience = importer.sandbox.audience()
    fields = {"FNAME": "Ada", "BIRTHDAY": "13/13", "POINTS": 7}
    audience.add(email_address="a@example.com", merge_fields=fields, timestamp_opt="2090-01-01T00:00:00+00:00", at=1)
    audience.add(email_address="b@example.com", merge_fields={}, status="asleep", at=2)
    audience.add(email_address="", sms_phone_number="+447911123456", sms_subscription_status="subscribed", at=3)
    result = importer("probe", importer.sandbox.list_key, "--json")
    facts = {line["fact"]: line for line in result.lines}
    assert [name for name, line in facts.items() if line["verdict"] == "differs"] == ["mailchimp-members"]
    seen = facts["mailchimp-members"]["evidence"]
    assert seen["statuses"] == {"subscribed": 2, "other": 1}
    assert (seen["opted_in_in_the_future"], seen["sms_statuses"]["subscribed"]) == (1, 1)
    assert seen["permissions_given"] == {"number 1": 3, "number 2": 3}
    assert seen["not_sent"] == {"skipped: no address": 1}
    assert seen["values_that_do_not_fit"] >= 1
    assert seen["largest_record_bytes"] > 100


def test_a_fact_is_explained_without_a_request(make_importer: MakeImporter) -> None:
    """What is assumed, how it is asked, why it matters, what follows, and the source; for each fact there is."""
    importer = make_importer()
    for name, fact in FACTS.items():
        result = importer("probe", "--explain", name)
        words = " ".join(result.out.split())
        assert all(text in words for text in (fact.assumed, fact.asked, fact.why, fact.if_not, fact.source))
    assert importer.sandbox.requests == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "which list?"),
        (["--explain", "mailchimp-horoscope"], "there is no fact 'mailchimp-horoscope'"),
        (["0000000000"], "0000000000"),
        (["LIST", "--write"], "cannot ask for an address"),
        (["LIST", "--write", "--address", "not-an-address-at-all"], "that is not an email address"),
        (["LIST", "--write", "--address", "operator-own@example.com"], "cannot ask for confirmation"),
        (["LIST", "--report", "/no/such/folder/probe.json"], "cannot be written"),
    ],
    ids=str,
)
def test_wrong_usage_is_said_before_any_request(make_importer: MakeImporter, arguments: list[str], words: str) -> None:
    """Exit code 2, and what was typed for an address is not repeated."""
    importer = make_importer()
    result = importer("probe", *[importer.sandbox.list_key if one == "LIST" else one for one in arguments])
    assert (result.code, words in result.err) == (2, True), result.err
    assert "not-an-address" not in result.err
    assert "operator-own" not in result.err
    assert importer.sandbox.requests == []


def test_a_key_that_is_refused_ends_the_probe_and_a_client_at_work_is_left_alone(make_importer: MakeImporter) -> None:
    """Exit code 1 with the words that lead to the key; 4 while another process works for the client."""
    importer = make_importer(size=10)
    with lock_client(importer.db, "acme"):
        busy = importer("probe", importer.sandbox.list_key)
    assert (busy.code, "already running" in busy.err, importer.sandbox.requests) == (4, True, [])
    importer.config.write_text(importer.config.read_text().replace(importer.sandbox.ometria_key, "0" * 32))
    wrong = importer("probe", importer.sandbox.list_key)
    assert (wrong.code, "API key" in wrong.err) == (1, True)
    assert "mailchimp-order" in wrong.out


def test_a_probe_of_slow_services_ends_and_says_what_it_had_no_time_for(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its time is over no other fact is asked for: each is unknown, with the reason, as one that fails."""
    importer = make_importer(size=20)
    monkeypatch.setattr(probe, "MOST_SECONDS", -1.0)
    result = importer("probe", importer.sandbox.list_key, "--json")
    assert result.code == 1, result.err
    assert {line["verdict"] for line in result.lines} == {"unknown"}
    assert all("no time left" in line["error"] for line in result.lines)


def test_what_cannot_be_asked_is_unknown_and_the_rest_goes_on(make_importer: MakeImporter) -> None:
    """Exit code 1, and the reason beside the fact."""
    importer = make_importer(size=60)
    importer.sandbox.settings.fault = lambda one: "500" if one.path.endswith("/tags") else None
    importer.sandbox.audience().add(tags=[{"id": n, "name": "t"} for n in range(60)], tags_count=60)
    result = importer("probe", importer.sandbox.list_key, "--json")
    assert result.code == 1
    failed = {line["fact"]: (line["verdict"], line["error"]) for line in result.lines if line["error"]}
    assert failed == {"mailchimp-tags": ("unknown", "Mailchimp answered 500 (Internal Server Error)")}


@pytest.mark.parametrize("accepted", [0, 1, 2, 3, 4])
def test_an_opt_out_that_does_not_get_through_is_named_with_what_to_do(
    make_importer: MakeImporter, accepted: int
) -> None:
    """However many pushes Ometria accepts before it fails, the contact may be opted in: exit 3, and what to do."""
    importer = make_importer(size=10)
    pushes = itertools.count(1)
    importer.sandbox.settings.fault = lambda request: (
        "503" if request.path == "/push" and next(pushes) > accepted else None
    )
    result = importer("probe", importer.sandbox.list_key, *WRITE)
    assert result.code == 3, result.err
    shown = " ".join(result.out.split())
    assert "ometria-ended, differs" in shown
    assert 'Opt the contact "probe" of the collection "mcimport-probe" out in Ometria.' in shown


def test_an_opt_out_that_is_accepted_and_not_seen_says_where_to_look(make_importer: MakeImporter) -> None:
    """Ometria validates later: until it is read back, the contact may still be opted in."""
    importer = make_importer(size=10)
    pushes = itertools.count(1)

    def fault(request: Request) -> str | None:
        if request.path == "/push" and next(pushes) == 5:
            importer.sandbox.settings.settling = 1_000.0
        return None

    importer.sandbox.settings.fault = fault
    result = importer("probe", importer.sandbox.list_key, *WRITE)
    assert result.code == 1, result.err
    assert "look in Ometria whether the contact" in " ".join(result.out.split())


def test_a_key_that_is_revoked_after_the_first_push_says_where_to_look(make_importer: MakeImporter) -> None:
    """The contact was opted in by then, and no other push can take that back."""
    importer = make_importer(size=10)
    pushes = itertools.count(1)
    importer.sandbox.settings.fault = lambda request: "401" if request.path == "/push" and next(pushes) > 1 else None
    result = importer("probe", importer.sandbox.list_key, *WRITE)
    assert result.code == 1, result.out
    assert importer.sandbox.contacts()[COLLECTION, CONTACT]["marketing_optin"] == "EXPLICITLY_OPTEDIN"
    assert "look in Ometria whether the contact" in " ".join(result.err.split())


def test_a_difference_that_matters_is_3_also_where_something_could_not_be_asked(make_importer: MakeImporter) -> None:
    """What the importer needs and is not so outweighs what is not known."""
    importer = make_importer(size=60, sort_ignored=True)
    importer.sandbox.settings.fault = lambda request: "500" if request.path == "/push/_errors" else None
    result = importer("probe", importer.sandbox.list_key)
    assert result.code == 3, result.err
    assert "ometria-errors, unknown" in result.out


def test_a_member_who_is_dated_ahead_of_mailchimps_clock_is_a_difference(make_importer: MakeImporter) -> None:
    """A sync point is a moment on that clock: a change that is later than it would be read before it has come."""
    importer = make_importer(size=10)
    importer.sandbox.audience().add(email_address="ahead@x.example", at=int(time.time()) + 7_200)
    found = {line["fact"]: line["verdict"] for line in importer("probe", importer.sandbox.list_key, "--json").lines}
    assert found["mailchimp-clock"] == "differs"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_ends_a_probe_that_writes_with_the_contact_opted_out(
    make_importer: MakeImporter, number: signal.Signals, code: int
) -> None:
    """Whichever step it is at, also where its terminal was closed, and it is said where to look."""
    importer = make_importer(size=10, settling=0.1)
    program: list[subprocess.Popen[str]] = []

    def stopped_after_the_first_push(request: Request) -> str | None:
        if request.path.startswith("/contacts/") and importer.sandbox.contacts() and program:
            os.kill(program.pop().pid, number)
        return None

    report = importer.folder / "probe.json"
    words = importer.command("probe", importer.sandbox.list_key, *WRITE, "--report", str(report))
    importer.sandbox.settings.fault = stopped_after_the_first_push
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        program.append(running)
        _, err = running.communicate()
    assert running.returncode == code, err
    assert "look in Ometria" in err
    assert json.loads(report.read_text())["is_whole"] is False
    assert importer.sandbox.contacts()[COLLECTION, CONTACT]["marketing_optin"] == "EXPLICITLY_OPTEDOUT"
