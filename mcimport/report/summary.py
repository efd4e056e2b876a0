"""Formats the result of one list: in a line for a log, a short one for a terminal, and as JSON; and its problems."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from mcimport.errors import BusyError, ConfigError, InterruptedRunError, ServiceDownError
from mcimport.models.results import ListResult, RunCounts
from mcimport.report.format import (
    consents,
    dead_letters,
    duration,
    members,
    mend_command,
    moment_iso,
    moment_utc,
    out_of,
    permissions_document,
    pluralize,
)
from mcimport.report.reconcile_summary import comparison_document, comparison_lines, unfinished_text

_MOST_HINTS = 5
_DONE = {
    "full": "everything imported",  # `_ending` leaves out "everything" where many members could not be imported
    "incremental": "changes imported",
    "replay": "dead letters replayed",
    "reconcile": "both sides compared",
}


def totals(result: ListResult) -> RunCounts:
    """Returns the sums over the runs of the call, without what an earlier call had done of one that was resumed."""
    return RunCounts(
        *(
            max(0, sum(getattr(run, name) for run in result.runs) - getattr(result.earlier, name))
            for name in RunCounts.__struct_fields__
        )
    )


def title(result: ListResult) -> str:
    """Returns client, list and run numbers, as `runs show` takes them; a dry run is not recorded and has none."""
    runs = _run_numbers(result)
    return f"{result.client} {result.list_key}{f', {runs}' if runs else ''}"


def verdict(result: ListResult) -> str:
    """Returns how the work on the list ended, in one to three words."""
    if result.status in ("failed", "skipped"):
        return result.status
    if result.status == "interrupted":
        return "interrupted" if result.runs else "not started"
    if result.comparison is not None and result.comparison.left:
        return "differ"
    if result.dead_letters:
        return "dead letters"
    if _only_moved_sync_point(result):
        return "sync point set"
    is_idle = not result.runs or (
        result.runs[-1].kind == "incremental" and not sum(run.members_read for run in result.runs)
    )
    return "nothing changed" if is_idle else "completed"


def summary_line(result: ListResult) -> str:
    """Returns one line: how the work on the list ended, and what was imported."""
    if result.comparison is not None:
        return comparison_lines(f"{title(result)}, in {duration(result.seconds)}", result.comparison)[0]
    ending = _ending(result)
    if _is_short(result):
        return f"{title(result)}: {ending}"
    sums = totals(result)
    counts = [
        f"{pluralize(sums.members_read, 'member')} read",
        f"{pluralize(sums.contacts_pushed, 'contact')} {_pushed(result, sums)}",
        *([f"{sums.members_skipped:,} skipped"] if sums.members_skipped else []),
        *([f"{sums.contacts_rejected:,} rejected"] if sums.contacts_rejected else []),
    ]
    events = f", {pluralize(sums.subscription_events, 'subscription event')}" if sums.subscription_events else ""
    consent = f"{consents(sums.contacts_pushed, sums.opt_ins, sums.opt_outs)}{events}"
    windows = f"{out_of(result.windows_done, sums.windows_total, 'time range')}{_dead(sums)}"
    return f"{title(result)}: {ending}: {', '.join(counts)}; {consent}; {windows}{_resumed(result)}"


def result_lines(result: ListResult) -> list[str]:
    """Returns one line for a log, and a line for each problem."""
    return [summary_line(result), *problem_lines(result)]


def short_lines(result: ListResult) -> list[str]:
    """Returns one short line for a terminal, and a line for each problem; `runs show` has the rest."""
    return [_short_line(result), *problem_lines(result)]


def json_line(result: ListResult) -> str:
    """Returns one JSON object, without a line break: totals over the call's runs, times as ISO 8601 in UTC or null.

    `since` is the first run's; `run_id`, `kind` and `until` are the last run's, null without a run.
    `dead_letter_members` is null where a dead letter is about an unknown number of members. `spot_check` is only there
    if contacts pushed before could be read back.
    A dry run is not recorded, so its `run_id` is null. Only a dry run has `without` (how many contacts have no country,
    phone, name), `unsendable` (how many members cannot be sent, by reason) and `marketing_permissions` (those of the
    list, and how many of the members read lack the required one; null where it has none).
    """
    runs, sums, checked = result.runs, totals(result), result.spot_check
    last = runs[-1] if runs else None
    return json.dumps(
        {
            "client": result.client,
            "list_key": result.list_key,
            "run_id": last.id if last and not result.dry_run else None,
            "kind": last.kind if last else None,
            "status": result.status,
            "since": moment_iso(runs[0].since) if runs else None,
            "until": moment_iso(last.until) if last else None,
            "members_total": sums.members_total,
            "members_read": sums.members_read,
            "members_skipped": sums.members_skipped,
            "contacts_pushed": sums.contacts_pushed,
            "contacts_rejected": sums.contacts_rejected,
            "windows_total": sums.windows_total,
            "windows_done": result.windows_done,
            "windows_dead": sums.windows_dead,
            "dead_letters": result.dead_letters,
            "seconds": round(result.seconds, 3),
            "error": None if result.error is None else str(result.error),
            "opted_in": sums.opt_ins,
            "opted_out": sums.opt_outs,
            "subscription_events": sums.subscription_events,
            "warnings": list(result.warnings),
            "dead_letter_members": result.affected.known_members,
            **(comparison_document(result.comparison) if result.comparison else {}),
            **({"spot_check": checked.document} if checked and checked.missing is not None else {}),
            **(_dry(result) if result.dry_run else {}),
        }
    )


def problem_lines(result: ListResult) -> list[str]:
    """Returns an indented line for each problem: differences, dead letters, the error, warnings and hints."""
    warnings = (f"warning: {words}" for words in result.warnings)
    lines = (*_differences(result), *_letters(result), *_failure(result), *warnings, *_hints(result))
    return [f"  {words}" for words in lines]


def error_lines(result: ListResult) -> list[str]:
    """Returns what is written under `--quiet`: one or two lines on an error, and each new warning; or nothing.

    A list that another process is working on is no error, because it is being imported. Neither is a list that the call
    had not begun when the user stopped it.
    """
    news = [f"{title(result)}: warning: {words}" for words in result.news]
    if result.error is None or isinstance(result.error, BusyError):
        return [*_differing(result), *(f"{title(result)}: {words}" for words in _letters(result)), *news]
    advice = " ".join(_next(result))
    if isinstance(result.error, InterruptedRunError):
        return [f"{title(result)}: {_ending(result)}. {advice}".rstrip()] if result.runs else []
    lines = [f"{title(result)}: {verdict(result)}: {unnamed(result)}", *([f"  {advice}"] if advice else [])]
    return [*lines, *news]


def _run_numbers(result: ListResult) -> str:
    ids = () if result.dry_run else tuple(dict.fromkeys(str(run.id) for run in result.runs))
    return f"{'run' if len(ids) == 1 else 'runs'} {' and '.join(ids)}" if ids else ""


def _short_line(result: ListResult) -> str:
    if result.comparison is not None:
        return summary_line(result)
    runs = _run_numbers(result)
    words = _ending(result) if _is_short(result) else _imported(result)
    return f"{result.client} {result.list_key}  {words}{f' ({runs})' if runs else ''}"


def _imported(result: ListResult) -> str:
    """Returns how many contacts were imported in which time, and how many members were not."""
    sums, took, word = totals(result), duration(result.seconds), verdict(result)
    counts = [
        f"{sums.contacts_pushed:,} {'converted, none pushed,' if result.dry_run else 'imported'} in {took}",
        *([f"{sums.members_skipped:,} skipped"] if sums.members_skipped else []),
        *([f"{sums.contacts_rejected:,} rejected"] if sums.contacts_rejected else []),
    ]
    return f"{f'{word}: ' if word in ('failed', 'stopped') else ''}{', '.join(counts)}{_resumed(result)}"


def _differences(result: ListResult) -> list[str]:
    found = result.comparison
    if found is None:
        return []
    next_step = []
    if found.differing and found.left and not found.refusal:
        command = f"`mcimport reconcile {result.list_key}` shows what is left"
        next_step = [command if found.mended else f"{mend_command(result.list_key)} fixes what differs"]
    return [*(words.strip() for words in comparison_lines("", found)[1:]), *next_step]


def _differing(result: ListResult) -> list[str]:
    """Returns the lines on a comparison that are written under `--quiet`, too."""
    found = result.comparison
    return comparison_lines(title(result), found) if found is not None and (found.left or found.mended) else []


def unnamed(result: ListResult) -> str:
    """Returns the error without the client's name, with which the line already begins."""
    return str(result.error).removeprefix("client ").removeprefix(f"{result.client}: ")


def _ending(result: ListResult) -> str:
    """Returns how the work on the list ended, and how long it took."""
    took, word = duration(result.seconds), verdict(result)
    if word == "skipped":
        return f"skipped: {str(result.error).removeprefix(f'{result.client}: ')}"
    if word == "sync point set":
        until = result.runs[-1].until
        return f"sync point set{'' if until is None else f' to {moment_utc(until)}'}, no members imported"
    if word in ("failed", "interrupted"):
        unfinished = unfinished_text(totals(result).contacts_pushed) if _is_comparison(result) else ""
        return f"{word} after {took}{unfinished}"
    if word in ("nothing changed", "not started"):
        return word
    done = "dry run" if result.dry_run else _DONE[result.runs[0].kind]
    if result.affected.is_many:
        done = done.removeprefix("everything ")
    if result.dead_letters and not totals(result).contacts_pushed and result.runs[0].kind in ("full", "incremental"):
        return f"nothing imported: {dead_letter_count(result)}, in {took}"
    return f"{done}{_except(result)}, in {took}"


def _except(result: ListResult) -> str:
    if not result.dead_letters:
        return ""
    if result.runs[0].kind == "replay":
        return f"; {result.dead_letters:,} failed again"
    letters = pluralize(result.dead_letters, "dead letter")
    return f", except {members(result.affected)} ({letters})" if result.affected.is_many else f", except {letters}"


def _resumed(result: ListResult) -> str:
    """Returns where a run was resumed that an earlier call had begun; empty where there is none."""
    read = result.earlier.members_read
    return f"; resumed at {out_of(read, result.runs[0].members_total, 'member')}" if read else ""


def _is_comparison(result: ListResult) -> bool:
    return bool(result.runs) and result.runs[-1].kind == "reconcile"


def _is_short(result: ListResult) -> bool:
    """Returns whether there are no counts to show; those of a comparison without a result tell nothing."""
    if _is_comparison(result):
        return True
    return not (totals(result).members_read or result.dead_letters or verdict(result) == "completed")


def _only_moved_sync_point(result: ListResult) -> bool:
    """Returns whether the last run was one of `--since now`: the only incremental one without a beginning."""
    return bool(result.runs) and result.runs[-1].kind == "incremental" and result.runs[-1].since is None


def _pushed(result: ListResult, sums: RunCounts) -> str:
    """Returns what was done, and the speed beside its limit."""
    if result.dry_run:
        return "converted, none pushed"
    if not sums.contacts_pushed or result.seconds <= 0:
        return "pushed"
    ceiling = f" of at most {result.ceiling:,.0f}/s" if result.ceiling else ""
    return f"pushed ({sums.contacts_pushed / result.seconds:,.0f}/s{ceiling})"


def _dead(sums: RunCounts) -> str:
    return f", {sums.windows_dead:,} incomplete" if sums.windows_dead else ""


def _letters(result: ListResult) -> list[str]:
    if not result.dead_letters:
        return []
    letters = dead_letter_count(result)
    if result.dry_run:
        return [f"{letters} would be recorded"]
    return [f"{letters}: `mcimport dlq list` shows them, `mcimport dlq replay` tries again"]


def dead_letter_count(result: ListResult) -> str:
    """Returns the number of dead letters, with that of their members where these are many."""
    return dead_letters(result.affected) if result.affected.is_many else pluralize(result.dead_letters, "dead letter")


def _failure(result: ListResult) -> list[str]:
    if result.error is None or isinstance(result.error, BusyError):
        return []
    words = [] if isinstance(result.error, InterruptedRunError) else [unnamed(result)]
    return [*words, *_next(result)]


def _next(result: ListResult) -> list[str]:
    """Returns what to do about an error, and that the next sync resumes an interrupted run."""
    error = result.error
    hint = [error.hint] if error is not None and error.hint else []
    # The hint of a service that is down already says so, for all lists.
    is_resumed = _is_resumable(result) and not isinstance(error, ServiceDownError)
    return [
        *hint,
        *([f"The next `mcimport sync {result.list_key}` resumes it."] if is_resumed else []),
        *([f"`mcimport reconcile {result.list_key}` starts over."] if _was_stopped_comparing(result) else []),
    ]


def _was_stopped_comparing(result: ListResult) -> bool:
    return isinstance(result.error, InterruptedRunError) and _is_comparison(result)


def _is_resumable(result: ListResult) -> bool:
    if not result.runs or result.dry_run or isinstance(result.error, ConfigError):
        return False
    last = result.runs[-1]
    return last.status in ("interrupted", "failed") and last.kind in ("full", "incremental") and last.until is not None


def _hints(result: ListResult) -> list[str]:
    if not result.hints:
        return []
    counted = Counter(result.hints).most_common(_MOST_HINTS)
    words = "; ".join(f"{hint} ({times:,} times)" if times > 1 else hint for hint, times in counted)
    return [f"Ometria's latest validation errors, of the whole account and not only of this list: {words}"]


def _dry(result: ListResult) -> dict[str, Any]:
    return {
        "without": {name: result.lacking.get(name, 0) for name in ("country", "phone", "name")},
        "unsendable": dict(result.unsendable),
        "marketing_permissions": permissions_document(result.permissions) if result.permissions else None,
    }
