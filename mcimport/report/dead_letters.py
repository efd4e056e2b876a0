"""Formats dead letters as rows of a table, as documents, and one by one with the command that fixes it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import asdict

from mcimport.models.records import DeadLetter, affected
from mcimport.report import former_names
from mcimport.report.columns import Columns
from mcimport.report.format import about, members, moment, moment_iso, moment_utc, pluralize, span

COLUMNS = Columns(
    heads=(
        *("id", "client", "list", "kind", "cause", "from (UTC)", "to (UTC)", "member"),
        *("members affected", "tries", "created (UTC)", "status", "reason", "note"),
    ),
    below=("reason", "note"),
    dropped=("created (UTC)", "cause", "from (UTC)", "to (UTC)", "tries", "kind", "member", "members affected"),
)

_KINDS = {"window": "time range", "contact": "contact"}
_TIMES = ("since", "until", "created_at", "updated_at")


def row(letter: DeadLetter, list_status: str) -> tuple[str, ...]:
    """Returns the cells below COLUMNS. `list_status`: what is different with the list; empty for a current one."""
    return (
        *(str(letter.id), letter.client, letter.list_key, _KINDS[letter.kind], letter.cause),
        *(moment(letter.since), moment(letter.until), letter.member_id or ""),
        "unknown" if letter.kind == "window" and letter.members is None else about(affected([letter])),
        *(f"{letter.attempts:,}", moment(letter.created_at)),
        *(letter.status, letter.reason, list_status),
    )


def document(letter: DeadLetter, list_status: str) -> dict[str, Any]:
    """Returns the columns of the state file, times as ISO 8601 in UTC; `note` is null for a current list."""
    document = asdict(letter) | {name: moment_iso(getattr(letter, name)) for name in _TIMES}
    named = {new: document.pop(old) for new, old in former_names.DEAD_LETTER.items() if old in document}
    return former_names.with_former({**named, **document, "note": list_status or None}, former_names.DEAD_LETTER)


def facts(letter: DeadLetter, list_status: str) -> list[tuple[str, str]]:
    """Returns pairs of subject and words: what, when, why, how often, and what to do; words may be empty."""
    return [
        ("dead letter", f"{letter.id}, {letter.status}"),
        ("list", f"{letter.list_key} of {letter.client}" + (f" ({list_status})" if list_status else "")),
        ("what", _what(letter)),
        ("changed" if letter.kind == "contact" else "time range", span(letter.since, letter.until)),
        ("members affected", members(affected([letter]))),
        ("why", letter.reason),
        ("tried", f"{pluralize(letter.attempts, 'time')}, last in run {letter.run_id}"),
        ("created", moment_utc(letter.created_at)),
        ("updated", moment_utc(letter.updated_at)),
        *(("to do", words) for words in remedies(letter, list_status)),
    ]


def remedies(letter: DeadLetter, list_status: str) -> list[str]:
    """Returns what fixes the dead letter, each with its command, the best first."""
    discard = f"`mcimport dlq discard {letter.id}` closes it for good, without another try"
    if letter.status != "open":
        return ["nothing: it is closed"]
    if list_status:
        return [f"nothing to replay: {list_status}", discard]
    replay = f"`mcimport dlq replay {letter.id}`"
    if letter.kind == "contact":
        # Mailchimp finds a member by contact_id, not by web_id, the number.
        can_look = letter.member_id is not None and not letter.member_id.isdigit()
        command = f"`mcimport preview {letter.list_key} --client {letter.client} --member {letter.member_id}`"
        look = [f"{command} shows the member"] if can_look else []
        return [*look, f"fix the member in Mailchimp; the next sync sends them, or {replay} does at once", discard]
    if letter.cause == "transport":
        return [f"the next sync of this list tries again by itself; {replay} tries at once", discard]
    return [f"{replay} once the cause is fixed", discard]


def _what(letter: DeadLetter) -> str:
    which = "archived members" if letter.sweep == "archived" else "members"
    if letter.kind == "window":
        return f"the {which} who changed in this time range could not be imported"
    who = "a member without an id" if letter.member_id is None else f"member {letter.member_id}"
    return f"{who} could not be sent"
