"""The facts about Ometria, by id: which are found by reading, which by writing, and which by both."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mcimport.monitoring.probe import ometria_reading as reading
from mcimport.monitoring.probe import ometria_writing as writing
from mcimport.monitoring.probe.ometria_answers import OmetriaAnswers
from mcimport.monitoring.probe.seen import DIFFERS, HOLDS, UNKNOWN, Seen
from mcimport.monitoring.probe.written_contact import WrittenContact

READ: Mapping[str, Callable[[OmetriaAnswers], Seen]] = {
    "ometria-key": reading.key,
    "ometria-filter": reading.collection_filter,
    "ometria-order": reading.order,
    "ometria-page": reading.page_size,
    "ometria-single": reading.single,
    "ometria-address": reading.by_address,
    "ometria-fields": reading.fields,
    "ometria-words": reading.consent_words,
    "ometria-queue": reading.queue_headers,
    "ometria-errors": reading.push_errors,
}
WRITTEN: Mapping[str, Callable[[WrittenContact], Seen]] = {
    "ometria-order": writing.order,
    "ometria-fields": writing.read_back,
    "ometria-words": writing.consent_words,
    "ometria-queue": writing.queue_headers,
    "ometria-settling": writing.settling,
    "ometria-no-address": writing.without_address,
    "ometria-left-out": writing.left_out_is_kept,
    "ometria-not-specified": writing.not_specified,
    "ometria-property": writing.unknown_property,
    "ometria-undated": writing.opt_in_date,
    "ometria-ended": writing.ended,
}


def read_facts(answers: OmetriaAnswers) -> dict[str, Seen]:
    """Raises as `RawRequests`."""
    return {name: look(answers) for name, look in READ.items()}


def written_facts(contact: WrittenContact) -> dict[str, Seen]:
    return {name: look(contact) for name, look in WRITTEN.items()}


def together(read: Mapping[str, Seen], written: Mapping[str, Seen]) -> dict[str, Seen]:
    """Returns what both found: of two verdicts `differs` counts, else `holds`; the evidence is that of both."""
    found = dict(read)
    for name, (verdict, evidence) in written.items():
        other, more = found.get(name, (UNKNOWN, {}))
        found[name] = min(verdict, other, key=(DIFFERS, HOLDS, UNKNOWN).index), {**more, **evidence}
    return found
