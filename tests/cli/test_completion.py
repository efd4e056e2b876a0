"""What the shell completes, by the protocol in which bash, zsh and fish ask for it."""

from __future__ import annotations

import os
import subprocess
import sys

from conftest import CommandResult, Importer, MakeImporter, configure_clients

from mcimport.state import open_state

# `python -m mcimport` has another name, and so another variable.
_AS_A_SHELL_STARTS_IT = "import sys; sys.argv = ['mcimport']; from mcimport.__main__ import main; {after}main()"


def asked(importer: Importer, line: str, shell: str = "fish", *, after: str = "") -> CommandResult:
    """What is answered to a shell on whose line this stands, with the cursor at its end."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(importer.folder),
        "_MCIMPORT_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - (not line.endswith(" "))),
        "MCIMPORT_DB": str(importer.db),
    }
    command = [sys.executable, "-c", _AS_A_SHELL_STARTS_IT.format(after=after)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=importer.folder, env=environment)
    return CommandResult(ended.returncode, ended.stdout, ended.stderr)


def offered(importer: Importer, line: str, shell: str = "fish") -> list[str]:
    result = asked(importer, line, shell)
    assert result.err == ""
    return [line for line in result.out.splitlines() if line]


def with_dead_letters(make_importer: MakeImporter) -> Importer:
    """Two clients; of the first, one run with a dead letter: a member whom Ometria refuses."""
    importer = make_importer(size=0)
    clients = configure_clients(importer, ["acme", "globex"], size=5)
    sandbox, key = importer.sandbox, clients["acme"]["list_key"]
    person = next(one for one in sandbox.audience(key).listed() if one.get("contact_id") and one["email_address"])
    sandbox.settings.rejects = {f"{key}-{person['contact_id']}"}
    assert importer("sync", key).code == 3
    return importer


def test_clients_lists_dead_letters_and_runs_are_completed_with_words_on_each(make_importer: MakeImporter) -> None:
    """From the file and the state file, as they are named on the line or in the environment."""
    importer = with_dead_letters(make_importer)
    before = sorted(path.name for path in importer.folder.iterdir())
    assert offered(importer, "mcimport sync --client a", "bash") == ["acme"]
    assert offered(importer, "mcimport keys accept ") == ["acme\t0000000000", "globex\t0000000001"]
    assert offered(importer, "mcimport sync --client globex 0") == ["0000000001\tglobex"]
    with open_state(importer.db):  # as a sync that runs meanwhile has it
        (letter,) = offered(importer, "mcimport dlq discard ")
    assert letter.startswith("1\tacme 0000000000, contact: ")
    assert '"1":"acme 0000000000, full, completed, ' in asked(importer, "mcimport runs show ", "zsh").out
    assert sorted(path.name for path in importer.folder.iterdir()) == before
    importer.config.unlink()
    assert offered(importer, "mcimport forget acme --list ") == ["0000000000\tacme"]


def test_what_is_wrong_completes_nothing_and_is_not_told(make_importer: MakeImporter) -> None:
    """A broken file, a state file that is none or does not exist: no word on the line that is typed, and no file."""
    importer = make_importer(size=0)
    importer.config.write_text("[clients\n")
    assert offered(importer, "mcimport sync --client ") == []
    assert offered(importer, "mcimport dlq show ") == []
    assert not importer.db.exists()
    importer.db.write_bytes(b"no database" * 1_000)
    assert offered(importer, "mcimport runs show ") == []


def test_completion_loads_no_http_client(make_importer: MakeImporter) -> None:
    """It is waited for at every key."""
    heavy = ("httpx", "rich", "phonenumbers", "starlette")
    after = f"import atexit; atexit.register(lambda: print([name for name in {heavy} if name in sys.modules])); "
    importer = with_dead_letters(make_importer)
    assert asked(importer, "mcimport dlq show ", "bash", after=after).out.splitlines() == ["1", "[]"]
