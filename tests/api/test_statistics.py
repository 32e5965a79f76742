"""The table bar by bar: its numbers from bars read over the API, its pages, its forms, what is refused."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from statsmodels.api import OLS

from .market import START_MS
from .test_analytics import closes, common

PAIR = {"y": "PEPEUSDT", "x": "BTCUSDT"}


async def table(api: httpx2.AsyncClient, **params: Any) -> pd.DataFrame:
    answer = await api.get("/api/analytics/statistics", params=params)
    assert answer.status_code == 200, answer.text
    assert "NaN" not in answer.text
    return pd.DataFrame(answer.json()["series"]).astype(float).set_index("timestamp")


async def test_a_symbol_s_columns_are_those_that_pandas_finds(api: httpx2.AsyncClient) -> None:
    found = await table(api, symbol="btcusdt", window=20, limit=60)
    close = await closes(api, "BTCUSDT")
    returns = np.log(close).diff()
    expected = pd.DataFrame(
        {
            "price": close,
            "return": returns,
            "volatility": np.sqrt((returns**2).rolling(20).mean() * 525_600),
            "zscore": (close - close.rolling(20).mean()) / close.rolling(20).std(),
        }
    ).iloc[-60:]
    assert list(found.index) == list(expected.index)
    for name, column in expected.items():
        assert found[name].to_numpy() == pytest.approx(column.to_numpy(), rel=1e-8, abs=1e-12), name


async def test_a_pair_s_columns_are_those_of_least_squares_a_window(api: httpx2.AsyncClient) -> None:
    found = await table(api, **PAIR, window=20, lookback=50, limit=70)
    rows = await common(api)
    correlation = rows.y.diff().rolling(20).corr(rows.x.diff())
    assert list(found.index) == list(rows.index[-70:])
    assert found["price"].to_numpy() == pytest.approx(np.exp(rows.y.iloc[-70:]).to_numpy(), rel=1e-12)
    assert found["price_x"].to_numpy() == pytest.approx(np.exp(rows.x.iloc[-70:]).to_numpy(), rel=1e-12)
    assert found["correlation"].to_numpy() == pytest.approx(correlation.iloc[-70:].to_numpy(), abs=1e-8)
    for back in range(1, 71):
        window = rows.iloc[len(rows) - back - 49 : len(rows) - back + 1]
        off = window - window.mean()  # statsmodels' rolling fit loses its digits on logs that move by 1e-5
        beta = OLS(off.y, off.x).fit().params["x"]
        spread = off.y - beta * off.x
        row, last = found.iloc[-back], spread.iloc[-20:]
        assert row.beta == pytest.approx(beta, rel=1e-7)
        assert row.spread == pytest.approx(spread.iloc[-1], abs=1e-9)
        assert row.zscore == pytest.approx((last.iloc[-1] - last.mean()) / last.std(), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(
    "whose",
    [
        {"symbol": "BTCUSDT", "window": 20},
        {**PAIR, "window": 20, "lookback": 30},
        {**PAIR, "window": 20, "lookback": 30, "method": "kalman"},
        {**PAIR, "window": 20, "lookback": 30, "method": "huber", "price_space": "linear"},
    ],
)
async def test_pages_join_into_the_one_table_whatever_their_size(
    api: httpx2.AsyncClient, whose: dict[str, Any]
) -> None:
    whole = await table(api, **whose, start=START_MS, limit=1000)
    assert len(whole) == 179
    for limit in (37, 60):
        cursor, parts = None, []
        while True:
            asked = {**whose, "start": START_MS, "limit": limit, **({"cursor": cursor} if cursor else {})}
            page = (await api.get("/api/analytics/statistics", params=asked)).json()
            parts.append(pd.DataFrame(page["series"]).astype(float))
            cursor = page["next"]
            if cursor is None:
                break
        joined = pd.concat(parts).set_index("timestamp")
        assert list(joined.index) == list(whole.index)
        for name in ("price", "spread", "zscore", "correlation", "beta"):
            if name in whole:
                assert joined[name].equals(whole[name]), name
        assert joined.volatility.to_numpy() == pytest.approx(whole.volatility.to_numpy(), rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("method", ["ols", "huber", "kalman"])
@pytest.mark.parametrize("space", ["log", "linear"])
async def test_the_newest_rows_are_those_of_the_pair_by_the_same_settings(
    api: httpx2.AsyncClient, method: str, space: str
) -> None:
    asked = {**PAIR, "window": 20, "lookback": 50, "method": method, "price_space": space}
    said = (await api.get("/api/analytics/statistics", params={**asked, "limit": 40})).json()
    assert (said["method"], said["price_space"]) == (method, space)
    pair = {**asked, "series": True, "recursion": "live"}
    series = (await api.get("/api/analytics/pair", params=pair)).json()["series"]
    found = said["series"]
    for ours, theirs in {**dict.fromkeys(("timestamp", "spread", "zscore", "correlation")), "beta": ""}.items():
        assert found[ours] == series[ours if theirs is None else f"beta_{method}"][-40:], ours
    assert found["zscore"][-1] is not None


async def test_a_range_of_a_thin_leg_has_only_common_bars_and_skips_what_is_empty(api: httpx2.AsyncClient) -> None:
    thin = {"y": "币安人生USDT", "x": "BTCUSDT", "window": 5, "lookback": 10}
    rows = await common(api, "币安人生USDT")
    whole = await table(api, **thin, start=START_MS, limit=1000)
    assert list(whole.index) == list(rows.index)
    cursor, times = None, []
    for _ in range(100):
        asked = {**thin, "start": START_MS, "limit": 3, **({"cursor": cursor} if cursor else {})}
        page = (await api.get("/api/analytics/statistics", params=asked)).json()
        times += page["series"]["timestamp"]
        cursor = page["next"]
        if cursor is None:
            break
    assert times == list(rows.index)


async def test_csv_is_told_by_accept_or_by_format_and_says_the_same(api: httpx2.AsyncClient) -> None:
    params = {**PAIR, "window": 20, "lookback": 100, "limit": 120}
    said = (await api.get("/api/analytics/statistics", params=params)).json()["series"]
    by_accept = await api.get("/api/analytics/statistics", params=params, headers={"Accept": "text/csv"})
    by_format = await api.get("/api/analytics/statistics", params={**params, "format": "csv"})
    assert by_accept.content == by_format.content
    assert by_accept.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(by_accept.text)))
    assert list(rows[0]) == list(said)
    assert rows[-1]["timestamp"].endswith(":00.000Z")
    assert pd.Timestamp(rows[-1]["timestamp"]).value // 1_000_000 == said["timestamp"][-1]
    for name in ("price", "spread", "beta"):
        assert [float(row[name]) if row[name] else None for row in rows] == said[name]
    assert "e-" not in by_accept.text


async def test_arrow_carries_the_same_columns_and_the_cursor(api: httpx2.AsyncClient) -> None:
    params = {"symbol": "BTCUSDT", "start": START_MS, "limit": 50}
    said = (await api.get("/api/analytics/statistics", params=params)).json()
    answer = await api.get("/api/analytics/statistics", params={**params, "format": "arrow"})
    found = pa.ipc.open_stream(answer.content).read_all()
    assert found["zscore"].to_pylist() == said["series"]["zscore"]
    assert answer.headers["X-Next-Cursor"] == said["next"]


async def test_a_range_without_bars_is_an_empty_table(api: httpx2.AsyncClient) -> None:
    for whose in ({"symbol": "BTCUSDT"}, PAIR):
        page = (await api.get("/api/analytics/statistics", params={**whose, "start": 0, "end": 1000})).json()
        assert set(map(len, page["series"].values())) == {0}
        assert page["next"] is None
        text = await api.get("/api/analytics/statistics", params={**whose, "start": 0, "end": 1000, "format": "csv"})
        assert text.text.count("\n") == 1


@pytest.mark.parametrize(
    ("params", "status", "loc"),
    [
        ({}, 422, "symbol"),
        ({"y": "BTCUSDT"}, 422, "x"),
        ({"x": "BTCUSDT"}, 422, "y"),
        ({"symbol": "BTCUSDT", **PAIR}, 422, "symbol"),
        ({"y": "BTCUSDT", "x": "BTCUSDT"}, 422, "x"),
        ({"symbol": "NOPE"}, 404, "symbol"),
        ({"y": "NOPE", "x": "BTCUSDT"}, 404, "y"),
        ({"symbol": "BTCUSDT", "limit": 10_001}, 422, "limit"),
        ({"symbol": "BTCUSDT", "cursor": "x"}, 422, "cursor"),
        ({"symbol": "BTCUSDT", "start": 2, "end": 1}, 422, "end"),
        ({**PAIR, "lookback": 20, "window": 30}, 422, "window"),
        ({"symbol": "BTCUSDT", "format": "xml"}, 422, "format"),
        ({**PAIR, "method": "magic"}, 422, "method"),
    ],
)
async def test_a_table_that_cannot_be_is_refused_by_the_name_of_the_parameter(
    api: httpx2.AsyncClient, params: dict[str, Any], status: int, loc: str
) -> None:
    answer = await api.get("/api/analytics/statistics", params=params)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["loc"] == ["query", loc]


async def test_a_page_of_more_huber_fits_than_anybody_waits_for_is_refused(
    api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairscope.api.statistics.HUBER_COST", 3000)
    asked = {**PAIR, "method": "huber", "lookback": 50, "window": 20}
    assert (await api.get("/api/analytics/statistics", params={**asked, "limit": 60})).status_code == 200
    answer = await api.get("/api/analytics/statistics", params={**asked, "limit": 61})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["query", "limit"])
    assert "at most 60 rows" in answer.json()["detail"]
