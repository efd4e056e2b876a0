"""Formats the status of each list as a row of a table, and as a document for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from mcimport.models.records import Affected, Run, SpotCheck
from mcimport.report import former_names
from mcimport.report.columns import Columns
from mcimport.report.format import ARCHIVED_LEFT, about, age, mend_command, moment, moment_iso, pluralize, spark
from mcimport.report.reconcile_summary import compared_text, spot_check_note

COLUMNS = Columns(
    heads=(
        *("client", "list", "sync point (UTC)", "age"),
        *("last run", "kind", "status", "when", "dead letters", "contacts per run", "note"),
    ),
    below=("note",),
    dropped=("contacts per run", "kind", "last run", "when", "age"),
)


class ListStatus(Struct, frozen=True):
    """Holds the status of one list at one destination.

    Attributes:
        collection: empty while it is unknown.
        runs: the latest runs, newest first.
        discarded: the members of dead letters that were discarded since the last completed full sync.
        note: what is different with the list; may be empty.
        is_configured: the list is in the settings.
        is_sound: there is a state file, and the list goes where it was sent before: where it does not, no sync begins.
        warnings: the warnings of these runs, newest first, each once, whatever its numbers.
        is_overdue: the sync point, or the first run while there is none, is older than the client allows.
        is_current: the list is synced to this destination now, as far as is known, so dead letters and age count.
        reconciled_at, reconciled: when both sides were last compared (seconds, UTC), and the counts of that.
        unchecked_at: since when members archived before the first sync wait to be compared; None: none do.
        probed_at, probe_differs: when the last probe was (seconds, UTC), and the ids of the facts that differed.
        spot_check: the last spot check with missing contacts, unless both sides were compared since.
    """

    client: str
    list_key: str
    collection: str = ""
    sync_point: int | None = None
    runs: tuple[Run, ...] = ()
    open_letters: int = 0
    discarded: Affected = field(default_factory=Affected)
    note: str = ""
    is_overdue: bool = False
    warnings: tuple[str, ...] = ()
    is_current: bool = True
    reconciled_at: int | None = None
    reconciled: Mapping[str, int] = field(default_factory=dict)
    unchecked_at: int | None = None
    spot_check: SpotCheck | None = None
    probed_at: int | None = None
    probe_differs: tuple[str, ...] = ()
    is_sound: bool = True
    is_configured: bool = True

    @property
    def needs_attention(self) -> bool:
        has_failed = bool(self.runs) and self.runs[0].status == "failed"  # a run that was stopped is no failure
        differs = bool(self.reconciled.get("left"))
        has_trouble = self.is_overdue or self.open_letters > 0 or has_failed or differs
        return self.is_current and (has_trouble or not self.is_sound)


def row(list_status: ListStatus, now: int, *, plain: bool) -> tuple[str, ...]:
    """Returns the cells below COLUMNS. `now`: seconds, UTC. `plain`: bars in ASCII."""
    point = list_status.sync_point
    return (
        list_status.client,
        list_status.list_key,
        "never" if point is None else moment(point),
        "-" if point is None else age(now - point),
        *_last_run(list_status.runs, now),
        f"{list_status.open_letters:,}",
        spark([run.contacts_pushed for run in reversed(list_status.runs)], plain=plain),
        "\n".join(_notes(list_status, now)),
    )


def document(list_status: ListStatus, now: int) -> dict[str, Any]:
    """Returns the status for programs: times as ISO 8601 in UTC or null; `contacts_per_run`: newest last.

    `discarded_members` is null where a discarded dead letter is about an unknown number of members.
    """
    last = list_status.runs[0] if list_status.runs else None
    point = list_status.sync_point
    document = {
        "client": list_status.client,
        "list_key": list_status.list_key,
        "collection": list_status.collection or None,
        "sync_point": moment_iso(point),
        "age_seconds": None if point is None else max(0, now - point),
        "last_run_id": last.id if last else None,
        "last_run_kind": last.kind if last else None,
        "last_run_status": last.status if last else None,
        "last_run_at": moment_iso(last.finished_at or last.started_at) if last else None,
        "last_run_error": last.error if last else None,
        "overdue": list_status.is_overdue,
        "dead_letters": list_status.open_letters,
        "warnings": list(list_status.warnings),
        "contacts_per_run": [run.contacts_pushed for run in reversed(list_status.runs)],
        "discarded_members": list_status.discarded.known_members,
        "discarded_dead_letters": list_status.discarded.letters,
        "note": list_status.note or None,
        "reconciled_at": moment_iso(list_status.reconciled_at),
        "reconciled": dict(list_status.reconciled) or None,
        "unchecked_at": moment_iso(list_status.unchecked_at),
        "spot_check": list_status.spot_check.document if list_status.spot_check else None,
        "probed_at": moment_iso(list_status.probed_at),
        "probe_differs": list(list_status.probe_differs),
    }
    return former_names.with_former(document, former_names.LIST)


def _notes(list_status: ListStatus, now: int) -> Iterator[str]:
    last = list_status.runs[0] if list_status.runs else None
    if list_status.is_overdue and list_status.is_current:
        yield "OVERDUE"
    if list_status.note:
        yield f"{list_status.note}{_forget(list_status)}"
    if list_status.discarded.letters:
        yield f"{_discarded(list_status.discarded)} discarded"
    if last and last.status == "failed" and last.error:
        yield last.error
    if list_status.warnings:
        run = next(run.id for run in list_status.runs if run.warnings)
        yield f"{pluralize(len(list_status.warnings), 'warning')}: `mcimport runs show {run}`"
    if list_status.spot_check is not None:
        yield spot_check_note(list_status.spot_check, list_status.list_key, now)
    if list_status.unchecked_at is not None:
        yield f"{ARCHIVED_LEFT}: {mend_command(list_status.list_key)}"
    if list_status.reconciled_at is not None:
        fix = f": {mend_command(list_status.list_key)}" if list_status.reconciled.get("left") else ""
        yield f"{compared_text(list_status.reconciled)} {age(now - list_status.reconciled_at)} ago{fix}"


def _forget(list_status: ListStatus) -> str:
    """Returns how to remove what is recorded of a list that is not in the settings; empty for one that is."""
    command = f"mcimport forget {list_status.client} --list {list_status.list_key}"
    return "" if list_status.is_configured else f": `{command}` removes what is recorded of it"


def _discarded(found: Affected) -> str:
    known = [about(found, "member")] if found.members else []
    return " and ".join([*known, *(["an unknown number of members"] if found.unknown else [])])


def _last_run(runs: Sequence[Run], now: int) -> tuple[str, str, str, str]:
    if not runs:
        return "-", "-", "-", "-"
    last = runs[0]
    if last.finished_at is not None:
        when = f"{age(now - last.finished_at)} ago"
    elif last.status == "running":
        when = f"for {age(now - last.started_at)}"
    else:
        when = f"began {age(now - last.started_at)} ago"
    return str(last.id), last.kind, last.status, when
