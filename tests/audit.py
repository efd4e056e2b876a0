"""Asks PyPI whether a pinned package has a known vulnerability; part of `make check`, and `make audit` by itself.

Without --must, an advisory service that cannot be reached is said in a line and ends with 0: a machine without the
network can run the checks. With it, nothing but a clean audit of every package is 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
PATIENCE = 5  # seconds for one answer
LONGEST = 120  # seconds for all of it
COMMAND = ("-m", "pip_audit", "--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip", "--format", "json")


def main() -> int:
    is_must = "--must" in sys.argv[1:]
    dependencies = _audited()
    looked_at = [one for one in dependencies if "vulns" in one]
    found = [(one["name"], one["version"], vulnerability) for one in looked_at for vulnerability in one["vulns"]]
    for name, version, vulnerability in found:
        mended = ", ".join(vulnerability.get("fix_versions", [])) or "nothing yet"
        _say(f"{name} {version}: {vulnerability['id']}, mended in {mended}")
    if found:
        return 1
    unknown = len(dependencies) - len(looked_at)
    if not dependencies or unknown:
        which = f"{unknown} of {len(dependencies)} packages" if looked_at else "no package"
        _say(f"pip-audit: the advisory service cannot be reached; {'not ' if looked_at else ''}audited: {which}")
        return 1 if is_must else 0
    _say(f"pip-audit: no known vulnerability in {len(looked_at)} packages")
    return 0


def _audited() -> list[dict[str, Any]]:
    """What pip-audit says of each package; nothing where it says nothing."""
    command = [sys.executable, *COMMAND, "--progress-spinner", "off", "--timeout", str(PATIENCE)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST)
        dependencies: list[dict[str, Any]] = json.loads(result.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return []
    return dependencies


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")


if __name__ == "__main__":
    sys.exit(main())
