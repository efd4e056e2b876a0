"""Ways in which somebody was lost, or nearly, while this program was built: each stays shut."""

from __future__ import annotations

from conftest import CONFIG, MakeImporter, expected_ids, imported_ids
from passing import time_passes

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.request_log import Request


def test_a_glance_that_counts_nobody_is_not_an_empty_sweep(make_importer: MakeImporter) -> None:
    """A first page that cannot be read, and a count that lies low: a letter, not "nothing changed"."""
    importer = make_importer(size=50)
    importer("sync")
    time_passes(3_600)
    importer.sandbox.audience().join(6)
    time_passes(300)
    importer.sandbox.settings.broken = ["50"]
    importer.sandbox.settings.count_lies = -6
    assert importer("sync").code == 3
    importer.sandbox.settings.broken = []
    importer.sandbox.settings.count_lies = 0
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_a_member_who_changes_while_they_are_looked_up_does_not_end_the_window(make_importer: MakeImporter) -> None:
    """An unreadable member who changes during the tiny look-up is dated now, and says nothing of those behind."""
    importer = make_importer()
    audience = importer.sandbox.audience()
    start = importer.sandbox.clock.second() - 86_400
    people = [audience.join_in_second(1, start + 10 * number)[0] for number in range(40)]
    time_passes(5)
    importer.sandbox.settings.broken = ["0"]

    def change_once(_: Audience) -> None:
        importer.sandbox.settings.on_page = None
        audience.change(who=[people[0]])

    def at_the_look_up(request: Request) -> None:
        query = request.query
        is_tiny = query.get("count") == "1" and "email" not in query.get("fields", "")
        if is_tiny and query.get("offset") == "0" and "before_last_changed" in query:
            importer.sandbox.settings.on_page = change_once
            importer.sandbox.settings.fault = None

    importer.sandbox.settings.fault = at_the_look_up
    assert importer("sync").code == 3
    importer.sandbox.settings.broken = []
    time_passes(10)
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_a_time_at_the_calendars_edge_is_no_time(make_importer: MakeImporter) -> None:
    """A refused member who is dated in the year 1 becomes a letter like any other, and the run ends."""
    importer = make_importer(size=5)
    importer.sandbox.audience().add(
        at=1_000, last_changed="0001-01-01T00:00:00+00:00", email_address="no address at all"
    )
    assert importer("sync").code == 3
    assert importer("sync").code == 0


def test_a_failed_full_sync_under_a_renewed_key_does_not_become_the_lists_memory(make_importer: MakeImporter) -> None:
    """`keys accept` carries over what is remembered, also when a `--full` was tried first and failed."""
    importer = make_importer(size=50)
    importer("sync")
    leaver = importer.sandbox.audience().with_status("subscribed")[0]
    time_passes(30)
    importer.sandbox.audience().archive(who=[leaver])
    importer.sandbox.renew_ometria_key(importer.sandbox.ometria_key, "f" * 32)
    importer.sandbox.ometria_key = "f" * 32
    importer.configure()
    with importer.sandbox.offline():
        assert importer("sync", "--full").code == 1
    assert importer("keys", "accept", "acme").code == 0
    result = importer("sync", "--json")
    assert result.line["kind"] == "incremental"
    name = f"{importer.sandbox.list_key}-{leaver.get('contact_id') or leaver['web_id']}"
    assert importer.sandbox.contacts()["mailchimp", name]["marketing_optin"] == "EXPLICITLY_OPTEDOUT"


def test_a_full_sync_that_fails_at_its_first_page_leaves_the_unfinished_run_pending(
    make_importer: MakeImporter,
) -> None:
    """A pending run is given up in the moment in which another one has planned to read everything, not before."""
    importer = make_importer(size=600)
    importer.configure(CONFIG + "mailchimp.window = 100\n")
    importer("sync", "--since", "now")
    time_passes(5)
    importer.sandbox.settings.fault = lambda one: "401" if one.path.endswith("/push") and one.nth >= 2 else None
    assert importer("sync", "--since", "2000-01-01").code == 1
    importer.sandbox.settings.fault = lambda one: "401" if one.path.endswith("/members") else None
    assert importer("sync", "--full").code == 1
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_a_slow_ometria_in_a_crowded_second_is_not_taken_for_a_slow_page(make_importer: MakeImporter) -> None:
    """Pushes that time out make a letter for the second; the page keeps its size, and nothing is read again."""
    importer = make_importer()
    second = importer.sandbox.clock.second() - 86_400
    importer.sandbox.audience().join_in_second(1_500, second)
    time_passes(5)
    importer.sandbox.settings.fault = lambda one: "504" if one.path.endswith("/push") and one.nth >= 12 else None
    assert importer("sync").code == 3
    pages = [one for one in importer.sandbox.requests if one.path.endswith("/members") and one.count > 1]
    assert {one.query["count"] for one in pages} == {"1000"}
    assert sum(one.path.endswith("/push") for one in importer.sandbox.requests) <= 12 + 4 * 15
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_a_member_who_cannot_be_looked_up_costs_the_replay_of_that_letter_alone(make_importer: MakeImporter) -> None:
    """One member of a crowded second whose own page fails: that letter stays open, counted; the replay ends well."""
    importer = make_importer()
    audience = importer.sandbox.audience()
    member = audience.join_in_second(1_200, importer.sandbox.clock.second() - 86_400)[5]
    name = str(member.get("contact_id") or member["web_id"])
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{name}"}
    time_passes(5)
    assert importer("sync").code == 3
    importer.sandbox.settings.rejects = set()
    audience.change(who=[member])
    importer.sandbox.settings.fault = lambda one: "500" if name in one.path else None
    assert importer("dlq", "replay").code == 3
    (letter,) = importer("dlq", "list", "--json").lines
    assert letter["attempts"] == 2
    importer.sandbox.settings.fault = None
    assert importer("dlq", "replay").code == 0
    assert importer("dlq", "list", "--json").lines == []


def test_pages_that_only_narrow_while_a_run_gives_up_are_no_crash(make_importer: MakeImporter) -> None:
    """Everything fails at once: exit 1 in words, whatever the pages in flight come back with."""
    importer = make_importer(size=420)
    importer.configure(CONFIG + "mailchimp.window = 50\n")
    importer.sandbox.settings.fault = lambda one: "503" if one.path.endswith("/members") and one.nth > 20 else None
    result = importer("sync", "--full")
    assert result.code in (1, 3)
    assert "Traceback" not in result.err
    importer.sandbox.settings.fault = None
    importer("sync")
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_an_ometria_that_refuses_whatever_it_is_sent_does_not_fill_the_dead_letters(
    make_importer: MakeImporter,
) -> None:
    """A wrong collection or a proxy that refuses everything: exit 1 after a hundred records, and no letter each."""
    importer = make_importer(size=900)
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{one}" for one in expected_ids(importer)}
    result = importer("sync", "--json")
    assert result.code == 1
    assert "refused the first 100 records" in result.err
    assert result.line["dead_letters"] == 0
    importer.sandbox.settings.rejects = set()
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_a_client_may_be_called_migration(make_importer: MakeImporter) -> None:
    """No name of a client meets another lock of the program's."""
    importer = make_importer(size=10)
    importer.configure(CONFIG.replace("acme", "migration"))
    assert importer("sync").code == 0


def test_a_member_who_breaks_pages_is_not_hidden_by_an_order_that_changes(make_importer: MakeImporter) -> None:
    """In a crowded second whose order changes, another try gets a page without them: a letter says so all the same."""
    importer = make_importer(unstable_order=True)
    importer.configure(CONFIG + "mailchimp.window = 10\n")
    importer.sandbox.audience().join_in_second(60, importer.sandbox.clock.second() - 86_400)
    time_passes(5)
    importer.sandbox.settings.broken = ["30"]
    assert importer("sync").code == 3
    assert len(expected_ids(importer) - imported_ids(importer)) == 1
    importer.sandbox.settings.broken = []
    assert importer("sync").code == 0
    assert importer("dlq", "list", "--json").lines == []
    assert imported_ids(importer) == expected_ids(importer)
