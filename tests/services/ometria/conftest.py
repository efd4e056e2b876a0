"""A sandbox for all tests of a file, and accounts of their own in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.services.ometria.client import OmetriaClient
from services.ometria.accounts import Boxes, new_account


@pytest.fixture(scope="module", name="shared")
def a_sandbox() -> Iterator[Sandbox]:
    """One for all tests: to start and to stop it takes longer than most of them."""
    with Sandbox(SandboxSettings(size=0)) as sandbox:
        yield sandbox


@pytest.fixture(name="make")
def a_maker(shared: Sandbox) -> Iterator[Boxes]:
    """An account of its own for the test, with the knobs as they are by default but for those named."""
    with ExitStack() as stack:

        def make(*, batch: int = 100, **knobs: Any) -> tuple[Sandbox, OmetriaClient]:
            ometria = new_account(shared, batch, **knobs)
            stack.callback(ometria.close)
            return shared, ometria

        yield make
