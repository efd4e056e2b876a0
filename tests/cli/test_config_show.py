"""`config show`: every setting in force with where it comes from, of a broken file as far as it goes, and no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import CommandResult, Importer, MakeImporter

from mcimport.config.origins import find_origins
from mcimport.config.schema import File

MAILCHIMP_KEY = "0123456789abcdef0123456789abcdef-us6"
TWO = f"""\
[mailchimp]
window = 500

[notify]
webhook_url = "https://hooks.example/T0P/s3cret"

[engine]
broker = "amqps://user:pa55word@broker.example/"

[clients.acme]
lists = ["1a2d7ebf82"]
mailchimp_api_key = "{MAILCHIMP_KEY}"
ometria_api_key = "env:ACME_OMETRIA_KEY"
ometria.requests_per_second = 4

[clients.globex]
lists = ["9f8e7d6c5b", "0a1b2c3d4e"]
mailchimp_api_key = "file:globex-mailchimp"
ometria_api_key = "env:GLOBEX_OMETRIA_KEY"
mailchimp.window = 100
"""
SECRETS = (MAILCHIMP_KEY, "0123", "us6", "hooks.example", "s3cret", "pa55word", "broker.example", "om3tria")


@pytest.fixture(name="importer")
def an_importer(make_importer: MakeImporter) -> Importer:
    """Two clients, each key from another place."""
    importer = make_importer()
    importer.config.write_text(TWO)
    importer.folder.joinpath("globex-mailchimp").write_text(f"{MAILCHIMP_KEY}\n")
    importer.environment = {"ACME_OMETRIA_KEY": "om3tria"}
    return importer


def settings(result: CommandResult, client: str | None = None) -> dict[str, dict[str, Any]]:
    return {line["setting"]: line for line in result.lines if line["client"] == client}


def test_each_setting_says_its_value_and_where_it_comes_from(importer: Importer) -> None:
    """A default, a line of the file, a client's own line, a variable."""
    result = importer.in_a_process(
        "config", "show", "--json", environment={"MCIMPORT_OMETRIA_URL": importer.sandbox.ometria_url}
    )
    assert (result.code, result.err) == (0, "")
    shared = settings(result)
    assert shared["[mailchimp] window"]["value"] == "500"
    assert (shared["[mailchimp] window"]["source"], shared["[mailchimp] window"]["line"]) == ("file", 2)
    assert shared["[mailchimp] window"]["file"] == str(importer.config)
    assert (shared["[mailchimp] timeout"]["value"], shared["[mailchimp] timeout"]["source"]) == ("120", "default")
    assert (shared["[state] keep"]["value"], shared["[notify] overdue"]["value"]) == ('"90d"', "three missed rounds")
    assert shared["[ometria] url"]["value"] == f'"{importer.sandbox.ometria_url}"'
    assert shared["[ometria] url"]["variable"] == "MCIMPORT_OMETRIA_URL"
    own = settings(result, "acme")["[clients.acme.ometria] requests_per_second"]
    assert (own["value"], own["line"]) == ("4", 14)


def test_a_setting_of_every_model_is_shown(importer: Importer) -> None:
    """None is forgotten, and none is shown twice."""
    names = [line["setting"] for line in importer.in_a_process("config", "show", "--json").lines]
    tables = {name: field.default for name, field in File.model_fields.items() if name not in ("fields", "clients")}
    expected = {f"[{table}] {name}" for table, default in tables.items() for name in type(default).model_fields}
    assert expected <= set(names)
    assert len(names) == len(set(names))


def test_no_character_of_a_secret_is_shown(importer: Importer) -> None:
    """Of keys, addresses and passwords, only where they are and whether they are there."""
    for arguments in (["config", "show"], ["config", "show", "--json"], ["config", "show", "--client", "acme"]):
        result = importer.in_a_process(*arguments)
        assert [secret for secret in SECRETS if secret in result.out + result.err] == []
    lines = {line["setting"]: line["value"] for line in importer.in_a_process("config", "show", "--json").lines}
    assert lines["[notify] webhook_url"] == "written in the file, hidden"
    assert lines["[engine] broker"] == "written in the file, hidden"
    assert lines["[clients.acme] mailchimp_api_key"] == "written in the file, hidden"
    assert lines["[clients.acme] ometria_api_key"] == "env:ACME_OMETRIA_KEY (set)"
    assert lines["[clients.globex] ometria_api_key"] == "env:GLOBEX_OMETRIA_KEY (not set)"
    assert lines["[clients.globex] mailchimp_api_key"] == "file:globex-mailchimp (readable)"


@pytest.mark.parametrize(
    "line",
    [
        f'ometria_api_key = "env:{MAILCHIMP_KEY}"',
        f'ometria_api_key = "env:a{MAILCHIMP_KEY[:32]}"',
        f'ometria_api_key = "file:{MAILCHIMP_KEY}"',
        f'ometria_api_key = "k"\nometria.account = "{MAILCHIMP_KEY}"',
        f'ometria_api_key = "k"\nometria.batch = "{MAILCHIMP_KEY}"',
        f'ometria_api_key = "k"\nometria.url = "https://{MAILCHIMP_KEY}:x@example.com"',
        'ometria_api_key = "k"\nometria.collection = "https://hooks.example/T0P/s3cret"',
        f'ometria_api_key = "k"\n{MAILCHIMP_KEY} = 5',
        f'ometria_api_key = "{MAILCHIMP_KEY}',
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown_either(importer: Importer, line: str) -> None:
    """Behind `env:`, in another setting, or in a line that is no TOML."""
    importer.config.write_text(f'[clients.acme]\nlists = ["1a2d7ebf82"]\nmailchimp_api_key = "env:A"\n{line}\n')
    result = importer.in_a_process("config", "show")
    assert "[clients.acme] lists" in result.out
    assert [secret for secret in ("0123456789abcdef", "hooks.example", "s3cret") if secret in result.out] == []


def test_no_setting_shows_a_key_that_was_written_there_by_mistake(tmp_path: Path) -> None:
    """Whichever it is: of all clients, or a client's own."""
    for table, default in {name: field.default for name, field in File.model_fields.items()}.items():
        for name in getattr(type(default), "model_fields", {}):
            for header in (table, f"clients.acme.{table}"):
                for value in (f'"{MAILCHIMP_KEY}"', f'["{MAILCHIMP_KEY}"]', f'"https://x:{MAILCHIMP_KEY}@example.com"'):
                    (tmp_path / "mcimport.toml").write_text(f"[{header}]\n{name} = {value}\n")
                    origins = find_origins(config=None, db=None, environ={}, cwd=tmp_path)
                    shown = [*origins.shared, *origins.clients.get("acme", ())]
                    assert not [one for one in shown if "0123456789" in one.value + one.problem], header


def test_a_file_that_cannot_be_read_is_said_of_a_key(importer: Importer) -> None:
    """With one that holds no key, the mend is another."""
    importer.folder.joinpath("globex-mailchimp").unlink()
    name = "[clients.globex] mailchimp_api_key"
    shown = settings(importer.in_a_process("config", "show", "--json"), "globex")
    assert shown[name]["value"] == "file:globex-mailchimp (not readable)"
    importer.folder.joinpath("globex-mailchimp").write_text("two words\n")
    shown = settings(importer.in_a_process("config", "show", "--json"), "globex")
    assert shown[name]["value"] == "file:globex-mailchimp (readable, but not usable)"


def test_people_see_what_is_shared_once_and_of_each_client_its_own(importer: Importer) -> None:
    """A thousand clients do not repeat sixty lines each."""
    result = importer.in_a_process("config", "show")
    assert result.code == 0
    assert result.out.count("[mailchimp] window") == 1
    assert result.out.count("[ometria] batch") == 1
    own = result.out.partition("Only for the client globex:")[2].strip().splitlines()
    assert [line.split("  ")[0] for line in own] == [
        "setting",
        "[clients.globex] lists",
        "[clients.globex] mailchimp_api_key",
        "[clients.globex] ometria_api_key",
        "[clients.globex.mailchimp] window",
    ]


def test_for_one_client_everything_in_force_is_shown_with_whose_it_is(importer: Importer) -> None:
    """Its own line replaces the shared one; nothing of another client is shown."""
    result = importer.in_a_process("config", "show", "--client", "globex")
    lines = [line.rstrip() for line in result.out.splitlines()]
    assert result.code == 0
    assert [line for line in lines if " window" in line and "100" in line and line.endswith("line 20, its own")]
    assert [line for line in lines if "webhook_url" in line and line.endswith("line 5, shared")]
    assert [line for line in lines if "[mailchimp] window" in line] == []
    assert "acme" not in result.out


@pytest.mark.parametrize("width", [60, 80])
def test_no_address_is_broken_on_a_narrow_screen_and_a_setting_stays_a_line(importer: Importer, width: int) -> None:
    """What does not fit beside its setting is whole below it, and there are no blocks."""
    address = "https://a-proxy.of-some-length.example.com:8443/v2"
    environment = {"COLUMNS": str(width), "MCIMPORT_OMETRIA_URL": address, "MCIMPORT_DB": f"{'folder/' * 4}state.db"}
    result = importer.in_a_process("config", "show", bare=True, environment=environment)
    lines = result.out.splitlines()
    assert f'  "{address}"' in lines
    assert [line for line in lines if "MCIMPORT_OMETRIA_URL" in line and "[ometria] url" in line]
    assert [line for line in lines if len(line.split()) == 4 and line.startswith("[ometria] batch ")]
    assert max(map(len, lines)) <= width or str(importer.folder) in max(lines, key=len)


def test_a_client_that_there_is_not_is_refused_with_what_was_meant(importer: Importer) -> None:
    """Exit 2, as everywhere."""
    result = importer.in_a_process("config", "show", "--client", "globec")
    assert (result.code, "did you mean globex?" in result.err) == (2, True)


def test_the_files_that_were_looked_for_are_listed_in_order(importer: Importer) -> None:
    """Which was taken, and which was then no longer looked for; the state file likewise."""
    result = importer.in_a_process("config", "show", "--json", bare=True, environment={"MCIMPORT_DB": "own.db"})
    config, db = result.lines[:2]
    users = importer.folder / ".config" / "mcimport" / "mcimport.toml"
    assert [(place["place"], place["found"]) for place in config["looked_for"]] == [
        ("--config", "not given"),
        ("MCIMPORT_CONFIG", "not set"),
        (str(importer.config), "taken"),
        (str(users), "not looked at"),
    ]
    assert (config["setting"], config["value"], config["source"]) == ("--config", str(importer.config), "default")
    assert (db["value"], db["source"], db["variable"]) == (
        str(importer.folder / "own.db"),
        "environment",
        "MCIMPORT_DB",
    )
    importer.config.rename(importer.folder / "other.toml")
    typed = importer.in_a_process(
        "--config", "other.toml", "config", "show", "--json", bare=True, environment={"MCIMPORT_CONFIG": "gone.toml"}
    )
    found = {place["place"]: place["found"] for place in typed.lines[0]["looked_for"]}
    assert found["--config"] == f"{importer.folder / 'other.toml'}: taken"
    assert found["MCIMPORT_CONFIG"] == found[str(importer.config)] == "not looked at"
    assert (typed.lines[0]["source"], typed.lines[1]["source"]) == ("option", "default")


def test_a_value_that_is_refused_is_named_beside_the_settings_that_are_not(importer: Importer) -> None:
    """All other lines stand as they are, and the error is the one of every command."""
    importer.config.write_text(
        TWO.replace("window = 500", "window = 5000").replace("requests_per_second = 4", "batc = 4")
    )
    result = importer.in_a_process("config", "show", "--json")
    window = settings(result)["[mailchimp] window"]
    assert (window["value"], window["problem"]) == ("not usable", "must be a whole number from 1 to 1000")
    assert settings(result, "globex")["[clients.globex.mailchimp] window"]["value"] == "100"
    assert result.code == 2
    assert "[clients.acme.ometria] batc: unknown setting; did you mean batch?" in result.err


@pytest.mark.parametrize("broken", ["[mailchimp", "window = = 5", 'x = """', "x = [1,", "[mailchimp]\nwindow = 5"])
def test_a_file_that_is_no_toml_is_shown_as_far_as_it_goes(importer: Importer, broken: str) -> None:
    """The line is named, and everything around it is shown."""
    importer.config.write_text(TWO.replace("[clients.acme]", f"{broken}\n\n[clients.acme]"))
    result = importer.in_a_process("config", "show", "--json")
    assert (result.code, "mcimport.toml: line " in result.err) == (2, True)
    assert settings(result)["[mailchimp] window"]["value"] == "500"
    assert settings(result, "globex")["[clients.globex] lists"]["value"] == '["9f8e7d6c5b", "0a1b2c3d4e"]'


def test_a_client_without_its_lists_says_that_they_are_missing(importer: Importer) -> None:
    """What has no default is shown all the same."""
    importer.config.write_text(TWO.replace('lists = ["1a2d7ebf82"]\n', ""))
    shown = settings(importer.in_a_process("config", "show", "--json"), "acme")["[clients.acme] lists"]
    assert (shown["value"], shown["problem"].startswith("is missing")) == ("missing", True)


def test_without_any_settings_the_places_and_the_defaults_are_shown(importer: Importer) -> None:
    """Whoever looks for the reason sees where a file would be found."""
    importer.config.unlink()
    result = importer.in_a_process("config", "show", bare=True)
    assert result.code == 2
    assert "no configuration found" in result.err
    assert str(importer.folder / ".config" / "mcimport" / "mcimport.toml") in result.out
    assert "[retry] retries" in result.out


@pytest.mark.parametrize(
    ("path", "found"), [('"a.toml"', "not usable, because of what is around the path"), ("gone.toml", "but not there")]
)
def test_a_variable_that_leads_nowhere_is_named_with_the_reason(importer: Importer, path: str, found: str) -> None:
    """No other file takes its place."""
    result = importer.in_a_process("config", "show", "--json", bare=True, environment={"MCIMPORT_CONFIG": path})
    places = {place["place"]: place["found"] for place in result.lines[0]["looked_for"]}
    assert (result.code, found in places["MCIMPORT_CONFIG"]) == (2, True)
    assert places[str(importer.config)] == "not looked at"


def test_two_variables_make_a_client_that_is_shown(importer: Importer) -> None:
    """Its keys come from the variables, and its lists from what is typed."""
    importer.config.unlink()
    environment = {"MCIMPORT_MAILCHIMP_API_KEY": MAILCHIMP_KEY, "MCIMPORT_OMETRIA_API_KEY": "om3tria"}
    result = importer.in_a_process("config", "show", "--json", bare=True, environment=environment)
    own = settings(result, "default")
    assert result.code == 0
    assert own["mailchimp_api_key"]["value"] == "env:MCIMPORT_MAILCHIMP_API_KEY (set)"
    assert own["mailchimp_api_key"]["variable"] == "MCIMPORT_MAILCHIMP_API_KEY"
    assert own["lists"]["value"] == "any list that is typed"
