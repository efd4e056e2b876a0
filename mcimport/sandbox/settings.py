"""What can be set on the sandbox: its audience, its pace, its limits and everything that goes wrong.

All may be changed while it serves, but `size`, `seed` and `start`, which are read once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # which imports this file
    from mcimport.sandbox.request_log import Request

Span = tuple[float, float]

PERMISSIONS = ("Email", "Direct Mail", "Customized Online Advertising")  # as Mailchimp words them until the owner does


@dataclass
class SandboxSettings:
    """The defaults are the two services on a good day, as far as they are known.

    Attributes:
        size: members of the first list.
        seed: the same seed and `start` invent the same people; the same seed breaks the same requests.
        start: the clock's time when the box is made, in seconds since the epoch; None: this machine's.

        latency: seconds until an answer.
        first_page_latency: seconds until a first page is answered instead: members from offset 0 on, several asked for,
            no `before_last_changed`. None: like any other.
        writing_delay: the share of the latency that passes between the choice of a page and its writing.
            The rest passes after the writing, so the content is older than its `Date`.
        on_page: called between the choice of every page and its writing, in the server's thread.
        after_page: called when a page is written, before it is sent, in the server's thread.

        clock_skew: seconds by which the services' clock is ahead of this machine's.
        edge_skew: seconds by which their `Date` is ahead of that clock, which dates changes.
        gzip: compress Mailchimp's answers for whoever accepts that.
        no_date: leave out the `Date` header.
        since_includes, before_includes: whether the bounds include the second that they name.
        unstable_order: members of one second stand in another order in every answer.
        count_lies: added to `total_items`.
        count_lies_share: the share of the answers in which it is.
        cut_tags: the tags of a member are cut to fifty there, too, where all should be listed, and counted as fifty.
        more_fields: further merge fields, tag to type; a tag that the list has already gets another type.
        more_interests: further interests of the first category, id to name.
        tags_move: a tag that is added moves `last_changed` (nobody knows whether it does).
        permissions: texts of the lists' marketing permissions (GDPR fields), the first of which most people gave;
            empty: the lists have none.
        permissions_move: a permission that is given or withdrawn moves `last_changed` (nobody knows whether it does).
        churn: changes a second, over all lists.

        broken: what cannot be read: spans `(since, until]` of `last_changed` in epoch seconds, or ranks "5000-5009"
            among the listed in the order of `last_changed`, counted from 0, both included. Whom the ranks name is
            settled when they are first met, and stays. An answer that would hold such a member in full is a 500.
        broken_lookups: they break answers with nothing but `last_changed`, too.
        max_page: a page that would hold more members is a 504.
        connections: requests that a Mailchimp account may have open.
        over_limit: how one more is answered: a 429, or another fault of `faults.INSTEAD` ("403-bare" has been seen).

        error_rate, throttle_rate: the share of all answers of both services that are a 500, a 429.
        faults: any fault of `faults.FAULTS` by name, or on one side only ("ometria:reset"), and its share of the
            answers.
        fault: decides for each request by itself: the name of a fault, or None for whatever the shares say.
        silence: seconds after which a silent or endless answer is given up by the server, too.

        pushes_per_second, reads_per_second: Ometria's limits, in any second.
        jitter: seconds by which that second is shortened: requests do not arrive as evenly as they were sent.
        rejects: ids of records that are refused: accepted by one less, without saying which.
        drops: ids of records that are accepted, and dropped by validation whatever they hold.
        without_address: what becomes of a contact's record that has no `email`, a text with something in it: taken
            where its id is known; refused at once, as `rejects`; or accepted, and dropped by validation.
        rejects_record: decides for each record by itself whether it is refused so.
        reject_batches: such a record makes its whole batch a `reject_status` instead.
        collection_ignored: contacts are read back without a look at the collection that was asked for.
        single_contacts: a contact is to be had by its collection and id; else that address is a 404 for everybody.
        settling: seconds until a pushed record is validated and stored.
        queue_limit: records that may wait.
        queue_drain: records a second that leave the queue; None: at once.
    """

    size: int = 25_000
    seed: int = 7
    start: float | None = None

    latency: float = 0.0
    first_page_latency: float | None = None
    writing_delay: float = 0.5
    on_page: Callable[[Any], object] | None = None  # called with the `Audience`, which imports this file
    after_page: Callable[[Any], object] | None = None  # the same

    clock_skew: float = 0.0
    edge_skew: float = 0.0
    gzip: bool = False
    no_date: bool = False
    since_includes: bool = False
    before_includes: bool = True
    unstable_order: bool = False
    count_lies: int = 0
    count_lies_share: float = 1.0
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
    collection_ignored: bool = False
    single_contacts: bool = True
    settling: float = 0.05
    queue_limit: int = 50_000
    queue_drain: float | None = None
