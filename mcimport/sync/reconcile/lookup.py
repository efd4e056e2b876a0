"""Members as they are compared: each as Mailchimp shows them, through the converter, as a version without a name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from mcimport.convert import (
    agrees_to_texts,
    has_permissions,
    has_sms_status,
    is_contact_id,
    member_id,
    optin_of,
    routes,
)
from mcimport.engine.page.converter import RunConverter, Welcome
from mcimport.errors import InterruptedRunError, MissingError, RetriableError
from mcimport.models import ContactRules, Conversion, Converted, Member, OptIn
from mcimport.models.timestamps import epoch
from mcimport.sync.list_run import Task
from mcimport.sync.reconcile.fingerprints import NAMES, Seen, Versions

TIMES_ABSENT = 2  # that a 404 is said of somebody before it is believed: some pass
COMPARED = (
    *("contact_id", "web_id", "email_address", "status", "last_changed", "marketing_permissions"),
    *("sms_phone_number", "sms_subscription_status", "location.country_code"),  # numbers are read by their country
)
_COMPARED_FIELDS = (*NAMES, "phone_number", "country_id")


@dataclass
class Afresh:
    """Members asked for one by one, by their id of ours without the list."""

    found: dict[str, Member] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)


class Look:
    """What one comparison looks with; safe to share between threads.

    A comparison causes no subscription events: whoever is mended opted in long ago, and is not welcomed now. It forces
    nothing either: a sync that forces brings what is new, a comparison would overrule what was said since.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        fields = task.new_fields()
        self.rules: ContactRules = replace(task.rules, subscription_events="none", force_optin=False)
        self._has_permissions = has_permissions(fields.read(), self.rules)
        known = routes(fields.read(), self.rules).items()
        tags = [tag for tag, route in known if route.field in _COMPARED_FIELDS or route.merge.type == "address"]
        self.mailchimp = task.services.mailchimp.asking_for([*COMPARED, *(f"merge_fields.{tag}" for tag in tags)])
        self.convert = RunConverter(task.services.mailchimp, fields, self.rules, Welcome(0, 0, ()), task.warn)
        self.versions = Versions()

    def seen(self, member: Member, converted: Conversion | None = None) -> Seen | None:
        """None for a member without an id, who cannot be in Ometria."""
        own = member_id(member)
        if own is None:
            return None
        converted = converted or self.convert(member)
        if isinstance(converted, Converted):
            version = self.versions.of_contact(converted.contact)
        else:
            version = self.versions.of_consent(self.optin_of(member), sms=_sms_of(member))
        is_archived = member.status == "archived"
        return Seen(own, version, epoch(member.last_changed), isinstance(converted, Converted), is_archived)

    def optin_of(self, member: Member) -> OptIn | None:
        """What a member permits, sendable or not."""
        return optin_of(member, self.rules, has_permissions=self._has_permissions)

    def sight_of(self, members: Iterable[Member]) -> list[Seen]:
        return [one for member in members if (one := self.seen(member)) is not None]

    def afresh(self, ids: Sequence[str], list_key: str = "") -> Afresh:
        """Asks for each by id, ten at a time. Whom Mailchimp cannot be asked for (a web_id alone) is left out."""
        looked = Afresh()
        key = list_key or self.task.list_key
        wanted = [own for own in ids if is_contact_id(own)]
        if not wanted:
            return looked
        with ThreadPoolExecutor(min(self.task.client.mailchimp.connections, len(wanted))) as pool:
            for own, answer in zip(wanted, pool.map(lambda own: self._ask(key, own), wanted), strict=True):
                if answer is None:
                    looked.absent.append(own)
                elif isinstance(answer, Member) and member_id(answer) == own:
                    looked.found[own] = answer
                else:
                    looked.unclear.append(own)
        return looked

    def _ask(self, list_key: str, own: str) -> Member | RetriableError | None:
        """None: there is nobody, as was said each time."""
        for _ in range(TIMES_ABSENT):
            if self.task.services.stop.asked.is_set():
                raise InterruptedRunError("stopped")
            try:
                return self.task.services.mailchimp.member(list_key, own)
            except MissingError:
                continue
            except RetriableError as error:
                return error
        return None


def _sms_of(member: Member) -> Literal["yes", "no", "none"]:
    if not has_sms_status(member):
        return "none"
    return "yes" if agrees_to_texts(member) else "no"


def check_list_is_there(task: Task, witness: str | None) -> None:
    """Raises before a 404 is believed: when the list is not there, or somebody who is on it cannot be found.

    A 404 has been seen, in passing, for everything at once.
    """
    if witness is None:
        task.services.mailchimp.size(task.list_key)
        return
    for _ in range(TIMES_ABSENT):
        with suppress(MissingError):
            task.services.mailchimp.member(task.list_key, witness)
            return
    raise RetriableError(
        "Mailchimp answered 404 for a member who was on the list just before, so no member is taken to be deleted",
        status=404,
    )
