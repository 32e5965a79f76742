"""The feed of a replica: each tick once and in order, and what the stream lacks comes from the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pairscope.market.bars import BarBatch
from pairscope.market.continuity import Continuity
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.replica_feed import Lost, ReplicaFeed
from pairscope.shard_merge import ShardEntry
from pairscope.storage.duckdb_store import DuckDBStore

MS = 1_000_000
NOW_NS = time.time_ns() // MS * MS - 60_000 * MS
DEADLINE_S = 60.0
FASTER = 10


class Script:
    """A source that says what a test tells it to, and then nothing more."""

    def __init__(self) -> None:
        self._said: asyncio.Queue[ShardEntry | Lost] = asyncio.Queue()

    def say(self, *items: ShardEntry | Lost) -> None:
        for item in items:
            self._said.put_nowait(item)

    async def entries(self) -> AsyncIterator[ShardEntry | Lost]:
        while True:
            yield await self._said.get()


def ticks(symbol: str, ids: Sequence[int], watermark_ms: int = 0) -> TickBatch:
    """Ticks of one symbol, one a millisecond by their ids, under a table of their own."""
    trade_id = np.array(ids, np.int64)
    at, count = NOW_NS + trade_id * MS, len(ids)
    return TickBatch(
        Symbols(["OTHERUSDT", symbol]),
        np.ones(count, np.int32),
        at,
        at,
        trade_id,
        np.full(count, 2.0),
        np.ones(count),
        np.zeros(count, np.bool_),
        NOW_NS + watermark_ms * MS,
    )


def entry(shard: int, batch: TickBatch, at_ms: int | None = None) -> ShardEntry:
    at_ns = int(batch.ts_recv_ns.max()) if at_ms is None else NOW_NS + at_ms * MS
    return ShardEntry(shard, at_ns, batch)


def silence(shard: int, at_ms: int) -> ShardEntry:
    return entry(shard, TickBatch.empty(Symbols(), NOW_NS + at_ms * MS), at_ms)


class House:
    """A feed over a script and a real store, and all that it has given."""

    def __init__(self, store: DuckDBStore, shards: int = 1) -> None:
        self.script, self.symbols, self.bars = Script(), Symbols(), []
        self.feed = ReplicaFeed(
            self.script,
            range(shards),
            symbols=self.symbols,
            ledger=Continuity(),
            store=store,
            on_bars=lambda word, bars: self.bars.append((word, bars, len(self.given))),
            monotonic=lambda: time.monotonic() * FASTER,
            sleep=lambda delay_s: asyncio.sleep(delay_s / FASTER),
        )
        self.given: list[tuple[str, int]] = []
        self.watermarks: list[int] = []
        self._task = asyncio.create_task(self._listen())

    bars: list[tuple[str, BarBatch, int]]

    async def _listen(self) -> None:
        async for batch in self.feed.batches():
            assert batch.symbols is self.symbols
            names = [batch.symbols[i] for i in batch.symbol_id.tolist()]
            self.given += zip(names, batch.trade_id.tolist(), strict=True)
            self.watermarks.append((batch.watermark_ns - NOW_NS) // MS)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not true():
                assert not self._task.done(), self._task.exception()
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        await self.feed.close()
        await self._task


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    store = await DuckDBStore.open(tmp_path / "ticks.duckdb", threads=1)
    yield store
    await store.close()


async def test_the_ticks_of_two_shards_come_in_the_order_of_receipt_each_once(store: DuckDBStore) -> None:
    house = House(store, shards=2)
    house.script.say(
        entry(0, ticks("BTCUSDT", [1, 2, 3], 3)),
        entry(1, ticks("ETHUSDT", [5, 6], 6)),
        entry(0, ticks("BTCUSDT", [3, 4], 4)),  # whoever took over publishes what it remembers
        entry(0, ticks("BTCUSDT", [7, 8], 8)),
        silence(1, 9),
    )
    await house.until(lambda: len(house.given) == 8)
    await house.end()
    btc, eth = "BTCUSDT", "ETHUSDT"
    assert house.given == [(btc, 1), (btc, 2), (btc, 3), (btc, 4), (eth, 5), (eth, 6), (btc, 7), (btc, 8)]
    assert house.watermarks[-1] == 6  # of the slower shard
    assert house.feed.counters()["repeats_total"] == 1


async def test_bars_of_the_exchange_are_told_in_their_place_of_the_stream(store: DuckDBStore) -> None:
    house = House(store)
    bars = BarBatch.empty(Symbols(["BTCUSDT"]), "1m")
    empty = TickBatch.empty(Symbols(), 0)
    house.script.say(
        entry(0, ticks("BTCUSDT", [1, 2])),
        ShardEntry(0, NOW_NS + 3 * MS, empty, bars=(bars,), word="history"),
        entry(0, ticks("BTCUSDT", [3])),
        silence(0, 4),
    )
    await house.until(lambda: len(house.given) == 3)
    await house.end()
    assert [(word, told, given) for word, told, given in house.bars] == [("history", bars, 2)]


async def test_ids_that_nobody_published_come_from_the_store(store: DuckDBStore) -> None:
    await store.append(ticks("BTCUSDT", range(1, 10)))
    house = House(store)
    house.script.say(entry(0, ticks("BTCUSDT", [1, 2])), entry(0, ticks("BTCUSDT", [8, 9])), silence(0, 10))
    await house.until(lambda: len(house.given) == 9)
    assert house.feed.missing() == 0
    await house.end()
    assert sorted(number for _, number in house.given) == list(range(1, 10))


async def test_a_loss_that_no_later_tick_shows_is_made_good_from_the_store(store: DuckDBStore) -> None:
    house = House(store)
    house.script.say(entry(0, ticks("BTCUSDT", [1])), silence(0, 2))
    await house.until(lambda: len(house.given) == 1)
    await store.append(ticks("BTCUSDT", [1, 2, 3]))
    await store.append(ticks("ETHUSDT", [4]))
    house.script.say(Lost(0, NOW_NS), silence(0, 5))
    await house.until(lambda: len(house.given) == 4 and house.feed.counters()["lost"])  # it may look there before that
    await house.end()
    assert set(house.given) == {("BTCUSDT", 1), ("BTCUSDT", 2), ("BTCUSDT", 3), ("ETHUSDT", 4)}
    assert house.feed.counters()["lost"] == 1


async def test_while_the_stream_is_away_the_market_goes_on_from_the_store_and_nothing_comes_twice_afterwards(
    store: DuckDBStore,
) -> None:
    house = House(store)
    house.script.say(entry(0, ticks("BTCUSDT", [1], 1)), silence(0, 2))
    await house.until(lambda: len(house.given) == 1)
    await store.append(ticks("BTCUSDT", [1, 2, 3, 9_000]))
    await house.until(lambda: len(house.given) == 4)
    await house.until(lambda: house.watermarks[-1] == 6_000)  # bars close, a little later
    house.script.say(entry(0, ticks("BTCUSDT", [2, 3, 9_000])), entry(0, ticks("BTCUSDT", [9_001])), silence(0, 9_002))
    await house.until(lambda: len(house.given) == 5)
    await house.end()
    assert [number for _, number in house.given] == [1, 2, 3, 9_000, 9_001]
