"""The one vocabulary of JSON and logs, that of `sync --json`, and the names that 0.1.0 had for the same.

A former name is beside its new one, with the same value, until 0.3.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RUN = {"opted_in": "opt_ins", "opted_out": "opt_outs"}
WINDOW = {"members_read": "members", "contacts_pushed": "pushed", "dead_letter_id": "letter_id"}
LIST = {"contacts_per_run": "contacts_pushed", "discarded_dead_letters": "discarded_letters"}
DEAD_LETTER = {
    "dead_letter_id": "id",
    "dead_letter_members": "members",
    "members_on_list": "list_members",
    "note": "standing",
}
LIST_OF_KEY = {"members_on_list": "members", "members_subscribed": "subscribed"}
REPORTED_LIST = {"reconciled_at": "last_compared", "reconciled": "compared"}
FINDING = {"message": "words", "fix": "mend"}
EVENT = {
    "list_key": "list",
    "run_id": "run",
    "members_total": "members",
    "members_read": "members",
    "contacts_pushed": "pushed",
    "contacts_rejected": "rejected",
    "windows_total": "windows",
    "message": "words",
}

DOCUMENTS: Mapping[str, Mapping[str, str]] = {
    "`runs list`, `runs show`: a run": RUN,
    "`runs show`: a time range (`windows`)": WINDOW,
    "`status`: a list": LIST,
    "`dlq list`, `dlq show`: a dead letter": DEAD_LETTER,
    "`lists`: a list": LIST_OF_KEY,
    "`check`: a finding": FINDING,
    "`report`: a list of a client (`lists`)": REPORTED_LIST,
    "the log: an event": EVENT,
}
"""The documents whose names changed; new name to former name."""


def with_former(document: Mapping[str, Any], former: Mapping[str, str]) -> dict[str, Any]:
    """Returns the document with the former name beside each new one that it has."""
    return {**document, **{old: document[new] for new, old in former.items() if new in document}}
