"""What is compared: the importer, a sequential one, and the peers from PyPI, each as a command for any sandbox."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.importer import CLIENT, MOST_PER_SECOND, Importer
from benchmarks.naive_importer import Wish
from benchmarks.peer_environments import python_of, version_in
from mcimport.version import __version__

DRIVEN = Path(__file__).parent / "driven"
OUT = "read.jsonl"  # in the folder of a run: whom a peer that only reads has read


@dataclass(frozen=True, slots=True)
class Contestant:
    """Ready to run.

    Attributes:
        pushes: it carries members to Ometria; otherwise it only reads them.
        command: for a sandbox, in a folder that is its own for this run.
    """

    name: str
    version: str
    pushes: bool
    command: Callable[[Wish, Path], list[str]]


@dataclass(frozen=True, slots=True)
class Peer:
    """From PyPI: the package that names it, whatever else it takes, and the script of ours that drives it."""

    package: str
    script: str
    pushes: bool
    also: tuple[str, ...] = ()


PEERS = (
    Peer("mailchimp-marketing", "mailchimp_client.py", pushes=True, also=("ometria",)),
    Peer("dlt", "dlt_source.py", pushes=False),
    # As its release was built: it says nothing of versions, and does not read its settings with what came afterwards.
    Peer("airbyte-source-mailchimp", "airbyte.py", pushes=False, also=("airbyte-cdk<7",)),
    Peer("tap-mailchimp", "tap.py", pushes=False),
    Peer("drt-core", "drt_sync.py", pushes=True),
)


def installed(peer: Peer, cache: Path) -> Contestant:
    """Raises UnusableError."""
    python = python_of(cache / peer.package, [peer.package, *peer.also])

    def command(wish: Wish, folder: Path) -> list[str]:
        told: dict[str, Any] = msgspec.structs.asdict(wish) | {"out": str(folder / OUT)}
        # -I: neither our own modules nor anything of the user's is seen in there.
        return [str(python), "-I", str(DRIVEN / peer.script), msgspec.json.encode(told).decode()]

    return Contestant(peer.package, version_in(python, peer.package), peer.pushes, command)


def ours(name: str = "mcimport", python: str = sys.executable) -> Contestant:
    """At the fastest pace that can be configured. `python`: has the mcimport that is meant."""

    def command(wish: Wish, folder: Path) -> list[str]:
        addresses = (
            f'[mailchimp]\nurl = "{wish.mailchimp_url}"\n'
            f'[ometria]\nurl = "{wish.ometria_url}"\nrequests_per_second = {MOST_PER_SECOND}\n'
        )
        config = folder / "mcimport.toml"
        config.write_text(addresses + CLIENT.format(name="client", **msgspec.structs.asdict(wish)), encoding="utf-8")
        config.chmod(0o600)
        return Importer(folder, python).command("sync", "--quiet")

    return Contestant(name, __version__, pushes=True, command=command)


def sequential() -> Contestant:
    def command(wish: Wish, _folder: Path) -> list[str]:
        return [sys.executable, "-m", "benchmarks.naive_importer", msgspec.json.encode(wish).decode()]

    return Contestant("sequential importer", "", pushes=True, command=command)
