"""One run for a person: where its time went, and its windows side by side on the run's own time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mcimport.models import Usage
from mcimport.models.records import Run, WindowRow
from mcimport.report.format import duration, moment, pluralize

HEADS = ("time range", "to (UTC)", "status", "members", "pushed", "retries", "timeline", "took", "error")
MOST_SHOWN = 50  # windows; of more, those that need nobody are folded into one line

_SPENT = (
    ("waited_limiter", "waiting for Ometria's rate limit"),
    ("waited_ometria", "waiting for Ometria"),
    ("waited_mailchimp", "waiting for Mailchimp"),
    ("converting", "converting"),
)
_OTHER_COLUMNS = 78  # what the columns beside the bar need as a rule
_NARROWEST, _WIDEST = 10, 30


def time_spent(usage: Usage) -> str:
    """Shares of all that a run's workers spent, the largest first; empty where next to nothing was."""
    spent = {words: float(getattr(usage, name)) for name, words in _SPENT}
    whole = sum(spent.values())
    if whole <= 0:
        return ""
    shares = sorted(((seconds / whole, words) for words, seconds in spent.items()), reverse=True)
    told = ", ".join(f"{words} {share:.0%}" for share, words in shares if share >= 0.005)  # noqa: PLR2004 - rounds to 1 %
    return f"{told} (of {duration(whole)}, all workers together)"


def requests(usage: Usage) -> str:
    """How often each side was asked, and what of that was in vain; empty where nobody was."""
    sides = [
        _side("Mailchimp", usage.mailchimp_requests, usage.mailchimp_retries, usage.mailchimp_throttled),
        _side("Ometria", usage.ometria_requests, usage.ometria_retries, usage.ometria_throttled),
    ]
    return "; ".join(sides) if usage.mailchimp_requests or usage.ometria_requests else ""


def rows(run: Run, windows: Sequence[WindowRow], *, columns: int, plain: bool, fold: bool) -> list[tuple[str, ...]]:
    """Cells below HEADS. `columns`: of the terminal. `fold`: of many windows, only those that need somebody."""
    shown = windows
    if fold and len(windows) > MOST_SHOWN:
        shown = [window for window in windows if window.status != "done" or window.error]
    width = max(_NARROWEST, min(_WIDEST, columns - _OTHER_COLUMNS))
    began, ended = _ends(run, windows)
    told = [_row(window, _bar(window, began, ended, width, plain=plain)) for window in shown]
    return told + list(_folded([window for window in windows if window not in shown]))


def _side(name: str, made: int, again: int, throttled: int) -> str:
    vain = [pluralize(again, "retry").replace("retrys", "retries")] if again else []
    vain += [f"{throttled:,} refused as too many (429)"] if throttled else []
    return f"{name} {pluralize(made, 'request')}" + (f" ({', '.join(vain)})" if vain else "")


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
    """The run's own time, as far as its windows tell: a resumed one need not be drawn with the hours between."""
    begun = [window.begun_at for window in windows if window.begun_at is not None]
    ended = [window.finished_at for window in windows if window.finished_at is not None]
    first = min(begun, default=run.started_at)
    return first, max([*ended, *begun, first + 1])


def _bar(window: WindowRow, began: int, ended: int, width: int, *, plain: bool) -> str:
    """From its first page to its end, on a line that is the run's time; at least one sign where it was worked on."""
    if window.begun_at is None:
        return ""
    dot, full = (".", "#") if plain else ("\N{MIDDLE DOT}", "\N{FULL BLOCK}")
    scale = width / (ended - began)
    start = min(width - 1, int((window.begun_at - began) * scale))
    end = width if window.finished_at is None else int((window.finished_at - began) * scale)
    return dot * start + full * max(1, end - start) + dot * (width - max(start + 1, end))
