"""Shows settings without a character of a key, an address to notify or a broker's password."""

from __future__ import annotations

import json
from typing import Any

from mcimport.config.keys import LIKE_A_KEY, VARIABLE, KeySource
from mcimport.errors import ConfigError

WRITTEN_HERE = "written in the file, hidden"
HIDDEN = "hidden, because it looks like a key or an address"


def masked_source(source: KeySource) -> str:
    """Returns where a secret comes from, and whether it is there."""
    scheme, _, rest = source.spec.get_secret_value().partition(":")
    if scheme.lower() == "env":
        is_name = VARIABLE.fullmatch(rest) and not LIKE_A_KEY.search(rest)
        return f"env:{rest if is_name else '...'} ({_state(source, 'set', 'not set')})"
    if scheme.lower() == "file":
        shown = "..." if LIKE_A_KEY.search(rest) or not rest.isprintable() else rest
        return f"file:{shown} ({_state(source, 'readable', 'not readable')})"
    return WRITTEN_HERE


def _state(source: KeySource, there: str, absent: str) -> str:
    try:
        source.read()
    except ConfigError as error:
        is_read = source.file is not None and "cannot be read" not in str(error)
        is_there = source.variable in source.environ if source.variable else is_read
        return f"{there}, but not usable" if is_there else absent
    return there


def masked_value(value: Any, *, is_address: bool) -> str:
    """Returns a value as TOML writes it, unless a secret may have got into the wrong setting."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return HIDDEN if LIKE_A_KEY.search(text) or ("://" in text and not is_address) else text
