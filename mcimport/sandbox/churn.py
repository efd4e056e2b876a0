"""Changes members at random while the sandbox serves: they join, change, are archived, come back or are deleted."""

# ruff: noqa: S311 - the sandbox's chance must be repeatable, not secret

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from threading import Event, Thread

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.settings import SandboxSettings

_TICK = 0.02
_CHANGES: tuple[tuple[Callable[[Audience], object], int], ...] = (
    (lambda audience: audience.change(), 45),
    (lambda audience: audience.join(), 12),
    (lambda audience: audience.archive(), 12),
    (lambda audience: audience.unarchive(), 8),
    (lambda audience: audience.delete(), 6),
    (lambda audience: audience.change_address(), 7),
    (lambda audience: audience.unsubscribe(), 5),
    (lambda audience: audience.subscribe(), 5),
)


def random_change(audience: Audience, rng: random.Random) -> None:
    """Makes one change of any kind to one member."""
    kinds, weights = zip(*_CHANGES, strict=True)
    rng.choices(kinds, weights)[0](audience)


class Churn:
    """Makes `settings.churn` random changes a second over all lists, in a thread, until it is stopped."""

    def __init__(self, settings: SandboxSettings, audiences: Callable[[], Sequence[Audience]]) -> None:
        self._settings = settings
        self._audiences = audiences
        self._rng = random.Random(settings.seed)
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="sandbox-churn", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        owed = 0.0
        while not self._stopped.wait(_TICK):
            owed += self._settings.churn * _TICK
            while owed >= 1:
                random_change(self._rng.choice(self._audiences()), self._rng)
                owed -= 1
