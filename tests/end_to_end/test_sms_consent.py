"""Text messages: a yes stays with the very number that it was given for, and ends when Mailchimp says anything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import CONFIG, Importer, MakeImporter, accept_one_more_push
from engine.distributed.test_executor import page_message, workplace
from hypothesis import given
from hypothesis import strategies as st
from passing import time_passes

from mcimport.config import Client, load
from mcimport.convert import make_converter
from mcimport.engine import RunSpec
from mcimport.engine.distributed.messages import MessageBuilder, PageMessage, Processed
from mcimport.engine.page.list_fields import LazyListFields
from mcimport.engine.page.subscription_events import EventBudget
from mcimport.models import ContactRules, Converted, ListFields, LookUps, Member, MergeField, Outcome, Window
from mcimport.models.timestamps import epoch
from mcimport.sandbox.audience.member_list import MemberView
from mcimport.services.connections import ClientServices, ConnectionPool
from mcimport.services.http.shutdown import StopSignal

A, B, C = "+447911123456", "+447400123456", "+34600555012"
YES, NO = {"sms": {"allow_marketing": True}}, {"sms": {"allow_marketing": False}}


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    """So that a worker's threads end with the test."""
    one = StopSignal()
    yield one
    one.abort()


def invite(importer: Importer, name: str, **fields: Any) -> MemberView:
    """A subscriber, without an SMS status unless one is given."""
    none = {"sms_phone_number": "", "sms_subscription_status": "", "merge_fields": {}, "location": {}}
    return importer.sandbox.audience().add(email_address=f"{name}@example.com", **{**none, **fields})


def texted(importer: Importer, name: str = "ada", **fields: Any) -> MemberView:
    """A subscriber who agreed to text messages to number A."""
    return invite(importer, name, sms_phone_number=A, sms_subscription_status="subscribed", **fields)


def held(importer: Importer, member: MemberView) -> dict[str, Any]:
    """What Ometria holds of a member."""
    return next(one for one in importer.sandbox.contacts().values() if one["email"] == member["email_address"])


def of_texts(importer: Importer, member: MemberView) -> tuple[Any, Any]:
    """The number and the channels that Ometria holds."""
    contact = held(importer, member)
    return contact.get("phone_number"), contact.get("channels")


def change(importer: Importer, member: MemberView, status: Any, number: Any = "", **fields: Any) -> None:
    """Another SMS status, a minute later."""
    time_passes(60)
    importer.sandbox.audience().set_sms_status(who=[member], status=status, number=number, **fields)


def synced(make_importer: MakeImporter, **fields: Any) -> tuple[Importer, MemberView]:
    """Somebody who agreed to text messages to number A is in Ometria so."""
    importer = make_importer()
    ada = texted(importer, **fields)
    assert importer("sync").code == 0
    assert of_texts(importer, ada) == (A, YES)
    return importer, ada


# ---- what a status says


@pytest.mark.parametrize("status", ["nonsubscribed", "pending", "unsubscribed", "SUBSCRIBED", "opted_in", 7, ["x"]])
def test_a_yes_for_one_number_does_not_pass_to_the_next(make_importer: MakeImporter, status: Any) -> None:
    """The new number is sent with a no, whatever the status but `subscribed`, and of whatever type."""
    importer, ada = synced(make_importer)
    change(importer, ada, status, B)
    assert importer("sync").code == 0
    assert of_texts(importer, ada) == (B, NO)


def test_a_yes_moves_on_with_the_number_that_it_was_given_for(make_importer: MakeImporter) -> None:
    """Subscribed again, with another number: that one has the consent."""
    importer, ada = synced(make_importer)
    change(importer, ada, "subscribed", B)
    assert importer("sync").code == 0
    assert of_texts(importer, ada) == (B, YES)


@pytest.mark.parametrize("number", ["", None, "12", [A]])
@pytest.mark.parametrize("status", ["unsubscribed", "pending", "subscribed"])
def test_without_a_valid_number_every_status_ends_a_yes(make_importer: MakeImporter, status: str, number: Any) -> None:
    """A no needs no number, and a yes is none without its own: the former number stays, without consent."""
    importer, ada = synced(make_importer)
    change(importer, ada, status, number, merge_fields={"PHONE": B})
    assert importer("sync").code == 0
    assert of_texts(importer, ada) == (A, NO)
    assert held(importer, ada)["properties"]["phone"] == B


NUMBERS = st.sampled_from(["", None, A, B, C, " +44 7911 123456 ", "12", "600 555 012", 7, [A]])
STATUSES = st.sampled_from(
    ["", None, " ", [], "subscribed", "unsubscribed", "nonsubscribed", "pending", "SUBSCRIBED", "subscribed ", 1, ["x"]]
)
LIFE = st.lists(st.tuples(STATUSES, NUMBERS, NUMBERS), max_size=8)


@given(LIFE)
def test_a_yes_stands_beside_no_number_but_that_of_the_last_status_which_was_subscribed(life: list[Any]) -> None:
    """Whatever statuses, numbers and PHONE fields a member goes through, with all that was sent merged by Ometria."""
    rules = ContactRules("1a2d7ebf82", has_sms=True)
    convert = make_converter(ListFields({"PHONE": MergeField("PHONE", "phone")}), rules)
    kept: dict[str, Any] = {}
    agreed = None  # what the number was typed as, when the status was `subscribed` and no other has come since
    for status, number, phone in life:
        agreed = number if status == "subscribed" else agreed if status in ("", None, " ", []) else None
        found = convert(
            Member(
                contact_id="c0ffee",
                email_address="ada@example.com",
                status="subscribed",
                merge_fields={"PHONE": phone},
                location={"country_code": "ES"},
                sms_phone_number=number,
                sms_subscription_status=status,
            )
        )
        assert isinstance(found, Converted)
        sent = {"phone_number": found.contact.phone_number, "channels": found.contact.channels}
        kept |= {name: value for name, value in sent.items() if value is not None}
        if "channels" in kept and kept["channels"].sms.allow_marketing:
            assert isinstance(agreed, str)
            assert kept["phone_number"].endswith(agreed.replace(" ", "").removeprefix("+"))


# ---- numbers of merge fields


@pytest.mark.parametrize("status", ["", None, [], "  "])
def test_who_left_the_programme_gives_no_other_number_their_consent(make_importer: MakeImporter, status: Any) -> None:
    """No status: nothing is said of text messages, and the number of a merge field is none to send them to."""
    importer, ada = synced(make_importer)
    change(importer, ada, status, merge_fields={"PHONE": B})
    assert importer("sync").code == 0
    assert of_texts(importer, ada) == (A, YES)
    assert held(importer, ada)["properties"]["phone"] == B


def test_on_a_list_with_an_sms_status_a_merge_fields_number_is_a_property(make_importer: MakeImporter) -> None:
    """For everybody of the first page, whoever of them comes first; typed wrongly, it stays as typed, as ever."""
    importer = make_importer()
    old = {"merge_fields": {"PHONE": C}, "last_changed": "2026-01-01T00:00:00+00:00"}
    early = [invite(importer, name, **old) for name in ("first", "second")]
    wrong = invite(importer, "wrong", merge_fields={"PHONE": "m: 1"})
    texted(importer)
    assert importer("sync").code == 0
    assert [of_texts(importer, one) for one in (*early, wrong)] == [(None, None)] * 3
    assert [held(importer, one)["properties"]["phone"] for one in (*early, wrong)] == [C, C, "m: 1"]


def test_on_a_list_without_any_sms_status_a_merge_fields_number_is_the_contacts(make_importer: MakeImporter) -> None:
    """As it always was, though Mailchimp holds numbers for text messages."""
    importer = make_importer()
    ada = invite(importer, "ada", merge_fields={"PHONE": C}, sms_phone_number=A)
    assert importer("sync").code == 0
    assert of_texts(importer, ada) == (C, None)


def test_a_status_of_somebody_without_an_address_counts_too(make_importer: MakeImporter) -> None:
    """They are carried by nobody, but text messages are sent to the list."""
    importer = make_importer()
    ada = invite(importer, "ada", merge_fields={"PHONE": C})
    importer.sandbox.audience().add(email_address="", sms_phone_number=A, sms_subscription_status="pending")
    assert importer("sync").code == 0
    assert of_texts(importer, ada) == (None, None)


def test_a_text_field_that_is_sent_to_the_phone_number_is_no_way_round(make_importer: MakeImporter) -> None:
    """Whatever `[fields]` sends there, of whatever type, goes to its property."""
    importer, ada = synced(make_importer)
    importer.configure(CONFIG + 'fields = {{ NOTE = "phone_number" }}\n')
    change(importer, ada, "", merge_fields={"NOTE": B})
    assert importer("sync").code == 0
    assert of_texts(importer, ada) == (A, YES)
    assert held(importer, ada)["properties"]["note"] == B


def test_that_a_list_has_sms_statuses_is_remembered(make_importer: MakeImporter) -> None:
    """By the next run, which meets nobody with a status."""
    importer, _ = synced(make_importer)
    time_passes(600)
    late = invite(importer, "late", merge_fields={"PHONE": B})
    assert importer("sync").code == 0
    assert of_texts(importer, late) == (None, None)


def test_a_replay_remembers_it_too(make_importer: MakeImporter) -> None:
    """A dead letter that is read again on its own."""
    importer, _ = synced(make_importer)
    time_passes(60)
    late = invite(importer, "late", merge_fields={"PHONE": B})
    time_passes(60)
    accept_one_more_push(importer, ago=110)
    assert importer("sync").code == 3
    importer.sandbox.settings.fault = None
    assert importer("dlq", "replay").code == 0
    assert of_texts(importer, late) == (None, None)


def test_a_status_on_a_later_page_counts_from_there_on(make_importer: MakeImporter) -> None:
    """In one run, though no first page shows it: here by one worker, so that page follows page."""
    importer = make_importer()
    importer.configure(CONFIG + "mailchimp.window = 50\nmailchimp.connections = 1\n")
    began = importer.sandbox.clock.second() - 1_000
    people = [invite(importer, f"a{n}", merge_fields={"PHONE": C}, at=began + n) for n in range(120)]
    texted(importer, at=began + 60)
    assert importer("sync").code == 0
    on_last_page = [held(importer, one) for one in people[-20:]]
    assert {one.get("phone_number") for one in on_last_page} == {None}
    assert {one["properties"]["phone"] for one in on_last_page} == {C}


def test_whoever_is_archived_is_texted_no_more(make_importer: MakeImporter) -> None:
    """Mailchimp leaves the SMS status as it was, and writes to nobody who is archived."""
    importer, ada = synced(make_importer)
    assert of_texts(importer, ada) == (A, YES)
    time_passes(60)
    importer.sandbox.audience().archive(who=[ada])
    assert importer("sync").code == 0
    assert of_texts(importer, ada) == (A, NO)


def test_preview_says_why_a_number_stays_a_property(make_importer: MakeImporter) -> None:
    """As a sync would send it, also of a member beside whom no SMS status is seen: the list's is remembered."""
    importer, _ = synced(make_importer)
    late = invite(importer, "late", merge_fields={"PHONE": B})
    text = importer("preview", importer.sandbox.list_key, "--member", late["contact_id"]).out
    assert "PHONE: SMS consent could pass to it" in text
    assert "kept in properties.phone" in text
    first, fields = importer("preview", importer.sandbox.list_key, "--member", late["contact_id"], "--json").lines
    assert "phone_number" not in first["contact"]
    assert {one["tag"]: one["target"] for one in fields["fields"]}["PHONE"] == "properties.phone"
    assert 'PHONE = "phone_number"' in fields["fields_table"]


# ---- over a broker


def page_of(importer: Importer, member: MemberView, **changes: Any) -> PageMessage:
    """An order for the second of one member's last change."""
    second = epoch(str(member["last_changed"])) or 0
    return page_message(importer, window=Window(0, "listed", second - 1, second), **changes)


def test_a_worker_hears_in_an_order_that_somebody_has_a_status(make_importer: MakeImporter, stop: StopSignal) -> None:
    """Also in the middle of a run; and says so itself of a page that shows one."""
    importer = make_importer()
    members = []
    for name in ("first", "second", "third", "fourth"):
        members.append(invite(importer, name, merge_fields={"PHONE": C}))
        time_passes(60)
    first, second, third, fourth = members
    importer.sandbox.audience().edit_unseen(third, sms_subscription_status="pending")
    worker = workplace(importer, stop)
    pages = [page_of(importer, first), page_of(importer, second, has_sms=True), page_of(importer, fourth)]
    replies = [worker.execute(page) for page in (*pages, page_of(importer, third))]
    assert [one.outcome.has_sms for one in replies if type(one) is Processed] == [False, False, False, True]
    assert [of_texts(importer, one)[0] for one in members] == [C, None, None, None]


def test_a_coordinator_tells_the_next_worker_what_it_heard(make_importer: MakeImporter) -> None:
    """An outcome with a status: the orders from then on say so, whoever takes them."""
    importer = make_importer()
    ada = texted(importer)
    sent = page_of(importer, ada)
    client = load(config=importer.config, environ={}).clients["acme"]
    with ConnectionPool(StopSignal()).open(client) as services:
        builder = MessageBuilder(errand_of(client, services), "acme", "replies")
        before = builder.page("1", sent.window, is_suspect=False)
        builder.count(Outcome(Window(0, "listed", None, 1), has_sms=True))
        after = builder.page("2", sent.window, is_suspect=False)
    assert (before.has_sms, after.has_sms) == (False, True)


def errand_of(client: Client, services: ClientServices) -> RunSpec:
    key = client.lists[0]
    return RunSpec(
        client=client,
        list_key=key,
        run_id=1,
        services=services,
        rules=client.rules(key, None),
        event_budget=EventBudget(0, 0, ()),
        fields=LazyListFields(services.mailchimp, key),
        watched={},
        never_sent=(),
        is_first=False,
        imported_until=None,
        look_ups=LookUps(),
        account_known_good=False,
        is_dry=False,
        state_id="m",
        warn=print,
        waits=print,
        accepted=print,
        looks_up=print,
        finishes=print,
        lent=lambda: None,
        given_back=lambda: None,
    )


# ---- both sides


RECONCILING = CONFIG.replace("[clients.acme]", '[reconcile]\nsettling = 0\nmost = "100%"\n\n[clients.acme]')
MEND = ("reconcile", "--mend", "--yes", "--json")


def split_page(importer: Importer) -> None:
    """Whatever was done is old enough to be compared, and what a sync would carry was carried."""
    importer.configure(RECONCILING)
    time_passes(600)
    assert importer("sync").code == 0


def overwrite(importer: Importer, member: MemberView, **fields: Any) -> None:
    """Somebody else writes to the contact in Ometria."""
    contact_id = f"{importer.sandbox.list_key}-{member['contact_id']}"
    importer.sandbox.store_contacts([{"id": contact_id, **fields}])


def named(importer: Importer) -> dict[str, int]:
    """Which fields differ, of how many."""
    line = importer("reconcile", "--json").line
    assert (line["missing"], line["gone"]) == (0, 0)
    fields: dict[str, int] = line["fields"]
    return fields


def check_mended(importer: Importer) -> None:
    """Everybody who differed is mended, and nobody differs any more."""
    mended = importer(*MEND)
    assert (mended.code, mended.line["mended"]) == (0, mended.line["stale"]), mended.err
    again = importer("reconcile", "--json")
    assert (again.code, again.line["stale"]) == (0, 0), again.err


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"phone_number": B}, {"phone": 1}),
        ({"channels": NO}, {"sms": 1}),
        ({"phone_number": B, "channels": NO, "firstname": "Eva"}, {"firstname": 1, "phone": 1, "sms": 1}),
    ],
)
def test_another_number_or_sms_consent_in_ometria_is_named_and_mended(
    make_importer: MakeImporter, fields: dict[str, Any], expected: dict[str, int]
) -> None:
    """Beside whatever else differs."""
    importer, ada = synced(make_importer, merge_fields={"FNAME": "Ada"})
    split_page(importer)
    assert named(importer) == {}
    overwrite(importer, ada, **fields)
    assert named(importer) == expected
    check_mended(importer)
    assert of_texts(importer, ada) == (A, YES)


def test_the_words_of_a_comparison_name_number_and_consent(make_importer: MakeImporter) -> None:
    """For a person, as the other fields are named."""
    importer, ada = synced(make_importer)
    split_page(importer)
    overwrite(importer, ada, phone_number=B, channels=NO)
    result = importer("reconcile")
    assert result.code == 3
    assert "(phone number 1, SMS consent 1)" in result.err + result.out


def test_a_number_that_is_spelt_otherwise_there_is_the_same(make_importer: MakeImporter) -> None:
    """Ometria may show it with blanks, say."""
    importer, ada = synced(make_importer)
    split_page(importer)
    overwrite(importer, ada, phone_number="+44 7911 123456")
    assert named(importer) == {}


def test_a_no_that_ometria_does_not_hold_is_mended(make_importer: MakeImporter) -> None:
    """A yes that was left standing there, and where it holds neither."""
    importer = make_importer()
    members = [
        invite(importer, name, sms_phone_number=A, sms_subscription_status=name) for name in ("pending", "unsubscribed")
    ]
    split_page(importer)
    overwrite(importer, members[0], channels=YES)
    contact = held(importer, members[1])
    importer.sandbox.delete_contacts([("mailchimp", contact["id"])])
    importer.sandbox.store_contacts(
        [{name: contact[name] for name in ("id", "email", "marketing_optin", "phone_number")}]
    )
    assert named(importer) == {"sms": 2}
    check_mended(importer)
    assert {of_texts(importer, one)[1]["sms"]["allow_marketing"] for one in members} == {False}


def test_a_number_of_a_merge_field_is_compared_as_a_sync_would_send_it(make_importer: MakeImporter) -> None:
    """Typed without its country, which an address, the location or a field tells."""
    importer = make_importer()
    typed = {"PHONE": "600 555 012"}
    address = {"addr1": "Calle Mayor 1", "city": "Madrid", "state": "", "zip": "28001", "country": "ES"}
    members = [
        invite(importer, "located", merge_fields=typed, location={"country_code": "ES"}),
        invite(importer, "addressed", merge_fields={**typed, "ADDRESS": address}),
        invite(importer, "named", merge_fields={**typed, "COUNTRY": "Spain"}),
    ]
    importer.configure(RECONCILING + 'fields = {{ COUNTRY = "country_id" }}\n')
    time_passes(600)
    assert importer("sync").code == 0
    assert {of_texts(importer, one) for one in members} == {(C, None)}
    assert named(importer) == {}
    for one in members:
        overwrite(importer, one, phone_number=B)
    assert named(importer) == {"phone": 3}
    check_mended(importer)
    assert {of_texts(importer, one) for one in members} == {(C, None)}


def test_who_left_the_programme_is_stale_while_ometria_holds_a_yes(make_importer: MakeImporter) -> None:
    """A sync says nothing of them; `--mend` sends the no, and their merge field's number stays a property."""
    importer, ada = synced(make_importer)
    change(importer, ada, "", merge_fields={"PHONE": B})
    split_page(importer)
    assert of_texts(importer, ada) == (A, YES)
    assert named(importer) == {"sms": 1}
    check_mended(importer)
    assert of_texts(importer, ada) == (A, NO)


def test_who_never_had_a_status_is_sent_none_by_a_mend(make_importer: MakeImporter) -> None:
    """Only a yes is taken back: whoever differs in a name is mended in that alone."""
    importer, _ = synced(make_importer)
    eva = invite(importer, "eva", merge_fields={"FNAME": "Eva"})
    split_page(importer)
    overwrite(importer, eva, firstname="Else")
    check_mended(importer)
    assert held(importer, eva)["firstname"] == "Eva"
    assert of_texts(importer, eva) == (None, None)


def test_on_a_list_without_any_sms_status_ometrias_own_consent_stays(make_importer: MakeImporter) -> None:
    """Nothing is sent of it, so nothing is compared."""
    importer = make_importer()
    ada = invite(importer, "ada", merge_fields={"PHONE": C})
    split_page(importer)
    overwrite(importer, ada, channels=YES)
    assert named(importer) == {}


def test_a_comparison_that_meets_the_first_status_counts_everybody(make_importer: MakeImporter) -> None:
    """Whoever stood before it on the list, too; and it is remembered from then on."""
    importer = make_importer()
    ada = invite(importer, "ada", merge_fields={"PHONE": C})
    eva = invite(importer, "eva")
    split_page(importer)
    overwrite(importer, ada, channels=YES)
    importer.sandbox.audience().edit_unseen(eva, sms_subscription_status="pending")
    assert named(importer) == {"sms": 2}
    check_mended(importer)
    assert (of_texts(importer, ada), of_texts(importer, eva)) == ((C, NO), (None, NO))
    importer.sandbox.audience().edit_unseen(eva, sms_subscription_status="")
    overwrite(importer, ada, channels=YES)
    assert named(importer) == {"sms": 1}


def test_who_is_gone_is_opted_out_of_text_messages_too(make_importer: MakeImporter) -> None:
    """Deleted from Mailchimp for good, with a yes in Ometria; without one, nothing is said of text messages."""
    importer, ada = synced(make_importer)
    eva = invite(importer, "eva")
    split_page(importer)
    importer.sandbox.audience().delete(who=[ada, eva])
    assert importer(*MEND).line["gone"] == 2
    assert [held(importer, one)["marketing_optin"] for one in (ada, eva)] == ["EXPLICITLY_OPTEDOUT"] * 2
    assert (of_texts(importer, ada), of_texts(importer, eva)) == ((A, NO), (None, None))


def test_who_is_known_by_a_web_id_alone_is_mended_too(make_importer: MakeImporter) -> None:
    """Mailchimp cannot be asked for them one by one: they are read in their second."""
    importer = make_importer()
    ada = texted(importer, contact_id="")
    split_page(importer)
    importer.sandbox.audience().set_sms_status(who=[ada["web_id"]], status="", merge_fields={"PHONE": B})
    split_page(importer)
    assert named(importer) == {"sms": 1}
    check_mended(importer)
    assert of_texts(importer, ada) == (A, NO)


def test_most_counts_the_consent_to_text_messages(make_importer: MakeImporter) -> None:
    """Whoever would be texted, or no more, is as many as somebody whose e-mail changes; their names are none."""
    importer = make_importer(size=60)
    people = [texted(importer, f"texted{number}") for number in range(20)]
    split_page(importer)
    importer.configure(RECONCILING.replace("100%", "5%"))
    for one in people:
        overwrite(importer, one, channels=NO)
    result = importer(*MEND)
    assert result.code == 3
    assert "20 of" in result.line["refusal"]
    assert {of_texts(importer, one)[1]["sms"]["allow_marketing"] for one in people} == {False}
