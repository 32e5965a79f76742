"""A replica's readers see at once what a shard has still to store, and its documents go to the store alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from pairscope.engine.data_processor import DataProcessor
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.rebuilds import COLLECTION
from pairscope.storage.recent_parcels import RecentParcels, RecentStore, documents_only
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter

S = 1_000_000_000
START = 1_700_000_000 * S // (60 * S) * 60 * S
FOR_EVER = 1 << 62


def ticks(symbols: Symbols, ids: Sequence[int]) -> TickBatch:
    """One tick a second of a symbol."""
    number = np.array(ids, np.int64)
    at, count = START + number * S, len(ids)
    ones = np.ones(count)
    return TickBatch(
        symbols, np.zeros(count, np.int32), at, at, number, ones, ones, ones > 1, int(at.max()) if count else 0
    )


class Replica:
    """What a shard has stored, and what a replica has heard beyond it."""

    def __init__(self, store: DuckDBStore, folder: Path) -> None:
        self.store = store
        self.now_ns = 0
        self.symbols = Symbols(["BTCUSDT"])
        self.engine = DataProcessor(self.symbols)
        self.documents = StoreWriter(documents_only(store), spool=Spool(folder / "spool", max_bytes=1 << 20))
        self.recent = RecentParcels(self.documents, store.settle_gap, most_rows=100, clock=lambda: self.now_ns)
        self.seen = RecentStore(store, self.recent)

    async def hear(self, ids: Sequence[int], *, stored: bool, documents: Sequence[Document] = ()) -> None:
        batch = ticks(self.symbols, ids)
        updates = self.engine.on_batch(batch)
        bars = [bars for bars in updates.closed if bars.timeframe in {"1s", "1m"}]
        if stored:
            await self.store.append(batch, bars)
        await self.recent.put(batch, bars, documents=documents)


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[Replica]:
    store = await DuckDBStore.open(tmp_path / "market.duckdb", threads=1)
    replica = Replica(store, tmp_path)
    await replica.documents.start()
    yield replica
    await replica.documents.close()
    await store.close()


async def test_ticks_and_bars_are_seen_once_whether_the_shard_has_stored_them_or_not(replica: Replica) -> None:
    await replica.hear(range(10), stored=True)
    await replica.hear(range(10, 20), stored=False)
    found = await replica.seen.ticks("BTCUSDT", 0, FOR_EVER, limit=100)
    assert found.trade_id.tolist() == list(range(20))
    bars = await replica.seen.bars("BTCUSDT", "1s", START, START + 60 * S, limit=100)
    assert ((bars.ts_open_ns - START) // S).tolist() == list(range(19)), "the last second is still open"
    assert bars.trades.tolist() == [1] * 19


async def test_what_is_in_sight_is_not_counted_twice(replica: Replica) -> None:
    await replica.hear(range(10), stored=True)
    await replica.hear(range(10, 20), stored=False)
    assert (await replica.seen.stats()).ticks == 10
    [summary] = await replica.seen.symbols()
    assert (summary.tick_count, summary.last_ns) == (10, START + 19 * S)


async def test_only_the_last_seconds_are_kept_and_of_those_a_stated_number_of_ticks(replica: Replica) -> None:
    await replica.hear(range(10), stored=False)
    replica.now_ns = 6 * S
    assert replica.recent.waiting() == []
    await replica.hear(range(10, 100), stored=False)
    await replica.hear(range(100, 150), stored=False)
    assert sum(len(parcel.batch) for parcel in replica.recent.waiting()) == 50
    assert replica.recent.counters() == {"batches": 1, "rows": 50, "pushed_out_total": 1}


async def test_documents_reach_the_store_and_ticks_do_not(replica: Replica) -> None:
    await replica.hear(range(10), stored=False, documents=[Document("firings", "a-1", b"{}")])
    await replica.documents.drain()
    assert await replica.store.get("firings", "a-1") == b"{}"
    assert (await replica.store.stats()).ticks == 0
    assert await replica.store.watermark_ns() == 0, "only who stores ticks says how far they go"


async def test_what_a_shard_has_to_make_anew_is_left_to_it(replica: Replica) -> None:
    await replica.store.put(COLLECTION, "BTCUSDT", b"\x90")
    face = documents_only(replica.store)
    assert [key async for key, _ in face.scan(COLLECTION)] == []
    await replica.store.put("rules", "one", b"1")
    assert [key async for key, _ in face.scan("rules")] == ["one"]
