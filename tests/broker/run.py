"""`make test-engine`: tries the engine over a real RabbitMQ, which it installs where it may; else it ends with 2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script, this file's own package is not found

from broker.rabbit import PROGRAM, is_installed

PACKAGE = "rabbitmq-server"


def main() -> int:
    if not is_installed() and (problem := _install()):
        sys.stderr.write(f"The engine cannot be tried here: {problem}.\n")
        return 2
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "2",
        "--dist",
        "worksteal",
        "--durations=5",
        str(Path(__file__).parent),
    ]
    return subprocess.run(command, check=False).returncode


def _install() -> str:
    """Empty when it is there; else what is in the way."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return f"{PACKAGE} is not installed, and only root on Debian or its like can install it with apt-get"
    # As a service it would start at once, on the ports of a broker that may be somebody's.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for words in (["update"], ["install", "-y", "--no-install-recommends", PACKAGE]):
        result = subprocess.run([apt, "-q", *words], env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            return f"apt-get {words[0]} ended with {result.returncode}: {result.stderr.strip().splitlines()[-1:]}"
    return "" if is_installed() else f"the package was installed, but {PROGRAM} is not there"


if __name__ == "__main__":
    sys.exit(main())
