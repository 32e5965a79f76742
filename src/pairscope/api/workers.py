"""Where heavy answers are computed: few threads beside the event loop, a bounded queue, what was just asked kept."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from pairscope.errors import Busy

__all__ = ["Workers"]

T = TypeVar("T")

_THREADS: Final = 2
"""One where there are but two cores: the event loop keeps the other."""
_WAITING: Final = 16
_KEPT: Final = 32


class Workers:
    """Few threads and at most sixteen waiting; who comes beyond that is told to come again (``Busy``, 503).

    ``once`` computes what was asked with the same key only once: for who asks meanwhile, and for a while afterwards.
    A key holds everything that the answer depends on, so what is kept is never old.
    """

    def __init__(self, *, threads: int | None = None, waiting: int = _WAITING, kept: int = _KEPT) -> None:
        if threads is None:
            threads = max(1, min(_THREADS, (os.cpu_count() or 1) - 1))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="analytics")
        self._most = threads + waiting
        self._kept = kept
        self._under_way = 0
        self._made: OrderedDict[Hashable, asyncio.Future[Any]] = OrderedDict()

    async def run(self, work: Callable[[], T]) -> T:
        """Compute something in a thread; ``Busy`` where too many wait already."""
        return await asyncio.shield(self._submit(work))

    async def once(self, key: Hashable, work: Callable[[], T]) -> T:
        """Compute something in a thread, unless that is under way or was done just now; errors are not kept."""
        made = self._made.get(key)
        if made is None or made.get_loop() is not asyncio.get_running_loop():
            made = self._submit(work)
            self._made[key] = made
            made.add_done_callback(lambda done: self._settle(key, done))
            while len(self._made) > self._kept:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(key)
        # Who hangs up leaves alone: others may wait for the same.
        answer: T = await asyncio.shield(made)
        return answer

    def has(self, key: Hashable) -> bool:
        """Whether what was asked with this key is under way or kept."""
        return key in self._made

    def counters(self) -> dict[str, int]:
        """Return how many are computed or wait now, how many may, and how many answers are kept."""
        return {"depth": self._under_way, "capacity": self._most, "kept": len(self._made)}

    def close(self) -> None:
        """Take nothing more, drop what waits, and let what runs end by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._made.clear()

    def _submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        if self._under_way >= self._most:
            raise Busy(f"{self._under_way} heavy answers are being computed already")
        self._under_way += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: asyncio.Future[Any]) -> None:
        self._under_way -= 1

    def _settle(self, key: Hashable, done: asyncio.Future[Any]) -> None:
        """Forget what failed; looking at the error also says that somebody has seen it."""
        if (done.cancelled() or done.exception() is not None) and self._made.get(key) is done:
            del self._made[key]
