"""What a replica says of shards, store and stream: which part is away, and what goes on all the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from pairscope.errors import StoreUnavailable
from pairscope.market.continuity import Continuity
from pairscope.market.symbols import Symbols
from pairscope.replica_feed import Lost, ReplicaFeed
from pairscope.replica_status import Heartbeats, StorePulse, replica_health
from pairscope.shard_merge import ShardEntry
from pairscope.storage.memory_cache import MemoryCache

NOW_MS = 1_700_000_000_000


class Nothing:
    """A source that says nothing."""

    async def entries(self) -> AsyncIterator[ShardEntry | Lost]:
        await asyncio.Event().wait()
        yield Lost(0, 0)


def feed(quiet_s: float = 0.0) -> ReplicaFeed:
    began = time.monotonic()
    times = iter([began])
    store: Any = None
    return ReplicaFeed(
        Nothing(),
        [0, 1],
        symbols=Symbols(),
        ledger=Continuity(),
        store=store,
        on_bars=lambda *_: None,
        monotonic=lambda: next(times, began + quiet_s),
    )


async def heard(*beats: dict[str, Any], now_ms: int = NOW_MS) -> Heartbeats:
    cache = MemoryCache()
    for beat in beats:
        key = f"shard:{beat['shard'].partition('/')[0]}"
        await cache.put_many({key: msgspec.json.encode({"at_ms": NOW_MS, "feed": {"status": "ok"}, **beat})}, 10.0)
    found = Heartbeats(cache, clock=lambda: now_ms * 1_000_000)
    await found.look()
    return found


def feed_check(beats: Heartbeats, quiet_s: float = 0.0) -> tuple[str, str]:
    check = replica_health(beats, feed(quiet_s), {"status": "ok"}, {"status": "ok"})["feed"]
    return check["status"], check.get("reason", "")


async def test_the_feed_is_well_while_every_shard_is_and_its_stream_comes() -> None:
    beats = await heard({"shard": "0/2", "ticks": 5}, {"shard": "1/2", "ticks": 7})
    assert (beats.count, beats.total("ticks"), feed_check(beats)) == (2, 12, ("ok", ""))
    assert feed_check(beats, quiet_s=7)[1] == "nothing came of the market stream for 7 s"


async def test_a_shard_that_nobody_keeps_is_named() -> None:
    assert feed_check(await heard({"shard": "1/2"})) == ("degraded", "no active ingest process of shard 0")
    late = await heard({"shard": "0/2"}, {"shard": "1/2"}, now_ms=NOW_MS + 6_000)
    assert feed_check(late) == ("down", "no active ingest process of shard 0, 1")


async def test_shards_that_cannot_be_heard_of_because_the_cache_is_away_are_not_called_dead() -> None:
    late = await heard({"shard": "0/2"}, {"shard": "1/2"}, now_ms=NOW_MS + 6_000)
    check = replica_health(late, feed(), {"status": "ok"}, {"status": "degraded", "reason": "Redis does not answer"})
    assert check["feed"]["status"] == "degraded" and "store" in check["feed"]["reason"]


def test_the_age_of_the_stream_grows_while_it_is_silent() -> None:
    assert feed(quiet_s=12).counters()["lag_ms"] >= 12_000


async def test_a_shard_that_is_not_well_says_why_here_too() -> None:
    away = {"status": "degraded", "reason": "reconnecting"}
    beats = await heard({"shard": "0/2"}, {"shard": "1/2", "feed": away})
    assert feed_check(beats) == ("degraded", "shard 1: reconnecting")


async def test_before_any_shard_was_heard_of_the_feed_is_waited_for() -> None:
    assert feed_check(await heard()) == ("degraded", "waiting for an ingest process")


async def test_a_store_that_refuses_is_told_with_its_reason_and_live_values_go_on() -> None:
    refusals: list[Exception] = [StoreUnavailable("no route to it")]

    async def ask() -> None:
        if refusals:
            raise refusals[0]

    pulse = StorePulse(ask)
    await pulse.feel()
    assert (pulse.answers, pulse.status()) == (False, {"status": "degraded", "reason": "no route to it"})
    refusals.clear()
    await pulse.feel()
    assert (pulse.answers, pulse.status()) == (True, {"status": "ok"})


async def test_a_heartbeat_of_rubbish_is_no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = MemoryCache()
    await cache.put_many({"shard:0": b"{"}, 10.0)
    beats = Heartbeats(cache)
    await beats.look()
    assert beats.count == 0
