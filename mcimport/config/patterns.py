"""What the JSON Schema of mcimport.toml says of texts: patterns that JavaScript, Rust and Python read alike.

They say what the validators in `schema` say, as far as a pattern can; a test compares the two.
"""

from __future__ import annotations

import re

from pydantic import WithJsonSchema


def text_like(pattern: str) -> WithJsonSchema:
    """Describes a text that matches the pattern as a whole. Named groups, which Python alone has, become plain ones."""
    plain = re.sub(r"\(\?P<\w+>", "(", pattern)
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{plain})$"})


def _with_blanks(word: str) -> str:
    """Returns a pattern of the word in any case, whatever blanks are in it."""
    signs = (f"[{sign.lower()}{sign.upper()}]" if sign.isalpha() else re.escape(sign) for sign in word)
    return r"\s*".join(signs)


_TEXTING = rf"(?:{_with_blanks('double_')}\s*)?{_with_blanks('optin:sms')}"
COLLECTION = rf"(?!\s)(?!.*\s$)(?!{_TEXTING}$)(?:[^{{}}\x00-\x1f\x7f]|\{{(?:list_key|client)\}})+"
PERMISSION = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
