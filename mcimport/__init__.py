"""Imports every contact of a Mailchimp audience into Ometria, and loses none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcimport.version import __version__

if TYPE_CHECKING:  # loaded when `run` is called, so that `__version__` alone is quick
    from datetime import datetime

    from mcimport.models.records import Run

__all__ = ["__version__", "run"]


def run(list_key: str, since: datetime | None = None) -> tuple[Run, ...]:
    """Syncs one list as `mcimport sync LIST_KEY` does, with the settings found in the same places.

    Args:
        list_key: the Mailchimp list's id; every client that has it is synced.
        since: where to begin instead of at the sync point. A naive time is local time. A time in the future, or less
            than a minute ago, is now: no member is imported, and the next run imports what changes from now on.

    Returns the finished runs, a resumed one before the one that follows it; none where another mcimport is running for
    the client. Dead letters are no error: see each run's `windows_dead` and `contacts_rejected`.

    Raises an error of `mcimport.errors`: ConfigError before any request, ServiceError, StateError.
    """
    from mcimport.sync.library import sync_now  # noqa: PLC0415 - see above

    return sync_now(list_key, since)
