"""`mcimport check`: everything that a sync needs, looked at, with a fix beside what is wrong."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcimport.cli.exits import FAILED, OK
from mcimport.cli.options import CLIENTS, settings
from mcimport.cli.output import while_read

if TYPE_CHECKING:  # loads the HTTP client
    from mcimport.monitoring.check import Finding

_SIGNS = {"good": "\N{CHECK MARK}", "note": "\N{BULLET}", "bad": "\N{BALLOT X}"}
_PLAIN_SIGNS = {"good": "ok  ", "note": "note", "bad": "BAD "}


def check(
    context: typer.Context,
    *,
    client: CLIENTS = None,
    offline: Annotated[bool, typer.Option("--offline", help="Skip what needs the network.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per check.")] = False,
) -> int:
    """Checks configuration, state file, keys, services, clock and lists; exit 1 if something is wrong."""
    from mcimport.cli import read_state  # noqa: PLC0415 - as above, rich
    from mcimport.monitoring import check  # noqa: PLC0415 - loads the HTTP client; other commands start without it
    from mcimport.report.tables import is_plain  # noqa: PLC0415 - as above

    known = settings(context)
    signs = _PLAIN_SIGNS if is_plain(sys.stdout) else _SIGNS
    bad = 0
    clients = known.chosen(client or [])
    for finding in check.run_checks(known, clients, offline=offline, environ=os.environ):
        bad += finding.verdict == "bad"
        with while_read():
            if json:
                read_state.write_json([_document(finding)])
            else:
                _tell(finding, signs[finding.verdict])
            sys.stdout.flush()  # each as it is known
    if not json:
        typer.echo(_verdict(bad, any_list=any(one.any_list for one in clients), offline=offline))
    return FAILED if bad else OK


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "client": finding.client or None,
        "subject": finding.subject,
        "verdict": finding.verdict,
        "words": finding.words,
        "mend": finding.mend or None,
    }


def _tell(finding: Finding, sign: str) -> None:
    subject = f"{finding.client}: {finding.subject}" if finding.client else finding.subject
    typer.echo(f"{sign} {subject}: {finding.words}")
    if finding.mend:
        typer.echo(f"    {finding.mend}")


def _verdict(bad: int, *, any_list: bool, offline: bool) -> str:
    if not bad and offline:
        return "No problems found on this machine; Mailchimp and Ometria were not asked (--offline)."
    if not bad:
        return f"No problems found. Next: `mcimport sync{' LIST_KEY' if any_list else ''}`"
    if bad == 1:
        return "1 problem found; the suggested fix is shown with it."
    return f"{bad} problems found; the suggested fix is shown with each."
