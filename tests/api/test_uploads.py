"""Uploads over HTTP: stored whole or not at all, told row by row, and then as good as any other symbol's bars."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pytest
from tests.transfer.bad_files import BAD_FILES, HEAD

from pairscope.api.app import ApiOptions, create_app
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.research.moving_screen import load_kernels
from pairscope.storage.duckdb_store import DuckDBStore

from .market import START_MS, Market
from .test_problems import assert_problem

BARS = Path(__file__).resolve().parents[3] / "shared" / "data" / "bars" / "um_1m_2025-05.parquet"
MINUTE_MS = 60_000
T0_MS = START_MS - 3 * 86_400_000  # before every trade of the market
LIMIT = 8 << 20
WIDE = {"1m": 1, "5m": 5, "15m": 15, "1h": 60}


def csv_of(count: int, *, start_ms: int = T0_MS, step_ms: int = MINUTE_MS, price: float = 100.0) -> bytes:
    rows = [
        f"{start_ms + i * step_ms},{price + i % 7},{price + 9},{price - 1},{price + i % 5},{i + 1}"
        for i in range(count)
    ]
    return (HEAD + "\n".join(rows) + "\n").encode()


class Uploads:
    """A client of an application of its own, whose store also keeps its records, as a running one's does."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.came: list[BarBatch] = []
        services = dataclasses.replace(market.services(), records=market.store, imported=self.came.append)
        app = create_app(services, options=ApiOptions(max_upload_bytes=LIMIT))
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api")

    async def send(self, body: bytes, name: str = "bars.csv", **fields: Any) -> httpx2.Response:
        data = {"symbol": "MYCOIN", "timeframe": "1m", **fields}
        data = {key: str(value) for key, value in data.items() if value is not None}
        return await self.http.post("/api/upload/ohlc", files={"file": (name, body)}, data=data)

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """The kernels are there: who asks for a screen while they are compiled is told to come again."""
    load_kernels()


@pytest.fixture
async def uploads(market: Market, tmp_path: Path) -> AsyncIterator[Uploads]:
    """Over a store that holds nothing yet."""
    store = await DuckDBStore.open(tmp_path / "uploads.duckdb", threads=1)
    made = Uploads(dataclasses.replace(market, store=store))
    async with made.http:
        yield made
    await store.close()


def assert_refused(answer: httpx2.Response) -> list[dict[str, Any]]:
    """A problem like any other, which also lists what is rejected: return that."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert {"type", "title", "status", "detail", "errors", "rejected", "rejected_total", "rejected_rows"} == set(
        document
    ) - {"hint", "instance"}
    rejected: list[dict[str, Any]] = document["rejected"]
    assert rejected and document["rejected_total"] >= len(rejected)
    assert {frozenset(fault) for fault in rejected} == {frozenset({"row", "column", "reason"})}
    return rejected


async def test_what_is_uploaded_comes_back_and_makes_longer_bars(uploads: Uploads) -> None:
    said = (await uploads.send(csv_of(120), "../../etc/mine.csv")).json()
    assert {key: said[key] for key in ("inserted", "updated", "unchanged", "rejected", "stored")} == {
        "inserted": 120, "updated": 0, "unchanged": 0, "rejected": [], "stored": True,
    }  # fmt: skip
    bars = (await uploads.get("/api/ohlc/mycoin", limit=1000))["bars"]
    assert [bar["volume"] for bar in bars] == [float(i + 1) for i in range(120)]
    assert {(bar["origin"], bar["closed"], bar["trades"], bar["vwap"]) for bar in bars} == {("upload", True, 0, None)}
    hours = (await uploads.get("/api/ohlc/MYCOIN", timeframe="1h"))["bars"]
    assert [bar["volume"] for bar in hours] == [sum(range(1, 61)), sum(range(61, 121))]
    listed = await uploads.get("/api/uploads")
    assert listed == [
        {
            "symbol": "MYCOIN", "timeframe": "1m", "rows": 120, "first_timestamp": T0_MS,
            "last_timestamp": T0_MS + 119 * MINUTE_MS, "uploaded_at": uploads.market.now_ns // 10**6,
            "filename": "mine.csv",
        }
    ]  # fmt: skip
    marks = {row["symbol"]: (row["uploaded"], row["status"]) for row in await uploads.get("/api/symbols")}
    assert marks["MYCOIN"] == (True, "stored") and marks["BTCUSDT"][0] is False
    price = await uploads.get("/api/price/MYCOIN")
    assert (price["source"], price["price"], price["timestamp"]) == ("upload", 104.0, T0_MS + 120 * MINUTE_MS)
    assert [len(bars) for bars in uploads.came] == [120]


async def test_the_same_again_changes_nothing_and_other_values_replace(uploads: Uploads) -> None:
    await uploads.send(csv_of(10))
    again = (await uploads.send(csv_of(10))).json()
    assert (again["inserted"], again["updated"], again["unchanged"]) == (0, 0, 10)
    other = (await uploads.send(csv_of(12, price=200.0))).json()
    assert (other["inserted"], other["updated"], other["unchanged"]) == (2, 10, 0)
    assert [len(bars) for bars in uploads.came] == [10, 12]
    assert (await uploads.get("/api/ohlc/MYCOIN"))["bars"][0]["open"] == 200.0


async def test_one_bad_row_keeps_all_out_and_partial_keeps_only_it_out(uploads: Uploads) -> None:
    body = csv_of(5).replace(b"102.0,109.0", b"102.0,nan")
    refused = await uploads.send(body)
    told = [{"row": 3, "column": "high", "reason": "is NaN"}]
    assert assert_refused(refused) == told and refused.json()["rejected_total"] == 1
    assert "row 3, column high: is NaN" in refused.json()["detail"] and "partial" in refused.json()["hint"]
    hopeless = await uploads.send(csv_of(5).replace(b",109.0", b",nan"), partial="true")
    assert hopeless.status_code == 422 and hopeless.json()["hint"] == "mend the rows"
    assert await uploads.get("/api/uploads") == []
    assert (await uploads.http.get("/api/ohlc/MYCOIN")).status_code == 404
    partly = (await uploads.send(body, partial="true")).json()
    assert (partly["inserted"], partly["rejected"], partly["rejected_rows"]) == (4, told, 1)


async def test_a_preview_stores_nothing_and_says_what_would_come_of_it(uploads: Uploads) -> None:
    await uploads.send(csv_of(3))
    said = (await uploads.send(csv_of(5), preview="true")).json()
    assert (said["inserted"], said["unchanged"], said["stored"], said["accepted"]) == (2, 3, False, True)
    assert said["preview"][0] == {
        "symbol": "MYCOIN", "timestamp": T0_MS, "open": 100.0, "high": 109.0, "low": 99.0, "close": 100.0,
        "volume": 1.0, "quote_volume": None, "buy_volume": None,
    }  # fmt: skip
    assert (await uploads.get("/api/uploads"))[0]["rows"] == 3
    bad = (await uploads.send(csv_of(5).replace(b"109.0", b"-1"), preview="true")).json()
    assert (bad["accepted"], bad["rejected_rows"], bad["preview"]) == (False, 5, [])


async def test_minutes_that_own_ticks_cover_are_rejected_and_those_before_are_not(fresh_market: Market) -> None:
    uploads = Uploads(fresh_market)
    body = csv_of(30, start_ms=START_MS - 10 * MINUTE_MS)
    rejected = assert_refused(await uploads.send(body, symbol="BTCUSDT"))
    # Minute 10 is the one in which our trades began: it is not whole, so a bar of it may come in.
    assert [fault["row"] for fault in rejected] == list(range(12, 31))
    assert {fault["reason"] for fault in rejected} == {"own ticks cover this time"}
    before = await uploads.get("/api/ohlc/BTCUSDT", start=START_MS, end=START_MS + 20 * MINUTE_MS)
    partly = (await uploads.send(body, symbol="BTCUSDT", partial="true")).json()
    assert (partly["inserted"] + partly["updated"], partly["rejected_rows"]) == (11, 19)
    after = await uploads.get("/api/ohlc/BTCUSDT", start=START_MS, end=START_MS + 20 * MINUTE_MS)
    assert after["bars"][1:] == before["bars"][1:] and after["bars"][0]["origin"] == "upload"


async def test_long_bars_of_a_symbol_alone_serve_charts_pairs_screens_and_backtests(uploads: Uploads) -> None:
    """Five-minute bars of two symbols that hang together: longer bars of them, and all that is computed of pairs."""
    rng = np.random.default_rng(5)
    x = (100 * np.exp(np.cumsum(rng.standard_normal(600)) * 1e-3)).round(6)
    y = (x**0.8 * np.exp(rng.standard_normal(600) * 1e-3)).round(6)
    for symbol, price in (("AAA", x), ("BBB", y)):
        table = pd.DataFrame({"time": T0_MS // 1000 + 300 * np.arange(600), "open": price})
        table = table.assign(high=price * 1.001, low=price * 0.999, close=price, volume=1.0)
        body = table.to_json(orient="records").encode()
        assert (await uploads.send(body, "x.json", symbol=symbol, timeframe="5m")).json()["inserted"] == 600
    quarter = (await uploads.get("/api/ohlc/AAA", timeframe="15m", limit=1000))["bars"]
    assert [bar["close"] for bar in quarter] == x[2::3].tolist()
    assert len((await uploads.get("/api/ohlc/AAA", timeframe="1h", limit=1000))["bars"]) == 50
    pair = await uploads.get("/api/analytics/pair", y="BBB", x="AAA", timeframe="15m", lookback=190, window=30)
    assert pair["hedge_ratio"]["ols"]["beta"] == pytest.approx(0.8, abs=0.05)
    screen = await uploads.get("/api/analytics/screen", timeframe="5m", lookback=500, symbols="AAA,bbb")
    assert {(row["y"], row["x"]) for row in screen["pairs"]} == {("AAA", "BBB"), ("BBB", "AAA")}
    asked = {"y": "BBB", "x": "AAA", "timeframe": "5m", "hedge": {"method": "ols", "lookback": 200}, "window": 30}
    backtest = await uploads.http.post("/api/backtest", json={**asked, "entry": 1.5, "exit": 0.5})
    assert backtest.status_code == 200 and backtest.json()["metrics"]["trades"] > 0


async def test_what_was_uploaded_is_deleted_by_timeframe_or_whole(uploads: Uploads) -> None:
    await uploads.send(csv_of(10))
    await uploads.send(csv_of(4, step_ms=5 * MINUTE_MS), timeframe="5m")
    assert len(await uploads.get("/api/uploads")) == 2
    assert_problem(await uploads.http.delete("/api/uploads/MYCOIN", params={"timeframe": "1h"}), 404)
    gone = await uploads.http.delete("/api/uploads/mycoin", params={"timeframe": "5m"})
    assert gone.json() == {"symbol": "MYCOIN", "timeframe": "5m", "removed": 4}
    assert (await uploads.http.delete("/api/uploads/MYCOIN")).json()["removed"] == 10
    assert_problem(await uploads.http.delete("/api/uploads/MYCOIN"), 404)
    assert await uploads.get("/api/uploads") == []
    assert (await uploads.http.get("/api/ohlc/MYCOIN")).status_code == 404


async def test_nothing_of_any_bad_file_is_stored_and_each_is_a_problem_that_lists_what_is_rejected(
    uploads: Uploads,
) -> None:
    async def state() -> Any:
        stats = await uploads.market.store.stats()
        return (stats.ticks, stats.bars), await uploads.get("/api/uploads"), await uploads.get("/api/symbols")

    before = await state()
    for name, bad in BAD_FILES.items():
        body = bad.body()
        if len(body) > LIMIT or bad.limits.rows < 1000 or bad.words == "is not over yet":
            continue  # too large for this application, or bad only under limits and a clock of its own
        answer = await uploads.send(body, symbol=bad.symbol or None, timeframe=bad.timeframe or None)
        assert bad.words in " | ".join(fault["reason"] for fault in assert_refused(answer)), name
    assert await state() == before and uploads.came == []


async def test_a_bad_field_is_named(uploads: Uploads) -> None:
    for loc, value in (
        ("symbol", None), ("symbol", "no good"), ("timeframe", "7m"), ("partial", "perhaps"), ("preview", "5"),
        ("colour", "red"),
    ):  # fmt: skip
        answer = await uploads.send(csv_of(2), **{loc: value})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["loc"] == ["body", loc]


async def test_what_is_no_form_with_one_file_of_a_fair_size_is_refused(uploads: Uploads) -> None:
    post = uploads.http.post
    assert_problem(await post("/api/upload/ohlc", json={}), 415)
    assert_problem(await post("/api/upload/ohlc", content=b"x"), 415)
    kind = {"Content-Type": "multipart/form-data"}
    assert_problem(await post("/api/upload/ohlc", content=b"x", headers=kind), 422)
    kind = {"Content-Type": "multipart/form-data; boundary=a; charset=klingon"}
    for body in (b"x", b"--a\r\n", b"--a\r\nContent-Disposition: form-data\r\n\r\nx\r\n--a--\r\n"):
        assert_problem(await post("/api/upload/ohlc", content=body, headers=kind), 422)
    assert_problem(await post("/api/upload/ohlc", data={"symbol": "A"}, files={"other": ("x", b"1")}), 422)
    two = [("file", ("a.csv", csv_of(2))), ("file", ("b.csv", csv_of(2)))]
    assert_problem(await post("/api/upload/ohlc", data={"symbol": "A"}, files=two), 422)
    assert_problem(await uploads.send(bytes(LIMIT + 1)), 413)
    assert_problem(await uploads.send(bytes(2 * LIMIT)), 413)
    assert_refused(await uploads.send(gzip.compress(bytes(32 << 20))))


async def test_uploads_at_once_are_each_stored_whole(uploads: Uploads) -> None:
    answers = await asyncio.gather(*(uploads.send(csv_of(200), symbol=f"COIN{i}") for i in range(4)))
    assert [answer.json()["inserted"] for answer in answers] == [200] * 4
    assert {row["rows"] for row in await uploads.get("/api/uploads")} == {200}


@pytest.mark.skipif(not BARS.exists(), reason="the real bars of ../shared/data are not here")
async def test_real_minutes_make_the_bars_that_pandas_makes_and_the_tests_that_were_published(uploads: Uploads) -> None:
    """1m uploaded → 5m, 15m, 1h as an independent resample has them; Engle-Granger of 15-minute closes."""
    names = ["ADAUSDT", "AVAXUSDT", "ETCUSDT", "XLMUSDT"]
    table = pd.read_parquet(BARS, filters=[("symbol", "in", names)])
    sink = io.BytesIO()
    table.to_parquet(sink, index=False)
    now_ns = uploads.market.now_ns = 1_760_000_000 * 10**9
    # The market has gone on since: also the bars that the file ends within are over.
    await uploads.market.store.append(TickBatch.empty(Symbols(), now_ns))
    said = (await uploads.send(sink.getvalue(), "bars.parquet", symbol=None, timeframe=None)).json()
    assert (said["inserted"], said["timeframe"], said["symbols"]) == (len(table), "1m", names)
    etc = table[table.symbol == "ETCUSDT"].set_index("timestamp")
    for timeframe, minutes in WIDE.items():
        wanted = etc.resample(f"{minutes}min").agg(
            {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
        )
        bars, cursor = [], None
        while bars == [] or cursor is not None:
            page = await uploads.get(
                "/api/ohlc/ETCUSDT",
                timeframe=timeframe,
                start=0,
                limit=10_000,
                **({"cursor": cursor} if cursor else {}),
            )
            bars, cursor = bars + page["bars"], page["next"]
        got = pd.DataFrame(bars)
        assert got.timestamp.tolist() == (wanted.index.astype("datetime64[ms, UTC]").astype("int64")).tolist()
        for name in ("open", "high", "low", "close"):
            assert got[name].tolist() == wanted[name].tolist(), (timeframe, name)
        np.testing.assert_allclose(got.volume, wanted.volume, rtol=1e-12)
    for y, x, statistic, count in (
        ("ETCUSDT", "XLMUSDT", -4.429156, 2881),
        ("XLMUSDT", "ETCUSDT", -4.370252, 2881),
        ("ADAUSDT", "AVAXUSDT", -4.379297, 2881),  # of which 2,390 are common
    ):
        screen = await uploads.get("/api/analytics/screen", timeframe="15m", lookback=count, symbols=f"{y},{x}")
        found = {(row["y"], row["x"]): row["statistic"] for row in screen["pairs"]}
        assert found[y, x] == pytest.approx(statistic, abs=5e-7), (y, x)
