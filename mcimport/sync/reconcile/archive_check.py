"""The opt-out of members who were archived before this state file knew their list, and whom Ometria holds.

A list that was synced with a state file that is lost has such members. No other run opts them out: a first run reads
only the members on the list, a later one only those who are archived from then on. Archived members whom Ometria does
not hold are not imported.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from mcimport.convert import SMS_NO, contact_id
from mcimport.engine import run_windows
from mcimport.engine.page.context import make_context
from mcimport.engine.page.converter import RunConverter
from mcimport.engine.page.list_fields import LazyListFields
from mcimport.engine.page.process import process_page
from mcimport.engine.page.subscription_events import EventBudget
from mcimport.errors import ServiceError
from mcimport.models import NO_NUMBER, Conversion, Converted, HeldContact, Member, Outcome, Skipped
from mcimport.report.format import ARCHIVED_LEFT, mend_command
from mcimport.services.ometria.contacts import UnknownContactError
from mcimport.services.ometria.sender import BatchSender
from mcimport.state import elsewhere, lists, runs
from mcimport.sync.dead_letter_windows import watched
from mcimport.sync.first_sync import is_sms_known
from mcimport.sync.list_run import ListRun
from mcimport.sync.reconcile.fingerprints import is_texted
from mcimport.sync.sweep_plan import FirstPage, SweepPlan, plan_sweeps, read_first

MOST_ARCHIVED = 1_000  # members who are looked up one by one; some four minutes, at Ometria's 4 reads a second
MOST_UNKNOWN = 3  # members of whom Ometria does not tell whether it holds them; after these it is not asked any more


def compare_archived(list_run: ListRun, run_id: int) -> None:
    """Opts out archived members whom Ometria holds as opted in, as a part of the run; or warns that this is left.

    A service that fails here does not fail the run. Raises InterruptedRunError and StateError.
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
    """Checks the archived members once; `compare` belongs to the thread that owns the list run's state."""

    def __init__(self, list_run: ListRun, run_id: int) -> None:
        self._list_run = list_run
        self._run_id = run_id
        self._is_whole = True
        self._has_sms = False
        self._unknown = 0
        services = list_run.services
        fields = LazyListFields(services.mailchimp, list_run.list_key)
        self._rules = replace(list_run.rules, subscription_events="none")
        self._convert = RunConverter(services.mailchimp, fields, self._rules, EventBudget(0, 0, ()), list_run.warn)

    def compare(self) -> bool:
        """Opts out whom it finds, and says whether every archived member was looked up.

        Raises what the services raise, and StateError.
        """
        list_run = self._list_run
        with list_run.step("reading the archived members from Mailchimp"):
            first = read_first(list_run, list_run.services.mailchimp, "archived", None)
            if first.page.total > MOST_ARCHIVED:
                return False
            plan = plan_sweeps(list_run, list_run.services.mailchimp, [first])
        list_run.looks_up(first.page.total)
        try:
            self._look_up(first, plan)
        finally:
            list_run.looks_up(-first.page.total)  # members of pages that failed, too
        return self._is_whole

    def _look_up(self, first: FirstPage, plan: SweepPlan) -> None:
        list_run = self._list_run
        is_known = runs.has_pushed_to_account(list_run.state, list_run.row)
        sender = BatchSender(list_run.services.ometria, account_known_good=is_known)
        context = replace(
            make_context(list_run.services, list_run.list_key, self._convert, sender),
            convert=self._converted,
            rules=self._rules,
            watched=watched(list_run.state, list_run.row),
        )
        run_windows(
            lambda window, page, on_read: process_page(window, context, page, on_read=on_read),
            [replace(window, number=NO_NUMBER) for window in plan.windows],
            *(self._record, list_run.services),
            workers=list_run.client.mailchimp.connections,
            pages={NO_NUMBER: first.page} if first.is_whole else {},
            finishes=list_run.finishes,
        )

    def _converted(self, member: Member, _new_since: int | None) -> Conversion:
        """Converts a member whom Ometria holds with a consent; called in threads."""
        held = self._held(member)
        self._list_run.looks_up(-1)
        if held is None or (held.marketing_optin == "EXPLICITLY_OPTEDOUT" and not is_texted(held)):
            return Skipped("not opted in in Ometria")
        converted = self._convert(member)
        if not is_texted(held) or not isinstance(converted, Converted) or converted.contact.channels is not None:
            return converted
        contact = msgspec.structs.replace(converted.contact, channels=SMS_NO)
        return msgspec.structs.replace(converted, contact=contact)

    def _held(self, member: Member) -> HeldContact | None:
        """Returns the member's contact as Ometria holds it; None where there is none, or that cannot be told."""
        own_id = contact_id(member, self._list_run.list_key)
        if own_id is None or self._unknown >= MOST_UNKNOWN:
            return None
        try:
            held = self._list_run.services.contacts.contact(self._list_run.row.collection, own_id)
        except UnknownContactError:
            self._unknown += 1
            self._is_whole = False
            return None
        self._has_sms = self._has_sms or (held is not None and is_sms_known(held))
        return held

    def _record(self, outcome: Outcome) -> None:
        """Counts the members who were pushed with the run's own; those who were only looked up, not at all."""
        self._is_whole = self._is_whole and all(letter.kind == "contact" for letter in outcome.letters)
        members = outcome.pushed + outcome.rejected
        counted = replace(outcome, members=members, skipped=0, has_sms=self._has_sms)
        self._list_run.record_extra(self._run_id, counted)
