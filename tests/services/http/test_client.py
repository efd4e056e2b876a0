"""One request over a real socket: whatever a server does, its answer gets the right name and gives nothing away."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcimport.errors import (
    FatalError,
    InterruptedRunError,
    NotFoundError,
    RejectedError,
    RetriableError,
    ServiceError,
    ServiceTimeoutError,
    ThrottledError,
    UnreachableError,
)
from mcimport.services.http import client
from mcimport.services.http.client import HttpClient
from mcimport.services.http.response import Response, charset, http_date, in_utf8
from mcimport.services.http.status import LONGEST_RETRY_AFTER, raise_for_status

KEY = "0123456789abcdef0123456789abcdef-us6"
ADDRESS = "ada.moreno@example.com"
DATE = "Tue, 24 Nov 2026 08:00:00 GMT"
PATIENT = 20.0

Handler = Callable[[socket.socket], object]


class Server:
    """Listens on loopback; does with each request what it was told, then hangs up."""

    def __init__(self, handler: Handler) -> None:
        self.requests: list[bytes] = []
        self.over = threading.Event()
        self._handler = handler
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/3.0"

    def close(self) -> None:
        self.over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for connection in [*self._open]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENT)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self.over.is_set():
                connection, _ = self._listener.accept()
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = _request(connection)
            if request:
                self.requests.append(request)
                self._handler(connection)


def _request(connection: socket.socket) -> bytes:
    """The head of a request, and its body if it announces one."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = connection.recv(65_536)
        if not part:
            return b""
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
    while missing > 0:
        part = connection.recv(missing)
        got, missing = got + part, missing - len(part)
    return got


def answer(body: bytes = b"{}", *, status: int = 200, length: int | None = None, **headers: str) -> bytes:
    """An answer as it goes over the wire; `_` stands for `-` in a header's name."""
    fields = {"content_type": "application/json", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items() if value)
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status} Said\r\ncontent-length: {size}\r\n{lines}\r\n".encode("latin-1") + body


def saying(raw: bytes) -> Handler:
    return lambda connection: connection.sendall(raw)


def resetting(first: bytes = b"") -> Handler:
    """A TCP reset instead of a farewell, after the first bytes of an answer."""

    def reset(connection: socket.socket) -> None:
        connection.sendall(first)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return reset


@contextmanager
def serving(handler: Handler) -> Iterator[Server]:
    server = Server(handler)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def wired(url: str, *, service: str = "Mailchimp", timeout: float = PATIENT) -> Iterator[HttpClient]:
    wire = HttpClient(service, url, {"Authorization": f"Bearer {KEY}"}, timeout=timeout)
    try:
        yield wire
    finally:
        wire.close()


@contextmanager
def connected(handler: Handler, *, service: str = "Mailchimp", timeout: float = PATIENT) -> Iterator[HttpClient]:
    with serving(handler) as server, wired(server.url, service=service, timeout=timeout) as wire:
        yield wire


def failure(wire: HttpClient) -> ServiceError:
    """How a request fails; whatever it is says nothing of the key, the question or a member's address."""
    with pytest.raises(ServiceError) as raised:
        raise_for_status(wire.service, wire.send("GET", "lists/1a2d7ebf82/members", params={"who": ADDRESS}))
    error = raised.value
    for secret in (KEY, KEY[:12], ADDRESS, "ada"):
        assert secret not in f"{error} {error.hint} {error!r}"
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__  # a traceback would print what it hides
    return error


def said(raw: bytes, *, service: str = "Mailchimp") -> ServiceError:
    """The error that an answer becomes."""
    with connected(saying(raw), service=service) as wire:
        return failure(wire)


# ---- a good day


def test_a_request_arrives_as_it_was_meant_and_its_answer_comes_back_whole() -> None:
    """Base address and path joined, `+` percent-encoded, the key in its header; status, body, headers, clock."""
    with serving(saying(answer(b'{"a":1}', date=DATE, X_Thing="Yes"))) as server, wired(server.url) as wire:
        got = wire.send("GET", "lists/x/members", params={"since": "2026-11-24T08:00:00+00:00"})
    (request,) = server.requests
    assert request.startswith(b"GET /3.0/lists/x/members?since=2026-11-24T08%3A00%3A00%2B00%3A00 HTTP/1.1\r\n")
    assert f"authorization: bearer {KEY}".encode() in request.lower()
    assert (got.status, got.body, got.headers["x-thing"], got.is_json) == (200, b'{"a":1}', "Yes", True)
    assert got.date == int(datetime(2026, 11, 24, 8, tzinfo=UTC).timestamp())
    assert got.took >= 0


def test_a_body_goes_out_as_json_and_its_sender_learns_when_it_has_left() -> None:
    """The moment of sending is told, once."""
    sent: list[str] = []
    with serving(saying(answer())) as server, wired(server.url) as wire:
        wire.send("POST", "push", body=b'[{"id":"x"}]', on_sent=lambda: sent.append("left"))
    assert server.requests[0].endswith(b'\r\n\r\n[{"id":"x"}]')
    assert b"content-type: application/json" in server.requests[0].lower()
    assert sent == ["left"]


def test_a_request_that_never_left_does_not_count_as_sent() -> None:
    """A refused connection took nothing from anybody's limit."""
    sent: list[int] = []
    with wired(nowhere()) as wire, pytest.raises(UnreachableError):
        wire.send("POST", "push", body=b"[]", on_sent=lambda: sent.append(1))
    assert sent == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("contacts/a%2Fb/1-2", b"GET /3.0/contacts/a%2Fb/1-2 "),
        ("interests/no path?x=1#y", b"GET /3.0/interests/no%20path%3Fx%3D1%23y "),
        ("interests/\r\nX-Other: 1", b"GET /3.0/interests/%0D%0AX-Other%3A%201 "),
        ("interests/\u00e9", b"GET /3.0/interests/%C3%A9 "),
    ],
)
def test_a_path_asks_for_nothing_but_what_it_names(path: str, line: bytes) -> None:
    """What is escaped stays so; an id of an answer cannot end the path, the line, or the request."""
    with serving(saying(answer())) as server, wired(server.url) as wire:
        wire.send("GET", path)
    assert server.requests[0].startswith(line)


def test_a_cookie_of_an_edge_is_not_sent_back() -> None:
    """Each request stands alone, whatever came before it."""
    with serving(saying(answer(set_cookie="edge=1; Path=/", connection="close"))) as server, wired(server.url) as wire:
        wire.send("GET", "ping")
        wire.send("GET", "ping")
    assert len(server.requests) == 2
    assert not [one for one in server.requests if b"cookie" in one.lower()]


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_every_status_from_200_to_299_is_a_success(status: int) -> None:
    """Also the 202 of a queue, and an answer without a body."""
    raw = b"HTTP/1.1 204 No Content\r\n\r\n" if status == 204 else answer(status=status)
    with connected(saying(raw)) as wire:
        assert raise_for_status("Ometria", wire.send("GET", "ping")).status == status


def test_a_compressed_answer_is_unpacked() -> None:
    """Pages are asked for compressed; what comes out is what went in."""
    with connected(saying(answer(gzip.compress(b'{"members":[]}'), content_encoding="gzip"))) as wire:
        assert wire.send("GET", "ping").body == b'{"members":[]}'


# ---- nothing, or half of it, comes back


def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/3.0"


def test_a_refused_connection_is_told_from_a_broken_one() -> None:
    """Asking for less would not help where nobody listens."""
    with wired(nowhere()) as wire:
        assert type(failure(wire)) is UnreachableError


def test_a_server_that_cannot_prove_who_it_is_gets_no_key() -> None:
    """Plain text where TLS was asked for: the request, and the key with it, is never sent."""
    with serving(saying(answer())) as server:
        with wired(server.url.replace("http:", "https:"), timeout=0.3) as wire:
            assert isinstance(failure(wire), RetriableError)
        assert not any(KEY.encode() in request for request in server.requests)


BROKEN: dict[str, Handler] = {
    "hangs up without a word": saying(b""),
    "hangs up in the middle of the headers": saying(b"HTTP/1.1 200 OK\r\ncontent-le"),
    "hangs up in the middle of the body": saying(answer(b'{"members":[', length=500)),
    "hangs up in the middle of a chunk": saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{"),
    "hangs up between two chunks": saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n"),
    "resets before the answer": resetting(),
    "resets in the middle of the body": resetting(answer(b'{"members":[', length=500)),
    "does not speak HTTP": saying(b"220 mail.example.com ESMTP ready\r\n"),
    "says gzip and sends something else": saying(answer(b"not gzip at all", content_encoding="gzip")),
}


@pytest.mark.parametrize("handler", BROKEN.values(), ids=BROKEN.keys())
def test_half_an_answer_is_none(handler: Handler) -> None:
    """It is an error to try again, never a shorter body, and not one that asking for less would mend."""
    with connected(handler) as wire:
        assert type(failure(wire)) is RetriableError


def dribbling(first: bytes, more: bytes) -> Handler:
    """An answer that goes on and on, quickly enough that no single wait is long."""

    def dribble(connection: socket.socket) -> None:
        connection.sendall(first)
        pace = threading.Event()
        for _ in range(400):
            connection.sendall(more)
            pace.wait(0.02)

    return dribble


@pytest.mark.parametrize(
    "handler",
    [
        dribbling(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        dribbling(b"HTTP/1.1 200 OK\r\nx-endless: ", b"y"),
        dribbling(b"HTTP/1.1 ", b"2"),
    ],
    ids=["body", "header", "status"],
)
def test_an_answer_that_never_ends_is_cut_off_at_the_time_out(handler: Handler) -> None:
    """The time-out is for the whole answer, not for one of its bytes."""
    with connected(handler, timeout=0.3) as wire:
        assert type(failure(wire)) is ServiceTimeoutError


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n", answer(b"{", length=9)])
def test_a_server_that_falls_silent_is_too_slow(first: bytes) -> None:
    """Before the answer, in its headers or in its body: fewer members might have been answered."""
    silent = threading.Event()

    def handler(connection: socket.socket) -> None:
        connection.sendall(first)
        silent.wait(PATIENT)

    with connected(handler, timeout=0.3) as wire:
        try:
            assert type(failure(wire)) is ServiceTimeoutError
        finally:
            silent.set()


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_larger_than_any_page_is_not_kept(
    packed: bool,  # noqa: FBT001 - a column of the table
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory stays bounded whatever is sent, also where little unpacks to much."""
    monkeypatch.setattr(client, "MAX_BODY", 100_000)
    body = b" " * 200_000
    raw = answer(gzip.compress(body), content_encoding="gzip") if packed else answer(body)
    with connected(saying(raw)) as wire:
        assert type(failure(wire)) is RetriableError


def test_redirects_are_not_followed_with_the_key() -> None:
    """Whoever answers 302 does not send our key elsewhere; the refusal does not repeat the address either."""
    with serving(saying(answer())) as other:
        error = said(answer(status=302, location=f"{other.url}/steal?who={ADDRESS}"))
        assert isinstance(error, FatalError)
        assert other.requests == []


# ---- what the answer says


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RejectedError),
        (401, FatalError),
        (404, NotFoundError),
        (405, FatalError),
        (408, ServiceTimeoutError),
        (410, FatalError),
        (413, RejectedError),
        (422, RejectedError),
        (429, ThrottledError),
        (500, RetriableError),
        (502, RetriableError),
        (503, RetriableError),
        (504, ServiceTimeoutError),
        (524, ServiceTimeoutError),
        (599, RetriableError),
    ],
)
def test_each_status_is_named_by_what_to_do_about_it(status: int, kind: type[ServiceError]) -> None:
    """As JSON and as an edge's HTML: the status decides, and is known to the catcher."""
    for raw in (answer(status=status), answer(b"<html>oops</html>", status=status, content_type="text/html")):
        error = said(raw)
        assert (type(error), error.status) == (kind, status)
        assert str(status) in str(error)


EDGE = (
    b"<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY>"
    b"Reference&#32;&#35;18&#46;0a0b0c0d&#46;1700000000&#46;1a2b3c4</BODY></HTML>"
)


@pytest.mark.parametrize(
    ("service", "body", "content_type", "kind"),
    [
        ("Mailchimp", b'{"title":"User action not permitted"}', "application/problem+json", FatalError),
        ("Ometria", b'{"status":"ERROR"}', "application/json", FatalError),
        ("Mailchimp", b"", "", ThrottledError),
        ("Mailchimp", b" \r\n", "text/plain", ThrottledError),
        ("Ometria", b"", "", RetriableError),
        ("Mailchimp", EDGE, "text/html", RetriableError),
        ("Ometria", EDGE, "text/html", RetriableError),
    ],
)
def test_403_has_three_meanings(service: str, body: bytes, content_type: str, kind: type[ServiceError]) -> None:
    """With a reason it is final; bare it is "too many" in disguise; a block page of the edge may pass."""
    assert type(said(answer(body, status=403, content_type=content_type), service=service)) is kind


def test_a_block_at_the_edge_names_its_reference_and_does_not_blame_the_key() -> None:
    """The reference is what the vendor's support asks for."""
    error = said(answer(EDGE, status=403, content_type="text/html"))
    assert "18.0a0b0c0d.1700000000.1a2b3c4" in str(error)
    assert "not the problem" in error.hint


def test_a_wrong_key_leads_to_the_key_of_that_service() -> None:
    """401 says which of the two keys, and what to type."""
    error = said(answer(status=401), service="Ometria")
    assert "key" in str(error)
    assert "Ometria API key" in error.hint


@pytest.mark.parametrize(
    ("title", "repeated"),
    [
        ("Resource Not Found", True),
        ("API Key Invalid", True),
        (f"{ADDRESS} is fake", False),
        ("x" * 81, False),
        ("two\nlines", False),
        ("<b>", False),
        ("", False),
    ],
)
def test_only_a_title_in_plain_words_is_repeated(
    title: str,
    repeated: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Nothing else of an answer reaches a message: not its detail, not a title that may name somebody."""
    body = b'{"title":%s,"detail":"%s, key %s"}'
    written = b'"' + title.replace("\n", "\\n").encode() + b'"'
    error = said(answer(body % (written, ADDRESS.encode(), KEY.encode()), status=500))
    assert (f"({title})" in str(error)) is repeated
    assert str(error).startswith("Mailchimp answered 500")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"title":', b'{"title":7}', b"\xff\xfe", b"[" * 100_000])
def test_an_error_without_a_usable_title_is_named_all_the_same(body: bytes) -> None:
    """Empty, of another shape, cut off, no text, absurdly deep: the status is enough."""
    assert type(said(answer(body, status=500))) is RetriableError


def test_what_came_back_is_not_printed_by_accident() -> None:
    """An answer in a log or a traceback shows its status and its times, not the members in it."""
    shown = repr(Response(200, {"x-key": KEY}, ADDRESS.encode(), 0, 0.1))
    assert KEY not in shown
    assert ADDRESS not in shown


# ---- times


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("86400", LONGEST_RETRY_AFTER),
        ("9" * 400, LONGEST_RETRY_AFTER),
        ("Tue, 24 Nov 2026 08:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 07:59:00 GMT", 0.0),
        ("Wed, 24 Nov 2027 08:00:00 GMT", LONGEST_RETRY_AFTER),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503, 504])
def test_retry_after_is_seconds_or_a_date_by_the_servers_clock_and_never_long(
    status: int, text: str, seconds: float | None
) -> None:
    """A date counts from the answer's own `Date`; a day would hang the job; nonsense is as good as nothing."""
    error = said(answer(status=status, retry_after=text, date=DATE))
    assert isinstance(error, RetriableError)
    assert error.retry_after == seconds


def test_a_retry_after_date_without_a_server_clock_counts_from_ours() -> None:
    """Without `Date` there is no better clock."""
    soon = format_datetime(datetime.fromtimestamp(int(time.time()) + 300, UTC), usegmt=True)
    error = said(answer(status=429, retry_after=soon))
    assert isinstance(error, RetriableError)
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 300


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Tue, 99 Nov 2026 08:00:00 GMT", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"]
)
def test_no_date_and_one_that_is_none_are_no_clock(date: str) -> None:
    """The caller then has to do without, and knows it."""
    with connected(saying(answer(date=date))) as wire:
        assert wire.send("GET", "ping").date is None


@pytest.mark.parametrize("zone", ["GMT", "+0000", "-0000", "UT", ""])
def test_a_date_is_utc_whatever_this_machines_zone_is(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync point that is hours in the future would lose everybody who changes until then."""
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        with connected(saying(answer(date=f"Tue, 24 Nov 2026 08:00:00 {zone}".strip()))) as wire:
            assert wire.send("GET", "ping").date == 1_795_507_200
    finally:
        monkeypatch.undo()
        time.tzset()


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(
            r"[A-Z][a-z]{2}, \d{1,25} [A-Z][a-z]{2} \d{1,25} \d\d?:\d\d?:\d{1,25} [-+]?\w{0,25}", fullmatch=True
        ),
    )
)
def test_no_text_in_a_date_breaks_anything(text: str) -> None:
    """It is a time or it is none: nothing is ever raised."""
    assert isinstance(http_date(text), int | None)


# ---- connections


def keeping(connection: socket.socket) -> None:
    """Answers one request after another over the same connection."""
    connection.sendall(answer())
    while _request(connection):
        connection.sendall(answer())


def test_one_request_after_another_goes_over_one_connection_and_two_at_once_over_two() -> None:
    """The one that was used last is used again, so that the others may end."""
    with serving(keeping) as server, wired(server.url) as wire, ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            wire.send("GET", "ping")
        assert len(server.requests) == 1  # the first of each connection is noted
        together = threading.Barrier(2, timeout=PATIENT)

        def meet() -> None:
            together.wait()

        requests = [pool.submit(wire.send, "POST", "push", body=b"[]", on_sent=meet) for _ in range(2)]
        assert [request.result(PATIENT).status for request in requests] == [200, 200]
        assert len(server.requests) == 2


def test_a_kept_connection_that_ends_as_it_is_used_again_is_replaced_for_what_only_reads() -> None:
    """Servers close idle connections at any moment: no failure, and no pause. A push has its permit to wait for."""
    ended: list[bytes] = []

    def handler(connection: socket.socket) -> None:
        connection.sendall(answer())
        if request := _request(connection):
            ended.append(request[:4])
            resetting()(connection)

    with connected(handler) as wire:
        wire.send("GET", "ping")
        assert wire.send("GET", "ping").status == 200
        with pytest.raises(RetriableError):
            wire.send("POST", "push", body=b"[]")
    assert ended == [b"GET ", b"POST"]


def test_connections_that_nobody_uses_any_more_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a burst, and not only at the end of the run: by the next request that ends."""
    with serving(keeping) as server, wired(server.url) as wire, ThreadPoolExecutor(3) as pool:
        others, together = sockets(), threading.Barrier(3, timeout=PATIENT)

        def meet() -> None:
            together.wait()

        for request in [pool.submit(wire.send, "POST", "push", body=b"[]", on_sent=meet) for _ in range(3)]:
            request.result(PATIENT)
        assert len(wire._idle) == 3
        monkeypatch.setattr(client, "KEPT_FOR", 0.0)
        wire.send("GET", "ping")
        assert len(wire._idle) == 1
        assert len(sockets() - others) <= 2 + 3  # both ends of one, and what the server has not noticed yet


def test_of_two_headers_of_one_name_both_are_kept_and_the_first_date_counts() -> None:
    """What a proxy adds must not move the clock by which members are believed to be complete."""
    raw = answer(date=DATE).replace(b"\r\n\r\n", b"\r\nDate: Tue, 24 Nov 2026 09:00:00 GMT\r\n\r\n", 1)
    with connected(saying(raw)) as wire:
        got = wire.send("GET", "ping")
    assert got.headers["date"] == f"{DATE}, Tue, 24 Nov 2026 09:00:00 GMT"
    assert got.date == int(datetime(2026, 11, 24, 8, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("content_type", "found"),
    [
        ("application/json", None),
        ("application/json; charset=ISO-8859-1", "iso-8859-1"),
        ('application/json; charset="utf-8"', "utf-8"),
        ('application/json; note=";charset=latin-1"; charset=utf-8', "utf-8"),
        ("application/json; charset*=utf-8''latin-1", "latin-1"),
        ("", None),
    ],
)
def test_the_charset_is_that_of_the_content_type(content_type: str, found: str | None) -> None:
    """Whatever else stands there."""
    assert charset({"content-type": content_type}) == found


def test_a_new_connection_that_ends_without_an_answer_is_not_replaced() -> None:
    """That is no idle connection's end: the pause between two tries is for it."""
    with serving(resetting()) as server, wired(server.url) as wire:
        assert type(failure(wire)) is RetriableError
        assert len(server.requests) == 1


# ---- leaving


def test_a_closed_wire_sends_nothing_more() -> None:
    """Who still tries is told that the run was stopped, not that the service is broken."""
    with serving(saying(answer())) as server, wired(server.url) as wire:
        wire.close()
        with pytest.raises(InterruptedRunError):
            wire.send("GET", "ping")
    assert server.requests == []


def test_closing_ends_a_request_in_flight_at_once() -> None:
    """A server that hangs must not keep the program for the two minutes of its time-out."""
    asked, silent = threading.Event(), threading.Event()
    result: list[BaseException] = []

    def handler(_: socket.socket) -> None:
        asked.set()
        silent.wait(120)

    with connected(handler, timeout=120) as wire:

        def request() -> None:
            try:
                wire.send("GET", "ping")
            except InterruptedRunError as error:
                result.append(error)

        thread = threading.Thread(target=request, daemon=True)
        thread.start()
        try:
            assert asked.wait(PATIENT)
            wire.close()
            thread.join(PATIENT)  # far less than the time-out of the request
            assert not thread.is_alive(), "the request still waits for the server"
            assert [type(error) for error in result] == [InterruptedRunError]
        finally:
            silent.set()
            thread.join(PATIENT)


def test_closing_ends_a_request_that_is_still_connecting() -> None:
    """Its connection comes to be when all others have been closed: it would be waited on for the whole time-out."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        stack.enter_context(
            socket.create_connection(full.getsockname())
        )  # nobody else gets through before it is let in
        wire = HttpClient("Mailchimp", f"http://127.0.0.1:{full.getsockname()[1]}/3.0", {}, timeout=PATIENT)
        request = pool.submit(wire.send, "GET", "ping")
        port, connecting = f":{full.getsockname()[1]:04X} 02", Path("/proc/net/tcp")
        while connecting.read_text().count(port) < 1:
            assert not request.done()
        wire.close()
        for _ in range(2):
            stack.enter_context(full.accept()[0])
        with pytest.raises(InterruptedRunError):
            request.result(PATIENT)


def test_a_socket_is_not_given_back_while_a_request_waits_on_it() -> None:
    """Its number would be the next socket's, and the request would wait on that one: for two minutes, at worst."""
    sent, go_on = threading.Event(), threading.Event()

    def lock_client() -> None:
        sent.set()
        go_on.wait(PATIENT)

    others = sockets()
    with connected(lambda _: go_on.wait(PATIENT)) as wire, ThreadPoolExecutor(1) as pool:
        request = pool.submit(wire.send, "POST", "push", body=b"[]", on_sent=lock_client)
        assert sent.wait(PATIENT)
        held = sockets() - others
        wire.close()
        assert held <= sockets()
        go_on.set()
        with pytest.raises(InterruptedRunError):
            request.result(PATIENT)
    assert not held & sockets()


def sockets() -> set[str]:
    """Of this process, by number and by what the system calls them."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add(f"{one.name} {one.readlink()}")
    return {one for one in found if "socket" in one}


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        ('{"name": "José Müller"}'.encode(), None),
        ('{"name": "José Müller"}'.encode(), "utf-8"),
        ('\ufeff{"name": "José Müller"}'.encode(), None),
        ('{"name": "José Müller"}'.encode("latin-1"), "iso-8859-1"),
        ('{"name": "José Müller"}'.encode("utf-16"), "utf-16"),
    ],
)
def test_an_answer_is_read_in_the_charset_that_it_names_and_without_a_mark(body: bytes, charset: str | None) -> None:
    """`json-bom`, `latin1-answer`: what something in between did to the bytes harms no name."""
    assert json.loads(in_utf8(body, charset)) == {"name": "José Müller"}


@pytest.mark.parametrize("charset", ["no-such-charset", "utf-16"])
def test_a_charset_that_does_not_fit_leaves_the_body_as_it_is(charset: str) -> None:
    """Whoever reads it says what is wrong."""
    assert in_utf8(b'{"a":1}', charset) == b'{"a":1}'


@pytest.mark.parametrize(
    ("code", "setting", "words", "advice"),
    [
        (socket.EAI_NONAME, "`url` in [mailchimp]", "no host is called nobody.example", "spelt right?"),
        (socket.EAI_NONAME, "", "no host is called nobody.example", "network or DNS does not answer"),
        (socket.EAI_AGAIN, "", "cannot be reached", "Is the network up"),
    ],
    ids=["misspelt", "the default address", "not now"],
)
def test_a_name_that_no_host_has_is_told_from_one_that_cannot_be_looked_up_now(
    monkeypatch: pytest.MonkeyPatch, code: int, setting: str, words: str, advice: str
) -> None:
    """What nobody spelt is not misspelt: then the network is down; all name the address that was used."""

    def look_up(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(code, "as the resolver says")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with (
        closing(HttpClient("Mailchimp", "https://nobody.example/3.0", {}, setting=setting)) as http,
        pytest.raises(UnreachableError, match=words) as error,
    ):
        http.send("GET", "ping")
    assert "https://nobody.example" in error.value.hint
    assert advice in error.value.hint
    assert ("spelt" in error.value.hint) == (advice == "spelt right?")
    assert "3.0" not in error.value.hint
