"""Finds out about Mailchimp by reading: what each fact takes from the answers."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from mcimport.models.timestamps import epoch
from mcimport.monitoring.probe.mailchimp_answers import LARGEST_PAGE, NO_FIELD, MailchimpAnswers, MemberPage, seconds_of
from mcimport.monitoring.probe.seen import DIFFERS, UNKNOWN, Evidence, Seen, judged
from mcimport.services.http.raw_answer import is_problem

OK, BAD_REQUEST, UNAUTHORIZED, NOT_FOUND = 200, 400, 401, 404
CLOCK_TOLERANCE, STEADY = 300, 10  # seconds
SLOWER = 1.0  # seconds that a page at the end may take longer
CLOSE, CLOSE_SHARE = 2, 0.02  # members that a span may lose or gain while it is walked through
_is_usual_time = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00").fullmatch


def clock(answers: MailchimpAnswers) -> Seen:
    ahead = answers.ahead
    evidence: dict[str, object] = {"answers": len(ahead) + answers.undated, "without_date": answers.undated}
    if not ahead:
        return DIFFERS, evidence
    apart, spread = median(ahead), max(ahead) - min(ahead)
    evidence |= {"seconds_ahead_of_this_machine": round(apart), "seconds_between_answers": round(spread)}
    is_past = True
    if seconds := seconds_of(answers.newest.members):
        since = evidence["seconds_since_the_newest_change"] = round(time.time() + apart - max(seconds))
        is_past = since >= -CLOCK_TOLERANCE
    is_steady = spread <= STEADY and not answers.undated
    return judged(holds=is_steady and is_past and abs(apart) <= CLOCK_TOLERANCE), evidence


def order(answers: MailchimpAnswers) -> Seen:
    seconds = seconds_of(_members(answers))
    later = sum(second < before for before, second in pairwise(seconds))
    return judged(holds=not later, is_known=len(seconds) > 1), {"members": len(seconds), "out_of_order": later}


def _members(answers: MailchimpAnswers) -> list[dict[str, object]]:
    """Returns a page in order: of a thousand, or where such pages do not come, of the newest."""
    return list(answers.largest.members) or list(reversed(answers.newest.members))


def ties(answers: MailchimpAnswers) -> Seen:
    second, count = answers.largest_second
    if count < 2:  # noqa: PLR2004 - no two are equal
        return UNKNOWN, {"members_in_the_largest_second": count}
    first, again = ([one.get("web_id") for one in _in(page, second)] for page in answers.tied_twice)
    both = set(first) & set(again)  # who changed in between is in one of them
    is_same = bool(both) and [one for one in first if one in both] == [one for one in again if one in both]
    return judged(holds=is_same), {"members_in_the_largest_second": count, "same_order_twice": is_same}


def _in(page: MemberPage, second: int) -> list[dict[str, object]]:
    return [one for one in page.members if epoch(one.get("last_changed")) == second]


def since(answers: MailchimpAnswers) -> Seen:
    second = answers.smallest_second
    if not second:
        return UNKNOWN, {"members": 0}
    page = answers.span(second, second + 1)
    is_included, earlier = bool(_in(page, second)), sum(one < second for one in seconds_of(page.members))
    evidence = {"status": page.status, "includes_its_second": is_included, "members_before_it": earlier}
    return judged(holds=not is_included and not earlier and page.status == OK), evidence


def before(answers: MailchimpAnswers) -> Seen:
    second = answers.smallest_second
    if not second:
        return UNKNOWN, {"members": 0}
    page = answers.span(second - 1, second, is_latest_first=True)
    is_included, later = bool(_in(page, second)), sum(one > second for one in seconds_of(page.members))
    evidence = {"status": page.status, "includes_its_second": is_included, "members_after_it": later}
    return judged(holds=is_included and not later and page.status == OK), evidence


def fractions(answers: MailchimpAnswers) -> Seen:
    if not answers.sample:
        return UNKNOWN, {"members": 0}
    page, latest = answers.after_a_fraction, max(seconds_of(answers.sample), default=0)
    earlier = sum(second <= latest for second in seconds_of(page.members))
    return judged(holds=earlier > 0), {"status": page.status, "is_ignored": earlier > 0}


def times(answers: MailchimpAnswers) -> Seen:
    texts = [str(one.get("last_changed")) for one in answers.sample]
    unusual = sum(_is_usual_time(text) is None for text in texts)
    return judged(holds=not unusual, is_known=bool(texts)), {"members": len(texts), "in_another_form": unusual}


def archived(answers: MailchimpAnswers) -> Seen:
    """That none is shown may mean that there is none."""
    found, listed = answers.archived, sum(one.get("status") == "archived" for one in answers.sample)
    evidence = {"archived": found.total, "on_the_unfiltered_list": listed}
    if not found.members:
        return (DIFFERS if listed else UNKNOWN), evidence
    latest = max(seconds_of(found.members), default=0)
    earlier = sum(second < latest for second in seconds_of(answers.archived_since_the_newest.members))
    return judged(holds=not listed and not earlier), {**evidence, "before_their_bound": earlier}


def total(answers: MailchimpAnswers) -> Seen:
    walked = answers.walked
    if walked is None or not walked[1]:
        return UNKNOWN, {}
    counted, met = walked
    is_close = abs(counted - met) <= max(CLOSE, CLOSE_SHARE * met)
    return judged(holds=is_close), {"counted_in_a_span": counted, "met_in_it": met}


def parts(answers: MailchimpAnswers) -> Seen:
    page = answers.with_parts
    places = [one.get("location") for one in page.members]
    come = sum(isinstance(place, dict) and place.keys() == {"country_code"} for place in places)
    is_known = bool(places) or page.status == BAD_REQUEST
    return judged(holds=come > 0, is_known=is_known), {"status": page.status, "members": len(places), "with_it": come}


def unknown_field(answers: MailchimpAnswers) -> Seen:
    page = answers.with_an_unknown_field
    is_ignored = page.status == OK and not any(NO_FIELD in one for one in page.members)
    return judged(holds=is_ignored), {"status": page.status}


def page(answers: MailchimpAnswers) -> Seen:
    """A page of fewer than a thousand has to be the last one. `received`: members of the largest that came."""
    first = answers.largest
    if first.status != OK:
        comes, waited = answers.largest_that_comes, round(first.seconds, 1)
        return DIFFERS, {"asked_for": LARGEST_PAGE, "status": first.status, "seconds": waited, "received": comes}
    received, pages = len(first.members), [first, *answers.more_of_the_largest]
    is_cut = received < LARGEST_PAGE and bool(answers.after_the_largest.members)
    return judged(holds=not is_cut), {"asked_for": LARGEST_PAGE, "received": received, **_measured(pages)}


def _measured(pages: Sequence[MemberPage]) -> Evidence:
    seconds, members = [one.seconds for one in pages], sum(len(one.members) for one in pages)
    return {
        "seconds_median": round(median(seconds), 2),
        "seconds_slowest": round(max(seconds), 2),
        "compressed": all(one.is_compressed for one in pages),
        "bytes_a_member": round(sum(one.bytes for one in pages) / members) if members else 0,
    }


def offset(answers: MailchimpAnswers) -> Seen:
    near, far = answers.first.seconds, answers.at_the_end.seconds
    evidence = {"seconds_at_the_beginning": round(near, 2), "seconds_at_the_end": round(far, 2)}
    return judged(holds=far - near < SLOWER), evidence


def tags(answers: MailchimpAnswers) -> Seen:
    if answers.tags is None:
        return UNKNOWN, {"members_with_more_tags_than_listed": 0}
    counted, come = answers.tags
    return judged(holds=come >= counted), {"tags_of_one_member": counted, "received": come}


def unknown_list(answers: MailchimpAnswers) -> Seen:
    answer = answers.unknown_list
    evidence = {"status": answer.status, "has_a_reason": is_problem(answer)}
    return judged(holds=answer.status == NOT_FOUND and is_problem(answer)), evidence
