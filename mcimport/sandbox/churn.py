"""Changes members at random while the sandbox serves: they join, change, are archived, come back or are deleted."""

# ruff: noqa: S311 - the sandbox's chance must be repeatable, not secret

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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


@contextmanager
def churning(settings: SandboxSettings, audiences: Callable[[], Sequence[Audience]]) -> Iterator[None]:
    """Makes `settings.churn` random changes a second over all lists inside the `with`, in a thread."""
    stopped, rng = Event(), random.Random(settings.seed)

    def change() -> None:
        owed = 0.0
        while not stopped.wait(_TICK):
            owed += settings.churn * _TICK
            while owed >= 1:
                random_change(rng.choice(audiences()), rng)
                owed -= 1

    thread = Thread(target=change, name="sandbox-churn", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
