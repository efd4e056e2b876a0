"""The steps of `mcimport demo`: the real commands against the sandbox, over real sockets, in a temporary folder."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from msgspec import Struct

from mcimport.cli.exits import DEAD_LETTERS, FAILED, OK
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


class _Demo(Struct, frozen=True):
    """Holds the sandbox, and the folder with the settings that lead to it."""

    sandbox: Sandbox
    folder: Path

    def run(self, words: str, *command: str, expected: int = OK) -> bool:
        """Prints what the step shows and its command, runs that command, returns whether it exited with `expected`."""
        _print(f"\n{words}\n$ mcimport {' '.join(command)}")
        options = ["--config", str(self.folder / "mcimport.toml"), "--db", str(self.folder / "state.db")]
        ended = subprocess.run([sys.executable, "-m", "mcimport", *options, *command], check=False)  # noqa: S603 - our own program, in a process of its own as cron would run it
        if ended.returncode != expected:
            _print(f"This ended with exit code {ended.returncode} instead of {expected}: please report it.")
        return ended.returncode == expected


def run_demo(size: int) -> int:
    """Runs all steps on a list of `size` members; returns 0 if each ended as it should, else 1."""
    with tempfile.TemporaryDirectory(prefix="mcimport-demo-") as folder, Sandbox(SandboxSettings(size=size)) as sandbox:
        stage = _Demo(sandbox, Path(folder))
        config = stage.folder / "mcimport.toml"
        config.write_text(CONFIG.format(sandbox=sandbox), encoding="utf-8")
        config.chmod(0o600)  # as `mcimport init` makes it
        open_state(stage.folder / "state.db").close()  # so that the first sync does not warn that it is new
        _print(f"A fake Mailchimp with {size:,} invented members and a fake Ometria are running on this machine.")
        return _run_steps(stage)


def _run_steps(stage: _Demo) -> int:
    sandbox, key = stage.sandbox, stage.sandbox.list_key
    audience = sandbox.audience()
    ended = [stage.run("The first sync imports every member of the list.", "sync", key)]
    audience.change(30)
    audience.archive(4)
    audience.join(3)
    ended.append(stage.run("37 members changed, left or joined. The next sync imports only those.", "sync", key))
    _break_pages(sandbox)
    words = (
        "Twenty members change, and Mailchimp now fails on every page that holds one of three of them. (More than\n"
        "twenty are read, because each run starts a minute early, for changes that Mailchimp commits late.)"
    )
    ended.append(stage.run(words, "sync", key, expected=DEAD_LETTERS))
    _print("Exit code 3: finished with dead letters. No member is lost: what could not be read is recorded.")
    ended.append(stage.run("What could not be read, and why:", "dlq", "list"))
    sandbox.settings.broken.clear()
    words = "Mailchimp works again. Replaying reads that time range again, even if members changed since."
    ended.append(stage.run(words, "dlq", "replay"))
    ended.append(stage.run("All is well again.", "status"))
    return OK if all(ended) else FAILED


def _break_pages(sandbox: Sandbox) -> None:
    """Changes twenty members, and makes Mailchimp fail on every page that holds one of the last three."""
    audience = sandbox.audience()
    audience.change(17)
    sandbox.clock.advance(2)
    seconds = [epoch(changed["last_changed"]) for changed in audience.change(3)]
    sandbox.settings.broken.append((min(seconds) - 1, max(seconds)))


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the output of the demo
