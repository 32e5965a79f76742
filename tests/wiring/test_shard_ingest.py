"""Two processes' worth of one shard over one store and a real Redis: the lock goes to and fro, and no trade is lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.test_desk import Client

from pairscope.config import Settings
from pairscope.feed.replay_server import ReplayServer, serve
from pairscope.feed.replay_source import SyntheticSource
from pairscope.feed.rest import ExchangeRest
from pairscope.feed.synthetic import SyntheticMarket
from pairscope.sharding import Shard
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.leadership import Leadership
from pairscope.storage.spool import decode_parcel
from pairscope.wiring.shard_ingest import ShardIngest

FOREVER = 2**62
DEADLINE_S = 180.0
TTL_S = 60.0
"""Longer than any pause of the machine, behind which either could be the active one."""


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.02)


class Pair:
    """One store, one Redis, one exchange, and as many ingests of the one shard as are started."""

    def __init__(self, store: DuckDBStore, url: str, exchange: ReplayServer, folder: Path) -> None:
        self.store = store
        self.url = url
        self.at = f"127.0.0.1:{exchange.port}"
        self._folder = folder
        self._running: dict[ShardIngest, asyncio.Task[None]] = {}

    def start(self, name: str, **extra: Any) -> ShardIngest:
        settings = Settings(
            data_dir=self._folder / name,
            exchange_ws_url=f"ws://{self.at}",
            exchange_rest_url=f"http://{self.at}",
            all_symbols=True,
            source="live",
            history_minutes=5,
            **extra,
        )
        made = ShardIngest(settings, Shard(0, 1), self.store, Client(self.url), spool=self._folder / name / "spool")
        self._running[made] = asyncio.create_task(made.run())
        return made

    async def stop(self, ingest: ShardIngest) -> None:
        """As SIGTERM does it."""
        task = self._running.pop(ingest)
        await ingest.hang_up()
        await asyncio.wait_for(task, DEADLINE_S)
        await ingest.close()

    async def end(self) -> None:
        for ingest in list(self._running):
            await self.stop(ingest)

    async def assert_whole(self) -> None:
        """Every id between the first and the last of each symbol is stored, once, as the exchange has it."""
        rest = ExchangeRest(f"http://{self.at}", clock=time.time_ns)
        held = await self.store.symbols()
        assert len(held) == 4
        for symbol in (summary.symbol for summary in held):
            ids = (await self.store.ticks(symbol, 0, FOREVER, limit=10**6)).trade_id.tolist()
            sent: list[int] = []
            while not sent or sent[-1] < ids[-1]:
                first = sent[-1] + 1 if sent else ids[0]
                sent += [row.a for row in await rest.agg_trades(symbol, from_id=first)]
            assert sorted(ids) == [number for number in sent if number <= ids[-1]]
        await rest.close()


@pytest.fixture
async def pair(tmp_path: Path, redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr("pairscope.wiring.shard_ingest.Leadership", partial(Leadership, ttl_s=TTL_S))
    exchange = await serve(
        SyntheticSource(SyntheticMarket(seed=5, symbols=4, ticks_per_second=300.0)), weight_limit=10**9
    )
    store = await DuckDBStore.open(tmp_path / "market.duckdb")
    made = Pair(store, redis_server.url, exchange, tmp_path)
    yield made
    await made.end()
    await store.close()
    await exchange.close()


async def test_who_loses_the_lock_stands_by_and_who_stops_hands_it_on_and_nothing_is_lost(pair: Pair) -> None:
    first = pair.start("first")
    await until(lambda: first.standby.active)
    second = pair.start("second")
    await until(lambda: second.standby.counters()["kept_rows"] > 100 and not second.feed.status()["open_gaps"])
    assert not second.standby.active
    server = redis.Redis.from_url(pair.url)

    server.set("lock:shard:0/1", "a process that stood still and is back")
    await until(lambda: not first.standby.active)
    server.delete("lock:shard:0/1")  # it ends; one that lapses by itself might not be seen at all
    await until(lambda: first.standby.active or second.standby.active)
    active, other = (first, second) if first.standby.active else (second, first)
    assert not other.standby.active

    await pair.stop(active)
    await until(lambda: other.standby.active)
    stored = other.writer.counters()["flushed_rows"]
    await until(lambda: other.writer.counters()["flushed_rows"] > stored)
    await pair.stop(other)
    await pair.assert_whole()


async def test_the_active_one_says_what_it_stores_and_how_it_does_and_the_other_one_says_nothing(pair: Pair) -> None:
    first = pair.start("first")
    await until(lambda: first.standby.active)
    second = pair.start("second", symbols=())
    server = redis.Redis.from_url(pair.url)

    def words() -> set[bytes]:
        return {fields[b"d"] for _, fields in server.xrange("market:0") if fields[b"k"] == b"bars"}

    # The first one stood by too, for a moment, and may have said so: the second is there when it follows somebody.
    await until(lambda: second.follow and server.exists("shard:0", "shard:0:standby") == 2)
    await until(lambda: server.xlen("market:0") > 20 and words())
    beat = json.loads(server.get("shard:0"))
    assert (beat["shard"], beat["role"]) == ("0/1", "active")
    assert sorted(beat["symbols"]) == sorted(first.follow) == sorted(second.follow)
    assert {name.decode() for name in server.smembers("symbols")} == set(first.follow)
    symbol = first.follow[0]
    assert float(server.hget(f"price:{symbol}", "price")) > 0
    assert 0 < server.ttl(f"price:{symbol}") <= 3600
    said = [decode_parcel(fields[b"p"]) for _, fields in server.xrange("market:0") if fields[b"k"] == b"batch"]
    assert {fields[b"w"] for _, fields in server.xrange("market:0")} == {first.stream._writer.encode()}
    published = [int(number) for parcel in said for number in parcel.batch.of_symbol(symbol).trade_id]
    assert published == list(range(published[0], published[0] + len(published)))
    assert b"history" in words() <= {b"history", b"rebuilt"}
