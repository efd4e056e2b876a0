"""The values that the rooms hand to each other: frozen, without behaviour that needs a service or a file.

Times are whole seconds since the epoch, UTC, unless a name says otherwise: that is Mailchimp's resolution.
A span of time is `(since, until]`: after `since` (None: from the beginning), up to and including `until`.

What there is one of for every member is not watched by the garbage collector (`gc=False`): nothing in it leads back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import msgspec

from mcimport.models.timestamps import epoch

Sweep = Literal["listed", "archived"]
SWEEPS: tuple[Sweep, ...] = ("listed", "archived")
RunKind = Literal["full", "incremental", "replay", "reconcile"]
RunStatus = Literal["running", "completed", "interrupted", "failed", "abandoned"]
WindowStatus = Literal["pending", "done", "dead"]
LetterKind = Literal["window", "contact"]
Cause = Literal["transport", "refusal"]
Precision = Literal["exactly", "about", "at least"]
OptIn = Literal["EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"]
SubscriptionEvents = Literal["new", "all", "none"]
WithoutPermission = Literal["out", "unspecified"]


class Member(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A Mailchimp audience member, as far as it is used. Any field may be absent, null or of another type.

    The field names are Mailchimp's (Marketing API v3, `GET /lists/{list_id}/members`). The MD5 `id` is
    left out on purpose: it is the address in disguise, and changes with it.
    """

    contact_id: Any = None
    web_id: Any = None
    email_address: Any = None
    status: Any = None
    merge_fields: Any = None
    interests: Any = None
    timestamp_signup: Any = None
    timestamp_opt: Any = None
    member_rating: Any = None
    last_changed: Any = None
    language: Any = None
    vip: Any = None
    location: Any = None
    source: Any = None
    tags_count: Any = None
    tags: Any = None
    sms_phone_number: Any = None
    sms_subscription_status: Any = None
    marketing_permissions: Any = None


class SmsChannel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Consent to marketing by text message; belongs to the contact's `phone_number`."""

    allow_marketing: bool | None = None


class Channels(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A contact's consents by channel."""

    sms: SmsChannel | None = None


class Contact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An Ometria contact record (Data API v2). What is None is not sent, so that Ometria keeps what it has."""

    type_: str = msgspec.field(name="@type")
    collection: str = msgspec.field(name="@collection")
    id: str
    email: str | None = None
    marketing_optin: OptIn | None = None
    force_optin: bool | None = msgspec.field(name="@force_optin", default=None)
    customer_id: str | None = None
    prefix: str | None = None
    firstname: str | None = None
    middlename: str | None = None
    lastname: str | None = None
    gender: str | None = None
    date_of_birth: str | None = None
    phone_number: str | None = None
    country_id: str | None = None
    timezone: str | None = None
    timestamp_acquired: str | None = None
    timestamp_subscribed: str | None = None
    timestamp_unsubscribed: str | None = None
    channels: Channels | None = None
    properties: dict[str, Any] = msgspec.field(default_factory=dict)


class HeldContact(msgspec.Struct, frozen=True, kw_only=True):
    """A contact as Ometria gives it back, as far as it is compared. Any field may be absent or of another type.

    `channels`: consent by channel, `{"sms": {"allow_marketing": true}}`.
    """

    collection: Any = msgspec.field(name="@collection", default=None)
    id: Any = None
    email: Any = None
    marketing_optin: Any = None
    prefix: Any = None
    firstname: Any = None
    middlename: Any = None
    lastname: Any = None
    phone_number: Any = None
    channels: Any = None


@dataclass(frozen=True, slots=True)
class MergeField:
    """One of a list's own fields. `type` is Mailchimp's word: text, number, address, phone, date, birthday, zip, …"""

    tag: str
    type: str
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListFields:
    """What a list says of its own fields: merge fields by tag, the names of interests by id.

    `has_permissions`: whether it has marketing permissions (GDPR fields); None where it does not say.
    """

    merge_fields: Mapping[str, MergeField] = field(default_factory=dict)
    interests: Mapping[str, str] = field(default_factory=dict)
    has_permissions: bool | None = None


@dataclass(frozen=True, slots=True)
class ContactRules:
    """How one client's members become contacts.

    Attributes:
        list_key: the Mailchimp list; stands in front of every contact's id.
        collection: Ometria's `@collection`, with `{list_key}` and `{client}` already filled in.
        fields: merge tag to contact field, `properties.NAME`, or "" for "leave out".
        consent: `cleaned`, `archived`, `pending`, `transactional` to "out", "unspecified" or "keep".
        permission: names of the marketing permissions without which nobody is opted in, where a list has any; all of
            them are needed, so without a name none is.
        without_permission: what becomes of a subscribed member who lacks one of these.
        subscription_events: for whom `timestamp_subscribed` is sent.
        force_optin: send `@force_optin: true` with every opt-in and opt-out; only when an operator asked for it.
        new_since: who opted in at this second or later is new; None: nobody is.
        until: the last second that the run reads; nobody opted in later than that, or than their own last change.
            None: not known (of a member that is only shown, say).
        has_sms: somebody on the list has, or had, an SMS status.
        permissions: the texts of the list's marketing permissions, as far as they are known; empty: it has none.
    """

    list_key: str
    collection: str = "mailchimp"
    fields: Mapping[str, str] = field(default_factory=dict)
    consent: Mapping[str, str] = field(default_factory=dict)
    permission: tuple[str, ...] = ("Email",)
    without_permission: WithoutPermission = "unspecified"
    subscription_events: SubscriptionEvents = "new"
    force_optin: bool = False
    new_since: int | None = None
    until: int | None = None
    has_sms: bool = False
    permissions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class OptedIn:
    """Subscribed members who changed last in the span `(since, until]` and opted in from `opted` to `latest`.

    None: no bound on that side.
    """

    since: int | None = None
    until: int | None = None
    opted: int | None = None
    latest: int | None = None


class Converted(msgspec.Struct, frozen=True, gc=False):
    """A contact, and what a person should know of how it came about. (A Struct, for there is one for every member.)

    Attributes:
        contact: what is sent.
        warnings: short words without personal data, the same for the same cause (they are counted once a run).
        remarks: keys of `remarks.REMARKS`; the members on whom each was made are counted.
        notes: field name to why it was left out or changed; shown by `preview` alone.
        permissions: the texts of the marketing permissions that the member has, given or not.
    """

    contact: Contact
    warnings: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A member who cannot be carried and is counted: one without any address (SMS only)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unsendable:
    """A member who needs a person's hand: becomes a dead letter of its own. `reason` holds no personal data."""

    reason: str


Conversion = Converted | Skipped | Unsendable


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a run has learned of Mailchimp's bounds; False means "not seen yet", which is asked for safely.

    Attributes:
        since_includes: `since_last_changed` was seen to include the second it names.
        before_includes: `before_last_changed` was seen to include the second it names.
    """

    since_includes: bool = False
    before_includes: bool = False

    def __or__(self, other: Bounds) -> Bounds:
        return Bounds(self.since_includes or other.since_includes, self.before_includes or other.before_includes)


@dataclass(frozen=True, slots=True)
class Window:
    """The span `(since, until]` of one sweep: a piece of work that means the same now and in a year.

    Attributes:
        number: its place in the run, from 0.
        sweep: members on the list, or the archived.
        offset, count: where it was cut and about how many it held then; for the reader of the log.
        through: how far it has come: everybody in `(since, through]` is accounted for.
        page: members asked for at once; the size that works.
        suspect: a page could not be read: the cause is among the next so many members (0: nothing is suspected).
        bounds: what was learned of the API's bounds.
        letter_id: the dead letter that this window replays.
        only: replay this member (its id of ours, without the list) and nobody else.
        new_since: of its members only those who opted in at this second or later are new; None: as in the whole run.
    """

    number: int
    sweep: Sweep
    since: int | None
    until: int
    page: int = 1000
    suspect: int = 0
    offset: int = 0
    count: int = 0
    through: int | None = None
    bounds: Bounds = Bounds()
    letter_id: int | None = None
    only: str | None = None
    new_since: int | None = None

    @property
    def start(self) -> int | None:
        """Where the part that is not accounted for begins (exclusive)."""
        return self.since if self.through is None else self.through


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of Mailchimp's: the members, how many the filter matches, and the server's clock.

    Attributes:
        asked: how many members were asked for.
        settled: the last second that was surely over, by the server's clock, when the page was asked for.
        at_most: the server's second, at the latest, when the page was asked for: who opted in later is new.
        glanced: only counted, and nobody of it is here: a first page that could not be read.
        clock_warning: what is odd about the clocks; empty when nothing is.
        moments: the members' `last_changed`, one by one; None where that is no time.
    """

    members: tuple[Member, ...]
    total: int
    asked: int = 0
    settled: int = 0
    at_most: int = 0
    clock_warning: str = ""
    glanced: bool = False
    moments: tuple[int | None, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Worked out here, once: all that is decided about a page is decided by these.
        object.__setattr__(self, "moments", tuple(epoch(member.last_changed) for member in self.members))


CANNOT = "cannot be converted"
"""How the reason of a dead letter begins that a mistake of ours left: an upgrade mends it."""

Unsent = tuple[int | None, int, int]
"""A span `(since, until]` that was not sent, and from when on an opt-in in it is new."""


@dataclass(frozen=True, slots=True)
class NewLetter:
    """A dead letter to be: a span that could not be read, or a member who could not be sent.

    `is_no`: what was refused is an opt-out, which is tried again first.
    `members`: how many it is about; None: nothing was seen of them.
    """

    kind: LetterKind
    cause: Cause
    sweep: Sweep
    since: int | None
    until: int | None
    reason: str
    member_id: str | None = None
    is_no: bool = False
    members: int | None = None
    precision: Precision = "about"


@dataclass(frozen=True, slots=True)
class Costs:
    """Requests by service, and seconds by what they were spent on, summed over the threads that spent them.

    Attributes:
        mailchimp_retries, ometria_retries: tries after the first that failed; they are among the requests.
        mailchimp_throttled, ometria_throttled: answers that said "too many" or "queue full".
        waited_mailchimp, waited_ometria: for answers (and for a free connection), and between two tries.
        waited_limiter: for a turn in the account's pace.
        converting: members to encoded contacts.
    """

    mailchimp_requests: int = 0
    mailchimp_retries: int = 0
    mailchimp_throttled: int = 0
    ometria_requests: int = 0
    ometria_retries: int = 0
    ometria_throttled: int = 0
    waited_mailchimp: float = 0.0
    waited_ometria: float = 0.0
    waited_limiter: float = 0.0
    converting: float = 0.0

    def __sub__(self, before: Costs) -> Costs:
        return Costs(*(getattr(self, one.name) - getattr(before, one.name) for one in fields(self)))


@dataclass(frozen=True, slots=True)
class LookUps:
    """How many members were looked up in Ometria, or may be.

    Attributes:
        consents: of whom it was asked whether there is a no that must not be lifted.
        dates: of whom it was asked whether there is a no already, whose date must stay.
    """

    consents: int = 0
    dates: int = 0

    def __add__(self, more: LookUps) -> LookUps:
        return LookUps(self.consents + more.consents, self.dates + more.dates)

    def less(self, used: LookUps) -> LookUps:
        """What is left; never below nothing."""
        return LookUps(max(0, self.consents - used.consents), max(0, self.dates - used.dates))


Sample = tuple[tuple[float, str], ...]
"""A few of those who were pushed: a random number (the lowest are kept), and the id of ours without the list."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one page of a window. The thread that owns the state file writes it down.

    Attributes:
        window: as it was handed in.
        rest: what is left of the window; None when it is over.
        letters: spans and members that go to the dead letters.
        delivered: ids (of ours) of members with an open letter who were delivered this time.
        gone: the one member whom this window looked for is not there any more.
        lacking: of a dry run's contacts, how many have no country, phone, name: pairs of a word and a number.
        unsendable: how many members could not be sent: pairs of a reason and a number.
        failed: the page could not be moved (one of a row that tells a dead service).
        warnings: counted once a run.
        remarks: how many members a remark was made on: pairs of a key of `remarks.REMARKS` and a number.
        has_sms: one of the members has an SMS status.
        permissions: the texts of the marketing permissions that the members have, given or not.
        looked_up: how many members were looked up in Ometria.
        sample: a few of those who were pushed, by chance, for a spot check.
        began: when the work on this page began; seconds since the epoch, UTC.
        seconds: how long it took.
        costs: what of that was spent on what, in the thread that did it.
    """

    window: Window
    rest: Window | None = None
    members: int = 0
    skipped: int = 0
    pushed: int = 0
    rejected: int = 0
    optins: int = 0
    optouts: int = 0
    events: int = 0
    lacking: tuple[tuple[str, int], ...] = ()
    unsendable: tuple[tuple[str, int], ...] = ()
    letters: tuple[NewLetter, ...] = ()
    delivered: tuple[str, ...] = ()
    gone: bool = False
    failed: bool = False
    warnings: tuple[str, ...] = ()
    remarks: tuple[tuple[str, int], ...] = ()
    has_sms: bool = False
    permissions: tuple[str, ...] = ()
    looked_up: LookUps = LookUps()
    sample: Sample = ()
    began: int = 0
    seconds: float = 0.0
    costs: Costs = Costs()
