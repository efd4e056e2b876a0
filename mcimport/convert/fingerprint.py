"""Makes a fingerprint of what a list is mapped by, so that a change of it is noticed."""

from __future__ import annotations

import hashlib
import json

from mcimport.convert.field_mapping import default_target
from mcimport.convert.permissions import needed
from mcimport.models import ContactRules

MAPPING_VERSION = (
    2  # to be raised whenever the same member, with the same settings, becomes another contact than before
)


def fingerprint(rules: ContactRules) -> str:
    """Returns the fingerprint of `[fields]`, `[consent]` and mcimport's own mapping, without the list's own fields.

    A line that says what would happen without it does not change it.
    """
    fields = {tag.upper(): target for tag, target in rules.fields.items()}
    said = sorted((tag, target) for tag, target in fields.items() if target != default_target(tag))
    permission = [sorted(needed(rules.permission)), rules.without_permission]
    known = [MAPPING_VERSION, said, sorted(rules.consent.items()), permission]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
