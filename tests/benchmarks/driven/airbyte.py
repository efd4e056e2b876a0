"""`airbyte-source-mailchimp`: its `read` command with a configured catalog, its manifest's address replaced."""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from airbyte_cdk.entrypoint import launch  # type: ignore[import-not-found] # it lives in an environment of its own
from source_mailchimp import SourceMailchimp  # type: ignore[import-not-found] # the same

ADDRESS = "https://{{ config['data_center'] }}.api.mailchimp.com/3.0/"
PATIENCE = 300  # seconds, then the system ends this process


def main() -> None:
    signal.alarm(PATIENCE)
    wish = json.loads(sys.argv[1])
    os.chdir(Path(wish["out"]).parent)  # a manifest in the current folder comes before the one that it ships
    _written("manifest.yaml", _manifest(wish))
    config = {"credentials": {"auth_type": "apikey", "apikey": wish["mailchimp_key"]}, "data_center": "us6"}
    _written("config.json", json.dumps(config))
    _written("catalog.json", json.dumps(_catalog()))
    with Path(wish["out"]).open("w", encoding="utf-8") as out:
        os.dup2(out.fileno(), sys.stdout.fileno())
        try:
            launch(SourceMailchimp(), ["read", "--config", "config.json", "--catalog", "catalog.json"])
        except Exception as error:  # noqa: BLE001 - whatever it is: it would be told among the records only
            sys.exit(f"{type(error).__name__}: {error}")
        sys.stdout.flush()


def _manifest(wish: dict[str, Any]) -> str:
    shipped = files("source_mailchimp").joinpath("manifest.yaml").read_text(encoding="utf-8")
    if ADDRESS not in shipped:
        sys.exit("its manifest does not name the address that is replaced here")
    return shipped.replace(ADDRESS, f"{wish['mailchimp_url']}/")


def _catalog() -> dict[str, Any]:
    stream = {"name": "list_members", "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]}
    return {"streams": [{"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "append"}]}


def _written(name: str, text: str) -> None:
    Path(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
