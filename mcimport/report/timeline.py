"""Formats one run for people: how its time was spent, and its windows as bars on a common time axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mcimport.models import Usage
from mcimport.models.records import Run, WindowRow
from mcimport.report.format import duration, moment, pluralize

HEADS = ("time range", "to (UTC)", "status", "members", "pushed", "retries", "timeline", "took", "error")
MOST_SHOWN = 50  # windows; of more, those that are done without an error become one line

_SPENT = (
    ("waited_limiter", "waiting for Ometria's rate limit"),
    ("waited_ometria", "waiting for Ometria"),
    ("waited_mailchimp", "waiting for Mailchimp"),
    ("converting", "converting"),
)
_OTHER_COLUMNS = 78  # what the columns beside the bar usually need
_NARROWEST, _WIDEST = 10, 30


def time_spent(usage: Usage) -> str:
    """Returns the shares of the time that all workers spent, the largest first; empty where none was measured."""
    spent = {words: float(getattr(usage, name)) for name, words in _SPENT}
    whole = sum(spent.values())
    if whole <= 0:
        return ""
    shares = sorted(((seconds / whole, words) for words, seconds in spent.items()), reverse=True)
    parts = ", ".join(f"{words} {share:.0%}" for share, words in shares if share >= 0.005)  # noqa: PLR2004 - rounds to 1%
    return f"{parts} (of {duration(whole)}, all workers together)"


def requests(usage: Usage) -> str:
    """Returns the number of requests to each side, with the retries and refusals in it; empty without requests."""
    sides = [
        _side("Mailchimp", usage.mailchimp_requests, usage.mailchimp_retries, usage.mailchimp_throttled),
        _side("Ometria", usage.ometria_requests, usage.ometria_retries, usage.ometria_throttled),
    ]
    return "; ".join(sides) if usage.mailchimp_requests or usage.ometria_requests else ""


def rows(run: Run, windows: Sequence[WindowRow], *, columns: int, plain: bool, fold: bool) -> list[tuple[str, ...]]:
    """Returns rows of cells below HEADS. `columns`: of the terminal. `fold`: many windows that are done become one."""
    shown = windows
    if fold and len(windows) > MOST_SHOWN:
        shown = [window for window in windows if window.status != "done" or window.error]
    width = max(_NARROWEST, min(_WIDEST, columns - _OTHER_COLUMNS))
    began, ended = _ends(run, windows)
    cells = [_row(window, _bar(window, began, ended, width, plain=plain)) for window in shown]
    return cells + list(_folded([window for window in windows if window not in shown]))


def _side(name: str, made: int, retries: int, throttled: int) -> str:
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
        duration(window.seconds) if window.begun_at is not None else "-",
        window.error or "",
    )


def _folded(windows: Sequence[WindowRow]) -> Iterator[tuple[str, ...]]:
    if windows:
        numbers = (sum(getattr(window, name) for window in windows) for name in ("members", "pushed", "retries"))
        longest = duration(max(window.seconds for window in windows))
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
