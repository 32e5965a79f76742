"""Over PostgreSQL and Redis the API answers as it does over the embedded store.

All tests of the API run there with ``PAIRSCOPE_TEST_MODE=server``; this is a look at each kind of answer.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer
from tests.server_parts import BusOfLoops, CacheOfLoops, StoreOfLoops

from .conftest import client_of
from .market import HOURS, START_MS, Market, open_market

END_MS = START_MS + HOURS * 3_600_000
ASKED = (
    "/api/symbols",
    "/api/price/PEPEUSDT",
    "/api/ohlc/BTCUSDT?timeframe=1m&limit=50",
    "/api/ohlc/BTCUSDT?timeframe=15m&limit=5&fill=true",
    f"/api/ohlc/币安人生USDT?timeframe=1s&start={START_MS}&end={START_MS + 600_000}",
    "/api/ticks/PEPEUSDT?limit=20",
    f"/api/ticks/BTCUSDT?start={END_MS - 60_000}&end={END_MS}&limit=100",
    "/api/gaps",
    "/api/volume/BTCUSDT?limit=10",
    "/api/indicators/BTCUSDT?timeframe=1m&limit=20",
    "/api/watchlist",
    "/api/alerts",
    "/api/price/NOSUCHUSDT",
)


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory, postgres_process: PostgresServer) -> Iterator[Market]:
    """The same market, played into a database."""
    postgres_process.start()
    postgres_process.sql("CREATE DATABASE api_mode")
    store = StoreOfLoops(postgres_process.url("api_mode"))
    market = asyncio.run(open_market(tmp_path_factory.mktemp("replica"), store))
    yield market
    asyncio.run(store.close())


async def test_each_kind_of_answer_is_the_same(market: Market, replica: Market, redis_server: RedisServer) -> None:
    other = dataclasses.replace(replica, cache=CacheOfLoops(redis_server.url), bus=BusOfLoops(redis_server.url))
    async with client_of(market) as embedded, client_of(other) as server:
        for path in ASKED:
            ours, theirs = await embedded.get(path), await server.get(path)
            assert ours.status_code == theirs.status_code, path
            assert _without_request(ours.json()) == _without_request(theirs.json()), path
            assert ours.headers.get("x-next-cursor") == theirs.headers.get("x-next-cursor"), path


def _without_request(document: Any) -> Any:
    """Leave out of a problem which request it was."""
    return {k: v for k, v in document.items() if k != "instance"} if isinstance(document, dict) else document
