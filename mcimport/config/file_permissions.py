"""Finds files with keys that other users of this machine can read."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from mcimport.config.keys import KeySource
from mcimport.config.settings import Settings


def world_readable_files(settings: Settings) -> list[str]:
    """Returns a line for each file with keys that every user of this machine may read.

    Its group may read it: that is how Kubernetes gives a mounted secret to a user who does not own it.
    """
    sources = list(_sources(settings))
    lines = []
    path = settings.config_path
    if path is not None and any(not source.is_reference for source in sources) and _is_world_readable(path):
        lines.append(f"{path} holds keys, and every user of this machine can read it: `chmod 600 {path}`")
    files = dict.fromkeys(file for source in sources if (file := source.file) is not None)
    lines += [
        f"{file} holds a key, and every user of this machine can read it: `chmod 600 {file}`"
        for file in files
        if _is_world_readable(file)
    ]
    return lines


def _sources(settings: Settings) -> Iterator[KeySource]:
    urls = [settings.healthcheck_source]
    for client in settings.clients.values():
        yield from (client.mailchimp_source, client.ometria_source)
        urls += [client.healthcheck_source, client.webhook_source]
    yield from (url.key for url in urls if url is not None)
    yield settings.engine.source


def _is_world_readable(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
