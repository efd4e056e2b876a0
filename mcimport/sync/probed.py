"""Uses what the last probe found where that is the careful reading, and notices where a run sees otherwise.

Used are smaller pages and longer waits: an answer that is out of date then costs time, and nothing else. What was found
of bounds, clocks and single contacts has no careful side. A bound that is taken to include its second, and does not any
more, would lose that second's members without a sign; a 404 that is believed at once would lift an opt-out. A run looks
for itself within its first pages, so all that would be saved is a second's members. These answers are compared with
what the run sees.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from mcimport.config import Client
from mcimport.models import Bounds, Page
from mcimport.state import State, probes

SETTLES_TIMES = 3.0  # a push may take so many times as long as those of the probe


def with_answers(state: State, client: Client, list_key: str) -> Client:
    """Returns the client as this list is to be read: pages of a size that came, and waits in which pushes settle."""
    answers = probes.latest(state, client.name, list_key)
    if answers is None or not answers.is_used:
        return client
    window, settling = client.mailchimp.window, client.reconcile.settling
    if answers.page_size is not None:
        window = max(1, min(window, answers.page_size))
    if answers.settled_within is not None:
        settling = max(settling, SETTLES_TIMES * answers.settled_within)
    return replace(
        client,
        mailchimp=client.mailchimp.model_copy(update={"window": window}),
        reconcile=client.reconcile.model_copy(update={"settling": settling}),
    )


def doubt_by_first_page(state: State, client: Client, list_key: str, page: Page) -> str:
    """Forgets the probe of a list whose first page came only in less than the size that it found, or by another clock.

    Returns what to say; empty where nothing contradicts the probe.
    """
    answers = probes.latest(state, client.name, list_key)
    if answers is None:
        return ""
    size = answers.page_size
    if size is not None and page.asked < min(size, client.mailchimp.window):
        return _forget(state, client, list_key, f"pages of {size:,} members, which the last probe found, do not come")
    return _doubt(state, client, list_key, {"mailchimp-clock": False} if page.clock_warning else {})


def doubt_by_run(state: State, client: Client, list_key: str, bounds: Bounds, *, lacks_single: bool) -> str:
    """Forgets the probe of a list of which a run has seen otherwise; returns what to say, or an empty text.

    `bounds`: what was seen of them; `lacks_single`: single contacts that are there were not found in Ometria.
    """
    seen = {"mailchimp-since": False} if bounds.since_includes else {}
    if bounds.before_includes:
        seen["mailchimp-before"] = True
    if lacks_single:
        seen["ometria-single"] = False
    return _doubt(state, client, list_key, seen)


def _doubt(state: State, client: Client, list_key: str, seen: Mapping[str, bool]) -> str:
    """`seen`: by the id of a fact, whether the run saw that it holds."""
    answers = probes.latest(state, client.name, list_key)
    if answers is None:
        return ""
    other = [name for name, holds in seen.items() if name in (answers.differs if holds else answers.holds)]
    if not other:
        return ""
    return _forget(state, client, list_key, f"{' and '.join(other)}, as the last probe found, is not so")


def _forget(state: State, client: Client, list_key: str, what: str) -> str:
    probes.forget(state, client.name, list_key)
    return f"{what} any more: what it found is forgotten (`mcimport probe {list_key}` asks again)"
