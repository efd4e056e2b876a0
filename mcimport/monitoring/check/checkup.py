"""Runs all checks: this machine, each client in the order of the file, the clocks, the first syncs ahead."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct

from mcimport.config import Client, Settings, world_readable_files
from mcimport.engine.page.permissions import Shown
from mcimport.errors import ConfigError, McimportError, RetriableError
from mcimport.monitoring.check import machine
from mcimport.monitoring.check.finding import Finding, error_finding
from mcimport.monitoring.check.services import MAX_PROBES, ProbeResult, Service, ServiceProbes
from mcimport.monitoring.check.synced_lists import Recorded, read_recorded
from mcimport.report.format import (
    ARCHIVED_LEFT,
    age,
    duration,
    mend_command,
    moment_utc,
    permissions_text,
    pluralize,
)
from mcimport.services.connections import ConnectionPool
from mcimport.services.http.shutdown import StopSignal
from mcimport.services.mailchimp.responses import CLOCK_TOLERANCE
from mcimport.state import lock_holder
from mcimport.state.probes import ProbeAnswers

BUSY_FOR = 2.0  # seconds after which an account that refuses requests as too many is reported as such
LISTS_NAMED = 5
FIRST_SYNC = (
    "Switch off Ometria's own Mailchimp synchronisation first, or the two overwrite each other. Also: if a person is on"
    " two lists and unsubscribes from one, Ometria stops mailing them for both."
)
OTHER_COLLECTION = (
    "It may be Ometria's own synchronisation, or an earlier import: make sure that nothing else writes there."
)

SERVICES: tuple[Service, ...] = ("Mailchimp", "Ometria")


class _ClientFacts(Struct, frozen=True):
    """Holds one client, and what is known without a request. `wrong`: by service, what is wrong with its key."""

    client: Client
    wrong: Mapping[str, ProbeResult]
    recorded: Recorded


def run_checks(
    settings: Settings, clients: Sequence[Client], *, offline: bool, environ: Mapping[str, str]
) -> Iterator[Finding]:
    """Yields each finding as soon as it is known, in the order of the file. `offline`: only what needs no network."""
    yield machine.configuration(settings)
    yield from machine.environment(settings, environ)
    yield from (Finding("", "keys", "note", words) for words in world_readable_files(settings))
    yield from machine.shared_accounts(settings, clients)
    yield from machine.engine(settings, offline=offline)
    yield from machine.run_by_root(settings.db_path)
    yield (state_file := machine.state_file(settings.db_path))
    db_path = settings.db_path if state_file.verdict == "good" else None
    recorded = read_recorded(db_path, clients)
    stop = StopSignal()
    accounts = ConnectionPool(stop, busy_for=BUSY_FOR)
    all_facts = [_facts(client, records, accounts) for client, records in zip(clients, recorded, strict=True)]
    with ThreadPoolExecutor(MAX_PROBES, thread_name_prefix="check") as pool:
        try:
            probes = ServiceProbes(accounts, pool)
            for service in () if offline else SERVICES:
                usable = [facts for facts in all_facts if service not in facts.wrong]
                probes.ask(service, [(facts.client, facts.recorded) for facts in usable])
            for facts in all_facts:
                yield from _client(facts, settings, probes)
            yield from _clocks(all_facts, probes)
        finally:
            stop.abort()  # ends the requests of a caller that stops early
    yield from _first_syncs(all_facts)


def _facts(client: Client, recorded: Recorded, accounts: ConnectionPool) -> _ClientFacts:
    wrong = {}
    for service, open_side in (("Mailchimp", accounts.open_mailchimp), ("Ometria", accounts.open_ometria)):
        try:
            with open_side(client):
                pass
        except ConfigError as error:
            wrong[service] = ProbeResult(error)
    return _ClientFacts(client, wrong, recorded)


def _answers(facts: _ClientFacts, probes: ServiceProbes) -> Mapping[str, ProbeResult]:
    """Returns by service what is wrong with the client's key, or waits for the answer; nothing where none was asked."""
    usable = [service for service in SERVICES if service not in facts.wrong]
    answers = {service: probes.answer(service, facts.client) for service in usable}
    return {**facts.wrong, **{service: answer for service, answer in answers.items() if answer is not None}}


# ---- one client


def _client(facts: _ClientFacts, settings: Settings, probes: ServiceProbes) -> Iterator[Finding]:
    name, answers = facts.client.name, _answers(facts, probes)
    for service in SERVICES:
        yield _key(name, service, answers.get(service))
    yield from _lock(settings.db_path, name)
    elsewhere = None if settings.engine.kind == "celery" else facts.recorded.elsewhere
    if elsewhere is not None:
        words = "Celery workers may still be processing pages from an earlier run"
        hint = f"`mcimport sync --engine celery` waits for them. None can be left after {moment_utc(elsewhere)}."
        yield Finding(name, "pages elsewhere", "bad", words, hint)
    yield from _lists(facts, answers.get("Mailchimp", ProbeResult()))
    if facts.recorded.is_new and answers.get("Ometria", ProbeResult()).others:
        words = "Ometria has contacts in another collection with Mailchimp in its name"
        yield Finding(name, "first sync", "note", words, OTHER_COLLECTION)


def _lock(db_path: Path, client: str) -> Iterator[Finding]:
    """Tests the client's lock where its file exists; where it does not, the state file's folder was tested."""
    try:
        busy = lock_holder(db_path, client)
    except McimportError as error:
        yield error_finding(client, "lock", error)
        return
    if busy is not None:
        yield Finding(client, "lock", "note", f"another mcimport is running for this client{busy}")


def _key(client: str, service: str, answer: ProbeResult | None) -> Finding:
    if answer is not None and answer.error is not None:
        # Of a service that does not answer, nothing is known of the key.
        subject = service if isinstance(answer.error, RetriableError) else f"{service} key"
        return error_finding(client, subject, answer.error)
    return Finding(client, f"{service} key", "good", "accepted" if answer else "set (not tested, because of --offline)")


def _lists(facts: _ClientFacts, answer: ProbeResult) -> Iterator[Finding]:
    """Yields the size of each list, or why a sync would refuse it; nothing where the key is not accepted."""
    name = facts.client.name
    for key, sync_state in facts.recorded.lists.items():
        size = answer.sizes.get(key)
        if isinstance(sync_state, ConfigError):
            yield error_finding(name, f"list {key}", sync_state)
        elif isinstance(size, int):
            yield Finding(name, f"list {key}", "good", f"{pluralize(size, 'member')}, of every status but archived")
            yield from _permissions(facts.client, key, answer.permissions.get(key))
        elif size is not None:
            yield error_finding(name, f"list {key}", size)
        if key in facts.recorded.unchecked:
            yield Finding(name, f"list {key}", "note", ARCHIVED_LEFT, mend_command(key))
        if key in facts.recorded.probes:
            yield _probed(name, key, facts.recorded.probes[key])


def _probed(client: str, list_key: str, answers: ProbeAnswers) -> Finding:
    """Says how old the last probe of a list is, and what it found."""
    words = f"probed {age(max(0, int(time.time()) - answers.probed_at))} ago, by mcimport {answers.version}"
    if not answers.differs:
        return Finding(client, f"list {list_key}", "good", f"{words}: no fact differs")
    differ = f"{pluralize(len(answers.differs), 'fact')} differed: {', '.join(answers.differs)}"
    return Finding(client, f"list {list_key}", "note", f"{words}: {differ}", f"`mcimport probe {list_key}` asks again.")


def _permissions(client: Client, list_key: str, shown: Shown | McimportError | None) -> Iterator[Finding]:
    """Yields the marketing permissions of a list; nothing for a list without them."""
    subject = f"list {list_key}"
    if isinstance(shown, Shown):
        try:
            yield Finding(client.name, subject, "note", permissions_text(shown.by(client.rules(list_key, None))))
        except ConfigError as error:
            yield error_finding(client.name, subject, error)
    elif shown is not None:
        words = f"its marketing permissions (GDPR fields) could not be read: {shown}"
        yield Finding(client.name, subject, "note", words)


# ---- all clients


def _clocks(all_facts: Sequence[_ClientFacts], probes: ServiceProbes) -> Iterator[Finding]:
    """Compares this machine's clock with each service's; one finding where all of a service's servers agree."""
    for service in SERVICES:
        answers = {facts.client.name: _answers(facts, probes).get(service) for facts in all_facts}
        apart = {name: answer.apart for name, answer in answers.items() if answer and answer.error is None}
        known = {name: seconds for name, seconds in apart.items() if seconds is not None}
        wrong = {name: seconds for name, seconds in known.items() if abs(seconds) > CLOCK_TOLERANCE}
        if len(known) < len(apart) and service == "Mailchimp":
            yield Finding(
                "", "clock", "note", "Mailchimp sends no time: mcimport uses this machine's clock, minus five minutes"
            )
        if wrong and len(wrong) == len(known):
            yield _wrong_clock("", service, max(wrong.values(), key=abs))
        elif wrong:
            yield from (_wrong_clock(name, service, seconds) for name, seconds in wrong.items())
        elif known:
            most = max(1, math.ceil(max(map(abs, known.values()))))
            yield Finding("", "clock", "good", f"within {age(most)} of {service}'s")


def _wrong_clock(client: str, service: str, apart: float) -> Finding:
    side = "ahead of" if apart > 0 else "behind"
    words = f"this machine's clock is {duration(60 * round(abs(apart) / 60))} {side} {service}'s"
    return Finding(client, "clock", "bad", words, "Set this machine's clock by NTP.")


def _first_syncs(all_facts: Sequence[_ClientFacts]) -> Iterator[Finding]:
    new = [f"{facts.client.name} {key}" for facts in all_facts for key in facts.recorded.never_synced]
    named = f": {', '.join(new)}" if len(new) <= LISTS_NAMED else ""
    if new:
        words = f"{len(new):,} {'list was' if len(new) == 1 else 'lists were'} never synced{named}"
        yield Finding("", "first sync", "note", words, FIRST_SYNC)
    elif any(not facts.recorded.lists for facts in all_facts):
        yield Finding("", "first sync", "note", "nothing synced yet", FIRST_SYNC)
