"""The importer in a process of its own, and what that process took."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.meter import Marks
from benchmarks.sandbox_process import SandboxProcess, environment
from benchmarks.told import Account

MEGABYTE = 1024  # in the kilobytes that Linux counts in
MOST_PER_SECOND = 1_000  # pushes a second: the fastest that can be configured

CLIENT = """\
[clients.{name}]
lists = ["{list_key}"]
mailchimp_api_key = "{mailchimp_key}"
ometria_api_key = "{ometria_key}"
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """A process that ended well.

    Attributes:
        began: monotonic seconds.
        wall, processor: seconds; user and system time of this process alone.
        peak: the most resident memory it had, in MB.
        out: standard output.
        marks: what the meter saw, if there was one.
    """

    began: float
    wall: float
    processor: float
    peak: float
    out: str
    marks: Marks


class Importer:
    """One configuration and one state file, in a folder of their own. `python`: has the mcimport that is measured."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        self.python = python
        self.db = folder / "state.db"
        self.config = folder / "mcimport.toml"

    def configure(
        self,
        mailchimp: SandboxProcess,
        ometria: SandboxProcess,
        accounts: Sequence[Account],
        *,
        per_second: float = MOST_PER_SECOND,
        reads: float = 4,
    ) -> None:
        shared = (
            f'[mailchimp]\nurl = "{mailchimp.place.mailchimp_url}"\n'
            f'[ometria]\nurl = "{ometria.place.ometria_url}"\nrequests_per_second = {per_second}\n'
            f"reads_per_second = {reads}\n[reconcile]\nsettling = 0\n"
        )
        clients = (CLIENT.format(**msgspec.structs.asdict(one)) for one in accounts)
        self.config.write_text("\n".join([shared, *clients]), encoding="utf-8")
        self.config.chmod(0o600)

    def __call__(self, *arguments: str, is_metered: bool = False) -> Ran:
        """Runs a command to its end. Raises RuntimeError when that is not exit code 0."""
        marks = self.folder / "marks.json"
        command = self._metered(marks, arguments) if is_metered else self.command(*arguments)
        ran = run(command, self.folder)
        if not is_metered:
            return ran
        return Ran(
            ran.began, ran.wall, ran.processor, ran.peak, ran.out, msgspec.json.decode(marks.read_bytes(), type=Marks)
        )

    def command(self, *arguments: str) -> list[str]:
        return [self.python, "-m", "mcimport", *self._options(), *arguments]

    def _metered(self, marks: Path, arguments: Sequence[str]) -> list[str]:
        return [self.python, "-m", "benchmarks.meter", str(marks), *self._options(), *arguments]

    def _options(self) -> list[str]:
        return ["--config", str(self.config), "--db", str(self.db)]


def run(command: Sequence[str], folder: Path) -> Ran:
    """Any process, to its end. Raises RuntimeError when that is not exit code 0."""
    out, err = folder / "out.txt", folder / "err.txt"
    with out.open("wb") as output, err.open("wb") as errors:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            cwd=folder,  # Python looks for modules here first: in the checkout, it would find what stands there
            env=environment() | {"HOME": str(folder)},
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
    process.returncode = code = os.waitstatus_to_exitcode(status)
    if code:
        raise RuntimeError(f"{command[2]} {' '.join(command[3:])} ended with {code}:\n{err.read_text()}")
    return Ran(began, wall, used.ru_utime + used.ru_stime, _peak(used), out.read_text(encoding="utf-8"), Marks())


def _peak(used: resource.struct_rusage) -> float:
    """In MB. A child is born with its parent's peak, so what is not above ours was not measured."""
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max(used.ru_maxrss, ours) / MEGABYTE


@contextmanager
def importer(
    sandbox: SandboxProcess,
    *,
    per_second: float = MOST_PER_SECOND,
    reads: float = 4,
    ometria: SandboxProcess | None = None,
    clients: int | None = None,
) -> Iterator[Importer]:
    """An importer with an empty state. `ometria`: pushes go to another sandbox; `clients`: only the first so many."""
    with tempfile.TemporaryDirectory(prefix="mcimport-bench-") as folder:
        one = Importer(Path(folder))
        one.configure(sandbox, ometria or sandbox, sandbox.place.accounts[:clients], per_second=per_second, reads=reads)
        yield one
