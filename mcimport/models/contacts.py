"""Members as Mailchimp shows them, contacts as Ometria takes them, and the rules between the two: frozen values.

Times are whole seconds since the epoch, UTC, unless a name says otherwise: that is Mailchimp's resolution.
Values of which each member has one are not tracked by the garbage collector (`gc=False`): they form no cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

OptIn = Literal["EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"]
SubscriptionEvents = Literal["new", "all", "none"]
WithoutPermission = Literal["out", "unspecified"]

CONTACT_FIELDS = (
    "firstname",
    "lastname",
    "middlename",
    "prefix",
    "gender",
    "date_of_birth",
    "phone_number",
    "country_id",
    "timezone",
    "customer_id",
)
"""What a merge field can be mapped to in `[fields]`, beside `properties.NAME` and "" for "left out"."""


class Member(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Holds what is used of a Mailchimp audience member. Any field may be absent, null or of another type.

    The field names are Mailchimp's (Marketing API v3, `GET /lists/{list_id}/members`). The MD5 `id` is
    left out on purpose: it stands for the address, and changes with it.
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
    sms: SmsChannel | None = None


class Contact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Holds an Ometria contact record (Data API v2). What is None is not sent, so that Ometria keeps what it has.

    (Facts ometria-left-out and, for `properties`, ometria-property.)
    """

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
    """Holds what is compared of a contact that Ometria returns. Any field may be absent or of another type.

    (Facts ometria-fields, ometria-words.)

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


class MergeField(Struct, frozen=True):
    """Describes one of a list's own fields. `type` is Mailchimp's: text, number, address, phone, date, birthday, …"""

    tag: str
    type: str
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


class ListFields(Struct, frozen=True):
    """Describes a list's own fields: merge fields by tag, the names of interests by id.

    `has_permissions`: whether the list has marketing permissions (GDPR fields); None where Mailchimp does not say.
    """

    merge_fields: Mapping[str, MergeField] = field(default_factory=dict)
    interests: Mapping[str, str] = field(default_factory=dict)
    has_permissions: bool | None = None


class ContactRules(Struct, frozen=True):
    """Says how one client's members become contacts.

    Attributes:
        list_key: the Mailchimp list; every contact's id begins with it.
        collection: Ometria's `@collection`, with `{list_key}` and `{client}` already filled in.
        fields: merge tag to contact field, `properties.NAME`, or "" for "leave out".
        consent: `cleaned`, `archived`, `pending`, `transactional` to "out", "unspecified" or "keep".
        permission: names of the marketing permissions without which no member is opted in, where a list has any; all
            of them are needed, so without a name none is.
        without_permission: what a subscribed member becomes who has not given one of these.
        subscription_events: for whom `timestamp_subscribed` is sent.
        force_optin: send `@force_optin: true` with every opt-in and opt-out; only when an operator asked for it.
        new_since: members who opted in at this second or later are new; None: none is.
        until: the last second that the run reads; no member opted in later than that, or than their own last change.
            None: not known (in a preview, say).
        has_sms: a member of the list has, or had, an SMS status.
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


class OptedIn(Struct, frozen=True):
    """Selects the subscribed members who changed last in `(since, until]` and opted in from `opted` to `latest`.

    None: no bound on that side.
    """

    since: int | None = None
    until: int | None = None
    opted: int | None = None
    latest: int | None = None


class Converted(msgspec.Struct, frozen=True, gc=False):
    """Holds the contact that a member became, and what an operator should know of it. (A Struct, for its speed.)

    Attributes:
        contact: what is sent.
        warnings: short texts without personal data, the same for the same cause (each is shown once a run).
        remarks: keys of `remarks.REMARKS`; the members on whom each was made are counted.
        notes: field name to why it was left out or changed; shown by `preview` alone.
        permissions: the texts of the marketing permissions that the member has, given or not.
    """

    contact: Contact
    warnings: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()


class Skipped(Struct, frozen=True):
    """A member who is counted, but not imported: one without any address (SMS only)."""

    reason: str


class Unsendable(Struct, frozen=True):
    """A member who cannot be imported, and becomes a dead letter. `reason` holds no personal data."""

    reason: str


Conversion = Converted | Skipped | Unsendable
