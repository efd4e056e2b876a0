"""`reconcile`: it names exactly what differs, mends exactly that, and opts nobody out, or in, by mistake."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import CONFIG, Ended, Importer, Stage, expected, several
from passing import time_passes

from mcimport.sandbox.audience.member_list import Person
from mcimport.sandbox.audience.stored_member import ABSENT
from mcimport.sandbox.request_log import Request, most_in_any_second
from mcimport.state import lock_client

TABLE = '[reconcile]\nsettling = 0\nmost = "{most}"\n\n[clients.acme]'
RECONCILING = CONFIG.replace("[clients.acme]", TABLE)
MEND = ("reconcile", "--mend", "--yes", "--json")
IN, OUT, NEITHER = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"
KINDS = ("missing", "stale", "gone", "foreign")
A_MEMBER = re.compile(r"/lists/\w+/members/\w+")


def of_ours(one: Person) -> str:
    return str(one.get("contact_id") or one["web_id"])


def whole(importer: Importer, status: str = "subscribed") -> list[Person]:
    """Members with an address and a contact_id, in an order that no change of theirs moves."""
    people = importer.box.audience().with_status(status)
    return sorted((one for one in people if one["email_address"] and one.get("contact_id")), key=of_ours)


def synced(stage: Stage, size: int, *, most: str = "5%", **knobs: Any) -> Importer:
    """On both sides nothing has to settle: what was pushed is stored at once, and so is not waited for."""
    importer = stage(**{"size": size, "settling": 0.0, **knobs})
    importer.configure(RECONCILING, most=most)
    assert importer("sync").code == 0
    return importer


def counts(ended: Ended) -> tuple[int, ...]:
    return tuple(ended.line[kind] for kind in KINDS)


def held(importer: Importer) -> dict[str, dict[str, Any]]:
    """Ometria's contacts of the list, by their id without it."""
    front = f"{importer.box.list_key}-"
    return {key[1].removeprefix(front): one for key, one in importer.box.contacts().items() if key[1].startswith(front)}


def pushed(importer: Importer) -> set[str]:
    front = f"{importer.box.list_key}-"
    return {one.removeprefix(front) for request in importer.box.requests for one in request.ids}


def key_of(importer: Importer, own: str) -> tuple[str, str]:
    return "mailchimp", f"{importer.box.list_key}-{own}"


@dataclass(frozen=True)
class Apart:
    """What was done to both sides, by who it was done to."""

    missing: set[str]
    stale: set[str]
    gone: set[str]
    foreign: int
    others: list[Person]


def drift_apart(importer: Importer, scale: int = 3) -> Apart:
    """50 deleted, 40 changed unseen, 30 taken out, 20 overwritten and 10 foreign ones for a `scale` of ten."""
    audience, people = importer.box.audience(), whole(importer)
    cut = iter(people)

    def some(n: int) -> list[Person]:
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
    importer.box.take_out(key_of(importer, of_ours(one)) for one in taken)
    importer.box.overwrite(
        {"id": key_of(importer, of_ours(one))[1], "email": "else@example.com", "firstname": "Else"}
        for one in overwritten
    )
    importer.box.overwrite(
        {"id": f"shop-{number}", "email": f"f{number}@example.com", "marketing_optin": IN} for number in range(scale)
    )
    ids = [set(map(of_ours, group)) for group in (deleted, renamed, left, taken, overwritten)]
    return Apart(ids[3], ids[1] | ids[2] | ids[4], ids[0], scale, list(cut))


@contextmanager
def moving(importer: Importer, others: list[Person]) -> Iterator[None]:
    """Twenty changes a second to people who are not watched, also in the middle of every page."""
    audience, over = importer.box.audience(), threading.Event()
    people = iter(others)
    kinds: list[Callable[[], object]] = [
        lambda: audience.change(who=[next(people)]),
        lambda: audience.unsubscribe(who=[next(people)]),
        lambda: audience.leave(who=[next(people)]),
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


def check_named(ended: Ended, apart: Apart) -> None:
    assert ended.code == 3, ended.err
    assert counts(ended) == (len(apart.missing), len(apart.stale), len(apart.gone), apart.foreign), ended.err
    for kind in ("missing", "stale", "gone"):
        shown = ended.line["ids"][kind]
        assert len(shown) == min(10, ended.line[kind])
        assert set(shown) <= getattr(apart, kind)


def check_mended(importer: Importer, apart: Apart) -> None:
    """Everybody is in Ometria as they are today; whoever was deleted is opted out, with all else as it was."""
    contacts, people = held(importer), {of_ours(one): one for one in importer.box.audience().members}
    assert {contacts[own]["marketing_optin"] for own in apart.gone} == {OUT}
    assert all(contacts[own]["email"] for own in apart.gone)
    for own in apart.missing | apart.stale:
        assert contacts[own]["email"] == people[own]["email_address"].strip()
        assert (contacts[own]["marketing_optin"] == IN) == (people[own]["status"] == "subscribed")
        name = people[own]["merge_fields"]["FNAME"].strip()
        assert not name.isalpha() or contacts[own]["firstname"] == name
    foreign = [one for key, one in importer.box.contacts().items() if key[1].startswith("shop-")]
    assert {one["marketing_optin"] for one in foreign} == {IN}


def test_what_differs_is_named_and_mended_while_the_list_moves(stage: Stage) -> None:
    """Deleted, changed unseen, taken out, overwritten and foreign: exactly these, and a second look finds nothing."""
    importer = synced(stage, 1_200)
    while_it_moves(importer, drift_apart(importer, 5))


def while_it_moves(importer: Importer, apart: Apart) -> None:
    """Named, mended and looked at again, with twenty changes a second going on."""
    with moving(importer, apart.others):
        check_named(importer("reconcile", importer.box.list_key, "--json"), apart)
        importer.box.clear_requests()
        mended = importer(*MEND)
        differing = apart.missing | apart.stale | apart.gone
        assert (mended.code, mended.line["mended"]) == (0, len(differing)), mended.err
        assert pushed(importer) == differing
        again = importer("reconcile", "--json")
    assert (again.code, counts(again)) == (0, (0, 0, 0, apart.foreign)), again.err
    check_mended(importer, apart)
    assert importer.box.most_open() <= 10


def test_with_a_tenth_of_all_answers_broken_the_end_is_the_same(stage: Stage) -> None:
    """Whatever is answered instead of a tenth of the requests on both sides, exactly the same is named and mended."""
    importer = synced(stage, 500)
    with_a_tenth_broken(importer, drift_apart(importer))


def with_a_tenth_broken(importer: Importer, apart: Apart) -> None:
    importer.configure(RECONCILING.replace("wait = 0", "wait = 0\nretries = 8"), most="10%")
    importer.box.knobs.faults = dict.fromkeys(("500", "reset", "truncated", "empty", "html"), 0.02)
    with moving(importer, apart.others):
        check_named(importer("reconcile", "--json"), apart)
        assert importer(*MEND).code == 0
        assert counts(importer("reconcile", "--json")) == (0, 0, 0, apart.foreign)
    check_mended(importer, apart)


def struck(
    importer: Importer, command: list[str], when: Callable[[Request], bool], by: signal.Signals = signal.SIGKILL
) -> int:
    """The command in a process of its own, killed at the first request of which `when` says so; its exit code."""
    child: list[subprocess.Popen[str]] = []

    def strike(request: Request) -> None:
        if child and when(request):
            os.kill(child.pop().pid, by)

    importer.box.knobs.fault = strike
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.append(process)
    process.communicate(timeout=90)
    importer.box.knobs.fault = None
    return process.returncode


def test_killed_in_the_middle_of_mending_the_next_one_mends_the_rest(stage: Stage) -> None:
    """The next comparison finds what is left; nothing but the state file and its locks lies in the folder."""
    importer = synced(stage, 500)
    killed_half_way(importer, drift_apart(importer), batch=6)


def killed_half_way(importer: Importer, apart: Apart, *, batch: int) -> None:
    importer.configure(RECONCILING + f"ometria.batch = {batch}\n", most="10%")
    files = sorted(path.name for path in importer.folder.iterdir())
    pushes: list[Request] = []

    def third_push(request: Request) -> bool:
        pushes.extend([request] if request.path == "/push" else [])
        return len(pushes) == 4

    assert struck(importer, importer.command(*MEND), third_push) == -signal.SIGKILL
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


def check_nobody_was_touched(importer: Importer, ended: Ended, *words: str) -> None:
    assert all(word in ended.err for word in words), ended.err
    assert [one for one in importer.box.requests if one.path == "/push"] == []


def test_a_list_that_was_emptied_opts_nobody_out(stage: Stage) -> None:
    """So many gone at once are refused, in words that say why and what to type; --force-mend does it."""
    importer = synced(stage, 120)
    audience = importer.box.audience()
    audience.delete(who=list(audience.members))
    importer.box.clear_requests()
    ended = importer(*MEND)
    assert ended.code == 3
    check_nobody_was_touched(importer, ended, "gone at once, more than 5%", "emptied by mistake", "--force-mend")
    assert importer("reconcile", "--force-mend", "--yes", "--json").code == 0
    assert IN not in {one["marketing_optin"] for one in held(importer).values()}


def test_the_key_of_another_account_opts_nobody_out(stage: Stage) -> None:
    """There is no such list there: the run fails before anything is compared."""
    importer = synced(stage, 300)
    importer.box.add_account("1" * 32 + "-us6", "2" * 32, {"bbbbbbbbbb": 10})
    importer.configure(RECONCILING, most="5%", mailchimp_key="1" * 32 + "-us6")
    importer.box.clear_requests()
    ended = importer(*MEND)
    assert ended.code == 1
    check_nobody_was_touched(importer, ended, "knows no list 1a2d7ebf82 under this key")


def test_the_same_list_in_another_account_opts_nobody_out(stage: Stage) -> None:
    """Other people under the same list's id: everybody is gone at once, and nobody of the others is pushed either."""
    importer = synced(stage, 120)
    importer.box.add_account("1" * 32 + "-us6", "2" * 32, {importer.box.list_key: 10})
    stranger = importer.box.audience(mailchimp_key="1" * 32 + "-us6")
    stranger.delete(who=list(stranger.members))
    for number in range(20):
        stranger.add(email_address=f"stranger{number}@example.com", contact_id=f"{number:032x}"[::-1], at=1_700_000_000)
    importer.configure(RECONCILING, most="5%", mailchimp_key="1" * 32 + "-us6")
    importer.box.clear_requests()
    ended = importer(*MEND)
    assert ended.code == 3
    check_nobody_was_touched(importer, ended, "gone at once")


def test_another_ometria_key_is_refused_before_any_request(stage: Stage) -> None:
    """What is remembered belongs to one destination; so it is for a comparison."""
    importer = synced(stage, 100)
    importer.configure(RECONCILING, most="5%", ometria_key="3" * 32)
    importer.box.clear_requests()
    ended = importer(*MEND)
    assert ended.code == 2
    assert "keys accept" in ended.err
    assert importer.box.requests == []


def test_a_list_that_was_never_synced_is_refused_before_any_request(stage: Stage) -> None:
    """A wrong list's id, say: there is nothing to compare with, and what to type instead is said."""
    importer = synced(stage, 100)
    importer.box.add_account(importer.box.mailchimp_key, importer.box.ometria_key, {"bbbbbbbbbb": 50})
    importer.configure(RECONCILING.replace('["{list_key}"]', '["bbbbbbbbbb"]'), most="5%")
    importer.box.clear_requests()
    ended = importer(*MEND)
    assert ended.code == 2
    assert "was not synced yet" in ended.err
    assert "mcimport sync bbbbbbbbbb" in ended.err
    assert importer.box.requests == []


def test_a_passing_404_for_everybody_opts_nobody_out(stage: Stage) -> None:
    """While somebody who is on the list is not found either, no 404 is believed."""
    importer = synced(stage, 500)
    importer.box.audience().delete(who=whole(importer)[:5])
    importer.box.knobs.fault = lambda one: "404" if A_MEMBER.fullmatch(one.path) else None
    importer.box.clear_requests()
    ended = importer(*MEND)
    assert ended.code == 1
    check_nobody_was_touched(importer, ended, "404 for a member who was on the list a moment ago")


def test_nobody_is_gone_while_a_part_of_the_list_cannot_be_read(stage: Stage) -> None:
    """What could not be read may hold them: nothing is said of them, and that is no agreement."""
    importer = synced(stage, 500)
    importer.box.audience().delete(who=whole(importer)[:5])
    importer.box.knobs.broken = ["100-101"]
    ended = importer(*MEND)
    assert ended.code == 3
    assert ended.line["gone"] == 0
    assert ended.line["unclear"] >= 5
    assert ended.line["unread"] >= 1
    assert {held(importer)[of_ours(one)]["marketing_optin"] for one in whole(importer)} == {IN}


def test_a_deleted_person_who_is_subscribed_anew_is_not_silenced(stage: Stage) -> None:
    """The old listing becomes NOT_SPECIFIED: an opted-out one would outweigh the new one. So it is for another list."""
    importer = synced(stage, 300)
    box, other = importer.box, "bbbbbbbbbb"
    box.add_account(box.mailchimp_key, box.ometria_key, {other: 0})
    importer.configure(RECONCILING.replace('["{list_key}"]', '["{list_key}", "bbbbbbbbbb"]'), most="5%")
    back, elsewhere, left_there, away = whole(importer)[:4]
    box.audience().delete(who=[back, elsewhere, left_there, away])
    new = box.audience().add(email_address=back["email_address"].upper())
    box.audience(other).add(email_address=elsewhere["email_address"])
    once = box.audience(other).add(email_address=left_there["email_address"])
    time_passes(300)
    assert importer("sync").code == 0
    time_passes(300)
    assert importer("sync").code == 0
    box.audience(other).unsubscribe_unseen(who=[once])
    ended = importer("reconcile", box.list_key, "--mend", "--yes", "--json")
    assert (ended.code, ended.line["gone"], ended.line["mended"]) == (0, 4, 4), ended.err
    contacts = held(importer)
    optins = [contacts[of_ours(one)]["marketing_optin"] for one in (back, elsewhere, left_there, away, new)]
    assert optins == [NEITHER, NEITHER, OUT, OUT, IN]
    assert "timestamp_unsubscribed" not in contacts[of_ours(back)]
    assert contacts[of_ours(away)]["timestamp_unsubscribed"]


# ---- nobody is opted in by mistake


def test_whoever_unsubscribes_while_it_mends_is_not_opted_in(stage: Stage) -> None:
    """The member is read afresh right before the push: what was found a moment ago does not count."""
    importer = synced(stage, 300)
    one = whole(importer)[0]
    box = importer.box
    box.take_out([key_of(importer, of_ours(one))])
    asked: list[str] = []

    def leaves_at_the_second_look(request: Request) -> None:
        if request.path.endswith(of_ours(one)):
            asked.append(request.path)
            if len(asked) == 2:
                box.audience().unsubscribe_unseen(who=[one])

    box.knobs.fault = leaves_at_the_second_look
    ended = importer(*MEND)
    assert (ended.code, ended.line["missing"], ended.line["mended"]) == (0, 1, 1), ended.err
    assert held(importer)[of_ours(one)]["marketing_optin"] == OUT


def test_whoever_changes_while_it_mends_is_left_to_the_next_sync(stage: Stage) -> None:
    """That one may have an event to tell of; it is not mended twice, and not forgotten."""
    importer = synced(stage, 300)
    one = whole(importer)[0]
    importer.box.take_out([key_of(importer, of_ours(one))])
    asked: list[str] = []

    def changes_at_the_second_look(request: Request) -> None:
        if request.path.endswith(of_ours(one)):
            asked.append(request.path)
            if len(asked) == 2:
                importer.box.audience().change(who=[one])

    importer.box.knobs.fault = changes_at_the_second_look
    ended = importer(*MEND)
    assert (ended.line["missing"], ended.line["mended"]) == (1, 0), ended.err
    importer.box.knobs.fault = None
    assert importer("sync").code == 0
    assert held(importer)[of_ours(one)]["marketing_optin"] == IN


def test_mending_welcomes_nobody(stage: Stage) -> None:
    """Whoever is missing opted in long ago, and gets no welcome campaign now."""
    importer = synced(stage, 200)
    new = importer.box.audience().join(3)
    time_passes(120)
    assert importer("sync").code == 0
    time_passes(120)
    assert importer("sync").code == 0
    before = importer.box.welcomes()
    importer.box.take_out(key_of(importer, of_ours(one)) for one in new if one["email_address"])
    assert importer(*MEND).code == 0
    assert expected(importer) <= set(held(importer))
    assert importer.box.welcomes() == before


def test_a_no_is_carried_for_who_has_no_usable_address_any_more(stage: Stage) -> None:
    """They cannot be sent whole; their consent alone is, and only if it is no yes."""
    importer = synced(stage, 200)
    audience, (left, stays) = importer.box.audience(), whole(importer)[:2]
    audience.edit_unseen(left, email_address="", status="unsubscribed")
    audience.edit_unseen(stays, email_address="not an address")
    importer.box.overwrite([{"id": key_of(importer, of_ours(stays))[1], "marketing_optin": NEITHER}])
    ended = importer(*MEND)
    assert held(importer)[of_ours(left)]["marketing_optin"] == OUT
    assert held(importer)[of_ours(stays)]["marketing_optin"] == NEITHER
    assert held(importer)[of_ours(left)]["email"] == left["email_address"].strip()
    assert ended.line["gone"] == 0


# ---- what counts


def test_what_changed_after_the_sync_point_is_the_next_syncs(stage: Stage) -> None:
    """It differs, is counted as such, and is no disagreement."""
    importer = synced(stage, 500)
    importer.box.audience().change(12, who=whole(importer)[:12])
    importer.box.audience().join(3)
    ended = importer("reconcile", "--json")
    assert (ended.code, counts(ended)) == (0, (0, 0, 0, 0))
    assert ended.line["later"] >= 12


def test_who_was_left_out_on_purpose_is_not_missing(stage: Stage) -> None:
    """A list that began with --since now: its history is counted as left out, not pushed; what came later is."""
    importer = stage(size=300, reads_per_second=100_000)
    importer.configure(RECONCILING, most="5%")
    assert importer("sync", "--since", "now").code == 0
    time_passes(300)
    changed = list(importer.box.audience().change(who=whole(importer)[:8]))
    time_passes(300)
    assert importer("sync").code == 0
    importer.box.take_out(key_of(importer, of_ours(one)) for one in changed[:3])
    ended = importer(*MEND)
    assert (ended.code, ended.line["missing"], ended.line["mended"]) == (0, 3, 3), ended.err
    assert ended.line["left_out"] > 200
    assert set(held(importer)) == {of_ours(one) for one in changed}
    importer("sync", "--full")
    assert importer("reconcile", "--json").line["left_out"] == 0


def test_the_archived_are_compared_only_where_ometria_holds_them(stage: Stage) -> None:
    """Who was archived before the first sync is not brought in; who is opted in there all the same is opted out."""
    importer = synced(stage, 500)
    archived = whole(importer, "archived")
    record = {"id": key_of(importer, of_ours(archived[0]))[1], "email": "a@example.com", "marketing_optin": IN}
    importer.box.overwrite([record])
    ended = importer(*MEND)
    assert (ended.code, counts(ended)) == (0, (0, 1, 0, 0)), ended.err
    assert held(importer)[of_ours(archived[0])]["marketing_optin"] == OUT
    assert not {of_ours(one) for one in archived[1:]} & set(held(importer))


def test_members_with_a_web_id_alone_are_compared_too(stage: Stage) -> None:
    """Mailchimp cannot be asked for them by id: the walk says who is gone, and the others are read by their second."""
    importer = stage(size=200, reads_per_second=100_000)
    importer.configure(RECONCILING, most="10%")
    old = [
        importer.box.audience().add(email_address=f"old{n}@example.com", contact_id=ABSENT, at=1_700_000_000 + n)
        for n in range(4)
    ]
    assert importer("sync").code == 0
    deleted, left, taken, away = old
    importer.box.audience().delete(who=[deleted, away])
    importer.box.audience().unsubscribe_unseen(who=[left])
    importer.box.take_out([key_of(importer, of_ours(taken))])
    ended = importer(*MEND)
    assert (ended.code, counts(ended)) == (0, (1, 1, 2, 0)), ended.err
    assert [held(importer)[of_ours(one)]["marketing_optin"] for one in old] == [OUT, OUT, IN, OUT]


def test_who_has_a_dead_letter_is_on_record_and_not_missing(stage: Stage) -> None:
    """Ometria refused them, and the letter says so: replaying it is what mends that."""
    importer = stage(size=300, reads_per_second=100_000)
    importer.configure(RECONCILING, most="5%")
    importer.box.knobs.rejects = {key_of(importer, of_ours(whole(importer)[0]))[1]}
    assert importer("sync").code == 3
    ended = importer("reconcile", "--json")
    assert (ended.code, ended.line["missing"], ended.line["on_record"]) == (0, 0, 1), ended.err


def test_whom_ometria_refuses_when_they_are_mended_gets_a_dead_letter(stage: Stage) -> None:
    """As in a sync: the others are mended, and the exit code says that not all were."""
    importer = synced(stage, 300)
    first, second = whole(importer)[:2]
    importer.box.take_out(key_of(importer, of_ours(one)) for one in (first, second))
    importer.box.knobs.rejects = {key_of(importer, of_ours(first))[1]}
    ended = importer(*MEND)
    assert (ended.code, ended.line["missing"], ended.line["mended"]) == (3, 2, 1), ended.err
    assert [one["member_id"] for one in importer("dlq", "list", "--json").lines] == [of_ours(first)]


def test_a_filter_that_does_not_work_is_said_and_everything_read(stage: Stage) -> None:
    """Each contact says where it belongs: those of other collections are no business of the list's."""
    importer = synced(stage, 400)
    importer.box.overwrite(
        {"@collection": "shop", "id": f"s{number}", "email": f"s{number}@example.com"} for number in range(30)
    )
    importer.box.knobs.collection_ignored = True
    ended = importer("reconcile")
    assert ended.code == 0
    assert (
        "does not filter its contacts by collection: all were read, of which 30 are of other collections" in ended.err
    )


def test_contacts_taken_out_while_it_reads_hide_nobody(stage: Stage) -> None:
    """Whoever moves to a lower place meanwhile is met all the same: nobody is called missing who is not."""
    importer = synced(stage, 1_500)
    keys = list(importer.box.contacts())
    early = iter(keys[:200])

    def take_out_some(request: Request) -> None:
        if request.path == "/contacts" and request.query["offset"] != "0":
            importer.box.take_out([key for key, _ in zip(early, range(7), strict=False)])

    importer.box.knobs.fault = take_out_some
    ended = importer("reconcile", "--json")
    importer.box.knobs.fault = None
    lost = {key[1] for key in keys} - {key[1] for key in importer.box.contacts()}
    assert lost
    named = set(ended.line["ids"]["missing"])
    assert {f"{importer.box.list_key}-{own}" for own in named} <= lost
    assert ended.line["missing"] <= len(lost)


# ---- as a command


def test_it_is_in_the_log_of_runs_with_its_windows(stage: Stage) -> None:
    """Kind = reconcile; the sync point stays where it was."""
    importer = synced(stage, 300)
    point = importer("status", "--json").lines[0]["sync_point"]
    time_passes(500)
    importer("reconcile")
    run = importer("runs", "list", "--json").lines[0]
    assert (run["kind"], run["status"], run["contacts_pushed"]) == ("reconcile", "completed", 0)
    assert importer("status", "--json").lines[0]["sync_point"] == point
    assert importer("runs", "show", str(run["run_id"]), "--json").line["windows"]


def test_a_client_that_is_taken_is_4_with_and_without_mending(stage: Stage) -> None:
    """0 would say that both sides agree."""
    importer = synced(stage, 50)
    importer.box.clear_requests()
    with lock_client(importer.db, "acme"):
        for words in (["reconcile"], ["reconcile", "--mend", "--yes"]):
            ended = importer(*words)
            assert ended.code == 4
            assert f"process {os.getpid()}" in ended.err
    assert importer.box.requests == []


def test_without_anybody_to_ask_it_does_not_mend(stage: Stage) -> None:
    """Cron has to say --yes; --yes alone agrees to nothing."""
    importer = synced(stage, 50)
    importer.box.clear_requests()
    for words, said in ((["--mend"], "nobody is there"), (["--force-mend"], "nobody is there"), (["--yes"], "--mend")):
        ended = importer("reconcile", *words)
        assert ended.code == 2
        assert said in ended.err
    assert importer.box.requests == []


def test_of_several_clients_each_is_compared_with_its_own_keys(stage: Stage) -> None:
    """One that differs is told first, another's failure touches nobody; the exit code is the worst of all."""
    importer = stage(reads_per_second=100_000, settling=0)
    clients = several(importer, ["a", "b", "c"], size=40)
    text = importer.config.read_text(encoding="utf-8").replace(
        "wait = 0\n", "wait = 0\n\n[reconcile]\nsettling = 0\n", 1
    )
    importer.config.write_text(text, encoding="utf-8")
    assert importer("sync").code == 0
    assert importer("reconcile").code == 0
    key = clients["b"]["ometria_key"]
    importer.box.take_out(list(importer.box.contacts(key))[:3], key)
    ended = importer("reconcile", "--json")
    assert ended.code == 3
    assert {line["client"]: line["missing"] for line in ended.lines} == {"a": 0, "b": 3, "c": 0}
    assert "3 lists: 1 differ, 2 completed" in ended.err
    importer.box.knobs.fault = lambda one: "401" if one.key == clients["c"]["mailchimp_key"] else None
    ended = importer("reconcile", "--mend", "--yes", "--json")
    assert ended.code == 1
    mended = {line["client"]: (line["status"], line.get("mended")) for line in ended.lines}
    assert mended == {"a": ("completed", 0), "b": ("completed", 3), "c": ("failed", None)}


def test_an_unfinished_run_is_said(stage: Stage) -> None:
    """What it still has to bring is no surprise then."""
    importer = synced(stage, 600)
    importer.box.knobs.fault = lambda one: "401" if one.path == "/push" else None
    assert importer("sync", "--full").code == 1
    importer.box.knobs.fault = None
    ended = importer("reconcile")
    assert ended.code == 0
    assert "is not finished" in ended.err


def test_ometria_is_read_at_its_own_pace(stage: Stage) -> None:
    """No more reads in any second than an account takes: none is refused."""
    importer = synced(stage, 700)
    importer.box.knobs.reads_per_second = 8
    importer.configure(RECONCILING.replace("reads_per_second = 1000", "reads_per_second = 8"), most="5%")
    importer.box.clear_requests()
    assert importer("reconcile").code == 0
    reads = [one for one in importer.box.requests if one.path == "/contacts"]
    assert len(reads) >= 5
    assert {one.status for one in reads} == {200}
    assert most_in_any_second(one.at for one in reads) <= 8


def test_what_is_read_is_only_what_is_compared(stage: Stage) -> None:
    """No tags, and of the place the country alone; and no page of Ometria's twice where nothing differs."""
    importer = synced(stage, 300)
    importer.box.clear_requests()
    importer("reconcile")
    asked = {one.query["fields"] for one in importer.box.requests if one.path.endswith("/members") and one.count}
    assert all(
        "merge_fields.FNAME" in fields and "members.tags" not in fields for fields in asked if "status" in fields
    )
    assert not any("location" in fields.replace("location.country_code", "") for fields in asked)


def test_status_tells_when_both_sides_were_compared_and_with_what_result(stage: Stage) -> None:
    """In words and in counts; no ids."""
    importer = synced(stage, 300)
    assert importer("status", "--json").line["reconciled_at"] is None
    importer("reconcile")
    assert re.search(r"both sides agreed \d+ s ago", importer("status").out)
    importer.box.audience().delete(who=whole(importer)[:2])
    importer("reconcile")
    assert re.search(r"both sides differed \(2 gone\) \d+ s ago", importer("status").out)
    line = importer("status", "--json").line
    assert line["reconciled_at"]
    assert (line["reconciled"]["gone"], line["reconciled"]["left"]) == (2, 2)
    importer(*MEND)
    assert re.search(r"both sides agreed \d+ s ago", importer("status").out)


READY = os.open(os.devnull, os.O_RDONLY)  # somebody has typed something


class Terminal(io.StringIO):
    """Somebody types there."""

    def fileno(self) -> int:
        return READY

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "code"), [("n\n", 3), ("", 3), ("y\n", 0)])
def test_whoever_sits_at_the_terminal_sees_what_differs_and_is_asked(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    """Only a yes mends; all else leaves everything as it is, and says so."""
    importer = synced(stage, 200)
    importer.box.take_out(key_of(importer, of_ours(one)) for one in whole(importer)[:2])
    importer.box.clear_requests()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    ended = importer("reconcile", "--mend")
    assert ended.code == code
    assert ended.err.index("missing     2") < ended.err.index(
        "Push 2 missing and 0 stale, and opt out 0 that are gone, but for who is subscribed elsewhere?"
    )
    assert ("nothing was mended: it was not agreed to" in ended.err) == (code == 3)
    assert bool([one for one in importer.box.requests if one.path == "/push"]) == (code == 0)


def test_whoever_is_asked_may_leave_with_ctrl_c(stage: Stage) -> None:
    """At once, with the exit code for that; the run is on record as interrupted, and nobody was pushed."""
    importer = synced(stage, 100)
    importer.box.take_out(key_of(importer, of_ours(one)) for one in whole(importer)[:2])
    importer.box.clear_requests()
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
    assert [one for one in importer.box.requests if one.path == "/push"] == []


def test_nothing_personal_is_said_or_kept(stage: Stage) -> None:
    """No address and no name of anybody, nor an id that may be one, on the terminal or in the folder."""
    importer = synced(stage, 300)
    apart = drift_apart(importer, 2)
    importer.box.overwrite([{"id": "Jö-Moreno", "email": "jo@example.com", "marketing_optin": IN}])
    ended = [importer(*words) for words in (["reconcile"], ["reconcile", "--json"], MEND, ["status"])]
    said = "".join(one.out + one.err for one in ended).encode()
    said += b"".join(path.read_bytes() for path in importer.folder.iterdir() if path != importer.config)
    addresses = {one["email_address"].encode() for one in importer.box.audience().members if one["email_address"]}
    assert not {address for address in addresses | {"Jö-Moreno".encode(), b"else@example.com"} if address in said}
    assert b"(an id that may be personal)" in said
    assert min(apart.missing).encode() in said
