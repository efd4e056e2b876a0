"""The state file in the browser: prepared pages, read-only, for whoever has the link and for nobody else."""

from __future__ import annotations

import html
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
import passing
import pytest
from conftest import CONFIG, PLAIN, SANDBOX_DEFAULTS, Importer, MakeImporter, configure_clients
from passing import time_passes

from mcimport.monitoring.ui import queries
from mcimport.monitoring.ui.pages import DATABASE, dashboards
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings

PAGES = dashboards()


@contextmanager
def served(importer: Importer) -> Iterator[httpx.Client]:
    """A browser that has opened the link."""
    process = subprocess.Popen(importer.command("ui", "--port", "0"), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    link = ""
    while not link:
        line = process.stderr.readline()
        assert line, "it ended before it said where it is"
        link = next(iter(re.findall(r"http://\S+token\S+", line)), "")
    with httpx.Client(base_url=link.partition("/-/")[0], timeout=20, verify=PLAIN) as browser:
        try:
            assert browser.get(link).status_code == 302
            yield browser
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            process.stderr.close()


def used(importer: Importer) -> Importer:
    """A state file with a dead letter, some runs and their windows."""
    importer.sandbox.audience().add(email_address="not an address")
    time_passes(60)
    importer.configure(CONFIG + "mailchimp.window = 40\n")
    assert importer("sync").code == 3
    importer("sync")
    return importer


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a state file that is used no more, for all tests that only look: a start of the server takes two seconds."""
    with Sandbox(SandboxSettings(**{**SANDBOX_DEFAULTS, "size": 120})) as sandbox:
        importer = Importer(sandbox, tmp_path_factory.mktemp("ui"))
        importer.configure()
        with served(used(importer)) as opened:
            yield opened
        passing.reset()


def test_every_page_opens_and_every_table_and_chart_has_something_to_show(browser: httpx.Client) -> None:
    """Each query runs on a used state file, and finds rows."""
    for name, page in PAGES.items():
        answer = browser.get(f"/-/dashboards/{name}")
        assert (answer.status_code, page["title"] in answer.text) == (200, True)
        for chart in page["charts"].values():
            assert rows(browser, chart["query"]), chart["title"]


def rows(browser: httpx.Client, query: str, **parameters: str) -> list[dict[str, object]]:
    """As the page asks for them; a part in double brackets stands only with its filter."""
    sql = re.sub(r"\[\[.*?\]\]", "", query)
    answer = browser.get(f"/{DATABASE}.json", params={"sql": sql, "_shape": "objects", **parameters})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["rows"]
    return found


def test_a_run_is_shown_by_its_number_and_the_newest_without_one(make_importer: MakeImporter) -> None:
    """Its windows are those of the log."""
    importer = used(make_importer(size=120))
    logged = importer("runs", "show", "1", "--json").line
    with served(importer) as browser:
        (run,) = rows(browser, PAGES["run"]["charts"]["run"]["query"], run="1")
        windows = rows(browser, PAGES["run"]["charts"]["table"]["query"], run="1")
        (newest,) = rows(browser, PAGES["run"]["charts"]["run"]["query"], run="")
    assert (shown(run["pushed"]), run["kind"]) == (str(logged["contacts_pushed"]), "full")
    assert [window["time range"] for window in windows] == [window["number"] for window in logged["windows"]]
    assert newest["run"] == 2


def shown(cell: object) -> str:
    """What a person sees of a cell."""
    return html.unescape(re.sub(r"<[^>]+>", "", str(cell)))


def test_the_lists_that_need_attention_come_first_and_say_why(make_importer: MakeImporter) -> None:
    """A failed list is above one with dead letters, in red, with its error; a list that is well is last, in green."""
    importer = make_importer(size=0)
    keys = configure_clients(importer, ["one", "two", "three"], size=20)
    importer.sandbox.audience(keys["two"]["list_key"]).add(email_address="not an address")
    importer("sync")
    bad = keys["three"]["list_key"]
    importer.sandbox.settings.fault = lambda request: "401" if bad in request.path else None
    importer("sync", "--client", "three")
    with served(importer) as browser:
        found = rows(browser, PAGES["overview"]["charts"]["table"]["query"])
        (attention,) = rows(browser, PAGES["overview"]["charts"]["attention"]["query"])
    assert [shown(row["state"]) for row in found] == ["failed", "dead letters", "well"]
    assert [shown(row["client"]) for row in found] == ["three", "two", "one"]
    assert ['class="bad"' in str(row["state"]) for row in found] == [True, False, False]
    assert "401" in shown(found[0]["why"])
    assert shown(attention["n"]) == "2"


def test_a_list_is_overdue_after_what_its_client_allows(make_importer: MakeImporter) -> None:
    """The settings' `overdue` counts for that client; three missed rounds for every other."""
    importer = make_importer(size=10)
    importer("sync")
    with closing(sqlite3.connect(importer.db)) as state:
        state.execute("UPDATE lists SET sync_point = strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now', '-2 hours')")
        states = [
            shown(state.execute(queries.lists(allowed)).fetchone()[0])
            for allowed in ({"acme": 3_600}, {"acme": 36_000}, {})
        ]
    assert states == ["overdue", "well", "well"]


def test_a_run_that_failed_says_so_before_anything_else(make_importer: MakeImporter) -> None:
    """Result and reason are the first table of its page; what a service wrote is shown as text, never as a page."""
    importer = make_importer(size=10)
    importer("sync")
    importer.sandbox.settings.fault = lambda _: "401"
    importer("sync")
    with closing(sqlite3.connect(importer.db)) as state, state:
        state.execute("UPDATE runs SET error = error || ' <script>alert(1)</script>' WHERE error IS NOT NULL")
    assert next(iter(PAGES["run"]["charts"])) == "result"
    with served(importer) as browser:
        (result,) = rows(browser, PAGES["run"]["charts"]["result"]["query"], run="")
    assert shown(result["result"]) == "failed"
    assert str(result["why"]).endswith("&lt;script&gt;alert(1)&lt;/script&gt;")


def test_every_page_has_a_link_to_every_other_and_marks_its_own(browser: httpx.Client) -> None:
    """The bar of links is the same everywhere, and the first page leads to the overview."""
    for name in PAGES:
        text = browser.get(f"/-/dashboards/{name}").text
        links = re.findall(r'<a href="/-/dashboards/(\w+)"( aria-current="page")?>', text)
        assert links == [(other, ' aria-current="page"' if other == name else "") for other in PAGES]
    assert "url=/-/dashboards/overview" in browser.get("/").text


def test_a_link_that_was_used_says_how_to_get_a_new_one(browser: httpx.Client) -> None:
    """Also to a browser that never had one."""
    for path in ("/-/auth-token?token=used", "/"):
        answer = httpx.get(browser.base_url.join(path), verify=PLAIN)
        assert answer.status_code == 403
        assert "start <code>mcimport ui</code> again" in answer.text


def test_the_pages_open_without_settings_and_with_broken_ones(make_importer: MakeImporter) -> None:
    """The state file is enough; that the settings are not used is said."""
    importer = make_importer(size=10)
    importer("sync")
    importer.config.write_text("[clients\n", encoding="utf-8")
    with served(importer) as browser:
        assert browser.get("/-/dashboards/overview").status_code == 200


def test_nobody_without_the_link_sees_anything(browser: httpx.Client) -> None:
    """Other users of the machine reach its loopback, too; and the link opens it once."""
    for path in ("/", f"/{DATABASE}.json", f"/{DATABASE}/runs.json", "/-/dashboards/overview", f"/{DATABASE}.db"):
        assert httpx.get(browser.base_url.join(path), verify=PLAIN).status_code == 403, path
    guessed = httpx.get(browser.base_url.join("/-/auth-token"), params={"token": "guessed"}, verify=PLAIN)
    assert guessed.status_code == 403


def test_nothing_can_be_written_while_a_sync_can(make_importer: MakeImporter) -> None:
    """The pages read; the file goes on being written by whoever it belongs to."""
    importer = used(make_importer(size=120))
    with served(importer) as browser:
        answer = browser.get(f"/{DATABASE}.json", params={"sql": "DELETE FROM runs"})
        assert answer.status_code in (400, 403)
        assert importer("sync").code == 3  # the letter, taken along
        assert rows(browser, "SELECT count(*) AS n FROM runs") == [{"n": 3}]


def test_it_asks_nobody_else_for_anything(browser: httpx.Client) -> None:
    """No page loads a script, a style or a picture from another host."""
    for name in PAGES:
        loaded = re.findall(r'(?:src|<link[^>]*href)="([^"]+)"', browser.get(f"/-/dashboards/{name}").text)
        assert loaded
        assert [one for one in loaded if one.startswith(("http", "//"))] == []


def test_a_port_that_is_taken_is_a_mistake_and_a_missing_file_is_told(make_importer: MakeImporter) -> None:
    """Exit 2, with what to type; without a state file, exit 1 and how one comes to be."""
    importer = make_importer(size=10)
    assert "`mcimport sync` creates it" in importer("ui").err
    importer("sync")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        result = importer("ui", "--port", str(taken.getsockname()[1]))
    assert (result.code, "--port" in result.err) == (2, True)


@pytest.mark.parametrize("missing", ["datasette", "datasette_dashboards"])
def test_without_the_extra_it_says_what_to_install(make_importer: MakeImporter, missing: str) -> None:
    """And loads nothing else."""
    importer = make_importer(size=10)
    program = f"import sys; sys.modules[{missing!r}] = None\nfrom mcimport.__main__ import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program, *importer.command("ui")[3:]], capture_output=True, text=True, check=False
    )
    assert (result.returncode, "'.[ui]'" in result.stderr) == (2, True)
