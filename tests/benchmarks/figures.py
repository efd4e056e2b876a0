"""What a benchmark hands back: figures, each beside what it has to be compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the benchmarks are: in earnest, or just large enough to see that they run."""

    is_quick: bool = False

    def of(self, full: T, quick: T) -> T:
        return quick if self.is_quick else full


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured.

    Attributes:
        beside: what the measured value stands next to: a ceiling, a floor or a baseline of the same run.
        baseline: its value, in the same unit.
        bound: what is asked of the figure, in words; empty where nothing is.
        holds: whether it is so; None where nothing is asked.
    """

    name: str
    value: float
    unit: str
    beside: str
    baseline: float
    bound: str = ""
    holds: bool | None = None

    @property
    def share(self) -> float | None:
        """Of the baseline; None where that is nothing."""
        return self.value / self.baseline if self.baseline else None


Benchmark = Callable[[Scale], Iterator[Figure]]
"""Yields its figures one by one, as they are measured. Raises whatever keeps it from measuring."""
