"""Formats numbers, durations, times, time ranges and marketing permissions, in the same words everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mcimport.models.records import Affected
from mcimport.models.results import Permissions
from mcimport.models.timestamps import iso

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_LONGEST = 100  # characters of a marketing permission's text
_BARS = "▁▂▃▄▅▆▇█"
ARCHIVED_LEFT = "members archived before this state file knew the list were not compared, and may still be opted in"
_PLAIN_BARS = "_.:-=+*#"  # for an encoding that lacks the others


def mend_command(list_key: str) -> str:
    """Returns the command that fixes the differences of a list."""
    return f"`mcimport reconcile --mend {list_key}`"


def pluralize(number: int, thing: str, plural: str = "") -> str:
    """Returns `1 window`, `25,000 members`. `plural`: only where it is not `thing` with an s."""
    return f"{number:,} {thing if number == 1 else plural or f'{thing}s'}"


def out_of(part: int, whole: int, thing: str = "") -> str:
    """Returns `11 of 22`, `11 of 22 time ranges`."""
    return f"{part:,} of {pluralize(whole, thing) if thing else f'{whole:,}'}"


def about(found: Affected, thing: str = "") -> str:
    """Returns how many members, as precisely as that is known: `766`, `about 766 members`."""
    precisely = "" if found.precision == "exactly" else f"{found.precision} "
    return precisely + (pluralize(found.members, thing) if thing else f"{found.members:,}")


def members(found: Affected) -> str:
    """Returns how many members dead letters are about: `about 766 members, 99% of the list`; no share below 1%."""
    parts = [about(found, "member")] if found.members else []
    share = 100 * found.members // found.list_members if found.list_members else 0
    if 0 < share <= 100:  # noqa: PLR2004 - above 100% the list has shrunk since, so the share is unknown
        parts.append(f"{share}% of the list")
    more = " more" if parts else " of members"
    return ", ".join(parts) + ((" and " if parts else "") + f"an unknown number{more}" if found.unknown else "")


def dead_letters(found: Affected) -> str:
    """Returns `1 dead letter (about 766 members, 99% of the list)`; no brackets where each is about one member."""
    letters = pluralize(found.letters, "dead letter")
    return f"{letters} ({members(found)})" if found.spans or found.is_many else letters


def consents(pushed: int, opt_ins: int, opt_outs: int) -> str:
    """Returns the consent of the contacts pushed. Rejected ones may count as opt-ins or opt-outs, hence the `max`."""
    return f"{opt_ins:,} opted in, {opt_outs:,} opted out, {max(0, pushed - opt_ins - opt_outs):,} unspecified"


def duration(seconds: float) -> str:
    """Formats a duration in at most two units: `0.4 s`, `2 s`, `34 s`, `2 min 5 s`, `3 h 12 min`, `5 d 3 h`."""
    if seconds < 10:  # noqa: PLR2004 - below that a tenth of a second still says something
        return f"{max(0.0, seconds):.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for unit, name, part, part_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit:,} {name}" + (f" {rest} {part_name}" if rest else "")
    return f"{whole} s"


def age(seconds: int) -> str:
    """Formats an age in one unit: `34 s`, `12 min`, `5 h`, `3 d`; `0 s` for a time in the future (clocks differ)."""
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds // unit:,} {name}"
    return f"{max(0, seconds)} s"


def clock(seconds: float) -> str:
    """Formats the time left: `0:18`, `1:02:05`."""
    minutes, rest = divmod(round(seconds), _MINUTE)
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(seconds: int | None) -> str:
    """Formats a time in UTC, for a column whose head says so; `-` for None."""
    return "-" if seconds is None else iso(seconds).removesuffix("+00:00").replace("T", " ")


def moment_utc(seconds: int) -> str:
    return f"{moment(seconds)} UTC"


def moment_iso(seconds: int | None) -> str | None:
    """Formats a time as ISO 8601 in UTC, for programs."""
    return None if seconds is None else iso(seconds)


def span(since: int | None, until: int | None) -> str:
    """Formats `(since, until]` as `from X to Y UTC`; None and None is a member without a time."""
    if until is None:
        return "without a time"
    if since is not None and until - since == 1:
        return f"at {moment_utc(until)}"
    return f"from {'the beginning' if since is None else moment(since)} to {moment_utc(until)}"


def spark(values: Sequence[int], *, plain: bool = False) -> str:
    """Returns a bar for each value, scaled to the highest. `plain`: in ASCII."""
    bars = _PLAIN_BARS if plain else _BARS
    top = max(values, default=0)
    return "".join(bars[-(-value * (len(bars) - 1) // top) if top else 0] for value in values)


def escape(text: str) -> str:
    """Escapes what is not printable in a text from outside, so that it cannot control the terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def permissions_text(permissions: Permissions) -> str:
    """Returns a list's marketing permissions, and how many subscribed members lack the required one, in one line."""
    texts = ", ".join(f"“{escape(text[:_LONGEST])}”" for text in permissions.texts) or "none found on any member"
    return f"marketing permissions (GDPR fields): {texts}; {_lacking(permissions)}"


def permissions_document(permissions: Permissions) -> dict[str, Any]:
    """Returns the same for programs."""
    return {
        "texts": list(permissions.texts),
        "lacking": permissions.lacking,
        "looked_at": permissions.looked_at,
        "subscribed": permissions.subscribed,
    }


def _lacking(permissions: Permissions) -> str:
    if not permissions.names:
        return "[consent] permission requires none of them"
    have, are = ("has", "is") if permissions.lacking == 1 else ("have", "are")
    lacking = f"{permissions.lacking:,} {_subscribed(permissions)}"
    return f"{lacking} {have} not given {escape(permissions.names)}, and {are} not opted in"


def _subscribed(permissions: Permissions) -> str:
    if permissions.looked_at is None or permissions.subscribed is None:
        return f"subscribed {'member' if permissions.lacking == 1 else 'members'}"
    if permissions.looked_at < permissions.subscribed:
        return f"of the {permissions.looked_at:,} checked (of {permissions.subscribed:,} subscribed members)"
    return f"of {permissions.subscribed:,} subscribed members"
