"""Makes the ids of one list, its categories and interests, and its members."""

from __future__ import annotations

import hashlib
import re

CATEGORIES = (
    ("Topics", ("Garden", "Kitchen", "Travel", "Enfants & Bébé")),
    ("How often", ("Weekly", "Monthly", "Only the big sale")),
)


class ListIdentity:
    """Holds what the members of one list share: its id, its secret, the range of its web_ids, its interests."""

    def __init__(self, list_key: str, seed: int) -> None:
        self.list_key = list_key
        self.secret = hashlib.blake2b(f"{seed}/{list_key}".encode(), digest_size=16).digest()
        self.web_base = (1000 + int.from_bytes(self.secret[:4]) % 8999) * 1_000_000
        self.categories = [self._hex("category", n) for n in range(len(CATEGORIES))]
        self.interests = [
            [self._hex(title, n) for n in range(len(names))] for title, names in CATEGORIES
        ]  # ids, category by category

    def _hex(self, what: str, n: int) -> str:
        return self.digest(f"{what}/{n}".encode(), 5).hex()

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
