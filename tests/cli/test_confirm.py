"""Questions at the terminal: only a yes is one, and without a terminal nothing is asked."""

from __future__ import annotations

import io
import sys

import pytest
from conftest import MakeImporter

from mcimport.cli.confirm import ask, check_terminal, confirm
from mcimport.errors import ConfigError


class Terminal(io.StringIO):
    """Standard input at which a person types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("", False), ("ye\n", False)],
)
def test_only_a_yes_confirms(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, *, expected: bool
) -> None:
    """All else is a no, the end of input too; the question goes to standard error."""
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert confirm("Remove it?") == expected
    assert capsys.readouterr() == ("", "Remove it? [y/N] ")


def test_an_answer_is_one_line_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands behind the line is left for whoever reads next."""
    monkeypatch.setattr(sys, "stdin", Terminal(" 1,234 \nmore"))
    assert (ask("How many?"), sys.stdin.read()) == ("1,234", "more")


def test_without_a_terminal_nothing_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what cannot be asked, and its hint what to type instead."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(ConfigError, match=r"^cannot ask: not running in a terminal$") as raised:
        check_terminal("cannot ask", hint="Add --yes.")
    assert raised.value.hint == "Add --yes."


@pytest.mark.parametrize(("typed", "left"), [("y\n", []), ("n\n", ["acme"])])
def test_forget_removes_what_was_recorded_after_a_yes(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch, typed: str, left: list[str]
) -> None:
    """It asks for the client by name; after a no everything stays."""
    importer = make_importer(size=5)
    importer("sync")
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    result = importer("forget", "acme")
    assert (result.code, "Remove everything recorded for acme" in result.err) == (0, True)
    assert [line["client"] for line in importer("runs", "list", "--json").lines] == left
