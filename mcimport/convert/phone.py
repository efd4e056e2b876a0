"""Reads phone numbers: what was typed becomes E.164 where it is a valid number of a known country.

`phonenumbers` costs 30 to 60 microseconds a number, so it parses only what has as many digits as a number can have, and
its last results are cached: many members have the same placeholder.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mcimport.convert.country import country_code
from mcimport.convert.libraries import loaded_once

_DIGITS = range(5, 18)  # fifteen by E.164, and a prefix for calls abroad
_LONGEST = 80
_LONGEST_E164 = 16  # a plus and fifteen digits; some countries' plans allow more than the world's


def region(options: Mapping[str, Any], country: str | None) -> str | None:
    """Returns the country in which a number without `+` was typed (alpha-2); None where that is not known.

    `options` are the merge field's: its US format comes first, then the member's country, then the field's
    `default_country` where that is a code or a name (as a number it is one of Mailchimp's own, without a table).
    The first that is known decides; a number that is not valid there is not tried elsewhere, which would be a guess.
    """
    if options.get("phone_format") == "US":
        return "US"
    return country or country_code(options.get("default_country"))


def e164(typed: str, country: str | None, *, is_held: bool = False) -> str | None:
    """Returns `+34600555012` for a valid number, None for anything else. `country` counts where `typed` has no `+`.

    A number that `is_held` by Mailchimp for text messages comes from a form that checked it: with a `+`, it need only
    be possible (of a country, and of a length in use there), since the table of valid ranges lags behind the networks.
    """
    if len(typed) > _LONGEST or sum(map(str.isdigit, typed)) not in _DIGITS:
        return None
    is_whole = "+" in typed or "\uff0b" in typed
    return _parsed(typed, country, is_held and is_whole) if is_whole or country else None


@loaded_once
def _library() -> Any:
    import phonenumbers  # noqa: PLC0415 - takes 90 ms, with the data of each country, which many lists need not pay

    phonenumbers.PhoneMetadata.load_all()  # else each country's is loaded at its first number
    return phonenumbers


@lru_cache(maxsize=4096)
def _parsed(typed: str, country: str | None, is_possible_enough: bool) -> str | None:  # noqa: FBT001 - a cache's key
    phonenumbers = _library()
    try:
        number = phonenumbers.parse(typed, country)
    except phonenumbers.NumberParseException:
        return None
    is_good = phonenumbers.is_possible_number if is_possible_enough else phonenumbers.is_valid_number
    if not is_good(number):
        return None
    whole: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return whole if len(whole) <= _LONGEST_E164 else None
