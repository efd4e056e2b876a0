"""Runs a probe: asks both services about one list, and yields a finding for each fact as soon as it is known."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial

from msgspec import Struct

from mcimport.config import Client, data_centre
from mcimport.errors import FatalError, InterruptedRunError, ServiceError
from mcimport.monitoring.probe import mailchimp_reading as mailchimp
from mcimport.monitoring.probe.connections_seen import connections
from mcimport.monitoring.probe.mailchimp_answers import MailchimpAnswers
from mcimport.monitoring.probe.members_seen import members
from mcimport.monitoring.probe.ometria_answers import OmetriaAnswers
from mcimport.monitoring.probe.ometria_facts import READ, WRITTEN, together, written_facts
from mcimport.monitoring.probe.seen import DIFFERS, NO_TIME, UNKNOWN, Seen, Verdict, judged
from mcimport.monitoring.probe.written_contact import COLLECTION, CONTACT, WrittenContact
from mcimport.services.api_facts import FACTS
from mcimport.services.api_facts.fact import ApiFact
from mcimport.services.connections import ClientServices
from mcimport.services.http.client import HttpClient
from mcimport.services.mailchimp.list_fields import read_list_fields
from mcimport.services.mailchimp.raw_requests import RawMailchimpRequests
from mcimport.services.ometria.raw_requests import RawRequests

UNAUTHORIZED = 401
LOOK = f'look in Ometria whether the contact "{CONTACT}" of "{COLLECTION}" is opted out'
MOST_SECONDS = 40.0  # after which no other fact is asked for, so that a person waits for a minute at most
_NO_KEY = "0" * 32

MAILCHIMP: Mapping[str, Callable[[MailchimpAnswers], Seen]] = {
    "mailchimp-order": mailchimp.order,
    "mailchimp-ties": mailchimp.ties,
    "mailchimp-since": mailchimp.since,
    "mailchimp-before": mailchimp.before,
    "mailchimp-fractions": mailchimp.fractions,
    "mailchimp-times": mailchimp.times,
    "mailchimp-archived": mailchimp.archived,
    "mailchimp-total": mailchimp.total,
    "mailchimp-parts": mailchimp.parts,
    "mailchimp-unknown-field": mailchimp.unknown_field,
    "mailchimp-page": mailchimp.page,
    "mailchimp-offset": mailchimp.offset,
    "mailchimp-tags": mailchimp.tags,
    "mailchimp-unknown-list": mailchimp.unknown_list,
}


class Finding(Struct, frozen=True):
    """Holds what was seen of one fact. `error`: why it could not be asked; empty where it could."""

    fact: ApiFact
    verdict: Verdict
    evidence: Mapping[str, object]
    error: str = ""

    @property
    def is_alarming(self) -> bool:
        """Something that the promises need does not hold."""
        return self.verdict == DIFFERS and self.fact.is_needed


def probe_list(
    services: ClientServices,
    client: Client,
    list_key: str,
    *,
    was_synced: bool,
    address: str | None = None,
    tries_one_too_many: bool = False,
) -> Iterator[Finding]:
    """Yields the findings: Mailchimp's first. Raises UnknownListError, InterruptedRunError, and FatalError for a key.

    `was_synced`: the list was synced to this Ometria account before. `address`: the operator's own, for the invented
    contact; None: only reads. `tries_one_too_many`: also opens one connection more than Mailchimp allows.
    """
    asking = _Asking(time.monotonic() + MOST_SECONDS)
    yield from _probe_mailchimp(asking, services, client, list_key)
    if tries_one_too_many:
        yield asking.found("mailchimp-connections", lambda: connections(services.mailchimp.http, list_key))
    yield from _probe_ometria(asking, services, client, list_key, was_synced=was_synced, address=address)


class _Asking(Struct, frozen=True):
    """Asks for one fact after another. `until`: when there is no time left (monotonic seconds)."""

    until: float

    def found(self, name: str, look: Callable[[], Seen]) -> Finding:
        """Returns what was seen of a fact; unknown, with the reason, where it could not be asked.

        Raises FatalError for what no other request can change, and InterruptedRunError.
        """
        if time.monotonic() > self.until:
            return Finding(FACTS[name], UNKNOWN, {}, NO_TIME)
        try:
            return Finding(FACTS[name], *look())
        except (FatalError, InterruptedRunError):
            raise
        except ServiceError as error:
            return Finding(FACTS[name], UNKNOWN, {}, str(error))


def _probe_mailchimp(asking: _Asking, services: ClientServices, client: Client, list_key: str) -> Iterator[Finding]:
    reader = services.mailchimp
    reader.count_members(list_key)  # whether key and list are right, with the words that an operator knows
    requests = RawMailchimpRequests(reader.http, reader.policy, reader.limit, meter=reader.meter)
    answers = MailchimpAnswers(requests, list_key, asking.until)
    for name, look in MAILCHIMP.items():
        yield asking.found(name, partial(look, answers))
    yield asking.found(
        "mailchimp-members",
        lambda: members(
            [*answers.sample, *answers.archived.members],
            read_list_fields(reader, list_key),
            client.rules(list_key, None),
        ),
    )
    yield asking.found("mailchimp-wrong-key", lambda: _wrong_key(client, services))
    yield asking.found("mailchimp-clock", lambda: mailchimp.clock(answers))  # last: of all answers


def _wrong_key(client: Client, services: ClientServices) -> Seen:
    """Asks with a key that does not exist, over a connection of its own."""
    centre = data_centre(client.mailchimp_key()) or "us1"
    header = "Basic " + base64.b64encode(f"mcimport:{_NO_KEY}-{centre}".encode()).decode()
    reader = services.mailchimp
    setting, timeout = client.set_at.get("mailchimp_url", ""), client.mailchimp.timeout
    http = HttpClient("Mailchimp", client.mailchimp_url(), {"Authorization": header}, timeout=timeout, setting=setting)
    with closing(http):
        answer = RawMailchimpRequests(http, reader.policy, reader.limit, meter=reader.meter).get("ping")
    return judged(holds=answer.status == UNAUTHORIZED), {"status": answer.status}


def _probe_ometria(
    asking: _Asking,
    services: ClientServices,
    client: Client,
    list_key: str,
    *,
    was_synced: bool,
    address: str | None,
) -> Iterator[Finding]:
    reader = services.contacts
    requests = RawRequests(
        reader.http, reader.policy, reader.limiter, pushes=services.ometria.limiter, meter=reader.meter
    )
    answers = OmetriaAnswers(requests, client.collection(list_key), list_key, was_synced)
    read = {name: asking.found(name, partial(look, answers)) for name, look in READ.items()}
    if address is None:
        yield from read.values()
        return
    contact = WrittenContact(requests, address)
    error = ""
    try:
        contact.write()
    except (FatalError, InterruptedRunError) as failure:
        if not contact.is_over:
            failure.args = (f"{failure}; {LOOK}",)
        raise
    except ServiceError as failure:
        error = str(failure)
    seen = {name: (finding.verdict, dict(finding.evidence)) for name, finding in read.items()}
    for name, (verdict, evidence) in together(seen, written_facts(contact)).items():
        reason = (read[name].error if name in read else "") or (error if name in WRITTEN else "")
        if name == "ometria-ended" and verdict == UNKNOWN and not contact.is_over:
            reason = f"the opt-out was accepted, and not seen: {LOOK}"
        yield Finding(FACTS[name], verdict, evidence, reason)
