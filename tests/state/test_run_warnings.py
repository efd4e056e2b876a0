"""Which warnings are new to a list."""

from __future__ import annotations

from mcimport.report.format import duration
from mcimport.state.run_warnings import without_numbers


def test_a_duration_in_another_unit_is_the_same_warning() -> None:
    """However long a clock is ahead, the warning that it is ahead is one."""
    texts = {without_numbers(f"the clock is {duration(seconds)} ahead") for seconds in (0.4, 40, 65, 7_200, 90_000)}
    assert texts == {without_numbers("the clock is 9 s ahead")}


def test_a_number_hides_no_other_difference() -> None:
    """Texts about different things stay different."""
    assert without_numbers("3 members were left out") != without_numbers("3 members were rejected")
