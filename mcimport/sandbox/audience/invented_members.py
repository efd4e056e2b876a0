"""Invents one member of a list from the list's secret and the member's number: always the same, without storing it.

A million members are a million numbers: their fields are made when they are needed. Every choice comes from a digest
of the secret and the number, so the order in which members are made changes none of them.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mcimport.sandbox.audience.countries import COUNTRIES, Country, Name
from mcimport.sandbox.audience.stored_member import StoredMember
from mcimport.sandbox.clock import iso

Draw = Callable[[], int]
T = TypeVar("T")

_DRAWS = 64
_UNPACK = struct.Struct(f"<{_DRAWS}H").unpack
_DRAW_RANGE = 1 << 16

# Weighted by repetition; the last three are rare.
_DOMAINS = ("example.com",) * 8 + ("example.org", "example.net", "mail.example", "post.example") * 2
_RARE_DOMAINS = ("bücher.example", "users.mail.example", "EXAMPLE.COM")
_WRONG_PHONES = ("12345", "n/a", "0000000000", "ring my office", "+99 1234 5678", "ext. 12", "-", "555-CALL-NOW")
_SIGNUP_SOURCES = ("Hosted Signup Form", "Import", "API - Generic", "Embed Form", "Admin Add", "Landing Page")
_CLIENTS = ("Gmail", "Apple Mail", "Outlook 2016", "iPhone", "", "")
_REASONS = ("NORMAL_UNSUBSCRIBE", "NO_REASON", "N/A (Unsubscribed by admin)", "NOT_INTERESTED", "")
_EMOJI = (" 🌻", " 🎈", "✨", " 👩‍👩‍👧")
_SIZES = ("S", "M", "L", "XL")
_NOTE, _NOTED = "asked for the catalogue by telephone", 1_600_000_000
_DAYS = 28
_GAVE_FIRST, _GAVE_ANOTHER = 245, 120  # of 256
TAGS = (
    "customer", "vip lunch", "spring sale", "Kundin", "été 2025", "wholesale", "trade fair", "newsletter",
    "lapsed", "ambassador", "prefers SMS", "survey ✓",
)  # fmt: skip
TAGS_LISTED = 50
_FIRST_TAG = 2_000_001
CATEGORIES = (
    ("Topics", ("Garden", "Kitchen", "Travel", "Enfants & Bébé")),
    ("How often", ("Weekly", "Monthly", "Only the big sale")),
)


class ListIdentity:
    """Holds what the members of one list share. `interests` are ids, category by category."""

    def __init__(self, list_key: str, seed: int) -> None:
        self.list_key = list_key
        self.secret = hashlib.blake2b(f"{seed}/{list_key}".encode(), digest_size=16).digest()
        self.web_base = (1000 + int.from_bytes(self.secret[:4]) % 8999) * 1_000_000
        self.categories = [self.hex_of(f"category/{n}") for n in range(len(CATEGORIES))]
        self.interests = [[self.hex_of(f"{title}/{n}") for n in range(len(names))] for title, names in CATEGORIES]

    def hex_of(self, what: str) -> str:
        return self.digest(what.encode(), 5).hex()

    def digest(self, of: bytes, size: int) -> bytes:
        return hashlib.blake2b(of, key=self.secret, digest_size=size).digest()

    def contact_id(self, number: int) -> str:
        """Returns 32 hex digits that contain the number, hidden, so that a member is found without an index."""
        tail = self.digest(str(number).encode(), 12)
        return (number ^ int.from_bytes(self.digest(tail, 4))).to_bytes(4).hex() + tail.hex()

    def number_of(self, key: str) -> int | None:
        """Returns the number of the member that this contact_id or address may be of; the caller must compare."""
        if re.fullmatch(r"[0-9a-f]{32}", key):
            raw = bytes.fromhex(key)
            return int.from_bytes(raw[:4]) ^ int.from_bytes(self.digest(raw[4:], 4))
        found = re.search(r"(\d{1,9})(\+[^@]*)?@", key)
        return int(found[1]) if found else None


def md5(address: str) -> str:
    """Returns a member's `id`: MD5 of the lowercased address (`subscriber_hash`); empty without an address."""
    return hashlib.md5(address.lower().encode(), usedforsecurity=False).hexdigest() if address else ""


def unique_email_id(address: str) -> str:
    """Returns an address's id across lists: ten hex digits."""
    return hashlib.blake2b(address.lower().encode(), digest_size=5).hexdigest() if address else ""


def draws(identity: ListIdentity, number: int) -> Draw:
    """Returns a function that draws numbers below 65,536, the same for a member; StopIteration after 64."""
    return iter(_UNPACK(hashlib.shake_128(identity.secret + number.to_bytes(8)).digest(2 * _DRAWS))).__next__


def _pick(draw: Draw, choices: Sequence[T]) -> T:
    return choices[draw() % len(choices)]


def _chance(draw: Draw, share: float) -> bool:
    return draw() < share * _DRAW_RANGE


def _profile(number: int, draw: Draw) -> tuple[Country, Name, Name, str]:
    """Returns a member's country, given name, family name and address."""
    country = _pick(draw, COUNTRIES)
    given, family = _pick(draw, country.given), _pick(draw, country.family)
    address = _address(f"{given.latin}{_pick(draw, ('.', '_', '', '-'))}{family.latin}{number}", draw)
    is_sms_only = _chance(draw, 0.004)
    return country, given, family, "" if is_sms_only else address


def _address(local: str, draw: Draw) -> str:
    local = local if _chance(draw, 0.15) else local.lower()
    plus, domain, rare = _chance(draw, 0.04), _pick(draw, _DOMAINS), draw()
    if rare < _DRAW_RANGE // 100:
        domain = _RARE_DOMAINS[rare % len(_RARE_DOMAINS)]
    return f"{local}{'+news' if plus else ''}@{domain}"


def address_of(identity: ListIdentity, number: int) -> str:
    return _profile(number, draws(identity, number))[-1]


def moved_address(identity: ListIdentity, number: int, nonce: int) -> str:
    """Returns a new address of a member; its digits are no member's number, so no other member is found by it."""
    _, given, family, _ = _profile(number, draws(identity, number))
    return f"{given.latin}.{family.latin}.moved{nonce:x}x@{_DOMAINS[nonce % len(_DOMAINS)]}".lower()


def _digits(template: str, draw: Draw) -> str:
    while "#" in template:
        template = template.replace("#", str(draw() % 10), 1)
    return template


def _phone(country: Country, draw: Draw) -> str:
    kind, template = draw() % 100, _pick(draw, country.phones)
    if kind < 50:  # noqa: PLR2004 - one half left it empty
        return ""
    return _pick(draw, _WRONG_PHONES) if kind < 57 else _digits(template, draw)  # noqa: PLR2004 - 7 % typed anything


def _postal_address(country: Country, draw: Draw) -> Any:
    kind = draw() % 100
    (city, state, code), house = _pick(draw, country.cities), 1 + draw() % 99
    if kind < 55:  # noqa: PLR2004 - more than a half have none
        return ""
    if kind < 60:  # noqa: PLR2004 - Mailchimp writes US where a form gave nothing
        return {"addr1": "", "addr2": "", "city": "", "state": "", "zip": "", "country": "US"}
    second = "c/o Example" if house % 10 == 0 else ""
    first = country.street.format(house)
    return {"addr1": first, "addr2": second, "city": city, "state": state, "zip": code, "country": country.code}


def _maybe(draw: Draw, share: float, value: Any) -> Any:
    return value if _chance(draw, share) else ""


def _merge_fields(country: Country, given: str, family: str, number: int, draw: Draw) -> dict[str, Any]:
    day, year = draw(), draw()
    home = _postal_address(country, draw)
    given += _EMOJI[number % len(_EMOJI)] if _chance(draw, 0.01) else ""
    return {
        "FNAME": _maybe(draw, 0.93, given),
        "LNAME": _maybe(draw, 0.88, family),
        "ADDRESS": home,
        "PHONE": _phone(country, draw),
        "BIRTHDAY": _maybe(draw, 0.35, f"{1 + day % 12:02}/{1 + day // 12 % _DAYS:02}"),
        "COUNTRY": _maybe(draw, 0.6, country.name),
        "POINTS": _maybe(draw, 0.5, draw() % 5000),
        "SINCE": _maybe(draw, 0.4, f"{2012 + year % 13}-{1 + year // 13 % 12:02}-{1 + year // 156 % _DAYS:02}"),
        "SIZE": _maybe(draw, 0.3, _pick(draw, _SIZES)),
        "SHOP": _maybe(draw, 0.1, f"https://shop.example/{number % 40}"),
        "PHOTO": "",
        "POSTCODE": home["zip"] if home else "",
        "MMERGE13": _maybe(draw, 0.05, "likes “Qualität” & tea 🍵"),
    }


def _tags(draw: Draw) -> list[dict[str, Any]]:
    kind, first = draw() % 400, draw()
    if kind == 0:  # a few are in more segments than an answer lists
        return [{"id": _FIRST_TAG + 100 + n, "name": f"segment {n}"} for n in range(51 + first % 30)]
    count = max(0, kind % 8 - 4)
    return [{"id": _FIRST_TAG + (first + n) % len(TAGS), "name": TAGS[(first + n) % len(TAGS)]} for n in range(count)]


def _interests(identity: ListIdentity, draw: Draw) -> dict[str, bool]:
    bits = draw()
    ids = [interest for category in identity.interests for interest in category]
    return {interest: bool(bits >> 2 * n & 3 == 0) for n, interest in enumerate(ids)}


def _location(country: Country, draw: Draw) -> dict[str, Any]:
    if _chance(draw, 0.3):
        numbers, texts = ("latitude", "longitude", "gmtoff", "dstoff"), ("country_code", "timezone", "region")
        return dict.fromkeys(numbers, 0) | dict.fromkeys(texts, "")
    latitude, longitude = country.place
    return {
        "latitude": latitude, "longitude": longitude, "gmtoff": country.gmtoff, "dstoff": country.gmtoff,
        "country_code": country.code, "timezone": country.timezone, "region": "",
    }  # fmt: skip


def _stats(draw: Draw) -> dict[str, Any]:
    opens = draw() % 1000 / 1000
    stats: dict[str, Any] = {"avg_open_rate": opens, "avg_click_rate": round(opens / 5, 4)}
    if _chance(draw, 0.2):
        revenue, orders = draw() / 100, draw() % 9
        stats["ecommerce_data"] = {"total_revenue": revenue, "number_of_orders": orders, "currency_code": "EUR"}
    return stats


def _sms(country: Country, address: str, draw: Draw) -> dict[str, str]:
    has, answer = _chance(draw, 0.08), ("subscribed", "subscribed", "unsubscribed", "nonsubscribed", "pending")
    status = _pick(draw, answer)
    if not has and address:
        return {"sms_phone_number": "", "sms_subscription_status": "", "sms_subscription_last_updated": ""}
    number = _digits(country.phones[1], draw).translate({ord(c): None for c in " -()"})
    return {"sms_phone_number": number, "sms_subscription_status": status, "sms_subscription_last_updated": ""}


def permissions_of(identity: ListIdentity, texts: Sequence[str], given: Sequence[bool]) -> list[dict[str, Any]]:
    """Returns marketing permissions as a member has them; their ids differ from list to list."""
    return [
        {"marketing_permission_id": identity.hex_of(f"permission/{text}"), "text": text, "enabled": is_on}
        for text, is_on in zip(texts, given, strict=True)
    ]


def _given(identity: ListIdentity, number: int, count: int) -> list[bool]:
    """Returns which permissions are given, by a digest of its own: a list's permissions change no other field."""
    bits = hashlib.shake_128(identity.secret + b"permissions" + number.to_bytes(8)).digest(count)
    return [bit < (_GAVE_ANOTHER if place else _GAVE_FIRST) for place, bit in enumerate(bits)]


def invent_fields(identity: ListIdentity, number: int, permissions: Sequence[str]) -> dict[str, Any]:
    """Returns all fields of a member but its `_links` (see `member_json`), without what its row says.

    A long function: one line a field, in the order in which the API writes them.
    """
    draw = draws(identity, number)
    country, given, family, address = _profile(number, draw)
    merge_fields, tags = _merge_fields(country, given.written, family.written, number, draw), _tags(draw)
    member: dict[str, Any] = {
        "id": md5(address),
        "email_address": address,
        "unique_email_id": unique_email_id(address),
        "contact_id": identity.contact_id(number),
        "full_name": f"{merge_fields['FNAME']} {merge_fields['LNAME']}".strip(),
        "web_id": identity.web_base + number,
        "email_type": _pick(draw, ("html", "html", "html", "text")),
        "status": "",
        "unsubscribe_reason": _pick(draw, _REASONS),
        "consents_to_one_to_one_messaging": True,
        **_sms(country, address, draw),
        "merge_fields": merge_fields,
        "interests": _interests(identity, draw),
        "stats": _stats(draw),
        "ip_signup": "",
        "timestamp_signup": "",
        "ip_opt": "",
        "timestamp_opt": "",
        "member_rating": 1 + draw() % 5,
        "last_changed": "",
        "language": _maybe(draw, 0.8, country.language),
        "vip": _chance(draw, 0.01),
        "email_client": _pick(draw, _CLIENTS),
        "location": _location(country, draw),
        "source": _pick(draw, _SIGNUP_SOURCES),
        "tags_count": len(tags),
        "tags": tags,
        "marketing_permissions": permissions_of(identity, permissions, _given(identity, number, len(permissions))),
        "list_id": identity.list_key,
    }
    if _chance(draw, 0.02):  # an old account
        del member["contact_id"]
    if _chance(draw, 0.03):
        member["last_note"] = {"note_id": 1 + number, "created_at": iso(_NOTED), "created_by": "", "note": _NOTE}
    return member


def invent(identity: ListIdentity, row: StoredMember, permissions: Sequence[str] = ()) -> dict[str, Any]:
    """Returns all fields of a member, with its row's status and times, but its `_links` and overrides."""
    ip = f"203.0.113.{row.number % 254 + 1}"
    member = invent_fields(identity, row.number, tuple(permissions)) | {
        "status": row.status,
        "ip_signup": ip if row.signup else "",
        "timestamp_signup": iso(row.signup),
        "ip_opt": ip if row.opt else "",
        "timestamp_opt": iso(row.opt),
        "last_changed": iso(row.changed),
    }
    if row.status != "unsubscribed":
        del member["unsubscribe_reason"]
    return member
