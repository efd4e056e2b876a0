"""Both sides of a list are read, whole; who differs is looked at once more on both; what differs still is counted.

People change all the while. Whatever changed after the sync point is what the next sync carries, and no difference;
whoever changes while this goes on moves beyond it, too.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable

from mcimport import windows
from mcimport.compare import Due, Kind, names_of
from mcimport.convert import is_contact_id, own_part
from mcimport.errors import InterruptedRunError
from mcimport.look import Look, check_list_is_there
from mcimport.models import HeldContact, Outcome, Window
from mcimport.records import Comparison, Difference
from mcimport.sides import Sides
from mcimport.state import letters, lists, runs
from mcimport.task import Task
from mcimport.walk import Walked, walk

SHOWN = 10  # ids a kind
AT_ONCE = 200  # suspects looked at before the file is written to

_PLAIN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,80}", re.ASCII)
_LISTING = Window(number=-1, sweep="listed", since=None, until=0)  # for whoever watches the pages go by


class Survey:
    """One comparison of one list; belongs to the thread that owns the task's state."""

    def __init__(self, task: Task, run_id: int, sides: Sides) -> None:
        task.services.mailchimp.size(task.list_key)  # what is not there is told of before a whole list is read
        task.services.contacts.page(task.row.collection, 0)
        self.task = task
        self.run_id = run_id
        self.sides = sides
        self.look = Look(task)
        self.due = Due(task.row.carried_since, (task.row.sync_point or 0) - windows.OVERLAP)
        self._total = 0  # about so many contacts will be read back
        self.pages = 0  # what one pass over the collection takes
        self.is_whole = True  # everybody on the list was seen
        self._others = _other_lists(task)
        self._foreign: dict[str, None] = {}  # a few ids

    def compare(self) -> Comparison:
        """Raises what the services raise, and StateError."""
        sides = self.sides
        sides.note_on_record(letters.watched(self.task.state, self.task.row.id))
        walked = self._walk(None, self.run_id)
        self._total = walked.total
        self._read_back(self._note_held)
        if sides.suspect(self.due):
            # Whoever changed meanwhile stands beyond `until`, and need not be asked for one by one.
            self._walk(walked.until - windows.OVERLAP)
            sides.join()
        if sides.suspect(self.due):
            self._look_again()
            self._wait_for_ometria()
            self._read_back(self._note_held_again)
            sides.settle(self.due)
        return self._comparison()

    # ---- Mailchimp

    def _walk(self, since: int | None, run_id: int | None = None) -> Walked:
        walked = walk(self.look, self.sides, since, run_id)
        self.is_whole = self.is_whole and walked.is_whole
        return walked

    def _look_again(self) -> None:
        """Each suspect, by id. Nobody can be asked for by web_id: of them the walks say what there is to say."""
        for ids in self.sides.suspects(AT_ONCE):
            looked = self.look.afresh(ids)
            if looked.absent:
                check_list_is_there(self.task, self.sides.witness())
            unasked = [] if self.is_whole else [own for own in ids if not is_contact_id(own)]
            absent, unclear = looked.absent, [*looked.unclear, *unasked]
            if not self.is_whole:  # two things must say that somebody is gone: the walk, and the look
                absent, unclear = [], [*unclear, *absent]
            self.sides.note_looked(self.look.sight_of(looked.found.values()), absent, unclear)

    # ---- Ometria

    def _read_back(self, take: Callable[[list[HeldContact]], None]) -> None:
        task = self.task
        task.reporter.planned(task.client.name, task.list_key, "reconcile", self._total, 1)
        listing = task.services.contacts.listing(self.look.rules.collection)
        for self.pages, page in enumerate(listing, 1):
            take(page)
            progress = Outcome(_LISTING, rest=_LISTING, members=len(page))
            task.reporter.moved(task.client.name, task.list_key, progress)
        task.reporter.moved(task.client.name, task.list_key, Outcome(_LISTING))
        if listing.others:
            task.warn(
                "Ometria does not filter its contacts by collection: all were read, of which"
                f" {listing.others:,} are of other collections"
            )

    def _note_held(self, page: list[HeldContact]) -> None:
        self.sides.note_held(self._ours(page))
        elsewhere, foreign = [], []
        for one in page:
            if own_part(one.id, self.task.list_key) is not None:
                continue
            known = next(((key, own) for key in self._others if (own := own_part(one.id, key)) is not None), None)
            if known is None:
                foreign.append(self.look.versions.of_id(one.id))
                if len(self._foreign) < SHOWN:
                    self._foreign[_impersonal(one.id)] = None
            else:
                elsewhere.append((*known, self.look.versions.of_held(one)))
        self.sides.note_elsewhere(elsewhere)
        self.sides.note_foreign(foreign)

    def _note_held_again(self, page: list[HeldContact]) -> None:
        """Nearly everybody was as they should be, and is not looked at twice."""
        owned = {own: one for one in page if (own := own_part(one.id, self.task.list_key)) is not None}
        suspects = self.sides.suspects_among(list(owned))
        self.sides.note_held_again((own, self.look.versions.of_held(owned[own])) for own in suspects)

    def _ours(self, page: list[HeldContact]) -> list[tuple[str, bytes]]:
        owned = ((own_part(one.id, self.task.list_key), one) for one in page)
        return [(own, self.look.versions.of_held(one)) for own, one in owned if own is not None]

    def _wait_for_ometria(self) -> None:
        """What was pushed a moment ago may not have been validated yet."""
        pushed = [run for run in runs.latest(self.task.state, list_id=self.task.row.id) if run.contacts_pushed]
        if not pushed:
            return
        settled = (pushed[0].finished_at or pushed[0].started_at) + self.task.client.reconcile.settling
        pause = settled - time.time()
        if pause > 0:
            self.task.warn(f"waited {pause:.0f} s, until Ometria had settled what was pushed to it a moment ago")
        if self.task.services.stop.asked.wait(max(0.0, pause)):
            raise InterruptedRunError("stopped")

    # ---- what came of it

    def _comparison(self) -> Comparison:
        fields: Counter[str] = Counter()
        for bits, many in self.sides.stale_bits().items():
            fields.update(dict.fromkeys(names_of(bits), many))
        tallies = self.sides.tallies(self.due)
        return Comparison(
            missing=self._difference("missing"),
            stale=self._difference("stale"),
            gone=self._difference("gone"),
            opted_out=self._difference("opted_out"),
            foreign=Difference(self.sides.count_foreign(), tuple(self._foreign)),
            fields=dict(fields.most_common()),
            agree=tallies["agree"],
            later=tallies["later"],
            left_out=tallies["left_out"],
            on_record=tallies["on_record"],
            unsendable=tallies["unsendable"],
            departed=tallies["departed"],
            unclear=tallies["unclear"],
            held=tallies["held"],
        )

    def _difference(self, kind: Kind) -> Difference:
        return Difference(self.sides.count(kind), self.sides.some(kind, SHOWN))


def _other_lists(task: Task) -> list[str]:
    """Further lists whose contacts stand in the same collection: the client's, and what was ever sent there."""
    collection, destination = task.row.collection, task.row.destination
    sent = [
        row.list_key
        for row in lists.overview(task.state)
        if (row.collection, row.destination) == (collection, destination)
    ]
    configured = [key for key in task.client.lists if task.client.collection(key) == collection]
    return [key for key in dict.fromkeys([*configured, *sent]) if key.lower() != task.list_key.lower()]


def _impersonal(contact_id: object) -> str:
    """Somebody else's id, unless it may be an address or a name with blanks."""
    if isinstance(contact_id, str) and _PLAIN_ID.fullmatch(contact_id):
        return contact_id
    return "(an id that may be personal)"
