"""What one run converts with: it knows the list's own fields, and asks Mailchimp for what a page does not hold."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from mcimport.convert import lacks_tags, make_converter
from mcimport.errors import MissingError, RetriableError
from mcimport.mailchimp import Mailchimp
from mcimport.models import ContactRules, Conversion, Converted, Member, OptedInSince
from mcimport.windows import OVERLAP

CHANGED = frozenset({"unknown interest", "unknown merge field"})  # the list was changed since its fields were read
MOST_FAILURES = 3  # members whose tags could not be read, after which no more are asked for

Convert = Callable[[Member], Conversion]


@dataclass(frozen=True, slots=True)
class Welcome:
    """How many subscription events a run may cause.

    Attributes:
        limit: more than these are none at all.
        most: about how many members the run will read; no more than `limit` need no counting.
        events: whom to count.
    """

    limit: int
    most: int
    events: OptedInSince


def events_ahead(rules: ContactRules, sync_point: int | None, since: int | None) -> OptedInSince:
    """Whose opt-in would be new to Ometria in a run from `since` on: who opted in earlier was sent with their time."""
    new = rules.first_sync_at if rules.subscription_events == "new" else None
    carried = None if sync_point is None else sync_point - OVERLAP
    return OptedInSince(since, max((moment for moment in (new, carried) if moment is not None), default=None))


class RunConverter:
    """Converts the members of one run; safe to share between threads.

    The list's fields are read when the first member comes, and once more, in the whole run, when a member has an
    interest or a merge field that the list did not name then. Raises what Mailchimp raises for the fields.
    """

    def __init__(
        self, mailchimp: Mailchimp, rules: ContactRules, welcome: Welcome, warn: Callable[[str], None]
    ) -> None:
        self._mailchimp = mailchimp
        self._rules = rules
        self._welcome = welcome
        self._warn = warn
        self._lock = threading.Lock()
        self._convert: Convert | None = None
        self._is_fresh = False  # the fields were read a second time
        self._failures = 0

    def __call__(self, member: Member) -> Conversion:
        convert = self._convert or self._begun()
        if lacks_tags(member) and member.email_address:
            member = self._with_tags(member)
        converted = convert(member)
        if isinstance(converted, Converted) and converted.warnings and not CHANGED.isdisjoint(converted.warnings):
            return self._read_anew(convert)(member)
        return converted

    def _begun(self) -> Convert:
        with self._lock:
            if self._convert is None:
                self._rules = self._allowed()
                self._convert = self._read()
            return self._convert

    def _read(self) -> Convert:
        return make_converter(self._mailchimp.list_fields(self._rules.list_key), self._rules)

    def _read_anew(self, stale: Convert) -> Convert:
        """Once a run: what is unknown then as well is nothing that the list names."""
        with self._lock:
            if not self._is_fresh and self._convert is stale:
                self._is_fresh = True
                self._convert = self._read()
            return self._convert or stale

    def _with_tags(self, member: Member) -> Member:
        """A page lists fifty tags of a member at most. One whose tags cannot be had goes without them."""
        if self._failures >= MOST_FAILURES:
            return member
        try:
            return self._mailchimp.with_all_tags(self._rules.list_key, member)
        except MissingError:  # deleted since the page was written
            return member
        except RetriableError:
            self._failures += 1
            return member

    def _allowed(self) -> ContactRules:
        """The rules, without subscription events where there would be too many: an imported file is no subscriber."""
        welcome, rules = self._welcome, self._rules
        if rules.subscription_events == "none" or welcome.most <= welcome.limit:
            return rules
        try:
            many = self._mailchimp.count_opted_in(rules.list_key, welcome.events)
        except RetriableError:
            self._warn("Mailchimp does not say how many subscription events this run would cause: it causes none")
            return replace(rules, subscription_events="none")
        if many <= welcome.limit:
            return rules
        self._warn(
            f"this run would cause {many:,} subscription events, more than the welcome_limit of {welcome.limit:,}:"
            " it causes none"
        )
        return replace(rules, subscription_events="none")
