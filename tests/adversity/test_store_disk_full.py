"""A disk that is full: nothing half-written, a clear error, and on again when there is room."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np

from pairscope.errors import StoreUnavailable
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter

FOREVER = 2**62
ROWS = 2000


def batch_of(symbols: Symbols, k: int) -> TickBatch:
    trade_id = np.arange(k * ROWS, (k + 1) * ROWS)
    at = 1_722_470_400_000_000_000 + trade_id * 1_000_000
    price = 100 + np.random.default_rng(k).random(ROWS)
    return TickBatch(symbols, np.zeros(ROWS, np.int32), at, at, trade_id, price, price, trade_id % 2 == 0, int(at[-1]))


def limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


async def append_into_a_full_disk(folder: Path) -> dict[str, Any]:
    """Append until nothing fits, make room, append the rest; say what happened."""
    store = await DuckDBStore.open(folder / "store.duckdb")
    symbols = Symbols(["AUSDT"])
    limit_files(1 << 20)
    taken, refused, said = 0, [], ""
    for k in range(40):
        try:
            await store.append(batch_of(symbols, k))
            taken += 1
        except StoreUnavailable as error:
            refused.append(k)
            said = error.line()
    readable = len(await store.ticks("AUSDT", 0, FOREVER, limit=10**6))
    limit_files(resource.RLIM_INFINITY)
    for k in refused:
        await store.append(batch_of(symbols, k))
    ids = (await store.ticks("AUSDT", 0, FOREVER, limit=10**6)).trade_id
    gaps = {gap.status for gap in await store.gaps()}
    await store.close()
    return {"taken": taken, "refused": len(refused), "said": said, "readable": readable, "ids": ids, "gaps": gaps}


async def write_into_a_full_disk(folder: Path, *, spool_fits: bool) -> dict[str, Any]:
    """The same through the writer: it spools, or where even that does not fit, keeps what the queue holds."""
    store = await DuckDBStore.open(folder / "store.duckdb")
    symbols = Symbols(["AUSDT"])
    spool = Spool(folder / "spool", max_bytes=1 << 30, segment_bytes=1 << 19)
    writer = StoreWriter(store, spool=spool, max_batches=30, flush_rows=ROWS, flush_seconds=0.01)
    await writer.start()
    limit_files(1 << 20)
    status = set()
    for k in range(20):
        await writer.put(batch_of(symbols, k))
        await writer.drain()
        status.add(writer.status()["status"])
    if not spool_fits:
        limit_files(4096)
    for k in range(20, 60):
        await writer.put(batch_of(symbols, k))
        await asyncio.sleep(0.002)
        status.add(writer.status()["status"])
    limit_files(resource.RLIM_INFINITY)
    for _ in range(10_000):
        await asyncio.sleep(0.01)
        if writer.status()["status"] == "ok" and not writer.counters()["depth"]:
            break
    after, counters = writer.status(), dict(writer.counters())
    await writer.close()
    ids = (await store.ticks("AUSDT", 0, FOREVER, limit=10**6)).trade_id
    await store.close()
    return {"status": status, "after": after["status"], "ids": ids, "counters": counters}


def in_child(queue: Any, work: Any, folder: Path, keywords: dict[str, Any]) -> None:
    queue.send(asyncio.run(work(folder, **keywords)))


def in_a_process_of_its_own(work: Any, folder: Path, **keywords: Any) -> dict[str, Any]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pairscope.storage.tick_storage", "pairscope.market.bars"])
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=in_child, args=(theirs, work, folder, keywords))
    process.start()
    theirs.close()
    try:
        assert mine.poll(200)
        return mine.recv()
    finally:
        process.kill()
        process.join(60)


def test_a_full_disk_refuses_whole_batches_and_takes_them_later(tmp_path):
    found = in_a_process_of_its_own(append_into_a_full_disk, tmp_path)
    assert found["taken"] > 0
    assert found["refused"] > 0
    assert "free some space" in found["said"]
    assert "\n" not in found["said"]
    assert found["readable"] == found["taken"] * ROWS, "what was taken can be read while the disk is full"
    np.testing.assert_array_equal(found["ids"], np.arange(40 * ROWS))
    assert found["gaps"] <= {"repaired"}


def test_the_writer_spools_what_a_full_disk_refuses_and_loses_nothing(tmp_path):
    found = in_a_process_of_its_own(write_into_a_full_disk, tmp_path, spool_fits=True)
    assert "degraded" in found["status"]
    assert found["after"] == "ok"
    assert found["counters"]["spooled_rows"] > 0
    assert found["counters"]["unspooled_rows"] == found["counters"]["spooled_rows"]
    assert found["counters"]["dropped_rows"] == 0
    np.testing.assert_array_equal(found["ids"], np.arange(60 * ROWS))


def test_what_neither_store_nor_spool_takes_is_counted_to_the_tick(tmp_path):
    found = in_a_process_of_its_own(write_into_a_full_disk, tmp_path, spool_fits=False)
    assert "down" in found["status"]
    assert found["after"] == "ok"
    dropped = found["counters"]["dropped_rows"]
    assert 0 < dropped < 40 * ROWS
    assert len(found["ids"]) == 60 * ROWS - dropped
    assert len(set(found["ids"].tolist())) == len(found["ids"])
    assert found["ids"][-1] == 60 * ROWS - 1
