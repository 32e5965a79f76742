"""Pages of bars: nothing missed, nothing repeated, whatever is closed, stored or begun in between."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import httpx2
import pytest

from pairscope.market.bars import TIMEFRAMES

from .conftest import client_of, exact
from .market import HOURS, MS, NOT_STORED_MS, START_MS, Market, Sent, bars_by_hand

END_MS = START_MS + HOURS * 3_600_000
THIN = "币安人生USDT"


async def pages(api: httpx2.AsyncClient, symbol: str, **query: Any) -> list[dict[str, Any]]:
    """Follow ``next`` to the end."""
    found: list[dict[str, Any]] = []
    for _ in range(10_000):
        page = exact((await api.get(f"/api/ohlc/{symbol}", params=query)).text)
        assert len(page["bars"]) <= query["limit"]
        found += page["bars"]
        if page["next"] is None:
            return found
        assert page["bars"], "an empty page is the last one"
        query["cursor"] = page["next"]
    raise AssertionError("pages without end")


@pytest.mark.parametrize(
    ("timeframe", "limit"), [("1s", 1000), ("1m", 1), ("1m", 7), ("1m", 180), ("1m", 181), ("1h", 2)]
)
async def test_pages_hold_every_bar_once(api: httpx2.AsyncClient, market: Market, timeframe: str, limit: int) -> None:
    expected = sorted(bars_by_hand(market.sent["BTCUSDT"], TIMEFRAMES[timeframe] // MS))
    found = await pages(api, "BTCUSDT", timeframe=timeframe, limit=limit, start=START_MS)
    assert [bar["timestamp"] for bar in found] == expected


async def test_pages_of_a_range_long_past_go_on_to_its_end(api: httpx2.AsyncClient, market: Market) -> None:
    """Nothing that the engine still has follows the stored bars here."""
    query = {"start": START_MS, "end": START_MS + 50 * 60_000, "limit": 7}
    expected = [at for at in sorted(bars_by_hand(market.sent["BTCUSDT"], 60_000)) if at < query["end"]]
    assert [bar["timestamp"] for bar in await pages(api, "BTCUSDT", **query)] == expected


async def test_a_range_is_half_open_and_taken_by_the_open_time(api: httpx2.AsyncClient) -> None:
    query = {"start": START_MS + 60_000, "end": START_MS + 180_000, "limit": 10}
    times = [bar["timestamp"] for bar in await pages(api, "BTCUSDT", **query)]
    assert times == [START_MS + 60_000, START_MS + 120_000]
    query = {"start": START_MS + 60_001, "end": START_MS + 180_001, "limit": 10}
    times = [bar["timestamp"] for bar in await pages(api, "BTCUSDT", **query)]
    assert times == [START_MS + 120_000, START_MS + 180_000]


async def test_without_a_range_the_newest_come_oldest_first_with_the_open_one_last(
    api: httpx2.AsyncClient, market: Market
) -> None:
    expected = sorted(bars_by_hand(market.sent["BTCUSDT"], 60_000))
    page = exact((await api.get("/api/ohlc/BTCUSDT", params={"limit": 5})).text)
    assert [bar["timestamp"] for bar in page["bars"]] == expected[-5:]
    assert [bar["closed"] for bar in page["bars"]] == [True] * 4 + [False]
    assert page["next"] is None


async def test_bars_that_the_store_does_not_hold_yet_are_there(api: httpx2.AsyncClient, market: Market) -> None:
    """The last five seconds are in the engine only: those that it closed, and those still open."""
    stored = await market.store.bars("BTCUSDT", "1s", (END_MS - NOT_STORED_MS) * MS, END_MS * MS, limit=10)
    expected = [at for at in sorted(bars_by_hand(market.sent["BTCUSDT"], 1000)) if at >= END_MS - NOT_STORED_MS]
    assert len(stored) < len(expected)
    found = await pages(api, "BTCUSDT", timeframe="1s", limit=3, start=END_MS - NOT_STORED_MS)
    assert [bar["timestamp"] for bar in found] == expected


async def test_a_bar_that_is_over_but_not_closed_is_not_missing_beside_a_newer_one(fresh_market: Market) -> None:
    """The watermark lags: for that long two bars are open at once."""
    market = fresh_market
    trades = [Sent(9_000_000 + i, END_MS + at, market.sent["BTCUSDT"][-1].price, market.sent["BTCUSDT"][-1].size, True)
              for i, at in enumerate((100, 1_100))]  # fmt: skip
    await market.take(market.batch([("BTCUSDT", t) for t in trades], (END_MS + 900) * MS))
    async with client_of(market) as api:
        for fill in ("false", "true"):
            query = {"timeframe": "1s", "limit": 2, "fill": fill}
            bars = exact((await api.get("/api/ohlc/BTCUSDT", params=query)).text)["bars"]
            assert [(b["timestamp"], b["trades"], b["closed"]) for b in bars] == [
                (END_MS, 1, False),
                (END_MS + 1_000, 1, False),
            ]


@pytest.mark.parametrize("limit", [7, 10_000])
async def test_filled_pages_have_a_bar_for_every_slot(api: httpx2.AsyncClient, market: Market, limit: int) -> None:
    truth = bars_by_hand(market.sent[THIN], 60_000)
    first, last = min(truth), END_MS - 120_000
    found = await pages(api, THIN, limit=limit, start=START_MS, fill="true")
    assert [bar["timestamp"] for bar in found] == list(range(first, last + 1, 60_000))
    close = None
    for bar in found:
        if bar["timestamp"] in truth:
            close = truth[bar["timestamp"]]["close"]
            assert (bar["close"], bar["trades"]) == (close, truth[bar["timestamp"]]["trades"])
        else:
            assert bar["open"] == bar["high"] == bar["low"] == bar["close"] == close
            assert (bar["volume"], bar["trades"], bar["vwap"], bar["closed"]) == (0, 0, None, True)


async def test_a_filled_range_that_begins_between_trades_knows_the_close_before_it(
    api: httpx2.AsyncClient, market: Market
) -> None:
    truth = bars_by_hand(market.sent[THIN], 60_000)
    opens = sorted(truth)
    quiet = next(at + 60_000 for at, after in pairwise(opens) if after > at + 60_000)
    page = exact((await api.get(f"/api/ohlc/{THIN}", params={"start": quiet, "limit": 1, "fill": "true"})).text)
    assert page["bars"][0]["timestamp"] == quiet
    assert page["bars"][0]["close"] == truth[quiet - 60_000]["close"]
    assert page["next"] == str(quiet + 60_000)


async def test_the_newest_filled_slots_end_now(api: httpx2.AsyncClient) -> None:
    bars = exact((await api.get("/api/ohlc/BTCUSDT", params={"limit": 3, "fill": "true"})).text)["bars"]
    assert [bar["timestamp"] for bar in bars] == [END_MS - 180_000, END_MS - 120_000, END_MS - 60_000]
    assert [bar["closed"] for bar in bars] == [True, True, False]


async def test_a_fill_from_the_beginning_of_time_begins_at_the_first_bar(
    api: httpx2.AsyncClient, market: Market
) -> None:
    page = exact((await api.get(f"/api/ohlc/{THIN}", params={"start": 0, "limit": 5, "fill": "true"})).text)
    assert page["bars"][0]["timestamp"] == min(bars_by_hand(market.sent[THIN], 60_000))
    assert len(page["bars"]) == 5


async def test_a_cursor_behind_the_end_is_an_empty_last_page(api: httpx2.AsyncClient) -> None:
    query = {"start": START_MS, "end": START_MS + 60_000, "cursor": str(START_MS + 120_000)}
    page = (await api.get("/api/ohlc/BTCUSDT", params=query)).json()
    assert (page["bars"], page["next"]) == ([], None)
