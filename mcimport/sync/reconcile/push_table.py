"""What of the differences was pushed, and what of that was seen in Ometria afterwards."""

# ruff: noqa: S608 - every query is put together from texts of this package

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mcimport.models import Sweep
from mcimport.models.results import Difference
from mcimport.sync.reconcile.comparison_tables import AGREES, IS_OUT, IS_TEXTED
from mcimport.sync.reconcile.fingerprints import Kind
from mcimport.sync.reconcile.temp_db import TempDatabase, placeholders

_IS_TRIED = "EXISTS (SELECT 1 FROM tried WHERE (tried.kind, tried.id) = (differences.kind, differences.id))"
# Members whose consent alone is pushed: they are not on the list any more, or have no address there that can be used.
_WITHOUT_ADDRESS = (
    f"NOT {_IS_TRIED} AND (kind = 'gone' OR kind = 'stale'"
    " AND EXISTS (SELECT 1 FROM members WHERE members.id = differences.id AND NOT is_whole))"
)


class PushTable:
    """Names what is to be pushed, and records what was; belongs to the thread that opened the database.

    Ids are the members' own, without the list; where a method takes ids, it takes some hundred. Raises StateError.
    """

    def __init__(self, database: TempDatabase) -> None:
        self._database = database

    # ---- what is to be pushed

    def differing(self, kind: Kind, size: int) -> Iterator[list[str]]:
        """Yields the ids of the members who differ in this way, `size` at a time."""
        query = "SELECT id FROM differences WHERE kind = ? AND id > ? ORDER BY id LIMIT ?"
        return self._database.batches(query, size, kind)

    def last_changes(self, ids: Sequence[str], horizon: int) -> list[tuple[str, Sweep, int]]:
        """Returns sweep and second of the last change of those on the list who changed at `horizon` or before."""
        columns = "id, CASE WHEN is_archived THEN 'archived' ELSE 'listed' END, changed"
        query = f"SELECT {columns} FROM members WHERE changed <= ? AND id IN ({placeholders(ids)})"
        return self._database.rows(query, [horizon, *ids])

    def agreeing_to_texts(self, ids: Sequence[str]) -> set[str]:
        """Returns those of these ids for which Ometria holds a yes to text messages."""
        agreed = f"{IS_TEXTED.format('held')} AND id IN ({placeholders(ids)})"
        query = f"SELECT id FROM members WHERE {agreed} UNION SELECT id FROM orphans WHERE {agreed}"
        return set(self._database.ids(query, [*ids, *ids]))

    def opted_out_among(self, ids: Sequence[str]) -> set[str]:
        """Returns those of these ids whose members are opted out in Ometria."""
        query = f"SELECT id FROM members WHERE {IS_OUT.format('held')} AND id IN ({placeholders(ids)})"
        return set(self._database.ids(query, ids))

    def without_address(self, size: int) -> Iterator[list[str]]:
        """Yields the ids of the gone and the stale who can only be pushed with the address that Ometria holds."""
        query = f"SELECT DISTINCT id FROM differences WHERE {_WITHOUT_ADDRESS} AND id > ? ORDER BY id LIMIT ?"
        return self._database.batches(query, size)

    def count_without_address(self) -> int:
        return self._database.number(f"SELECT count(*) FROM differences WHERE {_WITHOUT_ADDRESS}")

    def without_address_among(self, ids: Iterable[str]) -> dict[str, Kind]:
        """Returns those of these ids that `without_address` yields, and how each differs."""
        asked = list(ids)
        query = f"SELECT id, kind FROM differences WHERE {_WITHOUT_ADDRESS} AND id IN ({placeholders(asked)})"
        return dict(self._database.rows(query, asked))

    # ---- what was pushed

    def leave(self, kind: Kind, ids: Iterable[str]) -> None:
        """Drops differences that are not mended now, so that no count includes them."""
        rows = ((kind, own_id) for own_id in ids)
        self._database.write_all("DELETE FROM differences WHERE kind = ? AND id = ?", rows)

    def note_tried(self, kind: Kind, versions: Iterable[tuple[str, bytes]]) -> None:
        """Records what was pushed: pairs of an id and a version."""
        rows = ((kind, own_id, version) for own_id, version in versions)
        self._database.write_all("INSERT OR REPLACE INTO tried (kind, id, version) VALUES (?, ?, ?)", rows)

    def note_refused(self, kind: Kind, ids: Iterable[str]) -> None:
        """Records which of those tried Ometria refused at once."""
        rows = ((kind, own_id) for own_id in ids)
        self._database.write_all("UPDATE tried SET is_refused = 1 WHERE kind = ? AND id = ?", rows)

    def note_nothing_left(self) -> None:
        """Records that every contact that is gone was looked for in Ometria.

        One that was not tried was not there any more, or not opted in any more, and so is as it should be.
        """
        self._database.write(
            "INSERT INTO tried (kind, id, version, is_seen)"
            f" SELECT kind, id, zeroblob(0), 1 FROM differences WHERE kind = 'gone' AND NOT {_IS_TRIED}"
        )

    # ---- what was seen of it

    def unseen(self, kind: Kind, size: int) -> Iterator[list[str]]:
        """Yields the ids of those tried whose push was not seen in Ometria yet, `size` at a time."""
        query = "SELECT id FROM tried WHERE kind = ? AND NOT is_seen AND id > ? ORDER BY id LIMIT ?"
        return self._database.batches(query, size, kind)

    def count_unseen(self, *, but_refused: bool = False) -> int:
        """Counts them; `but_refused`: without those that Ometria refused."""
        query = "SELECT count(DISTINCT id) FROM tried WHERE NOT is_seen"
        return self._database.number(query + " AND NOT is_refused" if but_refused else query)

    def note_look(self, read: Iterable[Mapping[str, bytes]]) -> None:
        """Marks those tried as seen whom Ometria holds as they were pushed, whatever changed in Mailchimp meanwhile.

        `read` yields versions by id, of what Ometria holds now of all of `unseen`, perhaps among others.
        """
        self._database.write("UPDATE tried SET held = NULL")
        for held in read:
            rows = [(version, own_id) for own_id, version in held.items()]
            self._database.write_all("UPDATE tried SET held = ? WHERE id = ? AND NOT is_seen", rows)
        seen = "UPDATE tried SET is_seen = 1 WHERE"
        self._database.write(f"{seen} kind = 'gone' AND (held IS NULL OR NOT {AGREES})")
        self._database.write(f"{seen} kind = 'said_no' AND held IS NOT NULL AND NOT differing(version, held, 0)")
        # Beside a no that was given to Ometria meanwhile, neither our yes nor neither is missing there.
        is_as_pushed = "held IS NOT NULL AND NOT mendable(version, held, 0, 0)"
        self._database.write(f"{seen} kind IN ('stale', 'missing') AND {is_as_pushed}")

    def count_seen(self) -> int:
        return self._database.number("SELECT count(*) FROM tried WHERE is_seen")

    def not_taken(self, most: int) -> Difference:
        """Returns how many of those tried were not seen, and `most` ids of theirs."""
        ids = self._database.ids("SELECT DISTINCT id FROM tried WHERE NOT is_seen ORDER BY id LIMIT ?", [most])
        return Difference(self.count_unseen(), tuple(ids))
