"""`reconcile`: it names exactly what differs, mends exactly that, and opts nobody out, or in, by mistake."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import CONFIG, CommandResult, Importer, MakeImporter, configure_clients, expected_ids
from passing import time_passes

from mcimport.sandbox.audience.member_list import MemberView
from mcimport.sandbox.audience.stored_member import ABSENT
from mcimport.sandbox.request_log import Request, max_in_any_second
from mcimport.state import lock_client

TABLE = '[reconcile]\nsettling = 0\nmost = "{most}"\n\n[clients.acme]'
RECONCILING = CONFIG.replace("[clients.acme]", TABLE)
MEND = ("reconcile", "--mend", "--yes", "--json")
IN, OUT, NEITHER = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"
KINDS = ("missing", "stale", "gone", "foreign")
A_MEMBER = re.compile(r"/lists/\w+/members/\w+")


def of_ours(one: MemberView) -> str:
    return str(one.get("contact_id") or one["web_id"])


def whole(importer: Importer, status: str = "subscribed") -> list[MemberView]:
    """Members with an address and a contact_id, in an order that no change of theirs moves."""
    people = importer.sandbox.audience().with_status(status)
    return sorted((one for one in people if one["email_address"] and one.get("contact_id")), key=of_ours)


def synced(make_importer: MakeImporter, size: int, *, most: str = "5%", **knobs: Any) -> Importer:
    """On both sides nothing has to settle: what was pushed is stored at once, and so is not waited for."""
    importer = make_importer(**{"size": size, "settling": 0.0, **knobs})
    importer.configure(RECONCILING, most=most)
    assert importer("sync").code == 0
    return importer


def counts(result: CommandResult) -> tuple[int, ...]:
    return tuple(result.line[kind] for kind in KINDS)


def held(importer: Importer) -> dict[str, dict[str, Any]]:
    """Ometria's contacts of the list, by their id without it."""
    front = f"{importer.sandbox.list_key}-"
    return {
        key[1].removeprefix(front): one for key, one in importer.sandbox.contacts().items() if key[1].startswith(front)
    }


def pushed(importer: Importer) -> set[str]:
    front = f"{importer.sandbox.list_key}-"
    return {one.removeprefix(front) for request in importer.sandbox.requests for one in request.ids}


def key_of(importer: Importer, own: str) -> tuple[str, str]:
    return "mailchimp", f"{importer.sandbox.list_key}-{own}"


@dataclass(frozen=True)
class Differences:
    """What was done to both sides, by who it was done to."""

    missing: set[str]
    stale: set[str]
    gone: set[str]
    foreign: int
    others: list[MemberView]


def make_differences(importer: Importer, scale: int = 3) -> Differences:
    """50 deleted, 40 changed unseen, 30 taken out, 20 overwritten and 10 foreign ones for a `scale` of ten."""
    audience, people = importer.sandbox.audience(), whole(importer)
    cut = iter(people)

    def some(n: int) -> list[MemberView]:
        return [next(cut) for _ in range(n)]

    deleted, renamed, left, taken, overwritten = (
        some(5 * scale),
        some(2 * scale),
        some(2 * scale),
        some(3 * scale),
        some(2 * scale),
    )
    audience.delete(who=deleted)
    for one in renamed:
        audience.edit_unseen(one, merge_fields={**one["merge_fields"], "FNAME": "Unseen"})
    audience.unsubscribe_unseen(who=left)
    importer.sandbox.delete_contacts(key_of(importer, of_ours(one)) for one in taken)
    importer.sandbox.store_contacts(
        {"id": key_of(importer, of_ours(one))[1], "email": "else@example.com", "firstname": "Else"}
        for one in overwritten
    )
    importer.sandbox.store_contacts(
        {"id": f"shop-{number}", "email": f"f{number}@example.com", "marketing_optin": IN} for number in range(scale)
    )
    ids = [set(map(of_ours, group)) for group in (deleted, renamed, left, taken, overwritten)]
    return Differences(ids[3], ids[1] | ids[2] | ids[4], ids[0], scale, list(cut))


@contextmanager
def moving(importer: Importer, others: list[MemberView]) -> Iterator[None]:
    """Twenty changes a second to people who are not watched, also in the middle of every page."""
    audience, over = importer.sandbox.audience(), threading.Event()
    people = iter(others)
    kinds: list[Callable[[], object]] = [
        lambda: audience.change(who=[next(people)]),
        lambda: audience.unsubscribe(who=[next(people)]),
        lambda: audience.archive(who=[next(people)]),
        audience.join,
    ]

    def go_on() -> None:
        number = 0
        while not over.wait(0.05):
            kinds[number % len(kinds)]()
            number += 1

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def check_named(result: CommandResult, apart: Differences) -> None:
    assert result.code == 3, result.err
    assert counts(result) == (len(apart.missing), len(apart.stale), len(apart.gone), apart.foreign), result.err
    for kind in ("missing", "stale", "gone"):
        shown = result.line["ids"][kind]
        assert len(shown) == min(10, result.line[kind])
        assert set(shown) <= getattr(apart, kind)


def check_mended(importer: Importer, apart: Differences) -> None:
    """Everybody is in Ometria as they are today; whoever was deleted is opted out, with all else as it was."""
    contacts, people = held(importer), {of_ours(one): one for one in importer.sandbox.audience().members}
    assert {contacts[own]["marketing_optin"] for own in apart.gone} == {OUT}
    assert all(contacts[own]["email"] for own in apart.gone)
    for own in apart.missing | apart.stale:
        assert contacts[own]["email"] == people[own]["email_address"].strip()
        assert (contacts[own]["marketing_optin"] == IN) == (people[own]["status"] == "subscribed")
        name = people[own]["merge_fields"]["FNAME"].strip()
        assert not name.isalpha() or contacts[own]["firstname"] == name
    foreign = [one for key, one in importer.sandbox.contacts().items() if key[1].startswith("shop-")]
    assert {one["marketing_optin"] for one in foreign} == {IN}


def test_what_differs_is_named_and_mended_while_the_list_moves(make_importer: MakeImporter) -> None:
    """Deleted, changed unseen, taken out, overwritten and foreign: exactly these, and a second look finds nothing."""
    importer = synced(make_importer, 1_200)
    while_it_moves(importer, make_differences(importer, 5))


def while_it_moves(importer: Importer, apart: Differences) -> None:
    """Named, mended and looked at again, with twenty changes a second going on."""
    with moving(importer, apart.others):
        check_named(importer("reconcile", importer.sandbox.list_key, "--json"), apart)
        importer.sandbox.clear_requests()
        mended = importer(*MEND)
        differing = apart.missing | apart.stale | apart.gone
        assert (mended.code, mended.line["mended"]) == (0, len(differing)), mended.err
        assert pushed(importer) == differing
        again = importer("reconcile", "--json")
    assert (again.code, counts(again)) == (0, (0, 0, 0, apart.foreign)), again.err
    check_mended(importer, apart)
    assert importer.sandbox.max_open() <= 10


def test_with_a_tenth_of_all_answers_broken_the_end_is_the_same(make_importer: MakeImporter) -> None:
    """Whatever is answered instead of a tenth of the requests on both sides, exactly the same is named and mended."""
    importer = synced(make_importer, 500)
    with_a_tenth_broken(importer, make_differences(importer))


def with_a_tenth_broken(importer: Importer, apart: Differences) -> None:
    importer.configure(RECONCILING.replace("wait = 0", "wait = 0\nretries = 8"), most="10%")
    importer.sandbox.settings.faults = dict.fromkeys(("500", "reset", "truncated", "empty", "html"), 0.02)
    with moving(importer, apart.others):
        check_named(importer("reconcile", "--json"), apart)
        assert importer(*MEND).code == 0
        assert counts(importer("reconcile", "--json")) == (0, 0, 0, apart.foreign)
    check_mended(importer, apart)


def run_and_signal(
    importer: Importer, command: list[str], when: Callable[[Request], bool], by: signal.Signals = signal.SIGKILL
) -> int:
    """The command in a process of its own, killed at the first request of which `when` says so; its exit code."""
    child: list[subprocess.Popen[str]] = []

    def send_signal(request: Request) -> None:
        if child and when(request):
            os.kill(child.pop().pid, by)

    importer.sandbox.settings.fault = send_signal
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.append(process)
    process.communicate(timeout=90)
    importer.sandbox.settings.fault = None
    return process.returncode


def test_killed_in_the_middle_of_mending_the_next_one_mends_the_rest(make_importer: MakeImporter) -> None:
    """The next comparison finds what is left; nothing but the state file and its locks lies in the folder."""
    importer = synced(make_importer, 500)
    killed_half_way(importer, make_differences(importer), batch=6)


def killed_half_way(importer: Importer, apart: Differences, *, batch: int) -> None:
    importer.configure(RECONCILING + f"ometria.batch = {batch}\n", most="10%")
    files = sorted(path.name for path in importer.folder.iterdir())
    pushes: list[Request] = []

    def third_push(request: Request) -> bool:
        pushes.extend([request] if request.path == "/push" else [])
        return len(pushes) == 4

    assert run_and_signal(importer, importer.command(*MEND), third_push) == -signal.SIGKILL
    known = {name.removesuffix(suffix) for name in files for suffix in ("-wal", "-shm")}
    left = [
        path.name
        for path in importer.folder.iterdir()
        if path.name.removesuffix("-wal").removesuffix("-shm") not in known
    ]
    assert left == []
    rest = importer(*MEND)
    assert 0 < rest.line["mended"] < len(apart.missing | apart.stale | apart.gone), rest.err
    assert counts(importer("reconcile", "--json")) == (0, 0, 0, apart.foreign)
    check_mended(importer, apart)
    runs = [one["status"] for one in importer("runs", "list", "--json").lines if one["kind"] == "reconcile"]
    assert sorted(runs) == ["completed", "completed", "interrupted"]


# ---- nobody is opted out by mistake


def check_nobody_was_touched(importer: Importer, result: CommandResult, *words: str) -> None:
    assert all(word in result.err for word in words), result.err
    assert [one for one in importer.sandbox.requests if one.path == "/push"] == []


def test_a_list_that_was_emptied_opts_nobody_out(make_importer: MakeImporter) -> None:
    """So many gone at once are refused, in words that say why and what to type; --force-mend does it."""
    importer = synced(make_importer, 120)
    audience = importer.sandbox.audience()
    audience.delete(who=list(audience.members))
    importer.sandbox.clear_requests()
    result = importer(*MEND)
    assert result.code == 3
    check_nobody_was_touched(
        importer, result, "would be opted out, above the limit of 5%", "emptied by mistake", "--force-mend"
    )
    assert importer("reconcile", "--force-mend", "--yes", "--json").code == 0
    assert IN not in {one["marketing_optin"] for one in held(importer).values()}


def test_the_key_of_another_account_opts_nobody_out(make_importer: MakeImporter) -> None:
    """There is no such list there: the run fails before anything is compared."""
    importer = synced(make_importer, 300)
    importer.sandbox.add_account("1" * 32 + "-us6", "2" * 32, {"bbbbbbbbbb": 10})
    importer.configure(RECONCILING, most="5%", mailchimp_key="1" * 32 + "-us6")
    importer.sandbox.clear_requests()
    result = importer(*MEND)
    assert result.code == 1
    check_nobody_was_touched(importer, result, "has no list 1a2d7ebf82 for this API key")


def test_the_same_list_in_another_account_opts_nobody_out(make_importer: MakeImporter) -> None:
    """Other people under the same list's id: everybody is gone at once, and nobody of the others is pushed either."""
    importer = synced(make_importer, 120)
    importer.sandbox.add_account("1" * 32 + "-us6", "2" * 32, {importer.sandbox.list_key: 10})
    attacker = importer.sandbox.audience(mailchimp_key="1" * 32 + "-us6")
    attacker.delete(who=list(attacker.members))
    for number in range(20):
        attacker.add(email_address=f"stranger{number}@example.com", contact_id=f"{number:032x}"[::-1], at=1_700_000_000)
    importer.configure(RECONCILING, most="5%", mailchimp_key="1" * 32 + "-us6")
    importer.sandbox.clear_requests()
    result = importer(*MEND)
    assert result.code == 3
    check_nobody_was_touched(importer, result, "would be opted out, above the limit")


def test_another_ometria_key_is_refused_before_any_request(make_importer: MakeImporter) -> None:
    """What is remembered belongs to one destination; so it is for a comparison."""
    importer = synced(make_importer, 100)
    importer.configure(RECONCILING, most="5%", ometria_key="3" * 32)
    importer.sandbox.clear_requests()
    result = importer(*MEND)
    assert result.code == 2
    assert "keys accept" in result.err
    assert importer.sandbox.requests == []


def test_a_list_that_was_never_synced_is_refused_before_any_request(make_importer: MakeImporter) -> None:
    """A wrong list's id, say: there is nothing to compare with, and what to type instead is said."""
    importer = synced(make_importer, 100)
    importer.sandbox.add_account(importer.sandbox.mailchimp_key, importer.sandbox.ometria_key, {"bbbbbbbbbb": 50})
    importer.configure(RECONCILING.replace('["{list_key}"]', '["bbbbbbbbbb"]'), most="5%")
    importer.sandbox.clear_requests()
    result = importer(*MEND)
    assert result.code == 2
    assert "has not been synced yet" in result.err
    assert "mcimport sync bbbbbbbbbb" in result.err
    assert importer.sandbox.requests == []


def test_a_passing_404_for_everybody_opts_nobody_out(make_importer: MakeImporter) -> None:
    """While somebody who is on the list is not found either, no 404 is believed."""
    importer = synced(make_importer, 500)
    importer.sandbox.audience().delete(who=whole(importer)[:5])
    importer.sandbox.settings.fault = lambda one: "404" if A_MEMBER.fullmatch(one.path) else None
    importer.sandbox.clear_requests()
    result = importer(*MEND)
    assert result.code == 1
    check_nobody_was_touched(importer, result, "404 for members who were on the list just before")


def test_a_404_for_everybody_beside_an_empty_list_opts_nobody_out(make_importer: MakeImporter) -> None:
    """A list that is not to be seen for a moment answers both: then no member is taken to be deleted."""
    importer = synced(make_importer, 500)
    importer.sandbox.audience().delete(who=whole(importer)[:5])

    def fault(request: Request) -> str | None:
        if A_MEMBER.fullmatch(request.path):
            return "404"
        return "nobody" if request.query.get("sort_dir") == "DESC" else None

    importer.sandbox.settings.fault = fault
    importer.sandbox.clear_requests()
    result = importer(*MEND)
    assert result.code == 1
    check_nobody_was_touched(importer, result, "404 for members who were on the list just before")


def test_a_witness_who_is_deleted_at_that_moment_is_replaced_by_another(make_importer: MakeImporter) -> None:
    """While a list loses members, the one by whom it is seen to be there may be deleted, too: others are asked for."""
    importer = synced(make_importer, 500)
    audience = importer.sandbox.audience()
    audience.delete(who=whole(importer)[:5])
    witnesses: list[str] = []

    def fault(request: Request) -> None:
        who = request.path.rsplit("/", 1)[-1]
        if A_MEMBER.fullmatch(request.path) and len(witnesses) < 3 and (found := audience.find(who)) is not None:
            witnesses.append(who)
            audience.delete(who=[found])

    importer.sandbox.settings.fault = fault
    result = importer(*MEND)
    assert result.code in (0, 3), result.err
    assert len(witnesses) == 3
    assert (result.line["gone"], result.line["mended"]) == (5, 5)


def test_nobody_is_gone_while_a_part_of_the_list_cannot_be_read(make_importer: MakeImporter) -> None:
    """What could not be read may hold them: nothing is said of them, and that is no agreement."""
    importer = synced(make_importer, 500)
    importer.sandbox.audience().delete(who=whole(importer)[:5])
    importer.sandbox.settings.broken = ["100-101"]
    result = importer(*MEND)
    assert result.code == 3
    assert result.line["gone"] == 0
    assert result.line["unclear"] >= 5
    assert result.line["unread"] >= 1
    assert {held(importer)[of_ours(one)]["marketing_optin"] for one in whole(importer)} == {IN}


def test_a_list_with_many_parts_that_cannot_be_read_is_compared_all_the_same(make_importer: MakeImporter) -> None:
    """Twelve broken members, each on a page of their own: the pages between them show that Mailchimp is not down."""
    importer = synced(make_importer, 1_300)
    importer.configure(RECONCILING + "mailchimp.window = 50\n", most="5%")
    importer.sandbox.settings.broken = [f"{100 * n}-{100 * n}" for n in range(1, 13)]
    result = importer("reconcile", "--json")
    assert (result.code, result.line["status"]) == (3, "completed")
    assert result.line["unread"] >= 11
    run = importer("runs", "list", "--json").lines[0]
    assert (run["kind"], run["contacts_pushed"]) == ("reconcile", 0)


def test_a_deleted_person_who_is_subscribed_anew_is_not_silenced(make_importer: MakeImporter) -> None:
    """The old listing becomes NOT_SPECIFIED: an opted-out one would outweigh the new one. So it is for another list."""
    importer = synced(make_importer, 300)
    sandbox, other = importer.sandbox, "bbbbbbbbbb"
    sandbox.add_account(sandbox.mailchimp_key, sandbox.ometria_key, {other: 0})
    importer.configure(RECONCILING.replace('["{list_key}"]', '["{list_key}", "bbbbbbbbbb"]'), most="5%")
    back, elsewhere, left_there, away = whole(importer)[:4]
    sandbox.audience().delete(who=[back, elsewhere, left_there, away])
    new = sandbox.audience().add(email_address=back["email_address"].upper())
    sandbox.audience(other).add(email_address=elsewhere["email_address"])
    once = sandbox.audience(other).add(email_address=left_there["email_address"])
    time_passes(300)
    assert importer("sync").code == 0
    time_passes(300)
    assert importer("sync").code == 0
    sandbox.audience(other).unsubscribe_unseen(who=[once])
    result = importer("reconcile", sandbox.list_key, "--mend", "--yes", "--json")
    assert (result.code, result.line["gone"], result.line["mended"]) == (0, 4, 4), result.err
    contacts = held(importer)
    optins = [contacts[of_ours(one)]["marketing_optin"] for one in (back, elsewhere, left_there, away, new)]
    assert optins == [NEITHER, NEITHER, OUT, OUT, IN]
    assert "timestamp_unsubscribed" not in contacts[of_ours(back)]
    assert contacts[of_ours(away)]["timestamp_unsubscribed"]


# ---- nobody is opted in by mistake


def test_whoever_unsubscribes_while_it_mends_is_not_opted_in(make_importer: MakeImporter) -> None:
    """The member is read afresh right before the push: what was found a moment ago does not count."""
    importer = synced(make_importer, 300)
    one = whole(importer)[0]
    sandbox = importer.sandbox
    sandbox.delete_contacts([key_of(importer, of_ours(one))])
    asked: list[str] = []

    def leaves_at_the_second_look(request: Request) -> None:
        if request.path.endswith(of_ours(one)):
            asked.append(request.path)
            if len(asked) == 2:
                sandbox.audience().unsubscribe_unseen(who=[one])

    sandbox.settings.fault = leaves_at_the_second_look
    result = importer(*MEND)
    assert (result.code, result.line["missing"], result.line["mended"]) == (0, 1, 1), result.err
    assert held(importer)[of_ours(one)]["marketing_optin"] == OUT


def test_whoever_changes_while_it_mends_is_left_to_the_next_sync(make_importer: MakeImporter) -> None:
    """That one may have an event to tell of; it is not mended twice, and not forgotten."""
    importer = synced(make_importer, 300)
    one = whole(importer)[0]
    importer.sandbox.delete_contacts([key_of(importer, of_ours(one))])
    asked: list[str] = []

    def changes_at_the_second_look(request: Request) -> None:
        if request.path.endswith(of_ours(one)):
            asked.append(request.path)
            if len(asked) == 2:
                importer.sandbox.audience().change(who=[one])

    importer.sandbox.settings.fault = changes_at_the_second_look
    result = importer(*MEND)
    assert (result.line["missing"], result.line["mended"]) == (1, 0), result.err
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0
    assert held(importer)[of_ours(one)]["marketing_optin"] == IN


def test_mending_welcomes_nobody(make_importer: MakeImporter) -> None:
    """Whoever is missing opted in long ago, and gets no welcome campaign now."""
    importer = synced(make_importer, 200)
    new = importer.sandbox.audience().join(3)
    time_passes(120)
    assert importer("sync").code == 0
    time_passes(120)
    assert importer("sync").code == 0
    before = importer.sandbox.subscription_events()
    importer.sandbox.delete_contacts(key_of(importer, of_ours(one)) for one in new if one["email_address"])
    assert importer(*MEND).code == 0
    assert expected_ids(importer) <= set(held(importer))
    assert importer.sandbox.subscription_events() == before


def test_a_no_is_carried_for_who_has_no_usable_address_any_more(make_importer: MakeImporter) -> None:
    """They cannot be sent whole; their consent alone is, and only if it is no yes."""
    importer = synced(make_importer, 200)
    audience, (left, stays) = importer.sandbox.audience(), whole(importer)[:2]
    audience.edit_unseen(left, email_address="", status="unsubscribed")
    audience.edit_unseen(stays, email_address="not an address")
    importer.sandbox.store_contacts([{"id": key_of(importer, of_ours(stays))[1], "marketing_optin": NEITHER}])
    result = importer(*MEND)
    assert held(importer)[of_ours(left)]["marketing_optin"] == OUT
    assert held(importer)[of_ours(stays)]["marketing_optin"] == NEITHER
    assert held(importer)[of_ours(left)]["email"] == left["email_address"].strip()
    assert result.line["gone"] == 0


# ---- what counts


def test_what_changed_after_the_sync_point_is_the_next_syncs(make_importer: MakeImporter) -> None:
    """It differs, is counted as such, and is no disagreement."""
    importer = synced(make_importer, 500)
    importer.sandbox.audience().change(12, who=whole(importer)[:12])
    importer.sandbox.audience().join(3)
    result = importer("reconcile", "--json")
    assert (result.code, counts(result)) == (0, (0, 0, 0, 0))
    assert result.line["later"] >= 12


def test_who_was_left_out_on_purpose_is_not_missing(make_importer: MakeImporter) -> None:
    """A list that began with --since now: its history is counted as left out, not pushed; what came later is."""
    importer = make_importer(size=300, reads_per_second=100_000)
    importer.configure(RECONCILING, most="5%")
    assert importer("sync", "--since", "now").code == 0
    time_passes(300)
    changed = list(importer.sandbox.audience().change(who=whole(importer)[:8]))
    time_passes(300)
    assert importer("sync").code == 0
    importer.sandbox.delete_contacts(key_of(importer, of_ours(one)) for one in changed[:3])
    result = importer(*MEND)
    assert (result.code, result.line["missing"], result.line["mended"]) == (0, 3, 3), result.err
    assert result.line["left_out"] > 200
    assert set(held(importer)) == {of_ours(one) for one in changed}
    importer("sync", "--full")
    assert importer("reconcile", "--json").line["left_out"] == 0


def test_the_archived_are_compared_only_where_ometria_holds_them(make_importer: MakeImporter) -> None:
    """Who was archived before the first sync is not brought in; who is opted in there all the same is opted out."""
    importer = synced(make_importer, 500)
    archived = whole(importer, "archived")
    record = {"id": key_of(importer, of_ours(archived[0]))[1], "email": "a@example.com", "marketing_optin": IN}
    importer.sandbox.store_contacts([record])
    result = importer(*MEND)
    assert (result.code, counts(result)) == (0, (0, 1, 0, 0)), result.err
    assert held(importer)[of_ours(archived[0])]["marketing_optin"] == OUT
    assert not {of_ours(one) for one in archived[1:]} & set(held(importer))


def test_members_with_a_web_id_alone_are_compared_too(make_importer: MakeImporter) -> None:
    """Mailchimp cannot be asked for them by id: the walk says who is gone, and the others are read by their second."""
    importer = make_importer(size=200, reads_per_second=100_000)
    importer.configure(RECONCILING, most="10%")
    old = [
        importer.sandbox.audience().add(email_address=f"old{n}@example.com", contact_id=ABSENT, at=1_700_000_000 + n)
        for n in range(4)
    ]
    assert importer("sync").code == 0
    deleted, left, taken, away = old
    importer.sandbox.audience().delete(who=[deleted, away])
    importer.sandbox.audience().unsubscribe_unseen(who=[left])
    importer.sandbox.delete_contacts([key_of(importer, of_ours(taken))])
    result = importer(*MEND)
    assert (result.code, counts(result)) == (0, (1, 1, 2, 0)), result.err
    assert [held(importer)[of_ours(one)]["marketing_optin"] for one in old] == [OUT, OUT, IN, OUT]


def test_who_has_a_dead_letter_is_on_record_and_not_missing(make_importer: MakeImporter) -> None:
    """Ometria refused them, and the letter says so: replaying it is what mends that."""
    importer = make_importer(size=300, reads_per_second=100_000)
    importer.configure(RECONCILING, most="5%")
    importer.sandbox.settings.rejects = {key_of(importer, of_ours(whole(importer)[0]))[1]}
    assert importer("sync").code == 3
    result = importer("reconcile", "--json")
    assert (result.code, result.line["missing"], result.line["on_record"]) == (0, 0, 1), result.err


def test_whom_ometria_refuses_when_they_are_mended_gets_a_dead_letter(make_importer: MakeImporter) -> None:
    """As in a sync: the others are mended, and the exit code says that not all were."""
    importer = synced(make_importer, 300)
    first, second = whole(importer)[:2]
    importer.sandbox.delete_contacts(key_of(importer, of_ours(one)) for one in (first, second))
    importer.sandbox.settings.rejects = {key_of(importer, of_ours(first))[1]}
    result = importer(*MEND)
    assert (result.code, result.line["missing"], result.line["mended"]) == (3, 2, 1), result.err
    assert [one["member_id"] for one in importer("dlq", "list", "--json").lines] == [of_ours(first)]


def test_a_filter_that_does_not_work_is_said_and_everything_read(make_importer: MakeImporter) -> None:
    """Each contact says where it belongs: those of other collections are no business of the list's."""
    importer = synced(make_importer, 400)
    importer.sandbox.store_contacts(
        {"@collection": "shop", "id": f"s{number}", "email": f"s{number}@example.com"} for number in range(30)
    )
    importer.sandbox.settings.collection_ignored = True
    result = importer("reconcile")
    assert result.code == 0
    assert (
        "did not filter its contacts by collection: all of them were read, with 30 of other collections" in result.err
    )


def test_contacts_taken_out_while_it_reads_hide_nobody(make_importer: MakeImporter) -> None:
    """Whoever moves to a lower place meanwhile is met all the same: nobody is called missing who is not."""
    importer = synced(make_importer, 1_500)
    keys = list(importer.sandbox.contacts())
    early = iter(keys[:200])

    def take_out_some(request: Request) -> None:
        if request.path == "/contacts" and request.query["offset"] != "0":
            importer.sandbox.delete_contacts([key for key, _ in zip(early, range(7), strict=False)])

    importer.sandbox.settings.fault = take_out_some
    result = importer("reconcile", "--json")
    importer.sandbox.settings.fault = None
    lost = {key[1] for key in keys} - {key[1] for key in importer.sandbox.contacts()}
    assert lost
    named = set(result.line["ids"]["missing"])
    assert {f"{importer.sandbox.list_key}-{own}" for own in named} <= lost
    assert result.line["missing"] <= len(lost)


# ---- as a command


def test_it_is_in_the_log_of_runs_with_its_windows(make_importer: MakeImporter) -> None:
    """Kind = reconcile; the sync point stays where it was."""
    importer = synced(make_importer, 300)
    point = importer("status", "--json").lines[0]["sync_point"]
    time_passes(500)
    importer("reconcile")
    run = importer("runs", "list", "--json").lines[0]
    assert (run["kind"], run["status"], run["contacts_pushed"]) == ("reconcile", "completed", 0)
    assert importer("status", "--json").lines[0]["sync_point"] == point
    assert importer("runs", "show", str(run["run_id"]), "--json").line["windows"]


def test_a_client_that_is_taken_is_4_with_and_without_mending(make_importer: MakeImporter) -> None:
    """0 would say that both sides match."""
    importer = synced(make_importer, 50)
    importer.sandbox.clear_requests()
    with lock_client(importer.db, "acme"):
        for words in (["reconcile"], ["reconcile", "--mend", "--yes"]):
            result = importer(*words)
            assert result.code == 4
            assert f"process {os.getpid()}" in result.err
    assert importer.sandbox.requests == []


def test_without_anybody_to_ask_it_does_not_mend(make_importer: MakeImporter) -> None:
    """Cron has to say --yes; --yes alone agrees to nothing."""
    importer = synced(make_importer, 50)
    importer.sandbox.clear_requests()
    for words, said in (
        (["--mend"], "not running in a terminal"),
        (["--force-mend"], "not running in a terminal"),
        (["--yes"], "--mend"),
    ):
        result = importer("reconcile", *words)
        assert result.code == 2
        assert said in result.err
    assert importer.sandbox.requests == []


def test_of_several_clients_each_is_compared_with_its_own_keys(make_importer: MakeImporter) -> None:
    """One that differs is told first, another's failure touches nobody; the exit code is the worst of all."""
    importer = make_importer(reads_per_second=100_000, settling=0)
    clients = configure_clients(importer, ["a", "b", "c"], size=40)
    text = importer.config.read_text(encoding="utf-8").replace(
        "wait = 0\n", "wait = 0\n\n[reconcile]\nsettling = 0\n", 1
    )
    importer.config.write_text(text, encoding="utf-8")
    assert importer("sync").code == 0
    assert importer("reconcile").code == 0
    key = clients["b"]["ometria_key"]
    importer.sandbox.delete_contacts(list(importer.sandbox.contacts(key))[:3], key)
    result = importer("reconcile", "--json")
    assert result.code == 3
    assert {line["client"]: line["missing"] for line in result.lines} == {"a": 0, "b": 3, "c": 0}
    assert "3 lists: 1 with differences, 2 completed" in result.err
    importer.sandbox.settings.fault = lambda one: "401" if one.key == clients["c"]["mailchimp_key"] else None
    result = importer("reconcile", "--mend", "--yes", "--json")
    assert result.code == 1
    mended = {line["client"]: (line["status"], line.get("mended")) for line in result.lines}
    assert mended == {"a": ("completed", 0), "b": ("completed", 3), "c": ("failed", None)}


def test_an_unfinished_run_is_said(make_importer: MakeImporter) -> None:
    """What it still has to bring is no surprise then."""
    importer = synced(make_importer, 600)
    importer.sandbox.settings.fault = lambda one: "401" if one.path == "/push" else None
    assert importer("sync", "--full").code == 1
    importer.sandbox.settings.fault = None
    result = importer("reconcile")
    assert result.code == 0
    assert "is unfinished" in result.err


def test_ometria_is_read_at_its_own_pace(make_importer: MakeImporter) -> None:
    """No more reads in any second than an account takes: none is refused."""
    importer = synced(make_importer, 700)
    importer.sandbox.settings.reads_per_second = 8
    importer.configure(RECONCILING.replace("reads_per_second = 1000", "reads_per_second = 8"), most="5%")
    importer.sandbox.clear_requests()
    assert importer("reconcile").code == 0
    reads = [one for one in importer.sandbox.requests if one.path == "/contacts"]
    assert len(reads) >= 5
    assert {one.status for one in reads} == {200}
    assert max_in_any_second(one.at for one in reads) <= 8


def test_what_is_read_is_only_what_is_compared(make_importer: MakeImporter) -> None:
    """No tags, and of the place the country alone; and no page of Ometria's twice where nothing differs."""
    importer = synced(make_importer, 300)
    importer.sandbox.clear_requests()
    importer("reconcile")
    asked = {one.query["fields"] for one in importer.sandbox.requests if one.path.endswith("/members") and one.count}
    assert all(
        "merge_fields.FNAME" in fields and "members.tags" not in fields for fields in asked if "status" in fields
    )
    assert not any("location" in fields.replace("location.country_code", "") for fields in asked)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def ids_of(rows: list[dict[str, str]], kind: str) -> set[str]:
    return {row["id"] for row in rows if row["kind"] == kind}


def test_every_id_that_differs_is_written_to_a_file_with_its_kind_and_fields(make_importer: MakeImporter) -> None:
    """All of them, however many, with names of fields and no values; `--json --all-ids` has the same."""
    importer = synced(make_importer, 500)
    apart = make_differences(importer, 5)
    path = importer.folder / "differences.csv"
    result = importer("reconcile", "--csv", str(path), "--json", "--all-ids")
    check_named(result, apart)
    rows = rows_of(path)
    assert {(row["client"], row["list_key"]) for row in rows} == {("acme", importer.sandbox.list_key)}
    for kind in ("missing", "stale", "gone", "said_no", "unclear"):
        assert len(ids_of(rows, kind)) == result.line[kind]
    for kind in ("missing", "stale", "gone"):
        assert ids_of(rows, kind) == getattr(apart, kind)
    fields = Counter(name for row in rows if row["kind"] == "stale" for name in row["fields"].split())
    assert fields == result.line["fields"]
    assert {row["fields"] for row in rows if row["kind"] in ("missing", "gone")} == {""}
    listed = [{**one, "fields": " ".join(one["fields"])} for one in result.line["differing"]]
    assert listed == [{name: row[name] for name in ("kind", "id", "fields")} for row in rows]
    text = path.read_text(encoding="utf-8")
    assert "@" not in text
    assert "Unseen" not in text


def test_the_file_says_what_differed_before_it_was_mended(make_importer: MakeImporter) -> None:
    """So that somebody can look up what was done; the next one is empty, and takes its place."""
    importer = synced(make_importer, 100)
    importer.sandbox.delete_contacts(key_of(importer, of_ours(one)) for one in whole(importer)[:2])
    path = importer.folder / "differences.csv"
    assert importer(*MEND, "--csv", str(path)).code == 0
    assert [row["kind"] for row in rows_of(path)] == ["missing", "missing"]
    assert importer("reconcile", "--csv", str(path)).code == 0
    assert path.read_text(encoding="utf-8") == "client,list_key,id,kind,fields\n"


def test_a_no_that_stands_in_ometria_is_listed_with_its_consent(make_importer: MakeImporter) -> None:
    """It is no disagreement, and is listed all the same, as everything that the counts count."""
    importer = synced(make_importer, 60)
    one = whole(importer)[0]
    contact = held(importer)[of_ours(one)]
    importer.sandbox.store_contacts([{**contact, "marketing_optin": OUT}])
    path = importer.folder / "differences.csv"
    importer("reconcile", "--csv", str(path))
    (row,) = rows_of(path)
    assert (row["id"], row["kind"], row["fields"]) == (of_ours(one), "said_no", "consent")


def test_the_differences_of_several_clients_are_in_one_file(make_importer: MakeImporter) -> None:
    """Each row says whose it is."""
    importer = make_importer(size=0, settling=0.0)
    clients = configure_clients(importer, ["a", "b"], size=20)
    text = "[reconcile]\nsettling = 0\n\n" + importer.config.read_text(encoding="utf-8")
    importer.config.write_text(text, encoding="utf-8")
    assert importer("sync").code == 0
    for values in clients.values():
        audience = importer.sandbox.audience(values["list_key"])
        audience.delete(who=[one for one in audience.with_status("subscribed") if one["email_address"]][:1])
    path = importer.folder / "differences.csv"
    assert importer("reconcile", "--csv", str(path)).code == 3
    assert sorted((row["client"], row["kind"]) for row in rows_of(path)) == [("a", "gone"), ("b", "gone")]


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--csv", "no/such/folder/differences.csv"], "cannot be written"), (["--all-ids"], "--all-ids needs --json")],
)
def test_a_list_of_ids_that_cannot_be_had_is_refused_before_any_request(
    make_importer: MakeImporter, options: list[str], words: str
) -> None:
    """A comparison takes a while: nobody should find that out at its end."""
    importer = synced(make_importer, 5)
    importer.sandbox.clear_requests()
    result = importer("reconcile", *options)
    assert result.code == 2
    assert words in result.err
    assert importer.sandbox.requests == []


def test_status_tells_when_both_sides_were_compared_and_with_what_result(make_importer: MakeImporter) -> None:
    """In words and in counts; no ids."""
    importer = synced(make_importer, 300)
    assert importer("status", "--json").line["reconciled_at"] is None
    importer("reconcile")
    assert re.search(r"both sides matched \d+ s ago", importer("status").out)
    importer.sandbox.audience().delete(who=whole(importer)[:2])
    importer("reconcile")
    assert re.search(r"both sides differed \(2 gone\) \d+ s ago", importer("status").out)
    line = importer("status", "--json").line
    assert line["reconciled_at"]
    assert (line["reconciled"]["gone"], line["reconciled"]["left"]) == (2, 2)
    importer(*MEND)
    assert re.search(r"both sides matched \d+ s ago", importer("status").out)


READY = os.open(os.devnull, os.O_RDONLY)  # somebody has typed something


class Terminal(io.StringIO):
    """Somebody types there."""

    def fileno(self) -> int:
        return READY

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "code"), [("n\n", 3), ("", 3), ("y\n", 0)])
def test_whoever_sits_at_the_terminal_sees_what_differs_and_is_asked(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    """Only a yes mends; all else leaves everything as it is, and says so."""
    importer = synced(make_importer, 200)
    importer.sandbox.delete_contacts(key_of(importer, of_ours(one)) for one in whole(importer)[:2])
    importer.sandbox.clear_requests()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    result = importer("reconcile", "--mend")
    assert result.code == code
    assert result.err.index("missing     2") < result.err.index(
        "Push 2 missing and 0 stale members, and opt out 0 deleted (unless subscribed to another list)?"
    )
    assert ("nothing was fixed: you did not confirm it" in result.err) == (code == 3)
    assert bool([one for one in importer.sandbox.requests if one.path == "/push"]) == (code == 0)


def test_whoever_is_asked_may_leave_with_ctrl_c(make_importer: MakeImporter) -> None:
    """At once, with the exit code for that; the run is on record as interrupted, and nobody was pushed."""
    importer = synced(make_importer, 100)
    importer.sandbox.delete_contacts(key_of(importer, of_ours(one)) for one in whole(importer)[:2])
    importer.sandbox.clear_requests()
    ours, theirs = os.openpty()
    command = importer.command("reconcile", "--mend")
    with subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said = ""
            while not said.endswith("[y/N] "):
                said += process.stderr.read(1)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 130
        finally:
            process.kill()
    os.close(ours)
    os.close(theirs)
    assert importer("runs", "list", "--json").lines[0]["status"] == "interrupted"
    assert [one for one in importer.sandbox.requests if one.path == "/push"] == []


def test_nothing_personal_is_said_or_kept(make_importer: MakeImporter) -> None:
    """No address and no name of anybody, nor an id that may be one, on the terminal or in the folder."""
    importer = synced(make_importer, 300)
    apart = make_differences(importer, 2)
    importer.sandbox.store_contacts([{"id": "Jö-Moreno", "email": "jo@example.com", "marketing_optin": IN}])
    result = [importer(*words) for words in (["reconcile"], ["reconcile", "--json"], MEND, ["status"])]
    said = "".join(one.out + one.err for one in result).encode()
    said += b"".join(path.read_bytes() for path in importer.folder.iterdir() if path != importer.config)
    addresses = {one["email_address"].encode() for one in importer.sandbox.audience().members if one["email_address"]}
    assert not {address for address in addresses | {"Jö-Moreno".encode(), b"else@example.com"} if address in said}
    assert b"(an id that may be personal)" in said
    assert min(apart.missing).encode() in said
