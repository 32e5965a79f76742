"""A process that dies at any moment: the documents of an append and its ticks are both there, or both absent."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairscope.errors import StoreUnavailable
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter, open_store

FOREVER = 2**62
ROWS = 20
START_NS = 1_722_470_400_000_000_000
KILLS = 3


@pytest.fixture(scope="module")
def processes():
    """Processes that start quickly, with this module loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pairscope.storage.tick_storage", "pairscope.market.bars"])
    return context


class WaywardStore:
    """A store that refuses an append now and then, also after it has taken it."""

    def __init__(self, store: Any, seed: int) -> None:
        self._store = store
        self._chance = random.Random(seed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, *parcel: Any) -> Any:
        mood = self._chance.random()
        if mood < 0.1:
            raise StoreUnavailable("not now")
        admission = await self._store.append(*parcel)
        if mood < 0.2:
            raise StoreUnavailable("taken, but who knows")
        return admission


def batch_of(symbols: Symbols, k: int) -> TickBatch:
    ids = np.arange(k * ROWS, (k + 1) * ROWS)
    at = START_NS + ids * 1_000_000
    price = 100.0 + ids % 17
    return TickBatch(symbols, np.zeros(ROWS, np.int32), at, at + 1, ids, price, price, ids % 2 == 0, int(at[-1]))


def documents_of(k: int) -> list[Document]:
    """What a batch leaves: a firing, a state that says how far it came, and the outbox without the one before."""
    return [
        Document("firings", f"{10**9 - k:010d}", b"%d" % k),
        Document("states", "rule", b"%d" % k),
        Document("outbox", f"{k - 1:09d}", None),
        Document("outbox", f"{k:09d}", b"%d" % k),
    ]


def write_until_killed(folder: str, wayward: bool, pipe: Connection) -> None:
    """Append batch after batch from where the store ends; tell what was put, and what is said to be durable."""
    said = []

    def kept(documents: Sequence[Document]) -> None:
        said.append(max(int(document.key) for document in documents if document.collection == "outbox"))

    async def run() -> None:
        store: Any = await open_store(f"duckdb:///{folder}/store.duckdb")
        if wayward:
            store = WaywardStore(store, os.getpid())
        spool = Spool(Path(folder) / "spool", max_bytes=1 << 30)
        writer = StoreWriter(store, spool=spool, flush_rows=600, on_kept=kept)
        await writer.start()
        symbols = Symbols(["AUSDT"])
        k = ((await store.continuity()).next_id("AUSDT") or 0) // ROWS
        while spool and spool.first():  # an earlier run's, not taken yet: go on behind it
            await asyncio.sleep(0.01)
            k = ((await store.continuity()).next_id("AUSDT") or 0) // ROWS
        while True:
            await writer.put(batch_of(symbols, k), documents=documents_of(k), hurry=k % 9 == 0)
            pipe.send((k, max(said, default=-1)))
            k += 1
            await asyncio.sleep(0.0005)

    asyncio.run(run())


def last_word(pipe: Connection, *, flushes: int) -> tuple[int, int]:
    """Read until so many flushes were told, then whatever a dead process has left in its pipe; say when to kill."""
    seen, word = set(), (-1, -1)
    while len(seen) < flushes:
        word = pipe.recv()
        seen.add(word[1])
    return word


def rest_of(pipe: Connection, word: tuple[int, int]) -> tuple[int, int]:
    try:
        while True:
            word = pipe.recv()
    except (EOFError, OSError):
        return word


async def check(folder: Path) -> int:
    """Compare ticks and documents as a crash left them, before and behind the spool; return how many batches are in."""
    store = await open_store(f"duckdb:///{folder}/store.duckdb")
    try:
        counts = [await consistent(store)]
        writer = StoreWriter(store, spool=Spool(folder / "spool", max_bytes=1 << 30))
        await writer.start()
        counts.append(await consistent(store))
        await writer.close()
        assert counts == sorted(counts)
        return counts[-1]
    finally:
        await store.close()


async def consistent(store: Any) -> int:
    ids = (await store.ticks("AUSDT", 0, FOREVER, limit=10**7)).trade_id
    np.testing.assert_array_equal(ids, np.arange(ids.size))
    count = ids.size // ROWS
    assert count * ROWS == ids.size
    firings = [int(body) async for _, body in store.scan("firings")]
    assert firings == list(range(count - 1, -1, -1)), "a firing for each batch that is there, and for no other"
    assert await store.get("states", "rule") == (b"%d" % (count - 1) if count else None)
    assert [key async for key, _ in store.scan("outbox")] == [f"{count - 1:09d}"] * bool(count)
    return count


@pytest.mark.parametrize("wayward", [False, True], ids=["a store that takes all", "a store that refuses now and then"])
async def test_ticks_and_documents_of_an_append_are_both_there_or_both_absent(tmp_path, processes, wayward):
    chance = random.Random(7)
    stored, lost = 0, 0
    for _ in range(KILLS):
        mine, theirs = processes.Pipe(duplex=False)
        process = processes.Process(target=write_until_killed, args=(str(tmp_path), wayward, theirs))
        process.start()
        theirs.close()
        word = await asyncio.wait_for(asyncio.to_thread(last_word, mine, flushes=3), 60)
        reader = asyncio.create_task(asyncio.to_thread(rest_of, mine, word))
        await asyncio.sleep(chance.uniform(0.0, 0.2))
        os.kill(process.pid, signal.SIGKILL)
        process.join(10)
        put, kept = await reader
        before, stored = stored, await check(tmp_path)
        assert stored > max(kept, before), "what was said to be durable is there"
        lost += put + 1 - stored
    assert lost > 0, "the kills prove nothing unless something was on its way"
