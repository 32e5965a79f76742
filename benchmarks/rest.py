"""``/api/price`` against an empty FastAPI route, and a day of one-minute bars out of many stored ticks."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import numpy as np

from benchmarks.processes import Children, children, free_port, get_json, until
from benchmarks.report import Report, median
from pairscope.market.bars import bars_of
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore

SYMBOLS, DAY_MS = 10, 86_400_000
START_MS = 1_722_470_400_000


def measure(*, seconds: float = 3.0, rounds: int = 3, millions: float = 5.0) -> Report:
    """Both parts in one report."""
    report = Report(
        "rest",
        "A process of its own asks over 32 kept-alive connections; both servers are uvicorn with the settings of "
        f"`pairscope.api.server`; {rounds} rounds in turns, medians. Then single requests for a day of one-minute "
        "bars.",
        "the price is the newest trade's; the day's bars equal those that DuckDB makes of the stored ticks.",
    )
    prices(report, seconds=seconds, rounds=rounds)
    ohlc(report, millions=millions)
    return report


def prices(report: Report, *, seconds: float, rounds: int) -> None:
    with children() as started:
        _, at = started.exchange(symbols=20, rate=100.0, seconds=600, speed=1.0, even=True)
        names = [f"S{i:03d}USDT" for i in range(20)]
        _, url = started.backend(at, symbols=",".join(names), source="live", history_minutes=0)
        price = f"{url}/api/price/{names[3]}"
        until(lambda: get_json(f"{url}/api/stats")["ticks"] > 100, what="prices")
        check_price(url, names[3])
        port = free_port()
        peer = started.start("benchmarks.empty_route", str(port))
        peer.line()
        empty = f"http://127.0.0.1:{port}/"
        until(lambda: answers(empty), what="the empty route")
        mine, theirs = [], []
        for _ in range(rounds):
            mine.append(load(started, price, seconds))
            theirs.append(load(started, empty, seconds))
        ours, peers = median(r["rate"] for r in mine), median(r["rate"] for r in theirs)
        half = load(started, price, seconds, rate=ours / 2)
    report.add("/api/price, requests/s", f"{ours:,.0f}", ">= 70 % of the peer", ours >= 0.7 * peers)
    report.add("empty FastAPI route, requests/s", f"{peers:,.0f}")
    report.add("ratio", f"{ours / peers:.0%}")
    report.add("/api/price at half that load, median", f"{half['p50_ms']:.2f} ms")
    report.add("the same, 99th percentile", f"{half['p99_ms']:.2f} ms", "<= 10 ms", half["p99_ms"] <= 10)


def check_price(url: str, symbol: str) -> None:
    """The price is that of the newest trade, unless a newer one came between the two questions."""
    for _ in range(20):
        tick = get_json(f"{url}/api/ticks/{symbol}?limit=1")["ticks"][-1]
        price = get_json(f"{url}/api/price/{symbol}")
        if (price["price"], price["size"], price["timestamp"]) == (tick["price"], tick["size"], tick["timestamp"]):
            return
    raise AssertionError(f"price {price} is not that of {tick}")


def answers(url: str) -> bool:
    try:
        get_json(url, timeout_s=1)
    except OSError:
        return False
    return True


def load(started: Children, url: str, seconds: float, rate: float | None = None) -> dict[str, Any]:
    told = {"url": url, "connections": 32, "seconds": seconds, "rate": rate}
    found = started.start("benchmarks.http_load", json.dumps(told)).line()
    if found["bad"]:
        raise AssertionError(f"{found['bad']} answers of {url} were not 200")
    return dict(found)


def ohlc(report: Report, *, millions: float) -> None:
    """Fill a store, start the backend on it, ask for days."""
    count = int(millions * 1e6)
    days = max(2, round(count / SYMBOLS / 200_000))
    with children() as started:
        file = started.folder / "data" / "pairscope.duckdb"
        began = time.monotonic()
        asyncio.run(fill(file, count, days))
        filled = time.monotonic() - began
        truth = days_of_duckdb(file, days)
        nobody = {name: f"{kind}://127.0.0.1:{free_port()}" for name, kind in URLS}
        began = time.monotonic()
        _, url = started.backend(nobody, symbols="S0USDT", source="live", history_minutes=0)
        ready = time.monotonic() - began
        took = ask(url, truth)
        size = file.stat().st_size
    p50, p99 = np.percentile(took, [50, 99])
    report.add(f"a day of 1m of {count / 1e6:.0f} M ticks, median", f"{p50:.1f} ms", "<= 20 ms", bool(p50 <= 20))
    report.add("the same, 99th percentile", f"{p99:.1f} ms")
    report.add("that store: ticks/s filled, bytes a tick", f"{count / filled:,.0f}, {size / count:.0f}")
    report.add("API answers on it after", f"{ready:.1f} s")


URLS = (("PAIRSCOPE_EXCHANGE_WS_URL", "ws"), ("PAIRSCOPE_EXCHANGE_REST_URL", "http"))


async def fill(file: Path, count: int, days: int, *, rows: int = 100_000) -> None:
    """Store ticks of all symbols in order of time, with their bars, as the live writer does."""
    store = await DuckDBStore.open(file)
    symbols = Symbols(f"S{i}USDT" for i in range(SYMBOLS))
    rng = np.random.default_rng(5)
    step_ms = days * DAY_MS / count
    price = np.full(SYMBOLS, 60_000.0)
    held = TickBatch.empty(symbols, 0)
    for first in range(0, count, rows):
        k = np.arange(first, min(first + rows, count))
        row = (k % SYMBOLS).astype(np.int32)
        at = (START_MS + (k * step_ms).astype(np.int64)) * 1_000_000
        walk = np.round(price[row] + np.cumsum(rng.integers(-2, 3, k.size)) * 0.1, 1)
        price[row] = walk
        sizes = rng.integers(1, 5000, k.size) / 1000.0
        batch = TickBatch(symbols, row, at, at, k // SYMBOLS + 1, walk, sizes, k % 3 == 0, int(at[-1]))
        open_ns = int(at[-1]) // 60_000_000_000 * 60_000_000_000 if k[-1] + 1 < count else 1 << 62
        held, closed = split(held, batch, open_ns)
        await store.append(batch, [bars_of(closed, timeframe) for timeframe in ("1s", "1m")])
    await store.close()


def split(held: TickBatch, batch: TickBatch, open_ns: int) -> tuple[TickBatch, TickBatch]:
    """Return the ticks of the minute that is still open, and those of minutes that are over."""
    from pairscope.market.ticks import concat_ticks

    both = concat_ticks([held, batch])
    still = both.ts_event_ns >= open_ns
    return replace(both.take(still), void=()), both.take(~still)


def days_of_duckdb(file: Path, days: int) -> dict[tuple[str, int], list[tuple[Any, ...]]]:
    """The one-minute bars of a few days and symbols, made of the ticks by DuckDB."""
    found = {}
    rng = np.random.default_rng(9)
    with duckdb.connect(str(file), read_only=True) as store:
        for day in rng.choice(days, min(days, 4), replace=False).tolist():
            for symbol in ("S0USDT", "S7USDT"):
                start = (START_MS + day * DAY_MS) * 1_000_000
                found[symbol, day] = store.execute(
                    "SELECT ts_event_ns // 60000000000 * 60000, arg_min(price, id), max(price), min(price), "
                    "arg_max(price, id), round(sum(size), 3), count(*) FROM tick JOIN symbol USING (symbol_id) "
                    "WHERE name = $name AND ts_event_ns >= $start AND ts_event_ns < $start + 86400000000000 "
                    "GROUP BY 1 ORDER BY 1",
                    {"name": symbol, "start": start},
                ).fetchall()
    return found


def ask(url: str, truth: dict[tuple[str, int], list[tuple[Any, ...]]], *, times: int = 40) -> list[float]:
    """Ask for each day over and over on one connection; compare every answer's bars once, time the others."""
    parts = urlsplit(url)
    line = http.client.HTTPConnection(str(parts.hostname), parts.port)
    took = []
    for turn in range(times):
        for (symbol, day), expected in truth.items():
            start = START_MS + day * DAY_MS
            path = f"/api/ohlc/{symbol}?timeframe=1m&start={start}&end={start + DAY_MS}&limit=1440"
            began = time.perf_counter()
            line.request("GET", path)
            body = line.getresponse().read()
            took.append((time.perf_counter() - began) * 1e3)
            if turn:
                continue
            keys = ("timestamp", "open", "high", "low", "close", "volume", "trades")
            bars = [tuple(bar[key] for key in keys) for bar in json.loads(body)["bars"]]
            if bars != [tuple(row) for row in expected]:
                raise AssertionError(f"{symbol}, day {day}: the bars are not those of the ticks")
    line.close()
    return took[len(truth) :]
