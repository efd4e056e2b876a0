"""The members of one list as they are compared: looked up in Mailchimp, converted, and reduced to a version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from msgspec.structs import replace

from mcimport.convert import (
    agrees_to_texts,
    field_mappings,
    has_permissions,
    has_sms_status,
    is_contact_id,
    member_id,
    optin_of,
)
from mcimport.engine.page.converter import RunConverter
from mcimport.engine.page.subscription_events import EventBudget
from mcimport.errors import NotFoundError, RetriableError
from mcimport.models import ContactRules, Conversion, Converted, Member
from mcimport.models.timestamps import epoch
from mcimport.sync.list_run import ListRun
from mcimport.sync.reconcile.fingerprints import NAMES, Fingerprinter, MemberSnapshot

TIMES_ABSENT = 2  # answers of 404 for one member before it is believed: some are temporary
WITNESSES = 5  # members who are on the list now; one of them may be deleted before it is asked for
COMPARED = (
    *("contact_id", "web_id", "email_address", "status", "last_changed", "marketing_permissions"),
    *("sms_phone_number", "sms_subscription_status", "location.country_code"),  # numbers are read by their country
)
_COMPARED_FIELDS = (*NAMES, "phone_number", "country_id")


@dataclass
class LookupResult:
    """Holds members who were looked up one by one, by their ids without the list."""

    found: dict[str, Member] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)


class MemberLookup:
    """Looks members of one list up, converts them and takes their snapshots; safe to share between threads.

    A comparison causes no subscription events: members who are mended opted in long ago, and are not welcomed now. It
    forces no consent either: a sync that forces one imports what is new, a comparison would overrule what was said
    since.

    Attributes:
        mailchimp: asks for the fields that are compared, and no others.
    """

    def __init__(self, list_run: ListRun) -> None:
        """Reads the list's own fields. Raises what Mailchimp raises."""
        fields, mailchimp = list_run.new_fields(), list_run.services.mailchimp
        self.list_run = list_run
        self.rules: ContactRules = replace(list_run.rules, subscription_events="none", force_optin=False)
        self._has_permissions = has_permissions(fields.read(), self.rules)
        mappings = field_mappings(fields.read(), self.rules).items()
        tags = [tag for tag, target in mappings if target.field in _COMPARED_FIELDS or target.merge.type == "address"]
        self.mailchimp = mailchimp.with_fields([*COMPARED, *(f"merge_fields.{tag}" for tag in tags)])
        self.convert = RunConverter(mailchimp, fields, self.rules, EventBudget(0, 0, ()), list_run.warn)
        self.fingerprinter = Fingerprinter()

    def snapshot_of(self, member: Member, converted: Conversion) -> MemberSnapshot | None:
        """Returns what is compared of a member; None for one without an id, who cannot be in Ometria."""
        own_id = member_id(member)
        if own_id is None:
            return None
        is_whole, is_archived = isinstance(converted, Converted), member.status == "archived"
        if isinstance(converted, Converted):
            version = self.fingerprinter.of_contact(converted.contact)
        else:
            optin = optin_of(member, self.rules, has_permissions=self._has_permissions)
            sms = "none" if not has_sms_status(member) else "yes" if agrees_to_texts(member) else "no"
            version = self.fingerprinter.of_consent(optin, sms=sms)
        return MemberSnapshot(own_id, version, epoch(member.last_changed), is_whole, is_archived)

    def snapshots_of(self, members: Iterable[Member]) -> list[MemberSnapshot]:
        """Returns the snapshots of all members who have one."""
        snapshots = (self.snapshot_of(member, self.convert(member)) for member in members)
        return [snapshot for snapshot in snapshots if snapshot is not None]

    def look_up(self, ids: Sequence[str]) -> LookupResult:
        """Looks each member up by id, ten at a time; leaves out web_ids, which Mailchimp cannot be asked for.

        Raises InterruptedRunError and FatalError.
        """
        self.list_run.services.mailchimp.check_not_stopped()
        looked = LookupResult()
        wanted = [contact_id for contact_id in ids if is_contact_id(contact_id)]
        with ThreadPoolExecutor(self.list_run.client.mailchimp.connections) as pool:
            for contact_id, answer in zip(wanted, pool.map(self._ask, wanted), strict=True):
                if answer is None:
                    looked.absent.append(contact_id)
                elif isinstance(answer, Member) and member_id(answer) == contact_id:
                    looked.found[contact_id] = answer
                else:
                    looked.unclear.append(contact_id)
        return looked

    def check_list_is_there(self, witness: str | None) -> None:
        """Raises, before a 404 is believed, where the list is not there, or a member who is on it cannot be found.

        A 404 for everything at once has been seen, and passed. `witness`: the id of a member who is on the list; None:
        there is none.
        """
        if witness is None:
            self.list_run.services.mailchimp.count_members(self.list_run.list_key)
            return
        answer = self._ask(witness) or self._another_witness()
        if isinstance(answer, RetriableError):
            raise answer

    def _another_witness(self) -> Member | RetriableError:
        """Asks for members who changed last, until one is found: the witness may have been deleted a moment ago.

        Without one no 404 is believed: an answer without members may be as wrong as these.
        """
        newest = self.mailchimp.newest(self.list_run.list_key, "members.contact_id", WITNESSES)
        for member in newest.members:
            key = member_id(member)
            if key is not None and is_contact_id(key) and (answer := self._ask(key)) is not None:
                return answer
        return RetriableError(
            "Mailchimp answered 404 for members who were on the list just before, so no member is taken to be deleted",
            status=404,
        )

    def _ask(self, contact_id: str) -> Member | RetriableError | None:
        """Asks for one member; None: the answer was 404 each time."""
        mailchimp = self.list_run.services.mailchimp
        for _ in range(TIMES_ABSENT):
            mailchimp.check_not_stopped()
            try:
                return mailchimp.member(self.list_run.list_key, contact_id)
            except NotFoundError:
                continue
            except RetriableError as error:
                return error
        return None
