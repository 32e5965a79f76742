"""Analytics over HTTP: what the numbers are, checked on bars read over the API; what is refused, and in which words."""

from __future__ import annotations

import asyncio
import json
import random
from decimal import Decimal
from typing import Any

import httpx2
import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.tsa.stattools import adfuller, coint

from pairscope.market.pairs import PairSettings
from pairscope.schemas import encode_pair

from .conftest import client_of
from .market import HOURS, MS, START_MS, Market, Sent

THIN = "币安人生USDT"
MINUTE_MS = 60_000
END_MS = START_MS + HOURS * 3_600_000
MINUTES = 75
FOLLOWED = (
    PairSettings("PEPEUSDT", "BTCUSDT", lookback=60, window=20, method="kalman"),
    PairSettings("BTCUSDT", "PEPEUSDT", lookback=60, window=20, method="ols"),
)
COLUMNS = {
    "spread": ("spread", "last"),
    "mean": ("spread", "mean"),
    "std": ("spread", "std"),
    "zscore": ("spread", "zscore"),
    "correlation": ("correlation", "rolling"),
    "beta_ols": ("hedge_ratio", "ols", "beta"),
    "alpha_kalman": ("hedge_ratio", "kalman", "alpha"),
    "beta_kalman": ("hedge_ratio", "kalman", "beta"),
    "stderr_kalman": ("hedge_ratio", "kalman", "stderr"),
}


async def closes(api: httpx2.AsyncClient, symbol: str, **params: Any) -> pd.Series:
    bars = (await api.get(f"/api/ohlc/{symbol}", params={"limit": 10_000, **params})).json()["bars"]
    table = pd.DataFrame(bars)
    return table[table.closed].set_index("timestamp").close


async def pair(api: httpx2.AsyncClient, **params: Any) -> dict[str, Any]:
    answer = await api.get("/api/analytics/pair", params={"y": "PEPEUSDT", "x": "btcusdt", **params})
    assert answer.status_code == 200, answer.text
    assert "NaN" not in answer.text
    return dict(answer.json())


async def common(api: httpx2.AsyncClient, y: str = "PEPEUSDT", x: str = "BTCUSDT") -> pd.DataFrame:
    table = pd.concat([await closes(api, y), await closes(api, x)], axis=1, keys=["y", "x"], join="inner")
    return np.log(table)


async def test_a_symbol_s_numbers_are_those_of_its_closed_bars(api: httpx2.AsyncClient) -> None:
    close = (await closes(api, "BTCUSDT")).iloc[-120:]
    said = (await api.get("/api/analytics/symbol", params={"symbol": "btcusdt", "lookback": 120, "window": 30})).json()
    window, returns = close.iloc[-30:], np.diff(np.log(close))
    assert (said["symbol"], said["timeframe"], said["n"]) == ("BTCUSDT", "1m", 120)
    assert said["as_of"] == close.index[-1]
    assert said["last"] == close.iloc[-1]
    assert (said["min"], said["max"]) == (window.min(), window.max())
    assert said["mean"] == pytest.approx(window.mean(), rel=1e-12)
    assert said["std"] == pytest.approx(window.std(), rel=1e-9)
    assert said["zscore"] == pytest.approx((close.iloc[-1] - window.mean()) / window.std(), rel=1e-9)
    expected = [returns.mean(), returns.std(ddof=1), stats.skew(returns), stats.kurtosis(returns)]
    assert list(said["returns"].values())[:4] == pytest.approx(expected, rel=1e-9)
    assert said["realized_volatility"] == pytest.approx(np.sqrt(525_600 * np.mean(returns**2)), rel=1e-9)
    statistic, pvalue, lags, *_ = adfuller(close, result_object=False)
    assert said["adf"]["statistic"] == pytest.approx(statistic, rel=1e-8)
    assert said["adf"]["pvalue"] == pytest.approx(pvalue, abs=1e-6)
    assert said["adf"]["lags"] == lags
    assert 0 <= said["hurst"] <= 1


async def test_a_pair_s_numbers_are_those_of_the_bars_that_both_legs_have(api: httpx2.AsyncClient) -> None:
    rows = (await common(api)).iloc[-150:]
    said = await pair(api, lookback=150, window=40)
    fit = sm.OLS(rows.y, sm.add_constant(rows.x)).fit()
    ols = said["hedge_ratio"]["ols"]
    assert said["n"] == 150
    assert said["as_of"] == rows.index[-1]
    assert [ols["alpha"], ols["beta"], ols["stderr"], ols["r_squared"]] == pytest.approx(
        [fit.params["const"], fit.params["x"], fit.bse["x"], fit.rsquared], rel=1e-7
    )
    spread = rows.y - (ols["alpha"] + ols["beta"] * rows.x)
    window = spread.iloc[-40:]
    assert said["spread"]["last"] == pytest.approx(spread.iloc[-1], abs=1e-9)
    assert said["spread"]["zscore"] == pytest.approx((window.iloc[-1] - window.mean()) / window.std(), rel=1e-6)
    returns = rows.diff().dropna()
    assert said["correlation"]["pearson"] == pytest.approx(returns.corr().loc["y", "x"], rel=1e-8)
    assert said["correlation"]["spearman"] == pytest.approx(returns.corr("spearman").loc["y", "x"], rel=1e-8)
    assert said["correlation"]["rolling"] == pytest.approx(returns.iloc[-40:].corr().loc["y", "x"], rel=1e-8)
    for way, (left, right) in {"y_on_x": (rows.y, rows.x), "x_on_y": (rows.x, rows.y)}.items():
        statistic, pvalue, critical = coint(left, right)
        test = said["cointegration"]["engle_granger"][way]
        assert test["statistic"] == pytest.approx(statistic, rel=1e-7)
        assert test["pvalue"] == pytest.approx(pvalue, abs=1e-6)
        assert list(test["critical_values"].values()) == pytest.approx(list(critical), rel=1e-9)
    assert set(said["adf"]) >= {"statistic", "pvalue", "lags", "critical_values", "stationary", "note"}
    assert set(said["hedge_ratio"]) == {"ols", "huber", "kalman", "tls", "theil_sen"}
    assert set(said["legs"]) == {"y", "x"}
    assert said["legs"]["x"]["price"] == (await api.get("/api/price/BTCUSDT")).json()["price"]


@pytest.mark.parametrize("method", ["ols", "huber", "kalman"])
@pytest.mark.parametrize("lookback", [60, 1440])
async def test_the_last_row_of_the_series_is_what_the_document_says_now(
    api: httpx2.AsyncClient, method: str, lookback: int
) -> None:
    said = await pair(api, lookback=lookback, window=20, method=method, series=True)
    series = said["series"]
    assert {len(column) for column in series.values()} == {said["n"]}
    last = {name: column[-1] for name, column in series.items()}
    spread, ratio = said["spread"], said["hedge_ratio"]
    assert (last["spread"], last["zscore"]) == (spread["last"], spread["zscore"])
    assert (last["spread_now"], last["zscore_now"]) == (spread["last"], spread["zscore"])
    assert last["correlation"] == said["correlation"]["rolling"]
    assert (last["beta_ols"], last["beta_kalman"]) == (ratio["ols"]["beta"], ratio["kalman"]["beta"])
    assert last["timestamp"] == said["as_of"]
    assert last["price_y"] < 0.001
    assert "series" not in await pair(api, lookback=60)


async def test_each_row_of_the_series_is_what_was_said_at_its_bar(api: httpx2.AsyncClient) -> None:
    now = await pair(api, lookback=60, window=20, series=True)
    for back in (2, 17, 40):
        end = now["series"]["timestamp"][-back] + 60_000
        then = await pair(api, lookback=60, window=20, end=end)
        row = {name: column[-back] for name, column in now["series"].items()}
        assert then["as_of"] == row["timestamp"]
        assert then["hedge_ratio"]["ols"]["beta"] == row["beta_ols"]
        assert (then["spread"]["last"], then["spread"]["zscore"]) == (row["spread"], row["zscore"])
        assert then["correlation"]["rolling"] == row["correlation"]


async def test_only_what_has_closed_by_the_end_is_used(api: httpx2.AsyncClient) -> None:
    middle = START_MS + 90 * 60_000 + 30_000
    assert (await pair(api, lookback=30, end=middle))["as_of"] == START_MS + 89 * 60_000
    said = (await api.get("/api/analytics/symbol", params={"symbol": "BTCUSDT", "end": middle})).json()
    assert (said["as_of"], said["n"]) == (START_MS + 89 * 60_000, 90)


async def test_the_series_also_comes_as_arrow(api: httpx2.AsyncClient) -> None:
    said = await pair(api, lookback=60, series=True)
    answer = await api.get(
        "/api/analytics/pair",
        params={"y": "PEPEUSDT", "x": "BTCUSDT", "lookback": 60},
        headers={"Accept": "application/vnd.apache.arrow.stream"},
    )
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table.column_names == list(said["series"])
    assert table["zscore"].to_pylist() == said["series"]["zscore"]
    assert table["timestamp"][0].as_py().timestamp() * 1000 == said["series"]["timestamp"][0]


async def test_a_short_lookback_takes_the_window_with_it_and_says_what_it_cannot(api: httpx2.AsyncClient) -> None:
    said = await pair(api, lookback=3)
    assert (said["n"], said["window"]) == (3, 3)
    assert said["spread"]["hurst"] is None
    assert "needs" in said["reasons"]["spread.hurst"]
    assert said["cointegration"]["engle_granger"]["y_on_x"]["reason"]
    assert any("3 bars" in warning for warning in said["warnings"])
    huge = await pair(api, lookback=10_000, series=True)
    assert huge["n"] == 179
    assert any("fewer than the 10000" in warning for warning in huge["warnings"])


async def test_a_leg_that_trades_seldom_is_named_stale_and_its_missing_bars_are_told(
    market: Market, api: httpx2.AsyncClient
) -> None:
    said = await pair(api, y=THIN, window=5)
    assert said["n"] < 60
    assert any("in only" in warning for warning in said["warnings"])
    market.now_ns += 3_600_000 * MS
    later = await pair(api, y=THIN, window=5)
    assert later["stale"] is True
    assert later["age_ms"] >= 3_600_000
    assert later["stale_leg"] == "y"
    assert any(THIN in warning and "stale" in warning for warning in later["warnings"])


@pytest.mark.parametrize(
    ("params", "status", "loc", "words"),
    [
        ({"y": "BTCUSDT", "x": "BTCUSDT"}, 422, "x", "two different symbols"),
        ({"y": "BTCUSDT", "x": "btcusdt"}, 422, "x", "two different symbols"),
        ({"y": "NOPEUSDT", "x": "BTCUSDT"}, 404, "y", "unknown symbol"),
        ({"y": "BTCUSDT", "x": "PEPEUSD"}, 404, "x", "did you mean PEPEUSDT"),
        ({"y": "BTCUSDT"}, 422, "x", "required"),
        ({"y": "BTCUSDT", "x": " "}, 422, "x", "letters and digits"),
        ({"y": "BTCUSDT", "x": "PEPEUSDT", "lookback": 2}, 422, "lookback", "greater than or equal to 3"),
        ({"y": "BTCUSDT", "x": "PEPEUSDT", "lookback": 10_001}, 422, "lookback", "less than or equal to 10000"),
        ({"y": "BTCUSDT", "x": "PEPEUSDT", "lookback": 30, "window": 31}, 422, "window", "must not exceed lookback"),
        ({"y": "BTCUSDT", "x": "PEPEUSDT", "timeframe": "2m"}, 422, "timeframe", "must be one of"),
        ({"y": "BTCUSDT", "x": "PEPEUSDT", "method": "magic"}, 422, "method", ""),
        ({"y": "BTCUSDT", "x": "PEPEUSDT", "end": START_MS + 60_000}, 422, "x", "needs 3, has 1"),
        ({"y": "BTCUSDT", "x": "PEPEUSDT", "end": 0}, 422, "x", "needs 3, has 0"),
        ({"y": "BTCUSDT", "x": "PEPEUSDT", "timeframe": "1d"}, 422, "x", "needs 3, has 0"),
        ({"y": "BTCUSDT", "x": "PEPEUSDT", "nonsense": 1}, 422, "nonsense", "no such parameter"),
    ],
)
async def test_a_pair_that_cannot_be_is_refused_by_the_name_of_the_parameter(
    api: httpx2.AsyncClient, params: dict[str, Any], status: int, loc: str, words: str
) -> None:
    answer = await api.get("/api/analytics/pair", params=params)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["loc"] == ["query", loc]
    assert words in answer.json()["detail"]


async def test_a_symbol_without_a_closed_bar_is_refused_and_an_unknown_one_too(api: httpx2.AsyncClient) -> None:
    for params, status in (({"symbol": "BTCUSDT", "end": 0}, 422), ({"symbol": "NOPE"}, 404), ({}, 422)):
        answer = await api.get("/api/analytics/symbol", params=params)
        assert answer.status_code == status
        assert answer.json()["errors"][0]["loc"] == ["query", "symbol"]
    one = (await api.get("/api/analytics/symbol", params={"symbol": "BTCUSDT", "end": START_MS + 60_000})).json()
    assert one["n"] == 1
    assert one["mean"] is None
    assert one["reasons"]["mean"] == "needs 60 bars, has 1"
    assert one["returns"]["reason"] == "needs 3 bars, has 1"


async def test_a_leg_that_stopped_has_no_hedge_ratio_and_the_answer_says_why(fresh_market: Market) -> None:
    frozen = [trade for trade in fresh_market.sent["BTCUSDT"] if trade.timestamp < START_MS + 3_600_000]
    last = frozen[-1]
    still = [
        type(last)(last.id + 1_000_000 + i, START_MS + 10_800_000 + i * 60_000, last.price, last.size, False)
        for i in range(40)
    ]
    moving = [
        type(t)(t.id + 5_000_000, t.timestamp - START_MS + START_MS + 10_800_000, t.price, t.size, t.buyer_is_maker)
        for t in fresh_market.sent["PEPEUSDT"]
        if t.timestamp < START_MS + 2_400_000
    ]
    trades = sorted(
        [*(("BTCUSDT", t) for t in still), *(("PEPEUSDT", t) for t in moving)], key=lambda item: item[1].timestamp
    )
    await fresh_market.take(fresh_market.batch(trades, (START_MS + 10_800_000 + 40 * 60_000) * MS))
    async with client_of(fresh_market) as api:
        for y, x, loc in (("PEPEUSDT", "BTCUSDT", "x"), ("BTCUSDT", "PEPEUSDT", "y")):
            answer = await api.get("/api/analytics/pair", params={"y": y, "x": x, "lookback": 20})
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["loc"] == ["query", loc]
            assert "is constant" in answer.json()["detail"]
        said = (
            await api.get("/api/analytics/symbol", params={"symbol": "BTCUSDT", "lookback": 20, "window": 10})
        ).json()
        assert (said["std"], said["zscore"], said["hurst"]) == (0.0, None, None)
        assert said["reasons"]["zscore"] == "the last 10 closes are all the same"
        matrix = (
            await api.get("/api/analytics/correlation", params={"symbols": "BTCUSDT,PEPEUSDT", "window": 20})
        ).json()
        assert matrix["matrix"] == [[None, None], [None, 1.0]]
        assert matrix["reasons"] == {"BTCUSDT": "the price has not moved"}


async def test_correlations_are_those_of_common_returns_and_each_says_of_how_many(api: httpx2.AsyncClient) -> None:
    names = ["BTCUSDT", "PEPEUSDT", THIN]
    for kind in ("pearson", "spearman"):
        query = {"symbols": ",".join(names).lower(), "window": 50, "kind": kind}
        said = (await api.get("/api/analytics/correlation", params=query)).json()
        assert said["symbols"] == names
        for i, a in enumerate(names):
            for j, b in enumerate(names):
                rows = await common(api, a, b) if a != b else None
                if rows is None:
                    assert said["matrix"][i][j] == 1.0
                    continue
                returns = rows.iloc[-51:].diff().dropna()
                assert said["matrix"][i][j] == pytest.approx(returns.corr(kind).iloc[0, 1], rel=1e-8), (a, b)
                assert said["counts"][i][j] == len(returns)
        assert said["n"] == min(min(row) for row in said["counts"])
        assert sorted(said["order"]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("symbols", "status", "words"),
    [
        ("BTCUSDT", 422, "2 to 100"),
        ("", 422, "2 to 100"),
        (",".join(["BTCUSDT"] * 101), 422, "2 to 100"),
        ("BTCUSDT,btcusdt", 422, "twice"),
        ("BTCUSDT,NOPEUSDT", 404, "unknown symbol"),
    ],
)
async def test_a_list_of_symbols_that_cannot_be_is_refused(
    api: httpx2.AsyncClient, symbols: str, status: int, words: str
) -> None:
    answer = await api.get("/api/analytics/correlation", params={"symbols": symbols})
    assert answer.status_code == status
    assert answer.json()["errors"][0]["loc"] == ["query", "symbols"]
    assert words in answer.json()["detail"]


async def test_the_same_question_at_the_same_time_is_computed_once(
    api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairscope.api import analytics

    computed = []
    real = analytics.pair_report

    def counted(*args: Any, **kwargs: Any) -> Any:
        computed.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(analytics, "pair_report", counted)
    answers = await asyncio.gather(*(pair(api, lookback=100) for _ in range(4)))
    assert len(computed) == 1
    assert all(json.dumps(a["spread"]) == json.dumps(answers[0]["spread"]) for a in answers)
    await pair(api, lookback=99)
    assert len(computed) == 2


async def minutes(market: Market, count: int) -> list[dict[str, dict[str, Any]]]:
    """Let minutes pass in which both legs trade; what the stream says of each pair as each has closed."""
    dice, told = random.Random(5), []
    last = {name: market.sent[name][-1] for name in ("BTCUSDT", "PEPEUSDT")}
    for minute in range(count):
        begin, trades = END_MS + minute * MINUTE_MS, []
        for i, (name, one) in enumerate(last.items()):
            step = Decimal("0.1") if name == "BTCUSDT" else Decimal("0.00000001")
            price = one.price + dice.randint(-2, 2) * step
            last[name] = Sent(one.id + 1, begin + 1000 * (i + 1), price, Decimal(1), False)
            trades.append((name, last[name]))
        await market.take(market.batch(trades, (begin + MINUTE_MS) * MS), stored=False)
        await market.pairs.catch_up()
        views = {pair.key: market.book.view(pair.y, pair.x, closed=True) for pair in FOLLOWED}
        told.append({key: orjson.loads(encode_pair(view)) for key, view in views.items() if view is not None})
    market.now_ns = (END_MS + count * MINUTE_MS) * MS
    return told


def at(document: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        document = document[name]
    return document


async def test_closes_that_the_stream_appended_are_what_is_read_when_all_is_read_anew(fresh_market: Market) -> None:
    for pair in FOLLOWED:
        fresh_market.book.put(pair)
    told = await minutes(fresh_market, MINUTES)
    async with client_of(fresh_market) as api:
        for pair in FOLLOWED:
            asked = {name: getattr(pair, name) for name in ("y", "x", "timeframe", "lookback", "window", "method")}
            begun = set()
            for back in (0, 31, 62):
                stream = [views[pair.key] for views in told[: MINUTES - back]]
                end = stream[-1]["timestamp"] + MINUTE_MS
                params = {**asked, "end": end, "series": True, "recursion": "live"}
                answer = await api.get("/api/analytics/pair", params=params)
                read = answer.json()
                rows = min(60, len(stream))
                assert read["series"]["timestamp"][-rows:] == [view["timestamp"] for view in stream[-rows:]]
                for column, path in COLUMNS.items():
                    assert read["series"][column][-rows:] == [at(view, path) for view in stream[-rows:]], column
                live, kalman = stream[-1], read["hedge_ratio"]["kalman"]
                assert {**kalman, **live["hedge_ratio"]["kalman"]} == kalman
                assert {**read["sentinel"], **live["sentinel"]} == read["sentinel"]
                assert read["sentinel"]["statistic"] is not None or read["sentinel"]["reason"]
                begun |= {view["hedge_ratio"]["kalman"]["since"] for view in stream[-rows:]}
            assert len(begun) > 1, "no filter took over meanwhile"


async def test_the_filter_begins_with_the_lookback_unless_live_ones_are_asked_for(fresh_market: Market) -> None:
    pair = {"y": "PEPEUSDT", "x": "BTCUSDT", "lookback": 60, "window": 20}
    async with client_of(fresh_market) as api:
        plain, live = [
            (await api.get("/api/analytics/pair", params={**pair, **more})).json()
            for more in ({}, {"recursion": "live"})
        ]
        refused = await api.get("/api/analytics/pair", params={**pair, "recursion": "always"})
    assert plain["hedge_ratio"]["kalman"]["since"] == plain["from"]
    assert live["hedge_ratio"]["kalman"]["since"] < plain["from"]
    assert live["hedge_ratio"]["kalman"]["n"] > 60 == plain["hedge_ratio"]["kalman"]["n"]
    assert plain["hedge_ratio"]["ols"] == live["hedge_ratio"]["ols"]
    assert plain["sentinel"] == live["sentinel"]
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["query", "recursion"])


@pytest.mark.parametrize("lookback", [3, 30, 59])
async def test_a_filter_that_has_seen_too_few_bars_says_how_many_it_needs(api: Any, lookback: int) -> None:
    pair = {"y": "PEPEUSDT", "x": "BTCUSDT", "lookback": lookback, "end": START_MS + 20 * MINUTE_MS}
    said = (await api.get("/api/analytics/pair", params={**pair, "recursion": "live"})).json()
    least = min(lookback, max(min(60, lookback), 30))
    if lookback == 3:
        assert said["hedge_ratio"]["kalman"]["beta"] is not None
    else:
        assert said["reasons"]["hedge_ratio.kalman"] == f"needs {least} bars, has 20"
    assert said["sentinel"]["status"] == "training"
    assert "need" in said["reasons"]["sentinel"]
