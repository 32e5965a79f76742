"""A replica over a real Redis: what shards publish is live in it, and nothing lacks when Redis was away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from tests.redis_server import RedisServer

from pairscope.api.app import create_app
from pairscope.engine.data_processor import DataProcessor
from pairscope.errors import ConfigError
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.process import load_settings
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.market_stream import MarketStreamWriter
from pairscope.storage.parcel import Parcel
from pairscope.storage.redis_cache import RedisCache
from pairscope.storage.redis_client import RedisClient
from pairscope.storage.spool import encode_parcel
from pairscope.wiring.replica import Replica, run_api

MS = 1_000_000
DEADLINE_S = 180.0


class Shard:
    """A shard's process as others see it: ticks into store and stream, a heartbeat."""

    def __init__(self, number: int, symbol: str, store: Any, redis: RedisClient, make: Any, *, of: int = 2) -> None:
        self.number, self.of, self.symbol, self._store, self._make = number, of, symbol, store, make
        self._stream, self._cache = MarketStreamWriter(redis, number), RedisCache(redis)
        self._engine = DataProcessor(Symbols([symbol]))
        self.last_id = 0

    async def say(self, count: int = 1) -> None:
        """Trade so often, now; the price is the number of the trade."""
        rows, now_ns = [], time.time_ns() // MS * MS
        for _ in range(count):
            self.last_id += 1
            rows.append((self.symbol, self.last_id, now_ns, str(self.last_id), "1", False))
        batch = self._make(rows, symbols=self._engine.symbols_table, watermark_ns=now_ns)
        closed = tuple(bars for bars in self._engine.on_batch(batch).closed if bars.timeframe in {"1s", "1m"})
        await self._store.append(batch, closed)
        await self._stream.put("batch", encode_parcel(Parcel(batch, closed)))

    async def be(self) -> None:
        """Say every moment that it is there, and how late it is."""
        while True:
            now_ns = time.time_ns()
            empty = TickBatch.empty(self._engine.symbols_table, now_ns)
            await self._stream.put("batch", encode_parcel(Parcel(empty)))
            beat = {
                "shard": f"{self.number}/{self.of}",
                "at_ms": now_ns // MS,
                "symbols": [self.symbol],
                "feed": {"status": "ok"},
            }
            await self._cache.put_many({f"shard:{self.number}": msgspec.json.encode(beat)}, 10.0)
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        await self._stream.close()
        await self._cache.close()


class House:
    """Two shards and one replica over one store and one Redis."""

    def __init__(self, replica: Replica, shards: list[Shard]) -> None:
        self.replica, self.shards = replica, shards
        self.running = asyncio.create_task(replica.run())

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not holds():
                assert not self.running.done(), self.running.exception()
                await asyncio.sleep(0.01)

    def price(self, symbol: str) -> float:
        view = self.replica.engine.price(symbol)
        return 0.0 if view is None else float(view["price"])


@pytest.fixture
async def house(tmp_path: Path, redis_server: RedisServer, ticks_of: Callable[..., TickBatch]) -> AsyncIterator[House]:
    store = await DuckDBStore.open(tmp_path / "market.duckdb", threads=1)
    settings = load_settings(data_dir=tmp_path, redis_url=redis_server.url, source="live", screen=())
    clients = [RedisClient(redis_server.url) for _ in range(2)]
    shards = [
        Shard(number, symbol, store, client, ticks_of)
        for number, (symbol, client) in enumerate(zip(("BTCUSDT", "ETHUSDT"), clients, strict=True))
    ]
    for shard in shards:
        await shard.say(5)  # before the replica is there
    beating = [asyncio.create_task(shard.be()) for shard in shards]
    house = House(Replica(settings, store, RedisClient(redis_server.url)), shards)
    yield house
    for task in (house.running, *beating):
        task.cancel()
    await asyncio.gather(house.running, *beating, return_exceptions=True)
    for shard, client in zip(shards, clients, strict=True):
        await shard.close()
        await client.close()
    await house.replica.close()


async def test_what_each_shard_publishes_is_live_in_a_replica(house: House) -> None:
    await house.until(lambda: house.price("BTCUSDT") == 5.0 and house.price("ETHUSDT") == 5.0)
    await house.shards[0].say(3)
    await house.shards[1].say(4)
    await house.until(lambda: house.price("BTCUSDT") == 8.0 and house.price("ETHUSDT") == 9.0)
    transport = httpx2.ASGITransport(create_app(house.replica.services()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as api:
        assert (await api.get("/api/health/ready")).status_code == 200
        assert (await api.get("/api/health")).json()["checks"]["feed"]["status"] == "ok"
        assert (await api.get("/api/price/ETHUSDT")).json()["price"] == 9.0
        found = (await api.get("/api/ticks/BTCUSDT")).json()["ticks"]
        assert [tick["id"] for tick in found] == list(range(1, 9))
        stats = (await api.get("/api/stats")).json()
        assert (stats["following"], stats["ticks"]) == (2, 17)
        house.replica.stopping = True
        assert (await api.get("/api/health/ready")).status_code == 503
        assert (await api.get("/api/health/live")).status_code == 200


async def test_while_redis_is_away_the_market_goes_on_and_afterwards_nothing_lacks_or_counts_twice(
    house: House, redis_server: RedisServer
) -> None:
    await house.until(lambda: house.price("BTCUSDT") == 5.0)
    redis_server.stop(kill=True)
    await house.shards[0].say(10)
    await house.until(lambda: house.price("BTCUSDT") == 15.0)
    assert house.replica.waits_for() == ""
    assert house.replica.health()["cache"]["status"] == "degraded"
    redis_server.start()
    await house.shards[0].say(5)
    await house.until(lambda: house.price("BTCUSDT") == 20.0)
    await house.until(lambda: house.replica.health()["cache"]["status"] == "ok")
    bars = house.replica.engine.recent_bars("BTCUSDT", "1m", 10, with_open=True)
    assert int(bars.trades.sum()) == 20


def test_replicas_that_ask_for_keys_have_to_share_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAIRSCOPE_JWT_SECRET", raising=False)
    settings = load_settings(
        database_url="postgresql://nowhere/none", redis_url="redis://nowhere", api_keys=("sha256:" + "0" * 64,)
    )
    with pytest.raises(ConfigError, match="one secret"):
        run_api(settings)
