"""`drt run` from its `rest_api` source with offset pages to its `rest_api` destination, a hundred records a push."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from drt.cli.main import app  # type: ignore[import-not-found] # it lives in an environment of its own

PAGE, BATCH = 1_000, 100
PATIENCE = 300  # seconds, then the system ends this process
RECORDS = """[{% for row in rows if row.email_address %}{{ "" if loop.first else "," }}{{ {
  "@type": "contact", "@collection": "mailchimp", "id": "LIST-" ~ (row.get("contact_id") or row.web_id),
  "email": row.email_address,
  "marketing_optin": "EXPLICITLY_OPTEDIN" if row.status == "subscribed" else "NOT_SPECIFIED"
} | tojson_safe }}{% endfor %}]"""


def main() -> None:
    signal.alarm(PATIENCE)
    wish = json.loads(sys.argv[1])
    folder = Path(wish["out"]).parent
    os.chdir(folder)
    os.environ |= {"BENCH_USER": "any", "MAILCHIMP_KEY": wish["mailchimp_key"], "DO_NOT_TRACK": "1"}
    _written(folder / "drt_project.yml", {"name": "bench", "version": "0.1", "profile": "mailchimp"})
    _written(folder / ".drt" / "profiles.yml", {"mailchimp": _source(wish)})
    _written(folder / "syncs" / "members.yml", _sync(wish))
    app(["run", "--quiet"])


def _source(wish: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "rest_api",
        "url": f"{wish['mailchimp_url']}/lists/{wish['list_key']}/members",
        "auth": {"type": "basic", "username_env": "BENCH_USER", "password_env": "MAILCHIMP_KEY"},
        "pagination": {"type": "offset", "limit": PAGE, "limit_param": "count"},
        "result_path": "members",
    }


def _sync(wish: dict[str, Any]) -> dict[str, Any]:
    destination = {
        "type": "rest_api",
        "url": f"{wish['ometria_url']}/push",
        "headers": {"X-Ometria-Auth": wish["ometria_key"], "Content-Type": "application/json"},
        "body_mode": "batch",
        "batch_template": RECORDS.replace("LIST", wish["list_key"]),
        "rate_limit": {"requests_per_second": 1_000},
    }
    return {"name": "members", "model": "members", "destination": destination, "sync": {"batch_size": BATCH}}


def _written(path: Path, thing: dict[str, Any]) -> None:
    """YAML takes JSON."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(thing), encoding="utf-8")


if __name__ == "__main__":
    main()
