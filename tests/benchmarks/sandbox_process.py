"""A handle on a sandbox that serves in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from benchmarks.told import Account, Counters, Place

T = TypeVar("T")

TESTS = Path(__file__).parents[1]
UNLIMITED = 100_000  # pushes a second: more than anybody can send


def environment() -> dict[str, str]:
    """For processes of the benchmarks: nothing but where programs, and our own modules, are found."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    return {"PATH": os.environ["PATH"], "PYTHONPATH": path}


class SandboxProcess:
    """From `with` on until its end.

    Args:
        size: members of each client's list.
        clients: each with keys and a list of its own.
        has_phones: False: the same people without phone numbers.
        has_many_tags: False: the same people, nobody of whom has more tags than a page lists.
        mirrors: Ometria holds whoever is on the list, but for a hundred otherwise, without having been sent anybody.
        knobs: the sandbox's. Ometria takes whatever is sent, unless `pushes_per_second` says otherwise.
    """

    place: Place

    def __init__(
        self,
        size: int,
        *,
        clients: int = 1,
        has_phones: bool = True,
        has_many_tags: bool = True,
        mirrors: bool = False,
        **knobs: Any,
    ) -> None:
        options = {
            "size": size,
            "clients": clients,
            "has_phones": has_phones,
            "has_many_tags": has_many_tags,
            "mirrors": mirrors,
            # Without marketing permissions, which few lists have: so that figures can be compared with earlier ones.
            "knobs": {"pushes_per_second": UNLIMITED, "permissions": (), **knobs},
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serve", msgspec.json.encode(options).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )

    def __enter__(self) -> Self:
        self.place = self._heard(Place)
        self.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises RuntimeError when the sandbox itself failed while it served."""
        self._process.communicate()
        if self._process.returncode and kind is None:
            raise RuntimeError("the sandbox failed while it served; its own words stand above")

    @property
    def account(self) -> Account:
        return self.place.accounts[0]

    def counters(self) -> Counters:
        """Since the last `clear`."""
        return self._ask({})

    def clear(self, **turn: Any) -> Counters:
        """Turns knobs and begins to count anew; what had been counted before comes back."""
        return self._ask({"turn": turn, "clear": True})

    def _ask(self, order: dict[str, Any]) -> Counters:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        return self._heard(Counters)

    def _heard(self, kind: type[T]) -> T:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the sandbox is gone; its own words stand above")
        return msgspec.json.decode(line, type=kind)
