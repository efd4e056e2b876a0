"""A fork server: the program is loaded once, and each command is a child of the process that loaded it.

The child is what a shell would have started, in a process group and with limits of its own, without the half second
of processor that loading takes.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HANGS = 60  # seconds after which a child is taken to hang
STACKS = signal.SIGUSR2  # makes a child write the stacks of all its threads
WRITES = 2  # seconds that it has for that
BEYOND = 250  # a descriptor for that, beyond any limit, so that the child can open as many files as the limit says
A_THREAD = 4 << 30  # bytes of address space, so that few threads fit where everything else does
ALL_ELSE = 3 << 30
SILENT = os.devnull


@dataclass(frozen=True)
class Limits:
    """How many open files this machine gives a child, or threads beside its first; None: as many as it likes."""

    files: int | None = None
    threads: int | None = None


PLENTY = Limits()


class Child:
    """A command that was started. Its process group is numbered as it is."""

    def __init__(self, server: subprocess.Popen[bytes], number: int, folder: Path) -> None:
        self.number = number
        self._server = server
        self._folder = folder

    def ended(self) -> int:
        """Its exit code, or what signal it died of, below 0. Raises TimeoutError, with its stacks, when it hangs."""
        assert self._server.stdout is not None
        if not select.select([self._server.stdout], [], [], HANGS)[0]:
            os.killpg(self.number, STACKS)
            select.select([self._server.stdout], [], [], WRITES)
            os.killpg(self.number, signal.SIGKILL)
            self._server.stdout.readline()
            raise TimeoutError(f"the child hangs:\n{(self._folder / 'stacks').read_text()}")
        return int(self._server.stdout.readline())


class ForkServer:
    """One command at a time."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        self._server = server

    def start(self, arguments: Sequence[str], folder: Path, limits: Limits) -> Child:
        """`mcimport ARGUMENTS` at the time that it is now; what it says is in `folder`, in `out` and `err`."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        ahead = time.time() - time.time_ns() / 1e9  # see `passing`: the second one is true
        order = {"arguments": list(arguments), "folder": str(folder), "ahead": ahead, **asdict(limits)}
        self._server.stdin.write(f"{json.dumps(order)}\n".encode())
        return Child(self._server, int(self._server.stdout.readline()), folder)


@contextlib.contextmanager
def fork_server() -> Iterator[ForkServer]:
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,  # a line that a buffer holds is one that `select` does not see: a child that ends at once would hang
        env={"PATH": os.environ["PATH"]},
    ) as server:
        yield ForkServer(server)


# ---- in the server's process


def _serve() -> None:
    """Says of each order the child's number, then how it ended. Returns in the children."""
    for line in sys.stdin:
        number = os.fork()
        if not number:
            _become(json.loads(line))
            return
        _say(number)
        _say(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]))
    sys.exit()


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _become(order: dict[str, Any]) -> None:
    os.setsid()
    os.chdir(order["folder"])
    os.environ["HOME"] = order["folder"]
    for number, name in enumerate((SILENT, "out", "err")):
        flags = os.O_RDWR if name == SILENT else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    opened = os.open("stacks", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(opened, BEYOND)
    os.close(opened)
    faulthandler.register(STACKS, file=BEYOND)
    true, ahead = time.time, order["ahead"]
    time.time = lambda: true() + ahead
    sys.argv = ["mcimport", *order["arguments"]]
    _limit(order["files"], order["threads"])


def _limit(files: int | None, threads: int | None) -> None:
    """Hard limits, which no process raises again. (That of a user's threads does not bind root.)"""
    if files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if threads is not None:
        threading.stack_size(A_THREAD)
        most = threads * A_THREAD + ALL_ELSE
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    from mcimport import __main__ as program
    from mcimport.cli import app as _app  # noqa: F401 - loaded so that no child has to, as is the next one
    from mcimport.cli import run_command as _work  # noqa: F401

    gc.freeze()
    _serve()
    program.main()
