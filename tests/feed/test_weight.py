"""The weight budget, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import pytest

from pairscope.feed.weight import Priority, WeightBudget

Simulate = Callable[[Any], Any]
MINUTE_S: Final = 60.0


def now_s() -> float:
    return asyncio.get_running_loop().time()


def budget(limit: int) -> WeightBudget:
    """Return a budget at the start of a minute of the loop's time."""
    begun = now_s()
    base = int(1_700_000_000 // 60 * 60 * 1e9)
    return WeightBudget(limit, clock=lambda: base + round((now_s() - begun) * 1e9))


def test_what_fits_goes_at_once(simulate: Simulate) -> None:
    async def main() -> None:
        b, begun = budget(100), now_s()
        for _ in range(5):
            await b.spend(20, Priority.REPAIR)
        assert now_s() == begun
        assert b.used == 100

    simulate(main())


def test_what_does_not_fit_waits_for_the_next_minute(simulate: Simulate) -> None:
    async def main() -> None:
        b, begun = budget(100), now_s()
        await b.spend(90, Priority.REPAIR)
        await b.spend(20, Priority.REPAIR)
        assert now_s() - begun >= MINUTE_S
        assert b.used == 20

    simulate(main())


def test_the_urgent_overtake_the_patient(simulate: Simulate) -> None:
    async def main() -> None:
        b = budget(100)
        await b.spend(100, Priority.URGENT)
        order: list[str] = []

        async def ask(name: str, priority: Priority) -> None:
            await b.spend(30, priority)
            order.append(name)

        await asyncio.gather(
            ask("history", Priority.HISTORY), ask("repair", Priority.REPAIR), ask("urgent", Priority.URGENT)
        )
        assert order == ["urgent", "repair", "history"]

    simulate(main())


def test_history_leaves_a_quarter_of_the_minute_to_repairs(simulate: Simulate) -> None:
    async def main() -> None:
        b, begun = budget(100), now_s()
        await b.spend(70, Priority.HISTORY)
        waiting = asyncio.create_task(b.spend(10, Priority.HISTORY))
        await b.spend(30, Priority.REPAIR)
        assert now_s() == begun
        assert not waiting.done()
        await waiting
        assert now_s() - begun >= MINUTE_S

    simulate(main())


def test_what_the_exchange_counts_is_believed_when_it_is_more_and_of_this_minute(simulate: Simulate) -> None:
    async def main() -> None:
        b = budget(100)
        await b.spend(10, Priority.REPAIR)
        b.report(5, window=b.window)
        assert b.used == 10
        b.report(95, window=b.window - 1)
        assert b.used == 10
        b.report(95, window=b.window)
        assert b.used == 95

    simulate(main())


def test_a_request_heavier_than_the_whole_budget_goes_alone(simulate: Simulate) -> None:
    async def main() -> None:
        b = budget(30)
        await b.spend(40, Priority.HISTORY)

    simulate(main())


def test_who_stops_waiting_leaves_the_queue(simulate: Simulate) -> None:
    async def main() -> None:
        b = budget(100)
        await b.spend(100, Priority.URGENT)
        waiting = asyncio.create_task(b.spend(50, Priority.URGENT))
        await asyncio.sleep(0)
        assert b.waiting == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert b.waiting == 0

    simulate(main())


def test_no_minute_ever_exceeds_its_limit(simulate: Simulate) -> None:
    async def main() -> None:
        b = budget(100)
        spent: dict[int, int] = {}

        async def ask(priority: Priority) -> None:
            await b.spend(15, priority)
            spent[b.window] = spent.get(b.window, 0) + 15

        await asyncio.gather(*(ask(Priority(k % 3)) for k in range(12)))
        assert sum(spent.values()) == 180
        assert max(spent.values()) <= 100

    simulate(main())
