"""JSON and logs have one vocabulary, and each name that 0.1.0 had for the same is beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from conftest import Importer, MakeImporter

from mcimport.report import former_names


def used(make_importer: MakeImporter) -> tuple[Importer, list[dict[str, Any]]]:
    """An importer whose list has a dead letter, and the events of the sync that wrote it."""
    importer = make_importer(size=30)
    importer.sandbox.audience().add(email_address="not an address")
    logged = importer("sync", "--log-format", "json").err.splitlines()
    return importer, [json.loads(line) for line in logged]


def check(document: Mapping[str, Any], names: Mapping[str, str]) -> None:
    for new, old in names.items():
        assert document[new] == document[old], (new, old)


def test_each_document_has_both_names_of_a_value(make_importer: MakeImporter) -> None:
    """A program that reads the former name finds the same value as one that reads the new one."""
    importer, events = used(make_importer)
    (run,) = importer("runs", "list", "--json").lines
    check(run, former_names.RUN)
    shown = importer("runs", "show", "1", "--json").line
    check(shown, former_names.RUN)
    check(shown["windows"][0], former_names.WINDOW)
    check(importer("status", "--json").line, former_names.LIST)
    check(importer("dlq", "list", "--json").line, former_names.DEAD_LETTER)
    check(importer("dlq", "show", "1", "--json").line, former_names.DEAD_LETTER)
    check(importer("check", "--offline", "--json").lines[0], former_names.FINDING)
    check(importer("lists", "--json").lines[0], former_names.LIST_OF_KEY)
    check(importer("report", "--json").line["lists"][0], former_names.REPORTED_LIST)
    page = next(event for event in events if event["event"] == "page")
    check(page, {new: former_names.EVENT[new] for new in ("list_key", "run_id", "members_read", "contacts_pushed")})


def test_all_documents_name_what_a_sync_counts_as_its_own_json_does(make_importer: MakeImporter) -> None:
    """The line of `sync --json`, the run in the log of runs, and the last event of the log have the same counts."""
    importer = make_importer(size=30)
    line = importer("sync", "--json").line
    (run,) = importer("runs", "list", "--json").lines
    again = make_importer(size=30)
    event = [json.loads(one) for one in again("sync", "--log-format", "json").err.splitlines()][-1]
    counts = ("members_read", "contacts_pushed", "contacts_rejected")
    assert {name: line[name] for name in counts} == {name: run[name] for name in counts}
    assert {name: line[name] for name in counts} == {name: event[name] for name in counts}
    assert (line["opted_in"], line["opted_out"]) == (run["opted_in"], run["opted_out"])


def test_no_number_has_more_places_than_a_millisecond_needs(make_importer: MakeImporter) -> None:
    """Seconds are as precise as somebody can use."""
    importer, events = used(make_importer)
    documents = [importer("runs", "show", "1", "--json").line, *events, importer("status", "--json").line]
    numbers = [value for document in documents for value in _numbers(document)]
    assert numbers
    assert all(value == round(value, 3) for value in numbers)


def _numbers(found: Any) -> list[float]:
    if isinstance(found, float):
        return [found]
    parts = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return [number for part in parts for number in _numbers(part)]
