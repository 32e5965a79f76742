"""Tasks that are never lost sight of: what no retry can help is kept, a bug is logged, counted and started again."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

from pairscope.errors import PairscopeError
from pairscope.feed.reconnect import backoff

__all__ = ["TaskCrew"]

_log = structlog.get_logger(__name__)

MAX_CRASHES: Final = 5
"""How often one task may meet a bug before the whole crew gives up."""
CANCEL_AGAIN_S: Final = 1.0


class TaskCrew:
    """Runs jobs that should run for ever. ``failure`` is what ended one of them for good, ``crashes`` counts bugs."""

    def __init__(self, *, sleep: Callable[[float], Awaitable[object]], rng: random.Random) -> None:
        self.failure: BaseException | None = None
        self.crashes: Counter[str] = Counter()
        self._sleep = sleep
        self._rng = rng
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, jobs: Iterable[tuple[str, Callable[[], Awaitable[None]]]]) -> None:
        """Start every job; ``RuntimeError`` when that was done before."""
        if self._tasks:
            raise RuntimeError("started before")
        self._tasks = [asyncio.create_task(self._supervise(name, job), name=name) for name, job in jobs]

    async def stop(self) -> None:
        """Cancel every job and wait for its end; one that lost the request on its way is asked again."""
        left = set(self._tasks)
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)

    async def _supervise(self, name: str, job: Callable[[], Awaitable[None]]) -> None:
        delays = backoff(first_s=0.2, cap_s=5.0, rng=self._rng)
        while True:
            try:
                await job()
                return
            except Exception as error:  # noqa: BLE001 - a bug in one task must neither pass unseen nor stop the others
                cause = _cause(error)
                if isinstance(cause, PairscopeError):
                    self.failure = cause
                    return
                self.crashes[name] += 1
                _log.error("feed_task_crashed", task=name, times=self.crashes[name], exc_info=error)
                if self.crashes[name] > MAX_CRASHES:
                    self.failure = cause
                    return
            await self._sleep(next(delays))


def _cause(error: BaseException) -> BaseException:
    """Return the one error that a group of tasks failed with."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
