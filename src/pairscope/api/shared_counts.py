"""Counts that replicas share: calls a period, and tickets that were spent; each for itself while Redis is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any, Final, TypeVar

import structlog
from limits import RateLimitItem
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

__all__ = ["IN_PROCESS", "SharedCounts", "shared_storage"]

IN_PROCESS: Final = "async+memory://"
ANSWER_S: Final = 0.5
"""So long Redis is waited for; then this process counts by itself."""
AWAY_S: Final = 2.0
"""So long it does before Redis is asked again."""

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


def shared_storage(redis_url: str) -> str:
    """Return where counts are shared, in the words of ``limits``; in process where there is no Redis.

    >>> shared_storage("redis://cache:6379/1"), shared_storage("unix:///run/redis.sock"), shared_storage("")
    ('async+redis://cache:6379/1', 'async+redis+unix:///run/redis.sock', 'async+memory://')
    """
    if not redis_url:
        return IN_PROCESS
    return f"async+redis+{redis_url}" if redis_url.startswith("unix:") else f"async+{redis_url}"


class SharedCounts:
    """Counters in a storage of ``limits``: Redis, or this process, which also counts while Redis is away.

    Away means slower to notice, never open: what was counted elsewhere is not known then, and every limit holds in
    each process. A call costs one round trip.
    """

    def __init__(self, storage: str = IN_PROCESS) -> None:
        options: dict[str, Any] = {}
        if "redis" in storage.partition(":")[0]:
            options = {"implementation": "redispy", "wrap_exceptions": True, "key_prefix": "pairscope"}
            options |= {"socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S}
        own = storage_from_string(IN_PROCESS)
        self._own: Any = own
        self._shared: Any = storage_from_string(storage, **options) if options else own
        self._own_limiter = SlidingWindowCounterRateLimiter(self._own)
        self._limiter = SlidingWindowCounterRateLimiter(self._shared)
        self._away_until_s = 0.0
        self._alone_total = 0

    async def hit(self, item: RateLimitItem, who: str) -> float | None:
        """Count a call; None where it is within the limit, else when the period ends (seconds since the epoch)."""
        ends_s, _ = await self._ask(lambda: _hit(self._limiter, item, who), lambda: _hit(self._own_limiter, item, who))
        return ends_s

    async def first(self, key: str, for_s: int) -> bool:
        """Whether a key is seen for the first time; it is remembered for so many seconds."""
        seen, together = await self._ask(lambda: self._shared.incr(key, for_s), lambda: self._own.incr(key, for_s))
        if together and seen == 1 and self._alone_total:
            seen = await self._own.incr(key, for_s)  # it may have been seen here while Redis was away
        return bool(seen == 1)

    def counters(self) -> Mapping[str, float]:
        """Return how many calls were counted by this process alone, and whether that is so now."""
        return {"alone_total": self._alone_total, "alone": float(monotonic() < self._away_until_s)}

    async def _ask(self, shared: Callable[[], Awaitable[_T]], own: Callable[[], Awaitable[_T]]) -> tuple[_T, bool]:
        """Return an answer and whether it is that of all replicas."""
        if self._shared is self._own:
            return await own(), False
        if monotonic() >= self._away_until_s:
            try:
                async with asyncio.timeout(ANSWER_S):
                    return await shared(), True
            except (StorageError, TimeoutError, OSError) as error:
                if monotonic() >= self._away_until_s:
                    _log.warning("calls are counted by this process alone", error=type(error).__name__)
                self._away_until_s = monotonic() + AWAY_S
        self._alone_total += 1
        return await own(), False


async def _hit(limiter: SlidingWindowCounterRateLimiter, item: RateLimitItem, who: str) -> float | None:
    if await limiter.hit(item, who):
        return None
    return float((await limiter.get_window_stats(item, who)).reset_time)
