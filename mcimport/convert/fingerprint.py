"""What a list was mapped by, in a few letters: so that a change of it is noticed."""

from __future__ import annotations

import hashlib
import json

from mcimport.convert.field_mapping import default_target
from mcimport.convert.permissions import needed
from mcimport.models import ContactRules

MAPPING = 2  # raised whenever the same member, by the same settings, becomes another contact than before


def fingerprint(rules: ContactRules) -> str:
    """Of `[fields]`, `[consent]` and the program's own mapping; the list's own fields are not part of it.

    A line that says what would happen without it changes nothing.
    """
    fields = {tag.upper(): target for tag, target in rules.fields.items()}
    said = sorted((tag, target) for tag, target in fields.items() if target != default_target(tag))
    permission = [sorted(needed(rules.permission)), rules.without_permission]
    known = [MAPPING, said, sorted(rules.consent.items()), permission]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
