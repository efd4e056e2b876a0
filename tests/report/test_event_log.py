"""The log: for people or for machines, one event a line, each with its run, and nobody's name in it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from conftest import CONFIG, CommandResult, Importer, MakeImporter, configure_clients
from test_house import leaks

from mcimport import monitoring
from mcimport.services.http.request_log import without_personal_data

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")
LOGFMT = ("--log-format", "logfmt")


def logfmt(line: str) -> dict[str, str]:
    """The names and values of a line, in their order."""
    return {name: value for name, _, value in (word.partition("=") for word in shlex.split(line))}


def events(result: CommandResult) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.err.splitlines()]


def wild(make_importer: MakeImporter) -> Importer:
    """A list whose services fail now and then, with a page that cannot be read and somebody who cannot be sent."""
    importer = make_importer(size=600, broken=["100-101"], faults={"500": 0.05, "429": 0.05})
    importer.create_state_file()
    importer.sandbox.audience().add(email_address="not an address", merge_fields={"FNAME": "Bartholomew"})
    importer.sandbox.audience().add(email_address="m@example.com", tags=[{"id": n, "name": f"t{n}"} for n in range(60)])
    importer.configure(CONFIG + "mailchimp.window = 100\n")
    return importer


def test_each_event_is_a_line_of_json_with_its_run_and_list(make_importer: MakeImporter) -> None:
    """What was planned, each page, each dead letter, and the end: with a time in UTC and a level."""
    importer = wild(make_importer)
    result = importer("sync", "--log-format", "json")
    assert result.code == 3
    told = events(result)
    assert {one["event"] for one in told} >= {"planned", "page", "dead letter", "completed"}
    for one in told:
        assert TIME.fullmatch(one["time"])
        assert (one["client"], one["list_key"], one["run_id"]) == ("acme", importer.sandbox.list_key, 1)
        assert one["level"] in ("info", "warning", "error")
        assert ("window" in one) is (one["event"] in ("page", "dead letter"))
    (last,) = [one for one in told if one["event"] == "completed"]
    assert last["pushed"] == sum(one["pushed"] for one in told if one["event"] == "page")


def test_logfmt_is_the_same_in_another_spelling(make_importer: MakeImporter) -> None:
    """Time, level and event first, so that a person finds them, too."""
    importer = wild(make_importer)
    for line in importer("sync", *LOGFMT).err.splitlines():
        assert [*logfmt(line)][:6] == ["time", "level", "event", "client", "list_key", "run_id"]


def test_the_lines_that_the_page_shows_have_the_names_and_times_of_real_ones(make_importer: MakeImporter) -> None:
    """Whoever writes a parser by the sample finds in the log what it looks for."""
    page = Path(monitoring.__file__).with_name("README.md").read_text(encoding="utf-8")
    shown = [logfmt(line) for line in page.splitlines() if line.startswith("time=")]
    found = {one["event"]: one for one in map(logfmt, wild(make_importer)("sync", *LOGFMT).err.splitlines())}
    assert [one["event"] for one in shown] == ["page", "dead letter"]
    for one in shown:
        assert [*one] == [*found[one["event"]]]
        assert TIME.fullmatch(one["time"])


def test_requests_are_told_on_demand_with_their_run_and_window(make_importer: MakeImporter) -> None:
    """As many as the services saw; without a key, and without whoever a path names."""
    importer = wild(make_importer)
    result = importer("sync", "-v", "--log-format", "json")
    told = events(result)
    requests = [one for one in told if one["event"] == "request"]
    assert len(requests) == len(importer.sandbox.requests)
    assert sum(one["status"] == 429 for one in requests) == sum(one.status == 429 for one in importer.sandbox.requests)
    reasons = [one["reason"] for one in told if one["event"] == "retry"]
    assert any("answered 429" in reason for reason in reasons)
    assert any("window" in one for one in requests if one["path"] == "push")
    assert {one["path"] for one in requests if "/members/" in one["path"]} == {
        f"lists/{importer.sandbox.list_key}/members/*/tags?count=1000&offset=0"
    }


@pytest.mark.parametrize("log_format", ["text", "json", "logfmt"])
def test_no_address_name_or_key_is_in_any_log(make_importer: MakeImporter, log_format: str) -> None:
    """Not even with every request told, of a list on which everything goes wrong."""
    importer = wild(make_importer)
    first = importer("sync", "-v", "--log-format", log_format)
    second = importer("dlq", "replay", "-v", "--log-format", log_format)
    assert "push" in first.err
    assert leaks(importer, first, second) == []


def test_requests_are_lines_for_people_without_a_format(make_importer: MakeImporter) -> None:
    """Between the lines that are told anyway."""
    importer = make_importer(size=10)
    result = importer("sync", "-v")
    key = importer.sandbox.list_key
    assert f"acme {key} run 1: GET Mailchimp lists/{key}/members?count=1000&offset=0: 200 in " in result.err
    assert "run 1 time range 0: POST Ometria push: 2" in result.err


def test_the_services_learn_which_run_asks(make_importer: MakeImporter) -> None:
    """Their support can find a run's requests by the name under which they are made."""
    importer = make_importer(size=10)
    importer("sync")
    importer("sync")
    agents = [one.agent for one in importer.sandbox.requests]
    assert all(re.fullmatch(r"mcimport/[0-9.]+ \(run [12]\)", agent) for agent in agents)
    assert {agent[-2] for agent in agents} == {"1", "2"}


def test_runs_of_several_clients_are_told_apart(make_importer: MakeImporter) -> None:
    """Each event bears the run of its own list."""
    importer = make_importer()
    importer.create_state_file()
    configure_clients(importer, ["one", "two", "three"], size=30)
    told = events(importer("sync", "-v", "--log-format", "json"))
    runs = {(one["client"], one.get("run_id")) for one in told}
    assert len(runs) == 3
    assert {client for client, _ in runs} == {"one", "two", "three"}


def test_quiet_tells_machines_of_trouble_alone(make_importer: MakeImporter) -> None:
    """As it does people; a broken configuration, too, is an event."""
    importer = make_importer(size=10)
    importer.create_state_file()
    assert importer("sync", "--quiet", "--log-format", "json").err == ""
    importer.sandbox.settings.fault = lambda _: "401"
    (event,) = events(importer("sync", "--quiet", "--log-format", "json"))
    assert (event["event"], event["level"]) == ("failed", "error")
    assert event["next"]
    importer.config.write_text("[nonsense]\n")
    broken = importer("sync", "--quiet", "--log-format", "json")
    (event,) = events(broken)
    assert (broken.code, event["level"]) == (2, "error")


def test_the_environment_sets_the_format(make_importer: MakeImporter) -> None:
    """So that a table of cron's, or a pod, sets it for every command."""
    importer = make_importer(size=10)
    result = importer.in_a_process("sync", environment={"MCIMPORT_LOG_FORMAT": "json"})
    assert events(result)
    assert importer.in_a_process("sync", environment={"MCIMPORT_LOG_FORMAT": "xml"}).code == 2


def test_results_stay_on_standard_output(make_importer: MakeImporter) -> None:
    """`--json` is for results, `--log-format` for the log: both at once do not mix."""
    importer = make_importer(size=10)
    result = importer("sync", "--json", "--log-format", "json")
    assert result.line["status"] == "completed"
    assert events(result)[-1]["event"] == "completed"


@pytest.mark.parametrize(
    ("path", "params", "seen"),
    [
        ("lists/1a2d7ebf82/members/0123456789abcdef", {}, "lists/1a2d7ebf82/members/*"),
        (
            "lists/1a2d7ebf82/members/x/tags",
            {"count": "9", "fields": "tags"},
            "lists/1a2d7ebf82/members/*/tags?count=9",
        ),
        ("push", {}, "push"),
        ("contacts", {"email": "a@example.com", "limit": "250"}, "contacts?limit=250"),
    ],
)
def test_a_path_is_shown_without_whoever_it_names(path: str, params: dict[str, str], seen: str) -> None:
    """Of a query, too, only what is known to name nobody."""
    assert without_personal_data(path, params) == seen
