"""What `mcimport sandbox` makes for a shell: a folder of its own, its settings there, and lines to paste."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mcimport.config import variables
from mcimport.errors import ConfigError
from mcimport.sandbox.server import Sandbox, SandboxClient

_CLIENT = """
[clients.{client.name}]
lists = ["{client.list_key}"]
mailchimp_api_key = "{client.mailchimp_key}"
ometria_api_key = "{client.ometria_key}"
"""
_SERVICES = """\
# Leads to `mcimport sandbox`, as long as it serves.

[mailchimp]
url = "{sandbox.mailchimp_url}"

[ometria]
url = "{sandbox.ometria_url}"
"""


def introduction(sandbox: Sandbox, clients: Sequence[SandboxClient]) -> str:
    """Returns lines for a shell, of which only those that set variables are no comments, and makes what these name.

    One client needs variables alone; for several, a configuration file is written. The state file is in a new folder,
    so that no other one is touched. Raises ConfigError where there can be no such folder.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="mcimport-sandbox-"))
        exports = _of_one(sandbox, clients[0]) if len(clients) == 1 else _of_several(sandbox, clients, folder)
    except OSError as error:
        raise ConfigError(
            f"no folder for the sandbox's settings can be made: {error.strerror}",
            hint="Make room, or name a folder that can be written in with TMPDIR.",
        ) from None
    exports[variables.DB] = str(folder / "mcimport.db")
    return "\n".join(
        [
            f"# Serving until Ctrl-C, or `kill {os.getpid()}`. Paste into another terminal:",
            *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
            *_next(clients),
            "# To undo it there:",
            f"#   unset {' '.join(exports)}",
            f"#   rm -r {shlex.quote(str(folder))}",
            "",
        ]
    )


def _next(clients: Sequence[SandboxClient]) -> list[str]:
    """Returns the lists, and what imports them."""
    if len(clients) == 1:
        return [f"# List: {clients[0].list_key}. Next: mcimport sync {clients[0].list_key}"]
    named = ", ".join(f"{client.list_key} ({client.name})" for client in clients)
    return [f"# Lists: {named}", "# Next: mcimport sync"]


def _of_one(sandbox: Sandbox, client: SandboxClient) -> dict[str, str]:
    return {
        variables.MAILCHIMP_URL: sandbox.mailchimp_url,
        variables.OMETRIA_URL: sandbox.ometria_url,
        variables.MAILCHIMP_API_KEY: client.mailchimp_key,
        variables.OMETRIA_API_KEY: client.ometria_key,
    }


def _of_several(sandbox: Sandbox, clients: Sequence[SandboxClient], folder: Path) -> dict[str, str]:
    """Writes the configuration file, and returns the variable that leads to it. Raises OSError."""
    config = folder / "mcimport.toml"
    with os.fdopen(os.open(config, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(config_text(sandbox, clients))
    return {variables.CONFIG: str(config)}


def config_text(sandbox: Sandbox, clients: Sequence[SandboxClient]) -> str:
    """Returns a mcimport.toml that leads to the sandbox."""
    return _SERVICES.format(sandbox=sandbox) + "".join(_CLIENT.format(client=client) for client in clients)
