"""What an account takes is kept, also when it is less than what is configured, and also while answers fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import CONFIG, Importer, MakeImporter, expected_ids, imported_ids

from mcimport.sandbox.request_log import max_in_any_second

JITTER = 0.08  # seconds by which a push may arrive late, without being one too many
LOOK = 0.005  # seconds between two looks at how late this process is
AT_THE_LIMIT = CONFIG.replace("ometria.requests_per_second = 500\n", "")


def seconds_of_pushing(importer: Importer) -> float:
    """From the first push that was taken to the last, by the sandbox's clock."""
    taken = [one.at for one in importer.sandbox.requests if one.service == "ometria" and one.status == 202]
    return taken[-1] - taken[0]


@contextmanager
def lateness() -> Iterator[list[float]]:
    """By how much this process, in which the sandbox is, hears late at most: more on a busy machine than on an idle."""
    over, most = threading.Event(), [0.0]

    def look() -> None:
        before = time.monotonic()
        while not over.wait(LOOK):
            now = time.monotonic()
            most[0] = max(most[0], now - before - LOOK)
            before = now

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def assert_pace(importer: Importer, most: int, late: float) -> None:
    """No second saw more, as they were sent: they are heard of a little less evenly, but at no higher rate."""
    times = [one.at for one in importer.sandbox.requests if one.path == "/push"]
    jitter = JITTER + 2 * late  # the importer's process is late, too, with what it notes of its own pushes
    # One push may be heard of that much late, and the one nine later that much less.
    assert max_in_any_second(times, max(0.01, 1 - 2 * jitter)) <= most
    # The first may have come as late as is allowed for, and nothing else.
    assert (len(times) - 1) / (times[-1] - times[0] + jitter) <= most


def refused(importer: Importer, side: str) -> int:
    return sum(one.status == 429 and one.service == side for one in importer.sandbox.requests)


@pytest.mark.parametrize("faults", [{}, {"500": 0.1, "reset": 0.05}], ids=["on a good day", "while answers fail"])
def test_no_second_sees_more_pushes_than_configured_and_no_moment_more_connections(
    make_importer: MakeImporter, faults: dict[str, float]
) -> None:
    """Eight pushes in any second, ten requests at any moment, at the defaults: no 429 for speed."""
    importer = make_importer(
        size=2_500, faults=faults, latency=0.05
    )  # how fast it was is measured here, not refused there
    importer.configure(AT_THE_LIMIT + "mailchimp.window = 100\nometria.batch = 50\n")
    # In a process of its own: what arrives unevenly here would otherwise be this process's own doing.
    with lateness() as late:
        result = importer.in_a_process("sync", "--quiet")
    assert result.code in (0, 3)
    assert_pace(importer, 8, *late)
    assert importer.sandbox.max_open() <= 10
    assert refused(importer, "mailchimp") == 0


def test_an_account_that_takes_half_of_what_is_configured_still_finishes_near_its_ceiling(
    make_importer: MakeImporter,
) -> None:
    """Four pushes a second where eight are configured: no dead letter, and at least 80 % of what it takes."""
    importer = make_importer(size=1_500, pushes_per_second=4)
    importer.configure(AT_THE_LIMIT + "ometria.batch = 25\n")
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)
    batches = sum(one.status == 202 for one in importer.sandbox.requests)
    assert (batches - 1) / seconds_of_pushing(importer) >= 0.8 * 4


def test_an_account_that_others_use_too_gives_us_fewer_connections_and_no_dead_letters(
    make_importer: MakeImporter,
) -> None:
    """Six connections where ten are configured: the refused wait their turn, and everybody arrives."""
    importer = make_importer(size=3_000, connections=6, latency=0.05)
    importer.configure(CONFIG + "mailchimp.window = 50\n")
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)
    asked = sum(one.service == "mailchimp" for one in importer.sandbox.requests)
    assert refused(importer, "mailchimp") < 0.2 * asked


def test_a_queue_that_is_nearly_full_is_slowed_for_before_it_refuses(make_importer: MakeImporter) -> None:
    """A remainder of a few hundred records slows the pushes: the 429 of a full queue does not come."""
    importer = make_importer(size=2_000, queue_limit=1_000, queue_drain=800.0)
    importer.configure(CONFIG.replace("= 500", "= 40"))
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)
    assert refused(importer, "ometria") <= 2


def test_a_full_queue_is_waited_for_without_spending_tries(make_importer: MakeImporter) -> None:
    """More refusals for one batch than there are tries: nothing is lost, and nothing becomes a dead letter."""
    importer = make_importer(size=400)
    importer.sandbox.settings.fault = lambda one: (
        "429-retry-after" if one.path.endswith("/push") and one.nth < 6 else None
    )
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)
    assert importer("dlq", "list", "--json").lines == []


def test_clients_of_one_account_share_its_limits(make_importer: MakeImporter) -> None:
    """Two clients with the same keys are one account to both services, and are kept to one account's limits."""
    importer = make_importer(size=1_200, latency=0.03)
    importer.sandbox.add_account(importer.sandbox.mailchimp_key, importer.sandbox.ometria_key, {"bbbbbbbbbb": 1_200})
    second = AT_THE_LIMIT[AT_THE_LIMIT.index("[clients.acme]") :].replace("acme", "other")
    importer.configure(AT_THE_LIMIT + "mailchimp.window = 100\n" + second.replace("{list_key}", "bbbbbbbbbb"))
    with lateness() as late:
        assert importer.in_a_process("sync").code == 0
    assert_pace(importer, 8, *late)
    assert importer.sandbox.max_open() <= 10
    assert refused(importer, "mailchimp") == 0
