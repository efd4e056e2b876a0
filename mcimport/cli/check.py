"""`mcimport check`: checks everything that a sync needs, and prints the fix with each problem."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated, Any

import typer

from mcimport.cli.exits import FAILED, OK, USAGE
from mcimport.cli.options import CLIENTS, Options, load_settings, this_program
from mcimport.cli.output import ignore_broken_pipe
from mcimport.errors import ConfigError
from mcimport.monitoring.check.finding import Finding, error_finding
from mcimport.report import former_names

MARKS = {"good": "\N{CHECK MARK}", "note": "\N{BULLET}", "bad": "\N{BALLOT X}"}
PLAIN_MARKS = {"good": "ok  ", "note": "note", "bad": "BAD "}


def check(
    context: typer.Context,
    *,
    client: CLIENTS = None,
    offline: Annotated[bool, typer.Option("--offline", help="Skip what needs the network.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per check.")] = False,
) -> int:
    """Checks configuration, state file, keys, services, clock and lists; exit 1 if something is wrong."""
    from mcimport.cli import read_state  # noqa: PLC0415 - as above, rich
    from mcimport.monitoring.check.checkup import run_checks  # noqa: PLC0415 - loads the HTTP client; other commands start without it
    from mcimport.report.tables import is_plain, print_lines  # noqa: PLC0415 - as above

    signs = PLAIN_MARKS if is_plain(sys.stdout) else MARKS

    def show(finding: Finding) -> None:
        with ignore_broken_pipe():
            if json:
                read_state.write_json([_document(finding)])
            else:
                print_lines(sys.stdout, _lines(finding, signs[finding.verdict]))
            sys.stdout.flush()  # so that each finding is seen as soon as it is known

    try:
        settings = load_settings(context, warns=False)
    except ConfigError as error:
        show(error_finding("", "configuration", error))
        return USAGE
    bad = 0
    clients = settings.chosen(client or [])
    for finding in run_checks(settings, clients, offline=offline, environ=os.environ):
        bad += finding.verdict == "bad"
        show(finding)
    if not json:
        program = this_program(context.find_object(Options) or Options(), settings.db_path)
        named = "".join(f" --client {shlex.quote(name)}" for name in client or [])
        sync = f"{program} sync{named}{' LIST_KEY' if any(owner.any_list for owner in clients) else ''}"
        print_lines(sys.stdout, [_conclusion(bad, offline=offline)])
        if not (bad or offline):
            typer.echo(f"  {sync}")  # does not wrap, for it is to be pasted
    return FAILED if bad else OK


def _document(finding: Finding) -> dict[str, Any]:
    document = {
        "client": finding.client or None,
        "subject": finding.subject,
        "verdict": finding.verdict,
        "message": finding.words,
        "fix": finding.fix or None,
    }
    return former_names.with_former(document, former_names.FINDING)


def _lines(finding: Finding, mark: str) -> list[str]:
    subject = f"{finding.client}: {finding.subject}" if finding.client else finding.subject
    return [f"{mark} {subject}: {finding.words}", *([f"    {finding.fix}"] if finding.fix else [])]


def _conclusion(bad: int, *, offline: bool) -> str:
    if not bad and offline:
        return "No problems found on this machine; Mailchimp and Ometria were not asked (--offline)."
    if not bad:
        return "No problems found. Next:"
    if bad == 1:
        return "1 problem found; the suggested fix is shown with it."
    return f"{bad} problems found; the suggested fix is shown with each."
