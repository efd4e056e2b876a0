"""Dead letters as rows of a table, as documents, and each with the command that mends it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mcimport.models.records import DeadLetter, affected
from mcimport.report.format import about, members, moment, moment_iso, moment_utc, pluralize, span

HEADS = (
    *("id", "client", "list", "kind", "cause", "after (UTC)", "up to (UTC)", "member"),
    *("members", "tries", "written (UTC)", "status", "reason"),
)

_TIMES = ("since", "until", "created_at", "updated_at")


def row(letter: DeadLetter, list_status: str) -> tuple[str, ...]:
    """Cells below HEADS. `list_status`: what is different with its list; empty when it is where it goes to now."""
    return (
        *(str(letter.id), letter.client, letter.list_key, letter.kind, letter.cause),
        *(moment(letter.since), moment(letter.until), letter.member_id or ""),
        *("unknown" if letter.kind == "window" and letter.members is None else about(affected([letter])),),
        *(
            f"{letter.attempts:,}",
            moment(letter.created_at),
            letter.status + (f", {list_status}" if list_status else ""),
        ),
        letter.reason,
    )


def document(letter: DeadLetter, list_status: str) -> dict[str, Any]:
    """The log's own names; times as ISO 8601 in UTC or null; `list_status` is null where nothing is different."""
    times = {name: moment_iso(getattr(letter, name)) for name in _TIMES}
    return {**asdict(letter), **times, "standing": list_status or None}


def facts(letter: DeadLetter, list_status: str) -> list[tuple[str, str]]:
    """What, when, why, how often, and what to do; a subject a line, empty words where there is nothing to say."""
    return [
        ("dead letter", f"{letter.id}, {letter.status}"),
        ("list", f"{letter.list_key} of {letter.client}" + (f" ({list_status})" if list_status else "")),
        ("what", _what(letter)),
        ("changed" if letter.kind == "contact" else "span", span(letter.since, letter.until)),
        ("about", members(affected([letter]))),
        ("why", letter.reason),
        ("tried", f"{pluralize(letter.attempts, 'time')}, last in run {letter.run_id}"),
        ("written", moment_utc(letter.created_at)),
        ("last change", moment_utc(letter.updated_at)),
        *(("to do", words) for words in remedies(letter, list_status)),
    ]


def remedies(letter: DeadLetter, list_status: str) -> list[str]:
    """What mends it, a line each, the best first; each names the command."""
    discard = f"`mcimport dlq discard {letter.id}` closes it without any more trying"
    if letter.status != "open":
        return ["nothing: it is closed"]
    if list_status:
        return [f"{list_status}: it is not replayed as things are", discard]
    replay = f"`mcimport dlq replay {letter.id}`"
    if letter.kind == "contact":
        return [
            *_look(letter),
            f"mend the member in Mailchimp; the next sync carries them, or {replay} at once",
            discard,
        ]
    if letter.cause == "transport":
        return [f"the next sync of the list tries again by itself; {replay} does it at once", discard]
    return [f"{replay} once the reason is gone", discard]


def _look(letter: DeadLetter) -> list[str]:
    if letter.member_id is None or letter.member_id.isdigit():
        return []  # Mailchimp finds a member by contact_id, not by web_id, the number
    return [
        f"`mcimport preview {letter.list_key} --client {letter.client} --member {letter.member_id}` shows the member"
    ]


def _what(letter: DeadLetter) -> str:
    which = "archived members" if letter.sweep == "archived" else "members"
    if letter.kind == "window":
        return f"a span of time whose {which} could not be carried"
    who = "without an id" if letter.member_id is None else letter.member_id
    return f"the member {who}, who could not be sent"
