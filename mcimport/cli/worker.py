"""`mcimport worker`: imports pages for coordinators on other machines."""

from __future__ import annotations

from typing import Annotated

import typer

from mcimport.cli.options import LOG_FORMAT, VERBOSE, load_settings
from mcimport.cli.output import LogFormat, say, set_log_format
from mcimport.errors.machine import require_extra


def worker(
    context: typer.Context,
    *,
    concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Pages to import at the same time.")
    ] = 10,
    verbose: VERBOSE = False,
    log_format: LOG_FORMAT = LogFormat.TEXT,
) -> int:
    """Takes pages from the broker, imports them, and reports the results; needs no state file.

    SIGTERM or Ctrl-C: pages in progress get 25 s to finish; the others go to other workers.
    """
    log = set_log_format(log_format)
    settings = load_settings(context, has_state=False)
    require_extra("the engine celery", "celery", "celery")
    from mcimport.cli.call import make_event_sink  # noqa: PLC0415 - as above
    from mcimport.cli.process import tune_process  # noqa: PLC0415 - loads the HTTP client; other commands start without it
    from mcimport.engine.distributed.worker import run_worker  # noqa: PLC0415 - an extra

    def report(level: str, line: str) -> None:
        if log is None:
            say(f"mcimport: {line}")
        else:
            getattr(log, level)(line)

    tune_process()
    return run_worker(
        settings.clients, settings.engine.broker(), concurrency, report, make_event_sink(log) if verbose else None
    )
