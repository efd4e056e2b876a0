"""Formats runs and their windows: as rows of a table with bars on a common time axis, and as documents for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import asdict

from mcimport.models import Usage
from mcimport.models.records import LettersOfRun, Run, SpotCheck, WindowRow
from mcimport.report import former_names
from mcimport.report.columns import Columns
from mcimport.report.format import consents, duration, moment, moment_iso, moment_utc, out_of, pluralize, span
from mcimport.report.reconcile_summary import spot_check_text

RUN_COLUMNS = Columns(
    heads=(
        *("run", "client", "list", "kind", "status", "started (UTC)", "took"),
        *("read", "pushed", "rejected", "time ranges", "incomplete", "error"),
    ),
    below=("error",),
    dropped=("time ranges", "read", "took", "kind", "started (UTC)", "rejected", "incomplete", "pushed"),
)
WINDOW_COLUMNS = Columns(
    heads=("time range", "to (UTC)", "status", "read", "pushed", "retries", "timeline", "took", "error"),
    below=("error",),
    dropped=("pushed", "timeline", "retries", "took"),
)
MOST_SHOWN = 50  # windows; of more, those that are done without an error become one line

_SPENT = (
    ("waited_limiter", "waiting for Ometria's rate limit"),
    ("waited_ometria", "waiting for Ometria"),
    ("waited_mailchimp", "waiting for Mailchimp"),
    ("converting", "converting"),
)
_OTHER_COLUMNS = 78  # what the columns beside the bar usually need
_NARROWEST, _WIDEST = 10, 30
_RUN_TIMES = ("since", "until", "started_at", "finished_at")
_WINDOW_TIMES = ("since", "until", "through", "begun_at", "finished_at")


def run_row(run: Run) -> tuple[str, ...]:
    """Returns the cells below RUN_COLUMNS."""
    numbers = (run.members_read, run.contacts_pushed, run.contacts_rejected, run.windows_total, run.windows_dead)
    return (
        *(str(run.id), run.client, run.list_key, run.kind, run.status, moment(run.started_at), _took(run)),
        *(f"{number:,}" for number in numbers),
        run.error or "",
    )


def run_facts(run: Run, windows: Sequence[WindowRow], letters: Sequence[LettersOfRun] = ()) -> list[tuple[str, str]]:
    """Returns pairs of subject and words on one run; words may be empty. `letters`: dead letters that it wrote."""
    done = sum(window.status == "done" for window in windows)
    events = pluralize(run.subscription_events, "subscription event")
    return [
        ("run", f"{run.id}, {run.kind}, list {run.list_key} of {run.client}"),
        ("status", run.status + (f": {run.error}" if run.error else "")),
        ("time range", "" if run.until is None else span(run.since, run.until)),
        ("started", moment_utc(run.started_at)),
        ("took", _took(run)),
        ("members", _members(run)),
        ("contacts", f"{run.contacts_pushed:,} pushed, {run.contacts_rejected:,} rejected"),
        ("consent", f"{consents(run.contacts_pushed, run.opt_ins, run.opt_outs)}; {events}"),
        ("time ranges", f"{out_of(done, run.windows_total)} done, {run.windows_dead:,} incomplete"),
        ("dead letters", ", ".join(map(_letters, letters))),
        *(("warning", words) for words in _warnings(run)),
        ("spot check", spot_check_text(SpotCheck.read(run.spot_check))),
        ("requests", requests(run)),
        ("time spent", time_spent(run)),
    ]


def window_rows(
    run: Run, windows: Sequence[WindowRow], *, columns: int, plain: bool, fold: bool
) -> list[tuple[str, ...]]:
    """Returns rows of cells below WINDOW_COLUMNS.

    `columns`: of the terminal. `fold`: many windows that are done become one.
    """
    shown = windows
    if fold and len(windows) > MOST_SHOWN:
        shown = [window for window in windows if window.status != "done" or window.error]
    width = max(_NARROWEST, min(_WIDEST, columns - _OTHER_COLUMNS))
    began, ended = _ends(run, windows)
    cells = [_row(window, _bar(window, began, ended, width, plain=plain)) for window in shown]
    return cells + list(_folded([window for window in windows if window not in shown]))


def run_document(run: Run) -> dict[str, Any]:
    """Returns the columns of the state file, seconds to the millisecond; times as ISO 8601 in UTC or null.

    `seconds`: from its start to its end, null while it runs.
    """
    document = rounded(asdict(run)) | {name: moment_iso(getattr(run, name)) for name in _RUN_TIMES}
    document |= {new: document.pop(old) for new, old in former_names.RUN.items()}
    found = SpotCheck.read(run.spot_check)
    document |= {
        "seconds": None if run.finished_at is None else run.finished_at - run.started_at,
        "moves_sync_point": bool(run.moves_sync_point),
        "warnings": _warnings(run),
        "spot_check": found.document if found else None,
    }
    return former_names.with_former({"run_id": document.pop("id"), **document}, former_names.RUN)


def window_document(window: WindowRow) -> dict[str, Any]:
    """Returns the columns of the state file, as `run_document` does."""
    document = rounded(asdict(window)) | {name: moment_iso(getattr(window, name)) for name in _WINDOW_TIMES}
    document |= {new: document.pop(old) for new, old in former_names.WINDOW.items()}
    return former_names.with_former(document, former_names.WINDOW)


def rounded(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the document with its seconds to the millisecond."""
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in document.items()}


def time_spent(usage: Usage) -> str:
    """Returns the shares of the time that all workers spent, the largest first; empty where none was measured."""
    spent = {words: float(getattr(usage, name)) for name, words in _SPENT}
    whole = sum(spent.values())
    if whole <= 0:
        return ""
    shares = sorted(((seconds / whole, words) for words, seconds in spent.items()), reverse=True)
    parts = ", ".join(f"{words} {share:.0%}" for share, words in shares if share >= 0.005)  # noqa: PLR2004 - rounds to 1%
    return f"{parts} (shares of all workers' time)"


def requests(usage: Usage) -> str:
    """Returns the number of requests to each side, with the retries and refusals in it; empty without requests."""
    sides = [_side(name, usage) for name in ("Mailchimp", "Ometria")]
    return "; ".join(sides) if usage.mailchimp_requests or usage.ometria_requests else ""


def _warnings(run: Run) -> list[str]:
    found: list[str] = json.loads(run.warnings) if run.warnings else []
    return found


def _members(run: Run) -> str:
    """Returns how many members were read, of how many where that is known: not of a dead letter's, always."""
    of_all = f" of about {run.members_total:,}" if run.members_total >= max(1, run.members_read) else ""
    skipped = f"{run.members_skipped:,} skipped{' (no address)' * (run.members_skipped > 0)}"
    return f"{run.members_read:,} read{of_all}, {skipped}"


def _letters(found: LettersOfRun) -> str:
    if found.status == "open":
        return f"{found.number:,} open"
    run = "" if found.replayed_in is None else f" in run {found.replayed_in}"
    return f"{found.number:,} {found.status}{run} ({moment_utc(found.updated_at)})"


def _took(run: Run) -> str:
    return "-" if run.finished_at is None else duration(run.finished_at - run.started_at)


def _lasted(window: WindowRow) -> str:
    """Returns the time from a window's first page to its end, which its bar shows; its pages overlap in `seconds`."""
    return duration(found) if (found := _seconds(window)) is not None else "-"


def _seconds(window: WindowRow) -> int | None:
    if window.begun_at is None or window.finished_at is None:
        return None
    return max(0, window.finished_at - window.begun_at)


def _side(name: str, usage: Usage) -> str:
    counts = (getattr(usage, f"{name.lower()}_{what}") for what in ("requests", "retries", "throttled"))
    made, retries, throttled = counts
    failed = [pluralize(retries, "retry", "retries")] if retries else []
    failed += [f"{throttled:,} refused as too many (429)"] if throttled else []
    return f"{name} {pluralize(made, 'request')}" + (f" ({', '.join(failed)})" if failed else "")


def _row(window: WindowRow, bar: str) -> tuple[str, ...]:
    name = str(window.number) + (" archived" if window.sweep == "archived" else "")
    return (
        name if window.letter_id is None else f"{name}, dead letter {window.letter_id}",
        moment(window.until),
        window.status,
        *(f"{number:,}" for number in (window.members, window.pushed, window.retries)),
        bar,
        _lasted(window),
        window.error or "",
    )


def _folded(windows: Sequence[WindowRow]) -> Iterator[tuple[str, ...]]:
    if windows:
        numbers = (sum(getattr(window, name) for window in windows) for name in ("members", "pushed", "retries"))
        longest = duration(max(_seconds(window) or 0 for window in windows))
        yield (f"{len(windows):,} more", "", "done", *(f"{number:,}" for number in numbers), "", f"<= {longest}", "")


def _ends(run: Run, windows: Sequence[WindowRow]) -> tuple[int, int]:
    """Returns the first beginning and the last end of the windows: a resumed run is not drawn with the hours before."""
    begun = [window.begun_at for window in windows if window.begun_at is not None]
    ended = [window.finished_at for window in windows if window.finished_at is not None]
    first = min(begun, default=run.started_at)
    return first, max([*ended, *begun, first + 1])


def _bar(window: WindowRow, began: int, ended: int, width: int, *, plain: bool) -> str:
    """Draws a window from its first page to its end; at least one character, if it was begun."""
    if window.begun_at is None:
        return ""
    dot, full = (".", "#") if plain else ("\N{MIDDLE DOT}", "\N{FULL BLOCK}")
    scale = width / (ended - began)
    start = min(width - 1, int((window.begun_at - began) * scale))
    end = width if window.finished_at is None else int((window.finished_at - began) * scale)
    return dot * start + full * max(1, end - start) + dot * (width - max(start + 1, end))
