"""Ways in which somebody was lost, or nearly, while this program was built: each stays shut."""

from __future__ import annotations

from conftest import CONFIG, Stage, carried, expected
from passing import time_passes

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.request_log import Request


def test_a_glance_that_counts_nobody_is_not_an_empty_sweep(stage: Stage) -> None:
    """A first page that cannot be read, and a count that lies low: a letter, not "nothing changed"."""
    importer = stage(size=50)
    importer("sync")
    time_passes(3_600)
    importer.box.audience().join(6)
    time_passes(300)
    importer.box.settings.broken = ["50"]
    importer.box.settings.count_lies = -6
    assert importer("sync").code == 3
    importer.box.settings.broken = []
    importer.box.settings.count_lies = 0
    assert importer("sync").code == 0
    assert carried(importer) == expected(importer)


def test_a_member_who_changes_while_they_are_looked_up_does_not_end_the_window(stage: Stage) -> None:
    """An unreadable member who changes during the tiny look-up is dated now, and says nothing of those behind."""
    importer = stage()
    audience = importer.box.audience()
    start = importer.box.clock.second() - 86_400
    people = [audience.join_in_second(1, start + 10 * number)[0] for number in range(40)]
    time_passes(5)
    importer.box.settings.broken = ["0"]

    def change_once(_: Audience) -> None:
        importer.box.settings.on_page = None
        audience.change(who=[people[0]])

    def at_the_look_up(request: Request) -> None:
        query = request.query
        is_tiny = query.get("count") == "1" and "email" not in query.get("fields", "")
        if is_tiny and query.get("offset") == "0" and "before_last_changed" in query:
            importer.box.settings.on_page = change_once
            importer.box.settings.fault = None

    importer.box.settings.fault = at_the_look_up
    assert importer("sync").code == 3
    importer.box.settings.broken = []
    time_passes(10)
    assert importer("sync").code == 0
    assert carried(importer) == expected(importer)


def test_a_time_at_the_calendars_edge_is_no_time(stage: Stage) -> None:
    """A refused member who is dated in the year 1 becomes a letter like any other, and the run ends."""
    importer = stage(size=5)
    importer.box.audience().add(at=1_000, last_changed="0001-01-01T00:00:00+00:00", email_address="no address at all")
    assert importer("sync").code == 3
    assert importer("sync").code == 0


def test_a_failed_full_sync_under_a_renewed_key_does_not_become_the_lists_memory(stage: Stage) -> None:
    """`keys accept` carries over what is remembered, also when a `--full` was tried first and failed."""
    importer = stage(size=50)
    importer("sync")
    leaver = importer.box.audience().with_status("subscribed")[0]
    time_passes(30)
    importer.box.audience().archive(who=[leaver])
    importer.box.renew_ometria_key(importer.box.ometria_key, "f" * 32)
    importer.box.ometria_key = "f" * 32
    importer.configure()
    with importer.box.offline():
        assert importer("sync", "--full").code == 1
    assert importer("keys", "accept", "acme").code == 0
    ended = importer("sync", "--json")
    assert ended.line["kind"] == "incremental"
    name = f"{importer.box.list_key}-{leaver.get('contact_id') or leaver['web_id']}"
    assert importer.box.contacts()["mailchimp", name]["marketing_optin"] == "EXPLICITLY_OPTEDOUT"


def test_a_full_sync_that_fails_at_its_first_page_leaves_the_unfinished_run_pending(stage: Stage) -> None:
    """A pending run is given up in the moment in which another one has planned to read everything, not before."""
    importer = stage(size=600)
    importer.configure(CONFIG + "mailchimp.window = 100\n")
    importer("sync", "--since", "now")
    time_passes(5)
    importer.box.settings.fault = lambda one: "401" if one.path.endswith("/push") and one.nth >= 2 else None
    assert importer("sync", "--since", "2000-01-01").code == 1
    importer.box.settings.fault = lambda one: "401" if one.path.endswith("/members") else None
    assert importer("sync", "--full").code == 1
    importer.box.settings.fault = None
    assert importer("sync").code == 0
    assert carried(importer) == expected(importer)


def test_a_slow_ometria_in_a_crowded_second_is_not_taken_for_a_slow_page(stage: Stage) -> None:
    """Pushes that time out make a letter for the second; the page keeps its size, and nothing is read again."""
    importer = stage()
    second = importer.box.clock.second() - 86_400
    importer.box.audience().join_in_second(1_500, second)
    time_passes(5)
    importer.box.settings.fault = lambda one: "504" if one.path.endswith("/push") and one.nth >= 12 else None
    assert importer("sync").code == 3
    pages = [one for one in importer.box.requests if one.path.endswith("/members") and one.count > 1]
    assert {one.query["count"] for one in pages} == {"1000"}
    assert sum(one.path.endswith("/push") for one in importer.box.requests) <= 12 + 4
    importer.box.settings.fault = None
    assert importer("sync").code == 0
    assert carried(importer) == expected(importer)


def test_a_member_who_cannot_be_looked_up_costs_the_replay_of_that_letter_alone(stage: Stage) -> None:
    """One member of a crowded second whose own page fails: that letter stays open, counted; the replay ends well."""
    importer = stage()
    audience = importer.box.audience()
    member = audience.join_in_second(1_200, importer.box.clock.second() - 86_400)[5]
    name = str(member.get("contact_id") or member["web_id"])
    importer.box.settings.rejects = {f"{importer.box.list_key}-{name}"}
    time_passes(5)
    assert importer("sync").code == 3
    importer.box.settings.rejects = set()
    audience.change(who=[member])
    importer.box.settings.fault = lambda one: "500" if name in one.path else None
    assert importer("dlq", "replay").code == 3
    (letter,) = importer("dlq", "list", "--json").lines
    assert letter["attempts"] == 2
    importer.box.settings.fault = None
    assert importer("dlq", "replay").code == 0
    assert importer("dlq", "list", "--json").lines == []


def test_pages_that_only_narrow_while_a_run_gives_up_are_no_crash(stage: Stage) -> None:
    """Everything fails at once: exit 1 in words, whatever the pages in flight come back with."""
    importer = stage(size=420)
    importer.configure(CONFIG + "mailchimp.window = 50\n")
    importer.box.settings.fault = lambda one: "503" if one.path.endswith("/members") and one.nth > 20 else None
    ended = importer("sync", "--full")
    assert ended.code in (1, 3)
    assert "Traceback" not in ended.err
    importer.box.settings.fault = None
    importer("sync")
    assert importer("sync").code == 0
    assert carried(importer) == expected(importer)


def test_an_ometria_that_refuses_whatever_it_is_sent_does_not_fill_the_dead_letters(stage: Stage) -> None:
    """A wrong collection or a proxy that refuses everything: exit 1 after a hundred records, and no letter each."""
    importer = stage(size=900)
    importer.box.settings.rejects = {f"{importer.box.list_key}-{one}" for one in expected(importer)}
    ended = importer("sync", "--json")
    assert ended.code == 1
    assert "refused the first 100 records" in ended.err
    assert ended.line["dead_letters"] == 0
    importer.box.settings.rejects = set()
    assert importer("sync").code == 0
    assert carried(importer) == expected(importer)


def test_a_client_may_be_called_migration(stage: Stage) -> None:
    """No name of a client meets another lock of the program's."""
    importer = stage(size=10)
    importer.configure(CONFIG.replace("acme", "migration"))
    assert importer("sync").code == 0


def test_a_member_who_breaks_pages_is_not_hidden_by_an_order_that_changes(stage: Stage) -> None:
    """In a crowded second whose order changes, another try gets a page without them: a letter says so all the same."""
    importer = stage(unstable_order=True)
    importer.configure(CONFIG + "mailchimp.window = 10\n")
    importer.box.audience().join_in_second(60, importer.box.clock.second() - 86_400)
    time_passes(5)
    importer.box.settings.broken = ["30"]
    assert importer("sync").code == 3
    assert len(expected(importer) - carried(importer)) == 1
    importer.box.settings.broken = []
    assert importer("sync").code == 0
    assert importer("dlq", "list", "--json").lines == []
    assert carried(importer) == expected(importer)
