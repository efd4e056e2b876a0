"""`mcimport sandbox`: what it prints is all that a shell needs to use it, and to be as it was before."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import passing
import pytest

from mcimport.sandbox.server import LIST_KEY


@contextmanager
def serving(folder: Path, *options: str, signum: int = signal.SIGTERM) -> Iterator[str]:
    """Yields what it prints, up to the line that comes last; then it leaves on a signal, with 0."""
    command = passing.program(["sandbox", "--port", "0", "--size", "30", *options])
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or "rm -r" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1]
        yield "".join(lines)
        process.send_signal(signum)
        assert process.wait(20) == 0


def shell(folder: Path, printed: str, *commands: str) -> str:
    """What a shell prints that was given these lines, and then these commands."""
    mcimport = " ".join(passing.program([]))
    script = "\n".join(["set -eu", printed, f'mcimport() {{ {mcimport} "$@"; }}', *commands])
    ended = subprocess.run(
        ["/bin/bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def undoing(printed: str) -> str:
    """The lines below "To undo", as they are pasted."""
    return printed.partition("# To undo it there:\n")[2].replace("#", "")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_one_client_needs_variables_alone_and_a_state_file_of_its_own(tmp_path: Path, signum: int) -> None:
    """The list and how to stop are named; after the lines that undo it, no variable and no file is left."""
    with serving(tmp_path, signum=signum) as printed:
        assert f"mcimport sync {LIST_KEY}" in printed
        assert "Ctrl-C" in printed
        commands = (f"mcimport sync {LIST_KEY} --json", "ls $(dirname $MCIMPORT_DB)", undoing(printed), "env")
        line, rest = shell(tmp_path, printed, *commands).split("\n", 1)
    assert json.loads(line)["status"] == "completed"
    assert "mcimport.db" in rest
    assert "MCIMPORT_" not in rest
    assert list(tmp_path.glob("mcimport-sandbox-*")) == []


def test_several_clients_have_a_file_that_a_sync_takes_at_once(tmp_path: Path) -> None:
    """Each has an account and a list of its own; the file holds keys, so it is for its owner alone."""
    with serving(tmp_path, "--clients", "3") as printed:
        synced = [json.loads(line) for line in shell(tmp_path, printed, "mcimport sync --json").splitlines()]
        (config,) = tmp_path.glob("mcimport-sandbox-*/mcimport.toml")
        assert shell(tmp_path, "", f"mcimport --config {config} --db other.db sync --quiet") == ""
        assert stat.S_IMODE(config.stat().st_mode) == 0o600
        shell(tmp_path, printed, undoing(printed), 'test -z "${MCIMPORT_CONFIG:-}${MCIMPORT_DB:-}"')
    assert sorted(one["client"] for one in synced) == ["shop-1", "shop-2", "shop-3"]
    assert len({one["list_key"] for one in synced}) == 3
    assert {(one["status"], one["contacts_pushed"] > 0) for one in synced} == {("completed", True)}
    assert all(one["list_key"] in printed for one in synced)
    assert not config.parent.exists()
