"""Formats what a comparison of both sides, or a spot check, found: as words for people, and as part of a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import asdict

from mcimport.models.records import SpotCheck
from mcimport.models.results import Comparison, Difference, Unread
from mcimport.models.timestamps import iso
from mcimport.report.format import age, moment_iso, out_of, pluralize, span

SPANS_SHOWN = 10
_DAY = 86_400  # seconds

_MEANINGS = {
    "missing": "on the Mailchimp list, but not in Ometria",
    "stale": "in Ometria with values that are out of date",
    "gone": "deleted in Mailchimp, but still opted in to e-mail or text messages in Ometria",
    "said_no": "opted out in Ometria, but subscribed in Mailchimp; only --mend --opt-in opts them in",
    "foreign": "in this Ometria collection, but not created by mcimport; left untouched",
}
_ASIDE = {
    "later": "changed since the last sync; the next sync sends them",
    "left_out": "never imported, because this list was started with --since; `mcimport sync --full` imports them",
    "on_record": "not in Ometria, but recorded in a dead letter: `mcimport dlq list`",
    "unsendable": "cannot be sent, so only their consent was compared",
    "departed": "deleted in Mailchimp, and not opted in in Ometria (nothing to do)",
    "unclear": "could not be checked again, so it is unknown whether they match",
}

_FIELDS = {"phone": "phone number", "sms": "SMS consent"}  # the others are shown by their own name


def verdict(found: Comparison) -> str:
    """Returns the result in a few words."""
    if found.left:
        return "not everything could be read" if found.is_only_unread else "both sides differ"
    if found.mended:
        return "fixed"
    suffix = f", except {found.said_no.count:,} opted out in Ometria" if found.said_no.count else ""
    return f"both sides match{suffix}"


def comparison_lines(title: str, found: Comparison) -> list[str]:
    """Returns a line with the number of matches, and one for each kind of difference, with a few ids."""
    lines = [f"{title}: {verdict(found)}; {pluralize(found.agree, 'contact')} match"]
    lines += [_line(kind, getattr(found, kind), found) for kind in _MEANINGS if getattr(found, kind).count]
    asides = {name: number for name in _ASIDE if (number := getattr(found, name))}
    lines += [f"  {name.replace('_', ' '):<10}  {number:,} {_ASIDE[name]}" for name, number in asides.items()]
    if found.unread:
        lines.append(_unread(found.unread))
    if found.mended:
        lines.append(f"  {'fixed':<10}  {out_of(found.mended, found.differing)}, confirmed in Ometria")
    if found.not_taken.count:
        lines.append(f"  {'not taken':<10}  {found.not_taken.count:,} pushed without effect: {_ids(found.not_taken)}")
    if found.refusal:
        lines.append(f"  {found.refusal}")
    return lines


def unfinished_text(pushed: int) -> str:
    """Returns what is known of a comparison that ended early, after `interrupted after 3 s`. `pushed`: of the fixes."""
    if not pushed:
        return ", before both sides were compared"
    return f", before it was seen in Ometria which of {pluralize(pushed, 'pushed fix', 'pushed fixes')} arrived"


def comparison_document(found: Comparison) -> dict[str, Any]:
    """Returns, for programs, the counts, a few ids of each kind, and a few of the time ranges that were not read.

    `differing`, all ids with their kind and fields, is only there where they were asked for.
    """
    ids = {kind: list(getattr(found, kind).ids) for kind in (*_MEANINGS, "not_taken")}
    more = {"ids": ids, "unread_spans": spans(found), "refusal": found.refusal or None}
    every = {} if found.every_id is None else {"differing": [asdict(differing) for differing in found.every_id]}
    return {**numbers(found), "fields": dict(found.fields), **more, **every}


def spans(found: Comparison) -> list[dict[str, Any]]:
    """Returns, for programs, the first of the time ranges that could not be read."""
    return [
        {**asdict(unread), "since": moment_iso(unread.since), "until": moment_iso(unread.until)}
        for unread in found.unread[:SPANS_SHOWN]
    ]


def numbers(found: Comparison) -> dict[str, int]:
    """Returns the counts alone."""
    kinds = {kind: getattr(found, kind).count for kind in _MEANINGS}
    asides = {name: getattr(found, name) for name in _ASIDE}
    pushed = {"mended": found.mended, "not_taken": found.not_taken.count}
    return {**kinds, "agree": found.agree, **pushed, **asides, "unread": len(found.unread)}


def compared_text(counts: Mapping[str, int]) -> str:
    """Returns the result of an earlier comparison, of which only the counts are known."""
    if not counts.get("left"):
        suffix = f" ({counts['said_no']:,} opted out in Ometria)" if counts.get("said_no") else ""
        return f"both sides matched{suffix}"
    if counts.get("unread") and counts["left"] == counts["unread"] + counts["unclear"]:
        return f"no difference found (except in {pluralize(counts['unread'], 'time range')} that could not be read)"
    names = ("missing", "stale", "gone", "said_no", "unclear", "not_taken", "unread")
    kinds = [f"{counts[name]:,} {name.replace('_', ' ')}" for name in names if counts.get(name)]
    mended = f", {counts['mended']:,} fixed" if counts.get("mended") else ""
    return f"both sides differed ({', '.join(kinds)}{mended})"


def missing_text(found: SpotCheck, now: int) -> str:
    """Returns `Ometria accepted 10 contacts yesterday, but 3 of them are not there`. `now`: seconds, UTC."""
    contacts = pluralize(found.accepted, "contact")
    verb = "is" if found.missing == 1 else "are"
    return f"Ometria accepted {contacts} {_when(found, now)}, but {found.missing:,} of them {verb} not there"


def list_command(list_key: str) -> str:
    return f"`mcimport reconcile {list_key}` lists them all"


def missing_line(found: SpotCheck, list_key: str, now: int) -> str:
    return f"{missing_text(found, now)}; {list_command(list_key)}"


def spot_check_note(found: SpotCheck, list_key: str, now: int) -> str:
    """Returns the note in the table of lists."""
    verb = "is" if found.missing == 1 else "are"
    contacts = f"{out_of(found.missing or 0, found.accepted, 'contact')} that Ometria accepted {verb} not there"
    return f"{contacts} (checked {age(now - found.at)} ago): `mcimport reconcile {list_key}`"


def spot_check_text(found: SpotCheck | None) -> str:
    """Returns the result for the log of runs; empty for a run without a spot check."""
    if found is None:
        return ""
    contacts = f"{pluralize(found.accepted, 'contact')} from earlier runs"
    if found.missing is None:
        return f"{contacts} could not be checked: {found.reason}"
    return f"{contacts} read back, {found.missing:,} missing"


def _line(kind: str, difference: Difference, found: Comparison) -> str:
    fields = ", ".join(f"{_FIELDS.get(name, name)} {count:,}" for name, count in found.fields.items())
    what = f" ({fields})" if fields and kind == "stale" else ""
    return f"  {kind.replace('_', ' '):<10}  {difference.count:,} {_MEANINGS[kind]}{what}: {_ids(difference)}"


def _ids(difference: Difference) -> str:
    more = ", …" if difference.count > len(difference.ids) else ""
    return f"{', '.join(difference.ids)}{more}"


def _unread(unread: tuple[Unread, ...]) -> str:
    shown = "; ".join(f"{span(part.since, part.until)} ({part.sweep}): {part.reason}" for part in unread[:SPANS_SHOWN])
    more = "; …" if len(unread) > SPANS_SHOWN else ""
    ranges = pluralize(len(unread), "time range")
    return (
        f"  {'unread':<10}  {ranges} could not be read; the next `mcimport reconcile` reads them again: {shown}{more}"
    )


def _when(found: SpotCheck, now: int) -> str:
    """Returns `today`, `yesterday`, `on 2026-11-27`; for several days, `since` the first of them. Days are in UTC."""
    first, last = found.first_at // _DAY, found.last_at // _DAY
    day = {0: "today", 1: "yesterday"}.get(now // _DAY - first, iso(found.first_at)[:10])
    if first != last:
        return f"since {day}"
    return day if day.isalpha() else f"on {day}"
