"""For which clients workers elsewhere may have pages in their hands: so that no other engine pushes beside them."""

from __future__ import annotations

import time

from mcimport.models.timestamps import epoch
from mcimport.state.database import State
from mcimport.state.row_mapping import text

# Seconds after the last note that pages are out, when none can be: no order waits longer than 25 minutes for a worker,
# RabbitMQ takes one back from a worker after 30, and the note is made anew every five.
NOTE_EXPIRES = 3_600


def until(state: State, client: str) -> int | None:
    """Until when workers may have pages of the client; None: they have none.

    A note of a time that has not come yet is of a clock that was ahead: see `correct`.
    """
    begun, now = since(state, client), int(time.time())
    return None if begun is None or now - begun > NOTE_EXPIRES else min(begun, now) + NOTE_EXPIRES


def since(state: State, client: str) -> int | None:
    """When pages were last sent out that nobody has seen the end of; None: all of them are accounted for."""
    return epoch(state.value("SELECT since FROM elsewhere WHERE client = ?", [client]))


def correct(state: State, client: str) -> None:
    """A note of a time that has not come yet counts from now on, lest the client wait for as long."""
    begun = since(state, client)
    if begun is not None and begun > time.time():
        begin(state, client)


def begin(state: State, client: str) -> None:
    """Pages go out from now on."""
    with state.transaction():
        state.write("INSERT OR REPLACE INTO elsewhere VALUES (?, ?)", [client, text(int(time.time()))])


def end(state: State, client: str) -> None:
    """All of them are accounted for."""
    with state.transaction():
        state.write("DELETE FROM elsewhere WHERE client = ?", [client])
