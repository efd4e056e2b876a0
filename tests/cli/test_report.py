"""`mcimport report`: what was done for each client, as the runs recorded it."""

from __future__ import annotations

import csv
import io
import stat

import pytest
from conftest import Importer, MakeImporter, configure_clients, imported_ids
from passing import time_passes

DAY = 86_400


def two_clients(make_importer: MakeImporter) -> Importer:
    """Two clients that synced, then one of them again after a change, two days later."""
    importer = make_importer(size=20)
    clients = configure_clients(importer, ["acme", "globex"], size=20)
    assert importer("sync").code == 0
    time_passes(2 * DAY)
    importer.sandbox.audience(clients["globex"]["list_key"]).change(3)
    time_passes(120)
    assert importer("sync", "--client", "globex").code == 0
    return importer


def test_each_clients_numbers_are_the_sums_of_its_own_runs(make_importer: MakeImporter) -> None:
    """As `runs list` shows them; runs of another client, and of an earlier day, do not count."""
    importer = two_clients(make_importer)
    recorded = importer("runs", "list", "--json").lines
    for since, counted in (("7d", recorded), ("1d", recorded[:1])):
        reported = {one["client"]: one for one in importer("report", "--since", since, "--json").lines}
        assert [*reported] == ["acme", "globex"]
        for client, one in reported.items():
            own = [run for run in counted if run["client"] == client]
            assert one["runs"] == len(own)
            assert one["contacts_pushed"] == sum(run["contacts_pushed"] for run in own)
            assert one["opted_in"] == sum(run["opt_ins"] for run in own)
            assert sum(one["contacts_by_day"].values()) == one["contacts_pushed"]
    assert recorded[0]["contacts_pushed"] > 0


def test_the_report_tells_of_syncs_comparisons_and_dead_letters(make_importer: MakeImporter) -> None:
    """When each list was last synced and compared, with what result, and what could not be imported."""
    importer = make_importer(size=20)
    importer.sandbox.audience().add(email_address="not an address")
    assert importer("sync").code == 3
    importer("reconcile")
    line = importer("report", "--json").line
    assert line["contacts_pushed"] == len(imported_ids(importer))
    assert (line["dead_letters_opened"], line["dead_letters_open"]) == (1, 1)
    (part,) = line["lists"]
    assert part["comparison"] == "both sides matched"
    assert part["last_synced"] <= part["last_compared"]
    text = importer("report").out
    assert "1 opened, 1 open now" in text
    assert "both sides matched" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_csv_goes_to_standard_output_a_row_for_each_list(make_importer: MakeImporter) -> None:
    """With the numbers of the document, for a spreadsheet."""
    importer = two_clients(make_importer)
    rows = list(csv.DictReader(io.StringIO(importer("report", "--csv").out)))
    parts = [part for one in importer("report", "--json").lines for part in one["lists"]]
    assert [(row["client"], row["list_key"]) for row in rows] == [("acme", "0000000000"), ("globex", "0000000001")]
    assert [int(row["contacts_pushed"]) for row in rows] == [part["contacts_pushed"] for part in parts]


def test_the_page_is_written_to_one_file_for_its_owner(make_importer: MakeImporter) -> None:
    """And replaces that of last week; nothing else is left beside it, and standard output stays empty."""
    importer = two_clients(make_importer)
    files = {path.name for path in importer.folder.iterdir()}
    path = importer.folder / "report.html"
    path.write_text("last week's", encoding="utf-8")
    result = importer("report", "--client", "acme", "--html", str(path))
    assert (result.code, result.out) == (0, "")
    page = path.read_text(encoding="utf-8")
    assert "<svg" in page
    assert "acme" in page
    assert "globex" not in page
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {one.name for one in importer.folder.iterdir()} == {*files, "report.html"}


def test_the_page_and_another_form_can_be_had_in_one_call(make_importer: MakeImporter) -> None:
    """The file for people, the line for programs."""
    importer = two_clients(make_importer)
    path = importer.folder / "report.html"
    assert len(importer("report", "--json", "--html", str(path)).lines) == 2
    assert path.exists()


def test_a_client_that_left_the_settings_is_reported_while_it_has_runs(make_importer: MakeImporter) -> None:
    """What was done for it in the period is not forgotten with its table; its name alone finds it later, too."""
    importer = two_clients(make_importer)
    configure_clients(importer, ["acme"])
    assert [one["client"] for one in importer("report", "--json").lines] == ["acme", "globex"]
    time_passes(10 * DAY)
    assert [one["client"] for one in importer("report", "--json").lines] == ["acme"]
    assert importer("report", "--client", "globex", "--json").line["runs"] == 0


def test_before_the_first_sync_there_is_nothing_to_report(make_importer: MakeImporter) -> None:
    """That is said, and no state file and no page is made."""
    importer = make_importer(size=0)
    result = importer("report", "--html", str(importer.folder / "report.html"))
    assert (result.code, result.out) == (0, "")
    assert "nothing is synced yet" in result.err
    assert not importer.db.exists()
    assert not (importer.folder / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--since", "last week"], "not understood"),
        (["--since", "3m"], "minutes or months"),
        (["--since", "2999-01-01"], "in the future"),
        (["--client", "acmee"], "did you mean acme"),
        (["--json", "--csv"], "cannot be used together"),
        (["--html", "no/such/folder/report.html"], "cannot be written"),
        (["--html", "/"], "it is not a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_reported_is_2_with_words(make_importer: MakeImporter, options: list[str], words: str) -> None:
    """And nothing is printed."""
    importer = make_importer(size=3)
    importer("sync")
    result = importer("report", *options)
    assert (result.code, result.out) == (2, "")
    assert words in result.err


@pytest.mark.parametrize("since", ["1970-01-01", "0001-01-02T00:00:00+00:00", "0001-01-01T00:00:00+12:00", "now"])
def test_a_period_may_be_as_long_or_short_as_it_likes(make_importer: MakeImporter, since: str) -> None:
    """The days that are shown begin with the log."""
    importer = make_importer(size=3)
    importer("sync")
    result = importer("report", "--since", since, "--json")
    assert result.code == 0
    assert len(result.line["contacts_by_day"]) == 1
