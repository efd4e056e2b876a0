"""`lists`: what each key can see, and which of it is configured and synced."""

from __future__ import annotations

from conftest import Importer, MakeImporter, configure_clients

ANOTHER = "9f8e7d6c5b"


def two_lists(make_importer: MakeImporter) -> Importer:
    """An account with a list that is configured and one that is not."""
    importer = make_importer(size=0)
    sandbox = importer.sandbox
    sandbox.add_account(sandbox.mailchimp_key, sandbox.ometria_key, {sandbox.list_key: 50, ANOTHER: 20})
    return importer


def line_with(text: str, lines: list[str]) -> str:
    (only,) = [line for line in lines if text in line]
    return only


def test_every_list_of_the_account_is_shown_and_what_is_missing_is_ready_to_paste(make_importer: MakeImporter) -> None:
    """With its name, counts, last change, and how far it is synced."""
    importer = two_lists(make_importer)
    before = importer("lists").out.splitlines()
    assert importer("sync").code == 0
    result = importer("lists")
    assert result.code == 0
    mine, other = (line_with(key, result.out.splitlines()) for key in (importer.sandbox.list_key, ANOTHER))
    assert "not yet" in line_with(importer.sandbox.list_key, before)
    assert "not yet" not in mine
    assert "not configured" in other
    assert f'lists = ["{importer.sandbox.list_key}", "{ANOTHER}"]' in result.err


def test_the_json_holds_the_numbers_as_they_are(make_importer: MakeImporter) -> None:
    """One line a list; `members` counts who is subscribed, unsubscribed or cleaned."""
    importer = two_lists(make_importer)
    found = {one["list_key"]: one for one in importer("lists", "--json").lines}
    audience = importer.sandbox.audience()
    subscribed, others = (
        sum(len(audience.with_status(status)) for status in statuses)
        for statuses in (("subscribed",), ("unsubscribed", "cleaned"))
    )
    mine = found[importer.sandbox.list_key]
    assert (mine["members"], mine["subscribed"], mine["configured"]) == (subscribed + others, subscribed, True)
    assert (found[ANOTHER]["configured"], found[ANOTHER]["sync_point"]) == (False, None)


def test_with_the_two_variables_every_list_is_ones_own(make_importer: MakeImporter) -> None:
    """There is no file to paste anything into, and any list may be synced."""
    importer = two_lists(make_importer)
    importer.config.unlink()
    result = importer.in_a_process("lists", environment=importer.variables, bare=True)
    assert result.code == 0
    assert result.out.count("not yet") == 2
    assert "To import" not in result.err


def test_a_key_that_is_refused_costs_no_other_client_its_lists(make_importer: MakeImporter) -> None:
    """The error names the client whose key it is, and no more; the exit code tells."""
    importer = make_importer(size=0)
    clients = configure_clients(importer, ["one", "two"], size=5)
    importer.config.write_text(importer.config.read_text().replace(clients["one"]["mailchimp_key"], "0" * 32 + "-us6"))
    result = importer("lists")
    assert result.code == 1
    assert clients["two"]["list_key"] in result.out
    assert "one: Mailchimp answered 401" in result.err
    assert "two" not in result.err


def test_a_key_that_several_clients_share_is_refused_in_the_name_of_each(make_importer: MakeImporter) -> None:
    """It is asked once, and whoever has it has to mend it."""
    importer = make_importer(size=0)
    clients = configure_clients(importer, ["one", "two"], size=5)
    text = importer.config.read_text()
    for values in clients.values():
        text = text.replace(values["mailchimp_key"], "0" * 32 + "-us6")
    importer.config.write_text(text)
    assert importer("lists").err.count("one, two: Mailchimp answered 401") == 1


def test_a_list_of_another_client_is_never_suggested_to_one_that_shares_the_key(make_importer: MakeImporter) -> None:
    """Pasted, it would send the other's people to this one's Ometria account."""
    importer = two_lists(make_importer)
    text = importer.config.read_text()
    another = text[text.index("[clients.acme]") :].replace("acme", "other").replace(importer.sandbox.list_key, ANOTHER)
    importer.config.write_text(f"{text}\n{another}".replace(importer.sandbox.ometria_key, "f" * 32, 1))
    result = importer("lists", "--client", "acme")
    assert result.code == 0
    assert importer.sandbox.list_key in result.out
    assert ANOTHER not in result.out + result.err
    assert ANOTHER in importer("lists", "--client", "other").out


def test_a_clients_name_in_the_place_of_a_list_is_told(make_importer: MakeImporter) -> None:
    """`mcimport sync acme` is a guess that everybody makes."""
    result = make_importer(size=0)("sync", "acme")
    assert result.code == 2
    assert "--client acme" in result.err
