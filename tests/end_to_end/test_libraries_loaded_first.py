"""What a run needs is loaded before its first request: an upgrade in mid-run changes nothing, and breaks nothing.

The libraries of a conversion are loaded later, for most runs have nobody to convert: each at once, and whole.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import CONFIG, CommandResult, Importer, MakeImporter, WebhookReceiver, configure_clients

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

# The libraries of a conversion, and what these load of others.
CONVERSION = ("phonenumbers", "pycountry", "importlib", "email_validator", "idna", "encodings")


def watched(importer: Importer, *arguments: str) -> CommandResult:
    """A command; the last line of what it writes names each module that was loaded after its first request."""
    port = str(importer.sandbox.mailchimp_url.split(":")[2].split("/")[0])
    command = [sys.executable, "-c", PROGRAM, port, *importer.command(*arguments)[3:]]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=importer.folder)
    return CommandResult(result.returncode, result.stdout, result.stderr)


def late(result: CommandResult) -> set[str]:
    """The packages, other than those of a conversion, of which modules were loaded after the first request."""
    head, _, names = result.out.splitlines()[-1].partition(" late:")
    assert head == "asked", result
    return {name.split(".")[0] for name in names.split()} - set(CONVERSION)


def odd_members(importer: Importer) -> None:
    """Among the invented ones, with their phones, countries and tags: what each library is asked about."""
    audience = importer.sandbox.audience()
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
def test_nothing_but_what_converts_is_loaded_after_the_first_request(
    make_importer: MakeImporter, receiver: WebhookReceiver, command: tuple[str, ...]
) -> None:
    """With phones, countries, odd addresses, dead letters, warnings, notifications and metrics."""
    importer = make_importer(size=60)
    told = f'[notify]\nwebhook_url = "{receiver.url}/hook"\nhealthcheck_url = "{receiver.url}/check"\n'
    metrics = f'[metrics]\ntextfile = "{importer.folder}/mcimport.prom"\n'
    importer.configure(f"{told}{metrics}{CONFIG}reconcile.settling = 0\n")
    if command[0] != "sync":
        importer.sandbox.audience().add(email_address="not an address")
        assert importer("sync").code == 3
        importer.sandbox.delete_contacts(list(importer.sandbox.contacts())[:2])
    odd_members(importer)
    assert late(watched(importer, *command)) == set()


def test_nor_for_several_lists(make_importer: MakeImporter) -> None:
    """At their end stands a table."""
    importer = make_importer()
    configure_clients(importer, ["one", "two"], size=10)
    assert late(watched(importer, "sync")) == set()


def test_a_run_that_converts_nobody_loads_nothing_after_its_first_request(make_importer: MakeImporter) -> None:
    """Every hour, for each client: it pays for no country, no phone number and no odd address."""
    importer = make_importer(size=20)
    assert importer("sync").code == 0
    assert watched(importer, "sync").out.splitlines()[-1] == "asked late:"


def test_a_library_is_loaded_whole_when_the_first_member_needs_it(make_importer: MakeImporter) -> None:
    """One Spanish number brings the data of every country: a package that is upgraded later changes nothing."""
    importer = make_importer(size=0)
    importer.sandbox.audience().add(email_address="a@b.example", merge_fields={"PHONE": "+34 600 555 012"})
    names = watched(importer, "sync").out.splitlines()[-1].split()
    assert {"phonenumbers.data.region_ES", "phonenumbers.data.region_DE", "phonenumbers.data.region_ZW"} <= set(names)


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


def test_a_library_that_is_not_whole_fails_each_client_before_its_first_push(make_importer: MakeImporter) -> None:
    """In words, and none of them waits for a lock that the library took when it failed under another."""
    importer = make_importer()
    configure_clients(importer, ["one", "two"], size=10)
    command = [sys.executable, "-c", HALF_GONE, *importer.command("sync", "--json")[3:]]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    results = CommandResult(result.returncode, result.stdout, result.stderr).lines
    assert [one["status"] for one in results] == ["failed", "failed"]
    assert all("can no longer be loaded (phonenumbers.data.region_DE)" in one["error"] for one in results)
    assert importer.sandbox.contacts() == {}


def test_what_sockets_need_to_read_a_name_is_loaded_with_the_client() -> None:
    """Python loads it at the first connection: without a file to be had, that was an unforeseen fault."""
    code = "import sys; import mcimport.services.http.client; print('encodings.idna' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True"]
