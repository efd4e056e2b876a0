"""`sync --every`: rounds that read everything anew, leave no signal unheard, and never pile up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from threading import Event, Timer

import pytest
from conftest import CONFIG, Importer, MakeImporter, WebhookReceiver, configure_clients, expected_ids, imported_ids
from end_to_end.test_account_limits import assert_pace, lateness
from passing import time_passes

from mcimport.sandbox.request_log import Request

PATIENT = 60.0  # seconds after which what a test waits for never comes
SOON = 15  # lines
HOUR = 3_600


@contextmanager
def every(importer: Importer, interval: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    """`mcimport sync --every INTERVAL` under way, which is killed where the test leaves it, or waits in vain."""
    command = importer.command("sync", "--every", interval, *more)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        waits_in_vain = Timer(PATIENT, process.kill)
        waits_in_vain.start()
        try:
            yield process
        finally:
            waits_in_vain.cancel()
            process.kill()


def lines(process: subprocess.Popen[str], many: int) -> list[dict[str, object]]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline()) for _ in range(many)]


def lines_until(process: subprocess.Popen[str], client: str, status: str = "completed") -> list[dict[str, object]]:
    """What is printed up to the result of this client, which is the last of them and comes within some rounds."""
    found = lines(process, 1)
    while (found[-1]["client"], found[-1]["status"]) != (client, status):
        assert len(found) < SOON, found
        found += lines(process, 1)
    return found


def hold_pushes(importer: Importer, ometria_key: str) -> Event:
    """The account takes nothing until the sandbox has no fault any more; what is returned is set by the first push."""
    has_pushed = Event()

    def hold(request: Request) -> str | None:
        if (request.path, request.key) != ("/push", ometria_key):
            return None
        has_pushed.set()
        return "429-retry-after"

    importer.sandbox.settings.fault = hold
    return has_pushed


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENT)
    return process.returncode, err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_round_follows_round_until_a_signal_ends_the_wait(
    make_importer: MakeImporter, number: signal.Signals, code: int
) -> None:
    """The first imports the list, the next what changed; a signal between two ends the program at once."""
    importer = make_importer(size=30)
    importer.create_state_file()
    with every(importer, "1s", "--json", "--quiet") as process:
        kinds = [one["kind"] for one in lines(process, 3)]
        assert stopped(process, number) == (code, "")
    assert kinds == ["full", "incremental", "incremental"]


def test_a_signal_in_the_middle_of_a_round_ends_that_and_all(make_importer: MakeImporter) -> None:
    """What it had begun is resumed by the next call."""
    importer = make_importer(size=300)
    importer.configure(CONFIG + "ometria.batch = 5\n")
    with every(importer, "1s", "--json", "--quiet") as process:
        importer.sandbox.settings.fault = _once_pushed(lambda: process.send_signal(signal.SIGTERM))
        (result,) = lines(process, 1)
        assert process.wait(PATIENT) == 143
    assert result["status"] == "interrupted"
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0


def _once_pushed(act: Callable[[], object]) -> Callable[[Request], str | None]:
    """Acts with the second push: the first batch has been taken, and no other is taken any more."""

    def seen(request: Request) -> str | None:
        if request.path != "/push" or request.nth == 0:
            return None
        if request.nth == 1:
            act()
        return "429-retry-after"

    return seen


def test_settings_are_read_anew_for_each_round_and_broken_ones_are_told_and_outlived(
    make_importer: MakeImporter,
) -> None:
    """Somebody saves a file half edited, sees the error in the log, and mends it: no restart is needed."""
    importer = make_importer(size=30)
    importer.create_state_file()
    whole = importer.config.read_text()
    with every(importer, "1s", "--json", "--quiet") as process:
        lines(process, 1)
        importer.config.write_text("[clients.acme\n")
        assert process.stderr is not None
        error = process.stderr.readline()
        importer.config.write_text(whole.replace("clients.acme", "clients.renamed"))
        names = {str(one["client"]) for one in lines(process, 3)}
        code, _ = stopped(process, signal.SIGTERM)
    assert "line 1" in error
    assert "renamed" in names
    assert code == 143


def test_a_configuration_that_is_wrong_from_the_beginning_ends_it(make_importer: MakeImporter) -> None:
    """Somebody sees that; a program that only repeats the error would pass for one that works."""
    importer = make_importer(size=0)
    importer.config.write_text("[clients.acme]\nlists = 3\n")
    result = importer.in_a_process("sync", "--every", "1h")
    assert result.code == 2
    assert "lists" in result.err


@pytest.mark.parametrize("more", ["--full", "--since=7d", "--dry-run"])
def test_what_would_be_done_once_is_not_repeated(make_importer: MakeImporter, more: str) -> None:
    """A full sync every five minutes is nobody's wish."""
    importer = make_importer(size=0)
    result = importer("sync", "--every", "5m", more)
    assert (result.code, importer.sandbox.requests) == (2, [])
    assert "--every repeats a plain sync" in result.err


def test_rounds_that_were_stopped_make_no_list_overdue(make_importer: MakeImporter) -> None:
    """Whoever tried `--every 1s` once and goes on with cron hears of no list that waits for a round."""
    importer = make_importer(size=30)
    with every(importer, "1s", "--json", "--quiet") as process:
        lines(process, 2)
        assert stopped(process, signal.SIGINT)[0] == 130
    time_passes(2 * HOUR)
    assert importer("status").code == 0


def test_lists_are_overdue_by_the_rhythm_until_another_scheduler_has_the_clock(
    make_importer: MakeImporter,
) -> None:
    """Three missed rounds of five minutes; three hours where no interval is known; what is configured comes first."""
    importer = make_importer(size=30)
    assert importer("sync").code == 0
    with every(importer, "5m", "--json") as process:
        lines(process, 1)  # and it is killed: nobody says that no other round will come
    time_passes(600)
    assert importer("status").code == 0
    time_passes(600)
    assert importer("status").code == 3
    configured = importer.config.read_text()
    importer.config.write_text(f'[notify]\noverdue = "2h"\n\n{configured}')
    assert importer("status").code == 0
    importer.config.write_text(configured)
    assert importer("sync").code == 0
    time_passes(2 * HOUR)
    assert importer("status").code == 0


def test_a_first_sync_under_way_is_not_overdue_for_three_hours(make_importer: MakeImporter) -> None:
    """It takes as long as the list is large, and three rounds of a minute are soon missed."""
    importer = make_importer(size=30)
    has_pushed = hold_pushes(importer, importer.sandbox.ometria_key)
    with every(importer, "1m"):
        assert has_pushed.wait(PATIENT)
    time_passes(2 * HOUR)
    assert importer("status").code == 0
    time_passes(2 * HOUR)
    assert importer("status").code == 3


def test_a_client_that_is_still_in_an_earlier_round_delays_no_other(make_importer: MakeImporter) -> None:
    """An unsubscription of one client does not wait for the first sync of another, which ends in its own round."""
    importer = make_importer()
    clients = configure_clients(importer, ["slow", "quick"], size=30)
    hold_pushes(importer, clients["slow"]["ometria_key"])
    with every(importer, "1s", "--json", "--quiet") as process:
        others = [(one["client"], one["kind"]) for one in lines(process, 3)]
        importer.sandbox.settings.fault = None
        slow = lines_until(process, "slow")[-1]
        assert lines_until(process, "slow")[-1]["kind"] == "incremental"
        assert stopped(process, signal.SIGTERM)[0] == 143
    assert others == [("quick", "full"), ("quick", "incremental"), ("quick", "incremental")]
    assert (slow["kind"], slow["status"]) == ("full", "completed")


ONE_ACCOUNT = """
[clients.{name}]
lists = {lists}
mailchimp_api_key = "{mailchimp_key}"
ometria_api_key = "{ometria_key}"
mailchimp.url = "{mailchimp_url}"
mailchimp.window = 10
ometria.url = "{ometria_url}"
ometria.requests_per_second = 20
ometria.batch = 1
ometria.spot_check = 0
"""


def configure_one_account(importer: Importer, clients: dict[str, list[str]]) -> None:
    """Clients with lists in a Mailchimp account each, and one Ometria account together."""
    sandbox, text = importer.sandbox, "[retry]\nwait = 0\n"
    for number, (name, lists) in enumerate(clients.items(), 1):
        text += ONE_ACCOUNT.format(
            name=name,
            lists=json.dumps(lists),
            mailchimp_key=f"{number:032x}-us6",
            ometria_key=sandbox.ometria_key,
            mailchimp_url=sandbox.mailchimp_url,
            ometria_url=sandbox.ometria_url,
        )
    importer.config.write_text(text, encoding="utf-8")


def pushed_lists(importer: Importer) -> list[str]:
    """The list of each push, in the order of their arrival."""
    return [one.ids[0].partition("-")[0] for one in importer.sandbox.requests if one.ids]


def hold_until_both_push(importer: Importer, slow: str, late: str) -> None:
    """The slow list is not read until the late one is pushed, of which all but a page is not until the slow one is."""
    pages = count()

    def hold(request: Request) -> str | None:
        if request.path.startswith(f"/lists/{slow}/"):
            return None if late in pushed_lists(importer) else "429-retry-after"
        is_page = request.path == f"/lists/{late}/members" and "before_last_changed" in request.query
        if is_page and request.query.get("count") != "1" and slow not in pushed_lists(importer):
            return None if next(pages) == 0 else "429-retry-after"
        return None

    importer.sandbox.settings.fault = hold


def test_clients_of_one_account_share_its_limit_though_they_are_in_different_rounds(
    make_importer: MakeImporter,
) -> None:
    """One is in the first round while the other is in the third: together no second sees more, and nobody is lost."""
    importer = make_importer()
    slow, early, late = "aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"
    sandbox = importer.sandbox
    sandbox.add_account(f"{1:032x}-us6", sandbox.ometria_key, {slow: 40})
    sandbox.add_account(f"{2:032x}-us6", sandbox.ometria_key, {early: 5, late: 40})
    configure_one_account(importer, {"slow": [slow], "quick": [early]})
    hold_until_both_push(importer, slow, late)
    with lateness() as lag, every(importer, "1s", "--json", "--quiet") as process:
        before = [(one["client"], one["kind"]) for one in lines(process, 2)]
        configure_one_account(importer, {"slow": [slow], "quick": [early, late]})
        ended: set[object] = set()
        while not {slow, late} <= ended:
            ended |= {one["list_key"] for one in lines(process, 1) if one["status"] == "completed"}
        assert stopped(process, signal.SIGTERM)[0] == 143
    order = pushed_lists(importer)
    assert before == [("quick", "full"), ("quick", "incremental")]
    assert order.index(late) < order.index(slow) < len(order) - order[::-1].index(late)
    assert_pace(importer, 20, *lag)
    expected = {f"{key}-{one}" for key in (slow, early, late) for one in expected_ids(importer, list_key=key)}
    assert {key for _, key in sandbox.contacts()} == expected


def test_a_client_that_is_renamed_waits_for_the_round_that_has_it_under_its_former_name(
    make_importer: MakeImporter,
) -> None:
    """Else two rounds would work on one list, and what was read earlier could be pushed after what was read later."""
    importer = make_importer(size=30)
    importer.create_state_file()
    has_pushed = hold_pushes(importer, importer.sandbox.ometria_key)
    with every(importer, "1s", "--json", "--quiet") as process:
        assert has_pushed.wait(PATIENT)
        importer.config.write_text(importer.config.read_text().replace("clients.acme", "clients.renamed"))
        assert [one["client"] for one in lines_until(process, "renamed", "skipped")] == ["renamed"]
        importer.sandbox.settings.fault = None
        assert lines_until(process, "acme")[-1]["kind"] == "full"
        assert lines_until(process, "renamed")[-1]["kind"] == "incremental"
        assert stopped(process, signal.SIGTERM)[0] == 143


def test_a_round_without_a_client_to_begin_says_so_and_reports_no_success(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """Else a health check would hear that all is well while the only client hangs."""
    importer = make_importer(size=30)
    importer.config.write_text(f'[notify]\nhealthcheck_url = "{receiver.url}/ping"\n\n{importer.config.read_text()}')
    hold_pushes(importer, importer.sandbox.ometria_key)
    with every(importer, "1s") as process:
        assert process.stderr is not None
        skips = (line for line in process.stderr if "still in an earlier round" in line)
        said = [next(skips), next(skips)]
        assert stopped(process, signal.SIGTERM)[0] == 143
    assert said == 2 * ["mcimport: still in an earlier round, so this one skips them: acme\n"]
    assert receiver.paths == ["/ping/start"]


def test_the_second_signal_ends_all_rounds_at_once(make_importer: MakeImporter) -> None:
    """Also what an earlier round waits for, in a connection that says nothing any more."""
    importer = make_importer()
    clients = configure_clients(importer, ["slow", "quick"], size=30)
    silent = clients["slow"]["ometria_key"]
    importer.sandbox.settings.fault = lambda one: "silent" if (one.path, one.key) == ("/push", silent) else None
    with every(importer, "1s", "--json", "--quiet") as process:
        lines(process, 2)
        process.send_signal(signal.SIGINT)
        code, err = stopped(process, signal.SIGTERM)
    assert code == 130
    assert "Traceback" not in err
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0


def test_of_two_programs_with_rounds_one_leaves_a_client_to_the_other_until_that_is_killed(
    make_importer: MakeImporter,
) -> None:
    """What the killed one had begun is finished by the other's next round."""
    importer = make_importer(size=300)
    importer.configure(CONFIG + "ometria.batch = 5\n")
    is_pushing, pushes = Event(), count()

    def hold_all_but_the_first(request: Request) -> str | None:
        if request.path != "/push" or next(pushes) == 0:
            return None
        is_pushing.set()
        return "429-retry-after"

    importer.sandbox.settings.fault = hold_all_but_the_first
    with every(importer, "1s", "--json", "--quiet") as first:
        assert is_pushing.wait(PATIENT)
        with every(importer, "1s", "--json", "--quiet") as second:
            lines_until(second, "acme", "skipped")
            first.kill()
            first.wait(PATIENT)
            importer.sandbox.settings.fault = None
            lines_until(second, "acme")
            assert stopped(second, signal.SIGTERM) == (143, "")
    assert imported_ids(importer) == expected_ids(importer)


def test_keys_and_clients_are_read_anew_for_each_round(make_importer: MakeImporter) -> None:
    """A renewed key is used, a new client is begun and one that is gone is not, without a restart."""
    importer = make_importer()
    clients = configure_clients(importer, ["kept", "gone", "new"], size=10)
    whole = importer.config.read_text()
    parts = {name: whole[whole.index(f"[clients.{name}]") :].split("\n\n")[0] for name in clients}
    key = importer.folder / "key"
    key.write_text("0" * 32 + "-us6")
    key.chmod(0o600)
    kept = parts["kept"].replace(clients["kept"]["mailchimp_key"], f"file:{key}")
    importer.config.write_text(f"{kept}\n\n{parts['gone']}\n")
    with every(importer, "1s", "--json", "--quiet") as process:
        before = {(one["client"], one["status"]) for one in lines(process, 2)}
        importer.config.write_text(f"{kept}\n\n{parts['new']}\n")
        key.write_text(clients["kept"]["mailchimp_key"])
        lines_until(process, "kept")
        after = {(one["client"], one["status"]) for one in lines(process, 4)}
        assert stopped(process, signal.SIGTERM)[0] == 143
    assert before == {("kept", "failed"), ("gone", "completed")}
    assert after == {("kept", "completed"), ("new", "completed")}


def test_a_clock_that_is_set_moves_no_round(make_importer: MakeImporter) -> None:
    """Three hours ahead and back again: each second a round goes on, and all of them complete."""
    importer = make_importer(size=30)
    importer.create_state_file()
    asked = count(1)

    def set_the_clock(request: Request) -> None:
        if request.path.endswith("/members"):
            number = next(asked)
            if number in (3, 7):
                time_passes(3 * HOUR if number == 3 else -3 * HOUR)
            if number == 12:
                os.kill(os.getpid(), signal.SIGTERM)

    importer.sandbox.settings.fault = set_the_clock
    result = importer("sync", "--every", "1s", "--json", "--quiet")
    assert result.code == 143
    assert [one["kind"] for one in result.lines[:1]] == ["full"]
    assert [one["status"] for one in result.lines] == ["completed"] * len(result.lines)
