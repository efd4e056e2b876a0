"""The list moves while it is read: whoever stayed arrives in that very run, whoever moved in the next one."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from conftest import CONFIG, Importer, MakeImporter, imported_ids
from passing import time_passes

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.member_list import MemberView
from mcimport.sandbox.request_log import Request

SMALL_PAGES = CONFIG + "mailchimp.window = 200\n"
TINY_PAGES = CONFIG + "mailchimp.window = 50\nometria.batch = 25\n"
Move = Callable[[Audience], object]


def of_ours(one: MemberView) -> str:
    return str(one.get("contact_id") or one["web_id"])


def standing(importer: Importer) -> dict[str, str]:
    """Who is on the list with an address, and when each changed last."""
    people = importer.sandbox.audience().listed()
    return {of_ours(one): one["last_changed"] for one in people if one["email_address"]}


def pushes(importer: Importer) -> int:
    return sum(one.count for one in importer.sandbox.requests if one.service == "ometria")


def sync_while_it_moves(importer: Importer, *, letters: bool = False) -> None:
    """One sync while the list moves: whoever stayed as they were is in Ometria, at 5 % more pushes at most.

    Who changed in the last seconds before the run began is the next one's, as is who changed meanwhile.
    """
    before = standing(importer)
    result = importer("sync", "--json")
    assert result.code == (3 if letters else 0), result.err
    after = standing(importer)
    until = result.line["until"]
    stayed = {one for one, changed in before.items() if after.get(one) == changed <= until}
    assert len(stayed) > 0 or not after
    assert stayed <= imported_ids(importer)
    assert pushes(importer) <= 1.05 * len(before | after)


def agree_once_quiet(importer: Importer) -> None:
    """After a last sync everybody on the list is in Ometria as they are today, and nobody is opted in who is not."""
    importer.sandbox.settings.on_page = importer.sandbox.settings.after_page = importer.sandbox.settings.fault = None
    importer.sandbox.settings.churn = 0
    time_passes(10)
    assert importer("sync").code == 0
    held = {key[1].split("-", 1)[1]: contact for key, contact in importer.sandbox.contacts().items()}
    for one in importer.sandbox.audience().members:
        contact = held.get(of_ours(one))
        if contact is None:
            assert one["status"] == "archived" or not one["email_address"]
            continue
        assert (contact["marketing_optin"] == "EXPLICITLY_OPTEDIN") == (one["status"] == "subscribed")
        if one["email_address"]:
            assert contact["email"] == one["email_address"].strip()


def some_of(n: int, move: Callable[[Audience, int], object]) -> Move:
    return lambda audience: move(audience, n)


MOVES: dict[str, Callable[[Audience, int], object]] = {
    "change": lambda audience, n: audience.change(n),
    "are archived": lambda audience, n: audience.archive(n),
    "are archived and come back": lambda audience, n: (audience.archive(n), audience.unarchive(n)),
    "join": lambda audience, n: audience.join(n),
    "are deleted": lambda audience, n: audience.delete(n),
    "change their address": lambda audience, n: audience.change_address(n),
    "unsubscribe": lambda audience, n: audience.unsubscribe(n),
}


@pytest.mark.parametrize("kind", MOVES)
@pytest.mark.parametrize("moment", ["between choice and writing", "between two pages", "between read and push"])
def test_people_move_at_every_moment_of_a_run(make_importer: MakeImporter, moment: str, kind: str) -> None:
    """Whatever members do, and whenever they do it, those who stay arrive and the others follow."""
    importer = make_importer(size=250)
    importer.configure(TINY_PAGES)
    move = some_of(2, MOVES[kind])
    if moment == "between choice and writing":
        importer.sandbox.settings.on_page = move
    elif moment == "between two pages":
        importer.sandbox.settings.after_page = move
    else:
        audience = importer.sandbox.audience()

        def before_a_push(request: Request) -> None:
            if request.path.endswith("/push"):
                move(audience)

        importer.sandbox.settings.fault = before_a_push
    sync_while_it_moves(importer)
    agree_once_quiet(importer)


@pytest.mark.parametrize("before", [True, False], ids=["before includes", "before excludes"])
@pytest.mark.parametrize("since", [True, False], ids=["since includes", "since excludes"])
def test_all_bounds_are_right(make_importer: MakeImporter, *, since: bool, before: bool) -> None:
    """Whichever of the bounds include their second, in a crowd and out of it, nobody is lost and nobody comes twice."""
    importer = make_importer(size=500, since_includes=since, before_includes=before, churn=10)
    importer.configure(TINY_PAGES)
    now = int(importer.sandbox.clock.now())
    for second in range(5):
        importer.sandbox.audience().join_in_second(112, now - 900 + second)
    sync_while_it_moves(importer)
    agree_once_quiet(importer)


@pytest.mark.parametrize(
    ("members", "unstable"),
    [(1_000, False), (875, True)],
    ids=["1,000 in a stable order", "875 in an order that changes with every answer"],
)
def test_many_pages_of_one_second_while_some_of_them_leave(
    make_importer: MakeImporter, members: int, *, unstable: bool
) -> None:
    """A second of many pages is read in passes; who stays arrives, who leaves comes with the next run."""
    importer = make_importer(size=125, unstable_order=unstable)
    importer.configure(CONFIG + "mailchimp.window = 250\n")
    second = int(importer.sandbox.clock.now()) - 4_000
    crowd = [of_ours(one) for one in importer.sandbox.audience().join_in_second(members, second)]
    chance = random.Random(3)  # noqa: S311 - repeatable, not secret

    def leave(audience: Audience) -> None:
        there = [one for one in chance.sample(crowd, 3) if audience.find(one)]
        audience.archive(who=there)

    importer.sandbox.settings.after_page = leave
    sync_while_it_moves(importer)
    importer.sandbox.settings.unstable_order = False
    agree_once_quiet(importer)


@pytest.mark.parametrize("share", [1.0, 0.3], ids=["always", "now and then"])
@pytest.mark.parametrize("lie", [2, -2, 100, -100])
def test_counts_that_lie_lose_nobody(make_importer: MakeImporter, lie: int, share: float) -> None:
    """`total_items` above or below what is delivered changes neither who arrives nor that the run ends."""
    importer = make_importer(size=375, count_lies=lie, count_lies_share=share)
    importer.configure(TINY_PAGES)
    sync_while_it_moves(importer)
    importer.sandbox.audience().change(3)
    importer.sandbox.settings.count_lies = 0
    agree_once_quiet(importer)


def test_a_slow_first_page_dated_at_its_end_while_people_change(make_importer: MakeImporter) -> None:
    """What changes while the first page is on its way belongs to the next run, not to nobody."""
    importer = make_importer(size=1_200, first_page_latency=4.0, writing_delay=0.05, churn=50)
    importer.configure(SMALL_PAGES)
    sync_while_it_moves(importer)
    importer.sandbox.settings.first_page_latency = None
    agree_once_quiet(importer)


@pytest.mark.parametrize("skew", [900, -900], ids=["ahead", "behind"])
def test_a_server_clock_that_is_a_quarter_of_an_hour_off(make_importer: MakeImporter, skew: int) -> None:
    """Sync points follow Mailchimp's clock, whatever this machine's says."""
    importer = make_importer(size=1_000, clock_skew=skew, churn=20)
    importer.configure(SMALL_PAGES)
    sync_while_it_moves(importer)
    importer.sandbox.audience().change(4)
    agree_once_quiet(importer)


def test_one_answer_with_a_clock_of_its_own_does_not_move_the_sync_point_ahead(make_importer: MakeImporter) -> None:
    """One edge dates its answer a day ahead: what changes afterwards is still carried."""
    importer = make_importer(size=300)

    def misdate(request: Request) -> None:
        importer.sandbox.settings.clock_skew = 86_400 if request.path.endswith("/members") and request.nth == 1 else 0

    importer.sandbox.settings.fault = misdate
    assert importer("sync").code == 0
    importer.sandbox.settings.fault = None
    importer.sandbox.audience().change(5)
    agree_once_quiet(importer)


def test_no_date_at_all_is_answered_with_this_machines_clock_and_a_warning(make_importer: MakeImporter) -> None:
    """Without the server's clock, five minutes' distance keeps everybody; the warning says so."""
    importer = make_importer(size=1_000, no_date=True)
    importer.configure(SMALL_PAGES)
    result = importer("sync")
    assert result.code == 0
    assert "no Date header" in result.err
    time_passes(330)
    agree_once_quiet(importer)


def test_a_list_that_empties_while_it_is_read(make_importer: MakeImporter) -> None:
    """Everybody leaves in the middle: the run ends, and nobody stays opted in."""
    importer = make_importer(size=1_500)
    importer.configure(SMALL_PAGES)
    importer.sandbox.settings.after_page = lambda audience: audience.archive(120)
    sync_while_it_moves(importer)
    agree_once_quiet(importer)


def test_a_list_that_doubles_while_it_is_read(make_importer: MakeImporter) -> None:
    """As many again join in the middle: the run brings those who were there, the next one the others."""
    importer = make_importer(size=1_200)
    importer.configure(SMALL_PAGES)
    importer.sandbox.settings.after_page = lambda audience: audience.join(100)
    sync_while_it_moves(importer)
    agree_once_quiet(importer)


def test_the_naive_reading_of_the_same_stage_is_caught_by_the_same_check(make_importer: MakeImporter) -> None:
    """Offset pages over a list that moves lose people who did not change: the check above can fail."""
    importer = make_importer(size=1_500)
    audience = importer.sandbox.audience()
    before = standing(importer)
    seen: set[str] = set()
    for offset in range(0, 1_600, 200):
        page = sorted(audience.listed(), key=lambda one: (one["last_changed"], one["id"]))[offset : offset + 200]
        seen |= {of_ours(one) for one in page}
        audience.archive(10)
    after = standing(importer)
    assert {one for one, changed in before.items() if after.get(one) == changed} - seen
