"""Tasks that must not die unseen."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import structlog

from pairscope.errors import ConnectionLost, SubscriptionRefused
from pairscope.feed.supervision import TaskCrew

Simulate = Callable[[Awaitable[None]], None]


def crew() -> TaskCrew:
    return TaskCrew(sleep=asyncio.sleep, rng=random.Random(1))


def test_a_bug_is_logged_counted_and_the_job_started_again(simulate: Simulate) -> None:
    async def main() -> None:
        starts: list[int] = []

        async def job() -> None:
            starts.append(1)
            if len(starts) < 4:
                raise KeyError("a bug")
            await asyncio.sleep(1000)

        c = crew()
        c.start([("job", job)])
        await asyncio.sleep(60)
        assert (c.crashes["job"], len(starts), c.failure) == (3, 4, None)
        await c.stop()

    with structlog.testing.capture_logs() as logs:
        simulate(main())
    assert [(entry["task"], entry["times"]) for entry in logs] == [("job", 1), ("job", 2), ("job", 3)]


def test_a_job_that_keeps_crashing_ends_the_crew_with_its_error(simulate: Simulate) -> None:
    async def main() -> None:
        async def job() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(broken())

        async def broken() -> None:
            raise KeyError("a bug")

        c = crew()
        c.start([("job", job)])
        await asyncio.sleep(60)
        assert isinstance(c.failure, KeyError)
        assert c.crashes["job"] == 6
        await c.stop()

    with structlog.testing.capture_logs():
        simulate(main())


@pytest.mark.parametrize("error", [SubscriptionRefused("no"), ConnectionLost("for good")])
def test_what_was_raised_on_purpose_is_kept_at_once(simulate: Simulate, error: Exception) -> None:
    async def main() -> None:
        async def job() -> None:
            raise error

        c = crew()
        c.start([("job", job)])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert c.failure is error
        assert not c.crashes
        await c.stop()

    simulate(main())


def test_stopping_cancels_all_and_starting_twice_is_an_error(simulate: Simulate) -> None:
    async def main() -> None:
        c = crew()
        c.start([("a", asyncio.Event().wait), ("b", asyncio.Event().wait)])  # type: ignore[list-item]
        with pytest.raises(RuntimeError):
            c.start([])
        await c.stop()
        assert len(asyncio.all_tasks()) == 1

    simulate(main())


def test_a_job_that_swallows_a_cancellation_is_asked_again(simulate: Simulate) -> None:
    async def main() -> None:
        async def deaf() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)
            await asyncio.sleep(1000)

        c = crew()
        c.start([("deaf", deaf)])
        await asyncio.sleep(1)
        await c.stop()
        assert len(asyncio.all_tasks()) == 1

    simulate(main())
