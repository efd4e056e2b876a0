"""Decodes Mailchimp's responses, and reads from their clock the moment up to which a page is complete.

Source of the facts: as in `client`.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from mcimport.errors import FatalError, RetriableError
from mcimport.models import Member, MergeField
from mcimport.report.format import duration
from mcimport.services.http.response import UNDECODABLE, Response

T = TypeVar("T")

ABSURD_CLOCK = 3 * 366 * 86_400  # seconds; a clock that is years off would end all imports in silence
MOST_LAG = 2 * 86_400  # seconds that syncs read again, and again, because this machine's clock is behind
CLOCK_TOLERANCE = 300  # seconds between the server's clock and ours before it is worth a word


class Members(msgspec.Struct):
    """`GET /lists/{list_id}/members`; one without a `members` array or a count is an error."""

    members: list[Member]
    total_items: int


class Ping(msgspec.Struct):
    """`GET /ping`."""

    health_status: str = ""


class Tags(msgspec.Struct):
    """`GET /lists/{list_id}/members/{subscriber_hash}/tags`; each tag as it came."""

    tags: list[Any]
    total_items: int


class Count(msgspec.Struct):
    """`GET /lists/{list_id}/members`, where only the count is requested."""

    total_items: int


class ListAnswer(msgspec.Struct):
    """`GET /lists/{list_id}`."""

    marketing_permissions: Any = None
    stats: Any = None


class MergeFieldAnswer(msgspec.Struct):
    """Only its tag is relied on."""

    tag: str
    type: Any = None
    name: Any = None
    options: Any = None


class MergeFields(msgspec.Struct):
    """`GET /lists/{list_id}/merge-fields`."""

    merge_fields: list[MergeFieldAnswer]


class Named(msgspec.Struct):
    """An interest, or a category of them."""

    id: str
    name: Any = None


class Categories(msgspec.Struct):
    """`GET /lists/{list_id}/interest-categories`."""

    categories: list[Named]


class Interests(msgspec.Struct):
    """`GET /lists/{list_id}/interest-categories/{category_id}/interests`."""

    interests: list[Named]


# Made at import, before any thread begins: where many threads decode a type for the first time at once, one may see
# the half of what another still prepares, and the process ends in a segmentation fault (msgspec 0.22).
PING = msgspec.json.Decoder(Ping)
COUNT = msgspec.json.Decoder(Count)
MEMBERS = msgspec.json.Decoder(Members)
MEMBER = msgspec.json.Decoder(Member)
LIST = msgspec.json.Decoder(ListAnswer)
TAGS = msgspec.json.Decoder(Tags)
MERGE_FIELDS = msgspec.json.Decoder(MergeFields)
CATEGORIES = msgspec.json.Decoder(Categories)
INTERESTS = msgspec.json.Decoder(Interests)


def clock(answer: Response) -> tuple[int, int, str]:
    """Returns the last second surely over when the request was sent, the latest that it was sent in, a warning.

    Both are the server's epoch seconds (fact mailchimp-clock); the warning is empty where the clocks agree. What is
    read up to them is not taken for complete where this machine's clock has not come as far: see `state.runs.finish`.

    The page may have been read long before its `Date` was written, so the time that the request took is subtracted. And
    two seconds more, so that a member who changes afterwards is dated after the second beyond the end of the last
    window: a member seen *at* that second then proves that the bound includes it.

    Raises FatalError where this machine's clock is more than `MOST_LAG` behind, or the two are years apart.
    """
    ours = time.time()
    if answer.date is None:
        oddity = "Mailchimp's response had no Date header; using this machine's clock minus five minutes"
        return int(ours) - CLOCK_TOLERANCE - 2, int(ours) + CLOCK_TOLERANCE, oddity
    theirs = math.floor(answer.date - answer.took)
    apart = answer.date - ours
    hint = "Set this machine's clock and try again."
    if abs(apart) > ABSURD_CLOCK:
        raise FatalError("the clocks of Mailchimp and of this machine are years apart", hint=hint)
    if apart > MOST_LAG:
        raise FatalError(f"this machine's clock is more than {MOST_LAG // 86_400} days behind Mailchimp's", hint=hint)
    return theirs - 2, theirs, _oddity(apart)


def _oddity(apart: float) -> str:
    """Returns the warning about a server's clock that is `apart` seconds ahead; empty where that is not much."""
    if abs(apart) <= CLOCK_TOLERANCE:
        return ""
    oddity = "the clocks of Mailchimp and of this machine differ by more than five minutes"
    return oddity if apart < 0 else f"{oddity}: each sync reads the last {duration(60 * round(apart / 60))} again"


def decoded(answer: Response, kind: msgspec.json.Decoder[T]) -> T:
    """Decodes a body by one of the decoders above.

    Raises RetriableError for an empty body, HTML, cut-off JSON or another shape: it is never taken for an empty list.
    """
    with suppress(*UNDECODABLE):
        return kind.decode(answer.body)
    try:  # what Python's own decoder accepts and msgspec does not: half a surrogate pair, NaN, a stray byte
        return msgspec.convert(json.loads(answer.body.decode("utf-8", "replace")), kind.type)
    except (ValueError, RecursionError):
        raise RetriableError(
            "Mailchimp's response was not understood (empty, cut off or in another format)", status=answer.status
        ) from None


def merge_field(answer: MergeFieldAnswer) -> MergeField:
    options = answer.options if isinstance(answer.options, dict) else {}
    return MergeField(answer.tag, text(answer.type) or "text", text(answer.name), options)


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""
