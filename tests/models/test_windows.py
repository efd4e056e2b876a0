"""Windows that ask for one member by id, which state files and messages know by their span."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mcimport.models import Window

SECONDS = st.integers(1, 4_102_444_800)
MEMBERS = st.none() | st.text(max_size=40)


@given(SECONDS, MEMBERS, st.none() | SECONDS)
def test_a_window_by_id_is_one_wherever_it_was_before(
    until: int, member: str | None, left_out_until: int | None
) -> None:
    """It holds no second, so that only the id leads to the member; without a member nothing is asked for by id."""
    window = Window(0, "listed", None, until, member_id=member).by_id(left_out_until)
    assert window.is_by_id is (member is not None)
    assert window.since is not None
    assert not any(window.since < second <= window.until for second in (1, until, left_out_until or 1))


@given(SECONDS, SECONDS, MEMBERS)
def test_a_window_that_holds_seconds_is_read(first: int, second: int, member: str | None) -> None:
    """A span is read, also for the one member who is looked for in it."""
    window = Window(0, "listed", min(first, second), max(first, second) + 1, member_id=member)
    assert not window.is_by_id
    assert not replace(window, since=None).is_by_id
