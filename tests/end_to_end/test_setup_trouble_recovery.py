"""The operator's whole path, with the real commands: set up, scheduled, in trouble, told of it, mended, well again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import CLIENT, CommandResult, Importer, MakeImporter, WebhookReceiver, configure_clients
from passing import time_passes

HOUR = 3_600


class Operator:
    """Two clients of one agency, set up as the README says; keys come from the environment, as under cron.

    What cron does in the first hour of trouble is a process of its own, of which all that is printed is seen.
    """

    def __init__(self, importer: Importer, receiver: WebhookReceiver, environment: pytest.MonkeyPatch) -> None:
        self.importer = importer
        self.clients = configure_clients(importer, ["acme", "globex"], size=40)
        importer.config.unlink()
        importer.environment |= {
            "MCIMPORT_CONFIG": str(importer.config),
            "MCIMPORT_DB": str(importer.db),
            "MCIMPORT_MAILCHIMP_URL": importer.sandbox.mailchimp_url,
            "MCIMPORT_OMETRIA_URL": importer.sandbox.ometria_url,
            "WEBHOOK_URL": f"{receiver.url}/hook",
        }
        for name, client in self.clients.items():
            importer.environment[f"{name.upper()}_MAILCHIMP_KEY"] = client["mailchimp_key"]
            importer.environment[f"{name.upper()}_OMETRIA_KEY"] = client["ometria_key"]
        for name, value in importer.environment.items():
            environment.setenv(name, value)

    def types(self, *arguments: str) -> CommandResult:
        return self.importer(*arguments, bare=True)

    def lines(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """A line of JSON a client."""
        return {line["client"]: line for line in self.types(*arguments, "--json").lines}

    def an_hour_passes(self, *, in_process: bool = True) -> CommandResult:
        """What cron's line does."""
        time_passes(HOUR)
        begin = self.importer if in_process else self.importer.in_a_process
        return begin("sync", "--quiet", "--log-format", "logfmt", bare=True)

    def listed(self, name: str) -> Any:
        client = self.clients[name]
        return self.importer.sandbox.audience(client["list_key"], client["mailchimp_key"])

    def held(self, name: str) -> set[str]:
        """The addresses that a client's Ometria holds as opted in."""
        contacts = self.importer.sandbox.contacts(self.clients[name]["ometria_key"]).values()
        return {one["email"] for one in contacts if one["marketing_optin"] == "EXPLICITLY_OPTEDIN"}


def test_an_operator_sets_up_two_clients_and_is_told_of_trouble_and_of_its_end(
    make_importer: MakeImporter, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an empty folder to a healthy schedule, through a revoked key and a refused contact, and back."""
    importer = make_importer()
    importer.configure(CLIENT)
    one = Operator(importer, receiver, monkeypatch)

    # Set up: init for the first client, its block once more for the second, and who is to be told.
    list_key = one.clients["acme"]["list_key"]
    given = ("--mailchimp-key", "env:ACME_MAILCHIMP_KEY", "--ometria-key", "env:ACME_OMETRIA_KEY")
    assert one.types("init", "--client", "acme", "--list", list_key, *given).code == 0
    settings = importer.config.read_text(encoding="utf-8")
    block = settings[settings.index("[clients.acme]") :]
    second = (
        block.replace("acme", "globex").replace("ACME", "GLOBEX").replace(list_key, one.clients["globex"]["list_key"])
    )
    told = settings.replace('# webhook_url = "env:WEBHOOK_URL"', 'webhook_url = "env:WEBHOOK_URL"')
    importer.config.write_text(told.replace("requests_per_second = 8 ", "requests_per_second = 500 ") + second)
    checked = one.types("check")
    assert checked.code == 0, checked.out
    assert "2 lists were never synced" in checked.out

    # The first sync, and an hour in which nothing happens: not a word.
    assert one.types("sync").code == 0
    assert one.an_hour_passes() == CommandResult(0, "", "")
    assert one.types("status").code == 0
    assert receiver.received == []

    # One client's key is revoked: the other is carried, one message is sent, and not another the hour after.
    revoked = one.clients["globex"]["list_key"]
    importer.sandbox.settings.fault = lambda request: "401" if revoked in request.path else None
    for name in one.clients:
        one.listed(name).add(email_address=f"new@{name}.example", status="subscribed")
    hourly = one.an_hour_passes(in_process=False)
    assert hourly.code == 1
    assert "level=error event=failed client=globex" in hourly.err
    assert "client=acme" not in hourly.err
    assert one.an_hour_passes().code == 1
    assert [(each["event"], each["client"]) for each in receiver.documents] == [("failure", "globex")]
    assert "new@acme.example" in one.held("acme")

    # The reason, found where one looks first.
    standings = one.lines("status")
    assert "it does not accept the API key" in standings["globex"]["last_run_error"]
    assert standings["acme"]["last_run_status"] == "completed"
    assert "Check the Mailchimp API key" in one.types("check").out

    # The key is renewed; but Ometria refuses one of those who had to wait.
    importer.sandbox.settings.fault = None
    person = one.listed("globex").add(email_address="odd@globex.example", status="subscribed")
    importer.sandbox.settings.rejects = {f"{revoked}-{person['contact_id']}"}
    assert one.an_hour_passes().code == 3
    assert "new@globex.example" in one.held("globex")
    assert one.types("status").code == 3
    assert [(each["event"], each["kind"]) for each in receiver.documents[1:]] == [
        ("recovery", "failed"),
        ("failure", "dead_letters"),
    ]
    (letter,) = one.types("dlq", "list", "--json").lines
    assert letter["client"] == "globex"

    # The mend, the replay, and the word of recovery.
    importer.sandbox.settings.rejects = set()
    assert one.types("dlq", "replay").code == 0
    assert "odd@globex.example" in one.held("globex")
    assert [(each["event"], each["client"]) for each in receiver.documents][3:] == [("recovery", "globex")]
    assert [receiver.documents[end]["since"] for end in (1, 3)] == [
        receiver.documents[begin]["since"] for begin in (0, 2)
    ]
    assert one.an_hour_passes() == CommandResult(0, "", "")
    assert one.types("status").code == 0
    assert "@" not in json.dumps(receiver.documents)
