"""`mcimport reconcile`: both sides compared, and mended."""

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

from mcimport.cli.options import LOG_FORMAT, VERBOSE, LogFormat, say, settings, speak
from mcimport.errors import ConfigError, InterruptedRunError
from mcimport.report.reconcile_summary import comparison_lines

if TYPE_CHECKING:  # loads half of the machine
    from mcimport.config import Client
    from mcimport.models.records import Comparison

DEFAULT_JOBS = 8  # each reads a whole list


def reconcile(  # noqa: PLR0913 - typer reads the signature: these are the options of the command
    context: typer.Context,
    list_keys: Annotated[list[str] | None, typer.Argument(metavar="[LIST_KEY]...", show_default=False)] = None,
    *,
    mend: Annotated[
        bool, typer.Option("--mend", help="Push who is missing or stale, opt out who was deleted. Asks first.")
    ] = False,
    opt_in: Annotated[
        bool,
        typer.Option(
            "--opt-in", help="--mend: also opt in those who are subscribed here and opted out in Ometria. Asks first."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force_mend: Annotated[
        bool,
        typer.Option("--force-mend", help="--mend, though more people than [reconcile] most change consent at once."),
    ] = False,
    client: Annotated[list[str] | None, typer.Option(metavar="NAME", help="This client only; may be repeated.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Clients at a time.")] = DEFAULT_JOBS,
    json: Annotated[bool, typer.Option("--json", help="One JSON line a list on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only errors, and what differs.")] = False,
    verbose: VERBOSE = False,
    log_format: LOG_FORMAT = LogFormat.TEXT,
) -> int:
    """Compares both sides of lists: who is missing, stale, gone or foreign in Ometria; exit 3 if they do not agree.

    Without LIST_KEY: all lists of all clients.
    """
    from mcimport.cli.run_command import Output, run_reconcile  # noqa: PLC0415 - loads the whole machine
    from mcimport.sync.reconcile.reconcile_list import ReconcileOptions  # noqa: PLC0415 - as above

    speak(log_format)
    is_asking = (mend or force_mend) and not yes
    if is_asking and not sys.stdin.isatty():
        raise ConfigError(
            "nobody is there to be asked whether to mend", hint="`mcimport reconcile --mend --yes` does not ask."
        )
    if yes and not (mend or force_mend):
        raise ConfigError("--yes agrees to --mend, which is not asked for")
    if opt_in and not (mend or force_mend):
        raise ConfigError("--opt-in says whom --mend opts in, too, and --mend is not asked for")
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
    push = f"Push {found.missing.count:,} missing and {found.stale.count:,} stale"
    opt_out = f"opt out {found.gone.count:,} that are gone, but for who is subscribed elsewhere"
    if not found.is_opting_in:
        return f"{push}, and {opt_out}?"
    return f"{push}, {opt_out}, and opt in {found.said_no.count:,} that are opted out in Ometria?"


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
