"""What a run cost, by side and by what its time spent to; and how that is shown."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest
from conftest import CONFIG, Importer, MakeImporter
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mcimport.models import Usage
from mcimport.models.records import Run, WindowRow
from mcimport.report.run_tables import time_spent, window_rows
from mcimport.services.http.usage import Side, UsageMeter

RUN = Run(
    id=7,
    list_id=1,
    client="acme",
    list_key="1a2d7ebf82",
    kind="full",
    since=None,
    until=100,
    status="completed",
    members_total=900,
    members_read=900,
    members_skipped=0,
    contacts_pushed=900,
    contacts_rejected=0,
    opt_ins=800,
    opt_outs=50,
    subscription_events=0,
    windows_total=3,
    windows_dead=0,
    started_at=100,
    finished_at=130,
    error=None,
    moves_sync_point=1,
)
WINDOW = WindowRow(7, 0, "listed", 0, 300, None, 50, 50, 1000, "", "done", 1, 300, 300, None, 120, None, None, 110, 9.5)


def last_run(importer: Importer) -> dict[str, Any]:
    return importer("runs", "list", "--json").lines[0]


def test_every_request_is_counted_once_for_its_side(make_importer: MakeImporter) -> None:
    """As many as the services saw, those for fields and for tags in other threads included."""
    importer = make_importer(size=1_200)
    importer.sandbox.audience().add(email_address="m@example.com", tags=[{"id": n, "name": str(n)} for n in range(60)])
    importer.configure(CONFIG + "mailchimp.window = 100\n")
    importer("sync")
    run, asked = last_run(importer), importer.sandbox.requests
    assert run["mailchimp_requests"] == sum(one.service == "mailchimp" for one in asked)
    assert run["ometria_requests"] == sum(one.service == "ometria" for one in asked)
    assert run["mailchimp_retries"] == run["ometria_throttled"] == 0
    assert min(run[name] for name in ("waited_mailchimp", "waited_ometria", "converting")) > 0


def test_tries_again_and_refusals_for_speed_are_counted_by_side(make_importer: MakeImporter) -> None:
    """A run that got through all the same shows what it met."""
    importer = make_importer(size=300)
    faults = {"/push": iter(["429"]), "/members": iter(["429", "500", "500"])}
    importer.sandbox.settings.fault = lambda one: next(
        (next(found, None) for path, found in faults.items() if one.path.endswith(path)), None
    )
    importer.configure(CONFIG.replace("wait = 0", "wait = 0.01"))
    assert importer("sync").code == 0
    run = last_run(importer)
    assert (run["mailchimp_retries"], run["mailchimp_throttled"]) == (3, 1)
    assert (run["ometria_retries"], run["ometria_throttled"]) == (1, 1)


def test_each_run_counts_its_own_requests(make_importer: MakeImporter) -> None:
    """What one list cost is not told of the next one of the same client, nor of the next run."""
    importer = make_importer(size=300)
    importer("sync")
    importer.sandbox.clear_requests()
    importer("sync")
    assert last_run(importer)["mailchimp_requests"] == len(importer.sandbox.requests) == 2


def test_windows_tell_when_they_were_worked_on_and_what_took_their_time(make_importer: MakeImporter) -> None:
    """Their seconds hold what they waited for."""
    importer = make_importer(size=600, latency=0.01)
    importer.configure(CONFIG + "mailchimp.window = 100\n")
    importer("sync")
    shown = importer("runs", "show", "1", "--json").line
    for window in shown["windows"]:
        assert window["begun_at"] <= window["finished_at"]
        spent = sum(window[name] for name in ("waited_mailchimp", "waited_ometria", "waited_limiter", "converting"))
        assert 0 < spent <= window["seconds"] + 0.01  # each part is rounded to the millisecond


def test_a_state_file_of_an_earlier_version_says_nothing_was_counted(make_importer: MakeImporter) -> None:
    """Runs from before are shown, without a word on where their time spent."""
    importer = make_importer(size=100)
    importer("sync")
    names = (
        "mailchimp_requests",
        "ometria_requests",
        "waited_mailchimp",
        "waited_ometria",
        "waited_limiter",
        "converting",
    )
    with closing(sqlite3.connect(importer.db)) as state, state:
        state.execute(f"UPDATE runs SET {', '.join(f'{name} = 0' for name in names)}")  # noqa: S608 - names from above
        state.execute("UPDATE windows SET begun_at = NULL, seconds = 0")
    out = importer("runs", "show", "1").out
    assert "time spent" not in out
    assert "requests" not in out


@given(st.lists(st.lists(st.sampled_from(["mailchimp", "ometria"]), max_size=20), max_size=6))
def test_nothing_is_lost_between_threads(work: list[list[Side]]) -> None:
    """What is taken is what all threads counted, each once; what a thread calls its own is its own."""
    meter, own = UsageMeter(), []

    def count(sides: list[Side]) -> None:
        for side in sides:
            meter.requested(side)
        own.append(meter.of_this_thread())

    threads = [threading.Thread(target=count, args=(sides,)) for sides in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken, requested = meter.drain(), [side for sides in work for side in sides]
    assert taken.mailchimp_requests == requested.count("mailchimp") == sum(one.mailchimp_requests for one in own)
    assert taken.ometria_requests == requested.count("ometria")
    assert meter.drain() == Usage()


# ---- how it is shown


def test_shares_of_the_time_are_told_the_largest_first() -> None:
    """And nothing where nothing was measured."""
    usage = Usage(waited_limiter=80.0, waited_mailchimp=15.0, converting=5.0)
    assert time_spent(usage) == (
        "waiting for Ometria's rate limit 80%, waiting for Mailchimp 15%, converting 5% (shares of all workers' time)"
    )
    assert time_spent(Usage()) == ""


@given(st.integers(0, 200), st.integers(0, 200), st.integers(60, 200))
def test_a_bar_is_as_wide_as_its_column_wherever_the_window_lies(begun: int, lasted: int, columns: int) -> None:
    """Also for a window of no time at all, and one that is still open."""
    ends = [100 + begun + lasted, None]
    windows = [WINDOW, *(replace(WINDOW, number=1, begun_at=100 + begun, finished_at=end) for end in ends)]
    bars = [row[6] for row in window_rows(RUN, windows, columns=columns, plain=True, fold=True)]
    assert len({len(bar) for bar in bars}) == 1
    assert all("#" in bar for bar in bars)


def test_a_window_took_as_long_as_its_bar_shows() -> None:
    """From its first page to its end: the seconds of its pages, read at once, would be more than the run's."""
    half = replace(WINDOW, begun_at=100, finished_at=115, seconds=300.0)
    rows = window_rows(RUN, [half, replace(WINDOW, begun_at=100, finished_at=130)], columns=80, plain=True, fold=True)
    assert [(row[6], row[7]) for row in rows] == [("#####.....", "15 s"), ("##########", "30 s")]
    (still,) = window_rows(RUN, [replace(WINDOW, finished_at=None)], columns=80, plain=True, fold=True)
    assert still[7] == "-"


def test_of_many_windows_those_that_went_well_are_folded() -> None:
    """The dead one is seen at once; `--all` shows each."""
    many = [replace(WINDOW, number=number) for number in range(200)]
    many[77] = replace(WINDOW, number=77, status="dead", error="Mailchimp answered 500")
    folded = window_rows(RUN, many, columns=80, plain=True, fold=True)
    assert [row[0] for row in folded] == ["77", "199 more"]
    assert folded[1][3] == f"{199 * 300:,}"
    assert len(window_rows(RUN, many, columns=80, plain=True, fold=False)) == 200


# ---- status


def aged(importer: Importer, hours: int) -> None:
    """As if the last sync had been so many hours ago."""
    with closing(sqlite3.connect(importer.db)) as state, state:
        state.execute(
            "UPDATE lists SET sync_point = strftime('%Y-%m-%dT%H:%M:%S+00:00', sync_point, ?)", [f"-{hours} hours"]
        )


@pytest.mark.parametrize(("setting", "is_overdue"), [("", True), ('notify.overdue = "6h"\n', False)])
def test_status_is_3_while_a_list_is_overdue(make_importer: MakeImporter, setting: str, *, is_overdue: bool) -> None:
    """A probe learns that nothing was imported for hours, whatever kept it; three hours unless it is said otherwise."""
    importer = make_importer(size=10)
    importer("sync")
    importer.configure(CONFIG + setting)
    assert importer("status").code == 0
    aged(importer, 4)
    result = importer("status")
    assert result.code == (3 if is_overdue else 0)
    assert ("OVERDUE" in result.out) is is_overdue
    assert importer("status", "--json").line["overdue"] is is_overdue
    importer("sync")
    assert importer("status").code == 0


def test_a_list_whose_key_has_changed_needs_attention_until_somebody_says_what_that_means(
    make_importer: MakeImporter,
) -> None:
    """Each sync refuses it: a probe must not take that for well, neither at once nor later."""
    importer = make_importer(size=10)
    importer("sync")
    importer.configure(ometria_key="f" * 32)
    assert importer("sync").code == 2
    assert importer("status").code == 3
    aged(importer, 4)
    shown = importer("status")
    assert (shown.code, "OVERDUE" in shown.out) == (3, True)


def test_a_first_sync_that_always_fails_is_overdue_at_last(make_importer: MakeImporter) -> None:
    """However often it was tried since."""
    importer = make_importer(size=10)
    importer.sandbox.settings.fault = lambda _: "401"
    for _ in range(26):
        importer("sync")
    with closing(sqlite3.connect(importer.db)) as state, state:
        state.execute("UPDATE runs SET started_at = '2020-01-01T00:00:00+00:00' WHERE id = 1")
    assert importer("status").code == 3


def test_what_is_waited_for_while_converting_is_no_conversion() -> None:
    """The list's fields are read when the first member comes."""
    meter, nobody = UsageMeter(), threading.Event()
    with meter.timed("converting"), meter.timed("waited_mailchimp"):
        nobody.wait(0.05)
    taken = meter.drain()
    assert taken.converting < taken.waited_mailchimp


def test_a_list_that_is_not_configured_any_more_is_not_overdue(make_importer: MakeImporter) -> None:
    """Nobody waits for it."""
    importer = make_importer(size=10)
    importer("sync")
    aged(importer, 40)
    importer.configure(list_key="ffffffffff")
    assert importer("status").code == 0


def test_status_tells_why_the_last_run_failed(make_importer: MakeImporter) -> None:
    """In the words that the run ended with."""
    importer = make_importer(size=10)
    importer("sync")
    importer.sandbox.settings.fault = lambda _: "401"
    importer("sync")
    assert "it does not accept the API key" in importer("status").out
    assert "it does not accept the API key" in importer("status", "--json").line["last_run_error"]


def test_a_list_key_that_was_mistyped_once_does_not_stay_in_status(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was no list: nothing of it is remembered, nor does `check` know it."""
    importer = make_importer(size=10)
    sandbox = importer.sandbox
    importer.config.write_text("", encoding="utf-8")
    environment = {
        "MCIMPORT_MAILCHIMP_URL": sandbox.mailchimp_url,
        "MCIMPORT_OMETRIA_URL": sandbox.ometria_url,
        "MCIMPORT_MAILCHIMP_API_KEY": sandbox.mailchimp_key,
        "MCIMPORT_OMETRIA_API_KEY": sandbox.ometria_key,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert importer("sync", "ffffffffff").code == 1
    assert importer("status", "--json").lines == []
    assert importer("runs", "list", "--json").lines == []
    assert "ffffffffff" not in importer("check").out


def test_status_of_chosen_clients_alone(make_importer: MakeImporter) -> None:
    """Another client's trouble is not told, nor in the exit code; a client that is not there is a mistake."""
    importer = make_importer(size=10)
    importer("sync")
    aged(importer, 40)
    other = CONFIG[CONFIG.index("[clients") :].replace("acme", "beta").replace("{list_key}", "ffffffffff")
    importer.configure(CONFIG + "\n" + other)
    assert importer("status").code == 3
    assert importer("status", "--client", "beta").code == 0
    assert importer("status", "--client", "nobody").code == 2
