"""What a run may look up in Ometria is counted over all workers that move its pages."""

from __future__ import annotations

import threading

import pytest
from passing import time_passes

from broker.conftest import SYNC, Cluster
from mcimport.engine.page import held
from mcimport.sandbox.request_log import Request

PENDING = 12


def test_a_runs_look_ups_are_bounded_whoever_moves_its_pages(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that takes over has what the one before it has left."""
    monkeypatch.setattr(held, "LOOK_UPS", 5)
    importer = cluster.importer
    monkeypatch.setenv("MCIMPORT_BROKER", importer.environment["MCIMPORT_BROKER"])
    audience = importer.sandbox.audience()
    people = [audience.add(email_address=f"m{number}@example.com") for number in range(PENDING)]
    assert importer("sync").code == 0
    importer.config.write_text(importer.config.read_text() + "mailchimp.window = 4\nmailchimp.connections = 1\n")
    for one in people:
        time_passes(10)
        audience.change(who=[one])
        audience.edit_unseen(one, status="pending")
    time_passes(100)
    importer.sandbox.clear_requests()
    (first,) = cluster.start_ready_workers()
    leaving, pushes = threading.Event(), iter(range(PENDING))

    def leave(one: Request) -> None:
        if one.path == "/push" and next(pushes) == 1:
            leaving.set()

    importer.sandbox.settings.fault = leave

    def replace() -> None:
        assert leaving.wait(60)
        first.leave()
        cluster.start_ready_workers()

    replacing = threading.Thread(target=replace)
    replacing.start()
    result = importer(*SYNC)
    replacing.join()
    assert result.code == 0, result.err
    assert len([one for one in importer.sandbox.requests if "/contacts/" in one.path]) == 5
    assert f"{PENDING - 5} members, neither opted in nor out" in result.err
