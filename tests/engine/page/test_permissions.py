"""Marketing permissions (GDPR fields): on a list that has them, a status alone is no yes."""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import closing
from typing import Any

import msgspec
import pytest
from conftest import CONFIG, Importer, MakeImporter
from passing import time_passes

from mcimport.engine.page.converter import RunConverter
from mcimport.engine.page.list_fields import LazyListFields
from mcimport.engine.page.subscription_events import EventBudget
from mcimport.models import ContactRules, Converted, Member
from mcimport.sandbox.audience.member_list import MemberView
from mcimport.sandbox.audience.stored_member import ABSENT
from mcimport.sandbox.request_log import Request
from mcimport.services.http.client import HttpClient
from mcimport.services.http.connection_limit import ConnectionLimit
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.mailchimp.client import MailchimpClient

IN, OUT, NEITHER = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"
EMAIL, POST = "Email", "Direct Mail"


def shown(**given: bool) -> list[dict[str, Any]]:
    """A member's permissions, by their text with `_` for a blank."""
    return [
        {"marketing_permission_id": f"{number:010x}", "text": text.replace("_", " "), "enabled": is_given}
        for number, (text, is_given) in enumerate(given.items())
    ]


def consenting(importer: Importer, *lines: str) -> None:
    """Configures `[consent]` with these lines, and every opt-in as an event."""
    text = CONFIG.replace("[clients.acme]", "\n".join(["[consent]", *lines, "", "[clients.acme]"]))
    importer.configure(f'{text}ometria.subscription_events = "all"\nometria.welcome_limit = 100000\n')


def plant(importer: Importer, name: str, permissions: Any, **fields: Any) -> MemberView:
    return importer.sandbox.audience().add(
        email_address=f"{name}@example.com", marketing_permissions=permissions, **fields
    )


def held(importer: Importer, member: MemberView) -> dict[str, Any]:
    """What Ometria holds of a member."""
    return importer.sandbox.contacts()["mailchimp", f"{importer.sandbox.list_key}-{member['contact_id']}"]


def optin(importer: Importer, member: MemberView) -> str:
    return str(held(importer, member)["marketing_optin"])


def is_census(one: Request) -> bool:
    """A request for nothing but members' permissions."""
    return one.query.get("fields", "").startswith("members.marketing_permissions")


def questions(importer: Importer) -> int:
    """How often the list was asked whether it has permissions."""
    return sum(one.query == {"fields": "marketing_permissions"} for one in importer.sandbox.requests)


def census_requests(importer: Importer) -> int:
    return sum(map(is_census, importer.sandbox.requests))


# ---- who is opted in


def test_who_did_not_give_the_permission_for_email_is_not_opted_in(make_importer: MakeImporter) -> None:
    """Another permission is none for e-mail; whoever gave it is opted in, and nobody else's opt-in is an event."""
    importer = make_importer(permissions=(EMAIL, POST))
    consenting(importer)
    gave = plant(importer, "gave", shown(Email=True, Direct_Mail=False))
    post = plant(importer, "post", shown(Email=False, Direct_Mail=True))
    nothing = plant(importer, "nothing", shown(Email=False, Direct_Mail=False))
    left = plant(importer, "left", shown(Email=True, Direct_Mail=True), status="unsubscribed")
    result = importer("sync")
    assert result.code == 0
    assert [optin(importer, one) for one in (gave, post, nothing, left)] == [IN, NEITHER, NEITHER, OUT]
    assert "timestamp_subscribed" in held(importer, gave)
    assert not {"timestamp_subscribed", "timestamp_unsubscribed"} & {*held(importer, post), *held(importer, nothing)}
    names = [held(importer, one)["properties"]["mailchimp_permissions"] for one in (gave, post, nothing, left)]
    assert names == [[EMAIL], [POST], [], [EMAIL, POST]]
    assert "2 subscribed members have not given the permission “Email”, so they are not opted in" in result.err


def test_a_list_without_permissions_is_as_ever(make_importer: MakeImporter) -> None:
    """Absent, null and empty are the same there: the status says yes, and there is no property for what nobody has."""
    importer = make_importer()
    members = [plant(importer, "array", []), plant(importer, "null", None), plant(importer, "absent", ABSENT)]
    assert importer("sync").code == 0
    assert [optin(importer, one) for one in members] == [IN, IN, IN]
    assert not [one for one in members if "mailchimp_permissions" in held(importer, one)["properties"]]
    assert (questions(importer), census_requests(importer)) == (1, 0)


@pytest.mark.parametrize(
    ("configured", "text"),
    [("EMAIL", "Email"), ("E-Mail", " e - mail "), ("email", "E\N{NO-BREAK SPACE}mail"), ("Straße", "STRASSE")],
)
def test_names_are_compared_without_case_and_blanks(make_importer: MakeImporter, configured: str, text: str) -> None:
    """The one that is given opts in, the one that is not does not, however they are written on either side."""
    importer = make_importer(permissions=(text,))
    consenting(importer, f'permission = "{configured}"')
    gave, refused = plant(importer, "gave", shown(**{text: True})), plant(importer, "refused", shown(**{text: False}))
    assert importer("sync").code == 0
    assert [optin(importer, gave), optin(importer, refused)] == [IN, NEITHER]


def test_of_several_permissions_all_are_needed(make_importer: MakeImporter) -> None:
    """One of the two is not enough, and the words name both."""
    importer = make_importer(permissions=(EMAIL, POST))
    consenting(importer, 'permission = ["Email", "direct mail"]')
    both = plant(importer, "both", shown(Email=True, Direct_Mail=True))
    one = plant(importer, "one", shown(Email=True, Direct_Mail=False))
    result = importer("sync")
    assert [optin(importer, both), optin(importer, one)] == [IN, NEITHER]
    assert "1 subscribed member has not given the permission “Email” and “direct mail”" in result.err


@pytest.mark.parametrize("none", ['""', "[]", '"  "'])
def test_with_an_empty_name_no_permission_is_needed(make_importer: MakeImporter, none: str) -> None:
    """The status says yes, as on a list without permissions; which were given is told all the same."""
    importer = make_importer(permissions=(EMAIL,))
    consenting(importer, f"permission = {none}")
    member = plant(importer, "nothing", shown(Email=False))
    result = importer("sync")
    assert result.code == 0
    assert optin(importer, member) == IN
    assert held(importer, member)["properties"]["mailchimp_permissions"] == []
    assert "permission" not in result.err


def test_without_the_permission_they_are_opted_out_if_that_is_configured(make_importer: MakeImporter) -> None:
    """An opt-out, but nothing that they did at a certain time: their status is subscribed."""
    importer = make_importer(permissions=(EMAIL,))
    consenting(importer, 'without_permission = "out"')
    member = plant(importer, "nothing", shown(Email=False))
    result = importer("sync")
    assert optin(importer, member) == OUT
    assert "timestamp_unsubscribed" not in held(importer, member)
    assert "1 subscribed member has not given the permission “Email”, so they are opted out" in result.err


@pytest.mark.parametrize(
    "odd",
    [
        ABSENT,
        None,
        "",
        "Email",
        7,
        True,
        [None],
        ["Email"],
        [[]],
        {},
        [{}],
        [{"text": None, "enabled": True}],
        [{"text": "Email"}],
        [{"text": "Email", "enabled": "true"}],
        [{"text": "Email", "enabled": 1}],
        [{"text": ["Email"], "enabled": True}],
    ],
    ids=lambda odd: "absent" if odd is ABSENT else repr(odd),
)
def test_only_a_plain_yes_is_one(make_importer: MakeImporter, odd: Any) -> None:
    """Whatever else stands in a member's place, on a list that has permissions, is no permission and no error."""
    importer = make_importer(permissions=(EMAIL,))
    odd_one, gave = plant(importer, "odd", odd), plant(importer, "gave", shown(Email=True))
    assert importer("sync").code == 0
    assert [optin(importer, odd_one), optin(importer, gave)] == [NEITHER, IN]
    assert held(importer, odd_one)["properties"]["mailchimp_permissions"] == []


def test_of_two_permissions_with_one_name_both_have_to_be_given(make_importer: MakeImporter) -> None:
    """Which of them is meant cannot be known."""
    importer = make_importer(permissions=(EMAIL,))
    member = plant(importer, "half", shown(Email=True, EMAIL_=False))
    assert importer("sync").code == 0
    assert optin(importer, member) == NEITHER


def test_an_object_in_the_place_of_an_array_is_read(make_importer: MakeImporter) -> None:
    """As PHP writes an array that has lost an entry."""
    importer = make_importer(permissions=(EMAIL,))
    gave = plant(importer, "gave", {"1": shown(Email=True)[0]})
    refused = plant(importer, "refused", {"1": shown(Email=False)[0]})
    assert importer("sync").code == 0
    assert [optin(importer, gave), optin(importer, refused)] == [IN, NEITHER]


@pytest.mark.parametrize("says_so", [True, False], ids=["the list says so", "the list does not say"])
def test_who_shows_no_permission_on_a_list_that_has_some_gave_none(
    make_importer: MakeImporter, *, says_so: bool
) -> None:
    """Also when they are the first to be read in the first sync, and the list itself tells nothing."""
    importer = make_importer(permissions=(EMAIL,))
    audience = importer.sandbox.audience()
    now = importer.sandbox.clock.second()
    bare = plant(importer, "bare", None, at=now - 900)
    gave = plant(importer, "gave", shown(Email=True), at=now - 100)
    audience.add(email_address="", at=now - 50)
    if not says_so:
        importer.sandbox.settings.fault = lambda one: "404" if one.path.endswith(importer.sandbox.list_key) else None
    assert importer("sync").code == 0
    assert [optin(importer, bare), optin(importer, gave)] == [NEITHER, IN]


def test_what_an_earlier_sync_saw_counts_where_the_list_does_not_say(make_importer: MakeImporter) -> None:
    """One who shows none changes alone, later; nobody who was read with them has permissions."""
    importer = make_importer(permissions=(EMAIL,))
    importer.sandbox.settings.fault = lambda one: "404" if one.path.endswith(importer.sandbox.list_key) else None
    gave = plant(importer, "gave", shown(Email=True), at=importer.sandbox.clock.second() - 900)
    assert importer("sync").code == 0
    importer.sandbox.audience().delete(who=[gave])
    bare = plant(importer, "bare", None)
    assert importer("sync").code == 0
    assert optin(importer, bare) == NEITHER


def test_permissions_that_were_switched_off_are_needed_no_more(make_importer: MakeImporter) -> None:
    """The list says that it has none; what was seen of it before is over."""
    importer = make_importer(permissions=(EMAIL,))
    member = plant(importer, "nothing", shown(Email=False))
    importer("sync")
    assert optin(importer, member) == NEITHER
    importer.sandbox.settings.permissions = ()
    time_passes(120)
    importer.sandbox.audience().change(who=[member])
    importer.sandbox.audience().edit_unseen(member, marketing_permissions=[])
    assert importer("sync").code == 0
    assert optin(importer, member) == IN


# ---- what changes


def test_a_permission_that_is_withdrawn_takes_the_opt_in_back_and_one_that_is_given_brings_it(
    make_importer: MakeImporter,
) -> None:
    """With the next sync, where it moves `last_changed`."""
    importer = make_importer(size=40, permissions=(EMAIL, POST))
    audience = importer.sandbox.audience()
    time_passes(300)
    member = plant(importer, "ada", shown(Email=True, Direct_Mail=True))
    importer("sync")
    assert optin(importer, member) == IN
    time_passes(120)
    audience.withdraw_permission(who=[member])
    importer("sync")
    assert optin(importer, member) == NEITHER
    assert held(importer, member)["properties"]["mailchimp_permissions"] == [POST]
    time_passes(120)
    audience.give_permission(who=[member])
    importer("sync")
    assert optin(importer, member) == IN


RECONCILING = CONFIG.replace("[clients.acme]", "[reconcile]\nsettling = 0\n\n[clients.acme]")
MEND = ("reconcile", "--force-mend", "--yes", "--json")


def test_reconcile_sees_a_withdrawal_that_moved_nothing_and_mends_it(make_importer: MakeImporter) -> None:
    """No incremental sync ever brings them; nor is whoever never gave it taken for a difference."""
    importer = make_importer(size=60, permissions=(EMAIL, POST), permissions_move=False)
    importer.configure(RECONCILING)
    audience = importer.sandbox.audience()
    member = plant(importer, "ada", shown(Email=True, Direct_Mail=True))
    plant(importer, "never", shown(Email=False, Direct_Mail=True))
    time_passes(300)
    importer("sync")
    assert importer("reconcile").code == 0
    audience.withdraw_permission(who=[member])
    importer("sync")
    assert optin(importer, member) == IN
    result = importer(*MEND)
    assert (result.code, result.line["stale"]) == (0, 1)
    assert optin(importer, member) == NEITHER
    assert importer("reconcile").code == 0


def test_reconcile_opts_nobody_in_who_cannot_be_sent_and_gave_no_permission(make_importer: MakeImporter) -> None:
    """Their consent alone is compared; an opt-in that Ometria still holds is taken back."""
    importer = make_importer(permissions=(EMAIL,), permissions_move=False)
    importer.configure(RECONCILING)
    member = plant(importer, "ada", shown(Email=True))
    plant(importer, "other", shown(Email=True))
    time_passes(300)
    importer("sync")
    importer.sandbox.audience().edit_unseen(
        member, email_address="no address", marketing_permissions=shown(Email=False)
    )
    result = importer(*MEND)
    assert (result.code, result.line["stale"]) == (0, 1)
    assert optin(importer, member) == NEITHER


def test_another_listing_without_the_permission_keeps_no_opt_in_of_one_that_is_gone(
    make_importer: MakeImporter,
) -> None:
    """Who was deleted is opted out, for nobody with that address is to be opted in today."""
    importer = make_importer(permissions=(EMAIL,), permissions_move=False)
    importer.configure(RECONCILING)
    gone = plant(importer, "ada", shown(Email=True))
    twin = plant(importer, "ada2", shown(Email=True))
    for number in range(40):
        plant(importer, f"m{number}", shown(Email=True))
    time_passes(300)
    importer("sync")
    importer.sandbox.audience().edit_unseen(
        twin, email_address="ada@example.com", marketing_permissions=shown(Email=False)
    )
    importer.sandbox.audience().delete(who=[gone])
    assert importer(*MEND, "--force-mend").code == 0
    assert [optin(importer, gone), optin(importer, twin)] == [OUT, NEITHER]


# ---- a name that nobody has


WORDS = "has no marketing permission “Email”; it has “Correo”, “E-Mail”"
REMEDY = 'permission = "Correo", or write permission = "" if they need none'


@pytest.fixture
def misnamed(make_importer: MakeImporter) -> Importer:
    """A list with permissions of which none is called as the default says."""
    importer = make_importer(size=300, permissions=("E-Mail", "Correo"))
    importer.configure(CONFIG + "mailchimp.window = 50\n")
    return importer


def test_a_name_that_nobody_has_is_a_configuration_error(misnamed: Importer) -> None:
    """Nobody is pushed; the words say which there are and what to write; once that is done, the sync goes on."""
    result = misnamed("sync")
    assert result.code == 2
    assert WORDS in result.err
    assert REMEDY in result.err
    assert not misnamed.sandbox.contacts()
    (run,) = misnamed("runs", "list", "--json").lines
    assert (run["status"], WORDS in run["error"]) == ("failed", True)
    misnamed.configure(CONFIG.replace("[clients.acme]", '[consent]\npermission = "e-mail"\n\n[clients.acme]'))
    assert misnamed("sync").code == 0
    assert {one["marketing_optin"] for one in misnamed.sandbox.contacts().values()} == {IN, OUT, NEITHER}


@pytest.mark.parametrize("command", [["sync", "--dry-run"], ["preview", "{list}"]], ids=["dry run", "preview"])
def test_looking_only_says_so_with_the_same_code(misnamed: Importer, command: list[str]) -> None:
    """What a sync would say."""
    result = misnamed(*(word.format(list=misnamed.sandbox.list_key) for word in command))
    assert result.code == 2
    assert WORDS in result.err
    assert REMEDY in result.err


def test_check_has_a_cross_for_it(misnamed: Importer) -> None:
    """With the same words, and what to write below them."""
    result = misnamed("check")
    assert result.code == 1
    (line,) = [line for line in result.out.splitlines() if WORDS in line]
    assert line.startswith(("BAD ", "\N{BALLOT X}"))
    assert REMEDY in result.out


def test_a_permission_that_was_renamed_is_noticed_by_the_next_sync(make_importer: MakeImporter) -> None:
    """Though its former name is remembered: else one after another would quietly lose their opt-in."""
    importer = make_importer(permissions=(EMAIL,), permissions_move=False)
    members = [plant(importer, f"m{number}", shown(Email=True)) for number in range(3)]
    assert importer("sync").code == 0
    for one in members:
        importer.sandbox.audience().edit_unseen(one, marketing_permissions=shown(Newsletter=True))
    time_passes(120)
    importer.sandbox.audience().change(who=members[:1])
    result = importer("sync")
    assert result.code == 2
    assert "no marketing permission “Email”; it has “Newsletter”" in result.err
    assert {optin(importer, one) for one in members} == {IN}


def test_one_member_with_other_permissions_is_no_misspelling(make_importer: MakeImporter) -> None:
    """Others have the name, which is looked up once a run, with one request; whoever lacks it is not opted in."""
    importer = make_importer(permissions=(EMAIL,))
    gave = plant(importer, "gave", shown(Email=True))
    importer("sync")
    before = census_requests(importer)
    time_passes(120)
    odd = [plant(importer, f"odd{number}", shown(**{f"Text{number}": True})) for number in range(5)]
    assert importer("sync").code == 0
    assert {optin(importer, one) for one in odd} == {NEITHER}
    assert optin(importer, gave) == IN
    assert census_requests(importer) == before + 1


def test_a_look_that_fails_calls_no_name_wrong(make_importer: MakeImporter) -> None:
    """Without it nothing is known: nobody is opted in, and nothing else is lost."""
    importer = make_importer(permissions=("E-Mail",))
    member = plant(importer, "gave", shown(**{"E-Mail": True}))
    importer.sandbox.settings.fault = lambda one: "500" if is_census(one) else None
    assert importer("sync").code == 0
    assert optin(importer, member) == NEITHER


def test_a_replay_holds_the_name_to_the_list_too(make_importer: MakeImporter) -> None:
    """A dead letter stays open, and nobody is pushed, while the name is one that nobody has."""
    importer = make_importer(permissions=(EMAIL,))
    member = plant(importer, "ada", shown(Email=True))
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{member['contact_id']}"}
    assert importer("sync").code == 3
    importer.sandbox.settings.rejects = set()
    consenting(importer, 'permission = "E-Post"')
    result = importer("dlq", "replay")
    assert result.code == 2
    assert "no marketing permission “E-Post”; it has “Email”" in result.err
    assert not importer.sandbox.contacts()
    consenting(importer)
    assert importer("dlq", "replay").code == 0
    assert optin(importer, member) == IN


def test_reconcile_compares_nothing_under_a_name_that_nobody_has(make_importer: MakeImporter) -> None:
    """Nobody's opt-in is taken for stale because of a misspelling."""
    importer = make_importer(permissions=(EMAIL,))
    member = plant(importer, "ada", shown(Email=True))
    importer("sync")
    importer.configure(RECONCILING.replace("[clients.acme]", '[consent]\npermission = "Post"\n\n[clients.acme]'))
    result = importer(*MEND)
    assert (result.code, "no marketing permission “Post”" in result.line["error"]) == (2, True)
    assert optin(importer, member) == IN


# ---- what is said


def lackers(importer: Importer) -> int:
    subscribed = importer.sandbox.audience().with_status("subscribed")
    return sum(not one["marketing_permissions"][0]["enabled"] for one in subscribed)


def test_a_dry_run_says_which_permissions_there_are_and_how_many_lack_the_one_that_counts(
    make_importer: MakeImporter,
) -> None:
    """In words, and in its line of JSON; a real run leaves them out of its line."""
    importer = make_importer(permissions=(EMAIL, POST))
    for number in range(4):
        plant(importer, f"m{number}", shown(Email=number == 0, Direct_Mail=True))
    said = importer("sync", "--dry-run")
    whole = "marketing permissions (GDPR fields): “Direct Mail”, “Email”; 3 subscribed members have not given “Email”"
    assert whole in said.err + said.out
    line = importer("sync", "--dry-run", "--json").line
    assert line["marketing_permissions"] == {
        "texts": [POST, EMAIL],
        "lacking": 3,
        "looked_at": None,
        "subscribed": None,
    }
    assert "marketing_permissions" not in importer("sync", "--json").line


def test_a_dry_run_of_a_list_without_permissions_says_so_in_json_alone(make_importer: MakeImporter) -> None:
    """There is nothing to say to a person."""
    importer = make_importer(size=20)
    assert importer("sync", "--dry-run", "--json").line["marketing_permissions"] is None
    said = importer("sync", "--dry-run")
    assert "permission" not in said.err + said.out


def test_preview_says_which_permissions_there_are_and_how_many_lack_the_one_that_counts(
    make_importer: MakeImporter,
) -> None:
    """With the custom field to create, a note beside whoever is not opted in, and the same in JSON."""
    importer = make_importer(size=200, permissions=(EMAIL, POST))
    member = plant(importer, "nothing", shown(Email=False, Direct_Mail=True))
    subscribed, lacking = len(importer.sandbox.audience().with_status("subscribed")), lackers(importer)
    said = importer("preview", importer.sandbox.list_key)
    assert said.code == 0
    assert (
        "The list has marketing permissions (GDPR fields): “Direct Mail”, “Email”;"
        f" {lacking} of {subscribed} subscribed members"
    ) in said.out
    assert "mailchimp_permissions" in said.out
    (shown_one, fields) = importer(
        "preview", importer.sandbox.list_key, "--member", member["contact_id"], "--json"
    ).lines
    assert shown_one["contact"]["marketing_optin"] == NEITHER
    assert {"field": "marketing_permissions", "why": "“Email” is not given: not opted in"} in shown_one["notes"]
    assert fields["marketing_permissions"] == {
        "texts": [POST, EMAIL],
        "lacking": lacking,
        "looked_at": subscribed,
        "subscribed": subscribed,
    }


def test_preview_of_a_list_without_permissions_costs_one_small_request_more(make_importer: MakeImporter) -> None:
    """And says nothing of them."""
    importer = make_importer(size=20)
    said = importer("preview", importer.sandbox.list_key)
    assert "permission" not in said.out
    assert (questions(importer), census_requests(importer)) == (1, 0)


def test_check_says_which_permissions_there_are_and_how_many_lack_the_one_that_counts(
    make_importer: MakeImporter,
) -> None:
    """Worth knowing, and nothing wrong."""
    importer = make_importer(size=100, permissions=(EMAIL, POST))
    subscribed = len(importer.sandbox.audience().with_status("subscribed"))
    said = importer("check", "--json")
    assert said.code == 0
    (found,) = [one for one in said.lines if "marketing permissions" in one["words"]]
    assert (found["verdict"], found["subject"]) == ("note", f"list {importer.sandbox.list_key}")
    assert f"“Direct Mail”, “Email”; {lackers(importer)} of {subscribed} subscribed members" in found["words"]


def test_check_says_nothing_of_permissions_where_there_are_none(make_importer: MakeImporter) -> None:
    """It takes one small request to know."""
    importer = make_importer(size=20)
    assert "permission" not in importer("check").out
    assert (questions(importer), census_requests(importer)) == (1, 0)


def test_check_of_a_list_that_does_not_answer_that_is_none_the_worse(make_importer: MakeImporter) -> None:
    """A sync would find out by itself."""
    importer = make_importer(size=20, permissions=(EMAIL,))
    importer.sandbox.settings.fault = lambda one: (
        "500" if "marketing_permissions" in one.query.get("fields", "") else None
    )
    said = importer("check")
    assert said.code == 0
    assert "its marketing permissions (GDPR fields) could not be read" in said.out


def test_of_a_large_list_ten_thousand_are_looked_at(make_importer: MakeImporter) -> None:
    """And the words say so, rather than to speak of everybody."""
    importer = make_importer(permissions=(EMAIL,))
    importer.sandbox.audience().join_in_second(10_020, importer.sandbox.clock.second() - 900)
    said = importer("preview", importer.sandbox.list_key, "--limit", "1")
    assert "of the 10,000 checked (of 10,020 subscribed members) have not given “Email”" in said.out
    assert census_requests(importer) == 10


# ---- what is remembered


def test_the_texts_are_remembered_of_the_list_and_nobody_elses_data(make_importer: MakeImporter) -> None:
    """Given or not; the state file holds them as the list's, beside no member."""
    importer = make_importer(permissions=(EMAIL, POST))
    plant(importer, "ada", shown(Email=True, Direct_Mail=False))
    importer("sync")
    with closing(sqlite3.connect(importer.db)) as db:
        (texts,) = db.execute("SELECT permissions FROM lists").fetchone()
    assert json.loads(texts) == [POST, EMAIL]


@pytest.mark.parametrize("line", ['permission = ""', 'without_permission = "out"'])
def test_another_setting_is_noticed_and_a_full_sync_brings_everybody_up_to_date(
    make_importer: MakeImporter, line: str
) -> None:
    """Who does not change stays as they are until then; the same name in other letters is no change."""
    importer = make_importer(permissions=(EMAIL,))
    consenting(importer)
    member = plant(importer, "nothing", shown(Email=False))
    importer("sync")
    consenting(importer, 'permission = " E mail"')
    assert "mapping changed" not in importer("sync").err
    consenting(importer, line)
    assert "mapping changed" in importer("sync").err
    importer("sync", "--full")
    assert optin(importer, member) == (IN if line.endswith('""') else OUT)


def test_the_first_sms_status_of_a_run_leaves_its_permissions_known(make_importer: MakeImporter) -> None:
    """What the members before showed counts for whoever comes after the one with the status, and for that one."""
    sandbox = make_importer(size=5).sandbox
    credentials = base64.b64encode(f"any:{sandbox.mailchimp_key}".encode()).decode()
    wire = HttpClient("Mailchimp", sandbox.mailchimp_url, {"Authorization": f"Basic {credentials}"})
    mailchimp = MailchimpClient(wire, RetryPolicy(), ConnectionLimit(10))
    rules = ContactRules(sandbox.list_key)
    convert = RunConverter(mailchimp, LazyListFields(mailchimp, sandbox.list_key), rules, EventBudget(0, 0, ()), print)
    member = {"contact_id": "a1", "email_address": "ada@example.com", "status": "subscribed"}
    given = {**member, "marketing_permissions": shown(Email=True)}
    texted = {**member, "sms_subscription_status": "subscribed", "sms_phone_number": "+447911123456"}
    made = [convert(msgspec.convert(one, Member)) for one in (given, texted, member)]
    wire.close()
    assert [one.contact.marketing_optin for one in made if isinstance(one, Converted)] == [IN, NEITHER, NEITHER]
