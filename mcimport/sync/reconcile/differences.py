"""Both sides of a list, side by side in a nameless file: ids, times and salted digests, and nothing else."""

# ruff: noqa: S608 - every query is put together from texts of this file

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from mcimport.sync.reconcile.fingerprints import (
    FIELDS,
    OPTED_IN,
    OPTED_OUT,
    SMS_YES,
    WIDTH,
    Due,
    Kind,
    LastPosition,
    MemberSnapshot,
    SameAddress,
    differing,
    mendable,
)
from mcimport.sync.reconcile.temp_db import TempDatabase

_TABLES = """
    CREATE TABLE members (
        id TEXT PRIMARY KEY, version BLOB NOT NULL, changed INTEGER, is_whole INTEGER NOT NULL,
        is_archived INTEGER NOT NULL, held BLOB -- NULL: not in Ometria
    ) WITHOUT ROWID;
    CREATE TABLE orphans (id TEXT PRIMARY KEY, held BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE elsewhere (
        email BLOB, collection TEXT, list_key TEXT, id TEXT, PRIMARY KEY (email, collection, list_key, id)
    ) WITHOUT ROWID;
    CREATE TABLE strangers (digest BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE on_record (id TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE suspects (id TEXT PRIMARY KEY, is_clear INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;
    CREATE TABLE seen_again (id TEXT PRIMARY KEY, held BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE differences (kind TEXT, id TEXT, bits INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
    CREATE TABLE addresses (email BLOB, id TEXT, PRIMARY KEY (email, id)) WITHOUT ROWID;
    CREATE TABLE twins (id TEXT, twin TEXT, PRIMARY KEY (id, twin)) WITHOUT ROWID;
    CREATE TABLE tried (
        kind TEXT, id TEXT, version BLOB NOT NULL, is_refused INTEGER NOT NULL DEFAULT 0,
        is_seen INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE TABLE held_now (id TEXT PRIMARY KEY, held BLOB NOT NULL) WITHOUT ROWID;
"""
_NOTHING = bytes(WIDTH)
_CONSENT = f"substr({{}}, 1, {WIDTH})"
_EMAIL = f"substr({{}}, {WIDTH + 1}, {WIDTH})"
_SMS = f"substr({{}}, {FIELDS.index('sms') * WIDTH + 1}, {WIDTH})"

# `:horizon`: the last second whose changes are due in Ometria; `:start`: the last one that was left out on purpose.
_DUE = "(changed IS NULL OR changed <= :horizon)"
_LACKING = "held IS NULL AND is_whole AND NOT is_archived"
_IS_ON_RECORD = "EXISTS (SELECT 1 FROM on_record WHERE on_record.id = members.id)"
# Whom a dead letter names cannot be sent whole, as far as is known.
_MENDABLE = f"mendable(version, held, :has_sms, NOT is_whole OR {_IS_ON_RECORD})"
_WAS_LEFT_OUT = "coalesce(changed <= :start, 0)"
_SAID_NO = f"{_CONSENT.format('version')} = :opted_in AND {_CONSENT.format('held')} = :opted_out"
_WHERE: dict[Kind, str] = {
    "missing": f"{_LACKING} AND {_DUE} AND NOT {_WAS_LEFT_OUT} AND NOT {_IS_ON_RECORD}",
    "stale": f"held IS NOT NULL AND {_DUE} AND {_MENDABLE}",
    "gone": f"({_CONSENT.format('held')} = :opted_in OR {_SMS.format('held')} = :texted)",
    "said_no": f"held IS NOT NULL AND {_DUE} AND {_SAID_NO}",
}
_TABLE: dict[Kind, str] = {"missing": "members", "stale": "members", "gone": "orphans", "said_no": "members"}

_IS_TRIED = "EXISTS (SELECT 1 FROM tried WHERE (tried.kind, tried.id) = (differences.kind, differences.id))"
# Whose consent alone is pushed: these are not on the list any more, or have no address there that can be used.
_WITHOUT_ADDRESS = (
    f"NOT {_IS_TRIED} AND (kind = 'gone' OR kind = 'stale'"
    " AND EXISTS (SELECT 1 FROM members WHERE members.id = differences.id AND NOT is_whole))"
)


class DifferenceTable:
    """Belongs to the thread that opened it. `folder`: where the file lies. Raises StateError."""

    def __init__(self, folder: Path) -> None:
        self._file = TempDatabase(folder, _TABLES, {"differing": differing, "mendable": mendable})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    # ---- what is seen

    def note_members(self, seen: Iterable[MemberSnapshot]) -> None:
        """Of two sights of one member the later is kept."""
        self._file.write_all(
            "INSERT INTO members (id, version, changed, is_whole, is_archived) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id)"
            " DO UPDATE SET (version, changed, is_whole, is_archived)"
            " = (excluded.version, excluded.changed, excluded.is_whole, excluded.is_archived)",
            [(one.id, one.version, one.changed, one.is_whole, one.is_archived) for one in seen],
        )

    def note_held(self, held: Iterable[tuple[str, bytes]]) -> None:
        """Contacts under an id of this list, as Ometria holds them."""
        for own, version in held:
            if not self._file.write("UPDATE members SET held = ? WHERE id = ?", [version, own]):
                self._file.write("INSERT OR REPLACE INTO orphans VALUES (?, ?)", [own, version])

    def note_elsewhere(self, collection: str, held: Iterable[tuple[str, str, bytes]]) -> None:
        """Contacts under an id of another list: list, id, version. Those that are opted in are remembered.

        The list is empty for a contact under nobody's id of ours.
        """
        self._file.write_all("INSERT OR IGNORE INTO elsewhere VALUES (?, ?, ?, ?)", _opted_in(collection, held))

    def note_twins(self, collection: str, held: Iterable[tuple[str, str, bytes]]) -> None:
        """As `note_elsewhere`, of those alone who have the address of somebody who is gone."""
        self._file.write_all(
            "INSERT OR IGNORE INTO elsewhere SELECT ?1, ?2, ?3, ?4"
            " WHERE EXISTS (SELECT 1 FROM addresses WHERE email = ?1)",
            _opted_in(collection, held),
        )

    def note_foreign(self, digests: Iterable[bytes]) -> None:
        """Contacts under nobody's id of ours."""
        self._file.write_all("INSERT OR IGNORE INTO strangers VALUES (?)", [(one,) for one in digests])

    def note_on_record(self, ids: Iterable[str]) -> None:
        """Members for whom a dead letter says why they are not in Ometria."""
        self._file.write_all("INSERT OR IGNORE INTO on_record VALUES (?)", [(own,) for own in ids])

    # ---- who is to be looked at again

    def join(self) -> None:
        """Whoever was met in Ometria first and in Mailchimp later has both sides from now on."""
        for rows in self._file.batches(
            "SELECT id, held FROM orphans WHERE id IN (SELECT id FROM members) AND id > ? ORDER BY id LIMIT ?", 1000
        ):
            self._file.write_all("UPDATE members SET held = ? WHERE id = ?", [(held, own) for own, held in rows])
            self._file.write_all("DELETE FROM orphans WHERE id = ?", [(own,) for own, _ in rows])

    def fill_suspects(self, due: Due) -> int:
        """Everybody who differs at first sight; returns how many these are."""
        self._file.write("DELETE FROM suspects")
        for kind, where in _WHERE.items():
            self._file.write(
                f"INSERT OR IGNORE INTO suspects (id) SELECT id FROM {_TABLE[kind]} WHERE {where}", due.parameters
            )
        return self._file.number("SELECT count(*) FROM suspects")

    def suspects(self, size: int) -> Iterator[list[str]]:
        """Their ids, so many at a time."""
        for rows in self._file.batches("SELECT id FROM suspects WHERE id > ? ORDER BY id LIMIT ?", size):
            yield [own for (own,) in rows]

    def note_looked(self, seen: Iterable[MemberSnapshot], absent: Iterable[str], unclear: Iterable[str]) -> None:
        """Of suspects: who was found in Mailchimp, who is not there, and of whom nothing can be said."""
        self.note_members(seen)
        gone = [(own,) for own in absent]
        # Whoever was on the list a moment ago is no difference yet: the next comparison will tell.
        self._file.write_all(
            "DELETE FROM suspects WHERE id = ? AND EXISTS (SELECT 1 FROM members WHERE members.id = suspects.id)", gone
        )
        self._file.write_all("DELETE FROM members WHERE id = ?", gone)
        self._file.write_all("UPDATE suspects SET is_clear = 0 WHERE id = ?", [(own,) for own in unclear])

    def suspects_among(self, ids: Sequence[str]) -> set[str]:
        """Of some hundred ids, those of suspects."""
        return {own for (own,) in self._file.rows(f"SELECT id FROM suspects WHERE id IN ({_places(ids)})", ids)}

    def note_held_again(self, held: Iterable[tuple[str, bytes]]) -> None:
        """Suspects under an id of this list at the second look."""
        self._file.write_all("INSERT OR REPLACE INTO seen_again VALUES (?, ?)", list(held))

    def settle(self, due: Due) -> None:
        """After the second look at both sides: what differs still is a difference."""
        is_suspect = "EXISTS (SELECT 1 FROM suspects WHERE suspects.id = {}.id)"
        self._file.write(
            "UPDATE members SET held = (SELECT held FROM seen_again WHERE seen_again.id = members.id)"
            f" WHERE {is_suspect.format('members')}"
        )
        self._file.write(f"DELETE FROM orphans WHERE {is_suspect.format('orphans')}")
        self._file.write(
            "INSERT INTO orphans SELECT id, held FROM seen_again"
            " WHERE NOT EXISTS (SELECT 1 FROM members WHERE members.id = seen_again.id)"
        )
        for kind, where in _WHERE.items():
            bits = _MENDABLE if kind == "stale" else "0"
            self._file.write(
                f"INSERT INTO differences SELECT '{kind}', suspects.id, {bits} FROM suspects"
                f" JOIN {_TABLE[kind]} ON {_TABLE[kind]}.id = suspects.id WHERE is_clear AND {where}",
                due.parameters,
            )
        self._find_twins()

    def _find_twins(self) -> None:
        """For who is gone: their addresses, and who else on this list is to be opted in under the same one."""
        self._file.write(
            f"INSERT INTO addresses SELECT {_EMAIL.format('held')}, differences.id FROM differences"
            " JOIN orphans ON orphans.id = differences.id WHERE kind = 'gone'"
        )
        subscribed = f"{_CONSENT.format('version')} = ? AND is_whole AND NOT is_archived"
        self._file.write(
            "INSERT OR IGNORE INTO twins SELECT addresses.id, members.id FROM members CROSS JOIN addresses"
            f" ON email = {_EMAIL.format('version')} WHERE {subscribed}",
            [OPTED_IN],
        )

    # ---- what came of it

    def count(self, kind: Kind) -> int:
        return self._file.number("SELECT count(*) FROM differences WHERE kind = ?", [kind])

    def count_foreign(self) -> int:
        return self._file.number("SELECT count(*) FROM strangers")

    def some(self, kind: Kind, most: int) -> tuple[str, ...]:
        """A few ids."""
        rows = self._file.rows("SELECT id FROM differences WHERE kind = ? ORDER BY id LIMIT ?", [kind, most])
        return tuple(own for (own,) in rows)

    def stale_bits(self) -> dict[int, int]:
        """How often which fields differ together."""
        return dict(self._file.rows("SELECT bits, count(*) FROM differences WHERE kind = 'stale' GROUP BY bits"))

    def differing(self, kind: Kind, size: int) -> Iterator[list[str]]:
        """Ids, so many at a time."""
        query = "SELECT id FROM differences WHERE kind = ? AND id > ? ORDER BY id LIMIT ?"
        for rows in self._file.batches(query, size, kind):
            yield [own for (own,) in rows]

    def last_positions(self, ids: Iterable[str]) -> list[LastPosition]:
        """Of those who are on the list."""
        query = "SELECT id, changed, is_archived FROM members WHERE id = ?"
        return [LastPosition(*row) for own in ids for row in self._file.rows(query, [own])]

    def address_of(self, own: str) -> bytes:
        """Of somebody who is gone, as a digest."""
        rows = self._file.rows(f"SELECT {_EMAIL.format('held')} FROM orphans WHERE id = ?", [own])
        return next((bytes(email) for (email,) in rows), _NOTHING)

    def twins_of(self, own: str) -> list[SameAddress]:
        """All listings that are opted in under the address of somebody who is gone, as far as they were met."""
        email = self.address_of(own)
        if email == _NOTHING:
            return []
        on_this_list = self._file.rows("SELECT twin, NULL, NULL FROM twins WHERE id = ?", [own])
        others = self._file.rows("SELECT id, list_key, collection FROM elsewhere WHERE email = ?", [email])
        return [SameAddress(*row) for row in [*on_this_list, *others]]

    def texted(self, ids: Sequence[str]) -> set[str]:
        """Of some hundred ids, those of whom Ometria holds a yes to text messages."""
        agreed = f"{_SMS.format('held')} = ? AND id IN ({_places(ids)})"
        query = f"SELECT id FROM members WHERE {agreed} UNION SELECT id FROM orphans WHERE {agreed}"
        return {own for (own,) in self._file.rows(query, [SMS_YES, *ids] * 2)}

    # ---- what is pushed, and seen

    def without_address(self, size: int) -> Iterator[list[str]]:
        """Of the gone and the stale: who can only be pushed with the address that Ometria holds."""
        query = f"SELECT DISTINCT id FROM differences WHERE {_WITHOUT_ADDRESS} AND id > ? ORDER BY id LIMIT ?"
        for rows in self._file.batches(query, size):
            yield [own for (own,) in rows]

    def count_without_address(self) -> int:
        return self._file.number(f"SELECT count(*) FROM differences WHERE {_WITHOUT_ADDRESS}")

    def without_address_among(self, ids: Iterable[str]) -> dict[str, Kind]:
        """Of some hundred ids, those of `without_address`, and how they differ."""
        some = list(ids)
        query = f"SELECT id, kind FROM differences WHERE {_WITHOUT_ADDRESS} AND id IN ({_places(some)})"
        return dict(self._file.rows(query, some))

    def opted_out_among(self, ids: Sequence[str]) -> frozenset[str]:
        """Of some hundred ids, those of members who are opted out in Ometria."""
        query = f"SELECT id FROM members WHERE {_CONSENT.format('held')} = ? AND id IN ({_places(ids)})"
        return frozenset(own for (own,) in self._file.rows(query, [OPTED_OUT, *ids]))

    def leave(self, kind: Kind, ids: Iterable[str]) -> None:
        """These are not mended now: nothing that is said of others holds for them."""
        self._file.write_all("DELETE FROM differences WHERE kind = ? AND id = ?", [(kind, own) for own in ids])

    def note_tried(self, kind: Kind, versions: Iterable[tuple[str, bytes]]) -> None:
        """What was pushed, by id."""
        rows = [(kind, own, version) for own, version in versions]
        self._file.write_all("INSERT OR REPLACE INTO tried (kind, id, version) VALUES (?, ?, ?)", rows)

    def note_refused(self, kind: Kind, ids: Iterable[str]) -> None:
        """Of those tried: whom Ometria refused at once."""
        rows = [(kind, own) for own in ids]
        self._file.write_all("UPDATE tried SET is_refused = 1 WHERE kind = ? AND id = ?", rows)

    def note_nothing_left(self) -> None:
        """All who are gone were looked for in Ometria: who was not tried was not there, or not opted in any more."""
        self._file.write(
            "INSERT INTO tried (kind, id, version, is_seen)"
            f" SELECT kind, id, zeroblob(0), 1 FROM differences WHERE kind = 'gone' AND NOT {_IS_TRIED}"
        )

    def unseen(self, kind: Kind, size: int) -> Iterator[list[str]]:
        """Ids of those tried of whom it was not seen that it took."""
        query = "SELECT id FROM tried WHERE kind = ? AND NOT is_seen AND id > ? ORDER BY id LIMIT ?"
        for rows in self._file.batches(query, size, kind):
            yield [own for (own,) in rows]

    def unseen_among(self, ids: Iterable[str]) -> set[str]:
        """Of some hundred ids, those of `unseen`, of whichever kind."""
        some = list(ids)
        query = f"SELECT id FROM tried WHERE NOT is_seen AND id IN ({_places(some)})"
        return {own for (own,) in self._file.rows(query, some)}

    def count_unseen(self, *, but_refused: bool = False) -> int:
        query = "SELECT count(DISTINCT id) FROM tried WHERE NOT is_seen"
        return self._file.number(query + " AND NOT is_refused" if but_refused else query)

    def begin_look(self) -> None:
        self._file.write("DELETE FROM held_now")

    def note_held_now(self, held: Iterable[tuple[str, bytes]]) -> None:
        """Of those tried: what Ometria holds after the push."""
        self._file.write_all("INSERT OR REPLACE INTO held_now VALUES (?, ?)", list(held))

    def end_look(self) -> None:
        """All of `unseen` were looked for: whoever is as they were pushed is seen, whatever changed here meanwhile."""
        held = "EXISTS (SELECT 1 FROM held_now WHERE held_now.id = tried.id AND {})"
        is_opted_in = held.format(f"({_CONSENT.format('held')} = ? OR {_SMS.format('held')} = ?)")
        seen = "UPDATE tried SET is_seen = 1 WHERE"
        self._file.write(f"{seen} kind = 'gone' AND NOT {is_opted_in}", [OPTED_IN, SMS_YES])
        self._file.write(f"{seen} kind = 'said_no' AND {held.format('NOT differing(version, held, 0)')}")
        # Beside a no that was given to Ometria meanwhile, neither our yes nor neither is missing there.
        self._file.write(f"{seen} kind IN ('stale', 'missing') AND {held.format('NOT mendable(version, held, 0, 0)')}")

    def count_seen(self) -> int:
        return self._file.number("SELECT count(*) FROM tried WHERE is_seen")

    def some_unseen(self, most: int) -> tuple[str, ...]:
        """A few ids."""
        query = "SELECT DISTINCT id FROM tried WHERE NOT is_seen ORDER BY id LIMIT ?"
        return tuple(own for (own,) in self._file.rows(query, [most]))

    def tallies(self, due: Due) -> dict[str, int]:
        """How many agree, how many differ in ways that do not count, and how many Ometria holds of this list in all."""
        wheres = {
            "agree": f"is_whole AND held IS NOT NULL AND NOT {_MENDABLE} AND NOT ({_SAID_NO})",
            "unsendable": "NOT is_whole",
            "later": f"NOT {_DUE} AND (held IS NOT NULL AND {_MENDABLE} OR {_LACKING})",
            "on_record": f"{_LACKING} AND {_DUE} AND NOT {_WAS_LEFT_OUT} AND {_IS_ON_RECORD}",
            "left_out": f"{_LACKING} AND {_DUE} AND {_WAS_LEFT_OUT}",
            "held": "held IS NOT NULL",
        }
        found = {
            name: self._file.number(f"SELECT count(*) FROM members WHERE {where}", due.parameters)
            for name, where in wheres.items()
        }
        departed = self._file.number(f"SELECT count(*) FROM orphans WHERE NOT {_WHERE['gone']}", due.parameters)
        unclear = self._file.number("SELECT count(*) FROM suspects WHERE NOT is_clear")
        held = found["held"] + self._file.number("SELECT count(*) FROM orphans")
        return {**found, "departed": departed, "unclear": unclear, "held": held}

    def witness(self) -> str | None:
        """Somebody who is on the list for all we know, and whom Mailchimp can be asked for by id."""
        query = "SELECT id FROM members WHERE length(id) > 20 AND NOT is_archived LIMIT 1"
        return next((str(own) for (own,) in self._file.rows(query)), None)


def _places(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _opted_in(collection: str, held: Iterable[tuple[str, str, bytes]]) -> list[tuple[bytes, str, str, str]]:
    return [(one[WIDTH : 2 * WIDTH], collection, key, own) for key, own, one in held if one.startswith(OPTED_IN)]
