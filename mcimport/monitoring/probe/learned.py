"""What of a probe is kept for later runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from mcimport.monitoring.probe.probe import Finding
from mcimport.monitoring.probe.seen import DIFFERS, HOLDS
from mcimport.state.probes import ProbeAnswers
from mcimport.version import __version__


def answers_of(found: Iterable[Finding], before: ProbeAnswers | None) -> ProbeAnswers:
    """Returns what is kept of the findings. `before`: of the last probe: one that only reads keeps the rest of it."""
    by_id = {finding.fact.id: finding for finding in found}
    differs, holds = (
        tuple(name for name, finding in by_id.items() if finding.verdict == verdict) for verdict in (DIFFERS, HOLDS)
    )
    page = by_id.get("mailchimp-page")
    size = _number(page.evidence, "received") if page and page.verdict == DIFFERS else None
    settling = by_id.get("ometria-settling")
    seconds = _number(settling.evidence, "seconds_longest") if settling else None
    if settling is None and before is not None and before.is_used:
        seconds = before.settled_within
    return ProbeAnswers(int(time.time()), __version__, differs, int(size) if size else None, seconds, holds)


def _number(evidence: Mapping[str, object], name: str) -> float | None:
    value = evidence.get(name)
    return value if isinstance(value, int | float) else None
