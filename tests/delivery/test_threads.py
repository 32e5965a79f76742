"""Calls that block: their results and errors come back, one that hangs is left behind, and there is a bound."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pairscope.delivery.threads import Threads


async def test_a_call_s_result_and_its_error_come_back() -> None:
    threads = Threads()
    assert await threads.call(lambda: 7) == 7

    def fail() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        await threads.call(fail)


async def test_a_call_that_hangs_is_left_behind_and_too_many_of_them_are_refused() -> None:
    threads = Threads(most=2)
    gate, left = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        gate.wait(60)
        left.release()

    for _ in range(2):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(threads.call(hang), 0.01)
    with pytest.raises(OSError, match="2 earlier calls have not come back yet"):
        await threads.call(lambda: 1)
    gate.set()
    for _ in range(2):
        assert await asyncio.to_thread(left.acquire, timeout=60)
    while True:  # the room that a call leaves is given back just after it has ended
        try:
            assert await threads.call(lambda: 1) == 1
            return
        except OSError:
            await asyncio.sleep(0.001)
