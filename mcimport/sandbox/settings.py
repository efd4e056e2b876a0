"""Holds the settings of the sandbox: its audience, its pace, its limits and its faults.

All can be changed while it serves, but `size`, `seed` and `start`, which are read once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from mcimport.sandbox.request_log import Request

Span = tuple[float, float]

PERMISSIONS = ("Email", "Direct Mail", "Customized Online Advertising")  # as Mailchimp words them until the owner does


@dataclass
class SandboxSettings:
    """Holds the settings. The defaults are the two services on a good day, as far as they are known.

    Attributes:
        size: members of the first list.
        seed: the same seed and `start` invent the same members; the same seed gives the same requests faults.
        start: the clock's time when the sandbox is created, in epoch seconds; None: this machine's.

        latency: seconds until a response.
        latency_spread: a response takes up to so many seconds more, by chance, and a push is taken halfway through: one
            that was sent later may be taken, and answered, earlier.
        first_page_latency: the same for a first page: `offset` 0, a `count` above 1, no `before_last_changed`.
            None: like any other.
        writing_delay: the share of the latency that passes between the choice of a page and its writing.
            The rest passes after the writing, so the content is older than its `Date`.
        on_page: called between the choice of every page and its writing, in the server's thread.
        after_page: called when a page is written, before it is sent, in the server's thread.

        clock_skew: seconds by which the services' clock is ahead of this machine's.
        edge_skew: seconds by which their `Date` is ahead of that clock, which dates changes.
        edge_spread: by chance up to so many seconds more, in each response: several servers answer.
        gzip: compress Mailchimp's responses for clients that accept that.
        no_date: leave out the `Date` header.
        since_includes, before_includes: whether the bounds include the second that they name.
        fractions: what becomes of a bound with a fraction of a second: ignored, refused with a 400, or cut off.
        naive_times: the times of members have no offset from UTC.
        sort_ignored: the order is arbitrary whatever `sort_field` says.
        unstable_order: members of one second have another order in every response.
        archived: where the archived members are: `apart`, in answers to `status=archived` alone; `listed`, in
            unfiltered ones as well; `hidden`, in none; `unbounded`, apart, and bounds of time do not count for them.
        count_lies: added to `total_items`.
        count_lies_share: the share of the responses in which it is.
        total_of_list: `total_items` counts the list, whatever the filter.
        field_parts: what becomes of names in `fields` that are two levels or more below `members`
            (`members.location.country_code`): they come, the field is absent or empty, or the request is a 400.
        unknown_fields_refused: a name in `fields` that no member has is a 400; otherwise nothing comes of it.
        cut_tags: the tags of a member are cut to fifty there, too, where all should be listed, and counted as fifty.
        more_fields: further merge fields, tag to type; a tag that the list has already gets another type.
        more_interests: further interests of the first category, id to name.
        tags_move: a tag that is added moves `last_changed` (it is unknown whether Mailchimp does so).
        permissions: texts of the lists' marketing permissions (GDPR fields), the first of which most members gave;
            empty: the lists have none.
        permissions_move: a permission that is given or withdrawn moves `last_changed` (unknown, too).
        churn: changes a second, over all lists.

        broken: what cannot be read: spans `(since, until]` of `last_changed` in epoch seconds, or ranks "5000-5009"
            among the listed in the order of `last_changed`, counted from 0, both included. Ranks are
            resolved to members once, at their first use. A page that would hold such a member in full is a 500.
        broken_lookups: they break responses with nothing but `last_changed`, too.
        max_page: a page that would hold more members is a 504.
        max_count: a page never holds more members, whatever `count` says.
        offset_latency: seconds that a page takes more for each thousand members before it.
        wrong_key, unknown_list: the response to a key, or for a list, that the service does not know: one of
            `faults.ERROR_RESPONSES`; empty for the documented one.
        connections: requests that a Mailchimp account may have open.
        over_limit: the response to one more: a 429, or another of `faults.ERROR_RESPONSES` ("403-bare" was reported).

        error_rate, throttle_rate: the share of all responses of both services that are a 500, a 429.
        faults: any fault of `faults.FAULTS` by name, or of one service only ("ometria:reset"), and its share of the
            responses.
        fault: decides for each request by itself: the name of a fault, or None for whatever the shares say.
        silence: seconds after which the server ends a silent or endless response.

        pushes_per_second, reads_per_second: Ometria's limits, in any second.
        jitter: seconds by which that second is shortened: requests do not arrive as evenly as they were sent.
        rejects: ids of records that are refused: accepted by one less, without saying which.
        drops: ids of records that are accepted, and dropped by validation whatever they hold.
        without_address: what becomes of a contact's record that has no `email`, a text with something in it: taken
            where its id is known; refused at once, as `rejects`; or accepted, and dropped by validation.
        rejects_record: decides for each record by itself whether it is refused so.
        reject_batches: such a record makes its whole batch a `reject_status` instead.
        replaces: a record replaces the stored one, so that what it leaves out is gone.
        unspecified_keeps: `NOT_SPECIFIED` leaves a stored consent as it is.
        dates_opt_ins: an opt-in without a time gets that of its storing.
        created_properties: the properties that were created in the application.
        other_properties: what becomes of any other: stored, left out, or the whole record is dropped by validation.
        collection_ignored: contacts of all collections are listed, whichever was requested.
        newest_first: the contact that was stored last is listed first.
        max_contacts: a page never holds more contacts, whatever `limit` says.
        single_contacts: there are requests for single contacts; otherwise their path is a 404.
        address_filter: what becomes of `email` in a request for contacts: it filters, is ignored, or is a 400.
        unread_fields: fields of a contact that are not read back.
        consent_words: the words in which a `marketing_optin` is read back, where they are others than were pushed.
        queue_headers: which responses say how much room the queue has: to pushes, to every request, or none.
        push_errors: what `GET /push/_errors` answers: a list, an object with the list in it, or a 404.
        settling: seconds until a pushed record is validated and stored.
        queue_limit: records that may wait.
        queue_drain: records a second that leave the queue; None: at once.
    """

    size: int = 25_000
    seed: int = 7
    start: float | None = None

    latency: float = 0.0
    latency_spread: float = 0.0
    first_page_latency: float | None = None
    writing_delay: float = 0.5
    on_page: Callable[[Any], object] | None = None  # called with the `Audience`, which imports this file
    after_page: Callable[[Any], object] | None = None  # the same

    clock_skew: float = 0.0
    edge_skew: float = 0.0
    edge_spread: float = 0.0
    gzip: bool = False
    no_date: bool = False
    since_includes: bool = False
    before_includes: bool = True
    fractions: Literal["ignored", "refused", "cut"] = "ignored"
    naive_times: bool = False
    sort_ignored: bool = False
    unstable_order: bool = False
    archived: Literal["apart", "listed", "hidden", "unbounded"] = "apart"
    count_lies: int = 0
    count_lies_share: float = 1.0
    total_of_list: bool = False
    field_parts: Literal["come", "absent", "empty", "refused"] = "come"
    unknown_fields_refused: bool = False
    cut_tags: bool = False
    more_fields: dict[str, str] = field(default_factory=dict)
    more_interests: dict[str, str] = field(default_factory=dict)
    tags_move: bool = True
    permissions: tuple[str, ...] = PERMISSIONS
    permissions_move: bool = True
    churn: float = 0.0

    broken: list[Span | str] = field(default_factory=list)
    broken_lookups: bool = False
    max_page: int | None = None
    max_count: int = 1_000
    offset_latency: float = 0.0
    wrong_key: str = ""
    unknown_list: str = ""
    connections: int = 10
    over_limit: str = "429"

    error_rate: float = 0.0
    throttle_rate: float = 0.0
    faults: dict[str, float] = field(default_factory=dict)
    fault: Callable[[Request], str | None] | None = None
    silence: float = 120.0

    pushes_per_second: int = 8
    reads_per_second: int = 4
    jitter: float = 0.02
    rejects: set[str] = field(default_factory=set)
    drops: set[str] = field(default_factory=set)
    without_address: Literal["taken", "refused", "dropped"] = "taken"
    rejects_record: Callable[[dict[str, Any]], bool] | None = None
    reject_batches: bool = False
    reject_status: int = 400
    replaces: bool = False
    unspecified_keeps: bool = False
    dates_opt_ins: bool = False
    created_properties: set[str] = field(default_factory=set)
    other_properties: Literal["stored", "left out", "dropped"] = "stored"
    collection_ignored: bool = False
    newest_first: bool = False
    max_contacts: int = 250
    single_contacts: bool = True
    address_filter: Literal["works", "ignored", "refused"] = "works"
    unread_fields: set[str] = field(default_factory=set)
    consent_words: dict[str, str] = field(default_factory=dict)
    queue_headers: Literal["pushes", "all", "none"] = "pushes"
    push_errors: Literal["list", "object", "absent"] = "list"
    settling: float = 0.05
    queue_limit: int = 50_000
    queue_drain: float | None = None
