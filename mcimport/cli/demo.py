"""The story that `mcimport demo` tells: the real commands, over real sockets, on the sandbox, in a temporary place."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mcimport.cli.exits import DEAD_LETTERS, FAILED, OK
from mcimport.sandbox.clock import epoch
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.state import open_state

CONFIG = """\
[retry]
wait = 1 # seconds, so that a page that fails for good does not take a quarter of a minute; the default is 5

[clients.demo]
lists = ["{list_key}"]
mailchimp_api_key = "{mailchimp_key}"
ometria_api_key = "{ometria_key}"
mailchimp.url = "{mailchimp_url}"
ometria.url = "{ometria_url}"
"""


@dataclass(frozen=True)
class _Stage:
    """Where the story plays: a sandbox, and settings that lead to it."""

    sandbox: Sandbox
    folder: Path

    def act(self, words: str, *command: str, expected: int = OK) -> bool:
        """Says what is shown and which command does it in earnest, runs just that; whether it ended as expected."""
        _say(f"\n{words}\n$ mcimport {' '.join(command)}")
        options = ["--config", str(self.folder / "mcimport.toml"), "--db", str(self.folder / "state.db")]
        ended = subprocess.run([sys.executable, "-m", "mcimport", *options, *command], check=False)  # noqa: S603 - our own program, in a process of its own as cron would run it
        if ended.returncode != expected:
            _say(f"This ended with exit code {ended.returncode} instead of {expected}: please report it.")
        return ended.returncode == expected


def tell(size: int) -> int:
    """Returns 0 when every step ended as it should."""
    with tempfile.TemporaryDirectory(prefix="mcimport-demo-") as folder, Sandbox(SandboxSettings(size=size)) as sandbox:
        stage = _Stage(sandbox, Path(folder))
        (stage.folder / "mcimport.toml").write_text(
            CONFIG.format(
                list_key=sandbox.list_key,
                mailchimp_key=sandbox.mailchimp_key,
                ometria_key=sandbox.ometria_key,
                mailchimp_url=sandbox.mailchimp_url,
                ometria_url=sandbox.ometria_url,
            ),
            encoding="utf-8",
        )
        (stage.folder / "mcimport.toml").chmod(0o600)  # as `mcimport init` makes it
        open_state(stage.folder / "state.db").close()  # that there is none yet is no news here
        _say(f"A fake Mailchimp with {size:,} invented members and a fake Ometria are running on this machine.")
        return _story(stage)


def _story(stage: _Stage) -> int:
    sandbox, key = stage.sandbox, stage.sandbox.list_key
    audience = sandbox.audience()
    ended = [stage.act("The first sync imports every member of the list.", "sync", key)]
    audience.change(30)
    audience.archive(4)
    audience.join(3)
    ended.append(stage.act("37 members changed, left or joined. The next sync imports only those.", "sync", key))
    _break_somebody(sandbox)
    words = (
        "Twenty members change, and Mailchimp now fails on every page that holds one of three of them. (More than\n"
        "twenty are read, because each run starts a minute early, for changes that Mailchimp commits late.)"
    )
    ended.append(stage.act(words, "sync", key, expected=DEAD_LETTERS))
    _say("Exit code 3: finished with dead letters. No member is lost: what could not be read is recorded.")
    ended.append(stage.act("What could not be read, and why:", "dlq", "list"))
    sandbox.settings.broken.clear()
    words = "Mailchimp works again. Replaying reads that time range again, even if members changed since."
    ended.append(stage.act(words, "dlq", "replay"))
    ended.append(stage.act("All is well again.", "status"))
    return OK if all(ended) else FAILED


def _break_somebody(sandbox: Sandbox) -> None:
    """Twenty people change; of the three who changed last, no page can be read."""
    audience = sandbox.audience()
    audience.change(17)
    sandbox.clock.advance(2)
    seconds = [epoch(one["last_changed"]) for one in audience.change(3)]
    sandbox.settings.broken.append((min(seconds) - 1, max(seconds)))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the demo speaks
