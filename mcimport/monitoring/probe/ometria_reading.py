"""Finds out about Ometria by reading only: what each fact takes from the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mcimport.monitoring.probe.ometria_answers import QUEUE_HEADERS, Found, OmetriaAnswers, contacts_of
from mcimport.monitoring.probe.seen import DIFFERS, HOLDS, UNKNOWN, Seen, is_name, names
from mcimport.services.http.raw_answer import decoded
from mcimport.services.ometria.contacts import PAGE

NOT_FOUND = 404
CONSENTS = frozenset({"EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"})
READ_FIELDS = ("@collection", "id", "email", "marketing_optin")  # that a comparison of both sides needs
ERROR_FIELDS = frozenset({"error_message", "error_path"})


def key(answers: OmetriaAnswers) -> Seen:
    page, own = answers.page or (), len(answers.own)
    evidence = {"status": answers.errors.status, "contacts_read": len(page), "of_this_list": own}
    if own:
        return HOLDS, evidence
    return (DIFFERS if answers.was_synced and len(page) < PAGE else UNKNOWN), evidence


def collection_filter(answers: OmetriaAnswers) -> Seen:
    page, nothing, anything = answers.page, answers.in_no_collection, answers.of_all_collections
    if page is None:
        return DIFFERS, {"contacts_readable": False}
    foreign = sum(one.get("@collection") != answers.collection for one in page)
    evidence = {"of_other_collections": foreign, "in_a_collection_without_contacts": len(nothing or ())}
    if foreign or nothing:
        return DIFFERS, evidence
    return (HOLDS if anything else UNKNOWN), evidence


def order(answers: OmetriaAnswers) -> Seen:
    """The order twice, and that the page which begins with the last contact of the first one does."""
    ids, again, later = ([one.get("id") for one in page or ()] for page in _pages(answers))
    if len(ids) < 2:  # noqa: PLR2004 - one contact has no order
        return UNKNOWN, {"contacts_read": len(ids)}
    is_same, is_continued = ids == again, later[:1] == ids[-1:]
    evidence = {"contacts_read": len(ids), "same_order_twice": is_same, "next_page_continues": is_continued}
    return (HOLDS if is_same and is_continued else DIFFERS), evidence


def _pages(answers: OmetriaAnswers) -> tuple[list[Found] | None, ...]:
    return answers.page, answers.page_again, answers.from_the_last


def page_size(answers: OmetriaAnswers) -> Seen:
    size, more = len(answers.page or ()), len(answers.from_the_last or ())
    evidence = {"asked_for": PAGE, "received": size, "is_the_last_page": more <= 1}
    if size == PAGE:
        return HOLDS, evidence
    return (DIFFERS if size and more > 1 else UNKNOWN), evidence


def single(answers: OmetriaAnswers) -> Seen:
    """A contact that was just listed is found by its id, and an id that no contact has is a 404."""
    if answers.single is None:
        return UNKNOWN, {"contacts_of_this_list": 0}
    found, absent = decoded(answers.single), answers.no_single.status
    is_it = isinstance(found, dict) and found.get("id") == answers.own[0]["id"]
    evidence = {"status": answers.single.status, "is_the_contact": is_it, "status_of_an_unknown_id": absent}
    return (HOLDS if is_it and absent == NOT_FOUND else DIFFERS), evidence


def by_address(answers: OmetriaAnswers) -> Seen:
    answer = answers.by_address
    if answer is None:
        return UNKNOWN, {"contacts_of_this_list_with_an_address": 0}
    found, address = contacts_of(answer), str(answers.own[0]["email"]).lower()
    others = sum(str(one.get("email")).lower() != address for one in found or ())
    evidence = {"status": answer.status, "contacts": len(found or ()), "with_other_addresses": others}
    return (HOLDS if found and not others else DIFFERS), evidence


def fields(answers: OmetriaAnswers) -> Seen:
    page = answers.page or ()
    found_names = {name for one in page for name in one}
    missing = [name for name in READ_FIELDS if name not in found_names]
    evidence = {"contacts_read": len(page), "fields": names(found_names), "missing": missing}
    return ((DIFFERS if missing else HOLDS) if page else UNKNOWN), evidence


def consent_words(answers: OmetriaAnswers) -> Seen:
    return words_of(answers.page or ())


def words_of(contacts: Iterable[Found]) -> Seen:
    """A word that is no plain one is not repeated."""
    words = Counter(str(one["marketing_optin"]) for one in contacts if one.get("marketing_optin") is not None)
    shown: Counter[str] = Counter()
    for word, count in words.items():
        shown[word if is_name(word) else "other"] += count
    return ((HOLDS if words.keys() <= CONSENTS else DIFFERS) if words else UNKNOWN), {"words": dict(shown)}


def queue_headers(answers: OmetriaAnswers) -> Seen:
    """Reads may come without them, though pushes have them."""
    return (HOLDS if answers.headers == set(QUEUE_HEADERS) else UNKNOWN), {"with_reads": sorted(answers.headers)}


def push_errors(answers: OmetriaAnswers) -> Seen:
    found = decoded(answers.errors)
    is_list = isinstance(found, list) and all(isinstance(one, dict) for one in found)
    found_names = {str(name) for one in found for name in one} if is_list else set()
    evidence = {
        "status": answers.errors.status,
        "is_a_list": is_list,
        "errors": len(found) if is_list else 0,
        "fields": names(found_names),
    }
    return (HOLDS if is_list and (not found or found_names >= ERROR_FIELDS) else DIFFERS), evidence
