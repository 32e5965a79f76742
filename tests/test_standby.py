"""A standby remembers what it would have passed on, for so long and so much, and takes over with it in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pairscope.market.continuity import Continuity, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.standby import CacheWhileActive, Standby
from pairscope.storage.memory_cache import MemoryCache
from pairscope.storage.parcel import Parcel

SYMBOLS = Symbols(["BTCUSDT"])


class Ends:
    """The writer and the stream behind a standby: what came to them, in order."""

    def __init__(self, **options: Any) -> None:
        self.now_s = 0.0
        self.written: list[int] = []
        self.settled: list[Gap] = []
        self.published: list[int] = []
        self.room = asyncio.Event()
        self.room.set()
        self.standby = Standby(self, self._publish, clock=lambda: self.now_s, **options)

    async def put(self, batch: TickBatch, *_: Any, **__: Any) -> None:
        await self.room.wait()
        self.written += batch.trade_id.tolist()

    async def settle(self, gap: Gap) -> None:
        self.settled.append(gap)

    async def _publish(self, parcel: Parcel) -> None:
        self.published += parcel.batch.trade_id.tolist()


@pytest.fixture
def batch(ticks_of: Callable[..., TickBatch], noon_ns: int) -> Callable[..., TickBatch]:
    def make(*ids: int) -> TickBatch:
        rows = [("BTCUSDT", i, noon_ns + i * 1_000_000, "1", "1", False) for i in ids]
        return ticks_of(rows, symbols=SYMBOLS, watermark_ns=noon_ns + max(ids) * 1_000_000)

    return make


async def test_who_stands_by_passes_nothing_on_and_takes_over_with_all_of_it_in_order(
    batch: Callable[..., TickBatch],
) -> None:
    ends = Ends()
    for i in range(1, 6):
        await ends.standby.put(batch(2 * i - 1, 2 * i))
    assert (ends.written, ends.published) == ([], [])
    assert await ends.standby.take_over() == 10
    await ends.standby.put(batch(11))
    assert ends.written == ends.published == list(range(1, 12))


async def test_what_the_store_holds_is_left_out_and_what_it_lacks_is_not(batch: Callable[..., TickBatch]) -> None:
    ends, held = Ends(), Continuity()
    held.admit(batch(1, 2, 3, 6))
    for i in range(1, 10):
        await ends.standby.put(batch(i))
    assert await ends.standby.take_over(held) == 5
    assert ends.written == ends.published == [4, 5, 7, 8, 9]


async def test_what_comes_while_it_takes_over_comes_behind(batch: Callable[..., TickBatch]) -> None:
    ends = Ends()
    for i in range(1, 4):
        await ends.standby.put(batch(i))
    ends.room.clear()
    taking = asyncio.create_task(ends.standby.take_over())
    coming = asyncio.create_task(ends.standby.put(batch(4)))
    await asyncio.sleep(0)
    ends.room.set()
    await asyncio.gather(taking, coming)
    assert ends.written == [1, 2, 3, 4]


async def test_it_forgets_what_is_old_and_what_is_too_much_and_counts_the_latter(
    batch: Callable[..., TickBatch],
) -> None:
    ends = Ends(keep_s=60.0, max_rows=5)
    await ends.standby.put(batch(1, 2))
    ends.now_s = 61.0
    await ends.standby.put(batch(3, 4, 5))
    assert ends.standby.counters()["forgotten_rows"] == 0
    await ends.standby.put(batch(6, 7, 8))
    assert ends.standby.counters()["forgotten_rows"] == 3
    assert ends.standby.counters()["kept_rows"] == 3
    await ends.standby.take_over()
    assert ends.written == [6, 7, 8]


async def test_who_lost_the_lock_stands_by_again_and_remembers_from_there_on(batch: Callable[..., TickBatch]) -> None:
    ends = Ends()
    await ends.standby.take_over()
    await ends.standby.put(batch(1))
    await ends.standby.stand_by()
    await ends.standby.put(batch(2))
    assert ends.written == [1]
    await ends.standby.take_over()
    assert ends.written == ends.published == [1, 2]


async def test_verdicts_on_gaps_wait_with_the_ticks_that_they_are_behind(batch: Callable[..., TickBatch]) -> None:
    ends, verdict = Ends(), Gap("BTCUSDT", 2, 3, "unrepairable", 2)
    await ends.standby.put(batch(1, 4))
    await ends.standby.settle(verdict, TickBatch.empty(SYMBOLS, 0))
    assert ends.settled == []
    await ends.standby.take_over()
    assert (ends.written, ends.settled) == ([1, 4], [verdict])


async def test_the_cache_hears_only_of_the_active_one() -> None:
    cache, active = MemoryCache(), False
    beside = CacheWhileActive(cache, lambda: active)
    await beside.put_many({"price:BTCUSDT": b"1"}, 60.0)
    assert await beside.get("price:BTCUSDT") is None
    active = True
    await beside.put_many({"price:BTCUSDT": b"2"}, 60.0)
    assert await beside.get("price:BTCUSDT") == b"2"
