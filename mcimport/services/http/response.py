"""A response: status, headers, body in UTF-8, and the server's clock."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TypeVar

import msgspec

from mcimport.errors import RetriableError

T = TypeVar("T")

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what a decoder raises


@dataclass(frozen=True, slots=True)
class Response:
    """Holds what a service returned; `repr` shows no header and no body.

    Attributes:
        date: the server's clock (epoch seconds, UTC) from its `Date` header; None where it sent none.
        took: seconds from the moment before sending to the arrival of the headers.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    date: int | None
    took: float

    @property
    def is_json(self) -> bool:
        return "json" in self.headers.get("content-type", "")

    def decode(self, decoder: msgspec.json.Decoder[T], problem: str) -> T:
        """Decodes the body. Raises RetriableError with `problem` for an empty or cut-off one, HTML or another shape."""
        try:
            return decoder.decode(self.body)
        except UNDECODABLE:
            raise RetriableError(problem, status=self.status) from None


def charset(headers: Mapping[str, str]) -> str | None:
    """Returns the charset that the content type names; None where it names none."""
    return _charset(headers.get("content-type", ""))


@lru_cache(maxsize=64)
def _charset(content_type: str) -> str | None:
    message = Message()
    message["content-type"] = content_type
    return message.get_content_charset()


def in_utf8(body: bytes, charset: str | None) -> bytes:
    """Returns the body in UTF-8, from the charset that the response names, without the byte order mark of RFC 8259.

    A charset that is unknown, or that the body is not in, leaves it as it is: its decoder then says what is wrong.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if charset is None or charset.lower().replace("_", "-") in ("utf-8", "utf8", "us-ascii", "ascii"):
        return body
    try:
        return body.decode(charset).encode()
    except (LookupError, ValueError):
        return body


def http_date(text: str | None) -> int | None:
    """Returns an HTTP date as epoch seconds (UTC, also where it names no zone); None for anything else."""
    try:
        if not text:
            return None
        moment = parsedate_to_datetime(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
