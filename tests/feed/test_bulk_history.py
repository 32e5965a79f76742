"""Back-fills as jobs: one that is cancelled takes nothing along with it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pairscope.feed import bulk_history
from pairscope.feed.bulk_history import BulkLoader
from pairscope.ports_bulk import BulkRequest
from pairscope.research.jobs import JobBoard
from pairscope.storage.memory_cache import MemoryBus

NOW_NS = 1_723_161_600 * 10**9


class SlowToEnd:
    """A back-fill that waits for ever at first, and takes a while to end when it is cancelled; the next ones do not."""

    made = 0
    over = asyncio.Event()
    symbols_done = done = total = weight_left = eta_s = 0

    def __init__(self, request: BulkRequest, *_parts: Any, **_given: Any) -> None:
        self.request, self.requests, self.stored = request, 1, 1
        self.number = SlowToEnd.made
        SlowToEnd.made += 1

    async def run(self) -> dict[str, int]:
        if self.number:
            await SlowToEnd.over.wait()
            return {"stored": 1}
        try:
            await asyncio.Event().wait()
        finally:
            while SlowToEnd.made < 2:
                await asyncio.sleep(0.005)
        raise AssertionError


async def test_a_back_fill_that_ends_late_leaves_the_next_one_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bulk_history, "BulkFill", SlowToEnd)
    monkeypatch.setattr(SlowToEnd, "made", 0)
    monkeypatch.setattr(SlowToEnd, "over", asyncio.Event())
    jobs = JobBoard(MemoryBus(), clock=lambda: NOW_NS)
    parts: Any = {"rest": None, "store": None, "records": None, "imported": None}
    bulk = BulkLoader(**parts, jobs=jobs, clock=lambda: NOW_NS, directory=tmp_path)
    first, second = (bulk.backfill(BulkRequest((name,), NOW_NS - 10**12)) for name in ("BTCUSDT", "ETHUSDT"))
    async with asyncio.timeout(60):
        while not SlowToEnd.made:
            await asyncio.sleep(0.005)
        jobs.cancel(first.id)
        while bulk.counters()["requests"] < 1:
            await asyncio.sleep(0.005)
        SlowToEnd.over.set()
        assert await jobs.wait(second.id) == {"stored": 1}
    assert bulk.counters()["requests"] == 2
    await jobs.close()
