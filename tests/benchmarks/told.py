"""What a sandbox process tells of itself, as lines of JSON between two processes: where it is, what it was asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from mcimport.sandbox.request_log import Request, max_in_any_second

ACCEPTED = 202
THROTTLED = 429


class Account(msgspec.Struct, frozen=True):
    """One client: its two keys and its one list."""

    name: str
    mailchimp_key: str
    ometria_key: str
    list_key: str


class Place(msgspec.Struct, frozen=True):
    """Where the two services are, and the clients that they know."""

    mailchimp_url: str
    ometria_url: str
    accounts: list[Account]


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """Times are monotonic seconds, which all processes of a machine share; 0 where nothing of the kind happened.

    Attributes:
        mailchimp, ometria: requests.
        throttled: of both, those that were answered with a 429.
        members, body: members in Mailchimp's answers, and the bytes of all its answers.
        records: in the pushes that were accepted.
        single: of Mailchimp's requests, those for one member alone.
        most_open: requests of one Mailchimp account that were open at once.
        most_pushes: of one Ometria account, in any second.
        pages: of windows that were asked for.
        walk_began, walk_ended, walked: the pages of windows, from the first question to the last answer, and their
            members; look-ups and first pages are not among them.
        push_began, push_ended, pushed_since: arrival of the first and of the last accepted push, and the records in all
            but the first: with the time between the two, the speed.
        processor: seconds of the sandbox's own processor time since the counting began.
    """

    mailchimp: int
    ometria: int
    throttled: int
    members: int
    body: int
    records: int
    single: int
    most_open: int
    most_pushes: int
    began: float
    pages: int
    walk_began: float
    walk_ended: float
    walked: int
    push_began: float
    push_ended: float
    pushed_since: int
    processor: float

    @property
    def pushed_per_second(self) -> float:
        return self.pushed_since / (self.push_ended - self.push_began)

    @property
    def walked_per_second(self) -> float:
        return self.walked / (self.walk_ended - self.walk_began)


def count_requests(requests: Sequence[Request], processor: float) -> Counters:
    asked = [one for one in requests if one.service == "mailchimp"]
    pushes = [one for one in requests if one.service == "ometria" and one.path == "/push"]
    taken = [one for one in pushes if one.status == ACCEPTED]
    walk = [one for one in asked if one.query.get("count", "1") != "1" and "before_last_changed" in one.query]
    return Counters(
        mailchimp=len(asked),
        ometria=len(requests) - len(asked),
        throttled=sum(one.status == THROTTLED for one in requests),
        members=sum(one.count for one in asked),
        body=sum(one.bytes for one in asked),
        records=sum(one.count for one in taken),
        single=sum("/members/" in one.path for one in asked),
        most_open=max((one.open for one in asked), default=0),
        most_pushes=_most_pushes(pushes),
        began=requests[0].at if requests else 0.0,
        pages=len(walk),
        walk_began=min((one.at for one in walk), default=0.0),
        walk_ended=max((one.finished for one in walk), default=0.0),
        walked=sum(one.count for one in walk),
        push_began=taken[0].at if taken else 0.0,
        push_ended=taken[-1].at if taken else 0.0,
        pushed_since=sum(one.count for one in taken[1:]),
        processor=processor,
    )


def _most_pushes(pushes: Iterable[Request]) -> int:
    moments: defaultdict[str, list[float]] = defaultdict(list)
    for one in pushes:
        moments[one.key].append(one.at)
    return max(map(max_in_any_second, moments.values()), default=0)
