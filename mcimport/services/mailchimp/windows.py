"""Pure: the spans of a list that a run reads, and the windows that they are cut into."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from mcimport.models import Sweep, Window
from mcimport.models.records import ListRow

NO_END = sys.maxsize  # the `until` of a window that has no end yet
NEVER = 253_370_764_800  # 9999-01-01: no opt-in is as late, and a state file can still hold it
OVERLAP = 60  # seconds that a run begins before the sync point, for what Mailchimp commits late
MOST_PIECES = 40
LONG = 10  # pages


def left_out_until(row: ListRow, sweep: Sweep) -> int | None:
    """Returns the last second whose changes are left out on purpose; None: there is none, NO_END: all are left out.

    Archived members are imported from a minute before the first sync on, for what Mailchimp commits late.
    """
    if sweep == "listed":
        return row.carried_since
    return NO_END if row.first_sync_at is None else row.first_sync_at - OVERLAP - 1


def next_since(row: ListRow, sweep: Sweep) -> int | None:
    """Returns the second after which the next run reads changes; None: it reads everything.

    It is a minute before the last moment up to which all changes were shown. That is the sync point, unless the
    responses since had no members: they are usually right, and cost nothing to request again.
    """
    shown = row.shown_until(sweep)
    return None if shown is None else shown - OVERLAP


def optins_new_since(row: ListRow) -> int | None:
    """Returns the second from which on an opt-in is new to a run that begins at the sync point; None: none is.

    Members who opted in before were pushed with that time, or on purpose without it: an imported file that was left out
    with `--since now`, say, does not consist of new subscribers in a later full sync.
    """
    begin = next_since(row, "listed")
    return row.new_since if row.new_since is None or begin is None else max(row.new_since, begin)


def offsets(total: int, page: int, connections: int) -> list[int]:
    """Returns the offsets to cut at: a window for each connection, so that all are looked up at once.

    None is shorter than nine tenths of a page. A list of more than `LONG` pages a connection is cut into 40: there the
    look-ups cost little, and no connection is left alone with the last window for long.
    """
    pieces = connections if total <= LONG * page * connections else max(MOST_PIECES, connections)
    piece = max(page * 9 // 10, -(-total // pieces), 1)
    return list(range(piece, total, piece))


def split_at(
    sweep: Sweep, span: tuple[int | None, int], cuts: Iterable[tuple[int, int | None]], total: int
) -> list[Window]:
    """Returns windows that tile `span`: a wrong or missing cut makes a window longer, but never leaves a gap.

    `cuts` are pairs of an offset and the `last_changed` of the member seen there. Where several are of one second, that
    second is a window of its own: it is crowded, and takes the longest.
    """
    since, until = span
    inside: dict[int, int] = {}
    for offset, moment in sorted(cuts, reverse=True):
        if moment is None or moment >= until or (since is not None and moment <= since):
            continue
        if moment in inside and (since is None or moment - 1 > since):
            inside[moment - 1] = offset
        inside.setdefault(moment, offset)
    edges = sorted(inside)
    cut_at = [(inside[edge], edge) for edge in edges]
    starts = [(0, since), *cut_at]
    ends = [*cut_at, (total, until)]
    return [
        Window(number=0, sweep=sweep, since=start, until=end, offset=offset, count=max(0, following - offset))
        for (offset, start), (following, end) in zip(starts, ends, strict=True)
    ]


def asked_since(window: Window) -> int | None:
    """Returns the `since_last_changed` that finds all members after `window.start`.

    It is right whether the bound includes its second or not (fact mailchimp-since).
    """
    start = window.start
    return start + 1 if start is not None and window.bounds.since_includes else start


def asked_before(window: Window) -> int:
    """Returns the `before_last_changed` that finds all members up to `window.until`.

    It is right whether the bound includes its second or not (fact mailchimp-before).
    """
    return window.until if window.bounds.before_includes else window.until + 1
