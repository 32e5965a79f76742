"""A shard takes up its own symbols of a store that holds them all, from its own watermark."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from pairscope.engine.data_processor import DataProcessor
from pairscope.market.bars import bars_of
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.pipeline import warm_start
from pairscope.sharding import Shard
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.rebuilds import Rebuilds
from pairscope.wiring.share import share_of

MINUTE = 60_000_000_000
MINE, OTHERS = "BTCUSDT", "ETHUSDT"
SHARD = Shard(0, 2)


@pytest.fixture
async def store(tmp_path: Path, ticks_of: Callable[..., TickBatch], noon_ns: int) -> AsyncIterator[DuckDBStore]:
    """Mine stopped in the middle of a minute, with a hole; the other shard went on for an hour."""
    opened = await DuckDBStore.open(tmp_path / "market.duckdb")
    symbols = Symbols()
    mine = [(MINE, i, noon_ns + i * 1_000_000_000, "1", "1", False) for i in (*range(50), *range(60, 90))]
    others = [(OTHERS, i, noon_ns + i * 10_000_000_000, "1", "1", False) for i in (*range(50), *range(60, 360))]
    batch = ticks_of([*mine, *others], symbols=symbols, watermark_ns=noon_ns + 3600 * 1_000_000_000)
    await opened.append(batch, [bars_of(batch.of_symbol(OTHERS), "1m")])
    yield opened
    await opened.close()


def test_the_two_symbols_of_these_tests_belong_to_different_shards() -> None:
    assert [SHARD.share([MINE, OTHERS]), Shard(1, 2).share([MINE, OTHERS])] == [[MINE], [OTHERS]]


async def test_a_warm_start_has_the_shard_s_symbols_alone_and_their_open_minutes(
    store: DuckDBStore, noon_ns: int
) -> None:
    engine = DataProcessor(Symbols())
    await warm_start(engine, share_of(store, SHARD))
    assert list(engine.symbols()) == [MINE]
    closed = engine.on_batch(TickBatch.empty(engine.symbols_table, noon_ns + 2 * MINUTE)).closed
    bars = next(batch for batch in closed if batch.timeframe == "1m")
    assert bars.ts_open_ns.tolist() == [noon_ns, noon_ns + MINUTE]
    assert bars.trades.tolist() == [50, 30]


async def test_a_shard_repairs_its_own_holes_and_rebuilds_its_own_bars(store: DuckDBStore) -> None:
    share = share_of(store, SHARD)
    assert {gap.symbol for gap, _ in (await store.continuity()).open_gaps()} == {MINE, OTHERS}
    assert {gap.symbol for gap, _ in (await share.continuity()).open_gaps()} == {MINE}
    for symbol in (MINE, OTHERS):
        await store.put("rebuilds", symbol, msgspec.msgpack.encode([(0, MINUTE)]))
    rebuilds = Rebuilds(share)
    await rebuilds.load()
    assert rebuilds.first(MINUTE) == (MINE, 0, MINUTE)
    assert len(rebuilds) == 1


async def test_one_shard_of_one_is_the_whole_store(store: DuckDBStore) -> None:
    assert share_of(store, Shard(0, 1)) is store
