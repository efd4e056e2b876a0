"""What all clients of one call share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mcimport.config import Client
from mcimport.engine import Engine, LocalEngine
from mcimport.models.results import ListResult
from mcimport.report.reporter import Reporter
from mcimport.services.connections import ConnectionPool
from mcimport.services.http.shutdown import StopSignal


class ClientObserver(Protocol):
    """Is notified when the work for each client begins and ends; called from the threads of several clients."""

    def begun(self, client: Client) -> None: ...

    def ended(self, client: Client, results: Sequence[ListResult]) -> None: ...


@dataclass(frozen=True)
class SyncSession:
    """Holds what all clients of one call share.

    Attributes:
        observer: is notified of each client; None: no one is.
        clients: every client in the settings, also those that this call leaves alone: they may share accounts.
    """

    db_path: Path
    accounts: ConnectionPool
    stop: StopSignal
    reporter: Reporter
    observer: ClientObserver | None = None
    engine: Engine = field(default_factory=LocalEngine)
    clients: tuple[Client, ...] = ()
