"""What came of one list: in one line, in one glance, and what there is to look at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mcimport.errors import BusyError, ConfigError, InterruptedRunError, ServiceDownError
from mcimport.models.records import Run
from mcimport.models.results import ListResult
from mcimport.report.format import consents, dead_letters, duration, members, moment_utc, out_of, pluralize
from mcimport.report.reconcile_summary import comparison_lines

_MOST_HINTS = 5
_CLOCKS_GRAIN = 5.0  # seconds: runs are dated in whole ones, and by another clock than the call is timed by
_DONE = {
    "full": "everything imported",  # see `_ending` for where that would be too much
    "incremental": "changes imported",
    "replay": "dead letters replayed",
    "reconcile": "both sides compared",
}


@dataclass(frozen=True, slots=True)
class Totals:
    """A call's counts, over its runs."""

    read: int
    skipped: int
    pushed: int
    rejected: int
    opt_ins: int
    opt_outs: int
    events: int
    windows: int
    dead: int


def totals(result: ListResult) -> Totals:
    def total(name: str) -> int:
        return sum(getattr(run, name) for run in result.runs)

    return Totals(
        read=total("members_read"),
        skipped=total("members_skipped"),
        pushed=total("contacts_pushed"),
        rejected=total("contacts_rejected"),
        opt_ins=total("opt_ins"),
        opt_outs=total("opt_outs"),
        events=total("subscription_events"),
        windows=total("windows_total"),
        dead=total("windows_dead"),
    )


def title(result: ListResult) -> str:
    """Whose line it is, and of which runs: what `runs show` takes. A dry run is in no log."""
    ids = () if result.dry_run else tuple(dict.fromkeys(str(run.id) for run in result.runs))
    runs = f", {'run' if len(ids) == 1 else 'runs'} {' and '.join(ids)}" if ids else ""
    return f"{result.client} {result.list_key}{runs}"


def verdict(result: ListResult) -> str:
    """One or two words: how it ended."""
    if result.status == "failed":
        return "failed"
    if result.status == "interrupted":
        return "stopped" if result.runs else "not started"
    if result.status == "skipped":
        return "skipped"
    return "differ" if result.comparison is not None and result.comparison.left else _completed(result)


def _completed(result: ListResult) -> str:
    if result.dead_letters:
        return "dead letters"
    if _only_moved_sync_point(result):
        return "sync point set"
    is_idle = not result.runs or (result.runs[-1].kind == "incremental" and not totals(result).read)
    return "nothing changed" if is_idle else "completed"


def line(result: ListResult) -> str:
    """How it ended and what was imported; one line, whatever happened."""
    if result.comparison is not None:
        return comparison_lines(f"{title(result)}, in {duration(result.seconds)}", result.comparison)[0]
    ending = _ending(result)
    if _is_short(result):
        return f"{title(result)}: {ending}"
    sums = totals(result)
    carried = [
        f"{pluralize(sums.read, 'member')} read",
        f"{pluralize(sums.pushed, 'contact')} {_pushed(result, sums)}",
        *([f"{sums.skipped:,} skipped"] if sums.skipped else []),
        *([f"{sums.rejected:,} rejected"] if sums.rejected else []),
    ]
    events = f", {pluralize(sums.events, 'subscription event')}" if sums.events else ""
    consent = f"{consents(sums.pushed, sums.opt_ins, sums.opt_outs)}{events}"
    windows = f"{out_of(result.windows_done, sums.windows, 'time range')}{_dead(sums)}"
    return f"{title(result)}: {ending}: {', '.join(carried)}; {consent}; {windows}"


def block(result: ListResult) -> list[str]:
    """The same in one glance, a subject a line, and then what there is to look at."""
    if result.comparison is not None:
        return [line(result), *problems(result)]
    head = f"{title(result)}: {_ending(result)}"
    if _is_short(result):
        return [head, *problems(result)]
    sums = totals(result)
    events = pluralize(sums.events, "subscription event")
    subjects = {
        "members": f"{sums.read:,} read, {sums.skipped:,} skipped (no e-mail address), {sums.rejected:,} rejected",
        "contacts": f"{sums.pushed:,} {_pushed(result, sums)}",
        "consent": f"{consents(sums.pushed, sums.opt_ins, sums.opt_outs)}; {events}",
        "time ranges": f"{out_of(result.windows_done, sums.windows)} done{_dead(sums)}",
        "sync point": _sync_point(result),
    }
    return [head, *(f"  {name:<11}  {words}" for name, words in subjects.items() if words), *problems(result)]


def problems(result: ListResult) -> list[str]:
    """A line for everything that a person may want to look at, indented; nothing when all is well."""
    return [
        f"  {words}"
        for words in (*_differences(result), *_letters(result), *_failure(result), *_warnings(result), *_hints(result))
    ]


def error_lines(result: ListResult) -> list[str]:
    """What has to be said even when only errors are: one or two lines and each new warning, or nothing.

    A list that another process is busy with is none: it is being imported. Neither is one that was not begun when the
    call was stopped: whoever stopped it knows.
    """
    if result.error is None or isinstance(result.error, BusyError):
        return [*_differing(result), *(f"{title(result)}: {words}" for words in (*_letters(result), *_news(result)))]
    if isinstance(result.error, InterruptedRunError):
        return [" ".join((f"{title(result)}: {_ending(result)}.", *_next(result)))] if result.runs else []
    advice = " ".join(_next(result))
    said = [f"{title(result)}: {verdict(result)}: {_unnamed(result)}", *([f"  {advice}"] if advice else [])]
    return [*said, *(f"{title(result)}: {words}" for words in _news(result))]


def _news(result: ListResult) -> list[str]:
    return [f"warning: {words}" for words in result.news]


def _differences(result: ListResult) -> list[str]:
    return [] if result.comparison is None else [words.strip() for words in comparison_lines("", result.comparison)[1:]]


def _differing(result: ListResult) -> list[str]:
    """What has to be said even when only errors are."""
    found = result.comparison
    return comparison_lines(title(result), found) if found is not None and (found.left or found.mended) else []


def _unnamed(result: ListResult) -> str:
    """The error, without the client that stands in front of the line already."""
    return str(result.error).removeprefix("client ").removeprefix(f"{result.client}: ")


def _ending(result: ListResult) -> str:
    """How it ended and how long it took."""
    took, word = duration(result.seconds), verdict(result)
    if word == "skipped":
        return f"skipped: {str(result.error).removeprefix(f'{result.client}: ')}"
    if word == "sync point set":
        return f"sync point set{_at(result.runs[-1])}, no members imported"
    if word in ("failed", "stopped"):
        return f"{word} after {took}"
    if word in ("nothing changed", "not started"):
        return word
    done = "dry run" if result.dry_run else _DONE[result.runs[0].kind]
    if result.affected.is_many:
        done = done.removeprefix("everything ")
    if result.dead_letters and not totals(result).pushed and result.runs[0].kind in ("full", "incremental"):
        return f"nothing imported: {in_words(result)}, in {took}"
    return f"{done}{_but(result)}, in {took}"


def _but(result: ListResult) -> str:
    if not result.dead_letters:
        return ""
    if result.runs[0].kind == "replay":
        return f"; {result.dead_letters:,} failed again"
    many = pluralize(result.dead_letters, "dead letter")
    return f", except {members(result.affected)} ({many})" if result.affected.is_many else f", except {many}"


def _at(run: Run) -> str:
    return "" if run.until is None else f" to {moment_utc(run.until)}"


def _is_short(result: ListResult) -> bool:
    """There is nothing to count."""
    return not (totals(result).read or result.dead_letters or verdict(result) == "completed")


def _only_moved_sync_point(result: ListResult) -> bool:
    """A run of `--since now`: the only incremental one without a beginning."""
    return bool(result.runs) and result.runs[-1].kind == "incremental" and result.runs[-1].since is None


def _pushed(result: ListResult, sums: Totals) -> str:
    return "converted, none pushed" if result.dry_run else f"pushed{_speed(result, sums)}"


def _speed(result: ListResult, sums: Totals) -> str:
    """Against the ceiling. Says nothing of a resumed run: part of its contacts went out in an earlier call."""
    if not sums.pushed or result.seconds <= 0 or _began_earlier(result):
        return ""
    ceiling = f" of at most {result.ceiling:,.0f}/s" if result.ceiling else ""
    return f" ({sums.pushed / result.seconds:,.0f}/s{ceiling})"


def _began_earlier(result: ListResult) -> bool:
    first, last = result.runs[0], result.runs[-1]
    return (last.finished_at or last.started_at) - first.started_at > result.seconds + _CLOCKS_GRAIN


def _dead(sums: Totals) -> str:
    return f", {sums.dead:,} incomplete" if sums.dead else ""


def _sync_point(result: ListResult) -> str:
    last = result.runs[-1]
    if result.dry_run or last.kind not in ("full", "incremental"):
        return ""
    moved = result.status == "completed" and last.moves_sync_point and last.until is not None
    return moment_utc(last.until) if moved and last.until is not None else "not moved"


def _letters(result: ListResult) -> list[str]:
    if not result.dead_letters:
        return []
    many = in_words(result)
    if result.dry_run:
        return [f"{many} would be recorded"]
    return [f"{many}: `mcimport dlq list` shows them, `mcimport dlq replay` tries again"]


def in_words(result: ListResult) -> str:
    """How many dead letters, and, of more than a handful, how many members these are about."""
    return dead_letters(result.affected) if result.affected.is_many else pluralize(result.dead_letters, "dead letter")


def _failure(result: ListResult) -> list[str]:
    if result.error is None or isinstance(result.error, BusyError):
        return []
    words = [] if isinstance(result.error, InterruptedRunError) else [_unnamed(result)]
    return [*words, *_next(result)]


def _next(result: ListResult) -> list[str]:
    """What to do about an error, and what becomes of a run that was cut off."""
    error = result.error
    hint = [error.hint] if error is not None and error.hint else []
    # The hint of a service that is down says the same of all lists.
    goes_on = _is_resumable(result) and not isinstance(error, ServiceDownError)
    return [*hint, *([f"The next `mcimport sync {result.list_key}` resumes it."] if goes_on else [])]


def _is_resumable(result: ListResult) -> bool:
    if not result.runs or result.dry_run or isinstance(result.error, ConfigError):
        return False
    last = result.runs[-1]
    return last.status in ("interrupted", "failed") and last.kind in ("full", "incremental") and last.until is not None


def _warnings(result: ListResult) -> list[str]:
    return [f"warning: {words}" for words in result.warnings]


def _hints(result: ListResult) -> list[str]:
    if not result.hints:
        return []
    often = Counter(result.hints).most_common(_MOST_HINTS)
    words = "; ".join(f"{hint} ({times:,} times)" if times > 1 else hint for hint, times in often)
    return [f"Ometria's latest validation errors, of the whole account and not only of this list: {words}"]
