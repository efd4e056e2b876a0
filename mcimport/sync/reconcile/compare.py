"""The comparison: reads both sides whole, looks again at the members who differ, and counts what still differs.

Members change all the while. A change after the sync point is imported by the next sync, and is no difference; a member
who changes during the comparison is beyond the sync point, too.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, get_args

from mcimport.config import Client
from mcimport.convert import is_contact_id
from mcimport.models import HeldContact
from mcimport.models.results import Comparison, Difference, Unread
from mcimport.report.format import duration
from mcimport.services.mailchimp import windows
from mcimport.state import dead_letters, runs
from mcimport.sync.list_run import ListRun
from mcimport.sync.reconcile.account_lists import account_lists, by_key, listings_of
from mcimport.sync.reconcile.contact_reader import contacts_of_list
from mcimport.sync.reconcile.differences import DifferenceTable
from mcimport.sync.reconcile.fingerprints import CONSENTS, Due, Kind, names_of
from mcimport.sync.reconcile.lookup import MemberLookup
from mcimport.sync.reconcile.scan import ScanResult, scan

SHOWN = 10  # ids of each kind
AT_ONCE = 200  # suspects looked up before the temporary file is written to

_PLAIN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,80}", re.ASCII)


def check_both_sides(list_run: ListRun) -> None:
    """Raises what the services raise where the list or the collection is not there, before a whole list is read."""
    list_run.services.mailchimp.count_members(list_run.list_key)
    list_run.services.contacts.page(list_run.row.collection, 0)


class Comparer:
    """Compares both sides of one list, once; belongs to the thread that owns the list run's state.

    Attributes:
        known: the lists that go to the same Ometria account.
        pages: how many pages one pass over the collection takes.
        unread: spans that could not be read, each once: two scans overlap.
    """

    def __init__(
        self, lookup: MemberLookup, run_id: int, differences: DifferenceTable, clients: Sequence[Client]
    ) -> None:
        self.list_run = list_run = lookup.list_run
        self.run_id = run_id
        self.differences = differences
        self.lookup = lookup
        self.known = account_lists(list_run.state, list_run.client, list_run.row, clients)
        self.pages = 0
        self.unread: dict[Unread, None] = {}
        self._lists = by_key(self.known, list_run.row.collection)
        self._foreign: dict[str, None] = {}  # a few ids

    @property
    def due(self) -> Due:
        """The changes that are due in Ometria; that a member has an SMS status may be found out on the way."""
        row = self.list_run.row
        return Due(row.carried_since, (row.sync_point or 0) - windows.OVERLAP, self.lookup.convert.has_sms)

    def compare(self) -> Comparison:
        """Compares both sides. Raises what the services raise, and StateError."""
        differences = self.differences
        differences.note_on_record(dead_letters.members_with_open(self.list_run.state, self.list_run.row.id))
        scanned = self._scan(None, self.run_id)
        self._read_back(self._note_held, scanned.total)
        if differences.fill_suspects(self.due):
            # Members who changed meanwhile are beyond `until`, and need not be looked up one by one.
            with self.list_run.step("reading the members who changed meanwhile from Mailchimp"):
                self._scan(scanned.until - windows.OVERLAP)
            differences.join()
        if differences.fill_suspects(self.due):
            with self.list_run.step("looking up in Mailchimp, one by one, who differs"):
                self._look_again()
            self._wait_for_ometria()
            differences.forget_held()
            with self.list_run.step("reading Ometria's contacts again, as some differ"):
                self._read_back(self._note_held_again, scanned.total)
            differences.settle(self.due)
        return self._comparison()

    # ---- Mailchimp

    def _scan(self, since: int | None, run_id: int | None = None) -> ScanResult:
        scanned = scan(self.lookup, self.differences, since, run_id)
        self.unread.update(dict.fromkeys(scanned.unread))
        return scanned

    def _look_again(self) -> None:
        """Looks each suspect up by id. For members who are known by a web_id alone, only the scans can tell."""
        for ids in self.differences.suspects(AT_ONCE):
            looked = self.lookup.look_up(ids)
            if looked.absent:
                self.lookup.check_list_is_there(self.differences.witness())
            absent, unclear = looked.absent, looked.unclear
            if self.unread:  # both must say that a member is gone: the scan, and the lookup
                unasked = [member_id for member_id in ids if not is_contact_id(member_id)]
                absent, unclear = [], [*unclear, *unasked, *absent]
            self.differences.note_looked(self.lookup.snapshots_of(looked.found.values()), absent, unclear)

    # ---- Ometria

    def _read_back(self, take: Callable[[list[HeldContact]], None], total: int) -> None:
        """Reads the whole collection from Ometria, a page at a time; `total`: about so many contacts of the list."""
        list_run = self.list_run
        where = (list_run.client.name, list_run.list_key)
        list_run.reporter.reads_back(*where, total)
        listing = list_run.services.contacts.listing(self.lookup.rules.collection)
        for self.pages, page in enumerate(listing, 1):
            take(page)
            of_list = len(contacts_of_list(page, list_run.list_key))
            list_run.reporter.read_back(*where, len(page), of_list)
        list_run.reporter.read_back(*where, 0, 0, is_last=True)
        if listing.others:
            list_run.warn(
                "Ometria did not filter its contacts by collection: all of them were read, with"
                f" {listing.others:,} of other collections"
            )

    def _note_held(self, page: list[HeldContact]) -> None:
        """Records a page of contacts: this list's, those of other lists, and those of no list of ours."""
        listings = listings_of(page, self._lists, self.lookup.fingerprinter)
        this_list = self.list_run.list_key.lower()
        self.differences.note_held((own_id, version) for list_key, own_id, version in listings if list_key == this_list)
        others = (listing for listing in listings if listing[0] != this_list)
        self.differences.note_elsewhere(self.list_run.row.collection, others)
        foreign = [contact for contact, (list_key, *_) in zip(page, listings, strict=True) if not list_key]
        self.differences.note_foreign(self.lookup.fingerprinter.of_id(contact.id) for contact in foreign)
        for contact in foreign[: max(0, SHOWN - len(self._foreign))]:
            self._foreign[_impersonal(contact.id)] = None

    def _note_held_again(self, page: list[HeldContact]) -> None:
        """Records the suspects on a page of contacts; nearly all others agreed at first sight."""
        by_id = contacts_of_list(page, self.list_run.list_key)
        of_held = self.lookup.fingerprinter.of_held
        suspects = self.differences.suspects_among(list(by_id))
        self.differences.note_held((member_id, of_held(by_id[member_id])) for member_id in suspects)

    def _wait_for_ometria(self) -> None:
        """Waits until the last push can be read (fact ometria-settling); one in the future is a clock's error."""
        pushed = [run for run in runs.latest(self.list_run.state, list_id=self.list_run.row.id) if run.contacts_pushed]
        if not pushed:
            return
        settling = self.list_run.client.reconcile.settling
        pause = min(settling, (pushed[0].finished_at or pushed[0].started_at) + settling - time.time())
        if pause > 0:
            self.list_run.warn(
                f"waited {duration(pause)} until Ometria had processed what was pushed to it just before"
            )
        self.list_run.settle(pause)

    # ---- what came of it

    def _comparison(self) -> Comparison:
        table, fields = self.differences, Counter[str]()
        stale = {tuple(names_of(bits)): count for bits, count in table.stale_bits().items()}
        for names, count in stale.items():
            fields.update(dict.fromkeys(names, count))
        kinds: dict[str, Any] = {kind: table.difference(kind, SHOWN) for kind in get_args(Kind)}
        return Comparison(
            **kinds,
            **table.tallies(self.due),
            stale_consents=sum(count for names, count in stale.items() if not CONSENTS.isdisjoint(names)),
            foreign=Difference(table.count_foreign(), tuple(self._foreign)),
            fields=dict(fields.most_common()),
            unread=tuple(self.unread),
        )


def _impersonal(contact_id: object) -> str:
    """Returns an id that is of no list of ours, unless it may be an address or a name with blanks."""
    if isinstance(contact_id, str) and _PLAIN_ID.fullmatch(contact_id):
        return contact_id
    return "(an id that may be personal)"
