"""What does not change in a story, as values that Hypothesis draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from conftest import CONFIG
from hypothesis import strategies as st

OTHER_KEY = "f" * 32 + "-us6"
OTHER_SIZE = 6
SLOW_PACE = 25  # pushes a second, each of eight records: a list of some hundreds feels it

SETTINGS = (
    CONFIG.replace("= 500", "= {pace}").replace("ometria.spot_check = 0\n", "")
    + """\
mailchimp.window = {window}
ometria.batch = {batch}
mailchimp.timeout = {timeout}
ometria.timeout = {timeout}
reconcile.settling = 0

[clients.globex]
lists = ["{other_list}"]
mailchimp_api_key = "{other_key}"
ometria_api_key = "{ometria_key}"
mailchimp.url = "{mailchimp_url}"
ometria.url = "{ometria_url}"
ometria.collection = "mc-{{list_key}}"
ometria.requests_per_second = {pace}
ometria.reads_per_second = 1000
ometria.batch = {batch}
reconcile.settling = 0
"""
)


@dataclass(frozen=True)
class Conditions:
    """What does not change in a story: the first people, the ways of Mailchimp that nobody documents, the settings.

    `ahead`: seconds by which the services' clock is before this machine's. The rest is named as knob or setting.
    """

    size: int
    seed: int
    ahead: int
    since_includes: bool
    before_includes: bool
    unstable_order: bool
    latency: float
    window: int
    pace: int
    without_address: Literal["taken", "refused", "dropped"]
    single_contacts: bool


CONDITIONS = st.builds(
    Conditions,
    size=st.integers(0, 300),
    seed=st.integers(0, 2**16),
    ahead=st.sampled_from([0, 0, 900, -900]),
    since_includes=st.booleans(),
    before_includes=st.booleans(),
    unstable_order=st.booleans(),
    latency=st.sampled_from([0.0, 0.0, 0.01]),
    window=st.sampled_from([50, 50, 80, 20, 20]),
    pace=st.sampled_from([1000, 1000, 1000, 1000, 1000, SLOW_PACE]),
    without_address=st.sampled_from(["taken", "refused", "dropped"]),
    single_contacts=st.sampled_from([True, True, False]),
)
