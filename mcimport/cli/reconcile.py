"""`mcimport reconcile`: compares lists with Ometria, and fixes what differs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from mcimport.cli.confirm import check_terminal, confirm, wakeup_on_signals
from mcimport.cli.options import CLIENTS, LIST_KEYS, LOG_FORMAT, VERBOSE, load_settings
from mcimport.cli.output import LogFormat, say, set_log_format
from mcimport.cli.output_file import output_file
from mcimport.config import Client
from mcimport.errors import ConfigError
from mcimport.errors.machine import affordable
from mcimport.models.results import Comparison
from mcimport.report.differences_csv import DifferencesCsv
from mcimport.report.reconcile_summary import comparison_lines

DEFAULT_JOBS = 8  # each reads a whole list


def reconcile(  # noqa: PLR0913 - typer reads the signature: these are the options of the command
    context: typer.Context,
    list_keys: LIST_KEYS = None,
    *,
    mend: Annotated[
        bool, typer.Option("--mend", help="Push missing and stale members, opt out deleted ones. Asks first.")
    ] = False,
    opt_in: Annotated[
        bool,
        typer.Option(
            "--opt-in",
            help="With --mend: also opt in members subscribed in Mailchimp but opted out in Ometria. Asks first.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    force_mend: Annotated[
        bool,
        typer.Option(
            "--force-mend", help="--mend, even if more contacts change consent at once than [reconcile] most allows."
        ),
    ] = False,
    client: CLIENTS = None,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Clients to work on at the same time.")] = DEFAULT_JOBS,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per list on standard output.")] = False,
    all_ids: Annotated[
        bool, typer.Option("--all-ids", help="With --json: list every id that differs, with its kind and fields.")
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write every id that differs to FILE, with its kind and fields."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only errors and differences.")] = False,
    verbose: VERBOSE = False,
    log_format: LOG_FORMAT = LogFormat.TEXT,
) -> int:
    """Compares lists with Ometria: which members are missing, stale, gone or foreign there; exit 3 if they differ.

    Without LIST_KEY: all lists of all clients.
    """
    from mcimport.cli.call import Output  # noqa: PLC0415 - loads the whole machine
    from mcimport.cli.run_command import run_session  # noqa: PLC0415 - as above
    from mcimport.sync.reconcile.reconcile_list import ReconcileOptions, reconcile_all  # noqa: PLC0415 - as above

    log = set_log_format(log_format)
    mend = mend or force_mend
    is_asking = mend and not yes
    if is_asking:
        check_terminal("cannot ask for confirmation", hint="Add --yes to fix what differs without being asked.")
    if all_ids and not json:
        raise ConfigError("--all-ids needs --json", hint="--csv FILE writes the same ids to a file.")
    if (yes or opt_in) and not mend:
        raise ConfigError(f"{'--yes' if yes else '--opt-in'} needs --mend")
    settings = load_settings(context)
    pairs = settings.select(list_keys or [], client or [])
    output = Output(json, quiet, verbose=verbose, log=log)
    agree = _confirmed if is_asking else None
    with ExitStack() as opened:
        take_ids = None if csv is None else DifferencesCsv(opened.enter_context(output_file(csv))).add
        reconcile_options = ReconcileOptions(
            mend, opt_in=opt_in, is_forced=force_mend, agree=agree, take_ids=take_ids, every_id=all_ids
        )
        # By name: 0 means that both sides match, so a list that was not compared, because its client is busy, is not 0.
        return run_session(
            lambda session: reconcile_all(pairs, reconcile_options, session, affordable(jobs)),
            settings,
            output,
            by_name=True,
        )


def _confirmed(client: Client, list_key: str, found: Comparison) -> bool:
    """Shows what was found, and returns whether the person at the terminal agrees to fix it."""
    with wakeup_on_signals() as wakeup:
        for line in comparison_lines(f"{client.name} {list_key}", found):
            say(line)
        return confirm(_question(found), wakeup=wakeup)


def _question(found: Comparison) -> str:
    push = f"Push {found.missing.count:,} missing and {found.stale.count:,} stale members"
    opt_out = f"opt out {found.gone.count:,} deleted (unless subscribed to another list)"
    if not found.is_opting_in:
        return f"{push}, and {opt_out}?"
    return f"{push}, {opt_out}, and opt in {found.said_no.count:,} opted out in Ometria?"
