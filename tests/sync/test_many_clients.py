"""Many clients in one call: each at its own pace and peril, and results as they come."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Importer, MakeImporter, configure_clients
from passing import time_passes

from mcimport.sandbox.request_log import Request


def imported_ids_of(importer: Importer, client: dict[str, str]) -> set[str]:
    """Whom a client's Ometria account holds; each must be of that client's own list."""
    contacts = importer.sandbox.contacts(client["ometria_key"])
    assert all(contact_id.startswith(client["list_key"]) for _, contact_id in contacts)
    return {contact_id.split("-", 1)[1] for _, contact_id in contacts}


def expected_ids_of(importer: Importer, client: dict[str, str]) -> set[str]:
    listed = importer.sandbox.audience(client["list_key"], client["mailchimp_key"]).listed()
    return {str(one.get("contact_id") or one["web_id"]) for one in listed if one["email_address"]}


def statuses(lines: list[dict[str, Any]]) -> dict[str, str]:
    return {line["client"]: line["status"] for line in lines}


def test_each_client_is_carried_to_its_own_account(make_importer: MakeImporter) -> None:
    """Nobody of one client is ever in another's Ometria."""
    importer = make_importer()
    clients = configure_clients(importer, [f"c{number}" for number in range(12)])
    assert importer("sync").code == 0
    for client in clients.values():
        assert imported_ids_of(importer, client) == expected_ids_of(importer, client) != set()


def test_chosen_clients_alone_are_synced(make_importer: MakeImporter) -> None:
    """`--client` may be repeated; the others are not even asked for."""
    importer = make_importer()
    clients = configure_clients(importer, ["one", "two", "three"])
    result = importer("sync", "--client", "one", "--client", "three", "--json")
    assert statuses(result.lines) == {"one": "completed", "three": "completed"}
    assert clients["two"]["mailchimp_key"] not in {request.key for request in importer.sandbox.requests}


def revoked(importer: Importer, client: dict[str, str]) -> None:
    importer.sandbox.renew_ometria_key(client["ometria_key"], "f" * 32)


def dead(importer: Importer, client: dict[str, str]) -> None:
    config = importer.config.read_text(encoding="utf-8")
    own = config.index(client["mailchimp_key"])
    url = f'mailchimp.url = "{importer.sandbox.mailchimp_url}"'
    importer.config.write_text(
        config[:own] + config[own:].replace(url, 'mailchimp.url = "http://127.0.0.1:9/3.0"', 1), encoding="utf-8"
    )


@pytest.mark.parametrize("trouble", [revoked, dead])
def test_one_clients_trouble_is_its_own(make_importer: MakeImporter, trouble: Any) -> None:
    """A revoked key or a dead service fails that client, with exit 1; all others are carried."""
    importer = make_importer()
    clients = configure_clients(importer, ["a", "b", "c", "d"])
    trouble(importer, clients["b"])
    result = importer("sync", "--json")
    assert result.code == 1
    assert statuses(result.lines) == {"a": "completed", "b": "failed", "c": "completed", "d": "completed"}
    for name in "acd":
        assert imported_ids_of(importer, clients[name]) == expected_ids_of(importer, clients[name])


def test_an_unset_key_speaks_for_its_client_alone(make_importer: MakeImporter) -> None:
    """Exit 2 for the call, and everybody else is carried."""
    importer = make_importer()
    clients = configure_clients(importer, ["a", "b", "c"])
    text = importer.config.read_text(encoding="utf-8").replace(
        f'"{clients["a"]["ometria_key"]}"', '"env:NO_SUCH_VARIABLE"'
    )
    importer.config.write_text(text, encoding="utf-8")
    result = importer("sync", "--json")
    assert result.code == 2
    assert statuses(result.lines) == {"a": "failed", "b": "completed", "c": "completed"}


def test_a_full_queue_of_one_client_holds_up_nobody_else(make_importer: MakeImporter) -> None:
    """It is waited for while the others are carried, and told of, to their end."""
    importer = make_importer()
    clients = configure_clients(importer, ["a", "b", "c", "d", "e"])
    others = [client for name, client in clients.items() if name != "a"]

    def decide(request: Request) -> str | None:
        """The queue is full until everybody else is there."""
        if request.service == "ometria" and request.key == clients["a"]["ometria_key"]:
            return None if all(imported_ids_of(importer, one) for one in others) else "429-retry-after"
        return None

    importer.sandbox.settings.fault = decide
    result = importer("sync")
    assert result.code == 0
    assert imported_ids_of(importer, clients["a"]) == expected_ids_of(importer, clients["a"])
    told = [line.split()[0] for line in result.err.splitlines() if " imported, in " in line]
    assert told[-1] == "a"
    assert sorted(told) == ["a", "b", "c", "d", "e"]


def test_the_call_ends_with_a_table_the_worst_first(make_importer: MakeImporter) -> None:
    """Who looks at the last lines alone sees what went wrong, and what it all came to."""
    importer = make_importer()
    clients = configure_clients(importer, ["a", "b", "c"])
    revoked(importer, clients["c"])
    last = importer("sync").err.splitlines()[-5:]
    assert last[0].split()[:1] == ["list"]
    assert last[1].split()[:3] == ["c", clients["c"]["list_key"], "failed"]
    assert last[4].startswith("3 lists: 1 failed, 2 completed; ")


def test_a_wrong_line_among_a_thousand_clients_is_named(make_importer: MakeImporter) -> None:
    """By client and setting; nothing is asked of anybody."""
    importer = make_importer()
    clients = "".join(
        f'[clients.c{number}]\nlists = ["{number:010x}"]\nmailchimp_api_key = "{number:032x}-us6"\n'
        f'ometria_api_key = "{number:032x}"\n'
        for number in range(1_000)
    )
    importer.config.write_text(clients.replace('lists = ["00000002bc"]', 'lists = ["not a key"]'), encoding="utf-8")
    result = importer("sync")
    assert result.code == 2
    assert "c700" in result.err
    assert "lists" in result.err
    assert importer.sandbox.requests == []


def test_an_idle_list_starts_no_workers(make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request a sweep, in the thread of its client."""
    import threading  # noqa: PLC0415 - to listen to what is started

    importer = make_importer(size=600)
    importer("sync")
    time_passes(300)
    importer("sync")
    importer.sandbox.clear_requests()
    started: list[str] = []
    begin = threading.Thread.start

    def noting(thread: threading.Thread) -> None:
        started.append(thread.name)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", noting)
    assert importer("sync").code == 0
    assert [name for name in started if name.startswith(("window", "ThreadPool", "client"))] == []
    assert len(importer.sandbox.requests) == 2
