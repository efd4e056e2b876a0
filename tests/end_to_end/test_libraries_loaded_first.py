"""What a run needs is loaded before its first request: an upgrade in mid-run changes nothing, and breaks nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import CONFIG, Ear, Ended, Importer, Stage, several

PROGRAM = """
import runpy, sys
port, late = int(sys.argv.pop(1)), []
def watch(event, details):
    if event == "socket.connect" and details[1][1] == port:
        late.append("")
    elif event == "import" and late:
        late.append(details[0])
sys.addaudithook(watch)
sys.argv[0] = "mcimport"
try:
    runpy.run_module("mcimport", run_name="__main__")
finally:
    print("asked" if late else "asked nobody", "late:", *sorted({*late} - {""}))
"""


def watched(importer: Importer, *arguments: str) -> Ended:
    """A command; the last line of what it writes names each module that was loaded after its first request."""
    port = str(importer.box.mailchimp_url.split(":")[2].split("/")[0])
    command = [sys.executable, "-c", PROGRAM, port, *importer.command(*arguments)[3:]]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=importer.folder)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def odd_members(importer: Importer) -> None:
    """Among the invented ones, with their phones, countries and tags: what each library is asked about."""
    audience = importer.box.audience()
    for address in ("not an address", "jörg@exämple.com", "mail@xn--exmple-cua.com"):
        audience.add(email_address=address)
    audience.change(20)


EVERYTHING = [
    ("sync",),
    ("sync", "--quiet", "--json"),
    ("sync", "--log-format", "json", "-v"),
    ("sync", "--dry-run"),
    ("reconcile", "--mend", "--yes"),
    ("dlq", "replay"),
]


@pytest.mark.parametrize("command", EVERYTHING, ids=" ".join)
def test_nothing_is_loaded_after_the_first_request(stage: Stage, ear: Ear, command: tuple[str, ...]) -> None:
    """With phones, countries, odd addresses, dead letters, warnings, notifications and metrics."""
    importer = stage(size=60)
    told = f'[notify]\nwebhook_url = "{ear.url}/hook"\nhealthcheck_url = "{ear.url}/check"\n'
    metrics = f'[metrics]\ntextfile = "{importer.folder}/mcimport.prom"\n'
    importer.configure(f"{told}{metrics}{CONFIG}reconcile.settling = 0\n")
    if command[0] != "sync":
        importer.box.audience().add(email_address="not an address")
        assert importer("sync").code == 3
        importer.box.delete_contacts(list(importer.box.contacts())[:2])
    odd_members(importer)
    ended = watched(importer, *command)
    assert ended.out.splitlines()[-1] == "asked late:", ended


def test_nor_for_several_lists(stage: Stage) -> None:
    """At their end stands a table."""
    importer = stage()
    several(importer, ["one", "two"], size=10)
    assert watched(importer, "sync").out.splitlines()[-1] == "asked late:"


HALF_GONE = """
import runpy, sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name == "phonenumbers.data.region_DE":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Gone())
sys.argv[0] = "mcimport"
runpy.run_module("mcimport", run_name="__main__")
"""


def test_a_library_that_is_not_whole_fails_each_client_before_its_first_request(stage: Stage) -> None:
    """In words, and none of them waits for a lock that the library took when it failed under another."""
    importer = stage()
    several(importer, ["one", "two"], size=10)
    command = [sys.executable, "-c", HALF_GONE, *importer.command("sync", "--json")[3:]]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    results = Ended(ended.returncode, ended.stdout, ended.stderr).lines
    assert [one["status"] for one in results] == ["failed", "failed"]
    assert all("cannot be loaded any more (phonenumbers.data.region_DE)" in one["error"] for one in results)
    assert importer.box.requests == []


def test_what_sockets_need_to_read_a_name_is_loaded_with_the_client() -> None:
    """Python loads it at the first connection: without a file to be had, that was an unforeseen fault."""
    code = "import sys; import mcimport.services.http.client; print('encodings.idna' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["True"]
