"""Two processes over one store and a real Redis: what the one changes, the other takes up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.pairs import PairBook
from pairscope.market.bars import BarBatch, Origin, timeframe_ns
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.memory_cache import MemoryBus
from pairscope.storage.redis_bus import RedisBus
from pairscope.storage.redis_client import RedisClient
from pairscope.watchlist import Watchlist
from pairscope.wiring.notices import COLLECTION, KEPT_NS, Notices

MINUTE = timeframe_ns("1m")
NOW = 1_722_513_600_000_000_000
NAMES = ("ETHUSDT", "BTCUSDT")


class Process:
    """An engine, a watch-list and a bus of its own."""

    def __init__(self, url: str, store: DuckDBStore) -> None:
        self.client = RedisClient(url)
        self.bus = RedisBus(MemoryBus(), self.client, lambda _: False)
        self.engine = DataProcessor(Symbols(NAMES))
        self.engine.on_batch(TickBatch.empty(self.engine.symbols_table, NOW))
        self.taken: list[BarBatch] = []
        beside: dict[str, Any] = {"store": store, "records": store}
        self.notices = Notices(
            self.bus,
            lambda: self.watchlist,
            **beside,
            live=Followed(),
            take=self.taken.append,
            clock=lambda: NOW,
            look_s=0.1,
        )
        beside |= {"bus": self.bus, "live": self.engine}
        book = PairBook(self.engine.symbols_table, self.engine)
        self.watchlist = Watchlist(book, **beside, told=self.notices.pair_changed)
        self.tasks = [asyncio.create_task(run()) for run in (self.notices.run, self.watchlist.run)]

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.bus.close()
        await self.client.close()


class Followed:
    """Stands for an engine that has heard of two symbols."""

    def symbols(self) -> tuple[str, ...]:
        return NAMES

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


async def until(holds: Callable[[], bool], meanwhile: Callable[[], None] = lambda: None) -> None:
    limit = monotonic() + 60
    while not holds():
        assert monotonic() < limit, "did not come about in time"
        meanwhile()
        await asyncio.sleep(0.02)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    store = await DuckDBStore.open(tmp_path / "store.duckdb", threads=1)
    yield store
    await store.close()


async def test_pairs_and_bars_that_one_process_stores_reach_the_other(redis_server: Any, store: DuckDBStore) -> None:
    one, other = Process(redis_server.url, store), Process(redis_server.url, store)
    try:
        await other.bus.start()
        bars = uploaded(["ETHUSDT", "NEWUSDT"], 5)
        await store.put_bars(bars)
        await one.watchlist.put(PairSettings(*NAMES))
        # Said again until the other has begun to hear.
        await until(lambda: bool(other.taken), lambda: one.notices.imported(bars))
        [name] = {batch.symbols[i] for batch in other.taken for i in batch.symbol_id.tolist()}
        assert name == "ETHUSDT"
        assert other.taken[0].close.tolist() == [100.0, 101.0, 102.0, 103.0, 104.0]
        await until(lambda: bool(other.watchlist.entries()), lambda: one.notices.pair_changed("ETHUSDT:BTCUSDT"))
        await one.watchlist.remove(*NAMES)
        await until(lambda: not other.watchlist.entries())
        assert one.taken == []
    finally:
        await one.close()
        await other.close()


async def test_bars_of_which_no_word_came_are_taken_once_all_the_same_and_words_are_forgotten_in_time(
    redis_server: Any, store: DuckDBStore
) -> None:
    """The other hears nothing, as one that is not yet back on the bus when the word is sent."""
    await store.put(COLLECTION, f"{NOW - 2 * KEPT_NS:020d}-old", b'{"spans":[["BTCUSDT",0,9]]}')
    one, other = Process(redis_server.url, store), Process(redis_server.url, store)
    try:
        bars = uploaded(["ETHUSDT"], 5)
        await store.put_bars(bars)
        one.notices.imported(bars)
        await until(lambda: bool(other.taken))
        assert other.taken[0].close.tolist() == [100.0, 101.0, 102.0, 103.0, 104.0]
        await store.put_bars(more := uploaded(["BTCUSDT"], 2))
        one.notices.imported(more)
        await until(lambda: len(other.taken) > 1)
        assert [batch.symbols[batch.symbol_id[0]] for batch in other.taken] == ["ETHUSDT", "BTCUSDT"]
        assert one.taken == []
        assert len([key async for key, _ in store.scan(COLLECTION)]) == 2
    finally:
        await one.close()
        await other.close()


def uploaded(names: list[str], n: int) -> BarBatch:
    rows = n * len(names)
    close = np.tile(100.0 + np.arange(n), len(names))
    return BarBatch(
        Symbols(names),
        "1m",
        np.repeat(np.arange(len(names), dtype=np.int32), n),
        np.tile(NOW - MINUTE * np.arange(n, 0, -1), len(names)),
        *(close,) * 4,
        volume=np.ones(rows),
        quote_volume=close,
        buy_volume=np.ones(rows),
        trades=np.zeros(rows, np.int64),
        first_id=np.full(rows, -1),
        last_id=np.full(rows, -1),
        revision=np.zeros(rows, np.int32),
        origin=np.full(rows, Origin.UPLOAD, np.int8),
    )
