"""Heavy answers: beside the event loop, bounded, the same one once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import httpx2
import pytest

from pairscope.api.workers import Workers
from pairscope.errors import Busy, InputError

from .market import Market


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    pool = Workers(threads=1, waiting=1, kept=2)
    yield pool
    pool.close()


async def test_more_than_may_wait_is_told_to_come_again_and_there_is_room_afterwards(workers: Workers) -> None:
    gate = threading.Event()
    under_way = [asyncio.create_task(workers.run(gate.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    assert workers.counters()["depth"] == 2
    with pytest.raises(Busy):
        await workers.run(gate.wait)
    gate.set()
    assert await asyncio.gather(*under_way) == [True, True]
    assert await workers.run(lambda: 5) == 5
    assert workers.counters()["depth"] == 0


async def test_one_who_hangs_up_still_counts_until_the_work_is_done(workers: Workers) -> None:
    gate = threading.Event()
    task = asyncio.create_task(workers.run(gate.wait))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert workers.counters()["depth"] == 1
    gate.set()
    await workers.run(lambda: None)
    assert workers.counters()["depth"] == 0


async def test_the_same_key_is_computed_once_and_the_oldest_is_forgotten(workers: Workers) -> None:
    made: list[int] = []

    def work(n: int) -> int:
        made.append(n)
        return n

    assert await asyncio.gather(workers.once("a", lambda: work(1)), workers.once("a", lambda: work(2))) == [1, 1]
    assert await workers.once("a", lambda: work(3)) == 1
    for key in "bc":
        await workers.once(key, lambda: work(0))
    assert not workers.has("a")
    assert await workers.once("a", lambda: work(4)) == 4
    assert made == [1, 0, 0, 4]


async def test_what_failed_is_not_kept(workers: Workers) -> None:
    def fail() -> int:
        raise InputError("no")

    with pytest.raises(InputError):
        await workers.once("a", fail)
    assert await workers.once("a", lambda: 7) == 7


async def test_a_caller_is_told_when_to_ask_again(
    market: Market, api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Busy("18 heavy answers are being computed already")

    monkeypatch.setattr(Workers, "_submit", full)
    answer = await api.get("/api/analytics/symbol", params={"symbol": "BTCUSDT"})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["type"].endswith("busy")
