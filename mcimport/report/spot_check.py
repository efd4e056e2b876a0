"""What a look at a few of the contacts pushed before has found, in words."""

from __future__ import annotations

from mcimport.models.sample import SpotCheck
from mcimport.models.timestamps import iso
from mcimport.report.format import age, out_of, pluralize

_DAY = 86_400


def accusation(found: SpotCheck, now: int) -> str:
    """`Ometria accepted 10 contacts yesterday, but 3 of them are not there`. `now`: seconds, UTC."""
    contacts = pluralize(found.accepted, "contact")
    verb = "is" if found.missing == 1 else "are"
    return f"Ometria accepted {contacts} {_when(found, now)}, but {found.missing:,} of them {verb} not there"


def names_all(list_key: str) -> str:
    """What to type."""
    return f"`mcimport reconcile {list_key}` lists them all"


def not_held(found: SpotCheck, list_key: str, now: int) -> str:
    """Both in one line."""
    return f"{accusation(found, now)}; {names_all(list_key)}"


def note(found: SpotCheck, list_key: str, now: int) -> str:
    """For a table."""
    verb = "is" if found.missing == 1 else "are"
    contacts = f"{out_of(found.missing or 0, found.accepted, 'contact')} that Ometria accepted {verb} not there"
    return f"{contacts} (checked {age(now - found.at)} ago): `mcimport reconcile {list_key}`"


def outcome(found: SpotCheck | None) -> str:
    """For the log of runs; empty where there was none."""
    if found is None:
        return ""
    contacts = f"{pluralize(found.accepted, 'contact')} from earlier runs"
    if found.missing is None:
        return f"{contacts} could not be checked: {found.reason}"
    return f"{contacts} read back, {found.missing:,} missing"


def _when(found: SpotCheck, now: int) -> str:
    """`today`, `yesterday`, `on 2026-11-27`; of several days `since` the first of them. Days in UTC."""
    first, last = found.first_at // _DAY, found.last_at // _DAY
    day = {0: "today", 1: "yesterday"}.get(now // _DAY - first, iso(found.first_at)[:10])
    if first != last:
        return f"since {day}"
    return day if day.isalpha() else f"on {day}"
