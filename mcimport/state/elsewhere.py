"""Remembers for which clients Celery workers may still process pages, so that no other engine pushes at that time."""

from __future__ import annotations

import time

from mcimport.models.timestamps import epoch
from mcimport.state.database import State
from mcimport.state.row_mapping import now

# Seconds after which a note has expired: no message waits longer than 25 minutes for a worker, RabbitMQ takes one back
# from a worker after 30, and the note is written anew every five.
NOTE_EXPIRES = 3_600


def until(state: State, client: str) -> int | None:
    """Returns until when workers may have pages of the client, in epoch seconds; None: they have none.

    A note with a time in the future was written by a clock that was ahead: see `correct`.
    """
    begun, present = since(state, client), int(time.time())
    return None if begun is None or present - begun > NOTE_EXPIRES else min(begun, present) + NOTE_EXPIRES


def since(state: State, client: str) -> int | None:
    """Returns when pages were last sent to workers, in epoch seconds; None: the results of all of them have come."""
    return epoch(state.value("SELECT since FROM elsewhere WHERE client = ?", [client]))


def correct(state: State, client: str) -> None:
    """Moves a note with a time in the future to now, so that the client does not wait for that time."""
    state.write("UPDATE elsewhere SET since = ?1 WHERE client = ?2 AND since > ?1", [now(), client])


def begin(state: State, client: str) -> None:
    """Notes that pages of the client are sent to workers from now on."""
    state.write("INSERT OR REPLACE INTO elsewhere VALUES (?, ?)", [client, now()])


def end(state: State, client: str) -> None:
    """Removes the note: the results of all pages have come."""
    state.write("DELETE FROM elsewhere WHERE client = ?", [client])
