"""The conversion of one run: it reads the list's own fields, and asks Mailchimp for what a page does not hold."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from mcimport.convert import (
    UNKNOWN_FIELD,
    UNKNOWN_INTEREST,
    has_permissions,
    has_sms_status,
    lacks_tags,
    make_converter,
    missing_names,
)
from mcimport.engine.page.list_fields import LazyListFields
from mcimport.engine.page.permissions import check_names, look_at_members
from mcimport.engine.page.subscription_events import EventBudget, apply_event_limit
from mcimport.errors import RetriableError, ServiceError, UnforeseenError
from mcimport.models import CANNOT, ContactRules, Conversion, Converted, ListFields, Member, Unsendable
from mcimport.models.timestamps import epoch
from mcimport.services.http import decode_slot
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.mailchimp.windows import NEVER

CHANGED = frozenset({UNKNOWN_INTEREST, UNKNOWN_FIELD})  # the list was changed since its fields were read
FAILURES = 3  # members in a row whose tags could not be read, after which none are asked for during REST seconds
REST = 60.0  # seconds
MOST_MISTAKES = 20  # members of a run who cannot be converted for one reason; or one in a hundred, if that is more
AT_ONCE = 10  # members whose tags are asked for at a time, within the account's connection limit

MOST_MET = 1_000  # different sets of permissions that members show; a list has one, or a few

_Convert = Callable[[Member], Conversion]


@dataclass(eq=False)
class RunConverter:
    """Converts the members of one run; safe to share between threads.

    The list's fields are read for the first member, and once more in a run when a member has an interest or a merge
    field that the list did not name then. Raises what Mailchimp raises for the first reading, and ConfigError when a
    list has marketing permissions and none of them has a name that is configured.

    An SMS status on any page counts for the whole list from then on: no merge field's number becomes `phone_number`
    then. Where the state file does not know of one, members converted before that page keep their merge field's number;
    a yes to text messages that Ometria holds for one of them, from before the state file, passes to that number until
    `reconcile --mend` takes it back.

    Attributes:
        is_silenced: an opt-in was sent, or will be, without its event, because there were more events than the limit.
    """

    _mailchimp: MailchimpClient
    _fields: LazyListFields
    _rules: ContactRules
    _event_budget: EventBudget
    _warn: Callable[[str], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _convert: _Convert | None = None
    is_silenced: bool = False
    _is_fresh: bool = False  # the fields were read a second time
    _met: set[tuple[str, ...]] = field(default_factory=set)  # the permissions of members, as texts
    _has_permissions: bool = False  # members show some, whatever the list says
    _shown: frozenset[str] | None = None  # what others show, once they were looked at
    _events: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _failures: int = 0
    _rests_until: float = 0.0
    _converted: int = 0
    _mistakes: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def fetch_missing_tags(self, members: list[Member]) -> Iterator[Callable[[], list[Member]]]:
        """Takes the members with more tags than a page lists (fifty) out of it, and asks for all of their tags.

        What is yielded waits for the answers and returns these members; one whose tags cannot be had comes back
        unchanged. Members without an address are not imported, so they are not asked about.
        """
        if not self._rules.has_sms and any(map(has_sms_status, members)):
            self.note_sms()
        lacking = [member for member in members if lacks_tags(member) and member.email_address]
        if not lacking:
            yield list
            return
        apart = set(map(id, lacking))
        members[:] = [member for member in members if id(member) not in apart]
        pool = ThreadPoolExecutor(min(AT_ONCE, len(lacking)), thread_name_prefix="tags")
        is_long = len(lacking) > AT_ONCE  # more than one round: a process that is asked to leave does not go on asking
        asked = [pool.submit(self._with_tags, member, is_long=is_long) for member in lacking]
        pool.shutdown(wait=False)  # its threads end with the last answer, not with the last push

        def late() -> list[Member]:
            with decode_slot.released():
                return [future.result() for future in asked]

        try:
            yield late
        finally:
            for future in asked:
                future.cancel()
            with decode_slot.released():
                wait(asked)

    def note_sms(self) -> None:
        """Notes that a member has an SMS status: no merge field's number becomes `phone_number` from now on."""
        if self._rules.has_sms:
            return
        with decode_slot.released(), self._lock:  # a thread that reads the list's fields holds the lock for long
            self._rules = replace(self._rules, has_sms=True)
            if self._convert is not None:
                self._convert = self._made(self._fields.read())

    @property
    def has_sms(self) -> bool:
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
        """Counts a member who cannot be converted because of a mistake of ours.

        A few become dead letters. Raises UnforeseenError where they are many: then the mistake fails the run.
        """
        self._mistakes[reason] += 1
        if self._mistakes[reason] > max(MOST_MISTAKES, self._converted // 100):
            raise UnforeseenError(f"too many members {reason}: this is a bug in mcimport, not bad data")

    def _is_new(self, subscribed: str, new_since: int | None) -> bool:
        if new_since is None or (self._rules.subscription_events == "all" and new_since != NEVER):
            return True
        return (epoch(subscribed) or 0) >= new_since

    def _begun(self) -> _Convert:
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

    def _made(self, fields: ListFields) -> _Convert:
        return make_converter(replace(fields, has_permissions=self._has_permissions), self._rules)

    def _shows_permissions(self, fields: ListFields) -> bool:
        """Says whether the list has marketing permissions.

        Where neither the list nor an earlier run tells, some members are looked at before the first is opted in.
        """
        if fields.has_permissions is None and not self._rules.permissions:
            self._shown = look_at_members(self._mailchimp, self._rules.list_key, 1).texts
            return bool(self._shown)
        return has_permissions(fields, self._rules)

    def _meet(self, texts: tuple[str, ...]) -> _Convert:
        """Notes permissions that no member showed before: from now on, a member who shows none has given none.

        Returns what converts from now on.
        """
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
        """Raises ConfigError for a configured name that is neither among these texts nor among other members' texts.

        Not where no member can be looked at: without the permission no member is opted in anyway.
        """
        if not missing_names(self._rules.permission, texts):
            return
        if self._shown is None:
            try:
                self._shown = look_at_members(self._mailchimp, self._rules.list_key, 1).texts
            except ServiceError:
                return
        check_names(self._rules, self._shown.union(texts))

    def _read_anew(self, stale: _Convert) -> _Convert:
        """Reads the list's fields again, once a run: what is unknown then, too, the list does not name.

        A reading that fails changes nothing.
        """
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
            whole = self._mailchimp.with_all_tags(self._rules.list_key, member)
        except RetriableError:
            self._failures += 1
            if self._failures >= FAILURES:
                self._rests_until = time.monotonic() + REST
            return member
        except ServiceError:  # the member was deleted meanwhile, or a right is missing: no reason to fail
            return member
        self._failures = 0
        return whole

    def _counted(self, converted: Converted) -> Conversion:
        """Counts an opt-in's event, and drops the event once the limit is reached: counts have been seen to lie."""
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
