"""What one contestant does with a list: how fast it reads, what that takes, and whom it loses when the list moves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec

from benchmarks.contestants import OUT, Contestant
from benchmarks.importer import Importer, Ran, run
from benchmarks.naive_importer import Wish
from benchmarks.reading import read, used_fields
from benchmarks.sandbox_process import UNLIMITED, SandboxProcess
from benchmarks.told import Account
from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.member_list import MemberView
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings

LATENCY = 0.2  # seconds an answer, of both services
LEAVERS = 10  # archived after each page


@dataclass(frozen=True, slots=True)
class Speed:
    """Of the whole process, its start-up included.

    Attributes:
        per_second: members of the list, however often some were read.
        start: seconds until its first request.
        processor: microseconds a member.
        peak: MB of resident memory.
    """

    per_second: float
    start: float
    processor: float
    peak: float


@contextmanager
def warm_box(size: int) -> Iterator[SandboxProcess]:
    """A list without phone numbers that the sandbox has written before, so that its inventing is not measured."""
    with SandboxProcess(size, has_phones=False) as sandbox, tempfile.TemporaryDirectory() as folder:
        for fields in ("", *used_fields()):
            read(Importer(Path(folder)), sandbox, size, fields=fields)
        sandbox.clear(latency=LATENCY)
        yield sandbox


def speed(contestant: Contestant, sandbox: SandboxProcess) -> Speed:
    """Raises RuntimeError when it fails, leaves somebody of the list unread, or pushes nobody although it should."""
    with SandboxProcess(0) as ometria:  # a new one, that holds no contact of the contestant before
        ometria.clear(latency=LATENCY)
        wish = _wish(sandbox.place.mailchimp_url, ometria.place.ometria_url, sandbox.account)
        size = _on_list(wish)
        sandbox.clear()
        ran = _ran(contestant, wish)[0]
        seen, records = sandbox.counters(), ometria.counters().records
    if seen.members < size or (contestant.pushes and not records):
        raise RuntimeError(f"it read {seen.members} of {size} members and pushed {records}")
    return Speed(size / ran.wall, seen.began - ran.began, 1e6 * ran.processor / size, ran.peak)


def lost(contestant: Contestant, size: int) -> int:
    """How many who were on the list all the time, unchanged, it did not bring, while others left after each page.

    Brought means held by Ometria, or written out by a peer that only reads. The sandbox is in this process, for only
    here can something be done after each page; so nothing is timed.
    """
    leavers = _Leavers()
    knobs = SandboxSettings(size=size, latency=LATENCY, after_page=leavers, pushes_per_second=UNLIMITED)
    with Sandbox(knobs) as sandbox:
        names = {
            one.number: _names(sandbox.list_key, one) for one in sandbox.audience().listed() if one["email_address"]
        }
        account = Account("client", sandbox.mailchimp_key, sandbox.ometria_key, sandbox.list_key)
        _, out = _ran(contestant, _wish(sandbox.mailchimp_url, sandbox.ometria_url, account))
        brought = out | {contact_id for _, contact_id in sandbox.contacts()}
    return sum(number not in leavers.numbers and not brought & own for number, own in names.items())


@dataclass
class _Leavers:
    numbers: set[int] = field(default_factory=set)

    def __call__(self, audience: Audience) -> None:
        self.numbers.update(audience.archive(LEAVERS).numbers)


def _names(list_key: str, one: MemberView) -> set[str]:
    """A member's id with Mailchimp, and with Ometria."""
    return {one["id"], f"{list_key}-{one.get('contact_id') or one['web_id']}"}


def _wish(mailchimp_url: str, ometria_url: str, one: Account) -> Wish:
    return Wish(mailchimp_url, ometria_url, one.mailchimp_key, one.ometria_key, one.list_key)


def _ran(contestant: Contestant, wish: Wish) -> tuple[Ran, set[str]]:
    """In a fresh folder; and whom it wrote out."""
    with tempfile.TemporaryDirectory(prefix="mcimport-bench-") as name:
        folder = Path(name)
        ran = run(contestant.command(wish, folder), folder)
        out = folder / OUT
        return ran, set(_ids(out)) if out.exists() else set()


class _Data(msgspec.Struct):
    id: str = ""


class _Record(msgspec.Struct):
    id: str = ""
    data: _Data | None = None


class _Line(msgspec.Struct):
    """A line of a reader's output: our own scripts', a Singer tap's, or an Airbyte source's."""

    id: str = ""
    record: _Record | None = None


def _ids(out: Path) -> Iterator[str]:
    with out.open("rb") as lines:
        for line in lines:
            one = msgspec.json.decode(line, type=_Line)
            record = one.record or _Record()
            yield one.id or record.id or (record.data or _Data()).id


class _Members(msgspec.Struct):
    total_items: int


def _on_list(wish: Wish) -> int:
    answer = httpx.get(
        f"{wish.mailchimp_url}/lists/{wish.list_key}/members",
        params={"count": "1", "fields": "total_items"},
        auth=("any", wish.mailchimp_key),
        trust_env=False,  # loopback: no proxy of the environment's in between
    )
    return msgspec.json.decode(answer.raise_for_status().content, type=_Members).total_items
