"""A replica starts where the store ends, while shards go on writing: nothing lacks and nothing counts twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from pairscope.engine.data_processor import DataProcessor
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import TickStore
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.wiring.replica_start import start_engine

S = 1_000_000_000
NAMES = ("BTCUSDT", "ETHUSDT")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    opened = await DuckDBStore.open(tmp_path / "market.duckdb", threads=1)
    yield opened
    await opened.close()


class Shards:
    """Two shards' processes that store what they see: ten ticks a second of one symbol each, one a little behind."""

    def __init__(self, store: DuckDBStore, ticks_of: Callable[..., TickBatch], noon_ns: int) -> None:
        self.store, self._ticks_of, self._noon_ns = store, ticks_of, noon_ns
        self.engines = {name: DataProcessor(Symbols([name])) for name in NAMES}
        self.told: list[TickBatch] = []

    async def say(self, name: str, second: int, seconds: int, *, behind_s: int = 0) -> None:
        rows = [
            (name, n, self._noon_ns + n * S // 10, "2", "1", False) for n in range(second * 10, (second + seconds) * 10)
        ]
        until_ns = self._noon_ns + (second + seconds - behind_s) * S
        batch = self._ticks_of(rows, symbols=self.engines[name].symbols_table, watermark_ns=until_ns)
        closed = [bars for bars in self.engines[name].on_batch(batch).closed if bars.timeframe in {"1s", "1m"}]
        await self.store.append(batch, closed)
        self.told.append(batch)


class Busy:
    """A store into which a shard writes whenever it is asked anything."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._second = 200

    def __getattr__(self, name: str) -> object:
        return getattr(self._shards.store, name)

    async def base_bars(self, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        await self._shards.say("BTCUSDT", self._second, 5)
        self._second += 5
        return await self._shards.store.base_bars(timeframe, start_ns, end_ns)

    async def ticks_since(self, start_ns: int) -> AsyncIterator[TickBatch]:
        await self._shards.say("BTCUSDT", self._second, 5)
        self._second += 5
        async for batch in self._shards.store.ticks_since(start_ns):
            yield batch


async def test_with_the_stream_behind_it_the_engine_equals_one_that_heard_everything(
    store: DuckDBStore, ticks_of: Callable[..., TickBatch], noon_ns: int
) -> None:
    shards = Shards(store, ticks_of, noon_ns)
    await shards.say("BTCUSDT", 0, 200)
    await shards.say("ETHUSDT", 0, 190, behind_s=10)
    whole = DataProcessor(Symbols())
    engine = DataProcessor(Symbols())
    ledger = await start_engine(engine, cast("TickStore", Busy(shards)))
    await shards.say("ETHUSDT", 190, 40)
    for batch in shards.told:
        whole.on_batch(batch.with_watermark(noon_ns + 100 * S))
    whole.on_batch(TickBatch.empty(whole.symbols_table, noon_ns + 215 * S))
    for batch in shards.told:  # the stream from long before
        new = ledger.admit(batch).new
        engine.on_batch(batch.take(new).with_watermark(0))
    engine.on_batch(TickBatch.empty(engine.symbols_table, noon_ns + 215 * S))
    for name in NAMES:
        for timeframe in ("1s", "1m"):
            ours, theirs = (each.recent_bars(name, timeframe, 1000) for each in (engine, whole))
            assert ours.ts_open_ns.tolist() == theirs.ts_open_ns.tolist()
            assert np.array_equal(ours.trades, theirs.trades), (name, timeframe)
        assert engine.price(name) == whole.price(name)


async def test_a_store_that_is_new_gives_an_engine_that_is(store: DuckDBStore) -> None:
    engine = DataProcessor(Symbols())
    ledger = await start_engine(engine, store)
    assert engine.watermark_ns() == 0
    assert ledger.next_id("BTCUSDT") is None
