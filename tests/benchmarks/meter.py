"""Runs `mcimport` in this process and writes down when it first called out, and which threads it started.

python -m benchmarks.meter MARKS.json [ARGUMENT]...; it listens to the interpreter's own audit events, so the program
is the one that users run.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from mcimport.__main__ import main


class Marks(msgspec.Struct):
    """What the meter saw.

    Attributes:
        connected_at: of the first connection; monotonic seconds, 0 without one.
        started_up: processor seconds up to then.
        worked: processor seconds from then to the end of the command.
        threads: names of the threads that were started, in order.
    """

    connected_at: float = 0.0
    started_up: float = 0.0
    worked: float = 0.0
    threads: list[str] = []


def metered(marks: Marks) -> None:
    def listen(event: str, details: tuple[Any, ...]) -> None:
        if event == "socket.connect" and not marks.connected_at:
            marks.connected_at, marks.started_up = time.monotonic(), time.process_time()
        elif event == "_thread.start_new_thread":
            thread = getattr(details[0], "__self__", None)
            marks.threads.append(str(getattr(thread, "name", "?")))

    sys.addaudithook(listen)


if __name__ == "__main__":
    marks, path = Marks(), Path(sys.argv[1])
    sys.argv = ["mcimport", *sys.argv[2:]]
    metered(marks)
    try:
        main()
    finally:
        marks.worked = time.process_time() - marks.started_up
        path.write_bytes(msgspec.json.encode(marks))
