"""Both sides of a list, side by side, and in what they differ."""

# ruff: noqa: S608 - every query is put together from texts of this package

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mcimport.models.results import Difference, DifferingId
from mcimport.sync.reconcile.comparison_tables import EMAIL, FUNCTIONS, IS_IN, MENDABLE, TABLE, TABLES, TALLIES, WHERE
from mcimport.sync.reconcile.fingerprints import OPTED_IN, WIDTH, Due, Kind, MemberSnapshot, names_of
from mcimport.sync.reconcile.push_table import PushTable
from mcimport.sync.reconcile.temp_db import TempDatabase, placeholders

_NO_ADDRESS = bytes(WIDTH)


class DifferenceTable:
    """Records what both sides hold, and finds what differs; belongs to the thread that opened it.

    Ids are the members' own, without the list. Every method raises StateError, for a disk that is full above all.
    `folder` is where the temporary file is made; `pushes` tells what of the differences was pushed.
    """

    def __init__(self, folder: Path) -> None:
        self._database = TempDatabase(folder, TABLES, FUNCTIONS)
        self.pushes = PushTable(self._database)

    def close(self) -> None:
        self._database.close()

    # ---- what both sides hold

    def note_members(self, seen: Iterable[MemberSnapshot]) -> None:
        """Records members; of two snapshots of one member the later is kept."""
        self._database.write_all(
            "INSERT INTO members (id, version, changed, is_whole, is_archived) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id)"
            " DO UPDATE SET (version, changed, is_whole, is_archived)"
            " = (excluded.version, excluded.changed, excluded.is_whole, excluded.is_archived)",
            seen,
        )

    def note_held(self, held: Iterable[tuple[str, bytes]]) -> None:
        """Records contacts that Ometria holds under an id of this list: pairs of the id and the version."""
        for member_id, version in held:
            if not self._database.write("UPDATE members SET held = ? WHERE id = ?", [version, member_id]):
                self._database.write("INSERT OR REPLACE INTO orphans VALUES (?, ?)", [member_id, version])

    def note_elsewhere(
        self, collection: str, held: Iterable[tuple[str, str, bytes]], *, only_of_gone: bool = False
    ) -> None:
        """Records those contacts under an id of another list that are opted in: list, id and version of each.

        The list is empty for a contact whose id is of no list of ours. `only_of_gone`: only contacts with the address
        of a member who is gone.
        """
        is_noted = "EXISTS (SELECT 1 FROM addresses WHERE email = ?1)" if only_of_gone else "true"
        rows = (
            (version[WIDTH : 2 * WIDTH], collection, list_key, member_id)
            for list_key, member_id, version in held
            if version.startswith(OPTED_IN)
        )
        self._database.write_all(f"INSERT OR IGNORE INTO elsewhere SELECT ?1, ?2, ?3, ?4 WHERE {is_noted}", rows)

    def note_foreign(self, digests: Iterable[bytes]) -> None:
        """Records contacts whose id is of no list of ours."""
        self._database.write_all("INSERT OR IGNORE INTO strangers VALUES (?)", ((digest,) for digest in digests))

    def note_on_record(self, ids: Iterable[str]) -> None:
        """Records members for whom a dead letter says why they are not in Ometria."""
        self._database.write_all("INSERT OR IGNORE INTO on_record VALUES (?)", ((member_id,) for member_id in ids))

    # ---- who is looked at again

    def join(self) -> None:
        """Puts both sides together of members whom Ometria showed before Mailchimp did."""
        held = "(SELECT held FROM orphans WHERE orphans.id = members.id)"
        self._database.write(f"UPDATE members SET held = {held} WHERE id IN (SELECT id FROM orphans)")
        self._database.write("DELETE FROM orphans WHERE EXISTS (SELECT 1 FROM members WHERE members.id = orphans.id)")

    def fill_suspects(self, due: Due) -> int:
        """Marks every member who differs at first sight as a suspect; returns how many these are."""
        self._database.write("DELETE FROM suspects")
        for kind, where in WHERE.items():
            query = f"INSERT OR IGNORE INTO suspects (id) SELECT id FROM {TABLE[kind]} WHERE {where}"
            self._database.write(query, due._asdict())
        return self._database.number("SELECT count(*) FROM suspects")

    def suspects(self, size: int) -> Iterator[list[str]]:
        """Yields the ids of the suspects, `size` at a time."""
        return self._database.batches("SELECT id FROM suspects WHERE id > ? ORDER BY id LIMIT ?", size)

    def note_looked(self, seen: Iterable[MemberSnapshot], absent: Iterable[str], unclear: Iterable[str]) -> None:
        """Records which suspects Mailchimp found, which are not there, and which nothing can be said about."""
        self.note_members(seen)
        gone = [(member_id,) for member_id in absent]
        # A member who was on the list a moment ago is no difference yet: the next comparison will tell.
        is_member = "EXISTS (SELECT 1 FROM members WHERE members.id = suspects.id)"
        self._database.write_all(f"DELETE FROM suspects WHERE id = ? AND {is_member}", gone)
        self._database.write_all("DELETE FROM members WHERE id = ?", gone)
        self._database.write_all("UPDATE suspects SET is_clear = 0 WHERE id = ?", ((own_id,) for own_id in unclear))

    def suspects_among(self, ids: Sequence[str]) -> set[str]:
        """Returns those of some hundred ids that are suspects."""
        return set(self._database.ids(f"SELECT id FROM suspects WHERE id IN ({placeholders(ids)})", ids))

    def forget_held(self) -> None:
        """Forgets what Ometria held of the suspects at the first look: `note_held` records what it holds now."""
        self._database.write("UPDATE members SET held = NULL WHERE id IN (SELECT id FROM suspects)")
        self._database.write("DELETE FROM orphans WHERE id IN (SELECT id FROM suspects)")

    def settle(self, due: Due) -> None:
        """Records what still differs after the second look at both sides as a difference."""
        for kind, where in WHERE.items():
            bits = MENDABLE if kind == "stale" else "0"
            self._database.write(
                f"INSERT INTO differences SELECT '{kind}', suspects.id, {bits} FROM suspects"
                f" JOIN {TABLE[kind]} ON {TABLE[kind]}.id = suspects.id WHERE is_clear AND {where}",
                due._asdict(),
            )

    def note_same_addresses(self, list_key: str, collection: str) -> None:
        """Records the addresses of members who are gone, and the members of this list to be opted in under them."""
        self._database.write(
            f"INSERT OR IGNORE INTO addresses SELECT {EMAIL.format('held')} FROM differences"
            " JOIN orphans ON orphans.id = differences.id WHERE kind = 'gone'"
        )
        email = EMAIL.format("version")
        self._database.write(
            f"INSERT OR IGNORE INTO elsewhere SELECT {email}, ?, ?, id FROM members WHERE {IS_IN.format('version')}"
            f" AND is_whole AND NOT is_archived AND {email} IN (SELECT email FROM addresses)",
            [collection, list_key],
        )

    # ---- what differs

    def difference(self, kind: Kind, most: int) -> Difference:
        """Returns how many members differ in this way, and `most` ids of theirs."""
        ids = self._database.ids("SELECT id FROM differences WHERE kind = ? ORDER BY id LIMIT ?", [kind, most])
        count = self._database.number("SELECT count(*) FROM differences WHERE kind = ?", [kind])
        return Difference(count, tuple(ids))

    def every_id(self, size: int = 1_000) -> Iterator[DifferingId]:
        """Yields all who differ, by kind and id, then those who could not be looked at again; `size` at a time."""
        after = ("", "")
        query = "SELECT kind, id, bits FROM differences WHERE (kind, id) > (?, ?) ORDER BY kind, id LIMIT ?"
        while rows := self._database.rows(query, [*after, size]):
            yield from (DifferingId(kind, own_id, _fields(kind, bits)) for kind, own_id, bits in rows)
            after = rows[-1][:2]
        unclear = self._database.batches(
            "SELECT id FROM suspects WHERE NOT is_clear AND id > ? ORDER BY id LIMIT ?", size
        )
        yield from (DifferingId("unclear", own_id) for ids in unclear for own_id in ids)

    def count_foreign(self) -> int:
        return self._database.number("SELECT count(*) FROM strangers")

    def stale_bits(self) -> dict[int, int]:
        """Returns how many members differ in which fields together; the bits are those of `differing`."""
        query = "SELECT bits, count(*) FROM differences WHERE kind = 'stale' GROUP BY bits"
        return dict(self._database.rows(query))

    def address_of(self, member_id: str) -> bytes:
        """Returns the digest of the address of a member who is gone; zeros where there is none."""
        rows = self._database.rows(f"SELECT {EMAIL.format('held')} FROM orphans WHERE id = ?", [member_id])
        return next((bytes(email) for (email,) in rows), _NO_ADDRESS)

    def same_addresses(self, email: bytes) -> list[tuple[str, str, str]]:
        """Returns id, list and collection of the listings met so far that are opted in under an address (a digest).

        The list is empty for an id that is of no list of ours; all of it where there is no address.
        """
        query = "SELECT id, list_key, collection FROM elsewhere WHERE email = ?"
        return [] if email == _NO_ADDRESS else self._database.rows(query, [email])

    def tallies(self, due: Due) -> dict[str, Any]:
        """Counts who agrees, who differs in ways that do not count, and the contacts of this list in Ometria.

        By the names that the counts have in `Comparison`.
        """
        number = self._database.number
        return {name: number(f"SELECT count(*) FROM {rows}", due._asdict()) for name, rows in TALLIES.items()}

    def witness(self) -> str | None:
        """Returns a member who is on the list as far as is known, and whom Mailchimp can be asked for by id."""
        query = "SELECT id FROM members WHERE length(id) > 20 AND NOT is_archived LIMIT 1"
        return next(iter(self._database.ids(query)), None)


def _fields(kind: Kind, bits: int) -> tuple[str, ...]:
    return ("consent",) if kind == "said_no" else tuple(names_of(bits))
