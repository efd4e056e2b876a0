"""`mcimport notify`: tests the health checks and webhooks."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from mcimport.cli.check import MARKS, PLAIN_MARKS
from mcimport.cli.exits import FAILED, OK
from mcimport.cli.help import LineGroup, PlainCommand, epilog
from mcimport.cli.options import CLIENTS, load_settings
from mcimport.cli.output import ignore_broken_pipe, show
from mcimport.errors import ConfigError

app = typer.Typer(cls=LineGroup, help="Notifications to health checks and webhooks.", no_args_is_help=True)


@app.callback()
def notify() -> None:
    """Makes `notify` a group: typer would turn a group of one command into that command."""


@app.command("test", cls=PlainCommand, epilog=epilog("notify test"))
def send(
    context: typer.Context,
    *,
    client: CLIENTS = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per notification.")] = False,
) -> int:
    """Sends a test notification of each kind to every configured address; exit 1 if one is not delivered.

    With --client: to the addresses of this client, without the health check that is notified of the call as a whole.
    """
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without rich
    from mcimport.monitoring.sample_notifications import send_samples  # noqa: PLC0415 - loads the HTTP client
    from mcimport.report.tables import is_plain  # noqa: PLC0415 - as above

    settings = load_settings(context, has_state=False)
    marks = PLAIN_MARKS if is_plain(sys.stdout) else MARKS
    sent, failed = 0, 0
    for sample in send_samples(settings, settings.chosen(client or []), only_clients=bool(client)):
        sent, failed = sent + 1, failed + bool(sample.reason)
        document: dict[str, Any] = {
            "address": sample.address,
            "kind": sample.kind,
            "delivered": not sample.reason,
            "reason": sample.reason or None,
        }
        with ignore_broken_pipe():
            if json:
                read_state.write_json([document])
            else:
                mark = marks["bad" if sample.reason else "good"]
                show(f"{mark} {sample.address}, {sample.kind}{f': {sample.reason}' if sample.reason else ''}")
            sys.stdout.flush()  # so that each is seen as soon as it is known
    if not sent:
        raise ConfigError(
            f"no address to notify is configured{' for this client' if client else ''}",
            hint="Set healthcheck_url or webhook_url in [notify], or in a client's own table.",
        )
    return FAILED if failed else OK
