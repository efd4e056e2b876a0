"""People who change, join, leave, come back, are deleted or move to another address while the sandbox serves."""

# ruff: noqa: S311 - the sandbox's chance must be repeatable, not secret

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from threading import Event, Thread

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.settings import SandboxSettings

_EVERY = 0.02
_KINDS: tuple[tuple[Callable[[Audience], object], int], ...] = (
    (lambda audience: audience.change(), 45),
    (lambda audience: audience.join(), 12),
    (lambda audience: audience.leave(), 12),
    (lambda audience: audience.come_back(), 8),
    (lambda audience: audience.delete(), 6),
    (lambda audience: audience.move_address(), 7),
    (lambda audience: audience.unsubscribe(), 5),
    (lambda audience: audience.subscribe(), 5),
)


def random_change(audience: Audience, chance: random.Random) -> None:
    """One change of any kind to one member."""
    kinds, weights = zip(*_KINDS, strict=True)
    chance.choices(kinds, weights)[0](audience)


class Churn:
    """A thread that stirs all lists, `knobs.churn` times a second, until it is stopped."""

    def __init__(self, knobs: SandboxSettings, audiences: Callable[[], Sequence[Audience]]) -> None:
        self._knobs = knobs
        self._audiences = audiences
        self._chance = random.Random(knobs.seed)
        self._over = Event()
        self._thread = Thread(target=self._run, name="sandbox-churn", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        owed = 0.0
        while not self._over.wait(_EVERY):
            owed += self._knobs.churn * _EVERY
            while owed >= 1:
                random_change(self._chance.choice(self._audiences()), self._chance)
                owed -= 1
