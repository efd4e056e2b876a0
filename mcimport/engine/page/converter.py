"""What one run converts with: it knows the list's own fields, and asks Mailchimp for what a page does not hold."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import msgspec

from mcimport.convert import (
    MOST_AHEAD,
    UNKNOWN_FIELD,
    UNKNOWN_INTEREST,
    has_permissions,
    has_sms_status,
    lacks_tags,
    make_converter,
    missing_names,
)
from mcimport.engine.page.permissions import check_names, look_at_members
from mcimport.errors import RetriableError, ServiceError, UnforeseenError
from mcimport.models import CANNOT, ContactRules, Conversion, Converted, ListFields, Member, OptedIn, Unsendable
from mcimport.models.timestamps import epoch
from mcimport.services.http import decode_slot
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.mailchimp.list_fields import list_has_permissions, read_list_fields
from mcimport.services.mailchimp.tags import with_all_tags
from mcimport.services.mailchimp.windows import NEVER

CHANGED = frozenset({UNKNOWN_INTEREST, UNKNOWN_FIELD})  # the list was changed since its fields were read
FAILURES = 3  # members in a row whose tags could not be read, after which nobody's are asked for during REST
REST = 60.0  # seconds
MOST_MISTAKES = 20  # members, of one kind, who cannot be converted in a run; or one in a hundred, if that is more
AT_ONCE = 10  # members whose tags are asked for at a time; the account's gate lets as many through as it may

MOST_MET = 1_000  # kinds of members, told apart by the texts of their permissions; a list has one, or a few
MOST_COUNTED = 10  # spans whose subscription events are counted one by one

Convert = Callable[[Member], Conversion]


@dataclass(frozen=True, slots=True)
class EventBudget:
    """How many subscription events a run may cause.

    Attributes:
        limit: more than these are none at all.
        most: about how many members the run will read; no more than `limit` need no counting.
        events: whose opt-ins are events: they are counted beforehand.
    """

    limit: int
    most: int
    events: tuple[OptedIn, ...]


def event_filters(rules: ContactRules, spans: Sequence[OptedIn]) -> tuple[OptedIn, ...]:
    """Whose opt-ins are events when these spans are read; where there are many, one span that holds them all."""
    if rules.subscription_events == "none" or (rules.subscription_events == "new" and rules.new_since is None):
        return ()
    latest = None if rules.until is None else rules.until + MOST_AHEAD  # beyond it no opt-in is an event
    spans = [replace(span, latest=latest) for span in spans]
    if rules.subscription_events == "all":
        spans = [replace(span, opted=None) for span in spans]
    if len(spans) <= MOST_COUNTED:
        return tuple(spans)
    return (
        OptedIn(_earliest([span.since for span in spans]), None, _earliest([span.opted for span in spans]), latest),
    )


def _earliest(moments: Sequence[int | None]) -> int | None:
    known = [moment for moment in moments if moment is not None]
    return min(known) if len(known) == len(moments) else None


def apply_event_limit(
    mailchimp: MailchimpClient, rules: ContactRules, event_budget: EventBudget, warn: Callable[[str], None]
) -> tuple[ContactRules, bool]:
    """The rules, without subscription events where there would be too many: an imported file is no subscriber.

    The second value: such events are kept back.
    """
    if rules.subscription_events == "none" or event_budget.most <= event_budget.limit:
        return rules, False
    try:
        many = sum(mailchimp.count_opted_in(rules.list_key, some) for some in event_budget.events)
    except ServiceError:
        warn("Mailchimp did not say how many subscription events this run would cause, so none are sent")
        return replace(rules, subscription_events="none"), True
    if many <= event_budget.limit:
        return rules, False
    warn(
        f"this run would cause {many:,} subscription events, more than the welcome_limit of {event_budget.limit:,},"
        " so none are sent"
    )
    return replace(rules, subscription_events="none"), True


class LazyListFields:
    """A list's own fields: read when they are first needed, or earlier, beside something else that takes its time.

    Safe to share between threads.

    Args:
        is_asked: ask the list whether it has marketing permissions: it was not read yet, or some were seen, which may
            be switched off now. Else nobody had any, and whoever has some since shows them.
    """

    def __init__(self, mailchimp: MailchimpClient, list_key: str, *, is_asked: bool = False) -> None:
        self._mailchimp = mailchimp
        self._list_key = list_key
        self._is_asked = is_asked
        self._lock = threading.Lock()
        self._known: ListFields | None = None

    def begin(self) -> None:
        """Returns at once. Whoever needs the fields waits for them, or tries anew if this failed."""

        def read() -> None:
            with suppress(Exception):  # told by whoever needs them, if it happens to them, too
                self.read()

        with suppress(RuntimeError):  # no thread is to be had
            threading.Thread(target=read, name="fields", daemon=True).start()

    def read(self, *, anew: bool = False) -> ListFields:
        """Raises what Mailchimp raises."""
        with self._lock:
            if self._known is None or anew:
                self._known = self._read()
            return self._known

    def _read(self) -> ListFields:
        if not self._is_asked:
            return replace(read_list_fields(self._mailchimp, self._list_key), has_permissions=False)
        with ThreadPoolExecutor(1, thread_name_prefix="permissions") as pool:
            has_some = pool.submit(list_has_permissions, self._mailchimp, self._list_key)
            fields = read_list_fields(self._mailchimp, self._list_key)
            return replace(fields, has_permissions=has_some.result())


class RunConverter:
    """Converts the members of one run; safe to share between threads.

    `is_silenced`: there were more subscription events than the limit allows, and none, or no more, were caused.

    The list's fields are read when the first member comes, and once more, in the whole run, when a member has an
    interest or a merge field that the list did not name then. Raises what Mailchimp raises for the first reading, and
    ConfigError when a list has marketing permissions and none of them has a name that is configured.

    From the first page on that shows an SMS status, the list is one where somebody has one. Of a list where that is not
    remembered, members converted before keep their merge field's number; a yes that Ometria holds of one of them, from
    a time that the state file does not know, passes to it, until `reconcile --mend` takes it back.
    """

    def __init__(
        self,
        mailchimp: MailchimpClient,
        fields: LazyListFields,
        rules: ContactRules,
        event_budget: EventBudget,
        warn: Callable[[str], None],
    ) -> None:
        self._mailchimp = mailchimp
        self._fields = fields
        self._rules = rules
        self._event_budget = event_budget
        self._warn = warn
        self._lock = threading.Lock()
        self._convert: Convert | None = None
        self.is_silenced = False  # an opt-in was sent, or will be, without its event
        self._is_fresh = False  # the fields were read a second time
        self._met: set[tuple[str, ...]] = set()  # the permissions of members, as texts
        self._has_permissions = False  # members show some, whatever the list says
        self._shown: frozenset[str] | None = None  # what others show, once they were looked at
        self._events = itertools.count(1)
        self._failures = 0
        self._rests_until = 0.0
        self._converted = 0
        self._mistakes: Counter[str] = Counter()

    @contextmanager
    def fetch_missing_tags(self, members: list[Member]) -> Iterator[Callable[[], list[Member]]]:
        """Takes out of a page those who have more tags than it lists, fifty at most, and asks for all of theirs.

        What is yielded waits for the answers and gives these members back. One whose tags cannot be had comes back as
        they were. Who has no address is not carried, and not asked about.
        """
        if not self._rules.has_sms and any(map(has_sms_status, members)):
            self.note_sms()
        lacking = [one for one in members if lacks_tags(one) and one.email_address]
        if not lacking:
            yield list
            return
        apart = set(map(id, lacking))
        members[:] = [one for one in members if id(one) not in apart]
        pool = ThreadPoolExecutor(min(AT_ONCE, len(lacking)), thread_name_prefix="tags")
        is_long = len(lacking) > AT_ONCE  # more than one round: who leaves meanwhile does not go on asking
        asked = [pool.submit(self._with_tags, one, is_long=is_long) for one in lacking]

        def late() -> list[Member]:
            with decode_slot.released():
                return [one.result() for one in asked]

        try:
            yield late
        finally:
            with decode_slot.released():
                pool.shutdown(cancel_futures=True)

    def note_sms(self) -> None:
        """From here on no merge field's number becomes `phone_number`, for somebody has an SMS status."""
        if self._rules.has_sms:
            return
        with decode_slot.released(), self._lock:  # who reads the list's fields now holds the lock for long
            self._rules = replace(self._rules, has_sms=True)
            if self._convert is not None:
                self._convert = self._made(self._fields.read())

    @property
    def has_sms(self) -> bool:
        """Somebody on the list has an SMS status, as far as is known by now."""
        return self._rules.has_sms

    def __call__(self, member: Member, new_since: int | None = None) -> Conversion:
        """Converts a member; `new_since`: an opt-in before that is no event of theirs, whatever the rules say."""
        if not self._rules.has_sms and has_sms_status(member):
            self.note_sms()
        convert = self._convert or self._begun()
        converted = convert(member)
        self._converted += 1
        if not isinstance(converted, Converted):
            if isinstance(converted, Unsendable) and converted.reason.startswith(CANNOT):
                self._note_mistake(converted.reason)
            return converted
        if converted.permissions and converted.permissions not in self._met:
            convert = self._meet(converted.permissions)
        if converted.warnings and not CHANGED.isdisjoint(converted.warnings):
            fresh = self._read_anew(convert)
            if fresh is not convert:
                convert, converted = fresh, fresh(member)
        if isinstance(converted, Converted) and (subscribed := converted.contact.timestamp_subscribed) is not None:
            return self._counted(converted) if self._is_new(subscribed, new_since) else _silent(converted)
        return converted

    def _note_mistake(self, reason: str) -> None:
        """One member who trips a mistake of ours is a dead letter; so many are the mistake's, and it fails the run."""
        self._mistakes[reason] += 1
        if self._mistakes[reason] > max(MOST_MISTAKES, self._converted // 100):
            raise UnforeseenError(f"too many members {reason}: this is a bug in mcimport, not bad data")

    def _is_new(self, subscribed: str, new_since: int | None) -> bool:
        if new_since is None or (self._rules.subscription_events == "all" and new_since != NEVER):
            return True
        return (epoch(subscribed) or 0) >= new_since

    def _begun(self) -> Convert:
        with decode_slot.released(), self._lock:  # the first waits for Mailchimp, and others for the first
            if self._convert is None:
                self._rules, is_silenced = apply_event_limit(
                    self._mailchimp, self._rules, self._event_budget, self._warn
                )
                self.is_silenced |= is_silenced
                fields = self._fields.read()
                self._has_permissions = self._shows_permissions(fields)
                if self._has_permissions:
                    self._check_names(self._rules.permissions)
                self._convert = self._made(fields)
            return self._convert

    def _made(self, fields: ListFields) -> Convert:
        return make_converter(replace(fields, has_permissions=self._has_permissions), self._rules)

    def _shows_permissions(self, fields: ListFields) -> bool:
        """Where neither the list nor an earlier run says, members are looked at before the first is opted in."""
        if fields.has_permissions is None and not self._rules.permissions:
            self._shown = look_at_members(self._mailchimp, self._rules.list_key, 1).texts
            return bool(self._shown)
        return has_permissions(fields, self._rules)

    def _meet(self, texts: tuple[str, ...]) -> Convert:
        """Whoever has other permissions than those before: from now on, who shows none has given none."""
        with decode_slot.released(), self._lock:
            self._check_names(texts)
            if not self._has_permissions:
                self._has_permissions = True
                self._convert = self._made(self._fields.read())
            if len(self._met) >= MOST_MET:
                self._met.clear()
            self._met.add(texts)
            assert self._convert is not None  # noqa: S101 - it made the contact that has these
            return self._convert

    def _check_names(self, texts: Iterable[str]) -> None:
        """Raises ConfigError for a name that is neither among these texts nor among those of other members.

        Where nobody can be looked at, none is called wrong: without the permission nobody is opted in anyway.
        """
        if not missing_names(self._rules.permission, texts):
            return
        if self._shown is None:
            try:
                self._shown = look_at_members(self._mailchimp, self._rules.list_key, 1).texts
            except ServiceError:
                return
        check_names(self._rules, self._shown.union(texts))

    def _read_anew(self, stale: Convert) -> Convert:
        """Once a run: what is unknown then, too, the list does not name. A reading that fails changes nothing."""
        with decode_slot.released(), self._lock:
            if not self._is_fresh:
                self._is_fresh = True
                with suppress(ServiceError):
                    self._convert = self._made(self._fields.read(anew=True))
            return self._convert or stale

    def _with_tags(self, member: Member, *, is_long: bool) -> Member:
        if is_long:
            self._mailchimp.check_not_stopped()  # the page will be read again
        if time.monotonic() < self._rests_until:
            return member
        try:
            whole = with_all_tags(self._mailchimp, self._rules.list_key, member)
        except RetriableError:
            self._failures += 1
            if self._failures >= FAILURES:
                self._rests_until = time.monotonic() + REST
            return member
        except ServiceError:  # deleted meanwhile, or a right that is missing: tags are no reason to fail
            return member
        self._failures = 0
        return whole

    def _counted(self, converted: Converted) -> Conversion:
        """The last word on the limit, for counts have been seen to lie: whoever comes after it is not welcomed."""
        if next(self._events) <= self._event_budget.limit:
            return converted
        self.is_silenced = True
        self._warn(
            f"more subscription events than Mailchimp counted: none are sent beyond the {self._event_budget.limit:,}"
            " that welcome_limit allows"
        )
        return _silent(converted)


def _silent(converted: Converted) -> Converted:
    contact = msgspec.structs.replace(converted.contact, timestamp_subscribed=None)
    return msgspec.structs.replace(converted, contact=contact)
