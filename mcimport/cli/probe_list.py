"""Runs a probe of one list for the command line, and shows what it found."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from mcimport.cli import exits, read_state
from mcimport.cli.call import make_event_sink
from mcimport.cli.check import MARKS, PLAIN_MARKS
from mcimport.cli.exits import DEAD_LETTERS, FAILED, OK
from mcimport.cli.output import ignore_broken_pipe, print_error, say, show, warn_root
from mcimport.cli.output_file import output_file
from mcimport.cli.probe_write import ask_for_address
from mcimport.cli.process import handle_signals, leave_at_once
from mcimport.config import Client, Settings
from mcimport.errors import ConfigError, InterruptedRunError
from mcimport.models.timestamps import iso
from mcimport.monitoring.probe.connections_seen import ALLOWED, ONE_TOO_MANY
from mcimport.monitoring.probe.learned import answers_of
from mcimport.monitoring.probe.probe import Finding, probe_list
from mcimport.monitoring.probe.written_contact import COLLECTION, CONTACT, PROPERTY
from mcimport.report.probe_findings import evidence_text
from mcimport.report.tables import is_plain, print_lines
from mcimport.services.api_facts import FACTS
from mcimport.services.connections import ClientServices, ConnectionPool
from mcimport.services.http.shutdown import StopSignal
from mcimport.state import destinations, lock_client, open_state, probes, state_exists
from mcimport.version import __version__

TIMEOUT = 10.0  # seconds for one answer, whatever is configured for a sync
BUSY_FOR = 60.0  # seconds for which a service may refuse one request as one too many: a person waits


class ProbeOptions(Struct, frozen=True):
    """Holds the options of the command."""

    connections: int
    report: Path | None
    write: bool
    address: str | None
    yes: bool
    json: bool
    verbose: bool


def explain(name: str) -> None:
    """Prints why a fact matters. Raises ConfigError for one that there is not."""
    fact = FACTS.get(name)
    if fact is None:
        raise ConfigError(f"there is no fact {name!r}", hint=f"There are: {', '.join(FACTS)}.")
    parts = {
        "Assumed": fact.assumed,
        "How it is asked": fact.asked,
        "Why it matters": fact.why,
        "If it does not hold": fact.if_not,
        "What was known": fact.source,
    }
    print_lines(sys.stdout, [f"{head}: {text}" for head, text in parts.items()])


def probe(settings: Settings, list_key: str, client_name: str | None, options: ProbeOptions) -> int:
    """Probes and returns the exit code. Raises ConfigError, BusyError while the client is at work, and ServiceError."""
    chosen, key = _chosen(settings, list_key, client_name)
    client = _for_a_probe(chosen, options.connections)
    address = _address(options) if options.write else None
    if options.write and address is None:
        say("nothing was written")
        return OK
    warn_root(settings.db_path)
    found: list[Finding] = []
    with output_file(options.report) if options.report else nullcontext() as report:
        with lock_client(settings.db_path, client.name):
            was_synced = _was_synced(settings, client, key)
            begin = partial(
                probe_list,
                client=client,
                list_key=key,
                was_synced=was_synced,
                address=address,
                tries_one_too_many=options.connections == ONE_TOO_MANY,
            )
            interrupted = _run(client, options, begin, found)
            if interrupted is None:
                _keep(settings, client, key, found)
        if report is not None:
            json.dump(_report(found, is_whole=interrupted is None), report, indent=2)
    if interrupted is not None:
        return interrupted
    if not options.json:
        show(_conclusion(found))
    return DEAD_LETTERS if any(one.is_alarming for one in found) else FAILED if any(one.error for one in found) else OK


def _for_a_probe(client: Client, connections: int) -> Client:
    """Returns the client with few connections, short time-outs and few tries, because a person waits."""
    timeout, wait = min(TIMEOUT, client.mailchimp.timeout), min(1.0, client.retry.wait)
    return replace(
        client,
        retry=client.retry.model_copy(update={"retries": min(1, client.retry.retries), "wait": wait}),
        mailchimp=client.mailchimp.model_copy(update={"connections": min(connections, ALLOWED), "timeout": timeout}),
        ometria=client.ometria.model_copy(update={"timeout": min(TIMEOUT, client.ometria.timeout)}),
    )


def _keep(settings: Settings, client: Client, list_key: str, found: list[Finding]) -> None:
    """Keeps the answers for later runs. A state file is not made for that: a sync has to notice that there is none."""
    if not state_exists(settings.db_path):
        say("there is no state file yet, so the answers are not kept: probe again after the first sync")
        return
    with open_state(settings.db_path, create=False) as state:
        before = probes.latest(state, client.name, list_key)
        probes.note(state, client.name, list_key, answers_of(found, before))


def _address(options: ProbeOptions) -> str | None:
    names = {"collection": COLLECTION, "contact": CONTACT, "property": PROPERTY}
    return ask_for_address(options.address, yes=options.yes, **names)


def _run(
    client: Client,
    options: ProbeOptions,
    begin: Callable[[ClientServices], Iterator[Finding]],
    found: list[Finding],
) -> int | None:
    """Shows each finding as soon as it is known, and adds it to `found`. Returns the exit code of a signal, or None."""
    stop, caught = StopSignal(), list[int]()
    accounts = ConnectionPool(stop, busy_for=BUSY_FOR, tell=make_event_sink(None) if options.verbose else None)
    try:
        # A terminal that is closed sends SIGHUP: the contact that was written is opted out first.
        with handle_signals(stop, accounts, caught, signal.SIGHUP), accounts.open(client) as services:
            for finding in begin(services):
                found.append(finding)
                with ignore_broken_pipe():
                    _show(finding, as_json=options.json)
    except InterruptedRunError as error:
        print_error(error)
        code = exits.of_signals(caught)
        if stop.aborted.is_set():
            leave_at_once(code)
        return code
    return None


def _chosen(settings: Settings, list_key: str, client: str | None) -> tuple[Client, str]:
    pairs = settings.select([list_key], [client] if client is not None else [])
    if len(pairs) > 1:
        names = ", ".join(owner.name for owner, _ in pairs)
        raise ConfigError(f"several clients have the list {list_key}", hint=f"Choose one with --client: {names}.")
    return pairs[0]


def _was_synced(settings: Settings, client: Client, list_key: str) -> bool:
    """Says whether Ometria accepted a contact of the list, at the present destination."""
    if not state_exists(settings.db_path):
        return False
    with open_state(settings.db_path, create=False) as state:
        place = read_state.destination(client, list_key, state)
        row = destinations.current(state, place) if place else None
        return row is not None and row.accepted_at is not None


def _show(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        read_state.write_json([_document(finding)])
    else:
        marks = PLAIN_MARKS if is_plain(sys.stdout) else MARKS
        mark = marks["bad" if finding.is_alarming else "good" if finding.verdict == "holds" else "note"]
        below = (
            evidence_text(finding.evidence),
            finding.error,
            finding.fact.if_not * (finding.verdict == "differs"),
        )
        title = f"{mark} {finding.fact.id}, {finding.verdict}: {finding.fact.assumed}"
        print_lines(sys.stdout, [title, *(f"    {text}" for text in below if text)])
    sys.stdout.flush()  # so that each is seen as soon as it is known


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "fact": finding.fact.id,
        "verdict": finding.verdict,
        "needed": finding.fact.is_needed,
        "evidence": dict(finding.evidence),
        "error": finding.error or None,
    }


def _report(found: list[Finding], *, is_whole: bool) -> dict[str, Any]:
    """Returns the report. `is_whole`: the probe was not stopped."""
    return {
        "mcimport": __version__,
        "is_whole": is_whole,
        "probed_at": iso(int(time.time())),
        "findings": [_document(one) | {"assumed": one.fact.assumed, "if_not": one.fact.if_not} for one in found],
    }


def _conclusion(found: list[Finding]) -> str:
    counts = {verdict: sum(one.verdict == verdict for one in found) for verdict in ("holds", "differs", "unknown")}
    numbers = f"{counts['holds']} hold, {counts['differs']} differ, {counts['unknown']} not known"
    if any(one.is_alarming for one in found):
        return f"{numbers}. Something that the importer needs does not hold: see what is marked with a cross."
    return f"{numbers}. Nothing that the importer needs is known to be different."
