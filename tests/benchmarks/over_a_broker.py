"""What moving pages by workers over a broker costs a page, and how it goes on beside the pool of one process."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.rabbit import Rabbit

from benchmarks.figures import Figure, Scale
from benchmarks.importer import Importer, importer
from benchmarks.sandbox_process import SandboxProcess, environment

READY = "takes pages from "
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = 100  # members: many pages, so that what each costs is seen


def measure(scale: Scale) -> Iterator[Figure]:
    """On this machine all of them share its cores, with the sandbox: workers elsewhere have cores of their own."""
    with tempfile.TemporaryDirectory(prefix="mcimport-bench-") as folder, Rabbit(Path(folder)) as rabbit:
        yield from _cost_of_a_page(rabbit, scale.of(20_000, 2_000))
        yield from _speed(rabbit, scale.of(50, 5), scale.of(2_000, 300))


def _cost_of_a_page(rabbit: Rabbit, size: int) -> Iterator[Figure]:
    with SandboxProcess(size) as sandbox:
        with importer(sandbox) as one:
            _configure(one, rabbit, window=PAGE)
            local = one("sync", "--quiet").processor
            pages = sandbox.clear().pages
        with importer(sandbox) as one:
            _configure(one, rabbit, window=PAGE)
            with _workers(one, 1) as workers:
                before = [_processor(pid) for pid in (workers[0], rabbit.pid)]
                coordinator = one("sync", "--quiet", "--engine", "celery").processor
                worker, broker = (
                    _processor(pid) - was for pid, was in zip((workers[0], rabbit.pid), before, strict=True)
                )
    each = 1e3 / pages
    for name, seconds in (("coordinator", coordinator), ("worker", worker), ("broker", broker)):
        yield Figure(
            f"processor a page of {PAGE}: {name}", seconds * each, "ms", "all of it in one process", local * each
        )
    whole = coordinator + worker + broker
    yield Figure("processor a page, all three", whole * each, "ms", "all of it in one process", local * each)


def _speed(rabbit: Rabbit, clients: int, size: int) -> Iterator[Figure]:
    """Accounts that answer after 0.3 s, with Ometria's own limits."""
    with SandboxProcess(size, clients=clients, latency=0.3, pushes_per_second=8) as sandbox:
        with importer(sandbox) as one:
            one("sync", "--quiet", "--jobs", str(clients), "--dry-run")  # so that the sandbox has written everybody
            sandbox.clear()
        with importer(sandbox, per_second=8) as one:
            _configure(one, rabbit)
            seconds = one("sync", "--quiet", "--jobs", str(clients)).wall
            alone = sandbox.clear().records / seconds
        yield Figure(
            f"{clients} accounts, one process, --jobs {clients}", alone, "contacts/s", "their limits", 800 * clients
        )
        for many in (1, 2, 4):
            with importer(sandbox, per_second=8) as one:
                _configure(one, rabbit)
                with _workers(one, many):
                    ran = one("sync", "--quiet", "--engine", "celery", "--jobs", str(clients))
                    speed = sandbox.clear().records / ran.wall
            yield Figure(f"{clients} accounts, {many} workers", speed, "contacts/s", "one process", alone)


def _configure(one: Importer, rabbit: Rabbit, *, window: int = 1_000) -> None:
    text = one.config.read_text(encoding="utf-8").replace("[mailchimp]\n", f"[mailchimp]\nwindow = {window}\n")
    one.config.write_text(f'{text}\n[engine]\nbroker = "{rabbit.address}"\n', encoding="utf-8")


@contextmanager
def _workers(one: Importer, many: int) -> Iterator[list[int]]:
    """Their process ids, once each has taken its share of the queues."""
    processes = [
        subprocess.Popen(
            one.command("worker"), stderr=subprocess.PIPE, text=True, env=environment() | {"HOME": str(one.folder)}
        )
        for _ in range(many)
    ]
    try:
        for process in processes:
            assert process.stderr is not None
            while READY not in (line := process.stderr.readline()):
                if not line:
                    raise RuntimeError("a worker did not come up")
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.terminate()
            process.communicate()


def _processor(pid: int) -> float:
    """Seconds of user and system time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
