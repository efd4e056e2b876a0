"""Prometheus text: what each list's last run did, for a collector that reads it whenever it likes."""

from __future__ import annotations

import stat
import subprocess
import sys

from conftest import CONFIG, Importer, MakeImporter, configure_clients, imported_ids
from prometheus_client.parser import text_string_to_metric_families

METRICS = '[metrics]\ntextfile = "mcimport.prom"\n\n'


def told(importer: Importer) -> dict[tuple[str, str, str, str], float]:
    """Name, client, list and side to value, as Prometheus' own parser reads the file."""
    text = (importer.folder / "mcimport.prom").read_text(encoding="utf-8")
    return {
        (
            one.name.removeprefix("mcimport_"),
            one.labels["client"],
            one.labels["list_key"],
            one.labels.get("side", ""),
        ): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_a_sync_leaves_what_it_did_for_the_collector(make_importer: MakeImporter) -> None:
    """Each of the numbers that the README names, for the list, and by side where there are two."""
    importer = make_importer(size=120)
    importer.configure(METRICS + CONFIG)
    importer.sandbox.audience().add(email_address="not an address")
    assert importer("sync").code == 3
    line, seen = importer("status", "--json").line, told(importer)
    of_list = {(name, side): value for (name, _, _, side), value in seen.items()}
    assert {(client, key) for _, client, key, _ in seen} == {("acme", importer.sandbox.list_key)}
    assert of_list["last_run_contacts", ""] == len(imported_ids(importer))
    assert of_list["last_run_rejected", ""] == of_list["dead_letters_open", ""] == line["dead_letters"] == 1
    assert of_list["last_run_success", ""] == 1
    assert of_list["last_run_requests", "mailchimp"] == sum(
        one.service == "mailchimp" for one in importer.sandbox.requests
    )
    assert of_list["sync_point_timestamp_seconds", ""] <= of_list["last_success_timestamp_seconds", ""]
    assert 0 <= of_list["sync_point_age_seconds", ""] < 3_600
    assert {("last_run_retries", "ometria"), ("last_run_throttled", "mailchimp"), ("last_run_seconds", "")} <= set(
        of_list
    )


def test_what_was_compared_is_told_by_kind(make_importer: MakeImporter) -> None:
    """When, how many agree, and how many differ in which way."""
    importer = make_importer(size=60, reads_per_second=10**6, settling=0)
    importer.configure(METRICS + CONFIG + "reconcile.settling = 0\n")
    importer("sync")
    assert "reconciled_timestamp_seconds" not in {name for name, *_ in told(importer)}
    importer.sandbox.delete_contacts(list(importer.sandbox.contacts())[:2])
    importer("reconcile")
    text = (importer.folder / "mcimport.prom").read_text(encoding="utf-8")
    counts = {
        one.labels["kind"]: one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.name == "mcimport_reconciled_contacts"
    }
    assert (counts["missing"], counts["stale"], counts["left"]) == (2, 0, 2)
    assert counts["agree"] == len(importer.sandbox.contacts())
    assert any(name == "reconciled_timestamp_seconds" for name, *_ in told(importer))


def test_a_list_that_fails_keeps_the_time_of_its_last_success(make_importer: MakeImporter) -> None:
    """That is what an alarm looks at."""
    importer = make_importer(size=10)
    importer.configure(METRICS + CONFIG)
    importer("sync")
    before = {name[0]: value for name, value in told(importer).items()}
    importer.sandbox.settings.fault = lambda _: "401"
    importer("sync")
    after = {name[0]: value for name, value in told(importer).items()}
    assert after["last_run_success"] == 0
    assert after["last_success_timestamp_seconds"] == before["last_success_timestamp_seconds"]


def test_all_configured_lists_are_told_of_whoever_was_synced(make_importer: MakeImporter) -> None:
    """The file holds the whole state, not this call's share; a client that is gone is not in it."""
    importer = make_importer()
    clients = configure_clients(importer, ["one", "two"])
    text = METRICS + importer.config.read_text()
    importer.config.write_text(text)
    importer("sync")
    importer("sync", "--client", "one")
    assert {client for _, client, _, _ in told(importer)} == set(clients)
    importer.config.write_text(text[: text.index("[clients.two]")])
    importer("sync")
    assert {client for _, client, _, _ in told(importer)} == {"one"}


def test_another_user_may_read_it_and_nobody_reads_half_of_it(make_importer: MakeImporter) -> None:
    """The collector is another user; a new file takes the old one's place, and nothing is left beside it."""
    importer = make_importer(size=10)
    importer.configure(METRICS + CONFIG)
    importer("sync")
    path = importer.folder / "mcimport.prom"
    first = path.stat().st_ino
    with path.open(encoding="utf-8") as half_read:
        importer("sync")
        assert half_read.read().endswith("\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.stat().st_ino != first
    assert [one.name for one in importer.folder.iterdir() if "prom" in one.name] == ["mcimport.prom"]


def test_metrics_that_cannot_be_written_fail_no_run(make_importer: MakeImporter) -> None:
    """It is said in a line; the exit code is that of the run."""
    importer = make_importer(size=10)
    importer.configure(METRICS.replace("mcimport.prom", "nowhere/mcimport.prom") + CONFIG)
    result = importer("sync", "--quiet")
    assert result.code == 0
    assert "nowhere/mcimport.prom cannot be written" in result.err


def test_a_dry_run_writes_none(make_importer: MakeImporter) -> None:
    """It did nothing."""
    importer = make_importer(size=10)
    importer.configure(METRICS + CONFIG)
    importer("sync", "--dry-run")
    assert not (importer.folder / "mcimport.prom").exists()


def test_without_the_extra_it_says_what_to_install(make_importer: MakeImporter) -> None:
    """Before anything is done, where metrics are wanted; where they are not, nothing is missed."""
    importer = make_importer(size=10)
    program = "import sys; sys.modules['prometheus_client'] = None\nfrom mcimport.__main__ import main; main()"
    for settings, code in ((METRICS + CONFIG, 2), (CONFIG, 0)):
        importer.configure(settings)
        result = subprocess.run(
            [sys.executable, "-c", program, *importer.command("sync")[3:]], capture_output=True, text=True, check=False
        )
        assert result.returncode == code, result.stderr
        assert ("'.[metrics]'" in result.stderr) is (code == 2)
