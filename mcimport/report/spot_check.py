"""Formats what a spot check found: whether Ometria holds a few of the contacts that it accepted before."""

from __future__ import annotations

from mcimport.models.records import SpotCheck
from mcimport.models.timestamps import iso
from mcimport.report.format import age, out_of, pluralize

_DAY = 86_400


def missing_text(found: SpotCheck, now: int) -> str:
    """Returns `Ometria accepted 10 contacts yesterday, but 3 of them are not there`. `now`: seconds, UTC."""
    contacts = pluralize(found.accepted, "contact")
    verb = "is" if found.missing == 1 else "are"
    return f"Ometria accepted {contacts} {_when(found, now)}, but {found.missing:,} of them {verb} not there"


def list_command(list_key: str) -> str:
    """Returns the command that lists all missing contacts."""
    return f"`mcimport reconcile {list_key}` lists them all"


def missing_line(found: SpotCheck, list_key: str, now: int) -> str:
    """Returns `missing_text` and `list_command` in one line."""
    return f"{missing_text(found, now)}; {list_command(list_key)}"


def status_note(found: SpotCheck, list_key: str, now: int) -> str:
    """Returns the note in the table of lists."""
    verb = "is" if found.missing == 1 else "are"
    contacts = f"{out_of(found.missing or 0, found.accepted, 'contact')} that Ometria accepted {verb} not there"
    return f"{contacts} (checked {age(now - found.at)} ago): `mcimport reconcile {list_key}`"


def outcome(found: SpotCheck | None) -> str:
    """Returns the result for the log of runs; empty for a run without a spot check."""
    if found is None:
        return ""
    contacts = f"{pluralize(found.accepted, 'contact')} from earlier runs"
    if found.missing is None:
        return f"{contacts} could not be checked: {found.reason}"
    return f"{contacts} read back, {found.missing:,} missing"


def _when(found: SpotCheck, now: int) -> str:
    """Returns `today`, `yesterday`, `on 2026-11-27`; for several days, `since` the first of them. Days are in UTC."""
    first, last = found.first_at // _DAY, found.last_at // _DAY
    day = {0: "today", 1: "yesterday"}.get(now // _DAY - first, iso(found.first_at)[:10])
    if first != last:
        return f"since {day}"
    return day if day.isalpha() else f"on {day}"
