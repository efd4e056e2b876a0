"""The subscription events of one run: which opt-ins cause them, and how many of them are too many."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from mcimport.convert import MOST_AHEAD
from mcimport.errors import ServiceError
from mcimport.models import ContactRules, OptedIn
from mcimport.services.mailchimp.client import MailchimpClient

MOST_COUNTED = 10  # spans whose subscription events are counted one by one


class EventBudget(Struct, frozen=True):
    """Limits the subscription events of one run.

    Attributes:
        limit: a run that would cause more events than these causes none.
        most: about how many members the run will read; no more than `limit` need no counting.
        events: filters for the members whose opt-ins are events: Mailchimp counts them beforehand.
    """

    limit: int
    most: int
    events: tuple[OptedIn, ...]


def event_filters(rules: ContactRules, spans: Sequence[OptedIn]) -> tuple[OptedIn, ...]:
    """Returns filters for the members whose opt-ins are events when these spans are read.

    Where there are many spans, one that holds them all, which may count too many.
    """
    if rules.subscription_events == "none" or (rules.subscription_events == "new" and rules.new_since is None):
        return ()
    latest = None if rules.until is None else rules.until + MOST_AHEAD  # beyond it no opt-in is an event
    spans = [replace(span, latest=latest) for span in spans]
    if rules.subscription_events == "all":
        spans = [replace(span, opted=None) for span in spans]
    if len(spans) <= MOST_COUNTED:
        return tuple(spans)
    since, opted = _earliest([span.since for span in spans]), _earliest([span.opted for span in spans])
    return (OptedIn(since, None, opted, latest),)


def _earliest(moments: Sequence[int | None]) -> int | None:
    return None if None in moments else min(moment for moment in moments if moment is not None)


def apply_event_limit(
    mailchimp: MailchimpClient, rules: ContactRules, event_budget: EventBudget, warn: Callable[[str], None]
) -> tuple[ContactRules, bool]:
    """Returns the rules, without subscription events where there would be too many, and whether they are kept back.

    So many opt-ins at once are an imported file, and no new subscribers.
    """
    if rules.subscription_events == "none" or event_budget.most <= event_budget.limit:
        return rules, False
    try:
        count = sum(mailchimp.count_opted_in(rules.list_key, opted_in) for opted_in in event_budget.events)
    except ServiceError:
        warn("Mailchimp did not say how many subscription events this run would cause, so none are sent")
        return replace(rules, subscription_events="none"), True
    if count <= event_budget.limit:
        return rules, False
    warn(
        f"this run would cause {count:,} subscription events, more than the welcome_limit of {event_budget.limit:,},"
        " so none are sent"
    )
    return replace(rules, subscription_events="none"), True
