"""Keys that lie where others can read them: worth a word, though they work."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from mcimport.config.keys import KeySource
from mcimport.config.settings import Settings


def world_readable_files(settings: Settings) -> list[str]:
    """A line for each file with keys in it that every user of this machine may read; empty where there is none.

    A group may read: that is how Kubernetes hands a mounted secret to a user who does not own it.
    """
    sources = list(_sources(settings))
    words = []
    path = settings.config_path
    if path is not None and any(not source.is_elsewhere for source in sources) and _is_for_all(path):
        words.append(f"{path} holds keys, and every user of this machine can read it: `chmod 600 {path}`")
    files = dict.fromkeys(file for source in sources if (file := source.file) is not None)
    words += [
        f"{file} holds a key, and every user of this machine can read it: `chmod 600 {file}`"
        for file in files
        if _is_for_all(file)
    ]
    return words


def _sources(settings: Settings) -> Iterator[KeySource]:
    notices = [settings.healthcheck_source]
    for client in settings.clients.values():
        yield from (client.mailchimp_source, client.ometria_source)
        notices += [client.healthcheck_source, client.webhook_source]
    yield from (notice.key for notice in notices if notice is not None)
    yield settings.engine.source


def _is_for_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
