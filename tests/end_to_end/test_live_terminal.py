"""What a person sees in a real terminal while the program works, and what is left there when it has ended."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from conftest import CONFIG, Importer, MakeImporter
from report.screen import Screen

from mcimport.sandbox.request_log import Request

WAIT = 60.0  # seconds after which a test fails rather than hangs
# So many tries that none of these runs fails before the test has seen it wait.
SMALL_PAGES = CONFIG.replace("wait = 0", "wait = 1\nretries = 20") + "mailchimp.window = 60\n"


class Terminal:
    """A terminal in which a command runs."""

    def __init__(self, importer: Importer, *command: str) -> None:
        self.screen = Screen(110, 24)
        self._leader, child = pty.openpty()
        self.resize(110, 24)
        environment = {"PATH": os.environ["PATH"], "HOME": str(importer.folder), "TERM": "xterm"}
        self.process = subprocess.Popen(
            importer.command(*command), stdin=child, stdout=child, stderr=child, env=environment
        )
        os.close(child)

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._leader, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.screen.resize(width, height)

    def type(self, text: str) -> None:
        os.write(self._leader, text.encode())

    def until(self, shown: Callable[[str], bool]) -> str:
        """Reads until the screen shows that, and returns what it shows then."""
        end = time.monotonic() + WAIT
        while not shown("\n".join(self.screen.lines)):
            assert time.monotonic() < end, self.screen.lines
            assert self._read(), self.screen.lines
        return "\n".join(self.screen.lines)

    def rest(self) -> list[str]:
        """Reads until the command has ended, and returns what is left on the screen and above it."""
        while self._read():
            pass
        return self.screen.lines

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._leader)

    def _read(self) -> bool:
        with suppress(OSError):  # at its end, a terminal is an error
            if select.select([self._leader], [], [], WAIT)[0] and (some := os.read(self._leader, 10_000)):
                self.screen.write(some.decode())
                return True
        return False


@contextmanager
def terminal(importer: Importer, *command: str) -> Iterator[Terminal]:
    shown = Terminal(importer, *command)
    try:
        yield shown
    finally:
        shown.close()


@pytest.fixture
def importer(make_importer: MakeImporter) -> Importer:
    found = make_importer(size=600)
    found.configure(SMALL_PAGES)
    found.create_state_file()
    return found


def test_retries_and_a_stop_are_shown_and_leave_nothing_behind(importer: Importer) -> None:
    """Why it waits, what a second Ctrl-C does, and in the end the result alone, though the size changed meanwhile."""
    settings = importer.sandbox.settings
    settings.fault = lambda request: "500" if request.path.endswith("/members") else None
    with terminal(importer, "sync") as shown:
        shown.until(lambda text: "Mailchimp answered 500 (Internal Server Error), trying again in 1 s, " in text)
        settings.silence = WAIT
        settings.fault = lambda request: "silent" if request.path == "/push" else None
        shown.until(lambda text: "0 of " in text and "processing the first pages" in text)
        shown.resize(50, 12)
        shown.process.send_signal(signal.SIGINT)
        shown.until(lambda text: re.search(r"finishing \d+ pages; Ctrl-C again stops now", text) is not None)
        shown.resize(120, 30)
        shown.process.send_signal(signal.SIGINT)
        left = shown.rest()
        assert shown.process.wait() == 130
    assert left[0].startswith(f"acme {importer.sandbox.list_key}  interrupted")
    assert [line for line in left if "trying again" in line or "finishing" in line or "contacts/s" in line] == []
    assert "resumes it." in left[-1]


def test_a_run_that_is_resumed_goes_on_in_the_bar_and_counts_for_itself(importer: Importer) -> None:
    """The bar begins at what was read before; the two results add up, and the log of runs has them in one."""
    pushes: list[Request] = []

    def one_push(request: Request) -> str | None:
        if request.path == "/push":
            pushes.append(request)
        return "401" if request.path == "/push" and len(pushes) > 3 else None

    importer.sandbox.settings.fault = one_push
    first = importer("sync", "--json").line
    assert 0 < first["members_read"] < 500
    importer.sandbox.settings.silence = WAIT
    importer.sandbox.settings.fault = lambda request: "silent" if request.path == "/push" else None
    with terminal(importer, "sync") as shown:
        shown.until(lambda text: f" {first['members_read']:,} of {first['members_total']:,} " in text)
        shown.process.kill()
    importer.sandbox.settings.fault = None
    second = importer("sync", "--json").line
    assert first["members_read"] + second["members_read"] == first["members_total"]
    total = importer("runs", "show", str(first["run_id"]), "--json").line
    assert total["contacts_pushed"] == first["contacts_pushed"] + second["contacts_pushed"]
    assert second["windows_done"] == second["windows_total"]


def test_a_comparison_shows_both_sides_and_asks_in_between(importer: Importer) -> None:
    """Members and contacts that are read, the question on a screen of its own, and Ometria's time to settle."""
    importer.sandbox.settings.fault = None
    importer.config.write_text(
        importer.config.read_text().replace("[retry]", "[reconcile]\nsettling = 2\nmost = '100%'\n\n[retry]")
    )
    assert importer("sync").code == 0
    importer.sandbox.delete_contacts(sorted(importer.sandbox.contacts())[:3])
    with terminal(importer, "reconcile", "--mend") as shown:
        asked = shown.until(lambda text: text.endswith("[y/N]"))
        assert "in Mailchimp" not in asked
        shown.type("y\n")
        shown.until(lambda text: "in Mailchimp" in text and "in Ometria" in text and "s for Ometria to settle" in text)
        left = shown.rest()
        assert shown.process.wait() == 0
    assert "fixed       3 of 3" in "\n".join(left)
    assert [line for line in left if "in Mailchimp" in line or "settle" in line] == []


def test_contacts_are_counted_as_ometria_accepts_them(importer: Importer) -> None:
    """Before the first page is done, of which three batches of four were answered."""
    importer.configure(SMALL_PAGES + "ometria.batch = 15\n")
    importer.sandbox.settings.silence = WAIT
    pushes: list[Request] = []

    def three_pushes(request: Request) -> str | None:
        if request.path == "/push":
            pushes.append(request)
        return "silent" if len(pushes) > 3 and request.path == "/push" else None

    importer.sandbox.settings.fault = three_pushes
    with terminal(importer, "sync") as shown:
        shown.until(lambda text: re.search(r" 45 of \d+ +45 +0 of ", text) is not None)


def test_a_round_says_on_a_terminal_when_it_was(importer: Importer) -> None:
    """Rounds look alike; their lines begin with the time of day."""
    with terminal(importer, "sync", "--every", "1h") as shown:
        shown.until(lambda text: re.search(r"^\d\d:\d\d:\d\d  acme .* imported in ", text, re.MULTILINE) is not None)
        shown.process.send_signal(signal.SIGINT)
        shown.rest()
        assert not shown.screen.breaks_words


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("status",), "does not exist, so nothing is synced yet"),
        (("init", "--client", "acme", "--list", "x y"), "not a list id"),
        (("probe", "1a2d7ebf82"), "the answers are not kept"),
    ],
    ids=["remark", "error", "conclusion"],
)
def test_what_is_said_on_a_terminal_wraps_between_words(
    make_importer: MakeImporter, command: tuple[str, ...], words: str
) -> None:
    """Remarks, errors and results alike: none runs over the edge."""
    with terminal(make_importer(size=10), *command) as shown:
        lines = shown.rest()
        assert words in " ".join(line.strip() for line in lines)
        assert not shown.screen.breaks_words, lines
