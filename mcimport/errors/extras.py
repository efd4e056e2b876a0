"""Checks that the optional dependencies of a feature are installed."""

from __future__ import annotations

from importlib.util import find_spec

from mcimport.errors import ConfigError


def require_extra(feature: str, extra: str, *modules: str, hint: str = "") -> None:
    """Raises ConfigError, with what to install in its hint, where a module of the extra is missing."""
    if any(find_spec(module) is None for module in modules):
        raise ConfigError(
            f"{feature} needs the {extra} extra, which is not installed",
            hint=hint or f"Install it with: pip install 'mcimport[{extra}]'",
        )
