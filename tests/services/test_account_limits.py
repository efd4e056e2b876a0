"""Limits of accounts over rounds: shared while they are used, set anew by each round, and forgotten in the end."""

from __future__ import annotations

import pytest

from mcimport.services.account_limits import AccountLimits


class Number:
    """A limit that only knows its number."""

    def __init__(self, most: int) -> None:
        self.most = most

    def set(self, most: int) -> None:
        self.most = most


@pytest.fixture
def limits() -> AccountLimits[Number]:
    return AccountLimits(Number)


def test_a_limit_stays_the_same_for_as_long_as_it_is_used_in_any_round(limits: AccountLimits[Number]) -> None:
    """A client of an earlier round and one of a later, which share an account, keep its limit together."""
    used = limits.get("account", 10)
    for _ in range(5):
        limits.begin_round()
    assert limits.get("account", 10) is used


def test_each_round_takes_the_number_that_its_settings_have(limits: AccountLimits[Number]) -> None:
    """Within a round the first of several numbers holds, as clients of one account may each have one."""
    used = limits.get("account", 10)
    assert limits.get("account", 4).most == 10
    limits.begin_round()
    assert limits.get("account", 4) is used
    assert used.most == 4


def test_a_limit_that_no_client_uses_outlives_one_round_and_no_more(limits: AccountLimits[Number]) -> None:
    """What the last round sent still counts in the next; and keys that were renewed do not add up over years."""
    limits.get("account", 10)
    limits.begin_round()
    assert len(limits) == 1
    limits.begin_round()
    assert len(limits) == 0
