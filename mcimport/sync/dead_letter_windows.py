"""The windows that read dead letters again, without the members whom the list leaves out on purpose.

A dead letter's span is what could not be read or sent, and may include such members: letters that a comparison wrote
(earlier versions did that) span the whole list. Whether an opt-in is new is judged as in the run that wrote the letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial

from msgspec.structs import replace

from mcimport.convert import is_contact_id
from mcimport.models import UnsentSpan, Window
from mcimport.models.records import DeadLetter, ListRow, Origin
from mcimport.services.mailchimp.windows import NEVER, NO_END, OVERLAP, left_out_until
from mcimport.state import State, dead_letters, runs


def windows_of(state: State, row: ListRow, chosen: Sequence[DeadLetter], page: int) -> tuple[list[Window], int]:
    """Returns a window for each dead letter, of `page` members a page, and how many letters were closed instead.

    Closes letters that hold no member whom the list imports. A letter for a member with neither a time nor an id to ask
    by stays open: only a full sync can find that member again.
    """
    findable = [letter for letter in chosen if letter.until is not None or is_contact_id(letter.member_id)]
    origin = cache(partial(runs.origin, state))
    made = [(letter, _window(row, letter, origin(letter.first_run_id), page)) for letter in findable]
    closed = [letter.id for letter, window in made if window is None]
    dead_letters.close(state, "gone", closed)
    return [window for _, window in made if window is not None], len(closed)


def watched(state: State, row: ListRow) -> dict[str, int]:
    """Returns the members who have a dead letter, and from when on their opt-in was new to the run that wrote it.

    They were not sent since, whatever the sync point says.
    """
    letters, origin = dead_letters.open_for_list(state, row.id), cache(partial(runs.origin, state))
    return {letter.member_id: _new_since(row, origin(letter.first_run_id)) for letter in letters if letter.member_id}


def never_sent(state: State, row: ListRow) -> tuple[UnsentSpan, ...]:
    """Returns the spans of open dead letters, and from when on an opt-in was new to the run that wrote each.

    A member who opted in there and changed since is not in the letter's span any more, and no run has announced them.
    """
    spans = [letter for letter in dead_letters.open_for_list(state, row.id) if letter.member_id is None]
    origin = cache(partial(runs.origin, state))
    found = ((span.since, span.until, _new_since(row, origin(span.first_run_id))) for span in spans)
    return tuple((since, until, new) for since, until, new in found if until is not None and new != NEVER)


def _window(row: ListRow, letter: DeadLetter, origin: Origin | None, page: int) -> Window | None:
    """Returns the window of a letter; None where it holds no member whom the list imports.

    A member without a time, or whose time is one that the list leaves out, is asked for by id.
    """
    start, since, until = _start(row, letter, origin), letter.since, letter.until
    if start == NO_END:
        return None
    window = Window(
        *(0, letter.sweep, since, until or 0, page),
        count=1 if letter.kind == "contact" else letter.members or 0,
        letter_id=letter.id,
        member_id=letter.member_id,
        new_since=_new_since(row, origin),
    )
    if until is None:
        return window.by_id(start)
    if start is None:
        return window
    if until <= start:
        return window.by_id(start) if is_contact_id(letter.member_id) else None
    return replace(window, since=start if since is None else max(since, start))


def by_id(window: Window) -> Window:
    """Asks for the one member by id instead: the second of their change may be an import of thousands."""
    return window if window.is_by_id or not is_contact_id(window.member_id) else window.by_id()


def _start(row: ListRow, letter: DeadLetter, origin: Origin | None) -> int | None:
    """Returns the second after which changes are imported; None: all are. NO_END: none are.

    That of the letter's run counts where it is earlier, also where that run did not complete.
    """
    start = left_out_until(row, letter.sweep)
    if start is None or origin is None or letter.sweep == "archived":
        return start
    if origin.kind == "full":
        return None
    began = origin.until if origin.since is None else origin.since
    return min(start, began) if origin.kind == "incremental" and began is not None else start


def _new_since(row: ListRow, origin: Origin | None) -> int:
    """Returns from when on an opt-in was new to the letter's run: no event is caused that it would not have caused."""
    if row.new_since is None or origin is None or origin.kind not in ("full", "incremental"):
        return NEVER
    if origin.new_since is not None:
        return max(row.new_since, origin.new_since)
    known = [] if origin.sync_point is None else [origin.sync_point - OVERLAP]
    if origin.kind == "incremental" and origin.since is not None:
        known.append(origin.since)
    return max(row.new_since, *known) if known else NEVER
