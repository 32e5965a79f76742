"""Calls and spent tickets, counted by two processes together in a real Redis, and by each alone while it is away."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from limits import parse

from pairscope.api import shared_counts
from pairscope.api.app import ApiOptions
from pairscope.api.security import Tickets
from pairscope.api.shared_counts import SharedCounts, shared_storage

from .conftest import client_of
from .market import Market
from .test_forwarding import KEY, LOCKED

NOW_NS = 1_000_000_000_000_000_000
HOURLY = parse("3/hour")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that is there is waited for: a busy machine may take long over it."""
    monkeypatch.setattr(shared_counts, "ANSWER_S", 60.0)


def two(redis_server: Any) -> tuple[SharedCounts, SharedCounts]:
    return SharedCounts(shared_storage(redis_server.url)), SharedCounts(shared_storage(redis_server.url))


async def test_a_limit_is_one_for_all_replicas(redis_server: Any) -> None:
    one, other = two(redis_server)
    assert [await each.hit(HOURLY, "key:a") for each in (one, other, one)] == [None] * 3
    assert await other.hit(HOURLY, "key:a") is not None
    assert await one.hit(HOURLY, "key:b") is None
    assert one.counters()["alone_total"] == 0


async def test_a_ticket_is_spent_in_every_replica_at_once(redis_server: Any) -> None:
    one, other = [Tickets("s" * 32, lambda: NOW_NS, counts) for counts in two(redis_server)]
    ticket, second = one.issue("me"), other.issue("me")
    assert await other.holder(ticket, spend=True) == "me"
    assert await one.holder(ticket, spend=True) is None
    assert await one.holder(second, spend=True) == "me"


async def test_while_redis_is_away_each_counts_alone_and_the_door_stays_shut(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_counts, "AWAY_S", 0.05)
    counts = SharedCounts(shared_storage(redis_server.url))
    tickets = Tickets("s" * 32, lambda: NOW_NS, counts)
    early, late = tickets.issue("me"), tickets.issue("me")
    assert await tickets.holder(early, spend=True) == "me"
    redis_server.stop(kill=True)
    assert [await counts.hit(HOURLY, "key:a") for _ in range(3)] == [None] * 3
    assert await counts.hit(HOURLY, "key:a") is not None
    assert await tickets.holder(late, spend=True) == "me"
    assert await tickets.holder(late, spend=True) is None
    assert counts.counters()["alone_total"] >= 6
    redis_server.start()
    while await counts.hit(HOURLY, "key:a") is not None:  # it counts in Redis again, which has forgotten all
        pass
    assert await tickets.holder(late, spend=True) is None


async def test_two_applications_let_a_key_call_as_often_as_one(redis_server: Any, market: Market) -> None:
    options: ApiOptions = dataclasses.replace(
        LOCKED, rate_limit="4/hour", rate_storage=shared_storage(redis_server.url)
    )
    headers = {"X-API-Key": KEY}
    async with client_of(market, options, headers=headers) as one, client_of(market, options, headers=headers) as other:
        statuses = [(await api.get("/api/symbols")).status_code for api in (one, other, one, other, one, other)]
        assert statuses == [200, 200, 200, 200, 429, 429]
