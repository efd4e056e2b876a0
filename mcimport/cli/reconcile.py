"""`mcimport reconcile`: both sides compared, and brought into line."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from mcimport.cli.options import LOG_FORMAT, NO_TERMINAL, VERBOSE, LogFormat, say, settings, speak
from mcimport.errors import ConfigError, InterruptedRunError
from mcimport.report.reconcile_summary import comparison_lines

if TYPE_CHECKING:  # loads half of the machine
    from mcimport.config import Client
    from mcimport.models.results import Comparison

DEFAULT_JOBS = 8  # each reads a whole list


def reconcile(  # noqa: PLR0913 - typer reads the signature: these are the options of the command
    context: typer.Context,
    list_keys: Annotated[list[str] | None, typer.Argument(metavar="[LIST_KEY]...", show_default=False)] = None,
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
    client: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this client; repeatable.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Clients to work on at the same time.")] = DEFAULT_JOBS,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per list on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show only errors and differences.")] = False,
    verbose: VERBOSE = False,
    log_format: LOG_FORMAT = LogFormat.TEXT,
) -> int:
    """Compares lists with Ometria: which members are missing, stale, gone or foreign there; exit 3 if they differ.

    Without LIST_KEY: all lists of all clients.
    """
    from mcimport.cli.run_command import Output, run_reconcile  # noqa: PLC0415 - loads the whole machine
    from mcimport.sync.reconcile.reconcile_list import ReconcileOptions  # noqa: PLC0415 - as above

    speak(log_format)
    is_asking = (mend or force_mend) and not yes
    if is_asking and not sys.stdin.isatty():
        raise ConfigError(
            f"cannot ask for confirmation: {NO_TERMINAL}", hint="Add --yes: `mcimport reconcile --mend --yes`"
        )
    if yes and not (mend or force_mend):
        raise ConfigError("--yes needs --mend")
    if opt_in and not (mend or force_mend):
        raise ConfigError("--opt-in needs --mend")
    known = settings(context)
    pairs = known.select(list_keys or [], client or [])
    output = Output(json, quiet, verbose=verbose, log_format=log_format, plain=is_asking)
    reconcile_options = ReconcileOptions(
        mend or force_mend, opt_in=opt_in, is_forced=force_mend, agree=_agreed if is_asking else None
    )
    return run_reconcile(known, pairs, reconcile_options, jobs, output)


def _agreed(client: Client, list_key: str, found: Comparison) -> bool:
    """Asks the person at the terminal, who sees first what was found."""
    with _wakeable() as woken:
        for line in comparison_lines(f"{client.name} {list_key}", found):
            say(line)
        sys.stderr.write(f"{_question(found)} [y/N] ")
        sys.stderr.flush()
        select.select([sys.stdin, woken], [], [])  # a signal just before a bare read would wake nobody
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def _question(found: Comparison) -> str:
    push = f"Push {found.missing.count:,} missing and {found.stale.count:,} stale members"
    opt_out = f"opt out {found.gone.count:,} deleted (unless subscribed to another list)"
    if not found.is_opting_in:
        return f"{push}, and {opt_out}?"
    return f"{push}, {opt_out}, and opt in {found.said_no.count:,} opted out in Ometria?"


@contextmanager
def _wakeable() -> Iterator[int]:
    """Whoever waits for an answer is woken by the signals that otherwise only ask work to end, after these were heard.

    Yields what can be read from when a signal has come. Raises InterruptedRunError.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def wake(number: int, frame: FrameType | None) -> None:
        heard = before[signal.Signals(number)]
        if callable(heard):
            heard(number, frame)
        raise InterruptedRunError("stopped")

    woken, told_here = os.pipe()
    os.set_blocking(told_here, False)
    formerly = signal.set_wakeup_fd(told_here)
    for number in before:
        signal.signal(number, wake)
    try:
        yield woken
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(formerly)
        os.close(woken)
        os.close(told_here)
