"""The API over a real store and a real engine, and clients of it; over PostgreSQL and Redis on request.

``PAIRSCOPE_TEST_MODE=server pytest tests/api`` runs every test of the API as a replica of server mode answers.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.server_parts import SERVER_MODE, BusOfLoops, CacheOfLoops, StoreOfLoops

from pairscope.api.app import ApiOptions, create_app
from pairscope.storage.memory_cache import MemoryBus, MemoryCache

from .market import Market, open_market

Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def new_store(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """What makes an empty store: None for an embedded one, a database of its own in server mode."""
    if not SERVER_MODE:
        return lambda: None
    server = request.getfixturevalue("postgres_process")
    numbers = itertools.count(1)

    def make() -> StoreOfLoops:
        server.start()
        server.sql(f"CREATE DATABASE {(name := f'api_{next(numbers)}')}")
        return StoreOfLoops(server.url(name))

    return make


@pytest.fixture(scope="session")
def new_cache_and_bus(request: pytest.FixtureRequest) -> Callable[[], tuple[Any, Any]]:
    """What makes a cache and a bus, empty both."""
    if not SERVER_MODE:
        return lambda: (MemoryCache(), MemoryBus())
    server = request.getfixturevalue("redis_process")

    def make() -> tuple[Any, Any]:
        server.forget()
        return CacheOfLoops(server.url), BusOfLoops(server.url)

    return make


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[], Any]) -> Iterator[Market]:
    """A market of three hours; nobody may change its store or engine."""
    market = asyncio.run(open_market(tmp_path_factory.mktemp("market"), new_store()))
    yield market
    asyncio.run(market.store.close())


@pytest.fixture
def market(played: Market, new_cache_and_bus: Callable[[], tuple[Any, Any]]) -> Market:
    """The same market with a cache, a bus, checks and counters of its own."""
    cache, bus = new_cache_and_bus()
    return dataclasses.replace(
        played,
        cache=cache,
        bus=bus,
        checks={name: dict(check) for name, check in played.checks.items()},
        counters=dict(played.counters),
    )


@pytest.fixture
async def fresh_market(tmp_path: Path, new_store: Callable[[], Any]) -> AsyncIterator[Market]:
    """A market of one's own, to change."""
    market = await open_market(tmp_path, new_store())
    yield market
    await market.store.close()


@pytest.fixture
def options() -> ApiOptions:
    return ApiOptions()


@pytest.fixture
async def api(market: Market, options: ApiOptions) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application in this process; what it does not catch is raised here."""
    async with client_of(market, options) as client:
        yield client


def client_of(market: Market, options: ApiOptions | None = None, **extra: Any) -> httpx2.AsyncClient:
    app = create_app(market.services(), options=options)
    transport = httpx2.ASGITransport(app, raise_app_exceptions=extra.pop("strict", True))
    return httpx2.AsyncClient(transport=transport, base_url="http://api", **extra)


def exact(text: str) -> Any:
    """Read JSON with every number as the decimal that is written; fails on one with an exponent."""
    without_strings = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    assert not re.search(r"\d[eE]", without_strings), text
    assert "NaN" not in without_strings and "Infinity" not in without_strings
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)
