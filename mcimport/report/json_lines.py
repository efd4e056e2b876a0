"""Formats the result of a list as one line of JSON, for programs."""

from __future__ import annotations

import json
from typing import Any

from mcimport.models.results import ListResult
from mcimport.report import permissions
from mcimport.report.format import moment_iso
from mcimport.report.reconcile_summary import document
from mcimport.report.summary import totals


def json_line(result: ListResult) -> str:
    """Returns one JSON object, without a line break: totals over the call's runs, times as ISO 8601 in UTC or null.

    `since` is the first run's; `run_id`, `kind` and `until` are the last run's, null without a run.
    `dead_letter_members` is null where a dead letter is about an unknown number of members. `spot_check` is only there
    if contacts pushed before could be read back.
    A dry run is not recorded, so its `run_id` is null. Only a dry run has `without` (how many contacts have no country,
    phone, name), `unsendable` (how many members cannot be sent, by reason) and `marketing_permissions` (those of the
    list, and how many of the members read lack the required one; null where it has none).
    """
    runs, sums = result.runs, totals(result)
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
            "members_total": sums.members_total,
            "members_read": sums.members_read,
            "members_skipped": sums.members_skipped,
            "contacts_pushed": sums.contacts_pushed,
            "contacts_rejected": sums.contacts_rejected,
            "windows_total": sums.windows_total,
            "windows_done": result.windows_done,
            "windows_dead": sums.windows_dead,
            "dead_letters": result.dead_letters,
            "seconds": round(result.seconds, 3),
            "error": None if result.error is None else str(result.error),
            "opted_in": sums.opt_ins,
            "opted_out": sums.opt_outs,
            "subscription_events": sums.subscription_events,
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
        "without": {name: result.lacking.get(name, 0) for name in ("country", "phone", "name")},
        "unsendable": dict(result.unsendable),
        "marketing_permissions": permissions.document(result.permissions) if result.permissions else None,
    }
