"""Decides which e-mail addresses can be sent to Ometria.

email-validator decides, without the network. It costs some 30 microseconds an address, so regular expressions first
accept what is valid beyond doubt; they say yes only where email-validator would.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from mcimport.convert.libraries import loaded_once

_LONGEST = 254
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
# No hyphen at the edge of a label nor two in a row (that may be a coded label), and none of the reserved top levels.
_LABEL = r"(?:(?=[A-Za-z0-9-]{1,63}\.)[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)"
_RESERVED = r"(?:arpa|invalid|local|localhost|onion|test)"
_is_plain = re.compile(
    rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+(?!(?i:{_RESERVED})\Z)[A-Za-z]{{2,24}}"
).fullmatch
# The same without the lengths of the parts, for an address so short that no part can be too long.
_SHORT = 63
_is_plain_name = re.compile(rf"{_ATOM}(?:\.{_ATOM})*").fullmatch
_is_plain_domain = lru_cache(maxsize=4096)(  # most members have one of a few domains
    re.compile(rf"(?:[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\.)+(?!(?i:{_RESERVED})\Z)[A-Za-z]{{2,24}}").fullmatch
)


def plain(address: str) -> bool:
    """Says whether an address is valid beyond doubt, without a blank at its ends. If not, `usable` decides."""
    if len(address) > _SHORT:
        return False
    name, _, domain = address.partition("@")
    return _is_plain_domain(domain) is not None and _is_plain_name(name) is not None


def usable(address: str) -> bool:
    """Says whether a trimmed address can be sent as it is: case, and a domain in another script, stay as they are.

    Domains that are reserved for documentation and tests (`example.com`, `.example`, `.test`) count as any other;
    quoted names, bracketed numbers, display names and domains without a dot do not pass.
    """
    return len(address) <= _LONGEST and (_is_plain(address) is not None or _is_valid(address))


def _is_valid(address: str) -> bool:
    return _library()(address)


@loaded_once
def _library() -> Callable[[str], bool]:
    import email_validator  # noqa: PLC0415 - takes 30 ms, which many runs need not pay

    def is_valid(address: str) -> bool:
        try:
            email_validator.validate_email(address, check_deliverability=False, test_environment=True)
        except email_validator.EmailNotValidError:
            return False
        return True

    is_valid("é@é.example")  # loads its tables for domains in other scripts
    return is_valid
