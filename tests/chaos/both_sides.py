"""`make both-sides`: what `reconcile` promises, on a list of 20,000: calm, with broken answers, and killed half-way."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from conftest import Importer
from sync.reconcile.test_reconcile_list import (
    RECONCILING,
    Differences,
    killed_half_way,
    make_differences,
    while_it_moves,
    with_a_tenth_broken,
)

from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings

SCALE = 10  # 50 deleted, 40 changed unseen, 30 taken out, 20 overwritten, 10 foreign
WAYS: dict[str, Callable[[Importer, Differences], None]] = {
    "while the list moves": while_it_moves,
    "with a tenth of all answers broken": with_a_tenth_broken,
    "killed in the middle of mending": lambda importer, apart: killed_half_way(importer, apart, batch=20),
}


def main() -> int:
    """Raises what the first way that ends badly raised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=20_000, help="members")
    size = parser.parse_args().size
    for name, way in WAYS.items():
        began = time.monotonic()
        knobs = SandboxSettings(size=size, pushes_per_second=100_000, reads_per_second=100_000)
        with Sandbox(knobs) as sandbox, tempfile.TemporaryDirectory() as folder:
            importer = Importer(sandbox, Path(folder))
            importer.configure(RECONCILING, most="5%")
            assert importer("sync").code == 0
            way(importer, make_differences(importer, SCALE))
        sys.stdout.write(f"{size:,} members, {name}: exactly those, in {time.monotonic() - began:.0f} s\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
