"""The exchange's terms over REST: funding rates page by page, and the steps of quantities."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from pairscope.feed.rest import ExchangeRest

NOW_NS = 1_750_000_000_000_000_000
EIGHT_HOURS_MS = 8 * 3_600_000
FIRST_MS = 1_600_000_000_000 - 1_600_000_000_000 % EIGHT_HOURS_MS
EVERY = [FIRST_MS + n * EIGHT_HOURS_MS for n in range(2500)]
INFO = {
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "261.10"},
                {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001"},
                {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.002", "minQty": "0.001"},
                {"filterType": "SOMETHING_NEW", "limit": 200},
            ],
        },
        {"symbol": "PEPEUSDT", "filters": [{"filterType": "LOT_SIZE", "stepSize": "1"}]},
        {"symbol": "NEWUSDT", "filters": [{"filterType": "LOT_SIZE", "stepSize": "0"}]},
        {"symbol": "OLDUSDT"},
    ]
}


class Exchange:
    """Answers as the exchange documents it: at most ``limit`` rows of [startTime, endTime], the oldest first."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/fapi/v1/exchangeInfo":
            return httpx2.Response(200, json=INFO)
        assert request.url.path == "/fapi/v1/fundingRate"
        query = dict(request.url.params)
        self.asked.append(query)
        start, end, limit = (int(query[name]) for name in ("startTime", "endTime", "limit"))
        times = [time for time in EVERY if start <= time <= end][: min(limit, 1000)]
        rows = [
            {"symbol": query["symbol"], "fundingTime": time, "fundingRate": "0.00010000", "markPrice": "34287.54"}
            for time in times
        ]
        return httpx2.Response(200, json=rows)


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
async def rest(exchange: Exchange) -> AsyncIterator[ExchangeRest]:
    made = ExchangeRest("http://exchange", clock=lambda: NOW_NS, transport=httpx2.MockTransport(exchange))
    yield made
    await made.close()


async def times_of(rest: ExchangeRest, start_ms: int, end_ms: int) -> list[int]:
    rows = await rest.funding_rates("BTCUSDT", start_ms * 1_000_000, end_ms * 1_000_000)
    assert {row.funding_rate for row in rows} <= {0.0001}
    return [row.funding_time for row in rows]


async def test_every_rate_of_a_long_range_comes_once_however_many_pages_it_takes(
    rest: ExchangeRest, exchange: Exchange
) -> None:
    assert await times_of(rest, EVERY[0], EVERY[-1] + 1) == EVERY
    assert [query["limit"] for query in exchange.asked] == ["1000"] * 3


async def test_the_range_is_half_open(rest: ExchangeRest) -> None:
    assert await times_of(rest, EVERY[10], EVERY[12]) == EVERY[10:12]
    assert await times_of(rest, EVERY[10] + 1, EVERY[12] + 1) == EVERY[11:13]
    assert await times_of(rest, EVERY[10], EVERY[10]) == []


async def test_a_page_that_is_just_full_is_followed_by_one_more_question(
    rest: ExchangeRest, exchange: Exchange
) -> None:
    assert await times_of(rest, EVERY[0], EVERY[1000]) == EVERY[:1000]
    assert len(exchange.asked) == 2


async def test_the_step_is_that_of_market_orders_where_the_exchange_says_one(rest: ExchangeRest) -> None:
    steps: dict[str, Any] = {one.symbol: one.step for one in await rest.exchange_info()}
    assert steps == {"BTCUSDT": 0.002, "PEPEUSDT": 1.0, "NEWUSDT": None, "OLDUSDT": None}
