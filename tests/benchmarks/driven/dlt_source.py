"""`dlt`'s own `rest_api` source with offset pages: it only reads, and nothing is loaded anywhere."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

PAGE = 1_000
PATIENCE = 300  # seconds, then the system ends this process


def main() -> None:
    signal.alarm(PATIENCE)
    wish = json.loads(sys.argv[1])
    os.chdir(Path(wish["out"]).parent)  # it looks for its settings in the current folder
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    # Imported here, after its telemetry has been switched off.
    from dlt.sources.rest_api import rest_api_source  # type: ignore[import-not-found] # noqa: PLC0415 # in its own env

    with Path(wish["out"]).open("w", encoding="utf-8") as out:
        out.writelines(json.dumps({"id": member["id"]}) + "\n" for member in rest_api_source(_config(wish)))


def _config(wish: dict[str, Any]) -> dict[str, Any]:
    paginator = {
        "type": "offset",
        "limit": PAGE,
        "offset_param": "offset",
        "limit_param": "count",
        "total_path": "total_items",
    }
    members = {
        "path": f"lists/{wish['list_key']}/members",
        "params": {"sort_field": "last_changed", "sort_dir": "ASC"},
        "data_selector": "members",
    }
    return {
        "client": {
            "base_url": wish["mailchimp_url"],
            "auth": {"type": "http_basic", "username": "any", "password": wish["mailchimp_key"]},
            "paginator": paginator,
        },
        "resources": [{"name": "members", "endpoint": members}],
    }


if __name__ == "__main__":
    main()
