"""What is to go to Redis and is sent beside the work of who hands it in: in order, together, again where it fails."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

import structlog

from pairscope.errors import CacheUnavailable

__all__ = ["RedisOutbox"]

_log = structlog.get_logger(__name__)
T = TypeVar("T")

AGAIN_S: Final = 0.3


class RedisOutbox(Generic[T]):
    """Items in the order in which they came, at most ``most`` of them and ``most_bytes`` bytes; older ones are dropped.

    ``send`` gets up to ``at_once`` of them and raises ``CacheUnavailable`` where Redis is away: then the same are sent
    again, so that who reads may see some twice where an answer was lost. ``dropped`` counts what had to go. The task
    begins with the first item; another error than that of a server that is away is logged, and the items are dropped.
    """

    def __init__(
        self,
        send: Callable[[Sequence[T]], Awaitable[Any]],
        *,
        most: int,
        most_bytes: int = 0,
        at_once: int = 500,
        size_of: Callable[[T], int] = lambda _: 0,
    ) -> None:
        self._send = send
        self._most = most
        self._most_bytes = most_bytes
        self._at_once = at_once
        self._size_of = size_of
        self._items: deque[T] = deque()
        self._bytes = 0
        self._in_hand = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0
        self.sent = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Hand an item in; never waits."""
        self._items.append(item)
        self._bytes += self._size_of(item)
        while len(self._items) > self._most or (self._most_bytes and self._bytes > self._most_bytes):
            self._drop_first()
        self._idle.clear()
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="redis outbox")

    async def close(self, within_s: float = 1.0) -> None:
        """Send what waits, for at most so long, and stop."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.dropped += len(self._items)
        self._items.clear()
        self._bytes = 0

    def _drop_first(self) -> None:
        self._bytes -= self._size_of(self._items.popleft())
        self._in_hand = max(self._in_hand - 1, 0)
        self.dropped += 1

    async def _run(self) -> None:
        while True:
            if not self._items:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            batch = [self._items[i] for i in range(min(len(self._items), self._at_once))]
            self._in_hand = len(batch)
            try:
                await self._send(batch)
            except CacheUnavailable:
                await asyncio.sleep(AGAIN_S)
                continue
            except Exception:  # noqa: BLE001 - one bad item must not end the sending of all that come behind it
                _log.exception("what was to go to Redis cannot be sent", items=len(batch))
                self.dropped += self._in_hand
            else:
                self.sent += len(batch)
            for _ in range(self._in_hand):  # what was dropped meanwhile for want of room is gone already
                self._bytes -= self._size_of(self._items.popleft())
