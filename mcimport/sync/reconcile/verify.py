"""The check of a mend: what was pushed is read back, and only what is seen in Ometria counts as mended."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import get_args

from mcimport.errors import InterruptedRunError
from mcimport.models import HeldContact
from mcimport.services.ometria.contacts import UnknownContactError
from mcimport.sync.list_run import ListRun
from mcimport.sync.reconcile.compare import AT_ONCE, Comparer
from mcimport.sync.reconcile.contact_reader import ContactReader
from mcimport.sync.reconcile.fingerprints import Kind
from mcimport.sync.reconcile.push_table import PushTable

LOOKS = 4  # at the contacts that are not as pushed yet: validation may lag behind


class Verification:
    """Reads back what one mend has pushed; belongs to the thread that owns the list run's state."""

    def __init__(self, comparer: Comparer, reader: ContactReader) -> None:
        self._list_run: ListRun = comparer.list_run
        self._pushes: PushTable = comparer.differences.pushes
        self._of_held = comparer.lookup.fingerprinter.of_held
        self._reader = reader

    def run(self, *, has_pushed: bool) -> None:
        """Reads contacts back when Ometria has had time to validate them, and some again that are not as pushed.

        Raises what reading them raises, and InterruptedRunError.
        """
        settling = self._list_run.client.reconcile.settling
        pause = settling if has_pushed else 0.0
        for _ in range(LOOKS):
            if self._list_run.services.stop.requested.wait(pause):
                raise InterruptedRunError("stopped")
            self._look_once()
            if not self._pushes.count_unseen(but_refused=True):
                return
            pause = max(1.0, settling / 2)

    def _look_once(self) -> None:
        if self._reader.is_few(self._pushes.count_unseen()):
            with suppress(UnknownContactError):
                return self._look_singly()
        return self._look_by_listing()

    def _look_singly(self) -> None:
        self._pushes.begin_look()
        for kind in get_args(Kind):
            for ids in self._pushes.unseen(kind, AT_ONCE):
                self._note(self._reader.read_each(ids, should_exist=kind == "gone"))
        self._pushes.end_look()

    def _look_by_listing(self) -> None:
        self._pushes.begin_look()
        for page in self._reader.pages():
            unseen = self._pushes.unseen_among(page)
            self._note({member_id: page[member_id] for member_id in unseen})
        self._pushes.end_look()

    def _note(self, held: Mapping[str, HeldContact]) -> None:
        self._pushes.note_held_now((member_id, self._of_held(contact)) for member_id, contact in held.items())
