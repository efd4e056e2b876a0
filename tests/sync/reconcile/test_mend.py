"""`reconcile --mend` and consent: "mended" is what was seen in Ometria, and a no that was given there stands."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from typing import Any, Literal

import pytest
from conftest import Importer, MakeImporter, another_program_pushes_invalid_contact

from mcimport.sandbox.audience.member_list import MemberView
from mcimport.sandbox.request_log import Request
from sync.reconcile.test_reconcile_list import (
    IN,
    MEND,
    NEITHER,
    OUT,
    RECONCILING,
    Terminal,
    counts,
    held,
    key_of,
    of_ours,
    pushed,
    run_and_signal,
    synced,
    whole,
)

FORCING = RECONCILING + "ometria.force_optin = true\n"
OPT_IN = (*MEND, "--opt-in")


def ids_of(people: Iterable[MemberView]) -> set[str]:
    return {of_ours(one) for one in people}


def consents(importer: Importer, people: Iterable[MemberView]) -> set[str]:
    contacts = held(importer)
    return {contacts[of_ours(one)]["marketing_optin"] for one in people}


def deleted(importer: Importer, number: int) -> list[MemberView]:
    importer.sandbox.push_errors()  # when all that was pushed before has been validated
    people = whole(importer)[:number]
    importer.sandbox.audience().delete(who=people)
    importer.sandbox.clear_requests()
    return people


def in_ometria(importer: Importer, people: Iterable[MemberView], **fields: Any) -> None:
    """Another program, or the person there, changes what Ometria holds of them."""
    importer.sandbox.store_contacts({"id": key_of(importer, of_ours(one))[1], **fields} for one in people)
    importer.sandbox.clear_requests()


def reads_of_one(requests: Iterable[Request]) -> list[Request]:
    return [one for one in requests if one.path.startswith("/contacts/")]


def pushes(requests: Iterable[Request]) -> list[Request]:
    return [one for one in requests if one.path == "/push"]


# ---- opted out with an address


@pytest.mark.parametrize("single_contacts", [True, False])
@pytest.mark.parametrize("without_address", ["taken", "refused", "dropped"])
def test_whoever_was_deleted_is_opted_out_whatever_becomes_of_records_without_an_address(
    make_importer: MakeImporter, without_address: Literal["taken", "refused", "dropped"], *, single_contacts: bool
) -> None:
    """The address goes along, as Ometria holds it; whether it is read one by one or by the listing."""
    importer = synced(
        make_importer,
        120,
        most="20%",
        without_address=without_address,
        single_contacts=single_contacts,
        reads_per_second=900,
    )
    people = deleted(importer, 12)
    before = {own: one["email"] for own, one in held(importer).items()}
    result = importer(*MEND)
    assert (result.code, result.line["gone"], result.line["mended"]) == (0, 12, 12), result.err
    assert consents(importer, people) == {OUT}
    assert result.line["not_taken"] == 0
    assert {own: one["email"] for own, one in held(importer).items()} == before
    again = importer("reconcile", "--json")
    assert (again.code, counts(again)) == (0, (0, 0, 0, 0)), again.err


def test_the_address_is_the_one_that_ometria_holds_and_is_kept_nowhere(make_importer: MakeImporter) -> None:
    """Somebody changed it there: it stays as it is, and stands in no message, log or file, however much is told."""
    importer = synced(make_importer, 300, without_address="dropped")
    people = deleted(importer, 8)
    in_ometria(importer, people, email="Somebody.Else@Example.com")
    result = importer("reconcile", "--mend", "--yes", "--json", "--log-format", "json", "--verbose")
    assert (result.code, result.line["mended"]) == (0, 8), result.err
    assert consents(importer, people) == {OUT}
    assert {held(importer)[of_ours(one)]["email"] for one in people} == {"Somebody.Else@Example.com"}
    said = (result.out + result.err).encode()
    said += b"".join(path.read_bytes() for path in importer.folder.iterdir() if path != importer.config)
    assert b"somebody.else" not in said.lower()
    addresses = {one["email_address"].encode() for one in importer.sandbox.audience().members if one["email_address"]}
    assert not {address for address in addresses if address in said}


def test_many_who_are_gone_are_found_by_the_listing_and_few_one_by_one(make_importer: MakeImporter) -> None:
    """A pass over the collection is cheaper than a request for each; for few it is not."""
    importer = synced(make_importer, 500, most="30%", without_address="dropped")
    few = deleted(importer, 4)
    assert importer(*MEND).code == 0
    assert {one.path.rpartition("-")[2] for one in reads_of_one(importer.sandbox.requests)} >= ids_of(few)
    many = deleted(importer, 60)
    result = importer(*MEND)
    assert (result.code, result.line["mended"]) == (0, 60), result.err
    assert reads_of_one(importer.sandbox.requests) == []
    assert consents(importer, [*few, *many]) == {OUT}


def test_a_no_of_who_has_no_usable_address_here_goes_out_with_the_one_there(make_importer: MakeImporter) -> None:
    """They cannot be sent whole; so their consent needs the address as much as that of those who were deleted."""
    importer = synced(make_importer, 300, without_address="dropped")
    (left,) = whole(importer)[:1]
    address = left["email_address"]
    importer.sandbox.audience().edit_unseen(left, email_address="", status="unsubscribed")
    result = importer(*MEND)
    assert (result.code, result.line["stale"], result.line["mended"]) == (0, 1, 1), result.err
    contact = held(importer)[of_ours(left)]
    assert (contact["marketing_optin"], contact["email"]) == (OUT, address.strip())


@pytest.mark.parametrize("what", ["erased", "opted out"])
def test_nothing_is_pushed_for_whoever_ometria_opted_in_no_longer(make_importer: MakeImporter, what: str) -> None:
    """They are read right before the push: an erased person is not made anew, a no is not dated anew."""
    importer = synced(make_importer, 300)
    (person,) = deleted(importer, 1)

    def happens_before_the_answer(request: Request) -> None:
        if request.path.startswith("/contacts/"):
            if what == "erased":
                importer.sandbox.delete_contacts([key_of(importer, of_ours(person))])
            else:
                importer.sandbox.store_contacts([{"id": key_of(importer, of_ours(person))[1], "marketing_optin": OUT}])

    importer.sandbox.settings.fault = happens_before_the_answer
    result = importer(*MEND)
    assert (result.code, result.line["gone"], result.line["mended"]) == (0, 1, 1), result.err
    assert pushes(importer.sandbox.requests) == []


# ---- seen, or named


def test_who_did_not_take_is_named_with_ometrias_latest_errors_every_time(make_importer: MakeImporter) -> None:
    """Accepted and dropped: that is no "mended", however often it is tried."""
    importer = synced(make_importer, 300)
    people = deleted(importer, 7)
    dropped = people[:5]
    importer.sandbox.settings.drops = {key_of(importer, of_ours(one))[1] for one in dropped}
    result = importer(*MEND)
    assert (result.code, result.line["gone"], result.line["mended"]) == (3, 7, 2), result.err
    assert result.line["not_taken"] == 5
    assert set(result.line["ids"]["not_taken"]) == ids_of(dropped)
    assert consents(importer, dropped) == {IN}
    again = importer("reconcile", "--mend", "--yes")
    assert again.code == 3
    assert "5 pushed without effect: " in again.err
    assert all(of_ours(one) in again.err for one in dropped)
    assert "root > email: not a valid value" in again.err
    assert "did not take" not in importer("reconcile").err
    assert "5 not taken" not in importer("status").out
    importer.sandbox.settings.drops = set()
    healed = importer(*MEND)
    assert (healed.code, healed.line["mended"]) == (0, 5), healed.err


def test_status_and_the_state_tell_who_did_not_take(make_importer: MakeImporter) -> None:
    """As a count, after the mend; no ids."""
    importer = synced(make_importer, 300)
    people = deleted(importer, 2)
    importer.sandbox.settings.drops = {key_of(importer, of_ours(people[0]))[1]}
    assert importer(*MEND).code == 3
    counts = importer("status", "--json").line["reconciled"]
    assert (counts["gone"], counts["mended"], counts["not_taken"], counts["left"]) == (2, 1, 1, 1)
    assert "both sides differed (2 gone, 1 not taken, 1 fixed)" in importer("status").out


def test_the_missing_and_the_stale_are_looked_at_again_as_well(make_importer: MakeImporter) -> None:
    """Each is held to what was pushed; of ten lists them all that did not take are among those told."""
    importer = synced(make_importer, 300)
    missing, stale, fine, renamed = whole(importer)[:4]
    importer.sandbox.delete_contacts(key_of(importer, of_ours(one)) for one in (missing, fine))
    in_ometria(importer, (stale, renamed), firstname="Else")
    importer.sandbox.settings.drops = {key_of(importer, of_ours(one))[1] for one in (missing, stale)}
    result = importer(*MEND)
    assert (result.code, result.line["missing"], result.line["stale"], result.line["mended"]) == (3, 2, 2, 2), (
        result.err
    )
    assert set(result.line["ids"]["not_taken"]) == ids_of((missing, stale))


def test_whom_ometria_refuses_at_once_is_named_too_and_not_waited_for(make_importer: MakeImporter) -> None:
    """Looked at once: a refusal is not validated later."""
    importer = synced(make_importer, 300)
    people = deleted(importer, 3)
    refused = people[0]
    importer.sandbox.settings.rejects = {key_of(importer, of_ours(refused))[1]}
    result = importer(*MEND)
    assert (result.code, result.line["mended"]) == (3, 2), result.err
    assert result.line["ids"]["not_taken"] == [of_ours(refused)]
    assert "Ometria rejected the record" in result.err
    last = max(number for number, one in enumerate(importer.sandbox.requests) if one.path == "/push")
    looks = reads_of_one(importer.sandbox.requests[last:])
    assert len([one for one in looks if one.path.endswith(of_ours(refused))]) == 1


def test_what_is_validated_late_is_looked_at_again_before_it_is_blamed(make_importer: MakeImporter) -> None:
    """At the first look it is not there yet, at the second it is."""
    importer = synced(make_importer, 300)
    people = deleted(importer, 3)
    importer.sandbox.settings.settling = 100_000.0
    looks: list[Request] = []

    def validates_at_the_second_look(request: Request) -> None:
        if request.path.startswith("/contacts/") and pushes(importer.sandbox.requests):
            looks.append(request)
            if len(looks) == len(people) + 1:
                importer.sandbox.push_errors()  # waits for the validation

    importer.sandbox.settings.fault = validates_at_the_second_look
    result = importer(*MEND)
    assert (result.code, result.line["mended"]) == (0, 3), result.err
    assert len(looks) == 2 * len(people)


def test_whoever_changes_between_the_push_and_the_look_is_not_blamed(make_importer: MakeImporter) -> None:
    """What was pushed counts, not what Mailchimp shows by then."""
    importer = synced(make_importer, 300)
    person = whole(importer)[0]
    in_ometria(importer, [person], firstname="Else")
    looks: list[Request] = []

    def changes_after_the_push(request: Request) -> None:
        if request.path.startswith("/contacts/"):
            looks.append(request)
            importer.sandbox.audience().edit_unseen(person, merge_fields={**person["merge_fields"], "FNAME": "Later"})

    importer.sandbox.settings.fault = changes_after_the_push
    result = importer(*MEND)
    assert (result.code, result.line["stale"], result.line["mended"]) == (0, 1, 1), result.err
    assert looks


def test_killed_between_the_push_and_the_look_the_next_one_finishes(make_importer: MakeImporter) -> None:
    """Whether it took is found out then, and what did not is pushed again."""
    importer = synced(make_importer, 300)
    people = deleted(importer, 5)
    lost = people[0]
    importer.sandbox.settings.drops = {key_of(importer, of_ours(lost))[1]}

    def looks(request: Request) -> bool:
        return request.path.startswith("/contacts/") and bool(pushes(importer.sandbox.requests))

    assert run_and_signal(importer, importer.command(*MEND), looks) == -signal.SIGKILL
    importer.sandbox.settings.drops = set()
    importer.sandbox.clear_requests()
    result = importer(*MEND)
    assert (result.code, result.line["gone"], result.line["mended"]) == (0, 1, 1), result.err
    assert pushed(importer) == {of_ours(lost)}
    assert consents(importer, people) == {OUT}


def test_a_stop_between_the_push_and_the_look_ends_it(make_importer: MakeImporter) -> None:
    """The run is on record as interrupted, and nothing is claimed; what was pushed stays pushed."""
    importer = synced(make_importer, 200)
    people = deleted(importer, 2)

    def pushes_it(request: Request) -> bool:
        return request.path == "/push"

    assert run_and_signal(importer, importer.command(*MEND), pushes_it, signal.SIGTERM) == 143
    assert consents(importer, people) == {OUT}
    assert [
        one for one in reads_of_one(importer.sandbox.requests) if one.at > pushes(importer.sandbox.requests)[0].at
    ] == []
    assert importer("runs", "list", "--json").lines[0]["status"] == "interrupted"


# ---- a no that was given to Ometria


def test_whoever_said_no_in_ometria_is_not_opted_in_by_a_mend(make_importer: MakeImporter) -> None:
    """Told, and no difference: nothing is pushed, though opt-ins are forced in a sync; however often it is run."""
    importer = synced(make_importer, 400)
    people = whole(importer)[:30]
    in_ometria(importer, people, marketing_optin=OUT)
    importer.configure(FORCING, most="5%")
    for _ in range(2):
        result = importer(*MEND)
        assert (result.code, result.line["said_no"], counts(result)) == (0, 30, (0, 0, 0, 0)), result.err
        assert set(result.line["ids"]["said_no"]) <= ids_of(people)
    assert pushes(importer.sandbox.requests) == []
    assert consents(importer, people) == {OUT}
    said = importer("reconcile").err
    assert "both sides match, except 30 opted out in Ometria" in said
    assert "said no     30 opted out in Ometria, but subscribed in Mailchimp" in said
    assert "both sides matched (30 opted out in Ometria)" in importer("status").out


def test_beside_a_no_in_ometria_everything_else_is_mended_and_the_consent_left_out(make_importer: MakeImporter) -> None:
    """A name that is stale is pushed without a word about consent, and without force."""
    importer = synced(make_importer, 300)
    person = whole(importer)[0]
    in_ometria(importer, [person], firstname="Else", marketing_optin=OUT)
    importer.configure(FORCING, most="5%")
    result = importer(*MEND)
    assert (result.code, result.line["stale"], result.line["said_no"], result.line["mended"]) == (0, 1, 1, 1), (
        result.err
    )
    assert result.line["fields"] == {"firstname": 1}
    contact = held(importer)[of_ours(person)]
    assert contact["firstname"] != "Else"
    assert contact["marketing_optin"] == OUT
    assert "@force_optin" not in contact


def test_neither_here_and_no_there_is_no_difference(make_importer: MakeImporter) -> None:
    """Pushing "not specified" would lift the no; a member who differs otherwise is mended without it."""
    importer = synced(make_importer, 300)
    pending, renamed = whole(importer)[:2]
    for one in (pending, renamed):
        importer.sandbox.audience().edit_unseen(one, status="pending")
    in_ometria(importer, [pending], marketing_optin=OUT)
    in_ometria(importer, [renamed], marketing_optin=OUT, firstname="Else")
    result = importer(*MEND)
    assert (result.code, result.line["stale"], result.line["said_no"], result.line["mended"]) == (0, 1, 0, 1), (
        result.err
    )
    assert pushed(importer) == {of_ours(renamed)}
    assert consents(importer, (pending, renamed)) == {OUT}


def test_a_no_in_mailchimp_goes_out_whatever_ometria_holds(make_importer: MakeImporter) -> None:
    """Opted in there or neither: it is opted out, and never by force."""
    importer = synced(make_importer, 300)
    one, other, missing = whole(importer)[:3]
    importer.sandbox.audience().unsubscribe_unseen(who=[one, other])
    importer.sandbox.delete_contacts([key_of(importer, of_ours(missing))])
    in_ometria(importer, [other], marketing_optin=NEITHER)
    (gone,) = whole(importer)[3:4]
    importer.sandbox.audience().delete(who=[gone])
    importer.configure(FORCING, most="5%")
    result = importer(*MEND)
    assert (result.code, result.line["mended"]) == (0, 4), result.err
    assert consents(importer, (one, other, gone)) == {OUT}
    assert not [own for own in pushed(importer) if "@force_optin" in held(importer)[own]]


# ---- --opt-in


def test_with_opt_in_they_are_opted_in_but_not_by_force(make_importer: MakeImporter) -> None:
    """Those, and whoever is stale besides; counted as mended when Ometria shows it."""
    importer = synced(make_importer, 300, most="20%")
    people = whole(importer)[:6]
    in_ometria(importer, people, marketing_optin=OUT)
    in_ometria(importer, people[:1], firstname="Else")
    importer.configure(FORCING, most="20%")
    result = importer(*OPT_IN)
    assert (result.code, result.line["said_no"], result.line["stale"], result.line["mended"]) == (0, 6, 1, 7), (
        result.err
    )
    assert consents(importer, people) == {IN}
    assert not [own for own in pushed(importer) if "@force_optin" in held(importer)[own]]
    assert importer("reconcile", "--json").line["said_no"] == 0


def test_an_opt_in_that_ometria_does_not_take_is_named(make_importer: MakeImporter) -> None:
    """A no that was recorded there is not lifted by ours, it is said."""
    importer = synced(make_importer, 300)
    person = whole(importer)[0]
    in_ometria(importer, [person], marketing_optin=OUT)
    importer.sandbox.settings.drops = {key_of(importer, of_ours(person))[1]}
    result = importer(*OPT_IN)
    assert (result.code, result.line["mended"], result.line["ids"]["not_taken"]) == (3, 0, [of_ours(person)]), (
        result.err
    )


@pytest.mark.parametrize("typed", ["y\n", "n\n"])
def test_opt_in_asks_with_the_number_in_the_question(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    """Only a yes opts them in."""
    importer = synced(make_importer, 300)
    people = whole(importer)[:3]
    in_ometria(importer, people, marketing_optin=OUT)
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    result = importer("reconcile", "--mend", "--opt-in")
    question = "opt out 0 deleted (unless subscribed to another list), and opt in 3 opted out in Ometria?"
    assert f"Push 0 missing and 0 stale members, {question} [y/N]" in result.err
    assert result.code == (0 if typed == "y\n" else 3)
    assert consents(importer, people) == ({IN} if typed == "y\n" else {OUT})


def test_opt_in_needs_a_mend_and_somebody_to_ask(make_importer: MakeImporter) -> None:
    """Before any request: alone it means nothing, and cron has to say --yes."""
    importer = synced(make_importer, 50)
    importer.sandbox.clear_requests()
    for words, said in ((["--opt-in"], "--opt-in needs --mend"), (["--mend", "--opt-in"], "not running in a terminal")):
        result = importer("reconcile", *words)
        assert result.code == 2
        assert said in result.err
    assert importer.sandbox.requests == []


def test_whoever_leaves_while_they_are_opted_in_is_not_opted_in(make_importer: MakeImporter) -> None:
    """They are read afresh: who is not subscribed at that moment keeps the no that Ometria holds."""
    importer = synced(make_importer, 300)
    left, unclear = whole(importer)[:2]
    in_ometria(importer, (left, unclear), marketing_optin=OUT)
    asked: list[str] = []

    def leave_at_the_second_look(request: Request) -> None:
        if request.path.endswith((of_ours(left), of_ours(unclear))):
            asked.append(request.path)
            if len(asked) == 3:
                importer.sandbox.audience().unsubscribe_unseen(who=[left])
                importer.sandbox.audience().edit_unseen(unclear, status="pending")

    importer.sandbox.settings.fault = leave_at_the_second_look
    assert importer(*OPT_IN).code == 0
    assert consents(importer, (left, unclear)) == {OUT}
    assert len(asked) > 3


# ---- [reconcile] most


def test_most_counts_every_change_of_consent_in_either_direction(make_importer: MakeImporter) -> None:
    """Opted out, opted in, gone, and with --opt-in whoever said no there; names and the missing are none."""
    importer = synced(make_importer, 400)
    people = iter(whole(importer))
    left, neither, gone, refused, renamed, missing = ([next(people) for _ in range(10)] for _ in range(6))
    in_ometria(importer, renamed, firstname="Else")
    importer.sandbox.delete_contacts(key_of(importer, of_ours(one)) for one in missing)
    assert importer(*MEND).code == 0

    importer.sandbox.audience().unsubscribe_unseen(who=left)
    in_ometria(importer, neither, marketing_optin=NEITHER)
    result = importer(*MEND)
    assert result.code == 3
    assert "20 of" in result.line["refusal"]
    assert "would change their consent, above the limit of 5%" in result.line["refusal"]
    assert importer("reconcile", "--force-mend", "--yes").code == 0

    importer.sandbox.audience().delete(who=gone)
    in_ometria(importer, refused, marketing_optin=OUT)
    assert "10 of" in (refusal := importer(*OPT_IN).line["refusal"])
    assert "would be opted out and 10 would change their consent" in refusal
    assert consents(importer, [*gone, *neither]) == {IN}
    assert importer(*MEND).code == 0
    assert consents(importer, refused) == {OUT}


def test_hints_are_ometrias_latest_errors_and_name_nobody(make_importer: MakeImporter) -> None:
    """They may be somebody else's mistake, which is why they are shown beside, and not as the cause."""
    importer = synced(make_importer, 300)
    another_program_pushes_invalid_contact(importer)
    people = deleted(importer, 1)
    importer.sandbox.settings.drops = {key_of(importer, of_ours(people[0]))[1]}
    result = importer("reconcile", "--mend", "--yes")
    assert result.code == 3
    assert "root > gender" in result.err
