"""Of a list that was synced before by a state file that is lost: whom that one had carried, and who was archived since.

They are nobody's to opt out otherwise: a first run reads the listed alone, and each later one only who is archived from
then on. Who is archived and not held by Ometria is not brought in.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from mcimport.convert import SMS_NO, contact_id
from mcimport.engine import run_windows
from mcimport.engine.page.context import PageContext
from mcimport.engine.page.converter import EventBudget, LazyListFields, RunConverter
from mcimport.errors import ServiceError
from mcimport.models import Conversion, Converted, HeldContact, Member, Outcome, Page, Skipped, Window
from mcimport.report.format import ARCHIVED_LEFT, mend_command
from mcimport.services.mailchimp import pagination
from mcimport.services.mailchimp.planning import cut, first_page
from mcimport.services.ometria.contacts import UnknownContactError
from mcimport.state import elsewhere, lists, runs
from mcimport.sync.dead_letter_windows import watched
from mcimport.sync.first_sync import is_sms_known
from mcimport.sync.list_run import ListRun
from mcimport.sync.reconcile.fingerprints import is_texted

MOST_ARCHIVED = 1_000  # read and looked for one by one; at Ometria's 4 reads a second some four minutes
NO_NUMBER = -1  # what is pushed here is counted with the run, and belongs to none of its windows
MOST_UNKNOWN = 3  # of whom Ometria does not tell whether it holds them, after which it is not asked any more


def compare_archived(list_run: ListRun, run_id: int) -> None:
    """A part of that run, after its windows: opts out whom Ometria still holds as opted in, or says what is left.

    A service that fails fails no run for it. Raises InterruptedRunError and StateError.
    """
    if list_run.row.unchecked_at is None or list_run.dry_run:
        return
    try:
        is_done = elsewhere.until(list_run.state, list_run.client.name) is None and _Check(list_run, run_id).compare()
    except ServiceError:
        is_done = False
    if is_done:
        lists.set_unchecked_at(list_run.state, list_run.row.id, None)
        list_run.refresh()
    else:
        list_run.warn(f"{ARCHIVED_LEFT}: {mend_command(list_run.list_key)}")


class _Check:
    """One run's; `compare` belongs to the thread that owns the task's state."""

    def __init__(self, list_run: ListRun, run_id: int) -> None:
        self._list_run = list_run
        self._run_id = run_id
        self._is_whole = True
        self._has_sms = False
        self._unknown = 0
        services = list_run.services
        rules = replace(list_run.rules, subscription_events="none")
        fields = LazyListFields(services.mailchimp, list_run.list_key)
        self._rules = rules
        self._convert = RunConverter(services.mailchimp, fields, rules, EventBudget(0, 0, ()), list_run.warn)

    def compare(self) -> bool:
        """Whether everybody who is archived was looked for. Raises what the services raise, and StateError."""
        list_run = self._list_run
        mailchimp, size = list_run.services.mailchimp, list_run.client.mailchimp.window
        page = first_page(mailchimp, list_run.list_key, "archived", None, size)
        if page.total > MOST_ARCHIVED:
            return False
        planned = cut(list_run.client, mailchimp, list_run.list_key, "archived", (None, page.settled), page)
        self._drive([replace(window, number=NO_NUMBER, page=page.asked) for window in planned], page)
        return self._is_whole

    def _drive(self, planned: list[Window], page: Page) -> None:
        services = self._list_run.services
        run_windows(
            self._context(),
            planned,
            self._record,
            stop=services.stop,
            workers=self._list_run.client.mailchimp.connections,
            pages={NO_NUMBER: page} if pagination.fits_in_one(page, page.asked) else {},
            give_up=services.abort,
        )

    def _context(self) -> PageContext:
        services = self._list_run.services
        return PageContext(
            list_key=self._list_run.list_key,
            mailchimp=services.mailchimp,
            ometria=services.ometria,
            convert=self._converted,
            fetch_missing_tags=self._convert.fetch_missing_tags,
            rules=self._rules,
            watched=watched(self._list_run.state, self._list_run.row),
            meter=services.meter,
            trace=services.trace,
        )

    def _converted(self, member: Member, _new_since: int | None) -> Conversion:
        """In a worker's thread."""
        held = self._held(member)
        if held is None or (held.marketing_optin == "EXPLICITLY_OPTEDOUT" and not is_texted(held)):
            return Skipped("not opted in in Ometria")
        converted = self._convert(member)
        if not is_texted(held) or not isinstance(converted, Converted) or converted.contact.channels is not None:
            return converted
        contact = msgspec.structs.replace(converted.contact, channels=SMS_NO)
        return msgspec.structs.replace(converted, contact=contact)

    def _held(self, member: Member) -> HeldContact | None:
        own = contact_id(member, self._list_run.list_key)
        if own is None or self._unknown >= MOST_UNKNOWN:
            return None
        try:
            held = self._list_run.services.contacts.contact(self._list_run.row.collection, own)
        except UnknownContactError:
            self._unknown += 1
            self._is_whole = False
            return None
        self._has_sms = self._has_sms or (held is not None and is_sms_known(held))
        return held

    def _record(self, outcome: Outcome) -> None:
        """Who was only looked at is nobody whom the run carried."""
        list_run = self._list_run
        kept = tuple(letter for letter in outcome.letters if letter.kind == "contact")
        self._is_whole = self._is_whole and len(kept) == len(outcome.letters)
        members = outcome.pushed + outcome.rejected
        carried = replace(outcome, letters=kept, members=members, skipped=0, has_sms=self._has_sms)
        runs.record(list_run.state, self._run_id, carried, list_run.services.meter.drain())
        list_run.warn(*outcome.warnings)
        list_run.remarks.update(dict(outcome.remarks))
