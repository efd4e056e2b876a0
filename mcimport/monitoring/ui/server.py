"""Serves the state file through Datasette: read-only, on loopback, to the browser with the printed link."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import uvicorn
from datasette.app import Datasette
from datasette.database import Database

from mcimport.errors import ConfigError
from mcimport.monitoring.ui.pages import DATABASE, dashboards

HOST = "127.0.0.1"
_TEMPLATES = Path(__file__).parent / "templates"


def serve(db_path: Path, port: int, overdue: Mapping[str, int], ready: Callable[[str], None]) -> None:
    """Serves until Ctrl-C or SIGTERM. Calls `ready` with the link once it can be opened.

    `overdue`: see `queries.lists`.

    The link's token opens the pages to one browser only, because other users of this machine can reach its loopback.

    Raises ConfigError where the port cannot be used.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen()  # a browser that is quicker than the server's start waits instead of failing
        except OSError as error:
            raise ConfigError(
                f"port {port} cannot be used: {error.strerror}", hint="Choose another with --port."
            ) from None
        app = application(db_path, {"id": "root"}, overdue)
        token = app._root_token = secrets.token_urlsafe(24)  # noqa: SLF001 - as Datasette's own --root does
        ready(f"http://{HOST}:{listener.getsockname()[1]}/-/auth-token?token={token}")
        server = uvicorn.Server(uvicorn.Config(app.app(), log_level="warning", lifespan="on"))
        server.run(sockets=[listener])


def application(
    db_path: Path, readers: Mapping[str, str] | None, overdue: Mapping[str, int] | None = None
) -> Datasette:
    """Returns the application. `readers`: who may open its pages, in Datasette's terms; None: every visitor."""
    app = Datasette(
        [],
        metadata={
            "title": "mcimport",
            **({} if readers is None else {"allow": readers}),
            "plugins": {"datasette-dashboards": dashboards(overdue)},
        },
        settings={"allow_download": False, "max_returned_rows": 1000, "sql_time_limit_ms": 5000},
        template_dir=str(_TEMPLATES),
    )
    # Mutable, because a sync may write to it meanwhile. Datasette opens it read-only all the same.
    app.add_database(Database(app, path=str(db_path), is_mutable=True), name=DATABASE)
    return app
