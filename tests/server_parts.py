"""Store, cache and bus of server mode for tests of the embedded ones, to be used from any event loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from pairscope.desk import shared_topic
from pairscope.errors import PairscopeError
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
    """One part for each event loop, closed as it ends: connections belong to the loop that made them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._parts: dict[int, tuple[Any, Any, Any]] = {}

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
            part, connections = self._make()
            ending = None if loop is None else _closed_with_the_loop(connections)
            if ending is not None:
                with suppress(StopIteration):
                    ending.__anext__().send(None)
            self._parts = {key: one for key, one in self._parts.items() if one[0] is None or not one[0].is_closed()}
            known = self._parts[id(loop)] = loop, part, ending
        return known[1]

    def _make(self) -> tuple[Any, Any]:
        """Return the part, and what has its connections."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._here())


async def _closed_with_the_loop(connections: Any) -> AsyncGenerator[None, None]:
    """Close connections when the loop ends generators that are under way, which is the last that it does."""
    try:
        yield
    finally:
        with suppress(PairscopeError):
            await connections.close()


class StoreOfLoops(_OfLoops):
    """A PostgreSQL database; ``prepare`` makes its tables."""

    async def prepare(self) -> None:
        """Make the tables."""
        await (await PostgresStore.open(self._url, pool=2)).close()

    def _make(self) -> tuple[PostgresStore, PostgresStore]:
        store = PostgresStore(PostgresPool(self._url, size=4), None, clock=time.time_ns)
        return store, store


class CacheOfLoops(_OfLoops):
    """A cache on Redis."""

    def _make(self) -> tuple[RedisCache, RedisClient]:
        return RedisCache(client := RedisClient(self._url)), client


class BusOfLoops(_OfLoops):
    """A bus over Redis."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._local = MemoryBus()

    def _make(self) -> tuple[RedisBus, RedisClient]:
        return RedisBus(self._local, client := RedisClient(self._url), shared_topic), client
