"""Somebody who was deleted from one list and is subscribed on another of the same Ometria account stays mailable."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from conftest import Importer, MakeImporter
from passing import time_passes

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.member_list import MemberView
from mcimport.sandbox.audience.stored_member import ABSENT
from mcimport.sandbox.ometria_account import Contact, ContactKey
from mcimport.sandbox.request_log import Request
from sync.reconcile.test_reconcile_list import IN, MEND, NEITHER, OUT, of_ours

OTHER_KEY = "1" * 32 + "-us6"
OTHER_ACCOUNT = "2" * 32
ADDRESS = "Ada.Nobody@example.com"

CLIENT = """
[clients.{name}]
lists = [{lists}]
mailchimp_api_key = "{mailchimp_key}"
ometria_api_key = "{ometria_key}"
mailchimp.url = "{mailchimp_url}"
ometria.url = "{ometria_url}"
ometria.requests_per_second = 500
ometria.reads_per_second = 1000
{more}
"""


def md5(address: str) -> str:
    """What Mailchimp finds somebody by."""
    return hashlib.md5(address.lower().encode(), usedforsecurity=False).hexdigest()


def md5_in(request: Request) -> bool:
    return re.fullmatch(r"/lists/\w+/members/[0-9a-f]{32}", request.path) is not None


@dataclass
class Client:
    """One table [clients.NAME]."""

    name: str
    lists: list[str]
    mailchimp_key: str = ""
    ometria_key: str = ""
    more: str = 'ometria.collection = "mc-{list_key}"'


@dataclass
class Account:
    """The list A of the client acme, which somebody was deleted from, and whatever else goes to its Ometria account.

    `b`: another list, which is not in the settings yet.
    """

    importer: Importer
    acme: Client
    gone: MemberView = field(init=False)
    told: str = ""
    b: str = "bbbbbbbbbb"

    def configure(self, *more: Client) -> None:
        sandbox = self.importer.sandbox
        text = '[retry]\nwait = 0\nretries = 1\n\n[reconcile]\nsettling = 0\nmost = "50%"\n'
        for one in (self.acme, *more):
            text += CLIENT.format(
                name=one.name,
                lists=", ".join(f'"{key}"' for key in one.lists),
                mailchimp_key=one.mailchimp_key or sandbox.mailchimp_key,
                ometria_key=one.ometria_key or sandbox.ometria_key,
                mailchimp_url=sandbox.mailchimp_url,
                ometria_url=sandbox.ometria_url,
                more=one.more,
            )
        self.importer.config.write_text(text, encoding="utf-8")
        self.importer.config.chmod(0o600)

    def audience(self, list_key: str) -> Audience:
        return self.importer.sandbox.audience(list_key)

    def add_list(self, list_key: str, mailchimp_key: str = "", ometria_key: str = "") -> Audience:
        """With somebody on it who is nobody's twin."""
        sandbox = self.importer.sandbox
        sandbox.add_account(mailchimp_key or sandbox.mailchimp_key, ometria_key or sandbox.ometria_key, {list_key: 0})
        audience = sandbox.audience(list_key)
        audience.add(email_address=f"somebody@{list_key}.example.com", at=1_700_000_000)
        return audience

    def sync(self) -> None:
        """Until everybody who was added is beyond the sync point."""
        for _ in range(2):
            time_passes(300)
            assert self.importer("sync").code == 0

    def deleted(self) -> None:
        self.audience(self.acme.lists[0]).delete(who=[self.gone])

    def held(self) -> tuple[ContactKey, Contact]:
        """Of who was deleted, in the present collection."""
        sandbox = self.importer.sandbox
        collection = f"mc-{sandbox.list_key}" if self.acme.more else "mailchimp"
        key = (collection, f"{sandbox.list_key}-{of_ours(self.gone)}")
        return key, sandbox.contacts()[key]

    def mended(self) -> str:
        """Both sides of list A alone are mended; the consent of who was deleted after that."""
        result = self.importer("reconcile", self.acme.lists[0], "--client", "acme", *MEND[1:])
        assert result.code == 0, result.err
        assert (result.line["gone"], result.line["mended"]) == (1, 1), result.err
        _, found = self.held()
        optin = found["marketing_optin"]
        assert (result.line["opted_out"], "timestamp_unsubscribed" in found) == (
            (1, True) if optin == OUT else (0, False)
        )
        assert found["email"] == ADDRESS
        self.told = result.err
        return str(optin)

    @property
    def is_mailable(self) -> bool:
        return ADDRESS.lower() in self.importer.sandbox.mailable()


@pytest.fixture(name="account")
def an_account(make_importer: MakeImporter) -> Account:
    importer = make_importer(settling=0.0)
    account = Account(importer, Client("acme", [importer.sandbox.list_key]))
    audience = importer.sandbox.audience()
    for number in range(3):
        audience.add(email_address=f"stays{number}@example.com", at=1_700_000_000)
    account.gone = audience.add(email_address=ADDRESS, at=1_700_000_000)
    account.configure()
    return account


def of_the_same_client(account: Account) -> Audience:
    audience = account.add_list(account.b)
    account.acme.lists.append(account.b)
    account.configure()
    return audience


def of_another_client(account: Account) -> Audience:
    audience = account.add_list(account.b, OTHER_KEY)
    account.configure(Client("beta", [account.b], OTHER_KEY))
    return audience


def of_another_client_with_the_same_collection(account: Account) -> Audience:
    account.acme.more = ""
    audience = account.add_list(account.b, OTHER_KEY)
    account.configure(Client("beta", [account.b], OTHER_KEY, more=""))
    return audience


def of_another_client_with_another_key_of_the_account(account: Account) -> Audience:
    account.importer.sandbox.add_ometria_key(account.importer.sandbox.ometria_key, OTHER_ACCOUNT)
    audience = account.add_list(account.b, OTHER_KEY)
    named = 'ometria.collection = "mc-{list_key}"\nometria.account = "shop"'
    account.acme.more = named
    account.configure(Client("beta", [account.b], OTHER_KEY, OTHER_ACCOUNT, more=named))
    return audience


PLACES = [
    of_the_same_client,
    of_another_client,
    of_another_client_with_the_same_collection,
    of_another_client_with_another_key_of_the_account,
]
everywhere = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
Place = Callable[[Account], Audience]


@everywhere
def test_who_is_subscribed_on_another_list_of_the_account_is_not_silenced(account: Account, place: Place) -> None:
    """The listing that is gone becomes NOT_SPECIFIED; the one that is subscribed can still be mailed."""
    place(account).add(email_address=ADDRESS.lower(), at=1_700_000_000)
    account.sync()
    account.deleted()
    assert account.mended() == NEITHER
    assert account.is_mailable
    assert "1 deleted member is now unspecified, not opted out: subscribed elsewhere" in account.told


@everywhere
def test_who_subscribed_elsewhere_and_is_not_in_ometria_yet_is_not_silenced(account: Account, place: Place) -> None:
    """The other list is asked for the address itself: the next sync brings a listing that can be mailed."""
    audience = place(account)
    account.sync()
    audience.add(email_address=ADDRESS.upper())
    account.deleted()
    assert account.mended() == NEITHER
    account.sync()
    assert account.is_mailable


@everywhere
def test_who_is_unsubscribed_on_all_other_lists_is_opted_out(account: Account, place: Place) -> None:
    """That Ometria still holds the other listing as opted in is no reason to keep this one."""
    audience = place(account)
    twin = audience.add(email_address=ADDRESS, at=1_700_000_000)
    account.sync()
    audience.unsubscribe_unseen(who=[twin])
    account.deleted()
    assert account.mended() == OUT
    assert "unspecified" not in account.told


@everywhere
def test_a_listing_that_has_another_address_today_does_not_count(account: Account, place: Place) -> None:
    """It is somebody else's business whether that one is subscribed."""
    audience = place(account)
    twin = audience.add(email_address=ADDRESS, at=1_700_000_000)
    account.sync()
    audience.edit_unseen(twin, email_address="moved@example.com")
    account.deleted()
    assert account.mended() == OUT


@everywhere
def test_who_is_on_no_other_list_is_opted_out(account: Account, place: Place) -> None:
    """With the time of it; each list is asked, and somebody who is on it is found in the same way."""
    place(account)
    account.sync()
    account.deleted()
    account.importer.sandbox.clear_requests()
    assert account.mended() == OUT
    asked = {one.path for one in account.importer.sandbox.requests}
    for list_key in (account.importer.sandbox.list_key, account.b):
        assert {f"/lists/{list_key}/members/{md5(ADDRESS)}", f"/lists/{list_key}/members"} <= asked


@pytest.mark.parametrize("collection", ["", 'ometria.collection = "mc-{list_key}"'], ids=["one", "several"])
def test_of_several_twins_each_counts(account: Account, collection: str) -> None:
    """The one that is subscribed stands in the middle; that the others are not, Ometria does not know yet."""
    account.acme.more = collection
    lists = ["aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"]
    account.acme.lists.extend(lists)
    twins = [account.add_list(key).add(email_address=ADDRESS, at=1_700_000_000) for key in lists]
    account.configure()
    account.sync()
    for key, twin in zip(lists, twins, strict=True):
        if key != "bbbbbbbbbb":
            account.audience(key).unsubscribe_unseen(who=[twin])
    account.deleted()
    assert account.mended() == NEITHER
    account.audience("bbbbbbbbbb").unsubscribe_unseen(who=[twins[1]])
    account.importer.sandbox.store_contacts([{**account.held()[1], "marketing_optin": IN}])
    assert account.mended() == OUT


def test_who_signed_up_anew_on_the_same_list_is_not_silenced(account: Account) -> None:
    """Under another id, after the list was compared: Mailchimp is asked for the address right before the push."""
    account.sync()
    account.deleted()
    here = account.audience(account.importer.sandbox.list_key)
    asked = 0

    def signs_up_when_mending_begins(request: Request) -> None:
        nonlocal asked
        if request.path.endswith(of_ours(account.gone)) and request.service == "mailchimp":
            asked += 1
            if asked == 3:  # twice for the second look at who differs
                here.add(email_address=ADDRESS)

    account.importer.sandbox.settings.fault = signs_up_when_mending_begins
    assert account.mended() == NEITHER
    account.importer.sandbox.settings.fault = None
    account.sync()
    assert account.is_mailable


def test_a_list_that_its_client_does_not_sync_any_more_is_asked_for_its_twins(account: Account) -> None:
    """The state file knows where it went, and the client's key still opens it."""
    audience = of_another_client(account)
    twin = audience.add(email_address=ADDRESS, at=1_700_000_000)
    account.sync()
    account.add_list("dddddddddd", OTHER_KEY)
    account.configure(Client("beta", ["dddddddddd"], OTHER_KEY))
    account.deleted()
    assert account.mended() == NEITHER
    assert "subscribed elsewhere in" in account.told
    audience.unsubscribe_unseen(who=[twin])
    account.importer.sandbox.store_contacts([{**account.held()[1], "marketing_optin": IN}])
    assert account.mended() == OUT


def test_without_the_address_the_listings_that_ometria_holds_are_asked(account: Account) -> None:
    """Where it does not answer for single contacts, a twin is known by the digest of its address."""
    account.importer.sandbox.settings.single_contacts = False
    audience = of_another_client(account)
    twin = audience.add(email_address=ADDRESS, at=1_700_000_000)
    account.sync()
    account.deleted()
    assert account.mended() == NEITHER
    audience.unsubscribe_unseen(who=[twin])
    account.importer.sandbox.store_contacts([{**account.held()[1], "marketing_optin": IN}])
    assert account.mended() == OUT


# ---- where it cannot be told


def cannot_be_told(account: Account) -> None:
    assert account.mended() == NEITHER
    assert "1 deleted member is now unspecified, not opted out: they may be subscribed elsewhere" in account.told


def a_twin_of_beta(account: Account) -> None:
    of_another_client(account).add(email_address=ADDRESS, at=1_700_000_000)
    account.sync()
    account.deleted()


def test_a_list_that_the_state_file_alone_knows_leaves_it_open(account: Account) -> None:
    """Its client is in the settings no more, so nobody can be asked for whether it is still subscribed there."""
    a_twin_of_beta(account)
    account.configure()
    cannot_be_told(account)
    assert account.is_mailable


def test_a_client_without_a_key_leaves_it_open(account: Account) -> None:
    """Which key, and what is wrong with it, is said."""
    a_twin_of_beta(account)
    account.configure(Client("beta", [account.b], "env:MCIMPORT_TEST_NO_SUCH_KEY"))
    cannot_be_told(account)
    assert "the variable MCIMPORT_TEST_NO_SUCH_KEY is not set" in account.told


def test_a_client_without_a_key_leaves_it_open_though_ometria_holds_no_twin(account: Account) -> None:
    """Somebody may have subscribed there since its last sync."""
    of_another_client(account)
    account.sync()
    account.deleted()
    account.configure(Client("beta", [account.b], "env:MCIMPORT_TEST_NO_SUCH_KEY"))
    cannot_be_told(account)


def test_a_client_without_any_key_is_known_by_what_it_sent(account: Account) -> None:
    """The state file says that its list went to this account."""
    a_twin_of_beta(account)
    account.configure(Client("beta", [account.b], "env:MCIMPORT_TEST_NO_KEY", "env:MCIMPORT_TEST_NO_KEY"))
    cannot_be_told(account)


@pytest.mark.parametrize("fault", ["404", "500", "401", "html", "empty", "wrong-shape", "reset"])
def test_a_list_that_does_not_answer_leaves_it_open(account: Account, fault: str) -> None:
    """Whatever comes instead: nobody is opted out, and what is wrong with one account fails no other's run."""
    a_twin_of_beta(account)
    account.importer.sandbox.settings.fault = lambda one: fault if one.key == OTHER_KEY else None
    cannot_be_told(account)


def test_a_list_that_failed_thrice_is_not_asked_any_more(account: Account) -> None:
    """Forty are gone, and its service is down: nobody waits for forty times as many tries."""
    here = account.audience(account.importer.sandbox.list_key)
    gone = [here.add(email_address=f"many{number}@example.com", at=1_700_000_000) for number in range(40)]
    of_another_client(account)
    account.sync()
    here.delete(who=gone)
    account.importer.sandbox.settings.fault = lambda one: "500" if one.key == OTHER_KEY else None
    account.importer.sandbox.clear_requests()
    result = account.importer("reconcile", account.importer.sandbox.list_key, "--force-mend", *MEND[2:])
    assert (result.code, result.line["mended"], result.line["opted_out"]) == (0, 40, 0), result.err
    assert len([one for one in account.importer.sandbox.requests if one.key == OTHER_KEY]) < 40


def test_an_address_that_changed_in_ometria_meanwhile_leaves_it_open(account: Account) -> None:
    """Its listings elsewhere were not sought under the new one."""
    account.sync()
    account.deleted()
    (_, contact_id), found = account.held()

    changed = [{**found, "email": "changed@example.com"}]

    def changes_the_address(request: Request) -> None:
        if changed and request.path.endswith(contact_id):
            account.importer.sandbox.store_contacts([changed.pop()])

    account.importer.sandbox.settings.fault = changes_the_address
    result = account.importer("reconcile", account.importer.sandbox.list_key, *MEND[1:])
    assert (result.line["mended"], result.line["opted_out"]) == (1, 0), result.err
    assert account.held()[1]["marketing_optin"] == NEITHER


def test_a_passing_404_for_everybody_is_not_believed_of_a_list_without_a_twin(account: Account) -> None:
    """Somebody who is on it is not found either: so whoever is looked for may be on it, too."""
    of_another_client(account)
    account.sync()
    account.deleted()
    account.importer.sandbox.settings.fault = lambda one: "404" if one.key == OTHER_KEY and md5_in(one) else None
    cannot_be_told(account)


def test_a_list_that_is_not_there_leaves_it_open(account: Account) -> None:
    """Deleted with all who were on it, or the key is another account's."""
    of_another_client(account)
    account.sync()
    account.deleted()
    account.importer.sandbox.add_account("3" * 32 + "-us6", OTHER_ACCOUNT, {"dddddddddd": 0})
    account.configure(Client("beta", [account.b], "3" * 32 + "-us6"))
    cannot_be_told(account)


def test_a_twin_who_is_deleted_as_well_leaves_it_open_and_the_second_is_opted_out(account: Account) -> None:
    """A 404 alone says nothing; once one of the two is not opted in any more, no listing speaks for the other."""
    audience = of_another_client(account)
    twin = audience.add(email_address=ADDRESS, at=1_700_000_000)
    account.sync()
    account.deleted()
    audience.delete(who=[twin])
    cannot_be_told(account)
    assert account.importer("reconcile", account.b, *MEND[1:]).line["opted_out"] == 1
    assert not account.is_mailable


def test_a_twin_whom_mailchimp_cannot_be_asked_for_leaves_it_open(account: Account) -> None:
    """Known by a web_id alone."""
    audience = of_another_client(account)
    twin = audience.add(email_address=ADDRESS, contact_id=ABSENT, at=1_700_000_000)
    account.sync()
    audience.unsubscribe_unseen(who=[twin])
    account.deleted()
    cannot_be_told(account)


def test_a_listing_in_a_known_collection_under_nobodys_id_leaves_it_open(account: Account) -> None:
    """A shop's, say: nobody can be asked for it, and an opted-out listing would silence it."""
    account.sync()
    collection = f"mc-{account.importer.sandbox.list_key}"
    account.importer.sandbox.store_contacts(
        [{"@collection": collection, "id": "shop-1", "email": ADDRESS, "marketing_optin": IN}]
    )
    account.deleted()
    cannot_be_told(account)
    assert account.is_mailable


def test_a_collection_that_cannot_be_read_leaves_it_open(account: Account) -> None:
    """Its listings are those that nobody met; the run goes on, and says so."""
    of_the_same_client(account)
    account.sync()
    account.deleted()
    account.importer.sandbox.settings.fault = lambda one: (
        "500" if one.path == "/contacts" and one.query["collection"] == f"mc-{account.b}" else None
    )
    cannot_be_told(account)
    assert f"could not check who is subscribed in the collection mc-{account.b}" in account.told


# ---- who is asked


def test_another_ometria_account_does_not_count_and_is_not_asked(account: Account) -> None:
    """There the same address is somebody else's consent."""
    audience = account.add_list(account.b, OTHER_KEY, OTHER_ACCOUNT)
    audience.add(email_address=ADDRESS, at=1_700_000_000)
    account.configure(Client("beta", [account.b], OTHER_KEY, OTHER_ACCOUNT))
    account.sync()
    account.deleted()
    account.importer.sandbox.clear_requests()
    assert account.mended() == OUT
    assert {one.key for one in account.importer.sandbox.requests} == {
        account.importer.sandbox.mailchimp_key,
        account.importer.sandbox.ometria_key,
    }


def test_nobody_elsewhere_is_asked_while_nobody_is_gone(account: Account) -> None:
    """Another list's members and another collection's contacts are read for those who are gone alone."""
    of_another_client(account).add(email_address=ADDRESS, at=1_700_000_000)
    account.sync()
    account.importer.sandbox.delete_contacts([account.held()[0]])
    account.importer.sandbox.clear_requests()
    result = account.importer("reconcile", account.importer.sandbox.list_key, *MEND[1:])
    assert (result.code, result.line["missing"], result.line["mended"]) == (0, 1, 1), result.err
    assert OTHER_KEY not in {one.key for one in account.importer.sandbox.requests}
    assert not [one for one in account.importer.sandbox.requests if one.query.get("collection") == f"mc-{account.b}"]


def test_the_same_member_in_a_former_collection_is_no_twin(account: Account) -> None:
    """The list went there before; they are gone from it as from the present one."""
    account.sync()
    account.acme.more = ""
    account.configure()
    assert account.importer("sync", "--full").code == 0
    account.sync()
    account.deleted()
    assert account.mended() == OUT


@pytest.mark.parametrize(("permission", "optin"), [('"Email"', OUT), ('""', NEITHER)])
def test_what_counts_is_what_the_other_clients_rules_make_of_a_member(
    account: Account, permission: str, optin: str
) -> None:
    """Subscribed without the permission that the client asks for is no opt-in; it is where it asks for none."""
    audience = of_another_client(account)
    more = f"{account.acme.more}\nconsent.permission = {permission}"
    account.configure(Client("beta", [account.b], OTHER_KEY, more=more))
    twin = audience.add(email_address=ADDRESS, at=1_700_000_000)
    account.sync()
    audience.edit_unseen(twin, marketing_permissions=[{"text": "Email", "enabled": False}])
    account.deleted()
    assert account.mended() == optin


def test_a_pending_twin_does_not_count(account: Account) -> None:
    """It was subscribed when Ometria heard of it; now it is neither yes nor no."""
    audience = of_another_client(account)
    twin = audience.add(email_address=ADDRESS, at=1_700_000_000)
    account.sync()
    audience.edit_unseen(twin, status="pending")
    account.deleted()
    assert account.mended() == OUT


def test_an_account_is_asked_within_its_connections(account: Account) -> None:
    """However many are gone at once: never more than are configured."""
    audience = of_another_client(account)
    here = account.audience(account.importer.sandbox.list_key)
    people, gone = (
        [
            some.add(email_address=f"many{number}@example.com", contact_id=f"{number:032x}"[::-1], at=1_700_000_000)
            for number in range(10, 50)
        ]
        for some in (audience, here)
    )
    account.configure(Client("beta", [account.b], OTHER_KEY, more=account.acme.more + "\nmailchimp.connections = 2"))
    account.sync()
    here.delete(who=gone)
    audience.unsubscribe_unseen(who=people[:20])
    account.importer.sandbox.settings.latency = 0.01
    account.importer.sandbox.clear_requests()
    result = account.importer("reconcile", account.importer.sandbox.list_key, "--force-mend", *MEND[2:])
    assert (result.code, result.line["gone"], result.line["opted_out"]) == (0, 40, 20), result.err
    assert account.importer.sandbox.max_open(OTHER_KEY) <= 2
    assert account.importer.sandbox.max_open() <= 10


# ---- what is said and kept


def test_no_address_hash_or_key_is_said_or_kept(account: Account) -> None:
    """Neither of who is gone nor of who is asked for, also where every request is told."""
    of_another_client(account)
    twin = account.audience(account.b).add(email_address=ADDRESS, at=1_700_000_000)
    account.sync()
    account.deleted()
    account.audience(account.b).unsubscribe_unseen(who=[twin])
    said = ""
    for words in ([], ["--verbose"], ["--verbose", "--log-format", "json"]):
        account.importer.sandbox.store_contacts([{**account.held()[1], "marketing_optin": IN}])
        result = account.importer("reconcile", account.importer.sandbox.list_key, *MEND[1:], *words)
        assert result.code == 0, result.err
        said += result.out + result.err
    assert f"lists/{account.b}/members/*" in said
    kept = said.encode() + b"".join(
        path.read_bytes() for path in account.importer.folder.iterdir() if path != account.importer.config
    )
    secrets = [
        ADDRESS,
        md5(ADDRESS),
        account.importer.sandbox.mailchimp_key,
        account.importer.sandbox.ometria_key,
        OTHER_KEY,
    ]
    addresses = [one["email_address"] for one in account.audience(account.b).members]
    secrets += [*addresses, *map(md5, addresses)]
    assert not [one for one in secrets if one.encode() in kept or one.lower().encode() in kept]
