"""The tables of one comparison, in a temporary file: ids, times and salted digests, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from mcimport.sync.reconcile.fingerprints import OPTED_IN, OPTED_OUT, SMS_YES, WIDTH, Kind, differing, mendable

TABLES = """
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
    CREATE TABLE differences (kind TEXT, id TEXT, bits INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
    CREATE TABLE addresses (email BLOB PRIMARY KEY) WITHOUT ROWID; -- of members who are gone
    CREATE TABLE tried (
        kind TEXT, id TEXT, version BLOB NOT NULL, is_refused INTEGER NOT NULL DEFAULT 0,
        is_seen INTEGER NOT NULL DEFAULT 0, held BLOB, PRIMARY KEY (id, kind)
    ) WITHOUT ROWID;
"""

# Parts of a version, and what they say: see `fingerprints`.
EMAIL = f"substr({{}}, {WIDTH + 1}, {WIDTH})"
IS_IN = f"substr({{}}, 1, {WIDTH}) = x'{OPTED_IN.hex()}'"
IS_OUT = f"substr({{}}, 1, {WIDTH}) = x'{OPTED_OUT.hex()}'"
IS_TEXTED = f"substr({{}}, -{WIDTH}) = x'{SMS_YES.hex()}'"
AGREES = f"({IS_IN} OR {IS_TEXTED})".format("held", "held")

# `:horizon`: the last second whose changes are due in Ometria; `:start`: the last one that was left out on purpose.
DUE = "(changed IS NULL OR changed <= :horizon)"
LACKING = "held IS NULL AND is_whole AND NOT is_archived"
IS_ON_RECORD = "EXISTS (SELECT 1 FROM on_record WHERE on_record.id = members.id)"
# As far as is known, a member whom a dead letter names cannot be sent whole.
MENDABLE = f"mendable(version, held, :has_sms, NOT is_whole OR {IS_ON_RECORD})"
WAS_LEFT_OUT = "coalesce(changed <= :start, 0)"
SAID_NO = f"{IS_IN.format('version')} AND {IS_OUT.format('held')}"
WHERE: dict[Kind, str] = {
    "missing": f"{LACKING} AND {DUE} AND NOT {WAS_LEFT_OUT} AND NOT {IS_ON_RECORD}",
    "stale": f"held IS NOT NULL AND {DUE} AND {MENDABLE}",
    "gone": AGREES,
    "said_no": f"held IS NOT NULL AND {DUE} AND {SAID_NO}",
}
TABLE: dict[Kind, str] = {"missing": "members", "stale": "members", "gone": "orphans", "said_no": "members"}
TALLIES = {
    "agree": f"members WHERE is_whole AND held IS NOT NULL AND NOT {MENDABLE} AND NOT ({SAID_NO})",
    "unsendable": "members WHERE NOT is_whole",
    "later": f"members WHERE NOT {DUE} AND (held IS NOT NULL AND {MENDABLE} OR {LACKING})",
    "on_record": f"members WHERE {LACKING} AND {DUE} AND NOT {WAS_LEFT_OUT} AND {IS_ON_RECORD}",
    "left_out": f"members WHERE {LACKING} AND {DUE} AND {WAS_LEFT_OUT}",
    "departed": f"orphans WHERE NOT {AGREES}",
    "unclear": "suspects WHERE NOT is_clear",
    "held": "(SELECT id FROM members WHERE held IS NOT NULL UNION ALL SELECT id FROM orphans)",
}
FUNCTIONS: dict[str, Callable[..., int]] = {"differing": differing, "mendable": mendable}
