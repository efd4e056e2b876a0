"""Formats runs and their windows as rows of a table, and as documents for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mcimport.models.records import Run, SpotCheck, WindowRow
from mcimport.report import timeline
from mcimport.report.format import consents, duration, moment, moment_iso, moment_utc, out_of, pluralize, span
from mcimport.report.spot_check import outcome

RUN_HEADS = (
    *("run", "client", "list", "kind", "status", "started (UTC)", "took"),
    *("read", "pushed", "rejected", "time ranges", "incomplete", "error"),
)
_RUN_TIMES = ("since", "until", "started_at", "finished_at")
_WINDOW_TIMES = ("since", "until", "through", "begun_at", "finished_at")


def run_row(run: Run) -> tuple[str, ...]:
    """Returns the cells below RUN_HEADS."""
    numbers = (run.members_read, run.contacts_pushed, run.contacts_rejected, run.windows_total, run.windows_dead)
    return (
        *(str(run.id), run.client, run.list_key, run.kind, run.status, moment(run.started_at), _took(run)),
        *(f"{number:,}" for number in numbers),
        run.error or "",
    )


def run_facts(run: Run, windows: Sequence[WindowRow]) -> list[tuple[str, str]]:
    """Returns pairs of subject and words on one run; words may be empty."""
    done = sum(window.status == "done" for window in windows)
    events = pluralize(run.subscription_events, "subscription event")
    return [
        ("run", f"{run.id}, {run.kind}, list {run.list_key} of {run.client}"),
        ("status", run.status + (f": {run.error}" if run.error else "")),
        ("time range", "" if run.until is None else span(run.since, run.until)),
        ("started", moment_utc(run.started_at)),
        ("took", _took(run)),
        ("members", f"{run.members_read:,} read of about {run.members_total:,}, {run.members_skipped:,} skipped"),
        ("contacts", f"{run.contacts_pushed:,} pushed, {run.contacts_rejected:,} rejected"),
        ("consent", f"{consents(run.contacts_pushed, run.opt_ins, run.opt_outs)}; {events}"),
        ("time ranges", f"{out_of(done, run.windows_total)} done, {run.windows_dead:,} incomplete"),
        *(("warning", words) for words in _warnings(run)),
        ("spot check", outcome(SpotCheck.read(run.spot_check))),
        ("requests", timeline.requests(run)),
        ("time spent", timeline.time_spent(run)),
    ]


def run_document(run: Run) -> dict[str, Any]:
    """Returns the columns of the state file; times as ISO 8601 in UTC or null."""
    times = {name: moment_iso(getattr(run, name)) for name in _RUN_TIMES}
    document = {**asdict(run), **times, "moves_sync_point": bool(run.moves_sync_point), "warnings": _warnings(run)}
    found = SpotCheck.read(run.spot_check)
    return {
        "run_id": document.pop("id"),
        **document,
        "spot_check": found.document if found else None,
    }


def window_document(window: WindowRow) -> dict[str, Any]:
    """Returns the columns of the state file, as `run_document` does."""
    return {**asdict(window), **{name: moment_iso(getattr(window, name)) for name in _WINDOW_TIMES}}


def _warnings(run: Run) -> list[str]:
    found: list[str] = json.loads(run.warnings) if run.warnings else []
    return found


def _took(run: Run) -> str:
    return "-" if run.finished_at is None else duration(run.finished_at - run.started_at)
