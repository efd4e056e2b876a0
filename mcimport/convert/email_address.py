"""Which e-mail addresses can be sent to Ometria.

The judge is email-validator, without asking the network. It costs some 30 microseconds an address, so what is plain
beyond doubt is told by expressions first; these say yes only where the judge would.
"""

from __future__ import annotations

import re
from functools import lru_cache

_LONGEST = 254
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
# No hyphen at the edge of a label nor two in a row (that may be a coded label), and none of the reserved top levels.
_LABEL = r"(?:(?=[A-Za-z0-9-]{1,63}\.)[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)"
_RESERVED = r"(?:arpa|invalid|local|localhost|onion|test)"
_is_plain = re.compile(
    rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+(?!(?i:{_RESERVED})\Z)[A-Za-z]{{2,24}}"
).fullmatch
# The same without a look at the parts' lengths, for an address so short that no part can be too long.
_SHORT = 63
_is_plain_name = re.compile(rf"{_ATOM}(?:\.{_ATOM})*").fullmatch
_is_plain_domain = lru_cache(maxsize=4096)(  # a few domains are most people's
    re.compile(rf"(?:[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\.)+(?!(?i:{_RESERVED})\Z)[A-Za-z]{{2,24}}").fullmatch
)


def plain(address: str) -> bool:
    """Whether nothing about it, not even a blank at its ends, needs a second look. No says nothing."""
    if len(address) > _SHORT:
        return False
    name, _, domain = address.partition("@")
    return _is_plain_domain(domain) is not None and _is_plain_name(name) is not None


def usable(address: str) -> bool:
    """A trimmed address that can be sent as it stands: case, and a domain in another script, stay as they are.

    Domains that are reserved for documentation and tests (`example.com`, `.example`, `.test`) count as any other;
    quoted names, bracketed numbers, display names and domains without a dot do not pass.
    """
    return len(address) <= _LONGEST and (_is_plain(address) is not None or _judged(address))


def load() -> None:
    """The judge, and its tables for domains in other scripts, which it would load by itself when one is met."""
    _judged("é@é.example")


def _judged(address: str) -> bool:
    import email_validator  # noqa: PLC0415 - takes 30 ms, which a command that converts nobody need not pay

    try:
        email_validator.validate_email(address, check_deliverability=False, test_environment=True)
    except email_validator.EmailNotValidError:
        return False
    return True
