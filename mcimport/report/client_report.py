"""Formats what was done for a client in a period: as wrapped text, for programs, and as rows of CSV."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from mcimport.models.activity import ClientActivity, ListActivity, RunSums
from mcimport.report import former_names
from mcimport.report.format import consents, moment, moment_iso, moment_utc, pluralize, spark
from mcimport.report.reconcile_summary import compared_text

COLUMNS = 80  # where there is no screen
MOST_BARS = 60  # days; a longer line would not fit
_SUBJECT = 19  # columns of the subject of a line; enough for the key of a list

_SUMS = {  # as `sync --json` names them
    "runs": "runs",
    "runs_failed": "runs_failed",
    "members_read": "members_read",
    "members_compared": "members_compared",
    "members_skipped": "members_skipped",
    "contacts_pushed": "contacts_pushed",
    "contacts_rejected": "contacts_rejected",
    "opted_in": "opt_ins",
    "opted_out": "opt_outs",
    "subscription_events": "subscription_events",
}
CSV_HEADS = (
    *("client", "list_key", "since", "until", *_SUMS, "dead_letters_opened", "dead_letters_open"),
    *("last_synced", "last_compared", "comparison"),
)


def lines(found: ClientActivity, *, plain: bool, columns: int = COLUMNS) -> list[str]:
    """Returns a block of lines. `plain`: bars in ASCII. `columns`: of the screen."""
    bars = spark(list(found.days.values()), plain=plain) if len(found.days) <= MOST_BARS else ""
    of_lists = (fact for one in found.lists for fact in _list_facts(one))
    told = [*facts(found), ("contacts a day", bars), *of_lists]
    wrapped = (_wrapped(subject, words, columns) for subject, words in told if words)
    return [*textwrap.wrap(f"{found.client}: {period(found)}", columns), *(line for part in wrapped for line in part)]


def period(found: ClientActivity) -> str:
    return f"{moment(found.since)} to {moment_utc(found.until)}"


def facts(found: ClientActivity) -> list[tuple[str, str]]:
    """Returns pairs of subject and words on all lists together."""
    sums = found.sums
    failed = f", {sums.runs_failed:,} failed" if sums.runs_failed else ""
    compared = f", {sums.members_compared:,} of them to compare both sides" if sums.members_compared else ""
    rejected = f", {sums.contacts_rejected:,} rejected" if sums.contacts_rejected else ""
    return [
        ("runs", f"{sums.runs:,}{failed}"),
        ("members", f"{sums.members_read:,} read{compared}"),
        ("contacts", f"{sums.contacts_pushed:,} imported{rejected}"),
        ("consent", consents(sums.contacts_pushed, sums.opt_ins, sums.opt_outs)),
        ("events", pluralize(sums.subscription_events, "subscription event")),
        ("dead letters", f"{found.letters_opened:,} opened, {found.letters_open:,} open now"),
        ("note", thinned_note(found)),
    ]


def thinned_note(found: ClientActivity) -> str:
    """Returns why the numbers may be too low; empty where they are not."""
    if found.whole_since is None:
        return ""
    return (
        f"The log may not hold all runs before {moment_utc(found.whole_since)} any more,"
        " so more may have been done than is counted here."
    )


def synced_text(found: ListActivity) -> str:
    return "never synced" if found.synced_at is None else f"last synced {moment_utc(found.synced_at)}"


def comparison_text(found: ListActivity) -> str:
    if found.compared_at is None:
        return "never compared"
    return f"last compared {moment_utc(found.compared_at)}: {compared_text(found.compared)}"


def document(found: ClientActivity) -> dict[str, Any]:
    """Returns the sums, the contacts pushed by day, and the same of each list; times as ISO 8601 in UTC or null.

    `log_complete_since` is null where the log holds all runs of the period.
    """
    return {
        "client": found.client,
        "since": moment_iso(found.since),
        "until": moment_iso(found.until),
        **_numbers(found.sums, found.letters_opened, found.letters_open),
        "contacts_by_day": dict(found.days),
        "log_complete_since": moment_iso(found.whole_since),
        "lists": [_list_document(one) for one in found.lists],
    }


def csv_rows(found: ClientActivity) -> Iterator[tuple[str | int, ...]]:
    """Yields a row for each list, below CSV_HEADS; an unknown time is empty."""
    for one in found.lists:
        yield (
            *(found.client, one.list_key, moment_iso(found.since) or "", moment_iso(found.until) or ""),
            *_numbers(one.sums, one.letters_opened, one.letters_open).values(),
            *(moment_iso(one.synced_at) or "", moment_iso(one.compared_at) or ""),
            "" if one.compared_at is None else compared_text(one.compared),
        )


def _list_facts(found: ListActivity) -> list[tuple[str, str]]:
    return [
        (f"list {found.list_key}", f"{pluralize(found.sums.contacts_pushed, 'contact')} imported"),
        ("", synced_text(found)),
        ("", comparison_text(found)),
    ]


def _list_document(found: ListActivity) -> dict[str, Any]:
    document = {
        "list_key": found.list_key,
        **_numbers(found.sums, found.letters_opened, found.letters_open),
        "last_synced": moment_iso(found.synced_at),
        "reconciled_at": moment_iso(found.compared_at),
        "comparison": None if found.compared_at is None else compared_text(found.compared),
        "reconciled": dict(found.compared) or None,
    }
    return former_names.with_former(document, former_names.REPORTED_LIST)


def _numbers(sums: RunSums, opened: int, still_open: int) -> dict[str, int]:
    counts = {name: getattr(sums, field) for name, field in _SUMS.items()}
    return {**counts, "dead_letters_opened": opened, "dead_letters_open": still_open}


def _wrapped(subject: str, words: str, columns: int) -> list[str]:
    """Returns a fact in lines, the second and later ones below its words; a long subject has a line of its own."""
    indent = " " * _SUBJECT
    head = f"  {subject}".ljust(_SUBJECT)
    first = [] if head.endswith("  ") else [head.rstrip()]
    rest = textwrap.wrap(
        words,
        columns,
        initial_indent=indent if first else head,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return [*first, *rest]
