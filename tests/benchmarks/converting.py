"""Times each step of the conversion alone, in a process of its own, on pages that a sandbox serves.

python -m benchmarks.converting OPTIONS, as JSON; prints JSON: microseconds of processor time a member. Steps that
remember nothing are taken thrice and the fastest counts; the conversion remembers phone numbers, so it is taken once,
after it has loaded its tables.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from benchmarks.importer import Importer, run
from benchmarks.sandbox_process import SandboxProcess
from mcimport.convert import encode_contact, make_converter
from mcimport.models import ContactRules, Converted, Member
from mcimport.services.http.client import HttpClient
from mcimport.services.http.connection_limit import ConnectionLimit
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.mailchimp.list_fields import read_list_fields
from mcimport.services.mailchimp.member_fields import default_fields
from mcimport.services.mailchimp.responses import Members

T = TypeVar("T")
PAGE = 1_000


class Wish(msgspec.Struct, frozen=True):
    """Which list to convert, and so many of it."""

    url: str
    key: str
    list_key: str
    size: int


class Took(msgspec.Struct, frozen=True):
    """Microseconds a member. `load` and `dump` are plain `json` on the same bytes: pages, and pushes."""

    parse: float
    convert: float
    encode: float
    load: float
    dump: float

    @property
    def whole(self) -> float:
        return self.parse + self.convert + self.encode

    @property
    def floor(self) -> float:
        return self.load + self.dump


def converting(importer: Importer, sandbox: SandboxProcess, size: int) -> Took:
    """The first `size` members of the first list, three times, each in a fresh process; the fastest of each."""
    one = sandbox.account
    wish = Wish(sandbox.place.mailchimp_url, one.mailchimp_key, one.list_key, size)
    command = [sys.executable, "-m", "benchmarks.converting", msgspec.json.encode(wish).decode()]
    took = [msgspec.json.decode(run(command, importer.folder).out, type=Took) for _ in range(3)]
    return Took(*(min(getattr(one, step) for one in took) for step in Took.__struct_fields__))


def main() -> None:
    wish = msgspec.json.decode(sys.argv[1], type=Wish)
    credentials = base64.b64encode(f"any:{wish.key}".encode()).decode()
    wire = HttpClient("Mailchimp", wish.url, {"Authorization": f"Basic {credentials}"})
    fields = read_list_fields(MailchimpClient(wire, RetryPolicy(), ConnectionLimit(10)), wish.list_key)
    convert = make_converter(fields, ContactRules(wish.list_key))
    pages = [_page(wire, wish, offset) for offset in range(0, wish.size, PAGE)]
    wire.close()
    for one in _members(pages[-1]):
        convert(one)  # so that tables of countries and numbers are loaded: that is start-up
    once = _timed(lambda members: [convert(one) for one in members], lambda: map(_members, pages), times=1)
    contacts = [[one.contact for one in map(convert, _members(page)) if isinstance(one, Converted)] for page in pages]
    records = [[msgspec.to_builtins(one) for one in page] for page in contacts]
    seconds = (
        _timed(_members, lambda: pages),
        once,
        _timed(lambda page: [encode_contact(one) for one in page], lambda: contacts),
        _timed(json.loads, lambda: pages),
        _timed(json.dumps, lambda: records),
    )
    sys.stdout.write(msgspec.json.encode(Took(*(1e6 * one / wish.size for one in seconds))).decode())


def _members(page: bytes) -> list[Member]:
    return msgspec.json.decode(page, type=Members).members


def _page(wire: HttpClient, wish: Wish, offset: int) -> bytes:
    params = {"count": str(PAGE), "offset": str(offset), "sort_field": "last_changed", "fields": default_fields().query}
    return wire.send("GET", f"lists/{wish.list_key}/members", params=params).body


def _timed(work: Callable[[T], object], things: Callable[[], Iterable[T]], *, times: int = 3) -> float:
    """Processor seconds of the fastest of so many times. What comes out of `work` is dropped at once, as in a sync."""
    fastest = float("inf")
    for _ in range(times):
        seconds = 0.0
        for thing in things():
            began = time.process_time()
            work(thing)
            seconds += time.process_time() - began
        fastest = min(fastest, seconds)
    return fastest


if __name__ == "__main__":
    main()
