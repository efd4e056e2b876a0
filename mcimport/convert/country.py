"""Reads countries: what names one exactly becomes ISO 3166 alpha-2.

The table is pycountry's: alpha-2, alpha-3, the name, the common and the official name, in any case. What it does not
know is no country here: "UK" is reserved, not assigned, in ISO 3166, and so is left out rather than read as GB.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mcimport.convert.libraries import loaded_once
from mcimport.convert.text import clean, shared_text

_LONGEST_NAME = 100  # characters as typed; the longest of a country's has 59
_NAMES = ("alpha_2", "alpha_3", "name", "common_name", "official_name")


@loaded_once
def _table() -> Mapping[str, str]:
    import pycountry  # noqa: PLC0415 - takes 10 ms, which many runs need not pay

    return {
        clean(name).casefold(): country.alpha_2
        for country in pycountry.countries
        for key in _NAMES
        if (name := getattr(country, key, None))
    }


def country_code(value: Any) -> str | None:
    """Returns the alpha-2 code, upper case, of a code or an English name; None for anything else."""
    return _code_of(value) if isinstance(value, str) and len(value) <= _LONGEST_NAME else None


@lru_cache(maxsize=4096)
def _code_of(typed: str) -> str | None:
    return _table().get(name.casefold()) if (name := shared_text(typed)) else None


def believed(address: Mapping[str, str]) -> str:
    """Returns the country of an address that was filled in, as typed; "" where it may be a default.

    Mailchimp writes US into every address that was stored without a country, so a country counts only beside a city,
    a state or a zip.
    """
    filled = "city" in address or "state" in address or "zip" in address
    return address.get("country", "") if filled else ""
