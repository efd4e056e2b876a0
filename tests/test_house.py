"""The house itself: the direction of imports, what loads when, and that no personal data rests anywhere."""

from __future__ import annotations

import ast
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from conftest import CONFIG, CommandResult, Importer, MakeImporter
from typer.core import TyperGroup

from mcimport.cli.app import app
from mcimport.cli.help import EXAMPLES, PANELS

ROOT = Path(__file__).parent.parent


def test_imports_go_down_only() -> None:
    """The contracts in pyproject.toml hold: no room imports one above it or beside it."""
    program = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_package_has_few_entries_each_with_a_caption() -> None:
    """At most fifteen folders and modules stand in it, and each says in its first line what it is for."""
    package = ROOT / "mcimport"
    entries = {path for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert len(entries) <= 15, sorted(path.name for path in entries)
    without = [path for path in package.rglob("*.py") if not path.read_text(encoding="utf-8").startswith('"""')]
    assert without == []


def commands_in_messages() -> set[str]:
    """What stands in back quotes after `mcimport ` in any text of the package, each value filled in by `X`."""
    found: set[str] = set()
    for path in (ROOT / "mcimport").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else " X " for part in parts)
            found |= {" ".join(words.split()) for words in re.findall(r"`mcimport ([^`]+)`", text)}
    return found


def test_commands_that_messages_name_exist() -> None:
    """A command that a message tells the user to type exists, and has the options that stand there."""
    named = commands_in_messages()
    assert {"sync --full X", "dlq list", "reconcile --mend X"} <= named
    for words in named:
        command = typer.main.get_command(app)
        for word in words.split():
            if isinstance(command, TyperGroup) and not word.startswith("-"):
                assert word in command.commands, words
                command = command.commands[word]
            elif word.startswith("--"):
                known = {option for parameter in command.params for option in parameter.opts}
                assert word.partition("=")[0] in known, words


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--version"], ["typer", "rich", "httpx", "pydantic", "sqlite_utils", "msgspec"]),
        (["--help"], ["httpx", "sqlite_utils", "phonenumbers", "pycountry", "starlette"]),
        (["status"], ["httpx", "sqlite_utils", "phonenumbers", "pycountry", "starlette"]),
    ],
    ids=" ".join,
)
def test_a_command_imports_what_it_needs_and_no_more(
    make_importer: MakeImporter, arguments: list[str], unwanted: list[str]
) -> None:
    """Start-up is spent on nothing that the command does not use."""
    importer = make_importer(size=0)
    importer.create_state_file()
    options = importer._options() if arguments == ["status"] else []
    code = (
        f"import sys; sys.argv = {['mcimport', *options, *arguments]!r}\n"
        "from mcimport.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {unwanted!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], ["--help", "sync"], ["snyc"], ["--config", "sync", "snyc"]], ids=" ".join
)
def test_the_command_line_knows_all_commands_whichever_are_named(words: list[str]) -> None:
    """Only the commands that a call names are put together: its help, and what was meant, come from all of them."""
    program = [sys.executable, "-m", "mcimport", *words]
    result = subprocess.run(program, capture_output=True, text=True, check=False)
    if words[0].startswith("-") and "--config" not in words:
        assert sorted(re.findall(r"^  ([a-z]+) ", result.stdout, re.MULTILINE)) == sorted(
            typer.main.get_command(app).commands  # type: ignore[attr-defined] # it is a group
        )
    else:
        assert "No such command 'snyc'. Did you mean 'sync'?" in result.stderr


def test_the_help_fits_a_terminal_of_80_columns_one_line_a_command() -> None:
    """Nothing is cut off: what a command is for is read at one glance; examples stand below a command's own help."""
    assert not {name for lines in PANELS.values() for name, line in lines.items() if len(name) + len(line) > 66}
    program = [sys.executable, "-m", "mcimport", "sync", "-h"]
    shown = subprocess.run(program, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"})
    assert EXAMPLES["sync"][0] in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("sync", "Usage: mcimport sync [OPTIONS] [LIST_KEY]...\n"),
        ("dlq replay", "Usage: mcimport dlq replay [OPTIONS] [ID]...\n"),
        ("runs show", "Usage: mcimport runs show [OPTIONS] RUN\n"),
        ("init", "Usage: mcimport init [OPTIONS] [FILE]\n"),
    ],
)
def test_usage_is_written_as_other_programs_write_it(command: str, usage: str) -> None:
    """No braces, nothing doubled, and no type of Python's beside an argument."""
    program = [sys.executable, "-m", "mcimport", *command.split(), "--help"]
    shown = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert shown.startswith(usage)
    assert re.search(r"<(str|path|list|int)\b", shown) is None


def personal_data(importer: Importer) -> list[str]:
    """Every address and name of the audience that is long enough to be nobody's word, and both keys."""
    found = {importer.sandbox.mailchimp_key, importer.sandbox.ometria_key}
    for one in importer.sandbox.audience().members:
        fields = one["merge_fields"] if isinstance(one["merge_fields"], dict) else {}
        texts = [one["email_address"], one["id"], fields.get("FNAME"), fields.get("LNAME"), fields.get("PHONE")]
        found |= {text.strip() for text in texts if isinstance(text, str) and len(text.strip()) > 6}
    return sorted(found)


def leaks(importer: Importer, *result: CommandResult) -> list[str]:
    """What of it stands in the state folder (but for the settings) or was printed."""
    said = "".join(one.out + one.err for one in result).encode()
    rests = b"".join(path.read_bytes() for path in importer.folder.iterdir() if path != importer.config)
    return [text for text in personal_data(importer) if text.encode() in said or text.encode() in rests]


def test_no_address_name_or_key_is_left_or_printed(make_importer: MakeImporter) -> None:
    """A sync with rejects, dead letters, a replay and everything that only looks keeps all personal data to itself."""
    importer = make_importer(size=1_200, broken=["100-101"], faults={"500": 0.05})
    people = [one for one in importer.sandbox.audience().listed() if one.get("contact_id") and one["email_address"]]
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{one['contact_id']}" for one in people[500:503]}
    importer.sandbox.audience().add(email_address="not an address", merge_fields={"FNAME": "Bartholomew"})
    importer.configure(CONFIG + "mailchimp.window = 100\n")
    commands = [
        ["sync", "--json"],
        ["dlq", "list"],
        ["dlq", "show", "1"],
        ["dlq", "replay"],
        ["status"],
        ["runs", "list"],
        ["runs", "show", "1"],
        ["check"],
    ]
    result = [importer(*command) for command in commands]
    assert result[0].code == 3
    assert leaks(importer, *result) == []


def test_the_check_for_personal_data_can_fail(make_importer: MakeImporter) -> None:
    """`preview`, which does print people, is caught by the same check."""
    importer = make_importer(size=50)
    assert leaks(importer, importer("preview", importer.sandbox.list_key, "--limit", "20")) != []


def test_the_state_file_is_for_its_owner_alone(make_importer: MakeImporter) -> None:
    """Mode 0600 for the state file and whatever stands beside it."""
    importer = make_importer(size=100)
    importer("sync")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in importer.folder.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_no_type_is_prepared_for_decoding_in_a_thread() -> None:
    """Every decoder is made when its module is imported: made by many threads at once, one crashed the process.

    But for the sandbox, which answers in one thread.
    """
    modules = [path for path in (ROOT / "mcimport").rglob("*.py") if "sandbox" not in path.parts]
    sources = {path: path.read_text(encoding="utf-8") for path in modules}
    made = [line for source in sources.values() for line in source.splitlines() if "json.Decoder(" in line]
    assert made
    assert [line for line in made if line.startswith((" ", "\t"))] == []
    assert [path.name for path, source in sources.items() if "json.decode(" in source] == []


def test_nothing_that_is_committed_sleeps_to_make_a_test_pass() -> None:
    """No test waits by the clock."""
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")}
    pattern = re.compile(r"time\.sleep" + r"\(")
    assert [path.name for path, source in sources.items() if pattern.search(source)] == []
