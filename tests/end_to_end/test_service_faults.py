"""Each thing that goes wrong on the way, on both sides at once: everybody arrives all the same."""

from __future__ import annotations

import pytest
from conftest import CONFIG, Importer, MakeImporter, expected_ids, imported_ids
from passing import time_passes

from mcimport.engine.interface import DEAD_IN_A_ROW
from mcimport.models.timestamps import epoch
from mcimport.sandbox.request_log import Request

SMALL_PAGES = CONFIG + "mailchimp.window = 50\nometria.batch = 10\n"
IMPATIENT = SMALL_PAGES + "mailchimp.timeout = 0.4\nometria.timeout = 0.4\n"

PASSING = [
    "429",
    "429-retry-after",
    "403-bare",
    "500",
    "502",
    "503",
    "504",
    "reset",
    "reset-body",
    "truncated",
    "empty",
    "html",
    "error-object",
    "wrong-shape",
    "lost",
]


def arrives(importer: Importer, *, within: int = 4) -> None:
    """Everybody is in Ometria after a few syncs, without a hand, and no letter stays open."""
    codes = []
    for _ in range(within):
        codes.append(importer("sync", "--quiet").code)
        if codes[-1] == 0 and importer("dlq", "list", "--json").out == "":
            break
    assert codes[-1] == 0, codes
    assert set(codes) <= {0, 1, 3}
    assert importer("dlq", "list", "--json").lines == []
    assert imported_ids(importer) == expected_ids(importer)


def mid_run(fault: str, side: str) -> object:
    """The fault strikes one side once the run is under way."""

    def decide(request: Request) -> str | None:
        return (
            fault
            if request.service == side and request.path.endswith(("/members", "/push")) and request.nth > 8
            else None
        )

    return decide


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_in_15_percent_of_all_answers_loses_nobody(make_importer: MakeImporter, fault: str) -> None:
    """However often both sides answer wrongly, everybody arrives, and within the limits."""
    importer = make_importer(size=250, faults={fault: 0.15})
    importer.configure(SMALL_PAGES)
    arrives(importer)
    assert importer.sandbox.max_open() <= 10


@pytest.mark.parametrize("fault", ["silent", "endless"])
def test_a_server_that_never_ends_its_answer_is_given_up_and_asked_again(
    make_importer: MakeImporter, fault: str
) -> None:
    """A time-out ends what the server does not, and the next try brings the page."""
    importer = make_importer(size=150, faults={fault: 0.1}, silence=5.0)
    importer.configure(IMPATIENT)
    arrives(importer)


def test_all_faults_mixed_lose_nobody(make_importer: MakeImporter) -> None:
    """All of them at once, at 15 % together."""
    importer = make_importer(size=250, faults=dict.fromkeys(PASSING, 0.01))
    importer.configure(SMALL_PAGES)
    arrives(importer)


def test_compressed_answers_are_taken_and_cost_a_fraction(make_importer: MakeImporter) -> None:
    """Whole or spoilt on the way: everybody arrives, and fewer bytes are sent for it."""
    sizes = []
    for is_compressed in (False, True):
        importer = make_importer(size=250, gzip=is_compressed)
        importer.configure(SMALL_PAGES)
        arrives(importer)
        sizes.append(sum(one.bytes for one in importer.sandbox.requests if one.service == "mailchimp"))
        importer.sandbox.settings.faults = {"reset-body": 0.1, "truncated": 0.1}
        importer.sandbox.audience().change(75)
        time_passes(60)
        arrives(importer)
    assert sizes[1] < 0.4 * sizes[0]


def test_a_list_that_is_not_found_in_passing_is_asked_for_again(make_importer: MakeImporter) -> None:
    """A 404 in the middle of a run is retried: the list was there a moment ago."""
    importer = make_importer(size=400)
    importer.configure(SMALL_PAGES)
    importer.sandbox.settings.fault = lambda one: (
        "404" if one.path.endswith("/members") and one.nth in {3, 5, 6, 9} else None
    )
    arrives(importer)


def test_a_push_that_finds_nothing_there_in_passing_is_sent_again(make_importer: MakeImporter) -> None:
    """A 404 of Ometria's once it has taken pushes is an incident, and retried like one."""
    importer = make_importer(size=400)
    importer.configure(SMALL_PAGES)
    importer.sandbox.settings.fault = lambda one: "404" if one.path.endswith("/push") and one.nth in {4, 7, 8} else None
    result = importer("sync", "--json")
    assert (result.code, result.line["dead_letters"]) == (0, 0)
    assert imported_ids(importer) == expected_ids(importer)


def test_an_address_that_takes_no_pushes_is_said_at_once(make_importer: MakeImporter) -> None:
    """A 404 before anything was ever taken: the address is wrong, and no try mends it."""
    importer = make_importer(size=300)
    importer.sandbox.settings.fault = lambda one: "404" if one.path.endswith("/push") else None
    result = importer("sync")
    assert result.code == 1
    assert "nothing can be pushed to this address" in result.err
    assert len([one for one in importer.sandbox.requests if one.path.endswith("/push")]) == 1
    importer.sandbox.settings.fault = None
    arrives(importer)


def test_a_page_that_only_answers_at_a_smaller_size_is_read_at_that_size(make_importer: MakeImporter) -> None:
    """504 above 100 members: the windows find the size that works, and everybody arrives without a letter."""
    importer = make_importer(size=1_400, max_page=100)
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_a_page_that_fails_for_good_is_narrowed_to_the_smallest_span(make_importer: MakeImporter) -> None:
    """One member breaks every page that holds them: one letter, of their second alone, and everybody else arrives."""
    importer = make_importer(size=300, broken=["175"])
    importer.configure(SMALL_PAGES)
    assert importer("sync").code == 3
    (letter,) = importer("dlq", "list", "--json").lines
    missing = expected_ids(importer) - imported_ids(importer)
    (second,) = {
        one["last_changed"] for one in importer.sandbox.audience().listed() if one.get("contact_id") in missing
    }
    assert (letter["kind"], letter["cause"], letter["until"]) == ("window", "transport", second)
    assert epoch(letter["since"]) == (epoch(second) or 0) - 1
    asked = [one for one in importer.sandbox.requests if one.service == "mailchimp" and one.status == 500]
    assert len(asked) <= 4 + 12  # the tries of the page, and a dozen in which the span is found
    importer.sandbox.settings.broken.clear()
    arrives(importer)


@pytest.mark.parametrize("status", [400, 413])
def test_a_batch_that_is_refused_whole_is_halved_until_the_record_is_found(
    make_importer: MakeImporter, status: int
) -> None:
    """The other 99 are delivered, and the record's letter says what Ometria answered."""
    importer = make_importer(size=400, reject_batches=True, reject_status=status)
    member = next(one for one in importer.sandbox.audience().listed() if one["email_address"] and one.get("contact_id"))
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{member['contact_id']}"}
    assert importer("sync").code == 3
    (letter,) = importer("dlq", "list", "--json").lines
    assert letter["member_id"] == member["contact_id"]
    assert f"Ometria answered {status}" in letter["reason"]
    assert expected_ids(importer) - imported_ids(importer) == {member["contact_id"]}


def test_a_refused_connection_fails_the_run_and_the_next_one_brings_everybody(make_importer: MakeImporter) -> None:
    """Nobody listens: exit 1 in words; once somebody does, the next sync brings everybody."""
    importer = make_importer(size=500)
    with importer.sandbox.offline():
        result = importer("sync")
        assert result.code == 1
        assert "cannot be reached" in result.err
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_a_block_at_the_edge_that_stays_is_said_in_words_with_its_reference(make_importer: MakeImporter) -> None:
    """The key is not blamed for a machine's address that Mailchimp's edge blocks."""
    importer = make_importer(size=100)
    importer.sandbox.settings.fault = lambda one: "403-blocked" if one.service == "mailchimp" else None
    result = importer("sync")
    assert result.code == 1
    assert "18.0a0b0c0d.1700000000.1a2b3c4" in result.err
    assert "firewall is blocking" in result.err
    assert "key is not the problem" in result.err


@pytest.mark.parametrize("side", ["mailchimp", "ometria"])
@pytest.mark.parametrize("fault", ["401", "403"])
def test_a_refusal_that_says_why_stops_the_run_at_once(make_importer: MakeImporter, fault: str, side: str) -> None:
    """A key revoked in the middle of a run ends it with exit 1; the sync point stays, the next run goes on."""
    importer = make_importer(size=500)
    importer.configure(SMALL_PAGES)
    importer.sandbox.settings.fault = mid_run(fault, side)  # type: ignore[assignment] # a plain function, as the knob takes it
    result = importer("sync", "--json")
    assert result.code == 1
    assert result.line["status"] == "failed"
    assert importer("status", "--json").lines[0]["sync_point"] is None
    refused = [one for one in importer.sandbox.requests if one.fault == fault]
    assert len(refused) <= 20
    importer.sandbox.settings.fault = None
    arrives(importer)


def test_ten_pages_dead_in_a_row_stop_the_run_and_the_next_one_goes_on(make_importer: MakeImporter) -> None:
    """A service that is down is not answered with a table full of letters: exit 1, resumable."""
    importer = make_importer(size=2_000)
    importer.configure(SMALL_PAGES)
    importer.sandbox.settings.fault = mid_run("500", "ometria")  # type: ignore[assignment] # as above
    result = importer("sync", "--json")
    assert result.code == 1
    assert result.line["status"] == "failed"
    assert 0 < len(importer("dlq", "list", "--json").lines) <= 2 * DEAD_IN_A_ROW  # some had sent a part
    importer.sandbox.settings.fault = None
    arrives(importer)


def test_a_push_that_was_stored_though_its_answer_was_lost_is_harmless(make_importer: MakeImporter) -> None:
    """The same records come again under the same ids: nobody twice, nobody missing."""
    importer = make_importer(size=250, faults={"ometria:lost": 0.3})
    importer.configure(SMALL_PAGES)
    arrives(importer)
    assert len(importer.sandbox.contacts()) == len(expected_ids(importer))
