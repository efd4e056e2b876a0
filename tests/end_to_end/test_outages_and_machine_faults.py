"""An outage, a fault of this machine and a mistake of ours are no member's dead letter: the run fails, and goes on."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import Any

import pytest
from conftest import CONFIG, Importer, MakeImporter, expected_ids, imported_ids
from passing import time_passes

from mcimport.convert import make_converter
from mcimport.engine.page.converter import RunConverter
from mcimport.engine.page.list_fields import LazyListFields
from mcimport.engine.page.subscription_events import EventBudget
from mcimport.errors import MachineError, McimportError, UnforeseenError
from mcimport.errors.machine import affordable, as_ours, raise_file_limit
from mcimport.models import ContactRules, ListFields, Member, Unsendable
from mcimport.services.http.client import HttpClient
from mcimport.services.http.connection_limit import ConnectionLimit
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.http.shutdown import StopSignal
from mcimport.services.mailchimp.client import MailchimpClient

SMALL_PAGES = CONFIG + "mailchimp.window = 100\nometria.batch = 25\n"

# As a package that is upgraded while a sync runs: what is loaded when it is first needed is not there any more.
UPGRADED = """\
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("phonenumbers.data."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
import mcimport.engine.page.converter
sys.meta_path.insert(0, Gone())
import runpy
sys.argv[0] = "mcimport"
runpy.run_module("mcimport", run_name="__main__")
"""

# A limit of address space that few stacks fit into: that of a user's threads does not bind root.
FEW_THREADS = """\
import resource, runpy, sys, threading
threading.stack_size(4 << 30)
most = ({threads} * 4 + 3) << 30
resource.setrlimit(resource.RLIMIT_AS, (most, most))
sys.argv[0] = "mcimport"
runpy.run_module("mcimport", run_name="__main__")
"""


def still_mailed(importer: Importer, people: Any) -> set[str]:
    return {str(one["email_address"]).lower() for one in people} & importer.sandbox.mailable()


def tries_again(importer: Importer) -> bool:
    """Whether the sync an hour later pushes anybody."""
    time_passes(3_600)
    importer.sandbox.clear_requests()
    importer("sync")
    return any(one.path.endswith("/push") for one in importer.sandbox.requests)


def no_letters(importer: Importer) -> bool:
    return importer("dlq", "list", "--json").out == ""


# ---- an outage


@pytest.mark.parametrize("fault", ["503", "reset", "html"])
def test_a_first_sync_of_one_page_that_ometria_does_not_take_has_failed(
    make_importer: MakeImporter, fault: str
) -> None:
    """Exit 1, no sync point and no dead letter to discard: the next sync brings everybody."""
    importer = make_importer(size=767)
    importer.sandbox.settings.fault = lambda one: fault if one.path.endswith("/push") else None
    result = importer("sync", "--json")
    assert (result.code, result.line["status"], result.line["windows_dead"]) == (1, "failed", 0)
    assert "nothing was imported: " in result.err
    assert no_letters(importer)
    assert importer("status", "--json").line["sync_point"] is None
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_what_fails_alone_for_hours_becomes_a_dead_letter_and_keeps_nobody_waiting(make_importer: MakeImporter) -> None:
    """One member whom Ometria answers with an error time after time does not hold up those who change later."""
    importer = make_importer(size=60)
    importer("sync")
    time_passes(600)
    importer.sandbox.audience().unsubscribe(1)
    time_passes(5)
    importer.sandbox.settings.fault = lambda one: "500" if one.path.endswith("/push") else None
    for _ in range(2):
        assert importer("sync").code == 1
        assert no_letters(importer)
        time_passes(3_601)
    importer("sync")
    assert not no_letters(importer)
    importer.sandbox.settings.fault = None
    left = importer.sandbox.audience().unsubscribe(5)
    time_passes(5)
    assert importer("sync").code == 0
    assert no_letters(importer)
    assert not still_mailed(importer, left)


@pytest.mark.parametrize("status", ["403-bare", "400"])
def test_an_hour_of_refusals_fails_the_run_and_the_next_one_opts_everybody_out(
    make_importer: MakeImporter, status: str
) -> None:
    """Whoever answers 400 to everything, 120 opt-outs are in no drawer that nobody opens."""
    importer = make_importer(size=600, reject_batches=True)
    importer("sync")
    time_passes(600)
    left = importer.sandbox.audience().unsubscribe(120)
    time_passes(5)
    if status == "400":
        importer.sandbox.settings.rejects_record = lambda _: True
    else:
        importer.sandbox.settings.fault = lambda one: status if one.path.endswith("/push") else None
    result = importer("sync")
    assert result.code == 1
    assert no_letters(importer)
    importer.sandbox.settings.rejects_record = importer.sandbox.settings.fault = None
    assert importer("sync").code == 0
    assert not still_mailed(importer, left)


def test_a_few_who_were_refused_are_tried_again_by_syncs_ever_more_seldom_an_opt_out_first(
    make_importer: MakeImporter,
) -> None:
    """One batch may be refused for what it holds: letters, which later syncs try again, each time after longer."""
    importer = make_importer(size=300, reject_batches=True)
    importer.configure(SMALL_PAGES)
    importer("sync")
    time_passes(600)
    importer.sandbox.audience().change(2)
    left = importer.sandbox.audience().unsubscribe(4)
    time_passes(5)
    importer.sandbox.settings.rejects_record = lambda _: True
    assert importer("sync").code == 3
    assert importer("dlq", "list", "--json").out.count("\n") == 6
    tried = [hour for hour in range(24) if tries_again(importer)]
    waited = [later - earlier for earlier, later in pairwise(tried)]
    assert 3 <= len(tried) <= 5
    assert waited == sorted(set(waited))
    importer.sandbox.settings.rejects_record = None
    time_passes(4 * 86_400)
    assert importer("sync").code == 0
    assert no_letters(importer)
    assert not still_mailed(importer, left)


def test_a_refused_member_of_a_large_second_is_tried_again_without_reading_that_second(
    make_importer: MakeImporter,
) -> None:
    """An import gives thousands the same second; each letter costs a few requests, not all of their pages."""
    importer = make_importer(size=0, reject_batches=True)
    importer.configure(SMALL_PAGES)
    people = importer.sandbox.audience().join_in_second(600, importer.sandbox.clock.second() - 300)
    refused = next(one for one in people if one["email_address"] and one.get("contact_id"))
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{refused['contact_id']}"}
    assert importer("sync").code == 3
    importer.sandbox.settings.rejects = set()
    time_passes(3_600)
    importer.sandbox.clear_requests()
    assert importer("sync").code == 0
    assert no_letters(importer)
    assert imported_ids(importer) == expected_ids(importer)
    assert len([one for one in importer.sandbox.requests if "/members" in one.path]) <= 4


# ---- this machine


def test_a_part_that_is_gone_in_the_middle_of_a_run_fails_it_in_words(make_importer: MakeImporter) -> None:
    """An upgrade under a running sync: exit 1, resumable, and nobody "cannot be converted"."""
    importer = make_importer(size=1_500)
    words = importer.command("sync", "--json")[3:]
    result = subprocess.run([sys.executable, "-c", UPGRADED, *words], capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "can no longer be loaded (phonenumbers.data." in result.stderr
    assert "Traceback" not in result.stderr
    assert no_letters(importer)
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_too_few_open_files_fail_the_run_in_words_and_leave_no_dead_letters(make_importer: MakeImporter) -> None:
    """`ulimit -n 20`: exit 1, everything pending; with more of them the next sync brings everybody."""
    importer = make_importer(size=1_500, latency=0.05)
    importer.configure(SMALL_PAGES)
    limited = ["sh", "-c", 'ulimit -n 18; exec "$@"', "sh", *importer.command("sync")]
    result = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert no_letters(importer)
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


@pytest.mark.parametrize("threads", [0, 2, 12])
def test_too_few_threads_fail_the_run_in_words_and_leave_no_dead_letters(
    make_importer: MakeImporter, threads: int
) -> None:
    """Whoever asks for the one that is not to be had: exit 1, no traceback, and the next sync brings everybody."""
    importer = make_importer(size=300, latency=0.02)
    importer.configure(SMALL_PAGES.replace("100", "20"))
    program = FEW_THREADS.format(threads=threads)
    words = importer.command("sync")[3:]
    result = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "this machine lets mcimport start no more threads" in result.stderr
    assert "Traceback" not in result.stderr
    assert no_letters(importer)
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_the_soft_limit_of_open_files_is_raised_and_bounds_how_many_clients_are_at_work() -> None:
    """As many as there may be, one at least, and never more than were asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        assert [affordable(jobs) for jobs in (1, 3, 32)] == [1, 3, 3]
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 65_536)
        assert affordable(32) == 32
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (MemoryError(), MachineError, "run out of memory"),
        (ModuleNotFoundError("No module named 'x'", name="x"), MachineError, "(x)"),
        (OSError(28, "No space left on device", "/home/ada@example.com"), MachineError, "No space left"),
        (RuntimeError("can't start new thread"), MachineError, "no more threads"),
        (KeyError("ada@example.com"), UnforeseenError, "KeyError"),
    ],
)
def test_what_is_no_error_of_ours_becomes_one_that_names_nobody(
    error: Exception, kind: type[McimportError], words: str
) -> None:
    """Its type, and never its words, which may hold a person or a path."""
    found = as_ours(error)
    assert isinstance(found, kind)
    assert words in str(found)
    assert "ada" not in f"{found} {found.hint}"


# ---- a mistake of ours


class Odd(dict[str, Any]):
    """A value of which nobody thought."""

    def items(self) -> Any:
        raise ZeroDivisionError


def member(number: int, *, is_odd: bool) -> Member:
    fields: Any = Odd(FNAME="Ada") if is_odd else {"FNAME": "Ada"}
    return Member(
        contact_id=f"{number:032x}", email_address=f"m{number}@example.com", status="subscribed", merge_fields=fields
    )


@contextmanager
def converter(importer: Importer) -> Iterator[RunConverter]:
    sandbox = importer.sandbox
    wire = HttpClient("Mailchimp", sandbox.mailchimp_url, {"Authorization": f"Bearer {sandbox.mailchimp_key}"})
    with closing(MailchimpClient(wire, RetryPolicy(StopSignal()), ConnectionLimit(2))) as mailchimp:
        fields = LazyListFields(mailchimp, sandbox.list_key)
        rules = ContactRules(list_key=sandbox.list_key, collection="mailchimp", new_since=None)
        yield RunConverter(mailchimp, fields, rules, EventBudget(0, 0, ()), lambda _: None)


def test_one_member_who_trips_a_mistake_is_a_dead_letter_and_so_many_fail_the_run(make_importer: MakeImporter) -> None:
    """More than twenty of one kind, or one in a hundred: that is ours."""
    with converter(make_importer(size=5)) as convert:
        found = [convert(member(number, is_odd=number <= 20)) for number in range(1, 201)]
        assert sum(isinstance(one, Unsendable) for one in found) == 20
        with pytest.raises(UnforeseenError, match="bug in mcimport"):
            convert(member(999, is_odd=True))


def test_a_converter_passes_on_what_is_the_machines_fault() -> None:
    """Whoever the member is."""

    class Gone(Odd):
        def items(self) -> Any:
            raise ModuleNotFoundError(name="phonenumbers.data.region_DE")

    convert = make_converter(ListFields({}, {}), ContactRules(list_key="1a2d7ebf82", collection="c", new_since=None))
    with pytest.raises(ModuleNotFoundError):
        convert(Member(contact_id="1" * 32, email_address="a@example.com", merge_fields=Gone(FNAME="Ada")))


def test_an_unforeseen_fault_in_one_client_ends_that_client_alone(make_importer: MakeImporter) -> None:
    """A count that no database holds: exit 1 with a line of JSON for each, the run marked as failed, no traceback."""
    importer = make_importer(size=30, count_lies=2**63)
    result = importer("sync", "--json")
    assert (result.code, result.line["status"]) == (1, "failed")
    assert "Traceback" not in result.err
    assert [line["status"] for line in importer("runs", "list", "--json").lines] == ["failed"]
    importer.sandbox.settings.count_lies = 0
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)
