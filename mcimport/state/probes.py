"""What the last probe of each list found, as far as later runs use it or tell of it."""

from __future__ import annotations

import time

import msgspec
from msgspec import Struct

from mcimport.state.database import State

USED_FOR = 90 * 86_400  # seconds after which an answer is only told, and not used any more
_PREFIX = "probe "


class ProbeAnswers(Struct, frozen=True):
    """Holds the answers of one probe.

    Attributes:
        probed_at: seconds, UTC.
        version: of the mcimport that asked.
        differs, holds: the ids of the facts that differ, and of those that hold; the others are not known.
        page_size: members of the largest page that came, where that was less than a thousand; None: a thousand came,
            or it is not known.
        settled_within: seconds until a push could be read back, at most; None: nothing was pushed.
    """

    probed_at: int
    version: str
    differs: tuple[str, ...] = ()
    page_size: int | None = None
    settled_within: float | None = None
    holds: tuple[str, ...] = ()

    @property
    def is_used(self) -> bool:
        """Says whether it is recent enough, and from no clock that was ahead, to be used by a run."""
        return 0 <= time.time() - self.probed_at <= USED_FOR


_DECODER = msgspec.json.Decoder(ProbeAnswers)


def note(state: State, client: str, list_key: str, answers: ProbeAnswers) -> None:
    """Notes the answers in the place of those of an earlier probe of the list."""
    document = msgspec.json.encode(answers).decode()
    state.write("INSERT OR REPLACE INTO meta VALUES (?, ?)", [_key(client, list_key), document])


def latest(state: State, client: str, list_key: str) -> ProbeAnswers | None:
    """Returns the answers of the last probe; None where there was none, or an unreadable one."""
    found = state.value("SELECT value FROM meta WHERE key = ?", [_key(client, list_key)])
    try:
        return None if found is None else _DECODER.decode(found)
    except msgspec.MsgspecError:  # of a later version
        return None


def forget(state: State, client: str, list_key: str | None = None) -> None:
    """Forgets the answers of one list, or of all lists of a client."""
    if list_key is not None:
        state.write("DELETE FROM meta WHERE key = ?", [_key(client, list_key)])
        return
    prefix = _key(client, "")
    state.write("DELETE FROM meta WHERE substr(key, 1, ?) = ?", [len(prefix), prefix])


def _key(client: str, list_key: str) -> str:
    return f"{_PREFIX}{client}\n{list_key}"  # no name of a client holds a line break
