"""Formats the result of a list as one line of JSON, for programs."""

from __future__ import annotations

import json
from typing import Any

from mcimport.models.results import ListResult
from mcimport.report import permissions
from mcimport.report.format import moment_iso
from mcimport.report.reconcile_summary import document


def json_line(result: ListResult) -> str:
    """Returns one JSON object, without a line break: totals over the call's runs, times as ISO 8601 in UTC or null.

    `since` is the first run's; `run_id`, `kind` and `until` are the last run's, null without a run.
    `dead_letter_members` is null where a dead letter is about an unknown number of members. `spot_check` is only there
    if contacts pushed before could be read back.
    A dry run is not recorded, so its `run_id` is null. Only a dry run has `without` (how many contacts have no country,
    phone, name), `unsendable` (how many members cannot be sent, by reason) and `marketing_permissions` (those of the
    list, and how many of the members read lack the required one; null where it has none).
    """
    runs = result.runs
    last = runs[-1] if runs else None
    return json.dumps(
        {
            "client": result.client,
            "list_key": result.list_key,
            "run_id": last.id if last and not result.dry_run else None,
            "kind": last.kind if last else None,
            "status": result.status,
            "since": moment_iso(runs[0].since) if runs else None,
            "until": moment_iso(last.until) if last else None,
            "members_total": sum(run.members_total for run in runs),
            "members_read": sum(run.members_read for run in runs),
            "members_skipped": sum(run.members_skipped for run in runs),
            "contacts_pushed": sum(run.contacts_pushed for run in runs),
            "contacts_rejected": sum(run.contacts_rejected for run in runs),
            "windows_total": sum(run.windows_total for run in runs),
            "windows_done": result.windows_done,
            "windows_dead": sum(run.windows_dead for run in runs),
            "dead_letters": result.dead_letters,
            "seconds": round(result.seconds, 3),
            "error": None if result.error is None else str(result.error),
            "opted_in": sum(run.opt_ins for run in runs),
            "opted_out": sum(run.opt_outs for run in runs),
            "subscription_events": sum(run.subscription_events for run in runs),
            "warnings": list(result.warnings),
            "dead_letter_members": result.affected.known_members,
            **(document(result.comparison) if result.comparison else {}),
            **_spot_check(result),
            **(_dry(result) if result.dry_run else {}),
        }
    )


def _spot_check(result: ListResult) -> dict[str, Any]:
    found = result.spot_check
    return {} if found is None or found.missing is None else {"spot_check": found.document}


def _dry(result: ListResult) -> dict[str, Any]:
    return {
        "without": _without(result),
        "unsendable": dict(result.unsendable),
        "marketing_permissions": permissions.document(result.permissions) if result.permissions else None,
    }


def _without(result: ListResult) -> dict[str, int]:
    return {name: result.lacking.get(name, 0) for name in ("country", "phone", "name")}
