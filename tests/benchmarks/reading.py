"""Reads a list as plainly as can be, over so many connections, and does nothing with it: what the wire can carry.

python -m benchmarks.reading OPTIONS, as JSON; prints JSON. Neither TLS, retries nor decoding: the standard library's
own HTTP client, so that what it takes is the server's time, and the connections'.
"""

from __future__ import annotations

import base64
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from threading import local
from urllib.parse import urlencode, urlsplit

import msgspec

from benchmarks.importer import Importer, run
from benchmarks.sandbox_process import SandboxProcess
from mcimport.services.mailchimp.member_fields import default_fields

PAGE = 1_000


class Wish(msgspec.Struct, frozen=True):
    """`fields` as Mailchimp's parameter of that name; empty for a plain request, which brings everything."""

    url: str
    key: str
    list_key: str
    size: int
    connections: int
    fields: str


class Read(msgspec.Struct, frozen=True):
    """`body`: bytes of the answers. `seconds` from the first request to the last answer."""

    body: int
    seconds: float


def used_fields() -> tuple[str, str]:
    """What the importer requests: parts of some fields; and whole fields, as it did before and where no parts come."""
    fields = default_fields()
    in_parts = fields.query
    fields.use_whole()
    return in_parts, fields.query


def read(importer: Importer, sandbox: SandboxProcess, size: int, *, connections: int = 1, fields: str = "") -> Read:
    """The first `size` members of the first list, in a fresh process. Raises RuntimeError when a page fails."""
    one = sandbox.account
    wish = Wish(sandbox.place.mailchimp_url, one.mailchimp_key, one.list_key, size, connections, fields)
    command = [sys.executable, "-m", "benchmarks.reading", msgspec.json.encode(wish).decode()]
    return msgspec.json.decode(run(command, importer.folder).out, type=Read)


def _fetched(wish: Wish, offset: int, kept: local) -> int:
    url = urlsplit(wish.url)
    if not hasattr(kept, "connection"):
        kept.connection = HTTPConnection(str(url.hostname), url.port)
    query = {"count": str(PAGE), "offset": str(offset), "sort_field": "last_changed", "sort_dir": "ASC"}
    query |= {"fields": wish.fields} if wish.fields else {}
    credentials = base64.b64encode(f"any:{wish.key}".encode()).decode()
    kept.connection.request(
        "GET",
        f"{url.path}/lists/{wish.list_key}/members?{urlencode(query)}",
        headers={"Authorization": f"Basic {credentials}"},
    )
    answer = kept.connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"a page was answered with {answer.status}")
    return len(body)


def main() -> None:
    wish = msgspec.json.decode(sys.argv[1], type=Wish)
    kept = local()
    with ThreadPoolExecutor(wish.connections) as pool:
        began = time.monotonic()
        body = sum(pool.map(lambda offset: _fetched(wish, offset, kept), range(0, wish.size, PAGE)))
        answer = Read(body, time.monotonic() - began)
    sys.stdout.write(msgspec.json.encode(answer).decode())


if __name__ == "__main__":
    main()
