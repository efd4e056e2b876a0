"""One kind of trouble does not silence another: each is told when it begins, and each ends by itself."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from conftest import CONFIG, Importer, MakeImporter, WebhookReceiver, configure_clients
from passing import time_passes

from mcimport.state import lock_client, open_state, rhythm, troubles

COMPARING = CONFIG + "reconcile.settling = 0\n"
HOUR = 3_600


def heard(receiver: WebhookReceiver) -> list[tuple[str, str]]:
    """What the webhook was told, in order: the event and its kind."""
    return [(document["event"], document["kind"]) for document in receiver.documents]


def telling(make_importer: MakeImporter, receiver: WebhookReceiver, size: int = 20, text: str = COMPARING) -> Importer:
    """An importer that has synced once, and tells of trouble."""
    importer = make_importer(size=size)
    importer.configure(f'[notify]\nwebhook_url = "{receiver.url}/hook"\n\n{text}')
    assert importer("sync").code == 0
    return importer


def make_stale(importer: Importer, many: int) -> None:
    """Another program writes a first name of its own over so many contacts."""
    some = list(importer.sandbox.contacts())[:many]
    importer.sandbox.store_contacts({"id": contact_id, "firstname": "Else"} for _, contact_id in some)


def refused(importer: Importer, *addresses: str) -> None:
    """New members whom Ometria does not take."""
    people = [importer.sandbox.audience().add(email_address=address) for address in addresses]
    importer.sandbox.settings.rejects |= {f"{importer.sandbox.list_key}-{one['contact_id']}" for one in people}


def test_a_revoked_key_is_told_while_both_sides_differ_and_so_is_its_end(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """And what differs still does then: the document names it, and its own end comes when it is mended."""
    importer = telling(make_importer, receiver)
    make_stale(importer, 1)
    assert importer("reconcile").code == 3
    importer.sandbox.settings.fault = lambda _: "401"
    assert importer("sync").code == 1
    assert "401" in receiver.documents[1]["reason"]
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0
    assert receiver.documents[2]["other_kinds"] == ["differ"]
    assert receiver.documents[2]["since"] == receiver.documents[1]["since"]
    assert importer("reconcile", "--mend", "--yes").code == 0
    assert heard(receiver) == [
        ("failure", "differ"),
        ("failure", "failed"),
        ("recovery", "failed"),
        ("recovery", "differ"),
    ]
    assert receiver.documents[3]["other_kinds"] == []


def test_a_dead_letter_with_another_reason_is_news(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """An address that nobody mends for weeks hides no refusal; a second refusal is more of the same."""
    importer = telling(make_importer, receiver)
    importer.sandbox.audience().add(email_address="not an address")
    assert importer("sync").code == 3
    refused(importer, "one@example.com")
    time_passes(120)
    assert importer("sync").code == 3
    refused(importer, "two@example.com")
    time_passes(120)
    assert importer("sync").code == 3
    assert heard(receiver) == [("failure", "dead_letters")] * 2
    assert receiver.documents[0]["reasons"] == ["unusable address"]
    assert "Ometria rejected the record" in receiver.documents[1]["reasons"]
    assert receiver.documents[1]["since"] == receiver.documents[0]["since"]


def test_a_reason_that_differs_in_numbers_alone_is_no_news(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """Two missing rather than one are; a stale one beside them is another thing."""
    importer = telling(make_importer, receiver)
    for _ in range(2):
        importer.sandbox.delete_contacts(list(importer.sandbox.contacts())[:1])
        assert importer("reconcile").code == 3
    assert heard(receiver) == [("failure", "differ")]
    make_stale(importer, 1)
    assert importer("reconcile").code == 3
    assert heard(receiver) == [("failure", "differ")] * 2
    assert receiver.documents[1]["reason"] == "both sides differ: 2 missing, 1 stale, 0 gone; 0 fixed"


def test_a_failure_for_another_reason_is_news_once(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """A revoked key is told after an outage; that the outage comes back as well is not."""
    importer = telling(make_importer, receiver)
    for fault in ("reset", "401", "reset", "401"):
        importer.sandbox.settings.fault = lambda _, fault=fault: fault
        assert importer("sync").code == 1
    assert heard(receiver) == [("failure", "failed")] * 2
    importer.sandbox.settings.fault = None
    importer("sync")
    importer("sync")
    assert heard(receiver)[2:] == [("recovery", "failed")]


def test_a_comparison_that_failed_is_made_good_by_a_comparison_alone(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """A sync that goes well says nothing of it."""
    importer = telling(make_importer, receiver)
    importer.sandbox.settings.fault = lambda one: "403" if one.service == "ometria" else None
    assert importer("reconcile").code == 1
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0
    assert heard(receiver) == [("failure", "reconcile_failed")]
    assert importer("reconcile").code == 0
    assert heard(receiver)[1:] == [("recovery", "reconcile_failed")]


def test_dead_letters_that_were_discarded_are_over_with_the_next_call_however_it_ends(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """That the call itself fails is another kind of trouble."""
    importer = telling(make_importer, receiver)
    refused(importer, "one@example.com")
    assert importer("sync").code == 3
    assert importer("dlq", "discard", "1", "--yes").code == 0
    importer.sandbox.settings.fault = lambda _: "401"
    assert importer("sync").code == 1
    assert heard(receiver)[1:] == [("recovery", "dead_letters"), ("failure", "failed")]


def test_a_list_that_another_process_keeps_for_hours_is_told_as_overdue(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """Each call leaves it to that process, so nothing ever fails; the words say who has it."""
    importer = telling(make_importer, receiver)
    with lock_client(importer.db, "acme"):
        for _ in range(5):
            time_passes(HOUR)
            assert importer("sync").code == 0
    assert heard(receiver) == [("failure", "overdue")]
    (told,) = receiver.documents
    assert told["reason"].startswith("the sync point has not moved since ")
    assert "another mcimport is already running for this client (process " in told["reason"]
    assert f"mcimport sync {importer.sandbox.list_key}" in told["next"]
    assert importer("sync").code == 0
    assert heard(receiver)[1:] == [("recovery", "overdue")]
    assert receiver.documents[1]["since"] == told["since"]


def test_a_list_that_no_call_is_about_any_more_is_told_as_overdue(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """A line of the crontab was lost: another client's call tells of it, and of its end."""
    importer = make_importer()
    configure_clients(importer, ["one", "two"], size=5)
    importer.config.write_text(f'[notify]\nwebhook_url = "{receiver.url}/hook"\n\n' + importer.config.read_text())
    assert importer("sync").code == 0
    time_passes(4 * HOUR)
    for _ in range(2):
        assert importer("sync", "--client", "one").code == 0
    assert [(one["client"], one["event"], one["kind"]) for one in receiver.documents] == [("two", "failure", "overdue")]
    assert importer("status", "--client", "two").code == 3
    assert importer("sync", "--client", "two").code == 0
    assert heard(receiver)[1:] == [("recovery", "overdue")]


def never_synced(make_importer: MakeImporter, receiver: WebhookReceiver) -> tuple[Importer, str]:
    """An importer whose second client was never run and is told as overdue by the first one's call; that one's list."""
    importer = make_importer()
    keys = {name: one["list_key"] for name, one in configure_clients(importer, ["one", "two"], size=5).items()}
    importer.config.write_text(f'[notify]\nwebhook_url = "{receiver.url}/hook"\n\n' + importer.config.read_text())
    for _ in range(2):
        assert importer("sync", keys["one"]).code == 0
        time_passes(4 * HOUR)
    assert importer("sync", keys["one"]).code == 0
    assert [(one["client"], one["kind"]) for one in receiver.documents] == [("two", "overdue")]
    assert receiver.documents[0]["reason"] == "no sync of the list to its current Ometria account was ever completed"
    return importer, keys["two"]


def test_a_first_run_that_fails_does_not_end_that_a_list_is_overdue(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """It has carried nobody; the run that completes does."""
    importer, key = never_synced(make_importer, receiver)
    importer.sandbox.settings.fault = lambda _: "401"
    assert importer("sync", key).code == 1
    assert heard(receiver)[1:] == [("failure", "failed")]
    assert receiver.documents[1]["other_kinds"] == ["overdue"]
    importer.sandbox.settings.fault = None
    assert importer("sync", key).code == 0
    assert heard(receiver)[2:] == [("recovery", "failed"), ("recovery", "overdue")]
    assert receiver.documents[3]["since"] == receiver.documents[0]["since"]


def test_settings_that_were_written_again_do_not_end_that_a_list_is_overdue(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """A list that was never run counts from then on, and is not carried by it."""
    importer, _ = never_synced(make_importer, receiver)
    os.utime(importer.config, (time.time(), time.time()))
    assert importer("sync", "--client", "one").code == 0
    assert importer("status", "--client", "two").code == 0
    assert heard(receiver) == [("failure", "overdue")]


def test_a_list_of_which_much_was_pushed_is_not_said_to_have_carried_nothing(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """A first sync that fails again and again at some page gets on, and has no sync point: that is what is said."""
    importer = make_importer(size=40)
    importer.configure(f'[notify]\nwebhook_url = "{receiver.url}/hook"\n\n{CONFIG}mailchimp.window = 5\n')
    for _ in range(4):
        pushes = iter(range(1_000))
        importer.sandbox.settings.fault = lambda one, pushes=pushes: (
            "401" if one.path == "/push" and next(pushes) else None
        )
        result = importer("sync", "--json", "--workers", "1")
        assert result.line["contacts_pushed"] > 0
        time_passes(1.2 * HOUR)
    assert heard(receiver) == [("failure", "failed"), ("failure", "overdue")]
    assert "no sync of the list to its current Ometria account was ever completed: " in receiver.documents[1]["reason"]


def test_trouble_that_could_not_be_told_is_told_by_the_next_call_that_does_not_meet_it(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """A comparison and a dead letter are of one call; what they left stands in the state file."""
    importer = telling(make_importer, receiver)
    make_stale(importer, 1)
    refused(importer, "one@example.com")
    time_passes(120)
    receiver.statuses = [500] * 4
    assert importer("sync").code == 3
    assert "notification not delivered" in importer("reconcile").err
    receiver.received.clear()
    for _ in range(2):
        assert importer("sync").code == 0
    assert heard(receiver) == [("failure", "dead_letters"), ("failure", "differ")]
    letters, differ = receiver.documents
    assert (letters["dead_letters"], letters["reasons"]) == (1, ["Ometria rejected the record"])
    assert differ["reason"].endswith("1 stale")
    assert importer("reconcile").code == 3
    assert len(receiver.documents) == 2


def test_a_post_that_fails_does_not_hold_up_what_is_told_of_the_clients_next_list(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """The failure is said in a line; the list that was not told of is told with the next call."""
    importer = make_importer()
    (keys,) = configure_clients(importer, ["one"], size=5).values()
    more = {keys["list_key"]: 5, "ffffffffff": 5}
    importer.sandbox.add_account(keys["mailchimp_key"], keys["ometria_key"], more)
    text = importer.config.read_text().replace(f'["{keys["list_key"]}"]', f'["{keys["list_key"]}", "ffffffffff"]')
    importer.config.write_text(f'[notify]\nwebhook_url = "{receiver.url}/hook"\n\n' + text)
    importer.sandbox.settings.fault = lambda _: "401"
    receiver.statuses = [500] * 2
    said = importer("sync").err
    assert said.count("notification not delivered") == 1
    posted = [one["list_key"] for one in receiver.documents]
    assert len(posted) == 3
    assert posted[0] == posted[1] != posted[2]
    importer("sync")
    assert [one["list_key"] for one in receiver.documents[3:]] == posted[:1]


def test_a_list_that_leaves_the_settings_is_overdue_no_more(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """That is told where its client is left; when it comes back, it can be told to be overdue again."""
    importer = make_importer()
    (keys,) = configure_clients(importer, ["one"], size=5).values()
    more = {keys["list_key"]: 5, "ffffffffff": 5}
    importer.sandbox.add_account(keys["mailchimp_key"], keys["ometria_key"], more)
    one = f'[notify]\nwebhook_url = "{receiver.url}/hook"\n\n' + importer.config.read_text()
    both = one.replace(f'["{keys["list_key"]}"]', f'["{keys["list_key"]}", "ffffffffff"]')
    importer.config.write_text(both)
    assert importer("sync").code == 0
    for text in (both, one, one, both):
        importer.config.write_text(text)
        time_passes(4 * HOUR)
        assert importer("sync", keys["list_key"]).code == 0
    assert [(one["list_key"], one["event"]) for one in receiver.documents] == [
        ("ffffffffff", event) for event in ("failure", "recovery", "failure")
    ]
    assert receiver.documents[1]["reason"] == "the list is no longer configured"


def test_the_trouble_of_a_mistyped_list_ends_when_it_is_corrected(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """No sync of it can ever complete."""
    importer = telling(make_importer, receiver)
    right = importer.config.read_text()
    importer.config.write_text(right.replace(importer.sandbox.list_key, "ffffffffff"))
    for _ in range(2):
        assert importer("sync").code == 1
    importer.config.write_text(right)
    for _ in range(2):
        assert importer("sync").code == 0
    assert [(one["list_key"], one["event"], one["kind"]) for one in receiver.documents] == [
        ("ffffffffff", event, "failed") for event in ("failure", "recovery")
    ]
    assert receiver.documents[1]["reason"] == "the list is no longer configured"


def having_failed(make_importer: MakeImporter, receiver: WebhookReceiver) -> Importer:
    """An importer whose webhook was told of a sync that failed, and whose services work again."""
    importer = telling(make_importer, receiver)
    importer.sandbox.settings.fault = lambda _: "401"
    assert importer("sync").code == 1
    importer.sandbox.settings.fault = None
    return importer


def test_the_trouble_of_a_list_that_is_forgotten_ends_with_its_next_sync(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """What was told is told to be over: nothing else would close it where it was received."""
    importer = having_failed(make_importer, receiver)
    assert importer("forget", "acme", "--yes").code == 0
    for _ in range(2):
        assert importer("sync").code == 0
    assert [(one["event"], one["kind"]) for one in receiver.documents] == [
        (event, "failed") for event in ("failure", "recovery")
    ]


def test_the_trouble_of_a_list_that_only_its_command_names_is_told_once(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """Without clients in the file any list may be named: that a call names another says nothing of it."""
    importer = make_importer()
    importer.config.write_text(f'[notify]\nwebhook_url = "{receiver.url}/hook"\n')
    environment = {**importer.variables, "MCIMPORT_CONFIG": str(importer.config)}
    for _ in range(2):
        result = importer.in_a_process("sync", "ffffffffff", environment=environment, bare=True)
        assert (result.code, "notification" in result.err) == (1, False)
    assert heard(receiver) == [("failure", "failed")]
    importer.in_a_process("sync", importer.sandbox.list_key, environment=environment, bare=True)
    assert heard(receiver) == [("failure", "failed")]


def test_a_list_whose_client_leaves_the_settings_is_overdue_no_more(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """Nobody is left to be told; when the client comes back, its list can be told to be overdue again."""
    importer, _ = never_synced(make_importer, receiver)
    both = importer.config.read_text()
    only_one = both.partition("[clients.two]")[0]
    for text in (only_one, both):
        importer.config.write_text(text)
        time_passes(4 * HOUR)
        assert importer("sync", "--client", "one").code == 0
    assert heard(receiver) == [("failure", "overdue")] * 2


def test_trouble_at_a_place_to_which_the_list_goes_no_more_is_not_said_to_be_mended(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """Nobody has looked there: the end of it says that the list goes elsewhere. At the new place it ends as ever."""
    importer = telling(make_importer, receiver)
    make_stale(importer, 2)
    assert importer("reconcile").code == 3
    refused(importer, "one@example.com")
    time_passes(120)
    assert importer("sync").code == 3
    time_passes(HOUR)
    importer.sandbox.settings.rejects = set()
    importer.configure(f'[notify]\nwebhook_url = "{receiver.url}/hook"\n\n{COMPARING}ometria.collection = "other"\n')
    assert importer("sync", "--full", importer.sandbox.list_key).code == 0
    assert sorted((one["event"], one["kind"], one["reason"]) for one in receiver.documents[2:]) == [
        ("recovery", kind, "the list now goes to another Ometria account or collection")
        for kind in ("dead_letters", "differ")
    ]
    importer.sandbox.delete_contacts([one for one in importer.sandbox.contacts() if one[0] == "other"][:2])
    assert importer("reconcile").code == 3
    assert importer("reconcile", "--mend", "--yes").code == 0
    assert receiver.documents[-1]["reason"] == "both sides match"


def test_the_trouble_of_a_client_that_is_renamed_ends_under_its_new_name(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """What was told of a list is remembered of it, as its runs are."""
    importer = having_failed(make_importer, receiver)
    importer.config.write_text(importer.config.read_text().replace("[clients.acme]", "[clients.acme-uk]"))
    assert importer("sync").code == 0
    assert heard(receiver) == [("failure", "failed"), ("recovery", "failed")]
    assert receiver.documents[1]["client"] == "acme-uk"


def test_trouble_that_a_former_version_told_has_the_kinds_that_the_state_shows(tmp_path: Path) -> None:
    """An upgrade ends none of it and invents none."""
    former = Path(__file__).parents[1] / "state_files" / "m011_remember_what_was_warned_of.sql"
    for setup, kinds in (
        ("", {"dead_letters"}),
        ("UPDATE dead_letters SET status = 'replayed'", {"failed"}),
        ("UPDATE runs SET status = 'failed' WHERE id = 2", {"dead_letters", "failed"}),
        ("UPDATE lists SET reconciled = '{\"left\": 2}'", {"dead_letters", "differ"}),
        ("DELETE FROM troubles", set()),
    ):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.db"
        with closing(sqlite3.connect(path)) as old:
            old.executescript(former.read_text(encoding="utf-8") + f"{setup};")
        with open_state(path) as state:
            found = troubles.open_troubles(state, "acme", "1a2d7ebf82")
        assert {kind: one.since for kind, one in found.items()} == dict.fromkeys(kinds, 1_795_165_209)


def test_another_rhythm_is_no_recovery_of_a_list_that_is_overdue(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """A slow round makes the next one late: what is overdue is within the allowance for a while, but not synced."""
    importer = telling(make_importer, receiver)
    assert importer("sync").code == 0
    for seconds in (60, HOUR, 60):
        time_passes(600)
        with open_state(importer.db) as state:
            rhythm.note(state, seconds)
        with lock_client(importer.db, "acme"):
            assert importer("sync").code == 0
    assert heard(receiver) == [("failure", "overdue")]
