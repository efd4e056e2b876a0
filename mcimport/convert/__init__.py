"""Pure: converts a member of a Mailchimp audience to an Ometria contact.

`contact` is the place to begin; each other file knows one thing. Nothing here sends a request, reads a file or a clock.
"""

from __future__ import annotations

from mcimport.convert.consent import MOST_AHEAD, SMS_NO, agrees_to_texts, has_sms_status, optin_of
from mcimport.convert.contact import (
    RECORD_LIMIT,
    UNKNOWN_INTEREST,
    consent_alone,
    consent_part,
    encode_contact,
    lacks_tags,
    make_converter,
)
from mcimport.convert.contact_builder import UNKNOWN_FIELD
from mcimport.convert.field_mapping import (
    OWN_PROPERTIES,
    FieldMapping,
    field_mappings,
    mapping_problems,
)
from mcimport.convert.fingerprint import MAPPING_VERSION, fingerprint
from mcimport.convert.identity import contact_id, is_contact_id, member_id, own_part
from mcimport.convert.libraries import load_libraries
from mcimport.convert.permissions import (
    given_names,
    has_permissions,
    missing_names,
    needed,
    permissions_of,
    quoted,
)
from mcimport.models import CONTACT_FIELDS
from mcimport.models.timestamps import epoch, iso

__all__ = [
    "CONTACT_FIELDS",
    "MAPPING_VERSION",
    "MOST_AHEAD",
    "OWN_PROPERTIES",
    "RECORD_LIMIT",
    "SMS_NO",
    "UNKNOWN_FIELD",
    "UNKNOWN_INTEREST",
    "FieldMapping",
    "agrees_to_texts",
    "consent_alone",
    "consent_part",
    "contact_id",
    "encode_contact",
    "epoch",
    "field_mappings",
    "fingerprint",
    "given_names",
    "has_permissions",
    "has_sms_status",
    "is_contact_id",
    "iso",
    "lacks_tags",
    "load_libraries",
    "make_converter",
    "mapping_problems",
    "member_id",
    "missing_names",
    "needed",
    "optin_of",
    "own_part",
    "permissions_of",
    "quoted",
]
