"""Both sides of a list are read, whole; who differs is looked at once more on both; what differs still is counted.

People change all the while. Whatever changed after the sync point is what the next sync carries, and no difference;
whoever changes while this goes on moves beyond it, too.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from mcimport.config import Client
from mcimport.convert import is_contact_id, own_part
from mcimport.errors import InterruptedRunError
from mcimport.models import HeldContact, Outcome, Window
from mcimport.models.records import Comparison, Difference, Unread
from mcimport.report.format import duration
from mcimport.services.mailchimp import windows
from mcimport.state import dead_letters, runs
from mcimport.sync.list_run import ListRun
from mcimport.sync.reconcile.account_lists import account_lists, by_key, listings_of
from mcimport.sync.reconcile.differences import DifferenceTable
from mcimport.sync.reconcile.fingerprints import CONSENTS, Due, Kind, names_of
from mcimport.sync.reconcile.lookup import MemberLookup, check_list_is_there
from mcimport.sync.reconcile.scan import ScanResult, scan

SHOWN = 10  # ids a kind
AT_ONCE = 200  # suspects looked at before the file is written to

_PLAIN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,80}", re.ASCII)
_LISTING = Window(number=-1, sweep="listed", since=None, until=0)  # for whoever watches the pages go by


class Comparer:
    """One comparison of one list; belongs to the thread that owns the task's state."""

    def __init__(
        self, list_run: ListRun, run_id: int, differences: DifferenceTable, clients: Sequence[Client] = ()
    ) -> None:
        list_run.services.mailchimp.count_members(
            list_run.list_key
        )  # what is not there is told of before a whole list is read
        list_run.services.contacts.page(list_run.row.collection, 0)
        self.list_run = list_run
        self.run_id = run_id
        self.differences = differences
        self.lookup = MemberLookup(list_run)
        self._due = Due(list_run.row.carried_since, (list_run.row.sync_point or 0) - windows.OVERLAP)
        self._total = 0  # about so many contacts will be read back
        self.pages = 0  # what one pass over the collection takes
        self.known = account_lists(list_run.state, list_run.client, list_run.row, clients)
        self._others = by_key(self.known, list_run.row.collection)
        self.unread: dict[Unread, None] = {}  # each once: two walks overlap
        self._foreign: dict[str, None] = {}  # a few ids

    @property
    def due(self) -> Due:
        """That somebody has an SMS status may be met on the way."""
        return replace(self._due, has_sms=self.lookup.convert.has_sms)

    def compare(self) -> Comparison:
        """Raises what the services raise, and StateError."""
        differences = self.differences
        differences.note_on_record(dead_letters.members_with_open(self.list_run.state, self.list_run.row.id))
        scanned = self._scan(None, self.run_id)
        self._total = scanned.total
        self._read_back(self._note_held)
        if differences.fill_suspects(self.due):
            # Whoever changed meanwhile stands beyond `until`, and need not be asked for one by one.
            self._scan(scanned.until - windows.OVERLAP)
            differences.join()
        if differences.fill_suspects(self.due):
            self._look_again()
            self._wait_for_ometria()
            self._read_back(self._note_held_again)
            differences.settle(self.due)
        return self._comparison()

    # ---- Mailchimp

    @property
    def is_whole(self) -> bool:
        """Everybody on the list was seen."""
        return not self.unread

    def _scan(self, since: int | None, run_id: int | None = None) -> ScanResult:
        scanned = scan(self.lookup, self.differences, since, run_id)
        self.unread.update(dict.fromkeys(scanned.unread))
        return scanned

    def _look_again(self) -> None:
        """Each suspect, by id. Nobody can be asked for by web_id: of them the walks say what there is to say."""
        for ids in self.differences.suspects(AT_ONCE):
            looked = self.lookup.look_up(ids)
            if looked.absent:
                check_list_is_there(self.list_run, self.differences.witness())
            unasked = [] if self.is_whole else [own for own in ids if not is_contact_id(own)]
            absent, unclear = looked.absent, [*looked.unclear, *unasked]
            if not self.is_whole:  # two things must say that somebody is gone: the walk, and the look
                absent, unclear = [], [*unclear, *absent]
            self.differences.note_looked(self.lookup.snapshots_of(looked.found.values()), absent, unclear)

    # ---- Ometria

    def _read_back(self, take: Callable[[list[HeldContact]], None]) -> None:
        list_run = self.list_run
        list_run.reporter.planned(list_run.client.name, list_run.list_key, "reconcile", self._total, 1)
        listing = list_run.services.contacts.listing(self.lookup.rules.collection)
        for self.pages, page in enumerate(listing, 1):
            take(page)
            progress = Outcome(_LISTING, rest=_LISTING, members=len(page))
            list_run.reporter.page_recorded(list_run.client.name, list_run.list_key, progress)
        list_run.reporter.page_recorded(list_run.client.name, list_run.list_key, Outcome(_LISTING))
        if listing.others:
            list_run.warn(
                "Ometria did not filter its contacts by collection: all of them were read, with"
                f" {listing.others:,} of other collections"
            )

    def _note_held(self, page: list[HeldContact]) -> None:
        self.differences.note_held(self._ours(page))
        others = [one for one in page if own_part(one.id, self.list_run.list_key) is None]
        listings = listings_of(others, self._others, self.lookup.fingerprinter)
        self.differences.note_elsewhere(self.list_run.row.collection, listings)
        foreign = [one for one, (list_key, *_) in zip(others, listings, strict=True) if not list_key]
        self.differences.note_foreign(self.lookup.fingerprinter.of_id(one.id) for one in foreign)
        for one in foreign[: max(0, SHOWN - len(self._foreign))]:
            self._foreign[_impersonal(one.id)] = None

    def _note_held_again(self, page: list[HeldContact]) -> None:
        """Nearly everybody was as they should be, and is not looked at twice."""
        owned = {own: one for one in page if (own := own_part(one.id, self.list_run.list_key)) is not None}
        suspects = self.differences.suspects_among(list(owned))
        self.differences.note_held_again((own, self.lookup.fingerprinter.of_held(owned[own])) for own in suspects)

    def _ours(self, page: list[HeldContact]) -> list[tuple[str, bytes]]:
        owned = ((own_part(one.id, self.list_run.list_key), one) for one in page)
        return [(own, self.lookup.fingerprinter.of_held(one)) for own, one in owned if own is not None]

    def _wait_for_ometria(self) -> None:
        """What was pushed a moment ago may not have been validated yet. A push from the future is a clock's error."""
        pushed = [run for run in runs.latest(self.list_run.state, list_id=self.list_run.row.id) if run.contacts_pushed]
        if not pushed:
            return
        settling = self.list_run.client.reconcile.settling
        pause = min(settling, (pushed[0].finished_at or pushed[0].started_at) + settling - time.time())
        if pause > 0:
            self.list_run.warn(
                f"waited {duration(pause)} until Ometria had processed what was pushed to it just before"
            )
        if self.list_run.services.stop.requested.wait(max(0.0, pause)):
            raise InterruptedRunError("stopped")

    # ---- what came of it

    def _comparison(self) -> Comparison:
        fields: Counter[str] = Counter()
        stale = {tuple(names_of(bits)): many for bits, many in self.differences.stale_bits().items()}
        for names, many in stale.items():
            fields.update(dict.fromkeys(names, many))
        tallies = self.differences.tallies(self.due)
        return Comparison(
            missing=self._difference("missing"),
            stale=self._difference("stale"),
            gone=self._difference("gone"),
            said_no=self._difference("said_no"),
            stale_consents=sum(many for names, many in stale.items() if not CONSENTS.isdisjoint(names)),
            foreign=Difference(self.differences.count_foreign(), tuple(self._foreign)),
            fields=dict(fields.most_common()),
            agree=tallies["agree"],
            later=tallies["later"],
            left_out=tallies["left_out"],
            on_record=tallies["on_record"],
            unsendable=tallies["unsendable"],
            departed=tallies["departed"],
            unclear=tallies["unclear"],
            held=tallies["held"],
            unread=tuple(self.unread),
        )

    def _difference(self, kind: Kind) -> Difference:
        return Difference(self.differences.count(kind), self.differences.some(kind, SHOWN))


def _impersonal(contact_id: object) -> str:
    """Somebody else's id, unless it may be an address or a name with blanks."""
    if isinstance(contact_id, str) and _PLAIN_ID.fullmatch(contact_id):
        return contact_id
    return "(an id that may be personal)"
