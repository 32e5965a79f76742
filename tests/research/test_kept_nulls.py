"""Nulls that are kept: made once a day, given way to the live screen, the same after a restart, let go of at last."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairscope.errors import JobCancelled, StoreUnavailable
from pairscope.research.closes import closes_of
from pairscope.research.jobs import JobBoard
from pairscope.research.kept_nulls import COLLECTION, DAY_MS, KeptNulls
from pairscope.research.moving_screen import screen_closes
from pairscope.research.standing import Standing
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.memory_cache import MemoryBus

Walks = Callable[..., tuple[np.ndarray, list[str]]]
MINUTE = 60_000_000_000
PATIENCE_S = 60.0
DAY = 20_000


@pytest.fixture
def standing(walks: Walks) -> Standing:
    """A screen as of the first minute of a UTC day."""
    return of_day(walks, DAY)


def of_day(walks: Walks, day: int, symbols: int = 5) -> Standing:
    prices, names = walks(120, symbols, 3)
    times = (np.arange(120) - 119) * MINUTE + day * DAY_MS * 1_000_000
    closes = closes_of(names, [times] * symbols, list(prices.T))
    return dataclasses.replace(screen_closes(closes, "1m", 120, number=1), continuous=True)


class Way(threading.Event):
    """Free or not; ``asked`` once somebody has found it blocked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        free = super().wait(timeout)
        if not free:
            self.asked.set()
        return free


class House:
    def __init__(self, store: DuckDBStore) -> None:
        self.store = store
        self.jobs = JobBoard(MemoryBus(), clock=lambda: 0)
        self.free = Way()
        self.free.set()
        self.nulls = self.over(store)

    def over(self, records: Any) -> KeptNulls:
        return KeptNulls(self.jobs, records, daily=2, free=self.free)

    async def make(self, standing: Standing, surrogates: int = 2) -> None:
        async def this() -> Standing:
            return standing

        await self.nulls.made(self.nulls.ask("1m", 120, surrogates, this).id)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = await DuckDBStore.open(tmp_path / "records.duckdb", threads=1)
    house = House(store)
    yield house
    house.nulls.close()
    await house.jobs.close()
    await store.close()


async def test_one_a_day_is_due_and_another_where_the_market_has_grown(house: House, walks: Walks) -> None:
    today = of_day(walks, DAY)
    assert house.nulls.due(today)
    await house.make(today)
    assert not house.nulls.due(today)
    assert house.nulls.due(of_day(walks, DAY + 1))
    grown = of_day(walks, DAY, symbols=6)
    assert not house.nulls.due(grown)
    later = dataclasses.replace(
        grown, closes=dataclasses.replace(grown.closes, times_ns=grown.closes.times_ns + 20 * MINUTE)
    )
    assert house.nulls.due(later)


async def test_with_none_a_day_none_is_due(house: House, standing: Standing) -> None:
    house.nulls.daily = 0
    assert not house.nulls.due(standing)


async def test_a_null_is_enough_for_a_day_and_for_as_many_surrogates(house: House, standing: Standing) -> None:
    await house.make(standing, 3)
    now_ms = standing.as_of_ms
    assert house.nulls.enough("1m", 120, 3, now_ms)
    assert not house.nulls.enough("1m", 120, 4, now_ms)
    assert not house.nulls.enough("1m", 120, 3, now_ms + DAY_MS)
    assert not house.nulls.enough("5m", 120, 3, now_ms)


async def test_a_null_is_kept_over_a_restart_and_what_cannot_be_read_is_passed_over(
    house: House, standing: Standing
) -> None:
    await house.make(standing)
    made = house.nulls.of("1m", 120)
    assert made is not None
    await house.store.put(COLLECTION, "5m:99", b"not json")
    again = house.over(house.store)
    await again.restore()
    kept = again.of("1m", 120)
    assert kept is not None and kept.key == made.key
    assert (again.kept, again.of("5m", 99)) == (1, None)
    assert not again.due(standing)
    again.close()


async def test_a_live_screen_goes_before_it(house: House, standing: Standing) -> None:
    house.free.clear()
    making = asyncio.create_task(house.make(standing))
    assert await asyncio.to_thread(house.free.asked.wait, PATIENCE_S)
    [job] = house.jobs.views()
    assert (job.status, job.done) == ("running", 0)
    house.free.set()
    await making
    assert house.nulls.of("1m", 120) is not None


async def test_a_cancelled_null_ends_even_while_it_gives_way_and_is_not_tried_again_that_day(
    house: House, standing: Standing
) -> None:
    house.free.clear()
    making = asyncio.create_task(house.make(standing))
    assert await asyncio.to_thread(house.free.asked.wait, PATIENCE_S)
    house.jobs.cancel(house.jobs.views()[0].id)
    with pytest.raises(JobCancelled):
        await making
    house.free.set()
    assert house.nulls.of("1m", 120) is None
    assert not house.nulls.due(standing)


async def test_a_store_that_refuses_costs_the_keeping_and_no_more(house: House, standing: Standing) -> None:
    class Refusing:
        async def put(self, *_: Any, **__: Any) -> bool:
            raise StoreUnavailable("not now")

    house.nulls = house.over(Refusing())
    await house.make(standing)
    assert house.nulls.of("1m", 120) is not None
    assert house.nulls.refused == 1
