"""Indicators over a range are those over the whole history, warmed up before the range."""

from __future__ import annotations

import httpx2
import numpy as np
import pyarrow as pa
import pytest
import talib
from websockets.asyncio.client import connect

from pairscope.api.answers import ARROW

from .conftest import exact
from .market import MS, START_MS, Market, bars_by_hand
from .test_stream import hear, served, subscribe

NAMES = "sma:20,ema:5,rsi:14,bb:20:2,macd:12:26:9,atr:14,vwap,rv:30"


def closes(market: Market) -> np.ndarray:
    bars = bars_by_hand(market.sent["BTCUSDT"], 60_000)
    return np.array([float(bars[at]["close"]) for at in sorted(bars)])


async def test_the_newest_are_aligned_with_the_bars_and_agree_with_talib(
    api: httpx2.AsyncClient, market: Market
) -> None:
    page = (await api.get("/api/indicators/btcusdt", params={"indicators": NAMES, "limit": 25})).json()
    bars = (await api.get("/api/ohlc/BTCUSDT", params={"limit": 25})).json()["bars"]
    assert page["timestamp"] == [bar["timestamp"] for bar in bars]
    assert page["closed"] == [bar["closed"] for bar in bars] == [True] * 24 + [False]
    assert page["next"] is None
    close = closes(market)
    for name, expected in {
        "sma:20": talib.SMA(close, 20),
        "ema:5": talib.EMA(close, 5),
        "rsi:14": talib.RSI(close, 14),
        "bb:20:2.upper": talib.BBANDS(close, 20, 2, 2)[0],
        "macd:12:26:9.signal": talib.MACD(close, 12, 26, 9)[1],
    }.items():
        assert page["values"][name] == pytest.approx(expected[-25:].tolist(), rel=1e-9), name
    assert {len(column) for column in page["values"].values()} == {25}


async def test_a_range_in_the_middle_has_the_values_that_the_whole_has_there(api: httpx2.AsyncClient) -> None:
    whole = (await api.get("/api/indicators/BTCUSDT", params={"indicators": NAMES, "limit": 1000})).json()
    start, end = whole["timestamp"][100], whole["timestamp"][130]
    part = (await api.get("/api/indicators/BTCUSDT", params={"names": NAMES, "start": start, "end": end})).json()
    assert part["timestamp"] == whole["timestamp"][100:130]
    for name, column in part["values"].items():
        assert column == pytest.approx(whole["values"][name][100:130], rel=1e-9, nan_ok=True), name


async def test_pages_of_indicators_follow_each_other_like_those_of_bars(api: httpx2.AsyncClient) -> None:
    query = {"indicators": "sma:3", "start": START_MS, "limit": 50}
    times: list[int] = []
    while True:
        page = (await api.get("/api/indicators/BTCUSDT", params=query)).json()
        times += page["timestamp"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert times == sorted(set(times))
    assert len(times) == 180


async def test_what_is_still_warming_up_is_null(api: httpx2.AsyncClient) -> None:
    page = (await api.get("/api/indicators/BTCUSDT", params={"indicators": "sma:20", "start": START_MS})).json()
    assert page["values"]["sma:20"][:19] == [None] * 19
    assert None not in page["values"]["sma:20"][19:]


async def test_a_range_without_bars_has_empty_columns(api: httpx2.AsyncClient) -> None:
    query = {"indicators": NAMES, "start": 0, "end": 1000}
    page = (await api.get("/api/indicators/BTCUSDT", params=query)).json()
    assert page["timestamp"] == []
    assert set(map(len, page["values"].values())) == {0}


MANY = ",".join(f"sma:{n}" for n in range(2, 40))


@pytest.mark.parametrize(
    "names", ["", ",", "nonsense", "sma:0", "sma:x", "sma:1:2:3", "sma:99999", "macd:26:12:9", MANY]
)
async def test_an_indicator_that_cannot_be_is_a_422_that_names_the_parameter(
    api: httpx2.AsyncClient, names: str
) -> None:
    answer = await api.get("/api/indicators/BTCUSDT", params={"indicators": names})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["query", "indicators"]


async def test_the_topic_begins_with_the_newest_values(market: Market) -> None:
    async with served(market) as url, connect(url) as client:
        await subscribe(
            client, "indicators:btcusdt:1m:sma:20,ema:5", "indicators:BTCUSDT:1m:nope", "indicators:BTCUSDT:1m"
        )
        said, unknown, short = [await hear(client) for _ in range(3)]
        assert said["topic"] == "indicators:BTCUSDT:1m:sma:20,ema:5"
        close = closes(market)
        assert float(said["data"]["values"]["sma:20"]) == pytest.approx(talib.SMA(close, 20)[-1], rel=1e-9)
        assert float(said["data"]["values"]["ema:5"]) == pytest.approx(talib.EMA(close, 5)[-1], rel=1e-9)
        assert said["data"]["timestamp"] * MS > market.engine.watermark_ns() - 60_000_000_000
        assert said["data"]["closed"] is False
        assert "nope" in unknown["error"]
        assert "no such topic" in short["error"]
        market.bus.publish("indicators:BTCUSDT:1m:sma:20,ema:5", b'{"n":1}')
        assert (await hear(client))["data"] == {"n": 1}


async def test_numbers_of_indicators_have_no_exponent(api: httpx2.AsyncClient) -> None:
    page = exact((await api.get("/api/indicators/PEPEUSDT", params={"indicators": NAMES})).text)
    assert page["values"]["sma:20"][-1] > 0


async def test_arrow_has_the_same_columns_and_values(api: httpx2.AsyncClient) -> None:
    asked = {"indicators": "sma:20,bb:20:2", "start": START_MS, "limit": 30}
    page = (await api.get("/api/indicators/BTCUSDT", params=asked)).json()
    answer = await api.get("/api/indicators/BTCUSDT", params=asked, headers={"Accept": ARROW})
    table = pa.ipc.open_stream(answer.content).read_all()
    assert (answer.headers["content-type"], answer.headers["x-next-cursor"]) == (ARROW, page["next"])
    assert table.column_names == ["timestamp", "closed", *page["values"]]
    assert table["timestamp"].cast(pa.int64()).to_pylist() == page["timestamp"]
    assert {name: table[name].to_pylist() for name in page["values"]} == page["values"]
