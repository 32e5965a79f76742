"""A process that dies at any moment while it writes: what it acknowledged is there, once."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from pairscope.errors import StoreLocked
from pairscope.market.bars import BarBatch, bars_of
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter, open_store

FOREVER = 2**62
MINUTE = 60_000_000_000
START_NS = 1_722_470_400_000_000_000
NAMES = ("AUSDT", "BUSDT", "币USDT")
PER_MINUTE = 40


@pytest.fixture(scope="module")
def processes():
    """Processes that start quickly, with this module loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pairscope.storage.tick_storage", "pairscope.market.bars"])
    return context


def minute_of(symbols: Symbols, minute: int) -> TickBatch:
    """All trades of a minute: the same whoever makes them."""
    n = PER_MINUTE * len(NAMES)
    within = np.arange(n) // len(NAMES)
    symbol_id = np.arange(n, dtype=np.int32) % len(NAMES)
    trade_id = minute * PER_MINUTE + within
    at = START_NS + minute * MINUTE + np.arange(n) * (MINUTE // n) // 1_000_000 * 1_000_000
    return TickBatch(
        symbols,
        symbol_id,
        at,
        at + 1,
        trade_id,
        100.0 + within % 17 / 10,
        1.0 + within % 7,
        within % 2 == 0,
        START_NS + (minute + 1) * MINUTE,
    )


def moved(bars: BarBatch, minute: int) -> BarBatch:
    """The bars of the first minute, made those of another."""
    return replace(
        bars,
        ts_open_ns=bars.ts_open_ns + minute * MINUTE,
        first_id=bars.first_id + minute * PER_MINUTE,
        last_id=bars.last_id + minute * PER_MINUTE,
    )


def write_until_killed(folder: str, first_bars: list[BarBatch], pipe: Connection) -> None:
    """Put minute after minute from where the store ends, telling after each what is put and what is acknowledged."""

    async def tidy(store: DuckDBStore) -> None:
        while True:
            await asyncio.sleep(0.1)
            await store.checkpoint()

    async def run() -> None:
        store = await open_store(f"duckdb:///{folder}/store.duckdb")
        writer = StoreWriter(store, spool=Spool(Path(folder) / "spool", max_bytes=1 << 30), flush_rows=600)
        await writer.start()
        symbols = first_bars[0].symbols
        tidying = asyncio.create_task(tidy(store))
        minute = ((await store.continuity()).next_id(NAMES[0]) or 0) // PER_MINUTE
        first = minute
        while not tidying.done():
            batch = minute_of(symbols, minute)
            await writer.put(batch, [moved(bars, minute) for bars in first_bars])
            minute += 1
            rows = PER_MINUTE * len(NAMES)
            pipe.send((minute * rows, first * rows + writer.counters()["flushed_rows"]))
            await asyncio.sleep(0.0002)

    asyncio.run(run())


def hold(folder: str, pipe: Connection) -> None:
    """Open a store and keep it."""

    async def run() -> None:
        store = await open_store(f"duckdb:///{folder}/store.duckdb")
        pipe.send("open")
        await asyncio.sleep(600)
        await store.close()

    asyncio.run(run())


def until_flushed(pipe: Connection) -> tuple[int, int]:
    """Read what a writer tells until it has acknowledged something more."""
    _, began = pipe.recv()
    while (word := pipe.recv())[1] == began:
        pass
    return word


def last_word(pipe: Connection, word: tuple[int, int]) -> tuple[int, int]:
    """Read a dead process's pipe to its end."""
    try:
        while True:
            word = pipe.recv()
    except (EOFError, OSError):
        return word


async def check(folder: Path, acknowledged: int) -> int:
    """Compare a store with what must be in it; return how many ticks there are."""
    store = await open_store(f"duckdb:///{folder}/store.duckdb")
    try:
        count = (await store.stats()).ticks
        assert count >= acknowledged
        assert count % (PER_MINUTE * len(NAMES)) == 0, "a batch is there whole or not at all"
        assert await store.gaps() == []
        for name in NAMES:
            ticks = await store.ticks(name, 0, FOREVER, limit=10**7)
            assert_array_equal(ticks.trade_id, np.arange(count // len(NAMES)))
            for timeframe in ("1s", "1m"):
                bars = await store.bars(name, timeframe, 0, FOREVER, limit=10**7)
                expected = bars_of(ticks, timeframe)
                for column in ("ts_open_ns", "open", "high", "low", "close", "volume", "trades", "last_id"):
                    assert_array_equal(getattr(bars, column), getattr(expected, column))
        return count
    finally:
        await store.close()


async def test_ten_kills_under_load_lose_nothing_acknowledged_and_double_nothing(tmp_path, processes):
    chance = random.Random(11)
    first_minute = minute_of(Symbols(NAMES), 0)
    first_bars = [bars_of(first_minute, timeframe) for timeframe in ("1s", "1m")]
    stored = 0
    for _ in range(10):
        mine, theirs = processes.Pipe(duplex=False)
        process = processes.Process(target=write_until_killed, args=(str(tmp_path), first_bars, theirs))
        process.start()
        theirs.close()
        word = await asyncio.wait_for(asyncio.to_thread(until_flushed, mine), 120)
        reader = asyncio.create_task(asyncio.to_thread(last_word, mine, word))
        await asyncio.sleep(chance.uniform(0.0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        put, acknowledged = await reader
        assert put > acknowledged, "the kill proves nothing unless rows were on their way"
        assert acknowledged > stored
        stored = await check(tmp_path, acknowledged)


async def test_a_second_process_is_told_who_holds_the_store(tmp_path, processes):
    mine, theirs = processes.Pipe(duplex=False)
    process = processes.Process(target=hold, args=(str(tmp_path), theirs))
    process.start()
    try:
        assert mine.poll(120)
        with pytest.raises(StoreLocked, match=f"process {process.pid}") as refused:
            await open_store(f"duckdb:///{tmp_path}/store.duckdb")
        assert "--data-dir" in refused.value.hint
        assert not refused.value.retry
    finally:
        process.kill()
        process.join(60)
    store = await open_store(f"duckdb:///{tmp_path}/store.duckdb")
    await store.close()
