"""A thousand live pairs on a hundred symbols: what a one-second bar costs them, alone and inside the product."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.processes import Watch, children, get_json, until
from benchmarks.report import Report, median
from benchmarks.rest import load
from pairscope.engine.pairs import PairBook, warm_up
from pairscope.engine.updates import Updates
from pairscope.market.bars import BarBatch, Origin
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore

SYMBOLS, PAIRS, LOOKBACK, WINDOW = 100, 1000, 1440, 60
SECOND, START_S = 1_000_000_000, 1_760_000_000
PEER_PAIRS = 20
"""Pairs that statsmodels is timed with; its time is taken times as many as there are."""

F8 = NDArray[np.float64]


def measure(*, seconds: int = 20, bars: int = 300, pairs: int = PAIRS, live: bool = True) -> Report:
    """The step by itself against peers, then the whole backend with the pairs on its watch-list."""
    report = Report(
        "pairs",
        f"{pairs:,} pairs of {SYMBOLS} symbols, one-second bars, lookback {LOOKBACK:,}, window {WINDOW}: OLS, Kalman "
        f"filter, z-score, correlation and break sentinel of every pair at every bar, {bars} bars. NumPy and "
        "statsmodels work out OLS and z-score only, of the same windows.",
        "hedge ratios and z-scores of all pairs equal NumPy's, and statsmodels' for some, to 1e-6 of a standard error "
        "and of a standard deviation.",
    )
    step(report, bars=bars, pairs=pairs)
    if live:
        inside(report, seconds=seconds, pairs=pairs)
    return report


class Desk:
    """Pairs over a made-up market; stands where the engine stands."""

    def __init__(self, pairs: int, bars: int) -> None:
        rng = np.random.default_rng(4)
        self.history = 3 * LOOKBACK
        rows = self.history + bars
        common = np.cumsum(rng.standard_normal(rows)) * 2e-4
        own = np.cumsum(rng.standard_normal((rows, SYMBOLS)), axis=0) * 2e-5
        self.closes = 100 * np.exp(common[:, None] + own + 1e-4 * rng.standard_normal((rows, SYMBOLS)))
        self.symbols = Symbols(f"S{i:03d}USDT" for i in range(SYMBOLS))
        self.now_ns = (START_S + self.history) * SECOND
        self.book = PairBook(self.symbols, self, timer=time.perf_counter_ns)
        legs = [(y, x) for y in range(SYMBOLS) for x in range(SYMBOLS) if y != x]
        self.pairs = np.array(legs[:: max(1, len(legs) // pairs)][:pairs])
        for y, x in self.pairs.tolist():
            self.book.put(PairSettings(self.symbols[y], self.symbols[x], "1s", LOOKBACK, WINDOW))
        for wanted in self.book.lacking():
            asked = self.book.begin(wanted)
            assert asked is not None
            symbol_id = self.symbols.id_of(wanted.symbol)
            slots = np.arange(self.history)
            self.book.fill(wanted, asked[1], self.bars(np.full(slots.size, symbol_id), slots))
        while self.book.settle():
            pass

    def watermark_ns(self) -> int:
        return self.now_ns

    def price(self, _: str) -> None:
        return None

    def bars(self, symbol_id: NDArray[np.int64], rows: NDArray[np.int64]) -> BarBatch:
        n = rows.size
        price, one, none = self.closes[rows, symbol_id], np.ones(n), np.zeros(n, np.int64)
        return BarBatch(
            self.symbols, "1s", symbol_id.astype(np.int32), (START_S + rows) * SECOND, price, price, price, price,
            one, price, one, none, none, none, np.zeros(n, np.int32), np.zeros(n, np.int8),
        )  # fmt: skip

    def step(self, row: int) -> float:
        """Close one second of every symbol; return how long the pairs took for it, in ms."""
        self.now_ns = (START_S + row + 1) * SECOND
        closed = self.bars(np.arange(SYMBOLS), np.full(SYMBOLS, row))
        nothing = TickBatch.empty(self.symbols, self.now_ns)
        updates = Updates(nothing, (closed,), (), np.empty(0, np.int32), 0, (), None, self.now_ns)  # type: ignore[arg-type]
        began = time.perf_counter()
        self.book.take(updates)
        return (time.perf_counter() - began) * 1e3


def step(report: Report, *, bars: int, pairs: int) -> None:
    warm_up()
    began = time.perf_counter()
    desk = Desk(pairs, bars)
    ready = time.perf_counter() - began
    took, peers = [], []
    for row in range(desk.history, desk.history + bars):
        took.append(desk.step(row))
        if row % 30 == 0:
            began = time.perf_counter()
            theirs = by_numpy(desk, row)
            peers.append((time.perf_counter() - began) * 1e3)
            check(desk, theirs)
    ours, p99 = median(took), float(np.percentile(took, 99))
    slow = by_statsmodels(desk, desk.history + bars - 1) * pairs / PEER_PAIRS
    report.add("one bar of all pairs, median", f"{ours:.2f} ms", "<= 5 ms", ours <= 5)
    report.add("the same, 99th percentile", f"{p99:.2f} ms")
    report.add(
        "NumPy, all pairs at once: OLS and z-score only", f"{median(peers):.1f} ms ({median(peers) / ours:.0f}x)"
    )
    report.add(f"statsmodels OLS and NumPy z-score, from {PEER_PAIRS} pairs", f"{slow:,.0f} ms ({slow / ours:,.0f}x)")
    report.add("history of all pairs taken up, 3 lookbacks", f"{ready:.1f} s")


def by_numpy(desk: Desk, row: int) -> tuple[F8, F8, F8, F8]:
    """Alpha, beta, beta's standard error and z-score of every pair, from the last bars, vectorised over pairs."""
    logs = np.log(desk.closes[row + 1 - LOOKBACK : row + 1])
    y, x = logs.T[desk.pairs[:, 0]], logs.T[desk.pairs[:, 1]]
    my, mx = y.mean(axis=1), x.mean(axis=1)
    u, v = x - mx[:, None], y - my[:, None]
    sxx = (u * u).sum(axis=1)
    beta = (u * v).sum(axis=1) / sxx
    left = v - beta[:, None] * u
    stderr = np.sqrt((left * left).sum(axis=1) / (LOOKBACK - 2) / sxx)
    tail = left[:, -WINDOW:]
    return my - beta * mx, beta, stderr, (tail[:, -1] - tail.mean(axis=1)) / tail.std(axis=1, ddof=1)


def by_statsmodels(desk: Desk, row: int) -> float:
    """Compare some pairs with statsmodels; return how long it took, in ms."""
    import statsmodels.api as sm

    logs = np.log(desk.closes[row + 1 - LOOKBACK : row + 1])
    found = []
    began = time.perf_counter()
    for y, x in desk.pairs[:PEER_PAIRS].tolist():
        fit = sm.OLS(logs[:, y], sm.add_constant(logs[:, x])).fit()
        tail = fit.resid[-WINDOW:]
        found.append((*fit.params, fit.bse[1], (tail[-1] - tail.mean()) / tail.std(ddof=1)))
    took = (time.perf_counter() - began) * 1e3
    check(desk, tuple(np.array(found).T))
    return took


def check(desk: Desk, theirs: tuple[F8, ...]) -> None:
    """Demand that the pairs say what somebody else worked out."""
    alpha, beta, stderr, zscore = theirs
    for i, (y, x) in enumerate(desk.pairs[: alpha.size].tolist()):
        view = desk.book.view(desk.symbols[y], desk.symbols[x], closed=True)
        assert view is not None
        ols = view["hedge_ratio"]["ols"]
        near = abs(ols["beta"] - beta[i]) <= 1e-6 * stderr[i] and abs(ols["alpha"] - alpha[i]) <= 1e-5 * stderr[i]
        if not near or abs(view["spread"]["zscore"] - zscore[i]) > 1e-6:
            raise AssertionError(f"{y}, {x}: {ols}, {view['spread']}; others say {[part[i] for part in theirs]}")


def inside(report: Report, *, seconds: int, pairs: int) -> None:
    """Put the pairs on the list of a running backend, wait until all are told, then watch it and ask for prices."""
    names = [f"S{i:03d}USDT" for i in range(SYMBOLS)]
    with children() as started:
        asyncio.run(fill(started.folder / "data" / "pairscope.duckdb"))
        _, at = started.exchange(symbols=SYMBOLS, rate=1000.0, seconds=900, speed=1.0, even=True)
        backend, url = started.backend(at, symbols=",".join(names), source="live", history_minutes=0)
        price = f"{url}/api/price/{names[3]}"
        until(lambda: get_json(f"{url}/api/stats")["ticks"] > 10 * 1000, what="the first ten seconds")
        alone = watched(backend, started, price, seconds)
        legs = [(y, x) for y in names for x in names if y != x]
        for y, x in legs[:: max(1, len(legs) // pairs)][:pairs]:
            post(f"{url}/api/watchlist", {"y": y, "x": x, "timeframe": "1s", "lookback": LOOKBACK, "window": WINDOW})
        counts = until(lambda: told(url, pairs), what="every pair")
        steps = counts["steps"]
        with_pairs = watched(backend, started, price, seconds)
        after = get_json(f"{url}/api/stats")["pairs"]
        said = [entry["live"] for entry in get_json(f"{url}/api/watchlist")["pairs"]]
    if not all(live["n"] == LOOKBACK and live["spread"]["zscore"] is not None for live in said):
        raise AssertionError("a pair of the backend has not its whole lookback")
    report.add("in the backend, 1,000 ticks/s: CPU without pairs", f"{alone['cpu']:.0%} of a core")
    report.add(f"the same with {pairs:,} pairs", f"{with_pairs['cpu']:.0%} of a core")
    report.add("pairs stepped a second", f"{(after['steps'] - steps) / with_pairs['seconds']:,.0f}")
    report.add("last and longest bar since the start", f"{after['last_step_ms']:.1f}, {after['max_step_ms']:.1f} ms")
    report.add("/api/price without pairs, 99th percentile", f"{alone['p99_ms']:.2f} ms")
    p99 = with_pairs["p99_ms"]
    report.add(f"/api/price with {pairs:,} pairs, 99th percentile", f"{p99:.2f} ms", "<= 10 ms", p99 <= 10)


async def fill(file: Path) -> None:
    """Store one-second bars of every symbol, three lookbacks up to now."""
    desk = Desk(1, 0)
    file.parent.mkdir(parents=True, exist_ok=True)
    store = await DuckDBStore.open(file)
    rows = np.arange(desk.history)
    shift_ns = time.time_ns() // SECOND * SECOND - desk.now_ns
    for symbol_id in range(SYMBOLS):
        bars = desk.bars(np.full(rows.size, symbol_id), rows)
        none, origin = np.full(rows.size, -1), np.full(rows.size, Origin.UPLOAD, np.int8)
        moved = replace(bars, ts_open_ns=bars.ts_open_ns + shift_ns, first_id=none, last_id=none, origin=origin)
        await store.put_bars(moved)
    await store.close()


def told(url: str, pairs: int) -> Any:
    counts = get_json(f"{url}/api/stats")["pairs"]
    return counts if counts["pairs"] == pairs and not counts["loading"] and not counts["waiting"] else None


def watched(backend: Any, started: Any, price: str, seconds: int) -> dict[str, float]:
    """Ask for prices at an easy rate, over some seconds, and see what the backend uses meanwhile."""
    watch, began = Watch(backend.usage), time.monotonic()
    found = load(started, price, float(seconds), rate=200.0)
    return {"cpu": watch.usage().cpu_share, "p99_ms": found["p99_ms"], "seconds": time.monotonic() - began}


def post(url: str, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=30):
        return
