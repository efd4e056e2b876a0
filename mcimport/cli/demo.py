"""The steps of `mcimport demo`: the real commands against the sandbox, over real sockets, in a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from msgspec import Struct

from mcimport.cli.exits import DEAD_LETTERS, OK
from mcimport.config import variables
from mcimport.errors import McimportError
from mcimport.sandbox.clock import epoch
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.state import open_state

CONFIG = """\
[retry]
wait = 1 # seconds, so that a page that fails for good does not take a quarter of a minute; the default is 5

[clients.demo]
lists = ["{sandbox.list_key}"]
mailchimp_api_key = "{sandbox.mailchimp_key}"
ometria_api_key = "{sandbox.ometria_key}"
mailchimp.url = "{sandbox.mailchimp_url}"
ometria.url = "{sandbox.ometria_url}"
"""


class _Demo(Struct):
    """Holds the sandbox, the folder with the settings that lead to it, and how many steps were begun."""

    sandbox: Sandbox
    folder: Path
    steps: int = 0

    def run(self, words: str, *command: str, expected: int = OK) -> None:
        """Prints what the step shows and its command, and runs that command.

        Raises McimportError where it does not exit with `expected`: the next steps build on it.
        """
        self.steps += 1
        line = f"mcimport {' '.join(command)}"
        _print(f"\n{words}\n$ {line}")
        options = ["--config", str(self.folder / "mcimport.toml"), "--db", str(self.folder / "state.db")]
        ended = subprocess.run([sys.executable, "-m", "mcimport", *options, *command], check=False, env=_environment())  # noqa: S603 - our own program, in a process of its own as cron would run it
        if ended.returncode != expected:
            raise McimportError(
                f"step {self.steps} of the demo, `{line}`, ended with exit code {ended.returncode}, not {expected}",
                hint="Please report it, with what is above and `mcimport --version`.",
            )


def _environment() -> dict[str, str]:
    """Returns the environment without mcimport's variables, which may lead elsewhere than to the sandbox."""
    return {name: value for name, value in os.environ.items() if not name.startswith(variables.PREFIX)}


def run_demo(settings: SandboxSettings) -> None:
    """Runs all steps on a list of this size. Raises McimportError, which names the step, for one that went wrong."""
    with tempfile.TemporaryDirectory(prefix="mcimport-demo-") as folder, Sandbox(settings) as sandbox:
        stage = _Demo(sandbox, Path(folder))
        config = stage.folder / "mcimport.toml"
        config.write_text(CONFIG.format(sandbox=sandbox), encoding="utf-8")
        config.chmod(0o600)  # as `mcimport init` makes it
        open_state(stage.folder / "state.db").close()  # so that the first sync does not warn that it is new
        size = f"{settings.size:,} invented members"
        _print(f"A fake Mailchimp with {size} and a fake Ometria are running on this machine.")
        _run_steps(stage)


def _run_steps(stage: _Demo) -> None:
    sandbox, key = stage.sandbox, stage.sandbox.list_key
    audience = sandbox.audience()
    stage.run("The first sync imports every member of the list.", "sync", key)
    audience.change(30)
    audience.archive(4)
    audience.join(3)
    stage.run("37 members changed, left or joined. The next sync imports only those.", "sync", key)
    _break_pages(sandbox)
    words = (
        "Twenty members change, and Mailchimp now fails on every page that holds one of three of them. (More than\n"
        "twenty are read, because each run starts a minute early, for changes that Mailchimp commits late.)"
    )
    stage.run(words, "sync", key, expected=DEAD_LETTERS)
    _print("Exit code 3: finished with dead letters. No member is lost: what could not be read is recorded.")
    stage.run("What could not be read, and why:", "dlq", "list")
    sandbox.settings.broken.clear()
    words = "Mailchimp works again. Replaying reads that time range again, even if members changed since."
    stage.run(words, "dlq", "replay")
    stage.run("All is well again.", "status")


def _break_pages(sandbox: Sandbox) -> None:
    """Changes twenty members, and makes Mailchimp fail on every page that holds one of the last three."""
    audience = sandbox.audience()
    audience.change(17)
    sandbox.clock.advance(2)
    seconds = [epoch(changed["last_changed"]) for changed in audience.change(3)]
    sandbox.settings.broken.append((min(seconds) - 1, max(seconds)))


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the output of the demo
