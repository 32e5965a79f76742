"""The weight budget, in a time that runs six hundred times faster."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import pytest

from pairscope.feed.weight import Priority, WeightBudget

FASTER: Final = 600
MINUTE_S: Final = 60 / FASTER


def budget(limit: int, *, second_of_minute: float = 0.0) -> tuple[WeightBudget, list[int]]:
    """Return a budget whose minute lasts a tenth of a second, and its clock's zero."""
    begun = time.monotonic_ns()
    base = int((1_700_000_000 // 60 * 60 + second_of_minute) * 1e9)

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / FASTER)

    return WeightBudget(limit, clock=lambda: base + (time.monotonic_ns() - begun) * FASTER, sleep=sleep), [begun]


async def test_what_fits_goes_at_once() -> None:
    b, _ = budget(100)
    for _ in range(5):
        await asyncio.wait_for(b.spend(20, Priority.REPAIR), 0.03)
    assert b.used == 100


async def test_what_does_not_fit_waits_for_the_next_minute() -> None:
    b, begun = budget(100)
    await b.spend(90, Priority.REPAIR)
    await b.spend(20, Priority.REPAIR)
    assert (time.monotonic_ns() - begun[0]) / 1e9 >= MINUTE_S
    assert b.used == 20


async def test_the_urgent_overtake_the_patient() -> None:
    b, _ = budget(100)
    await b.spend(100, Priority.URGENT)
    order: list[str] = []

    async def ask(name: str, priority: Priority) -> None:
        await b.spend(30, priority)
        order.append(name)

    await asyncio.gather(
        ask("history", Priority.HISTORY), ask("repair", Priority.REPAIR), ask("urgent", Priority.URGENT)
    )
    assert order == ["urgent", "repair", "history"]


async def test_history_leaves_a_quarter_of_the_minute_to_repairs() -> None:
    b, begun = budget(100)
    await b.spend(70, Priority.HISTORY)
    waiting = asyncio.create_task(b.spend(10, Priority.HISTORY))
    await asyncio.wait_for(b.spend(30, Priority.REPAIR), 0.05)
    assert not waiting.done()
    await waiting
    assert (time.monotonic_ns() - begun[0]) / 1e9 >= MINUTE_S


async def test_what_the_exchange_counts_is_believed_when_it_is_more_and_of_this_minute() -> None:
    b, _ = budget(100)
    await b.spend(10, Priority.REPAIR)
    b.report(5, window=b.window)
    assert b.used == 10
    b.report(95, window=b.window - 1)
    assert b.used == 10
    b.report(95, window=b.window)
    assert b.used == 95


async def test_a_request_heavier_than_the_whole_budget_goes_alone() -> None:
    b, _ = budget(30)
    await asyncio.wait_for(b.spend(40, Priority.HISTORY), 0.05)


async def test_who_stops_waiting_leaves_the_queue() -> None:
    b, _ = budget(100)
    await b.spend(100, Priority.URGENT)
    waiting = asyncio.create_task(b.spend(50, Priority.URGENT))
    await asyncio.sleep(0)
    assert b.waiting == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert b.waiting == 0


async def test_no_minute_ever_exceeds_its_limit() -> None:
    b, _ = budget(100)
    spent: dict[int, int] = {}

    async def ask(priority: Priority) -> None:
        await b.spend(15, priority)
        spent[b.window] = spent.get(b.window, 0) + 15

    await asyncio.gather(*(ask(Priority(k % 3)) for k in range(24)))
    assert sum(spent.values()) == 360
    assert max(spent.values()) <= 100
