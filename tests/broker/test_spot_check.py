"""What workers pushed is read back by the coordinator's next run, as what it pushes itself."""

from __future__ import annotations

import pytest
from passing import time_passes

from broker.conftest import SYNC, Cluster


def test_contacts_that_workers_pushed_are_read_back_by_the_next_run(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From several pages, each with an outcome of its own."""
    importer = cluster.importer
    monkeypatch.setenv("MCIMPORT_BROKER", importer.environment["MCIMPORT_BROKER"])
    importer.config.write_text(
        importer.config.read_text().replace("spot_check = 0", "spot_check = 10") + "mailchimp.window = 4\n"
    )
    for number in range(10):
        importer.sandbox.audience().add(email_address=f"m{number}@example.com")
        time_passes(60)
    cluster.start_ready_workers()
    assert importer(*SYNC).code == 0
    importer.sandbox.delete_contacts(list(importer.sandbox.contacts())[:3])
    time_passes(3_600)
    result = importer(*SYNC, "--json")
    assert result.code == 0, result.err
    assert (result.line["spot_check"]["accepted"], result.line["spot_check"]["missing"]) == (10, 3)
