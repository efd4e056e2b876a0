"""Makes the JSON document that a webhook gets: fields for programs, and a text that chat services show."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from mcimport.models.results import ListResult
from mcimport.models.timestamps import iso
from mcimport.monitoring.trouble import Kind, Trouble
from mcimport.report.format import moment_utc

Event = Literal["failure", "recovery"]

MAX_TEXT = 2_000  # characters

_BEGAN: Mapping[Kind, str] = {
    "failed": "The sync of {list} failed: {words}",
    "reconcile_failed": "The comparison of {list} with Ometria failed: {words}",
    "dead_letters": "Not everything of {list} was imported: {words}",
    "differ": "Compared {list} with Ometria: {words}",
    "spot_check": "Contacts of {list} are missing in Ometria: {words}",
    "overdue": "The sync of {list} is overdue: {words}",
}
_ENDED: Mapping[Kind, str] = {
    "failed": "Resolved: the sync of {list} works again",
    "reconcile_failed": "Resolved: the comparison of {list} with Ometria works again",
    "dead_letters": "Resolved: the dead letters of {list} ({words})",
    "differ": "Resolved: the differences of {list} from Ometria ({words})",
    "spot_check": "Resolved: the missing contacts of {list} ({words})",
    "overdue": "Resolved: the overdue sync of {list} ({words})",
}


def make_document(
    event: Event, result: ListResult, found: Trouble, since: int, lasting: Iterable[str]
) -> dict[str, Any]:
    """Returns the document. `since`: when the trouble began (seconds, UTC); `lasting`: the kinds that the list has."""
    return {
        "text": _text(event, result, found, since),
        "event": event,
        "kind": found.kind,
        "client": result.client,
        "list_key": result.list_key,
        "run_id": result.runs[-1].id if result.runs else None,
        "status": result.status,
        "reason": found.words,
        "reasons": list(found.reasons),
        "next": found.next,
        "dead_letters": result.dead_letters,
        "dead_letter_members": result.affected.known_members,
        "other_kinds": sorted({*lasting} - {found.kind}),
        "since": iso(since),
        "at": iso(int(time.time())),
    }


def _text(event: Event, result: ListResult, found: Trouble, since: int) -> str:
    """Returns a sentence, and what to do next or since when the trouble lasted.

    Slack, Teams and Mattermost read `&`, `<` and `>` as markup, and show their entities as these characters.
    """
    where = f"list {result.list_key} of {result.client}"
    sentences, more = (_BEGAN, found.next) if event == "failure" else (_ENDED, f"It began at {moment_utc(since)}.")
    sentence = sentences[found.kind].format(list=where, words=found.words).removesuffix(".")
    text = f"mcimport: {sentence}.\n{more}".rstrip()[:MAX_TEXT]
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
