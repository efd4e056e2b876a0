"""`make test-ui`: each page of `mcimport ui` in headless Chromium: what is drawn there, and a picture of it.

As root on Debian it installs the browser where there is none; elsewhere it says what is missing and ends with 2.
Pictures go to the folder that is named, by default a new one, and are there to be looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from mcimport.monitoring.ui.pages import dashboards
from mcimport.monitoring.ui.server import application
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings

SETTINGS = """\
[mailchimp]
window = 200
[retry]
wait = 0.1
[clients.acme]
lists = ["{list_key}"]
mailchimp_api_key = "{mailchimp_key}"
ometria_api_key = "{ometria_key}"
mailchimp.url = "{mailchimp_url}"
ometria.url = "{ometria_url}"
"""
DRAWN = {"metric": r"<p style=[^>]*font-size", "table": "<td>", "vega-lite": "<(?:canvas|svg)"}


def main() -> int:
    browser = _browser()
    if browser is None:
        sys.stderr.write("no chromium, and nobody here who may install it: apt-get install chromium\n")
        return 2
    pictures = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="mcimport-ui-"))
    with _served() as link:
        failures = [failure for name in dashboards() for failure in _looked_at(browser, link, name, pictures)]
    sys.stdout.write(f"pictures: {pictures}\n" + "".join(f"NOT DRAWN: {one}\n" for one in failures))
    drawn = sum(len(page["charts"]) for page in dashboards().values()) - len(failures)
    sys.stdout.write(f"{drawn} passed, {len(failures)} failed\n")
    return 1 if failures else 0


def _browser() -> str | None:
    if shutil.which("chromium") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for words in (["update"], ["install", "--yes", "chromium"]):
            subprocess.run(["apt-get", *words], check=True, stdout=subprocess.DEVNULL)  # noqa: S607 - Debian's own
    return shutil.which("chromium")


@contextmanager
def _served() -> Iterator[str]:
    """The pages of a used state file, for everybody: a browser that starts anew for each page keeps no cookie."""
    with tempfile.TemporaryDirectory() as folder, Sandbox(SandboxSettings(size=1_500, broken=["100-101"])) as sandbox:
        names = ("list_key", "mailchimp_key", "ometria_key", "mailchimp_url", "ometria_url")
        settings = SETTINGS.format(**{name: getattr(sandbox, name) for name in names})
        (Path(folder) / "mcimport.toml").write_text(settings, encoding="utf-8")
        command = [sys.executable, "-m", "mcimport", "--db", "state.db", "sync", "--quiet"]
        subprocess.run(command, cwd=folder, check=False, stderr=subprocess.DEVNULL)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            app = application(Path(folder) / "state.db", None).app()
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}/-/dashboards"
            finally:
                server.should_exit = True
                thread.join()


def _looked_at(browser: str, address: str, name: str, pictures: Path) -> Iterator[str]:
    """What the page should show and does not."""
    options = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1200,1500",
        "--virtual-time-budget=8000",
    )
    picture = f"--screenshot={pictures / name}.png"
    subprocess.run([browser, *options, picture, f"{address}/{name}"], check=True, stderr=subprocess.DEVNULL)
    dumped = subprocess.run(
        [browser, *options, "--dump-dom", f"{address}/{name}"], check=True, capture_output=True, text=True
    )
    for slug, chart in dashboards()[name]["charts"].items():
        card = dumped.stdout.partition(f'id="chart-{slug}"')[2].partition('id="card-')[0]
        if not re.search(DRAWN[chart["library"]], card):
            yield f"{name}: {chart['title']}"


if __name__ == "__main__":
    sys.exit(main())
