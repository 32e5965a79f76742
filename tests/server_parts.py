"""Store, cache and bus of server mode for tests of the embedded ones, to be used from any event loop."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from pairscope.desk import shared_topic
from pairscope.storage.memory_cache import MemoryBus
from pairscope.storage.postgres_pool import PostgresPool
from pairscope.storage.postgres_store import PostgresStore
from pairscope.storage.redis_bus import RedisBus
from pairscope.storage.redis_cache import RedisCache
from pairscope.storage.redis_client import RedisClient

__all__ = ["SERVER_MODE", "BusOfLoops", "CacheOfLoops", "StoreOfLoops"]

SERVER_MODE = os.environ.get("PAIRSCOPE_TEST_MODE", "embedded") == "server"
"""Whether the tests of the API run over PostgreSQL and Redis."""


class _OfLoops:
    """One part for each event loop: connections belong to the loop that made them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._parts: dict[int, tuple[Any, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._here(), name)

    def _here(self) -> Any:
        try:
            loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        known = self._parts.get(id(loop))
        if known is None or known[0] is not loop:
            known = self._parts[id(loop)] = loop, self._make()
        return known[1]

    def _make(self) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._here())


class StoreOfLoops(_OfLoops):
    """A PostgreSQL database; ``prepare`` makes its tables."""

    async def prepare(self) -> None:
        """Make the tables."""
        await (await PostgresStore.open(self._url, pool=2)).close()

    def _make(self) -> PostgresStore:
        return PostgresStore(PostgresPool(self._url, size=4), None, clock=time.time_ns)


class CacheOfLoops(_OfLoops):
    """A cache on Redis."""

    def _make(self) -> RedisCache:
        return RedisCache(RedisClient(self._url))


class BusOfLoops(_OfLoops):
    """A bus over Redis."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._local = MemoryBus()

    def _make(self) -> RedisBus:
        return RedisBus(self._local, RedisClient(self._url), shared_topic)
