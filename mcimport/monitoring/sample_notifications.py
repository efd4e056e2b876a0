"""Sends one notification of each kind to the configured addresses, each marked as a test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, get_args

from msgspec import Struct
from pydantic import SecretStr

from mcimport.config import Client, NotifyUrlSource, Settings
from mcimport.errors import McimportError
from mcimport.models.results import ListResult
from mcimport.monitoring.delivery import Delivery
from mcimport.monitoring.trouble import Kind, Trouble
from mcimport.monitoring.webhook_document import Event, make_document
from mcimport.services.http.shutdown import StopSignal

MAX_FAILURES = 3  # in a row at one address, after which it is sent no more

_WORDS = "this is a test by `mcimport notify test`, nothing is wrong"
_EXAMPLES: Mapping[Kind, str] = {
    "failed": "Ometria answered 401: it does not accept the API key",
    "reconcile_failed": "Mailchimp cannot be reached",
    "dead_letters": "2 dead letters are open, about 2 members",
    "differ": "both sides differ: 3 missing, 1 stale, 0 gone; 0 fixed",
    "spot_check": "1 of 20 contacts that Ometria accepted is not there",
    "overdue": "the sync point is older than 3 h",
}
_PINGS = {
    "start": "/start",
    "failure": "/fail",
    "success": "",
}  # success last: a check that failed would raise an alarm
_NO_LIST = "test"  # in place of the key of a list, for a client without any


class Sample(Struct, frozen=True):
    """Says whether one notification was delivered.

    Attributes:
        address: the name of the setting, such as `webhook_url of acme`.
        kind: what it was about, such as `failure: dead_letters`.
        reason: why it was not delivered, for people, without the address; empty where it was.
    """

    address: str
    kind: str
    reason: str = ""


def send_samples(settings: Settings, clients: Sequence[Client], *, only_clients: bool) -> Iterator[Sample]:
    """Yields each notification once it was sent, or could not be; nothing where no address is configured.

    `only_clients`: leave out the health check of the call as a whole, which is of no client.
    """
    delivery = Delivery(StopSignal())
    shared = [] if only_clients else [settings.healthcheck_source]
    for check in filter(None, [*shared, *(client.healthcheck_source for client in clients)]):
        pings = {kind: partial(delivery.ping, check, path, f"Test: {_WORDS}.") for kind, path in _PINGS.items()}
        yield from _send(check, pings)
    for webhook, client in _webhooks(clients):
        posts = {kind: partial(delivery.post_document, webhook, found) for kind, found in _documents(client)}
        yield from _send(webhook, posts)


def _webhooks(clients: Sequence[Client]) -> Iterable[tuple[NotifyUrlSource, Client]]:
    """Returns each webhook once, with the first of the clients that share it, by which it is named."""
    found: dict[SecretStr, tuple[NotifyUrlSource, Client]] = {}
    for client in clients:
        if client.webhook_source is not None:
            found.setdefault(client.webhook_source.key.spec, (client.webhook_source, client))
    return found.values()


def _send(source: NotifyUrlSource, posts: Mapping[str, Callable[[], None]]) -> Iterator[Sample]:
    failures = 0
    for kind, post in posts.items():
        if failures == MAX_FAILURES:
            yield Sample(source.name, kind, "not sent, because those before it were not delivered")
            continue
        try:
            post()
        except McimportError as error:
            failures += 1
            yield Sample(source.name, kind, str(error))
        else:
            failures = 0
            yield Sample(source.name, kind)


def _documents(client: Client) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields a failure of each kind, and a recovery; each with its name."""
    events: list[tuple[Event, Kind]] = [("failure", kind) for kind in get_args(Kind)]
    list_key = client.lists[0] if client.lists else _NO_LIST
    for event, kind in [*events, ("recovery", "failed")]:
        result = ListResult(client.name, list_key, "failed" if event == "failure" else "completed")
        words = f"{_EXAMPLES[kind]} (an example: {_WORDS})"
        found = Trouble(kind, words, (words,), "`mcimport status` shows how the lists are.")
        document = make_document(event, result, found, int(time.time()), [])
        yield f"{event}: {kind}", {**document, "text": f"TEST. {document['text']}", "test": True}
