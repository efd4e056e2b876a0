"""The loop over clients: what ends one client's work, and what its other lists are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CONFIG
from msgspec.structs import replace

from mcimport.config import Client, load
from mcimport.errors import ConfigError, RetriableError
from mcimport.models.results import ListResult
from mcimport.report.reporter import Reporter
from mcimport.services.connections import ConnectionPool
from mcimport.services.http.shutdown import StopSignal
from mcimport.sync.clients import ClientRunner, ClientWork, OpenClient, SyncSession, by_client


class Reported(Reporter):
    """Collects what a reporter is told of lists that ended."""

    def __init__(self) -> None:
        self.results: list[ListResult] = []

    def ended(self, result: ListResult) -> None:
        self.results.append(result)


@pytest.fixture
def client(tmp_path: Path) -> Client:
    config = tmp_path / "mcimport.toml"
    keys = {"mailchimp_key": "0" * 32 + "-us6", "ometria_key": "1" * 32, "list_key": "1a2d7ebf82"}
    config.write_text(CONFIG.format(**keys, mailchimp_url="http://127.0.0.1:9", ometria_url="http://127.0.0.1:9"))
    config.chmod(0o600)
    return load(config=config, environ={}).clients["acme"]


@pytest.fixture
def session(tmp_path: Path) -> SyncSession:
    stop = StopSignal()
    return SyncSession(tmp_path / "state.db", ConnectionPool(stop), stop, Reported())


def completes(list_key: str) -> Callable[[OpenClient], ListResult]:
    return lambda opened: ListResult(opened.client.name, list_key, "completed")


def raises(_: OpenClient) -> ListResult:
    raise ConfigError("no list is worked on after this")


def run(session: SyncSession, *work: ClientWork, jobs: int = 1) -> list[ListResult]:
    return ClientRunner(session, may_push=True, creates_state=True).run(work, jobs)


def outcomes(results: list[ListResult]) -> list[tuple[str, str]]:
    return [(result.list_key, result.status) for result in results]


def test_each_list_is_told_once_whatever_ends_the_clients_work(client: Client, session: SyncSession) -> None:
    """A list with nothing to tell has no result; those that are left have the error, and none has two results."""
    lists = [("a", lambda _: None), ("b", completes("b")), ("c", raises), ("d", completes("d"))]
    results = run(session, ClientWork(client, lists))
    assert outcomes(results) == [("b", "completed"), ("c", "failed"), ("d", "failed")]
    assert isinstance(session.reporter, Reported)
    assert session.reporter.results == results


def test_after_its_connections_were_closed_a_client_begins_no_other_list(client: Client, session: SyncSession) -> None:
    """The lists that are left have the error that closed them, and are not told that somebody stopped the call."""

    def hangs(opened: OpenClient) -> ListResult:
        opened.services.abort()
        return ListResult(client.name, "a", "failed", error=RetriableError("it hung"))

    results = run(session, ClientWork(client, [("a", hangs), ("b", completes("b"))]))
    assert [(result.list_key, str(result.error)) for result in results] == [("a", "it hung"), ("b", "it hung")]


@pytest.mark.parametrize("jobs", [1, 4])
def test_one_clients_failure_touches_no_other(client: Client, session: SyncSession, jobs: int) -> None:
    """Also where clients run at the same time."""
    others = [replace(client, name=name) for name in ("one", "two", "three")]
    failing = ClientWork(others[1], [("a", raises)])
    work = [ClientWork(others[0], [("a", completes("a"))]), failing, ClientWork(others[2], [("a", completes("a"))])]
    results = run(session, *work, jobs=jobs)
    assert {result.client: result.status for result in results} == {
        "one": "completed",
        "two": "failed",
        "three": "completed",
    }


def test_without_a_state_file_none_is_made_where_none_should_be(client: Client, session: SyncSession) -> None:
    """Replaying and comparing need one; a sync makes it."""
    work = by_client([(client, "a")], lambda key, opened: completes(key)(opened))
    assert outcomes(ClientRunner(session, may_push=True).run(work, 1)) == [("a", "failed")]
    assert not session.db_path.exists()
    assert outcomes(ClientRunner(session, may_push=True, creates_state=True).run(work, 1)) == [("a", "completed")]
