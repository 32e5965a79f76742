"""Every implementation of each port, opened and opened again on what it kept."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.memory_cache import MemoryBus, MemoryCache
from pairscope.storage.postgres_store import PostgresStore
from pairscope.storage.redis_bus import RedisBus
from pairscope.storage.redis_cache import RedisCache
from pairscope.storage.redis_client import RedisClient


class DuckDBHome:
    """Files in which stores are opened one after the other, each as a crash of the one before left them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lives = 0
        self._open: list[DuckDBStore] = []

    async def open(self) -> DuckDBStore:
        store = await DuckDBStore.open(self._folder / str(self._lives) / "store.duckdb")
        self._open.append(store)
        return store

    async def reopen(self, store: Any) -> DuckDBStore:
        before = self._folder / str(self._lives)
        self._lives += 1
        shutil.copytree(before, self._folder / str(self._lives))
        await store.close()
        return await self.open()

    async def close(self) -> None:
        for store in self._open:
            await store.close()


class PostgresHome:
    """A database that stores open one after the other, as processes do."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open: list[PostgresStore] = []

    async def open(self) -> PostgresStore:
        store = await PostgresStore.open(self._url, pool=4)
        self._open.append(store)
        return store

    async def reopen(self, store: Any) -> PostgresStore:
        await store.close()
        return await self.open()

    async def close(self) -> None:
        for store in self._open:
            await store.close()


HOMES = ["duckdb", "postgres"]
if os.environ.get("PAIRSCOPE_TEST_ALL_STORES") == "1":
    HOMES.append("older postgres")
CACHES = ("memory", "redis")
BUSES = ("memory", "redis")


@pytest.fixture(params=HOMES)
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """Where a store lives."""
    if request.param == "duckdb":
        place: Any = DuckDBHome(tmp_path)
    elif request.param == "postgres":
        place = PostgresHome(request.getfixturevalue("postgres_url"))
    else:
        place = PostgresHome(request.getfixturevalue("older_postgres_process").fresh())
    yield place
    await place.close()


@pytest.fixture
async def store(home: Any) -> Any:
    """A new store."""
    return await home.open()


class MemoryCacheHome:
    """A cache in process, whose time is a number."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        self.cache = MemoryCache(clock=lambda: self._now_s)

    async def elapse(self, seconds: float) -> None:
        self._now_s += seconds

    async def close(self) -> None:
        """Nothing is open."""


class RedisCacheHome:
    """A cache in Redis, in which time passes by taking it from what is left to each key."""

    def __init__(self, url: str) -> None:
        self._client = RedisClient(url)
        self.cache = RedisCache(self._client)

    async def elapse(self, seconds: float) -> None:
        async with asyncio.timeout(60):
            while self.cache.counters()["waiting"]:
                await asyncio.sleep(0.01)

        async def age(server: Any) -> None:
            for key in await server.keys("*"):
                await server.pexpire(key, int(await server.pttl(key) - seconds * 1000))

        await self._client.ask(age)

    async def close(self) -> None:
        await self.cache.close()
        await self._client.close()


@pytest.fixture(params=CACHES)
async def cache_home(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A cache and a way to let time pass."""
    if request.param == "memory":
        place: Any = MemoryCacheHome()
    else:
        place = RedisCacheHome(request.getfixturevalue("redis_server").url)
    yield place
    await place.close()


@pytest.fixture(params=BUSES)
async def make_bus(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param == "memory":
        yield MemoryBus
        return
    client = RedisClient(request.getfixturevalue("redis_server").url)
    made: list[RedisBus] = []

    def make(**keywords: Any) -> RedisBus:
        made.append(RedisBus(MemoryBus(**keywords), client, shared=lambda _: True))
        return made[-1]

    yield make
    for bus in made:
        await bus.close()
    await client.close()
