"""Limits of accounts over rounds: shared while they are used, set anew by each round, and forgotten in the end."""

from __future__ import annotations

import gc
import weakref

import pytest
from conftest import MakeImporter

from mcimport.config import load
from mcimport.services.account_limits import AccountLimits
from mcimport.services.connections import ClientServices, ConnectionPool
from mcimport.services.http.shutdown import StopSignal


class Number:
    """A limit that only knows its number."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.refusals = 0

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


def test_a_limit_outlives_its_last_client_by_a_round_also_where_that_began_long_before(
    limits: AccountLimits[Number],
) -> None:
    """What a client of an earlier round sent still counts in the round after it, and a 429 is not forgotten."""
    used = limits.get("account", 10)
    for _ in range(4):
        limits.begin_round()
    used.refusals = 1
    limits.note_end(used)
    del used
    limits.begin_round()
    assert limits.get("account", 10).refusals == 1
    limits.begin_round()
    limits.begin_round()
    assert len(limits) == 0


def test_a_client_that_ends_leaves_its_accounts_limits_to_the_next_round(make_importer: MakeImporter) -> None:
    """Rounds that overlap end when they end: the account's rate limiters know then what was sent last."""
    importer = make_importer(size=1)
    client = load(config=importer.config, environ={}).clients["acme"]
    pool = ConnectionPool(StopSignal())
    with pool.open(client) as services:
        first = limits_of(services)
        for _ in range(3):
            pool.begin_round()
    pool.begin_round()
    del services
    gc.collect()
    with pool.open(client) as services:
        assert limits_of(services) == first


def limits_of(services: ClientServices) -> list[object]:
    """The limits themselves, held weakly, for a test that asks whether they are still there."""
    return [weakref.ref(one) for one in (services.mailchimp.limit, services.ometria.limiter, services.contacts.limiter)]


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
