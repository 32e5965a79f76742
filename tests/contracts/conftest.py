"""Every implementation of each port, opened and opened again on what it kept."""

from __future__ import annotations

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
CACHES = {"memory": MemoryCache}
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


@pytest.fixture(params=sorted(CACHES))
def make_cache(request: pytest.FixtureRequest) -> Any:
    return CACHES[request.param]


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
