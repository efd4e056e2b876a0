"""The clock of a test, which passes while the program waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.http.waiting import Clock, passing


@pytest.fixture(name="clock")
def a_clock() -> Iterator[Clock]:
    with passing() as clock:
        yield clock
