"""Nobody is lost, whatever changes, fails or dies; and the check can fail: the naive design loses people."""

from __future__ import annotations

from naive import lost, naively, with_mcimport
from story import Story, run_stories


def test_nobody_is_lost_whatever_changes_fails_or_dies() -> None:
    """Whatever the story, a last sync and a replay bring everybody, as they are today; and no limit is ever broken."""
    run_stories(Story, stories=6, steps=6, derandomize=True)


def test_offset_pages_lose_people_where_mcimport_loses_none() -> None:
    """On one and the same moving list the naive design misses members who did not change at all; the importer none."""
    assert lost(naively, size=3_000, page=200) >= 100
    assert lost(with_mcimport, size=3_000, page=200) == 0
