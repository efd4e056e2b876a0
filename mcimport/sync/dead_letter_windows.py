"""Dead letters to the windows that read them afresh: only whom the list carries, each judged as their run was.

What a letter spans is what could not be read or sent, and says nothing of whom the list leaves out on purpose: letters
that a comparison wrote (versions before this one did) span everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mcimport.convert import is_contact_id
from mcimport.models import UnsentSpan, Window
from mcimport.models.records import DeadLetter, ListRow, Origin
from mcimport.services.mailchimp.windows import NEVER, NO_END, OVERLAP, imported_from
from mcimport.state import State, dead_letters, runs


def windows_of(state: State, row: ListRow, chosen: Sequence[DeadLetter], page: int) -> tuple[list[Window], int]:
    """Makes a window of each letter, and closes those that name nobody whom the list carries: how many is returned.

    One for a member with neither a time nor an id to ask by stays open: only a full sync can come across them again.
    """
    findable = [letter for letter in chosen if letter.until is not None or is_contact_id(letter.member_id)]
    origins = _origins(state, findable)
    made = [(letter, _window(row, letter, origins[letter.first_run_id], page)) for letter in findable]
    nobody = [letter.id for letter, window in made if window is None]
    dead_letters.close_as_gone(state, nobody)
    return [window for _, window in made if window is not None], len(nobody)


def watched(state: State, row: ListRow) -> dict[str, int]:
    """Finds the members who have a letter, and from when on their opt-in was new to the run that wrote it.

    They were never sent since, whatever the sync point says.
    """
    theirs = [letter for letter in dead_letters.open_for_list(state, row.id) if letter.member_id is not None]
    origins = _origins(state, theirs)
    return {letter.member_id or "": _new_since(row, origins[letter.first_run_id]) for letter in theirs}


def never_sent(state: State, row: ListRow) -> tuple[UnsentSpan, ...]:
    """Finds the spans of open dead letters, and from when on an opt-in was new to the run that wrote each.

    Who opted in there and changed since is in the letter's span no more, and was announced by nobody.
    """
    spans = [letter for letter in dead_letters.open_for_list(state, row.id) if letter.member_id is None]
    origins = _origins(state, spans)
    found = ((one.since, one.until, _new_since(row, origins[one.first_run_id])) for one in spans)
    return tuple((since, until, new) for since, until, new in found if until is not None and new != NEVER)


def _origins(state: State, some: Iterable[DeadLetter]) -> dict[int, Origin | None]:
    return {run_id: runs.origin(state, run_id) for run_id in {letter.first_run_id for letter in some}}


def _window(row: ListRow, letter: DeadLetter, origin: Origin | None, page: int) -> Window | None:
    """A letter for a member without a time, or with one that is left out, is an empty span: they are asked for by id.

    None: it names nobody whom the list carries.
    """
    start, since, until = _start(row, letter, origin), letter.since, letter.until
    if start == NO_END:
        return None
    if until is None:
        since, until = (-1, 0) if start is None else (start, start)
    elif start is not None and until <= start:
        if not is_contact_id(letter.member_id):
            return None
        since, until = start, start
    elif start is not None:
        since = start if since is None else max(since, start)
    return Window(
        *(0, letter.sweep, since, until, page),
        letter_id=letter.id,
        member_id=letter.member_id,
        new_since=_new_since(row, origin),
    )


def _start(row: ListRow, letter: DeadLetter, origin: Origin | None) -> int | None:
    """From when on the list is carried, or was to be by the letter's run: one that is not completed counts, too."""
    start = imported_from(row, letter.sweep)
    if start is None or origin is None or letter.sweep == "archived":
        return start
    if origin.kind == "full":
        return None
    began = origin.until if origin.since is None else origin.since
    return min(start, began) if origin.kind == "incremental" and began is not None else start


def _new_since(row: ListRow, origin: Origin | None) -> int:
    """From when on an opt-in was new to the letter's run: no event is caused that it would not have caused."""
    if row.new_since is None or origin is None or origin.kind not in ("full", "incremental"):
        return NEVER
    if origin.new_since is not None:
        return max(row.new_since, origin.new_since)
    known = [] if origin.sync_point is None else [origin.sync_point - OVERLAP]
    if origin.kind == "incremental" and origin.since is not None:
        known.append(origin.since)
    return max(row.new_since, *known) if known else NEVER
