"""The check of a mend: what was pushed is read back, and only what is seen in Ometria counts as mended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import get_args

from mcimport.errors import InterruptedRunError
from mcimport.models import HeldContact
from mcimport.services.ometria.contacts import UnknownContactError
from mcimport.sync.reconcile.compare import AT_ONCE, Comparer
from mcimport.sync.reconcile.contact_reader import ContactReader
from mcimport.sync.reconcile.fingerprints import Kind
from mcimport.sync.reconcile.push_table import PushTable

LOOKS = 4  # at the contacts that are not as pushed yet: validation may lag behind


def verify(comparer: Comparer, reader: ContactReader, *, has_pushed: bool) -> None:
    """Reads contacts back when Ometria has had time to validate them, and some again that are not as pushed.

    Raises what reading them raises, and InterruptedRunError.
    """
    list_run, pushes = comparer.list_run, comparer.differences.pushes
    settling = list_run.client.reconcile.settling
    pause = settling if has_pushed else 0.0
    for _ in range(LOOKS):
        if list_run.services.stop.requested.wait(pause):
            raise InterruptedRunError("stopped")
        _look(comparer, reader)
        if not pushes.count_unseen(but_refused=True):
            return
        pause = max(1.0, settling / 2)


def _look(comparer: Comparer, reader: ContactReader) -> None:
    pushes = comparer.differences.pushes
    if reader.is_few(pushes.count_unseen()):
        with suppress(UnknownContactError):
            return _note(comparer, _read_each(pushes, reader))
    return _note(comparer, ({own_id: page[own_id] for own_id in pushes.unseen_among(page)} for page in reader.pages()))


def _read_each(pushes: PushTable, reader: ContactReader) -> Iterator[dict[str, HeldContact]]:
    for kind in get_args(Kind):
        for ids in pushes.unseen(kind, AT_ONCE):
            yield reader.read_each(ids, should_exist=kind == "gone")


def _note(comparer: Comparer, read: Iterable[Mapping[str, HeldContact]]) -> None:
    of_held = comparer.lookup.fingerprinter.of_held
    comparer.differences.pushes.note_look(
        [(own_id, of_held(contact)) for own_id, contact in contacts.items()] for contacts in read
    )
