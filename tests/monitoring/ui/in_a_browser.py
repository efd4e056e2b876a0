"""`make test-ui`: each page of `mcimport ui` in headless Chromium, as wide as a desk's screen and as a phone's.

It says what is not drawn, and which page a phone has to scroll sideways, and leaves a picture of each.

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
from typing import Any

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
WIDE, NARROW = 1280, 390  # pixels; a window of Chromium is never narrower than 500, so the narrow page is in a frame
FRAME = f"""<!doctype html><title>?</title><body style="margin:0">
<iframe src="PAGE" style="border:0;width:{NARROW}px;height:2400px"></iframe>
<script>
  const page = document.querySelector("iframe")
  const measure = () => {{ document.title = page.contentDocument.documentElement.scrollWidth }}
  page.onload = () => setInterval(measure, 200)
</script>"""
DRAWN = {"metric": r"<p style=[^>]*font-size", "table": "<td>", "vega-lite": "<(?:canvas|svg)"}


def main() -> int:
    browser = _browser()
    if browser is None:
        sys.stderr.write("no chromium, and nobody here who may install it: apt-get install chromium\n")
        return 2
    pictures = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="mcimport-ui-"))
    with _served() as link:
        failures = [failure for name in dashboards() for failure in _looked_at(browser, link, name, pictures)]
    sys.stdout.write(f"pictures: {pictures}\n" + "".join(f"{one}\n" for one in failures))
    looked_at = sum(len(page["charts"]) + 1 for page in dashboards().values())
    sys.stdout.write(f"{looked_at - len(failures)} passed, {len(failures)} failed\n")
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
            app = _framed(application(Path(folder) / "state.db", None).app())
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join()


def _framed(app: Any) -> Any:
    """Serves a page in a frame as narrow as a phone, too, at `/narrow?PATH`: only its own host may measure it."""

    async def framed(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/narrow":
            await app(scope, receive, send)
            return
        html = FRAME.replace("PAGE", f"/-/dashboards/{scope['query_string'].decode()}").encode()
        headers = [(b"content-type", b"text/html"), (b"content-length", str(len(html)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": html})

    return framed


def _looked_at(browser: str, address: str, name: str, pictures: Path) -> Iterator[str]:
    """What the page should show and does not."""
    whole = _seen(browser, f"{address}/-/dashboards/{name}", pictures / f"{name}-{WIDE}.png", WIDE)
    for slug, chart in dashboards()[name]["charts"].items():
        card = whole.partition(f'id="chart-{slug}"')[2].partition('id="card-')[0]
        if not re.search(DRAWN[chart["library"]], card):
            yield f"NOT DRAWN: {name}: {chart['title']}"
    framed = _seen(browser, f"{address}/narrow?{name}", pictures / f"{name}-{NARROW}.png", 500)
    width = re.findall("<title>(.*?)</title>", framed)[0]
    if width != str(NARROW):
        yield f"WIDER THAN A PHONE: {name}: {width} pixels"


def _seen(browser: str, url: str, picture: Path, width: int) -> str:
    """Takes a picture of a page, and returns what it consists of once its scripts have run."""
    options = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--window-size={width},{1500 if width == WIDE else 2400}",
        "--virtual-time-budget=15000",
    )
    subprocess.run([browser, *options, f"--screenshot={picture}", url], check=True, stderr=subprocess.DEVNULL)
    dumped = subprocess.run([browser, *options, "--dump-dom", url], check=True, capture_output=True, text=True)
    return dumped.stdout


if __name__ == "__main__":
    sys.exit(main())
