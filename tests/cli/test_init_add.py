"""`init --add`: a client more, and everything else in the file as somebody wrote it."""

from __future__ import annotations

import os
import stat
import tomllib

import pytest
from conftest import CONFIG, CommandResult, Importer, MakeImporter

from mcimport.cli.init_add import replace_file
from mcimport.config import template
from mcimport.config.template import EXAMPLE
from mcimport.errors import ConfigError

GLOBEX = {
    "--client": "globex",
    "--list": "9f8e7d6c5b",
    "--mailchimp-key": "env:GLOBEX_MAILCHIMP_KEY",
    "--ometria-key": "file:globex-ometria",
}
ADDED = {
    "lists": ["9f8e7d6c5b"],
    "mailchimp_api_key": "env:GLOBEX_MAILCHIMP_KEY",
    "ometria_api_key": "file:globex-ometria",
}
COMMENTED = """\
# who, and why
[clients.acme]   # since 2024
lists = [
  "1a2d7ebf82",  # the newsletter
]
mailchimp_api_key = "env:ACME_MAILCHIMP_KEY"
ometria_api_key   = "env:ACME_OMETRIA_KEY"

[retry]
wait = 0   # impatient
"""


def add(importer: Importer, **changed: str) -> CommandResult:
    answers = {**GLOBEX, **{f"--{name.replace('_', '-')}": value for name, value in changed.items()}}
    return importer("init", "--add", *(word for pair in answers.items() for word in pair))


@pytest.mark.parametrize(
    "before",
    [
        COMMENTED,
        COMMENTED.replace("\n", "\r\n"),
        "\ufeff" + COMMENTED,
        COMMENTED.rstrip(),
        template(),
        template(EXAMPLE),
        "",
        "[retry]\nwait = 0\n",
        'clients = { acme = { lists = ["1a2d7ebf82"], mailchimp_api_key = "a", ometria_api_key = "b" } }\n',
        COMMENTED
        + '\n[clients.b]\nlists = ["1"]\nmailchimp_api_key = "a"\nometria_api_key = "b"\n\n[state]\nkeep = "9d"\n',
        '[clients]\nacme = { lists = ["1a2d7ebf82"], mailchimp_api_key = "a", ometria_api_key = "b" }\n',
    ],
    ids=[
        "comments",
        "crlf",
        "bom",
        "no-last-line-end",
        "init",
        "init-with-answers",
        "empty",
        "no-client",
        "inline",
        "apart",
        "inline-client",
    ],
)
def test_a_client_is_added_and_every_line_stays(make_importer: MakeImporter, before: str) -> None:
    """Comments, order, blanks, line ends, byte-order mark and mode; the settings are the old ones and the client."""
    importer = make_importer()
    importer.config.write_bytes(before.encode())
    importer.config.chmod(0o640)
    result = add(importer)
    assert result.code == 0, result.err
    after = importer.config.read_bytes().decode()
    lines = iter(after.splitlines(keepends=True))
    if "{" not in before:
        assert all(line in lines for line in before.splitlines(keepends=True)[:-1])  # each after the one before it
    document = tomllib.loads(before.removeprefix("\ufeff"))
    document.setdefault("clients", {})["globex"] = ADDED
    assert tomllib.loads(after.removeprefix("\ufeff")) == document
    assert after.startswith("\ufeff") is before.startswith("\ufeff")
    assert ("\r\n" in after, after.count("\n")) == ("\r\n" in before, after.count("\r\n") or after.count("\n"))
    assert stat.S_IMODE(importer.config.stat().st_mode) == 0o640
    assert [path.name for path in importer.folder.iterdir()] == ["mcimport.toml"]


def test_a_file_that_cannot_be_extended_as_it_is_written_is_left_alone(make_importer: MakeImporter) -> None:
    """Dotted lines outside a table; the hint says what would do."""
    importer = make_importer()
    before = 'clients.a.lists = ["1a2d7ebf82"]\nclients.a.mailchimp_api_key = "a"\nclients.a.ometria_api_key = "b"\n'
    importer.config.write_text(before)
    result = add(importer)
    assert (result.code, "Write each client as a table" in result.err) == (2, True)
    assert importer.config.read_text() == before


def test_a_client_is_added_after_a_blank_line_as_a_table_of_its_own(make_importer: MakeImporter) -> None:
    """It reads as if somebody had written it."""
    importer = make_importer()
    importer.config.write_text(COMMENTED.partition("\n[retry]")[0])
    add(importer, collection="shop")
    assert importer.config.read_text().endswith("""\
ometria_api_key   = "env:ACME_OMETRIA_KEY"

[clients.globex]
lists = ["9f8e7d6c5b"]
mailchimp_api_key = "env:GLOBEX_MAILCHIMP_KEY"
ometria_api_key = "file:globex-ometria"
ometria.collection = "shop"
""")


def test_the_next_commands_are_about_the_new_client(make_importer: MakeImporter) -> None:
    """And a note says of each key that it is not there yet, without being an error."""
    importer = make_importer()
    result = add(importer)
    assert "check --client globex\n" in result.out
    assert "preview 9f8e7d6c5b\n" in result.out
    assert "note: Mailchimp key: the variable GLOBEX_MAILCHIMP_KEY is not set" in result.err
    assert "note: Ometria key: the file globex-ometria cannot be read: No such file or directory" in result.err


def test_an_added_client_is_synced(make_importer: MakeImporter) -> None:
    """From the empty file that `init` writes to a sync, with nothing edited by hand."""
    importer = make_importer(size=20)
    sandbox = importer.sandbox
    importer.config.unlink()
    assert importer("init").code == 0
    (importer.folder / "globex-ometria").write_text(sandbox.ometria_key)
    (importer.folder / "globex-ometria").chmod(0o600)
    assert add(importer, list=sandbox.list_key).code == 0
    environment = {
        "MCIMPORT_MAILCHIMP_URL": sandbox.mailchimp_url,
        "MCIMPORT_OMETRIA_URL": sandbox.ometria_url,
        "GLOBEX_MAILCHIMP_KEY": sandbox.mailchimp_key,
    }
    assert importer.in_a_process("sync", environment=environment).code == 0
    assert sandbox.contacts()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"client": "acme"}, "there is a client called acme already"),
        ({"client": "ACME"}, "there is a client called ACME already"),
        ({"list": "1a2d7ebf82"}, "the client acme has the list 1a2d7ebf82 already"),
        ({"list": "1A2D7EBF82"}, "the client acme has the list 1A2D7EBF82 already"),
        ({"mailchimp_key": "0123456789abcdef0123456789abcdef-us6"}, "say where it comes from"),
        ({"collection": "optin:sms"}, "text message"),
        ({"client": "sms", "collection": "optin:{client}"}, "text message"),
    ],
    ids=["client", "client-in-capitals", "list", "list-in-capitals", "key", "collection", "collection-once-filled-in"],
)
def test_what_is_there_or_cannot_be_is_refused(
    make_importer: MakeImporter, changed: dict[str, str], words: str
) -> None:
    """The file stays as it was to the byte, and nothing is left beside it."""
    importer = make_importer()
    importer.config.write_text(COMMENTED)
    before = importer.config.stat()
    result = add(importer, **changed)
    assert (result.code, words in result.err) == (2, True), result.err
    assert "0123456789" not in result.err
    assert importer.config.read_text() == COMMENTED
    assert importer.config.stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in importer.folder.iterdir()] == ["mcimport.toml"]


def test_a_broken_file_is_named_rather_than_extended(make_importer: MakeImporter) -> None:
    """By the line that is wrong in it."""
    importer = make_importer()
    importer.config.write_text(COMMENTED + "retries =\n")
    result = add(importer)
    assert (result.code, "line 11" in result.err) == (2, True)
    importer.config.write_text(COMMENTED + "retrys = 1\n")
    assert "did you mean retries?" in add(importer).err


def test_without_a_file_the_way_to_one_is_named(make_importer: MakeImporter) -> None:
    """Nothing is made."""
    importer = make_importer()
    importer.config.unlink()
    result = add(importer)
    assert (result.code, "`mcimport init` writes one" in result.err, importer.config.exists()) == (2, True, False)


def test_a_link_stays_a_link(make_importer: MakeImporter) -> None:
    """The file that it leads to is the one that is replaced."""
    importer = make_importer()
    real = importer.folder / "real.toml"
    importer.config.rename(real)
    importer.config.symlink_to("real.toml")
    assert add(importer).code == 0
    assert importer.config.is_symlink()
    assert "globex" in real.read_text()


def test_the_owner_stays_the_owner(make_importer: MakeImporter) -> None:
    """Root adds a client to a file of the user whose cron reads it; others may give a file to a group of theirs."""
    importer = make_importer()
    user = os.geteuid()
    owner = (12_345, 12_346) if user == 0 else (user, [os.getegid(), *os.getgroups()][-1])
    os.chown(importer.config, *owner)
    assert add(importer).code == 0
    after = importer.config.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (*owner, 0o600)


def test_the_file_that_every_command_finds_is_the_one_that_is_extended(make_importer: MakeImporter) -> None:
    """In the current folder, else in the user's configuration directory."""
    importer = make_importer()
    users = importer.folder / ".config" / "mcimport" / "mcimport.toml"
    users.parent.mkdir(parents=True)
    importer.config.rename(users)
    result = importer.in_a_process("init", "--add", *(word for pair in GLOBEX.items() for word in pair), bare=True)
    assert result.code == 0, result.err
    assert "globex" in tomllib.loads(users.read_text())["clients"]


def test_tomlkit_is_loaded_by_this_command_alone(make_importer: MakeImporter) -> None:
    """No other command pays for it."""
    importer = make_importer(size=5)
    importer.configure(CONFIG)
    code = (
        "import sys; sys.argv = ['mcimport', 'config', 'show']\nfrom mcimport.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nprint('LOADED', 'tomlkit' in sys.modules)"
    )
    import subprocess  # noqa: PLC0415 - for this look alone
    import sys  # noqa: PLC0415 - as above

    result = subprocess.run(
        [sys.executable, "-c", code], cwd=importer.folder, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "LOADED False"


def test_what_somebody_saved_in_the_meantime_is_not_lost(make_importer: MakeImporter) -> None:
    """Questions take minutes: the file that is to be replaced must be the one that was read."""
    importer = make_importer()
    before = importer.config.read_text()
    saved = f"{before}\n[state]\nkeep = '30d'\n"
    importer.config.write_text(saved)
    with pytest.raises(ConfigError, match="changed in the meantime"):
        replace_file(importer.config, f"{before}# more\n", before)
    assert importer.config.read_text() == saved
    assert {one.name for one in importer.folder.iterdir()} == {"mcimport.toml"}
