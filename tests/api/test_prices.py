"""Prices, bars and ticks say what was sent, to the last decimal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx2
import pytest

from pairscope.market.bars import TIMEFRAMES
from pairscope.schemas import encode_price

from .conftest import client_of, exact
from .market import MS, START_MS, Market, bars_by_hand

PEPE = "PEPEUSDT"


async def test_every_tick_comes_back_as_the_decimals_that_were_sent(api: httpx2.AsyncClient, market: Market) -> None:
    for symbol, sent in market.sent.items():
        found: list[dict[str, Any]] = []
        cursor = {}
        while True:
            answer = await api.get(f"/api/ticks/{symbol}", params={"start": START_MS, "limit": 997, **cursor})
            page = exact(answer.text)
            found += page["ticks"]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        stored = [t for t in sent if t.timestamp < market.now_ns // MS - 5_000]
        assert found == [t.__dict__ for t in stored]


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
async def test_bars_are_those_of_the_decimals_that_were_sent(
    api: httpx2.AsyncClient, market: Market, timeframe: str
) -> None:
    for symbol, sent in market.sent.items():
        length_ms = TIMEFRAMES[timeframe] // MS
        expected = bars_by_hand(sent, length_ms)
        answer = await api.get(f"/api/ohlc/{symbol}", params={"timeframe": timeframe, "limit": 10_000})
        bars = {int(bar["timestamp"]): bar for bar in exact(answer.text)["bars"]}
        assert list(bars) == sorted(expected)
        watermark_ms = market.engine.watermark_ns() // MS
        for at, bar in bars.items():
            truth = expected[at]
            for name in ("open", "high", "low", "close", "volume", "buy_volume", "trades"):
                assert bar[name] == truth[name], (symbol, at, name)
            assert float(bar["quote_volume"]) == pytest.approx(float(truth["quote_volume"]), rel=1e-12)
            assert float(bar["vwap"]) == pytest.approx(float(truth["quote_volume"] / truth["volume"]), rel=1e-12)
            assert bar["closed"] == (at + length_ms <= watermark_ms)


async def test_price_is_that_of_the_last_trade_with_its_day(api: httpx2.AsyncClient, market: Market) -> None:
    last = market.sent[PEPE][-1]
    price = exact((await api.get("/api/price/pepeusdt")).text)
    assert (price["symbol"], price["price"], price["size"]) == (PEPE, last.price, last.size)
    assert price["timestamp"] == last.timestamp
    assert price["age_ms"] == market.now_ns // MS - last.timestamp
    assert price["change_24h"] is None, "three hours of history know no price of a day ago"
    assert price["volume_24h"] == sum(t.size for t in market.sent[PEPE])
    assert price["source"] == "synthetic"


async def test_price_comes_from_the_cache_where_it_holds_one(api: httpx2.AsyncClient, market: Market) -> None:
    view = {**(market.engine.price(PEPE) or {}), "price": 0.00000099}
    await market.cache.put_many({f"price:{PEPE}": encode_price(view)}, 60)
    assert exact((await api.get(f"/api/price/{PEPE}")).text)["price"] == Decimal("0.00000099")


async def test_the_age_counts_from_when_our_socket_saw_the_trade(api: httpx2.AsyncClient, market: Market) -> None:
    """The exchange's clock and ours need not agree."""
    view = {**(market.engine.price(PEPE) or {}), "received": market.now_ns // MS - 250}
    await market.cache.put_many({f"price:{PEPE}": encode_price(view)}, 60)
    assert (await api.get(f"/api/price/{PEPE}")).json()["age_ms"] == 250


async def test_an_exchange_whose_clock_is_ahead_makes_no_negative_age(market: Market) -> None:
    market.now_ns -= 3_600_000 * MS
    async with client_of(market) as api:
        assert (await api.get(f"/api/price/{PEPE}")).json()["age_ms"] == 0


async def test_symbols_are_found_in_any_case_and_outside_ascii(api: httpx2.AsyncClient) -> None:
    for written in ("btcusdt", "BtcUsdt", "%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt", " BTCUSDT "):
        answer = await api.get(f"/api/price/{written}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["symbol"] in {"BTCUSDT", "币安人生USDT"}


async def test_an_unknown_symbol_is_a_404_that_names_close_ones(api: httpx2.AsyncClient) -> None:
    for path in ("price", "ohlc", "ticks", "volume"):
        answer = await api.get(f"/api/{path}/BTCUSD")
        assert answer.status_code == 404
        assert "BTCUSDT" in answer.json()["detail"]
        assert answer.json()["errors"][0]["loc"] == ["path", "symbol"]


async def test_symbols_lists_what_is_followed_and_what_is_stored(api: httpx2.AsyncClient, market: Market) -> None:
    rows = {row["symbol"]: row for row in (await api.get("/api/symbols")).json()}
    assert sorted(rows) == sorted(market.sent)
    for symbol, sent in market.sent.items():
        stored = [t for t in sent if t.timestamp < market.now_ns // MS - 5_000]
        assert rows[symbol]["tick_count"] == len(stored)
        assert rows[symbol]["last_timestamp"] == sent[-1].timestamp
        quiet = market.now_ns // MS - sent[-1].timestamp > 60_000
        assert rows[symbol]["status"] == ("quiet" if quiet else "live")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=1000000000", "limit"),
        ("limit=0", "limit"),
        ("limit=many", "limit"),
        ("start=2000&end=1000", "end"),
        ("start=1000&end=1000", "end"),
        ("start=0001-01-01", "start"),
        ("end=9999-12-31T23:59:59Z", "end"),
        ("start=yesterday", "start"),
        ("start=-5", "start"),
        ("start=NaN", "start"),
        ("start=1e12", "start"),
        ("start=%00", "start"),
        ("start=" + "9" * 10_000, "start"),
        ("cursor=x", "cursor"),
        ("cursor=" + "9" * 60, "cursor"),
        ("cursor=%D9%A1", "cursor"),
        ("colour=red", "colour"),
    ],
)
@pytest.mark.parametrize("path", ["/api/ohlc/BTCUSDT", "/api/ticks/BTCUSDT"])
async def test_a_bad_parameter_is_a_422_that_names_it(
    api: httpx2.AsyncClient, path: str, query: str, named: str
) -> None:
    answer = await api.get(f"{path}?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["loc"] == ["query", named]
    assert len(answer.content) < 2_000, "what was sent is not sent back"


@pytest.mark.parametrize("timeframe", ["tick", "2m", "", "1M", "1m\x00"])
async def test_an_unknown_timeframe_is_a_422_that_lists_them_all(api: httpx2.AsyncClient, timeframe: str) -> None:
    answer = await api.get("/api/ohlc/BTCUSDT", params={"timeframe": timeframe})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"loc": ["query", "timeframe"], "msg": f"must be one of {', '.join(TIMEFRAMES)}"}
    ]


@pytest.mark.parametrize("symbol", ["%00", "x" * 10_000, "%20", "A%0AB", "%F0%9F%98%80" * 50])
async def test_a_symbol_that_no_exchange_could_have_is_refused(api: httpx2.AsyncClient, symbol: str) -> None:
    for path in ("price", "ohlc", "ticks", "volume"):
        answer = await api.get(f"/api/{path}/{symbol}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["loc"] == ["path", "symbol"]


async def test_a_range_without_trades_is_an_empty_page(api: httpx2.AsyncClient) -> None:
    query = {"start": START_MS - 3_600_000, "end": START_MS}
    assert (await api.get("/api/ohlc/BTCUSDT", params=query)).json()["bars"] == []
    assert (await api.get("/api/ticks/BTCUSDT", params=query)).json() == {
        "symbol": "BTCUSDT",
        "ticks": [],
        "next": None,
    }


async def test_the_newest_ticks_come_where_no_range_is_given(api: httpx2.AsyncClient, market: Market) -> None:
    page = (await api.get("/api/ticks/BTCUSDT", params={"limit": 7})).json()
    stored = [t for t in market.sent["BTCUSDT"] if t.timestamp < market.now_ns // MS - 5_000]
    assert [t["id"] for t in page["ticks"]] == [t.id for t in stored[-7:]]
    assert page["next"] is None
