"""Pure: converts a member of a Mailchimp audience to an Ometria contact.

`contact` is the place to begin; each other file knows one thing. Nothing here sends a request, reads a file or a clock.
"""

from __future__ import annotations

from mcimport.convert.consent import MOST_AHEAD, SMS_NO, agrees_to_texts, has_sms_status, optin_of
from mcimport.convert.contact import (
    UNKNOWN_INTEREST,
    consent_alone,
    consent_part,
    encode_contact,
    lacks_tags,
    load_libraries,
    make_converter,
)
from mcimport.convert.contact_builder import UNKNOWN_FIELD
from mcimport.convert.field_mapping import FieldMapping, field_mappings, fingerprint
from mcimport.convert.identity import contact_id, is_contact_id, member_id, own_part
from mcimport.convert.permissions import given_names, has_permissions, missing_names, needed, permissions_of, quoted
