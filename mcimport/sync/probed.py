"""Uses what the last probe found where that is the careful reading: smaller pages, and longer waits.

An answer that is out of date then costs time, and nothing else. So what a probe found about bounds, clocks and single
contacts is not used: runs are right under either reading, and look for themselves.
"""

from __future__ import annotations

from msgspec.structs import replace

from mcimport.config import Client
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


def doubt(state: State, client: Client, list_key: str, asked: int) -> str:
    """Forgets the probe of a list whose pages come only in less than the size that it found; returns what to say.

    `asked`: the size in which a first page came. Empty where that is no contradiction.
    """
    answers = probes.latest(state, client.name, list_key)
    if answers is None or answers.page_size is None or asked >= min(answers.page_size, client.mailchimp.window):
        return ""
    probes.forget(state, client.name, list_key)
    return (
        f"pages of {answers.page_size:,} members, which the last probe found, do not come any more: what it found is "
        f"forgotten (`mcimport probe {list_key}` asks again)"
    )
