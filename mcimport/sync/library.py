"""The sync of one list for other programs: finds the settings, runs the sync, raises what went wrong."""

from __future__ import annotations

from datetime import datetime

from mcimport.config import load
from mcimport.engine import engine_of
from mcimport.errors import BusyError
from mcimport.models.records import Run
from mcimport.report.reporter import Reporter
from mcimport.services.connections import ConnectionPool
from mcimport.services.http.shutdown import StopSignal
from mcimport.sync.clients import SyncSession
from mcimport.sync.since import moment
from mcimport.sync.sync_list import SyncOptions, sync_all


def sync_now(list_key: str, since: datetime | None) -> tuple[Run, ...]:
    """Syncs one list, as `mcimport.run` says, which loads this module only when it is called."""
    settings = load()
    stop = StopSignal()
    shared = (settings.db_path, ConnectionPool(stop), stop, Reporter())
    session = SyncSession(*shared, engine=engine_of(settings), clients=tuple(settings.clients.values()))
    options = SyncOptions(None if since is None else moment(since))
    results = sync_all(settings.select([list_key], []), options, session, jobs=1)
    for result in results:
        if result.error is not None and (options.by_name or not isinstance(result.error, BusyError)):
            raise result.error
    return tuple(run for result in results for run in result.runs)
