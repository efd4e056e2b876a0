"""What must hold of the configuration: where settings come from, what is refused in which words, what never shows."""

from __future__ import annotations

import json
import string
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from mcimport.config import Client, Settings, load, template, with_flags
from mcimport.config.places import shown_path
from mcimport.config.schema import (
    PERMISSION_WORDS,
    ClientTable,
    Consent,
    File,
    MailchimpSettings,
    OmetriaSettings,
    Retry,
    Shared,
)
from mcimport.config.settings import WHERE_LIST_IDS_ARE
from mcimport.config.template import EXAMPLE
from mcimport.errors import ConfigError
from mcimport.models import CONTACT_FIELDS

KEYS = {"ACME_MAILCHIMP_KEY": "0123abcd-us6", "ACME_OMETRIA_KEY": "ometria-one"}
ACME = """
[clients.acme]
lists = ["1a2d7ebf82"]
mailchimp_api_key = "env:ACME_MAILCHIMP_KEY"
ometria_api_key = "env:ACME_OMETRIA_KEY"
"""
ENV_ONLY = {"MCIMPORT_MAILCHIMP_API_KEY": "0123abcd-us6", "MCIMPORT_OMETRIA_API_KEY": "ometria-one"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with nothing configured, whoever runs the tests."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(home / variable))
    return home


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def loaded(folder: Path, text: str = ACME, environ: Mapping[str, str] = KEYS) -> Settings:
    (folder / "mcimport.toml").write_text(text, encoding="utf-8")
    return load(environ=environ, cwd=folder)


def acme(folder: Path, text: str = "", environ: Mapping[str, str] = KEYS) -> Client:
    return loaded(folder, ACME + text, environ).clients["acme"]


def refusal(folder: Path, text: str, environ: Mapping[str, str] = KEYS) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, environ)
    return str(caught.value)


def another(name: str, *, lists: str = '["1a2d7ebf82"]', ometria: str = "env:ACME_OMETRIA_KEY") -> str:
    return f"""
[clients.{name}]
lists = {lists}
mailchimp_api_key = "env:ACME_MAILCHIMP_KEY"
ometria_api_key = "{ometria}"
"""


# Where settings come from --------------------------------------------------------------------------------------------


def test_flag_comes_before_environment_before_working_directory_before_user_directory(here: Path) -> None:
    """Taking away the first of four files brings up the next."""
    users = platformdirs.user_config_path("mcimport") / "mcimport.toml"
    users.parent.mkdir(parents=True)
    order = [here / "flag.toml", here / "environment.toml", here / "mcimport.toml", users]
    for path in order:
        path.write_text(ACME, encoding="utf-8")
    environ = {**KEYS, "MCIMPORT_CONFIG": "environment.toml"}

    assert load(config=Path("flag.toml"), environ=environ, cwd=here).config_path == order[0]
    assert load(environ=environ, cwd=here).config_path == order[1]
    assert load(environ=KEYS, cwd=here).config_path == order[2]
    order[2].unlink()
    assert load(environ=KEYS, cwd=here).config_path == users


def test_state_file_comes_from_flag_then_environment_then_user_directory(here: Path) -> None:
    """Relative paths begin at the working directory, and an empty variable is none."""
    environ = {**ENV_ONLY, "MCIMPORT_DB": "environment.db"}
    assert load(db=Path("flag.db"), environ=environ, cwd=here).db_path == here / "flag.db"
    assert load(environ=environ, cwd=here).db_path == here / "environment.db"
    default = platformdirs.user_state_path("mcimport") / "mcimport.db"
    assert load(environ={**ENV_ONLY, "MCIMPORT_DB": ""}, cwd=here).db_path == default


def test_user_without_a_home_is_asked_for_a_state_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user may have no home: the state file must not land in a folder called "~"."""
    monkeypatch.setattr(platformdirs, "user_state_path", lambda _: Path("~/.local/state/mcimport"))
    with pytest.raises(ConfigError, match="no state directory") as caught:
        load(environ=ENV_ONLY, cwd=here)
    assert "--db" in caught.value.hint


def test_link_that_leads_nowhere_is_an_error(here: Path) -> None:
    """The configuration is meant to be there: another one must not take its place."""
    (here / "mcimport.toml").symlink_to(here / "gone.toml")
    with pytest.raises(ConfigError, match=r"^mcimport\.toml: cannot be read: No such file"):
        load(environ=ENV_ONLY, cwd=here)


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_file_that_was_named_must_exist(here: Path, how: str) -> None:
    """A mistyped path must not silently give way to another file or to the keys in the environment."""
    (here / "mcimport.toml").write_text(ACME, encoding="utf-8")
    named = {"config": Path("other.toml")} if how == "flag" else {}
    environ = ENV_ONLY | ({"MCIMPORT_CONFIG": "other.toml"} if how == "environment" else {})
    with pytest.raises(ConfigError, match=r"^other\.toml: cannot be read: No such file"):
        load(environ=environ, cwd=here, **named)


def test_folder_in_place_of_the_file_is_an_error(here: Path) -> None:
    """What stands at the file's place is read or complained about, never passed over."""
    (here / "mcimport.toml").mkdir()
    with pytest.raises(ConfigError, match=r"mcimport\.toml: cannot be read"):
        load(environ=ENV_ONLY, cwd=here)


def test_nothing_configured_says_what_to_type_next(here: Path) -> None:
    """Empty variables count as none."""
    with pytest.raises(ConfigError, match=r"^no configuration found$") as caught:
        load(environ=dict.fromkeys(ENV_ONLY, ""), cwd=here)
    assert "mcimport init" in caught.value.hint
    assert all(variable in caught.value.hint for variable in ENV_ONLY)


def test_environment_alone_makes_one_client_that_takes_any_list(here: Path) -> None:
    """Two variables are a whole configuration."""
    found = load(environ=ENV_ONLY, cwd=here)
    client = found.clients["default"]
    assert (list(found.clients), found.config_path) == (["default"], None)
    assert (client.lists, client.any_list) == ((), True)
    assert client.mailchimp_key().get_secret_value() == "0123abcd-us6"
    assert client.ometria_key().get_secret_value() == "ometria-one"


def test_one_of_the_two_variables_is_missed_by_name(here: Path) -> None:
    """The message says which variable to set."""
    client = load(environ={"MCIMPORT_MAILCHIMP_API_KEY": "0123abcd-us6"}, cwd=here).clients["default"]
    with pytest.raises(ConfigError, match="the variable MCIMPORT_OMETRIA_API_KEY is not set"):
        client.ometria_key()


def test_keys_in_the_environment_join_a_file_without_clients(here: Path) -> None:
    """The file's other settings hold for the client of the environment."""
    client = loaded(here, "[mailchimp]\nwindow = 50", ENV_ONLY).clients["default"]
    assert (client.mailchimp.window, client.any_list) == (50, True)


def test_keys_in_the_environment_are_nothing_to_a_file_with_clients(here: Path) -> None:
    """A client of the file never gets a key that was not named for it."""
    found = loaded(here, environ=KEYS | dict.fromkeys(ENV_ONLY, "another-us1"))
    assert list(found.clients) == ["acme"]
    assert found.clients["acme"].mailchimp_key().get_secret_value() == KEYS["ACME_MAILCHIMP_KEY"]


def test_file_without_clients_or_keys_is_refused(here: Path) -> None:
    """The message tells it from having no file at all."""
    assert refusal(here, "[mailchimp]\nwindow = 50", {}) == "mcimport.toml: no client is configured"


def test_byte_order_mark_is_no_error(here: Path) -> None:
    """Some editors write one."""
    (here / "mcimport.toml").write_bytes(b"\xef\xbb\xbf" + ACME.encode())
    assert list(load(environ=KEYS, cwd=here).clients) == ["acme"]


# What is refused, and in which words ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mailchimp]\nwindow 1000", "line 2, column 8: Expected '=' after a key in a key/value pair"),
        ("[mailchimp]\nwindow = ", "line 2, column 10: Invalid value"),
        ("[mailchimp", "line 1, column 11: Expected ']' at the end of a table declaration"),
        ("a = " + "[" * 5000, "brackets are nested too deeply"),
        ("a = " + "9" * 5000, "cannot be read as TOML"),
    ],
)
def test_syntax_error_is_told_with_line_and_column(here: Path, text: str, words: str) -> None:
    """What is no TOML is told as one line, also where Python's reader fails in ways of its own."""
    assert refusal(here, text) == f"mcimport.toml: {words}"


def test_file_in_another_encoding_is_refused(here: Path) -> None:
    """TOML is UTF-8; the bytes are not repeated, nor by an error behind the error."""
    (here / "mcimport.toml").write_bytes("# für Ada".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"^mcimport\.toml: is not UTF-8 text$") as caught:
        load(environ=KEYS, cwd=here)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("table", "line", "words"),
    [
        ("mailchimp", "connections = 0", "must be a whole number from 1 to 10"),
        ("mailchimp", "connections = 11", "must be a whole number from 1 to 10"),
        ("mailchimp", 'connections = "10"', "must be a whole number from 1 to 10"),
        ("mailchimp", "connections = true", "must be a whole number from 1 to 10"),
        ("mailchimp", "connections = 3.0", "must be a whole number from 1 to 10"),
        ("mailchimp", "window = 0", "must be a whole number from 1 to 1000"),
        ("mailchimp", "window = 1001", "must be a whole number from 1 to 1000"),
        ("mailchimp", "timeout = 0", "must be a number above 0, at most 600"),
        ("mailchimp", "timeout = 600.5", "must be a number above 0, at most 600"),
        ("mailchimp", "timeout = nan", "must be a number above 0, at most 600"),
        ("mailchimp", "timeout = true", "must be a number above 0, at most 600"),
        ("mailchimp", 'account = ""', "must be a name in quotes, the same for keys of the same account"),
        ("mailchimp", "url = 3", "must be an address in quotes"),
        ("ometria", "requests_per_second = 0", "must be a number above 0, at most 1000"),
        ("ometria", "requests_per_second = -1", "must be a number above 0, at most 1000"),
        ("ometria", "requests_per_second = inf", "must be a number above 0, at most 1000"),
        ("ometria", "batch = 0", "must be a whole number from 1 to 100"),
        ("ometria", "batch = 101", "must be a whole number from 1 to 100"),
        ("ometria", "welcome_limit = -1", "must be a whole number, 0 or more"),
        ("ometria", "spot_check = 101", "must be a whole number from 0 to 100"),
        ("ometria", 'subscription_events = "old"', 'must be "new", "all" or "none"'),
        ("ometria", "force_optin = 1", "must be true or false"),
        ("retry", "retries = -1", "must be a whole number from 0 to 20"),
        ("retry", "retries = 21", "must be a whole number from 0 to 20"),
        ("retry", "wait = -0.5", "must be a number from 0 to 3600"),
        ("retry", "wait = 3601", "must be a number from 0 to 3600"),
        ("consent", 'cleaned = "in"', 'must be "out", "unspecified" or "keep"'),
        ("consent", "permission = true", f"must be {PERMISSION_WORDS}"),
        ("consent", 'permission = ["Email", 1]', f"must be {PERMISSION_WORDS}"),
        ("consent", 'without_permission = "in"', 'must be "out" or "unspecified"'),
        ("mailchimp", "windwo = 5", "unknown setting; did you mean window?"),
        ("retry", "bach = 5", "unknown setting; did you mean batch in [ometria]?"),
        ("retry", "zzz = 5", "unknown setting"),
    ],
)
def test_value_out_of_bounds_is_told_with_its_place_and_what_is_right(
    here: Path, table: str, line: str, words: str
) -> None:
    """The same words for the table of all and for that of one client, each at its place."""
    name = line.partition(" ")[0]
    assert refusal(here, f"[{table}]\n{line}\n{ACME}") == f"mcimport.toml: [{table}] {name}: {words}"
    own = refusal(here, f"{ACME}[clients.acme.{table}]\n{line}")
    assert own == f"mcimport.toml: [clients.acme.{table}] {name}: {words}"


@pytest.mark.parametrize("model", [MailchimpSettings, OmetriaSettings, Retry, Consent, ClientTable])
def test_every_setting_can_say_what_is_right(model: type[BaseModel]) -> None:
    """The words of a refusal are the setting's description; the tables within a table have settings of their own."""
    settings_of = {name: field for name, field in model.model_fields.items() if name not in Shared.model_fields}
    assert settings_of
    assert all(field.description for field in settings_of.values())


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("mailchimp", "connections = 1"),
        ("mailchimp", "connections = 10"),
        ("mailchimp", "window = 1"),
        ("mailchimp", "window = 1000"),
        ("mailchimp", "timeout = 0.1"),
        ("mailchimp", "timeout = 600"),
        ("ometria", "requests_per_second = 0.5"),
        ("ometria", "requests_per_second = 1000"),
        ("ometria", "batch = 1"),
        ("ometria", "batch = 100"),
        ("ometria", "welcome_limit = 0"),
        ("ometria", "spot_check = 0"),
        ("retry", "retries = 0"),
        ("retry", "retries = 20"),
        ("retry", "wait = 0"),
        ("retry", "wait = 3600"),
    ],
)
def test_bounds_belong_to_what_is_allowed(here: Path, table: str, line: str) -> None:
    """A limit may be used up, and a whole number may stand for any number."""
    client = acme(here, f"[clients.acme.{table}]\n{line}")
    name, _, value = line.partition(" = ")
    assert getattr(getattr(client, table), name) == float(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("window = 5", "window: unknown setting; did you mean window in [mailchimp]?"),
        ("mailchimp = 5", "[mailchimp]: must be a table"),
        ("[omertia]", "[omertia]: unknown setting; did you mean ometria?"),
        ("[client.acme]\nlists = []", "[client]: unknown setting; did you mean clients?"),
        ("clients = 3", "clients: must be tables, one for each client: [clients.acme]"),
        ("[clients]\nacme = 3", "[clients.acme]: must be a table"),
        (ACME + "window = 5", "[clients.acme] window: unknown setting; did you mean window in [mailchimp]?"),
        (ACME + "[clients.acme.fields]\nFNAME = 3", "[clients.acme.fields] FNAME: must be a contact field"),
        ('[fields]\n"A B" = "surname"', '[fields] "A B": must be a contact field (firstname, '),
    ],
)
def test_misplaced_or_misshapen_is_told_where_a_person_finds_it(here: Path, text: str, words: str) -> None:
    """Headers are shown as they are written in the file."""
    assert refusal(here, text).startswith(f"mcimport.toml: {words}")


def test_missing_settings_of_a_client_are_named(here: Path) -> None:
    """A client needs its lists and both keys, and says so without a word of pydantic."""
    lines = refusal(here, "[clients.acme]").splitlines()
    assert lines[0].startswith("mcimport.toml: [clients.acme] lists: is missing; it must be one list id or more")
    assert lines[1].startswith('mcimport.toml: [clients.acme] mailchimp_api_key: is missing; it must be "env:NAME"')
    assert lines[2].startswith('mcimport.toml: [clients.acme] ometria_api_key: is missing; it must be "env:NAME"')


def test_no_more_than_five_problems_are_shown_and_the_others_counted(here: Path) -> None:
    """A file that is all wrong does not fill the screen."""
    lines = refusal(here, "[mailchimp]\n" + "\n".join(f"x{number} = 1" for number in range(8))).splitlines()
    assert [line.split(":")[0] for line in lines] == ["mcimport.toml"] * 5 + ["and 3 more"]


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "é", "a" * 65, "../a"])
def test_client_name_that_cannot_be_part_of_a_file_name_is_refused(here: Path, name: str) -> None:
    """Names become lock files."""
    assert "a client's name has up to 64 letters" in refusal(here, another(json.dumps(name)))


@pytest.mark.parametrize("name", ["0", "Acme.uk_2-b", "a" * 64, "mailchimp", "clients"])
def test_client_name_of_letters_digits_dots_and_dashes_is_taken(here: Path, name: str) -> None:
    """Names of tables may be names of clients too."""
    assert list(loaded(here, another(json.dumps(name))).clients) == [name]


def test_client_called_like_a_table_has_its_own_errors(here: Path) -> None:
    """[clients.ometria] is a client, not the table [ometria]."""
    message = refusal(here, another("ometria") + "bacth = 5")
    assert message == "mcimport.toml: [clients.ometria] bacth: unknown setting; did you mean batch in [ometria]?"


def test_client_names_that_differ_only_in_capitals_are_refused(here: Path) -> None:
    """On some file systems their lock would be one file."""
    message = refusal(here, ACME + another("ACME", ometria="other"))
    assert message == "mcimport.toml: [clients.ACME]: differs from acme only in upper and lower case"


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ("[]", "lists: must be one list id or more"),
        ('"1a2d7ebf82"', "lists: must be one list id or more"),
        ("[1234567890]", "lists, entry 1: must be one list id or more"),
        ('["1a2d7ebf82", "a-b"]', "lists, entry 2: must be a list id (letters and digits only)"),
        ('["1a2d7ebf82\\n"]', "lists, entry 1: must be a list id (letters and digits only)"),
        ('["\u0661"]', "lists, entry 1: must be a list id (letters and digits only)"),
        (f'["{"a" * 41}"]', "lists, entry 1: must be a list id (letters and digits only)"),
        ('["1a2d7ebf82", "1A2D7EBF82"]', "lists: names a list twice"),
    ],
)
def test_lists_are_distinct_list_keys(here: Path, lists: str, words: str) -> None:
    """Capitals do not make another list, as contact ids are in lower case."""
    assert refusal(here, another("acme", lists=lists)).startswith(f"mcimport.toml: [clients.acme] {words}")


# Overriding ----------------------------------------------------------------------------------------------------------


def test_client_overrides_key_over_key(here: Path) -> None:
    """What a client does not name stays as it is for all."""
    shared = '[ometria]\nbatch = 50\nwelcome_limit = 7\n[consent]\ncleaned = "unspecified"\n[fields]\nA = "gender"\n'
    own = '[clients.acme.ometria]\nbatch = 60\n[clients.acme.consent]\npending = "out"\n[clients.acme.fields]\nA = ""\n'
    found = loaded(here, shared + ACME + own + another("bee", ometria="other"))
    one, two = found.clients["acme"], found.clients["bee"]
    assert (one.ometria.batch, one.ometria.welcome_limit, one.ometria.requests_per_second) == (60, 7, 8)
    assert (one.consent.statuses, dict(one.fields)) == ({"cleaned": "unspecified", "pending": "out"}, {"A": ""})
    assert (two.ometria.batch, two.consent.statuses, dict(two.fields)) == (
        50,
        {"cleaned": "unspecified"},
        {"A": "gender"},
    )


def test_clients_that_override_nothing_share_their_tables(here: Path) -> None:
    """A thousand clients are a thousand names, not ten thousand tables, also with an address from the environment."""
    text = "[mailchimp]\nwindow = 50\n" + "".join(another(f"c{n}", lists=f'["{n}"]') for n in range(1000))
    clients = list(loaded(here, text, {**KEYS, "MCIMPORT_OMETRIA_URL": "http://localhost:1/v2"}).clients.values())
    assert [client.name for client in clients] == [f"c{n}" for n in range(1000)]
    for table in ("mailchimp", "ometria", "retry"):
        assert len({id(getattr(client, table)) for client in clients}) == 1


numbers = st.fixed_dictionaries(
    {},
    optional={
        "connections": st.integers(1, 10),
        "window": st.integers(1, 1000),
        "timeout": st.floats(0.5, 600).map(lambda seconds: round(seconds, 1)),
    },
)


def as_table(header: str, values: Mapping[str, object]) -> str:
    return f"[{header}]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


@settings(derandomize=True, max_examples=50, deadline=None)
@given(shared=numbers, own=numbers)
def test_every_setting_is_the_clients_else_the_shared_else_the_default(
    tmp_path_factory: pytest.TempPathFactory, shared: dict[str, Any], own: dict[str, Any]
) -> None:
    """Whatever is set on either floor."""
    folder = tmp_path_factory.mktemp("overlay")
    found = acme(folder, as_table("mailchimp", shared) + as_table("clients.acme.mailchimp", own)).mailchimp
    expected = {"connections": 10, "window": 1000, "timeout": 120} | shared | own
    assert {name: getattr(found, name) for name in expected} == expected


def test_settings_cannot_be_changed_afterwards(here: Path) -> None:
    """Workers share them."""
    found = loaded(here)
    client = found.clients["acme"]
    with pytest.raises(AttributeError):
        client.name = "other"  # type: ignore[misc]  # that it is refused is the point
    with pytest.raises(ValueError, match="frozen"):
        client.ometria.batch = 5
    with pytest.raises(TypeError):
        client.fields["A"] = "gender"  # type: ignore[index]  # the same
    with pytest.raises(TypeError):
        found.clients["other"] = client  # type: ignore[index]  # the same


# Fields, consent, collections ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [*CONTACT_FIELDS, "properties.loyalty_points", "properties.2", ""])
def test_merge_field_may_go_to_a_contact_field_a_custom_field_or_nowhere(here: Path, target: str) -> None:
    """These are all the places there are."""
    assert acme(here, f'[fields]\nPHONE = "{target}"').fields == {"PHONE": target}


@pytest.mark.parametrize(
    "target",
    [
        "surname",
        "email",
        "id",
        "marketing_optin",
        "@force_optin",
        "Firstname",
        "properties",
        "properties.",
        "properties.A",
        "properties.a.b",
        "properties.mailchimp_tags",
        "firstname\\n",
        " ",
    ],
)
def test_merge_field_cannot_go_anywhere_else(here: Path, target: str) -> None:
    """Neither to a field that a contact has not, nor over one that the importer fills itself, consent above all."""
    message = refusal(here, f'{ACME}[clients.acme.fields]\nPHONE = "{target}"')
    assert message.startswith("mcimport.toml: [clients.acme.fields] PHONE: must be a contact field (firstname, ")


def test_two_merge_fields_cannot_go_to_one_place(here: Path) -> None:
    """One of the two would win by chance."""
    message = refusal(here, f'{ACME}[fields]\nPHONE = "phone_number"\nMOBILE = "phone_number"')
    words = 'goes to "phone_number", and so does PHONE; set one of them to "" to leave it out'
    assert message == f"mcimport.toml: [fields] MOBILE: {words}"


def test_several_merge_fields_may_be_left_out(here: Path) -> None:
    """Nowhere is no place to collide in."""
    assert acme(here, '[fields]\nA = ""\nB = ""').fields == {"A": "", "B": ""}


@pytest.mark.parametrize(("shared", "own", "other"), [("PHONE", "MOBILE", "PHONE"), ("MOBILE", "A", "MOBILE")])
def test_clients_line_is_blamed_for_colliding_with_a_shared_one(here: Path, shared: str, own: str, other: str) -> None:
    """The client's own table is where it can be mended."""
    text = f'[fields]\n{shared} = "gender"\n{ACME}[clients.acme.fields]\n{own} = "gender"'
    words = f'goes to "gender", and so does {other}; set one of them to "" to leave it out'
    assert refusal(here, text) == f"mcimport.toml: [clients.acme.fields] {own}: {words}"


def test_earlier_line_that_a_client_overrides_is_blamed_too(here: Path) -> None:
    """The client's line stands first in the merged table, and is still the one to mend."""
    text = f'[fields]\nA = "prefix"\nB = "gender"\n{ACME}[clients.acme.fields]\nA = "gender"'
    assert refusal(here, text).startswith('mcimport.toml: [clients.acme.fields] A: goes to "gender", and so does B')


def test_collision_in_the_shared_table_is_told_once(here: Path) -> None:
    """Not again for every client that adds a line of its own."""
    text = f'[fields]\nA = "gender"\nB = "gender"\n{ACME}[clients.acme.fields]\nC = "prefix"'
    words = 'goes to "gender", and so does A; set one of them to "" to leave it out'
    assert refusal(here, text) == f"mcimport.toml: [fields] B: {words}"


def test_client_may_move_a_target_to_another_merge_field(here: Path) -> None:
    """What counts is the table after merging."""
    text = '[fields]\nPHONE = "phone_number"\n[clients.acme.fields]\nPHONE = ""\nMOBILE = "phone_number"'
    assert acme(here, text).fields == {"PHONE": "", "MOBILE": "phone_number"}


def test_clients_line_replaces_a_shared_one_in_any_case(here: Path) -> None:
    """Merge tags are the same in upper and lower case, as they are in Mailchimp."""
    text = '[fields]\nFNAME = "firstname"\nSIZE = "properties.size"\n[clients.acme.fields]\nfname = ""'
    assert acme(here, text).fields == {"SIZE": "properties.size", "fname": ""}


@pytest.mark.parametrize("table", ["fields", "clients.acme.fields"])
def test_merge_field_named_twice_in_different_cases_is_refused(here: Path, table: str) -> None:
    """Which of the two lines should count?"""
    words = f'{ACME}[{table}]\nSIZE = "properties.a"\nSize = "properties.b"\n'
    assert "Size: is the same merge tag as SIZE" in refusal(here, words)


@pytest.mark.parametrize("status", ["subscribed", "unsubscribed", "nonsubscribed"])
def test_consent_of_who_said_yes_or_no_cannot_be_configured(here: Path, status: str) -> None:
    """Consent is never invented, and a no is never weakened."""
    words = "cannot be changed: only cleaned, archived, pending, transactional can"
    assert refusal(here, f'{ACME}[consent]\n{status} = "out"').startswith(f"mcimport.toml: [consent] {status}: {words}")


@pytest.mark.parametrize("status", ["cleaned", "archived", "pending", "transactional"])
@pytest.mark.parametrize("consent", ["out", "unspecified", "keep"])
def test_milder_consents_may_be_configured(here: Path, status: str, consent: str) -> None:
    """In each of the three ways, for each of the four."""
    assert acme(here, f'[consent]\n{status} = "{consent}"').consent.statuses == {status: consent}


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("", ("Email",)),
        ('permission = ""', ()),
        ("permission = []", ()),
        ('permission = "E-Mail"', ("E-Mail",)),
        ('permission = ["E-Mail", "", "SMS"]', ("E-Mail", "SMS")),
    ],
)
def test_the_permission_that_an_opt_in_needs_may_be_configured(here: Path, line: str, names: tuple[str, ...]) -> None:
    """One, none or several; it is no status, and a client may need another than the others."""
    client = acme(here, f"[consent]\n{line}\n")
    assert (client.rules("1a2d7ebf82", None).permission, client.consent.statuses) == (names, {})
    own = acme(here, f'[consent]\npermission = "Post"\n[clients.acme.consent]\n{line}\n')
    assert own.consent.permission == (names if line else ("Post",))


@pytest.mark.parametrize("choice", ["out", "unspecified"])
def test_what_becomes_of_who_lacks_it_may_be_configured(here: Path, choice: str) -> None:
    """Never an opt-in."""
    client = acme(here, f'[consent]\nwithout_permission = "{choice}"\n')
    assert (client.consent.without_permission, client.rules("1a2d7ebf82", None).without_permission) == (choice, choice)


@pytest.mark.parametrize(
    "collection",
    ["optin:sms", "double_optin:sms", "OptIn:SMS", " optin:sms ", "\\tdouble_optin:sms", "optin: sms"],
)
def test_collection_that_sends_text_messages_is_refused(here: Path, collection: str) -> None:
    """Whatever its capitals and blanks."""
    message = refusal(here, f'{ACME}[ometria]\ncollection = "{collection}"')
    assert message.startswith(
        "mcimport.toml: [ometria] collection: must be a different one: optin:sms and double_optin:sms send"
    )


@pytest.mark.parametrize(
    ("name", "lists", "collection"),
    [
        ("optin", '["1"]', "{client}:sms"),
        ("Double_Optin", '["1"]', "{client}:sms"),
        ("acme", '["1", "SMS"]', "optin:{list_key}"),
        ("optin", '["sms"]', "{client}:{list_key}"),
    ],
)
def test_collection_that_sends_text_messages_once_filled_in_is_refused(
    here: Path, name: str, lists: str, collection: str
) -> None:
    """What counts is what Ometria gets to see."""
    message = refusal(here, f'[ometria]\ncollection = "{collection}"\n{another(name, lists=lists)}')
    assert message.startswith(f"mcimport.toml: client {name}: the collection for list ")
    assert "send a text message" in message


def test_collection_is_checked_for_lists_that_are_only_typed(here: Path) -> None:
    """A client of the environment has no lists to check when it is loaded."""
    client = loaded(here, '[ometria]\ncollection = "optin:{list_key}"', ENV_ONLY).clients["default"]
    with pytest.raises(ConfigError, match="send a text message"):
        client.rules("sms", None)


@pytest.mark.parametrize("collection", ["", " ", "a ", "a\\nb", "a\\u200bb"])
def test_collection_is_a_name_on_one_line(here: Path, collection: str) -> None:
    """A blank or an invisible character would make another collection that looks the same."""
    message = refusal(here, f'{ACME}[ometria]\ncollection = "{collection}"')
    assert message == "mcimport.toml: [ometria] collection: must be a name on one line, without spaces at either end"


@pytest.mark.parametrize("collection", ["{", "}", "{list}", "{{list_key}}", "{list_key", "{}", "{client }", "{0}"])
def test_stray_brace_in_a_collection_is_refused(here: Path, collection: str) -> None:
    """A placeholder that is not filled in would become part of the name."""
    message = refusal(here, f'{ACME}[ometria]\ncollection = "{collection}"')
    assert message == "mcimport.toml: [ometria] collection: may contain {list_key} and {client}, but no other braces"


def test_rules_hold_all_that_a_conversion_needs(here: Path) -> None:
    """With the collection filled in."""
    text = '[ometria]\ncollection = "mc-{client}-{list_key}"\nsubscription_events = "all"\nforce_optin = true\n'
    client = acme(here, text + '[fields]\nA = "gender"\n[consent]\ncleaned = "unspecified"\n')
    rules = client.rules("1a2d7ebf82", 1_780_000_000)
    assert (rules.list_key, rules.collection) == ("1a2d7ebf82", "mc-acme-1a2d7ebf82")
    assert (rules.fields, rules.consent) == ({"A": "gender"}, {"cleaned": "unspecified"})
    assert (rules.subscription_events, rules.force_optin, rules.new_since) == ("all", True, 1_780_000_000)


def test_optin_is_not_forced_unless_asked_for(here: Path) -> None:
    """The default of the whole file."""
    assert acme(here).rules("1a2d7ebf82", None).force_optin is False


# Keys ----------------------------------------------------------------------------------------------------------------


def keyed(folder: Path, spec: str, environ: Mapping[str, str]) -> Client:
    return loaded(folder, another("acme", ometria=spec), {**KEYS, **environ}).clients["acme"]


def test_key_comes_from_a_variable_a_file_or_the_setting_itself(here: Path) -> None:
    """The line break at a file's end is not the key's; a relative path begins at the configuration."""
    (here / "secret").write_bytes(b"from-file\r\n")
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    for spec, expected in {"env:X": "from-variable", "file:secret": "from-file", "a:b": "a:b"}.items():
        (here / "mcimport.toml").write_text(another("acme", ometria=spec), encoding="utf-8")
        found = load(config=here / "mcimport.toml", environ={"X": "from-variable"}, cwd=elsewhere)
        assert found.clients["acme"].ometria_key().get_secret_value() == expected


@pytest.mark.parametrize(
    ("spec", "environ", "words"),
    [
        ("env:X", {}, "the variable X is not set"),
        ("env:X", {"X": ""}, "the variable X is empty"),
        ("env:X", {"X": "sec ret"}, "the variable X has spaces"),
        ("env:X", {"X": "secret\n"}, "the variable X has spaces"),
        ("env:X", {"X": "sécret"}, "the variable X has spaces, line breaks or other"),
        ("env:X", {"X": "secret\x7f"}, "the variable X has spaces"),
        ("env:0123secret-us6", {}, "`env:` must be followed by the name of an environment variable"),
        ("env:", {"": "secret"}, "`env:` must be followed by the name of an environment variable"),
        ("ENV:X", {}, "the variable X is not set"),
        ("file:absent", {}, "the file absent cannot be read: No such file or directory"),
        ("file:", {}, "the file  cannot be read: Is a directory"),
        ("file:empty", {}, "the file empty is empty"),
        ("file:two", {}, "the file two has spaces, line breaks"),
        ("file:binary", {}, "the file binary has spaces, line breaks or other"),
        ("file:long", {}, "the file long has spaces, line breaks or other"),
        ("file:a\\u0000b", {}, "`file:` must be followed by a path"),
        (" secret", {}, "the key itself has spaces"),
        ("", {}, "the key itself is empty"),
    ],
)
def test_key_that_is_none_is_told_with_client_setting_and_source(
    here: Path, spec: str, environ: dict[str, str], words: str
) -> None:
    """And never with what was found there."""
    (here / "empty").write_bytes(b"\n")
    (here / "two").write_bytes(b"secret\nsecret\n")
    (here / "binary").write_bytes(b"\xff\x00secret")
    (here / "long").write_bytes(b"secret" * 1000)
    client = keyed(here, spec, environ)
    with pytest.raises(ConfigError) as caught:
        client.ometria_key()
    assert str(caught.value).startswith(f"client acme: ometria_api_key: {words}")
    assert "cret" not in str(caught.value) + caught.value.hint


def test_unset_key_of_one_client_does_not_stop_the_others(here: Path) -> None:
    """Not even where their lists and collections are the same, and have to be compared."""
    found = loaded(here, ACME + another("bee", ometria="env:UNSET"))
    assert found.clients["acme"].ometria_key().get_secret_value() == KEYS["ACME_OMETRIA_KEY"]
    with pytest.raises(ConfigError, match="client bee: ometria_api_key"):
        found.clients["bee"].ometria_key()


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    secret=st.text(st.sampled_from(string.ascii_letters + string.digits + "@.:/{} "), min_size=12).map("Zq9".__add__),
    place=st.sampled_from(
        [f"{table}.{name}" for table in Shared.model_fields for name in ("url", "batch", "cleaned", "account", "new")]
        + [f"clients.acme.{name}" for name in (*ClientTable.model_fields, "unknown")]
        + [*File.model_fields, "unknown"],
    ),
)
def test_value_of_no_setting_ever_shows(tmp_path_factory: pytest.TempPathFactory, secret: str, place: str) -> None:
    """A key may be pasted behind the wrong name: neither errors nor their causes repeat it."""
    table, _, name = place.rpartition(".")
    folder = tmp_path_factory.mktemp("secret")
    header = f"[{table}]\n" if table else ""
    text = f"{header}{name} = {json.dumps(secret)}\n"
    try:
        loaded(folder, text + (ACME if not place.startswith("clients") else ""))
    except ConfigError as error:
        told = f"{error!r} {error.hint} {error.__cause__!r} {error.__context__!r}"
        assert secret not in told
        assert "Zq9" not in told


def test_keys_and_the_environment_do_not_show_in_settings(here: Path) -> None:
    """Not in the repr of anything that holds them."""
    found = keyed(here, "literal-secret", {"ANOTHER": "other-secret"})
    everything = f"{found!r} {found} {found.ometria_key()!r} {found.mailchimp_key()} {loaded(here)!r}"
    for secret in ("literal-secret", "other-secret", *KEYS.values()):
        assert secret not in everything


@pytest.mark.parametrize("name", ["ada@example.com", "ada moreno of example street, " * 3, "ada\\u0007moreno"])
def test_names_that_could_be_personal_are_cut_short(here: Path, name: str) -> None:
    """A file may hold an address where a name belongs; the first letters are enough to find it."""
    message = refusal(here, f'[fields]\n"{name}" = "surname"')
    assert message.startswith('mcimport.toml: [fields] "ada...": must be')


# Addresses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "host"),
    [("0123-us6", "us6"), ("a-b-us21", "us21"), ("0123-US6", "us6"), ("-us6", "us6")],
)
def test_data_centre_follows_the_last_dash_of_the_key(here: Path, key: str, host: str) -> None:
    """As Mailchimp's documentation has it."""
    assert acme(here, environ={"ACME_MAILCHIMP_KEY": key}).mailchimp_url() == f"https://{host}.api.mailchimp.com/3.0"


@settings(derandomize=True, max_examples=100, deadline=None)
@given(end=st.text(st.sampled_from("us6-.:/@#?%\\x0"), max_size=8))
def test_no_key_makes_another_host_than_a_data_centre(tmp_path_factory: pytest.TempPathFactory, end: str) -> None:
    """The key is sent there: what looks like a host, a port or a path is never part of it."""
    client = acme(tmp_path_factory.mktemp("centre"), environ={"ACME_MAILCHIMP_KEY": f"0123-{end}"})
    centre = end.rpartition("-")[2]
    letters = centre.rstrip(string.digits)
    if letters.isalpha() and letters != centre:
        assert client.mailchimp_url() == f"https://{centre}.api.mailchimp.com/3.0"
    else:
        with pytest.raises(ConfigError, match="data centre"):
            client.mailchimp_url()


def test_configured_address_needs_no_data_centre(here: Path) -> None:
    """An OAuth token has none. The slash at the end goes."""
    client = acme(here, '[mailchimp]\nurl = "https://us6.api.mailchimp.com/3.0/"', {"ACME_MAILCHIMP_KEY": "token"})
    assert client.mailchimp_url() == "https://us6.api.mailchimp.com/3.0"


def test_ometria_has_one_address_unless_configured(here: Path) -> None:
    """The Data API's, version and all."""
    assert acme(here).ometria_url() == "https://api.ometria.com/v2"
    assert acme(here, '[ometria]\nurl = "https://proxy.example/v2/"').ometria_url() == "https://proxy.example/v2"


def test_addresses_of_the_environment_replace_those_of_every_client(here: Path) -> None:
    """For the sandbox no request may go out by a client's own setting."""
    text = ACME + '[clients.acme.ometria]\nurl = "https://proxy.example/v2"\n' + another("bee", ometria="other")
    urls = {"MCIMPORT_MAILCHIMP_URL": "http://127.0.0.1:1/3.0/", "MCIMPORT_OMETRIA_URL": "http://[::1]:2/v2"}
    for client in loaded(here, text, KEYS | urls).clients.values():
        assert client.mailchimp_url() == "http://127.0.0.1:1/3.0"
        assert client.ometria_url() == "http://[::1]:2/v2"


GOOD_ADDRESSES = [
    "https://proxy.example",
    "https://proxy.example:8443/mailchimp/3.0",
    "HTTPS://proxy.example/3.0",
    "https://10.0.0.1/3.0",
    "http://localhost:8025/3.0",
    "http://127.9.9.9/3.0",
    "http://[::1]:8025/3.0",
]
BAD_ADDRESSES = [
    "proxy.example/3.0",
    "ftp://proxy.example/3.0",
    "file:///3.0",
    "https://",
    "https:///3.0",
    "https://ada:secret@proxy.example/3.0",
    "https://proxy.example@other.example/3.0",
    "https://proxy.example\\\\@other.example",
    "https://proxy.example/3.0?a=b",
    "https://proxy.example/3.0#a",
    "https://proxy.example:99999/3.0",
    "https://proxy.example:0/3.0",
    "https://[:::]/3.0",
    "https://a..example/3.0",
    "https://proxy.example /3.0",
    "https://proxy.example/3.0\\n",
    "http://proxy.example/3.0",
    "http://10.0.0.1/3.0",
    "http://localhost.example/3.0",
    "http://[::2]/3.0",
    "http://127.1/3.0",
]


@pytest.mark.parametrize("url", GOOD_ADDRESSES)
def test_https_anywhere_and_http_on_this_machine_are_taken(here: Path, url: str) -> None:
    """As they were written."""
    assert acme(here, f'[mailchimp]\nurl = "{url}"').mailchimp_url() == url


@pytest.mark.parametrize("url", BAD_ADDRESSES)
def test_address_that_would_give_the_key_away_or_lead_nowhere_is_refused(here: Path, url: str) -> None:
    """Whether it stands in the file or in the environment, and without repeating it."""
    message = refusal(here, f'{ACME}[ometria]\nurl = "{url}"')
    assert message.startswith("mcimport.toml: [ometria] url: must ")
    variable = refusal(here, ACME, {**KEYS, "MCIMPORT_OMETRIA_URL": json.loads(f'"{url}"')})
    assert variable == message.replace("mcimport.toml: [ometria] url", "MCIMPORT_OMETRIA_URL")
    assert "secret" not in message


def test_plain_http_to_another_machine_is_taken_where_it_is_allowed_by_name(here: Path) -> None:
    """For a proxy in a network of one's own; in the environment's words, too."""
    table = f'{ACME}[ometria]\nallow_http = true\nurl = "http://proxy.example/v2"'
    assert loaded(here, table).clients["acme"].ometria_url() == "http://proxy.example/v2"
    assert refusal(here, f'{ACME}[mailchimp]\nallow_http = true\n[ometria]\nurl = "http://proxy.example/v2"')
    environ = {**KEYS, "MCIMPORT_OMETRIA_URL": "http://other.example/v2"}
    assert loaded(here, table, environ).clients["acme"].ometria_url() == "http://other.example/v2"


@pytest.mark.parametrize("service", ["mailchimp", "ometria"])
def test_client_that_forbids_plain_http_takes_no_such_address_from_the_shared_table(here: Path, service: str) -> None:
    """Its key would travel unencrypted although its own table says that it must not; named with client and setting."""
    shared = f'{ACME}[{service}]\nallow_http = true\nurl = "http://proxy.example/v2"\n'
    message = refusal(here, f"{shared}[clients.acme.{service}]\nallow_http = false")
    assert message.startswith(f"mcimport.toml: [clients.acme.{service}] url: must begin with https: ")
    own = f'[clients.acme.{service}]\nallow_http = false\nurl = "https://proxy.example/v2"'
    assert getattr(loaded(here, shared + own).clients["acme"], service).url == "https://proxy.example/v2"


@pytest.mark.parametrize(("given", "seconds"), [("90m", 5_400), ("3h", 10_800), ("2d", 172_800)])
def test_durations_are_minutes_hours_or_days(here: Path, given: str, seconds: int) -> None:
    """In the client's own table or in that of all."""
    settings = loaded(here, f'{ACME}[state]\nkeep = "{given}"\n[notify]\noverdue = "{given}"')
    assert (settings.keep, settings.clients["acme"].overdue) == (seconds, seconds)
    own = loaded(here, f'{ACME}[clients.acme.notify]\noverdue = "{given}"')
    assert own.clients["acme"].overdue == seconds


@pytest.mark.parametrize("given", ["3", "0h", "-1h", "1.5h", "3 h", "3w", "", "9999999d"])
def test_anything_else_is_no_duration(here: Path, given: str) -> None:
    """And what one looks like is said."""
    assert '"3h"' in refusal(here, f'{ACME}[notify]\noverdue = "{given}"')


def test_tables_for_all_clients_alone_are_refused_in_one_clients(here: Path) -> None:
    """There is one state file and one file of metrics."""
    assert "unknown setting" in refusal(here, f'{ACME}[clients.acme.state]\nkeep = "3d"')


# Destinations --------------------------------------------------------------------------------------------------------


def test_two_clients_cannot_fill_one_collection_from_one_list(here: Path) -> None:
    """However their keys and the list are spelt."""
    (here / "secret").write_text(KEYS["ACME_OMETRIA_KEY"], encoding="utf-8")
    message = refusal(here, ACME + another("bee", lists='["0", "1A2D7EBF82"]', ometria="file:secret"))
    assert message == (
        "mcimport.toml: [clients.bee] lists: client acme also imports 1a2d7ebf82, to the same Ometria account "
        "and collection mailchimp"
    )


def test_unset_key_does_not_hide_a_collision_of_others(here: Path) -> None:
    """The client whose key is missing stands between two that collide."""
    message = refusal(here, ACME + another("bee", ometria="env:UNSET") + another("zoo"))
    assert message.startswith("mcimport.toml: [clients.zoo] lists: client acme also imports 1a2d7ebf82, to the same")


@pytest.mark.parametrize(
    "other",
    [
        another("bee", lists='["0"]'),
        another("bee", ometria="other"),
        another("bee") + '[clients.bee.ometria]\ncollection = "other"',
    ],
)
def test_another_list_account_or_collection_is_another_destination(here: Path, other: str) -> None:
    """One difference is enough."""
    assert list(loaded(here, ACME + other).clients) == ["acme", "bee"]


def test_collections_named_after_the_client_keep_clients_apart(here: Path) -> None:
    """What counts is the collection with everything filled in."""
    text = '[ometria]\ncollection = "{client}"\n' + ACME + another("bee")
    assert list(loaded(here, text).clients) == ["acme", "bee"]


# What a command works on ---------------------------------------------------------------------------------------------


@pytest.fixture
def three(here: Path) -> Settings:
    return loaded(
        here,
        another("zoo", lists='["9", "1"]', ometria="a")
        + another("acme", lists='["2", "1"]', ometria="b")
        + another("bee", lists='["3"]', ometria="c"),
    )


def chosen(found: Settings, lists: list[str], clients: list[str]) -> list[str]:
    return [f"{client.name}/{key}" for client, key in found.select(lists, clients)]


@pytest.mark.parametrize(
    ("lists", "clients", "expected"),
    [
        ([], [], ["zoo/9", "zoo/1", "acme/2", "acme/1", "bee/3"]),
        ([], ["bee", "zoo"], ["zoo/9", "zoo/1", "bee/3"]),
        (["1"], [], ["zoo/1", "acme/1"]),
        (["3", "1", "1"], [], ["zoo/1", "acme/1", "bee/3"]),
        (["1"], ["acme", "acme"], ["acme/1"]),
    ],
)
def test_selection_is_in_the_order_of_the_file(
    three: Settings, lists: list[str], clients: list[str], expected: list[str]
) -> None:
    """Nothing named means all; a list that several clients have is taken from each; twice is once."""
    assert chosen(three, lists, clients) == expected


@pytest.mark.parametrize(
    ("lists", "clients", "words", "hint"),
    [
        ([], ["acne"], "no client is called acne; did you mean acme?", "Configured: zoo, acme, bee."),
        ([], ["ACME"], "no client is called ACME; did you mean acme?", "Configured: zoo, acme, bee."),
        (["1"], ["acme", "nobody"], "no client is called nobody", "Configured: zoo, acme, bee."),
        (["1", "7"], [], "no client has the list 7", f"Add it to the `lists` of a client. {WHERE_LIST_IDS_ARE}"),
        (["3"], ["acme"], "none of the named clients (acme) has the list 3", "It belongs to bee."),
        (["ada@example.com"], [], "not a valid list id: letters and digits only, like 1a2d7ebf82", WHERE_LIST_IDS_ARE),
        ([""], [], "not a valid list id: letters and digits only, like 1a2d7ebf82", WHERE_LIST_IDS_ARE),
    ],
)
def test_unknown_client_or_list_is_told_with_what_there_is(
    three: Settings, lists: list[str], clients: list[str], words: str, hint: str
) -> None:
    """One unknown name spoils the whole selection; nothing is done by halves."""
    with pytest.raises(ConfigError) as caught:
        three.select(lists, clients)
    assert (str(caught.value), caught.value.hint) == (words, hint)


def test_many_clients_are_not_all_listed(here: Path) -> None:
    """The hint stays on the screen."""
    found = loaded(here, "".join(another(f"c{n}", lists=f'["{n}"]') for n in range(13)))
    with pytest.raises(ConfigError) as caught:
        found.select([], ["zoo"])
    assert caught.value.hint == "Configured: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 3 more."


def test_client_of_the_environment_takes_whatever_list_is_typed(here: Path) -> None:
    """In the order of typing, each once."""
    found = load(environ=ENV_ONLY, cwd=here)
    assert chosen(found, ["b2", "a1", "b2"], []) == ["default/b2", "default/a1"]
    assert chosen(found, ["b2"], ["default"]) == ["default/b2"]


@pytest.mark.parametrize("list_key", ["", "a-b", "a/b", "../a", "a" * 41, "é", "a\n"])
def test_client_of_the_environment_takes_only_list_keys(here: Path, list_key: str) -> None:
    """They become part of a request's path."""
    with pytest.raises(ConfigError, match="not a valid list id"):
        load(environ=ENV_ONLY, cwd=here).select([list_key], [])


def test_client_of_the_environment_must_be_told_a_list(here: Path) -> None:
    """There is none to fall back upon."""
    with pytest.raises(ConfigError, match="no list was given") as caught:
        load(environ=ENV_ONLY, cwd=here).select([], [])
    assert "mcimport sync LIST_KEY" in caught.value.hint


# Flags ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "window", "connections", "members"),
    [(None, None, 4, 200), (1, None, 1, 200), (4, 1, 4, 1), (10, 1000, 4, 1000)],
)
def test_workers_flag_is_a_ceiling_and_window_flag_a_replacement(
    here: Path, workers: int | None, window: int | None, connections: int, members: int
) -> None:
    """Configured connections may be few because another program shares them."""
    client = acme(here, "[mailchimp]\nconnections = 4\nwindow = 200")
    flagged = with_flags(client, workers=workers, window=window)
    assert (flagged.mailchimp.connections, flagged.mailchimp.window) == (connections, members)
    assert (client.mailchimp.connections, client.mailchimp.window) == (4, 200)


# The template --------------------------------------------------------------------------------------------------------


def test_template_loads_and_changes_no_default(here: Path) -> None:
    """What `mcimport init` writes works once its two variables are set, and says what holds without it."""
    written, plain = loaded(here, template(EXAMPLE)).clients["acme"], acme(here)
    assert (written.mailchimp, written.ometria, written.retry) == (plain.mailchimp, plain.ometria, plain.retry)
    assert (written.consent.statuses, written.fields) == ({}, {"FNAME": "firstname", "LNAME": "lastname"})
    assert written.mailchimp_url() == "https://us6.api.mailchimp.com/3.0"
    assert written.ometria_key().get_secret_value() == KEYS["ACME_OMETRIA_KEY"]


def test_template_shows_every_setting_and_each_of_its_comments_is_valid(here: Path) -> None:
    """Whoever takes a `#` away gets what the line promises."""
    lines = [line.removeprefix("# ") if " = " in line else line for line in template().splitlines()]
    text = "\n".join(lines).replace("# [clients.acme", "[clients.acme")
    assert loaded(here, text).clients["acme"].ometria.requests_per_second == 16
    document = tomllib.loads(text)
    for table, model in File.model_fields.items():
        assert table in document
        if table not in {"fields", "clients"}:
            assert set(document[table]) == set(type(model.default).model_fields)
    assert set(ClientTable.model_fields) - set(Shared.model_fields) <= set(document["clients"]["acme"])


# The import ----------------------------------------------------------------------------------------------------------


def test_import_brings_no_client_of_a_service_and_no_database() -> None:
    """`mcimport --help` and shell completion import it."""
    heavy = {"httpx", "sqlite3", "sqlite_utils", "phonenumbers", "typer", "rich", "asyncio"}
    program = "import sys, mcimport.config; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())


def test_a_path_is_shown_whole_in_the_root_folder() -> None:
    """Cut by its first slash, it would be another file everywhere else."""
    assert shown_path(Path("/etc/mcimport.toml"), Path("/")) == "/etc/mcimport.toml"
    assert shown_path(Path("/etc/mcimport.toml"), Path("/etc")) == "mcimport.toml"
