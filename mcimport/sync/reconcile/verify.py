"""What a mend pushed is read back: mended is what was seen in Ometria, not what was sent there."""

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

LOOKS = 4  # at those who did not take yet: validation may lag behind


class Verification:
    """Of one mend; belongs to the thread that owns the task's state."""

    def __init__(self, comparer: Comparer, held: ContactReader) -> None:
        self._list_run: ListRun = comparer.list_run
        self._pushes: PushTable = comparer.differences.pushes
        self._of_held = comparer.lookup.fingerprinter.of_held
        self._held = held

    def run(self, *, has_pushed: bool) -> None:
        """Looks when Ometria has had time to settle, and again at who did not take; raises what reading raises."""
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
        if self._held.is_few(self._pushes.count_unseen()):
            with suppress(UnknownContactError):
                return self._look_singly()
        return self._look_by_listing()

    def _look_singly(self) -> None:
        self._pushes.begin_look()
        for kind in get_args(Kind):
            for ids in self._pushes.unseen(kind, AT_ONCE):
                self._note(self._held.singly(ids, are_there=kind == "gone"))
        self._pushes.end_look()

    def _look_by_listing(self) -> None:
        self._pushes.begin_look()
        for page in self._held.pages():
            unseen = self._pushes.unseen_among(page)
            self._note({own: page[own] for own in unseen})
        self._pushes.end_look()

    def _note(self, held: Mapping[str, HeldContact]) -> None:
        self._pushes.note_held_now((own, self._of_held(one)) for own, one in held.items())
