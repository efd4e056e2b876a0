"""`mcimport sandbox` serves a fake Mailchimp and a fake Ometria on loopback; `mcimport demo` shows a sync with them."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from mcimport.errors import ConfigError
from mcimport.errors.machine import require_extra

_is_range = re.compile(r"\d{1,9}(?:-\d{1,9})?").fullmatch


def sandbox(  # noqa: PLR0913 - typer reads the signature: these are the sandbox's settings
    *,
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port on loopback; 0 picks a free one.")
    ] = 8025,
    clients: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=100, help="Number of clients; several get a configuration file."),
    ] = 1,
    size: Annotated[int, typer.Option(metavar="N", min=0, help="Number of members on each list.")] = 25_000,
    seed: Annotated[int, typer.Option(help="Seed; the same seed invents the same members.")] = 7,
    latency: Annotated[float, typer.Option(metavar="N", min=0, help="Seconds per answer.")] = 0.0,
    broken: Annotated[
        list[str] | None, typer.Option(metavar="FROM-TO", help="Ranks of members whose page always fails.")
    ] = None,
    error_rate: Annotated[
        float, typer.Option(metavar="N", min=0, max=1, help="Share of answers that are errors (500).")
    ] = 0.0,
    throttle_rate: Annotated[
        float, typer.Option(metavar="N", min=0, max=1, help="Share of answers that refuse as too many (429).")
    ] = 0.0,
    churn: Annotated[float, typer.Option(metavar="N", min=0, help="Changes per second while serving.")] = 0.0,
    since_includes: Annotated[
        bool, typer.Option("--since-includes", help="Let since_last_changed include the second it names.")
    ] = False,
    before_excludes: Annotated[
        bool, typer.Option("--before-excludes", help="Let before_last_changed exclude the second it names.")
    ] = False,
    clock_skew: Annotated[float, typer.Option(help="Seconds by which the services' clock is ahead.")] = 0.0,
) -> None:
    """Serves a fake Mailchimp and a fake Ometria with invented members on loopback, until stopped."""
    check_extra()
    if wrong := next((ranks for ranks in broken or [] if not _is_range(ranks)), None):
        raise ConfigError(f"--broken {wrong!r}: must be one rank or two, like 5000-5009")
    from mcimport.cli.sandbox_shell import introduction  # noqa: PLC0415 - needs the extra
    from mcimport.sandbox.server import serve  # noqa: PLC0415 - needs the extra
    from mcimport.sandbox.settings import SandboxSettings  # noqa: PLC0415 - needs the extra

    sandbox_settings = SandboxSettings(
        size=size,
        seed=seed,
        latency=latency,
        broken=list(broken or []),
        error_rate=error_rate,
        throttle_rate=throttle_rate,
        churn=churn,
        since_includes=since_includes,
        before_includes=not before_excludes,
        clock_skew=clock_skew,
    )
    try:
        serve(sandbox_settings, introduction, port=port, clients=clients)
    except OSError as error:
        raise ConfigError(f"port {port} cannot be used: {error.strerror}", hint="Choose another with --port.") from None


def demo(
    size: Annotated[int, typer.Option(metavar="N", min=2_000, help="Number of invented members.")] = 25_000,
) -> None:
    """Shows the main job on the sandbox, start to finish, in under a minute; touches none of your data."""
    check_extra()
    from mcimport.cli.demo import run_demo  # noqa: PLC0415 - needs the extra
    from mcimport.sandbox.settings import SandboxSettings  # noqa: PLC0415 - as above

    run_demo(SandboxSettings(size=size))


def check_extra() -> None:
    require_extra("the sandbox", "sandbox", "starlette", "uvicorn", "httptools", "jsonschema_rs")
