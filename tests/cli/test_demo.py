"""`mcimport demo`: that it stands alone, and says so where it does not go as it should."""

from __future__ import annotations

import pytest

from mcimport.cli.demo import run_demo
from mcimport.cli.exits import FAILED, of_error
from mcimport.errors import McimportError
from mcimport.sandbox.request_log import Request
from mcimport.sandbox.settings import SandboxSettings


def test_a_step_that_goes_wrong_ends_the_demo_with_1_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first goes well, though variables lead elsewhere; the second is refused; there is no third."""
    monkeypatch.setenv("MCIMPORT_OMETRIA_URL", "http://127.0.0.1:1/v2")

    def refuse_the_second(request: Request) -> str | None:
        return "401" if "since_last_changed" in request.query else None

    with pytest.raises(McimportError, match=r"^step 2 of the demo, `mcimport sync \w+`, .* code 1, not 0") as failed:
        run_demo(SandboxSettings(size=100, fault=refuse_the_second))
    assert of_error(failed.value) == FAILED
    assert capfd.readouterr().err.count("\n$ mcimport ") == 2
