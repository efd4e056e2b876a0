"""A first try leaves no trap: where a list goes is settled by the first contact that Ometria accepts, not by a slip."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from conftest import CONFIG, Importer, MakeImporter, expected_ids, imported_ids
from passing import time_passes

from mcimport.config.load import load
from mcimport.state import lists, open_state
from mcimport.sync.reconcile.account_lists import account_lists

WRONG = "d" * 32
OTHER = "e" * 32
COMMANDS = (["sync"], ["sync", "--dry-run"], ["sync", "--since", "2d"], ["reconcile", "1a2d7ebf82"], ["check"])


def with_another_account(make_importer: MakeImporter, *, size: int = 20) -> Importer:
    """A second Ometria account, with a list of its own."""
    importer = make_importer(size=size)
    importer.sandbox.add_account("0" * 32 + "-us7", OTHER, {"bbbbbbbbbb": 3})
    return importer


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    "slip", [{"ometria_key": WRONG}, {"mailchimp_key": "c" * 32 + "-us6"}], ids=["Ometria", "Mailchimp"]
)
def test_a_wrong_key_at_first_is_no_trap(make_importer: MakeImporter, slip: dict[str, str], command: list[str]) -> None:
    """With the right keys everything works, as if there had been no first try."""
    importer = make_importer(size=20)
    importer.configure(**slip)
    assert importer("sync").code == 1
    importer.configure()
    if command[0] == "reconcile":
        assert importer("sync").code == 0
    assert importer(*command).code == 0


def test_a_mailchimp_key_of_another_client_is_no_trap(make_importer: MakeImporter) -> None:
    """It does not know the list; beside the right Ometria key nobody was sent."""
    importer = with_another_account(make_importer)
    importer.configure(mailchimp_key="0" * 32 + "-us7", ometria_key=OTHER)
    assert importer("sync").code == 1
    importer.configure()
    assert importer("sync", "--json").line["kind"] == "full"
    assert imported_ids(importer) == expected_ids(importer)


def test_what_since_now_settled_under_a_wrong_key_holds_under_the_right_one(make_importer: MakeImporter) -> None:
    """Nobody was sent under it, and the history of the list is not brought after all."""
    importer = with_another_account(make_importer)
    importer.configure(ometria_key=OTHER)
    assert importer("sync", "--since", "now").code == 0
    importer.configure()
    time_passes(300)
    importer.sandbox.audience().join(2)
    time_passes(60)
    result = importer("sync", "--json")
    assert (result.code, result.line["kind"], result.line["contacts_pushed"]) == (0, "incremental", 2)


def test_from_the_first_accepted_contact_on_another_key_is_refused(make_importer: MakeImporter) -> None:
    """However little got through: what was sent there cannot be taken back by a sync."""
    importer = with_another_account(make_importer, size=120)
    importer.configure(CONFIG + "ometria.batch = 5\n", ometria_key=OTHER)
    pushes = iter(range(1_000))
    importer.sandbox.settings.fault = lambda one: "reset" if one.path == "/push" and next(pushes) else None
    importer("sync")
    importer.sandbox.settings.fault = lambda _: None
    importer.configure()
    importer.sandbox.clear_requests()
    result = importer("sync")
    assert result.code == 2
    assert "with a different Ometria API key" in result.err
    assert importer.sandbox.requests == []


def other_address(importer: Importer) -> str:
    """The same service by another name of this machine's."""
    return importer.sandbox.ometria_url.replace("127.0.0.1", "localhost")


def test_the_address_is_a_part_of_the_destination(make_importer: MakeImporter) -> None:
    """Synced to a test address with the real key, the real one is no place where "nothing changed"."""
    importer = make_importer(size=10)
    importer("sync")
    importer.configure(ometria_url=other_address(importer))
    importer.sandbox.clear_requests()
    for command in (["sync"], ["reconcile", "1a2d7ebf82"]):
        result = importer(*command)
        assert result.code == 2
        assert "to a different Ometria address" in result.err
        assert "mcimport keys accept acme" in result.err
    assert importer.sandbox.requests == []
    assert "to a different Ometria address" in importer("check", "--offline").out
    shown = importer("status").out
    assert "its Ometria address changed: put `url` in [clients.acme.ometria] back" in shown
    assert "earlier Ometria address" in shown
    result = importer("sync", "--full", "1a2d7ebf82", "--json")
    assert (result.code, result.line["contacts_pushed"]) == (0, len(expected_ids(importer)))


def in_shared_table(text: str) -> str:
    """The client's own address of Ometria is a mistaken one for all clients."""
    address = re.search('ometria.url = "(.*)"', text)
    assert address is not None
    shared = f'[ometria]\nallow_http = true\nurl = "{address[1].replace("127.0.0.1", "localhost")}"\n\n'
    return shared + text.replace(address[0], "")


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        (lambda text: text.replace("127.0.0.1", "localhost"), "`url` in [clients.acme.ometria]"),
        (in_shared_table, "`url` in [ometria]"),
        (lambda text: re.sub("ometria.url.*", "", text), "`url` in [ometria]"),
        (
            lambda text: re.sub("ometria_api_key.*", f'ometria_api_key = "{OTHER}"', text),
            "`ometria_api_key` in [clients.acme]",
        ),
    ],
    ids=["the client's table", "the shared table", "the default", "the key"],
)
def test_a_mistake_is_put_back_where_it_was_made(
    make_importer: MakeImporter, change: Callable[[str], str], setting: str
) -> None:
    """The hint names the setting in its table; once it is as it was, the sync goes on."""
    importer = make_importer(size=10)
    importer("sync")
    before = importer.config.read_text()
    importer.config.write_text(change(before))
    assert f"By mistake? Put {setting} back as it was." in importer("sync").err
    importer.config.write_text(before)
    assert importer("sync", "--json").line["kind"] == "incremental"


def test_a_mistaken_variable_is_named(make_importer: MakeImporter) -> None:
    """It replaces the address of every table, so that is where to look."""
    importer = make_importer(size=10)
    importer("sync")
    result = importer.in_a_process("sync", environment={"MCIMPORT_OMETRIA_URL": other_address(importer)})
    assert "By mistake? Put MCIMPORT_OMETRIA_URL back as it was." in result.err


def test_an_address_of_the_same_account_is_accepted_as_a_renewed_key_is(make_importer: MakeImporter) -> None:
    """A company's gateway in front of it: what was sent is found there."""
    importer = make_importer(size=10)
    importer("sync")
    importer.configure(ometria_url=other_address(importer))
    result = importer("keys", "accept", "acme")
    assert (result.code, result.err) == (0, "acme: 1 list continues with the new address\n")
    assert importer("sync", "--json").line["kind"] == "incremental"


def test_a_list_that_was_never_synced_is_none_of_those_that_continue(make_importer: MakeImporter) -> None:
    """Its id was mistyped, so it was tried and no more."""
    importer = make_importer(size=10)
    importer.configure(CONFIG.replace('lists = ["{list_key}"]', 'lists = ["{list_key}", "ffffffffff"]'))
    assert importer("sync").code == 1
    importer.configure(ometria_url=other_address(importer))
    assert importer("keys", "accept", "acme").err == "acme: 1 list continues with the new address\n"


def test_a_slash_at_the_end_of_the_address_is_no_other_address(make_importer: MakeImporter) -> None:
    """The same place, spelled otherwise."""
    importer = make_importer(size=10)
    importer("sync")
    importer.configure(ometria_url=importer.sandbox.ometria_url + "/")
    assert importer("sync", "--json").line["kind"] == "incremental"


def test_a_changed_collection_is_refused_as_a_changed_key_is(make_importer: MakeImporter) -> None:
    """Nobody is sent a second time by a slip of the name; put back, the sync goes on."""
    importer = make_importer(size=10)
    importer("sync")
    importer.configure(CONFIG + 'ometria.collection = "elsewhere"\n')
    importer.sandbox.clear_requests()
    result = importer("sync")
    assert result.code == 2
    assert 'to a different collection, "mailchimp"' in result.err
    assert "sync --full" in result.err
    assert importer.sandbox.requests == []
    importer.configure()
    assert importer("sync", "--json").line["kind"] == "incremental"
    importer.configure(CONFIG + 'ometria.collection = "elsewhere"\n')
    assert importer("sync", "--full").code == 0
    assert {collection for collection, _ in importer.sandbox.contacts()} == {"mailchimp", "elsewhere"}


def refused(importer: Importer, *options: str) -> str:
    """What `keys accept` says; nothing has changed by it."""
    before = sync_points(importer)
    result = importer("keys", "accept", "acme", *options)
    assert result.code in {1, 2}
    assert sync_points(importer) == before
    assert importer("sync").code == 2
    return result.err


def sync_points(importer: Importer) -> list[object]:
    return [one["sync_point"] for one in importer("status", "--json").lines]


def test_a_dead_key_is_not_accepted(make_importer: MakeImporter) -> None:
    """It is tried before it is believed, also where the account was emptied."""
    importer = make_importer(size=10)
    importer("sync")
    importer.configure(ometria_key=WRONG)
    said = refused(importer)
    assert "the API key has no right to do this" in said
    assert "acme: Ometria answered 403" in said
    assert "the API key has no right to do this" in refused(importer, "--unseen")


def test_another_accounts_key_is_not_accepted(make_importer: MakeImporter) -> None:
    """It holds no contact of the list: both ways on are named."""
    importer = with_another_account(make_importer)
    importer("sync")
    importer.configure(ometria_key=OTHER)
    said = refused(importer)
    assert "holds no contacts of list 1a2d7ebf82" in said
    assert "sync --full 1a2d7ebf82" in said
    assert "keys accept acme --unseen" in said


def test_an_emptied_account_is_accepted_unseen(make_importer: MakeImporter) -> None:
    """Somebody knows that it is the same."""
    importer = with_another_account(make_importer)
    importer("sync")
    importer.configure(ometria_key=OTHER)
    assert importer("keys", "accept", "acme", "--unseen").code == 0
    assert importer("sync", "--json").line["kind"] == "incremental"


def test_a_key_is_not_accepted_where_it_cannot_be_tried(make_importer: MakeImporter) -> None:
    """Ometria away says nothing of whose key it is."""
    importer = make_importer(size=10)
    importer("sync")
    importer.sandbox.renew_ometria_key(importer.sandbox.ometria_key, OTHER)
    importer.configure(ometria_key=OTHER)
    with importer.sandbox.offline():
        assert importer("keys", "accept", "acme").code == 1
    assert importer("sync").code == 2
    assert importer("keys", "accept", "acme").code == 0


def test_a_replay_goes_where_the_list_goes_now(make_importer: MakeImporter) -> None:
    """A letter of a try under a wrong key: who is sent by its replay binds the list to the right account."""
    importer = with_another_account(make_importer)
    importer.configure(ometria_key=OTHER)
    assert importer("sync", "--since", "now").code == 0
    time_passes(300)
    importer.sandbox.audience().join(1)
    time_passes(60)
    importer.sandbox.settings.rejects_record = lambda _: True
    importer("sync")
    importer.sandbox.settings.rejects_record = None
    importer.configure()
    assert importer("dlq", "replay").code == 0
    assert importer("sync").code == 0
    importer.configure(ometria_key=OTHER)
    assert importer("sync").code == 2


def test_of_two_accounts_that_a_list_was_sent_to_the_accepted_one_misses_nobody(make_importer: MakeImporter) -> None:
    """To the real one, then to a test account; the real one's key is renewed: who said no meanwhile is opted out."""
    importer = with_another_account(make_importer)
    assert importer("sync").code == 0
    time_passes(300)
    importer.sandbox.audience().unsubscribe(2)
    time_passes(300)
    importer.configure(ometria_key=OTHER)
    assert importer("sync", "--full").code == 0
    time_passes(7_200)
    renewed = "f" * 32
    importer.sandbox.renew_ometria_key(importer.sandbox.ometria_key, renewed)
    importer.configure(ometria_key=renewed)
    assert importer("keys", "accept", "acme").code == 0
    assert importer("sync", "--json").line["opted_out"] >= 2


def test_who_was_archived_before_is_compared_with_the_right_account_after_a_slip(make_importer: MakeImporter) -> None:
    """The state file is lost, and `--since now` runs under another key first: nobody stays opted in for it."""
    importer = with_another_account(make_importer)
    assert importer("sync").code == 0
    time_passes(300)
    importer.db.unlink()
    leaving = importer.sandbox.audience().archive(2, who=importer.sandbox.audience().with_status("subscribed")[:2])
    time_passes(300)
    importer.configure(ometria_key=OTHER)
    assert importer("sync", "--since", "now").code == 0
    importer.configure()
    time_passes(300)
    assert importer("sync").code == 0
    assert not {str(one["email_address"]).lower() for one in leaving} & importer.sandbox.mailable()


def test_lists_of_an_account_are_seen_together_whatever_version_remembered_them(make_importer: MakeImporter) -> None:
    """One was synced since an upgrade, the other not yet: they are listings of one account all the same."""
    importer = make_importer(size=5)
    importer.sandbox.add_account(importer.sandbox.mailchimp_key, importer.sandbox.ometria_key, {"bbbbbbbbbb": 3})
    importer.configure(CONFIG.replace('lists = ["{list_key}"]', 'lists = ["{list_key}", "bbbbbbbbbb"]'))
    assert importer("sync").code == 0
    client = load(config=importer.config, db=importer.db).clients["acme"]
    with open_state(importer.db) as state:
        with state.transaction():  # as an earlier version left it
            state.write(
                "UPDATE lists SET destination = substr(destination, 1, 16), has_sms = 1 WHERE list_key = 'bbbbbbbbbb'"
            )
        row = next(one for one in lists.all_lists(state) if one.list_key == importer.sandbox.list_key)
        found = {one.list_key: one for one in account_lists(state, client, row, [client])}
    assert found["bbbbbbbbbb"].row is not None
    assert found["bbbbbbbbbb"].rules(client).has_sms
