"""The whole market screened at every minute while it trades: how late a tick's message is with that, and without."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lag import rate_of, timed_lags
from benchmarks.processes import Watch, children, get_json, until
from benchmarks.report import Report
from pairscope.client import Client
from pairscope.market.bars import BarBatch, Origin
from pairscope.market.symbols import Symbols
from pairscope.research.screen import screen_pairs
from pairscope.storage.tick_storage import open_store

__all__ = ["measure"]

SYMBOLS, RATE, WATCHED = 600, 6000, 20
MINUTES, LOOKBACK = 1600, 1440
MINUTE_NS = 60_000_000_000
AFTER_S = 4
"""Seconds of each minute in which its screen runs."""
SETTLED_S = 95
"""After so long the first, partial minute of every symbol has been corrected, which keeps the store busy; mostly it is
sooner, and then nothing waits."""
QUIET_S = 5
PATIENCE_S = 170
SCREENS = {"without": "", "with": "1m:1440,5m:2016,1h:1000"}


def measure(*, seconds: int = 130, rounds: int = 2) -> Report:
    """Run the product without screens and with them, in turns: each run takes a minute or two more than ``seconds``."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in SCREENS}
    for place in range(rounds):
        for name, setting in SCREENS.items():
            began = time.monotonic()
            runs[name].append(run(setting, seconds))
            _say(f"round {place + 1} of {rounds}, {name} screens: done in {time.monotonic() - began:.0f} s")
    return told(runs, seconds)


def run(setting: str, seconds: int) -> dict[str, Any]:
    """One run: a store with a day of history, the market at its rate, a client of the stream in another process."""
    names = [f"S{i:03d}USDT" for i in range(SYMBOLS)]
    with children() as started:
        (started.folder / "data").mkdir()
        file = started.folder / "data" / "pairscope.duckdb"
        asyncio.run(fill(file, names))
        _, at = started.exchange(symbols=SYMBOLS, rate=RATE, seconds=seconds + 180, speed=1.0, even=True)
        backend, url = started.backend(
            at, symbols=",".join(names), source="live", history_minutes=0, screen=setting, screen_surrogates=0,
            log_level="warning",
        )  # fmt: skip
        began_ns, began = time.time_ns(), time.monotonic()
        _say("the backend answers")
        until(lambda: rate_of(url) > RATE * 0.9, what="the full rate")
        if setting:
            until(lambda: screens(url, "1m:1440")["screens"] >= 1, seconds=PATIENCE_S, what="the first screen")
            _say(f"the first screen stands, after {time.monotonic() - began:.0f} s")
        settle(url, began_ns, began + SETTLED_S)
        _say(f"the first minute is corrected, after {time.monotonic() - began:.0f} s; {seconds} s of listening begin")
        before = screens(url, "1m:1440")
        out = started.folder / "arrivals.npz"
        topics = [[f"price:{name}" for name in names[:WATCHED]]]
        watch = Watch(backend.usage)
        client = started.start(
            "benchmarks.listener",
            json.dumps(
                {
                    "url": f"{url.replace('http', 'ws')}/ws/updates",
                    "topics": topics,
                    "seconds": seconds,
                    "out": str(out),
                }
            ),
        )
        client.line()
        client.line()
        usage = watch.usage()
        after = screens(url, "1m:1440")
        said = screened(url) if setting else None
        code = backend.stop()
        _say("listened; the backend has ended")
        times, lags = timed_lags(file, out)
        if said is not None:
            asyncio.run(compare(file, said))
    if code:
        raise AssertionError(f"the backend ended with {code}")
    return {"times": times, "lags": lags, "usage": usage, "before": before, "after": after}


def settle(url: str, began_ns: int, latest: float) -> None:
    """Wait until the first minute, which began before us, has closed and been corrected, or until it is late."""
    closed_ns = (began_ns // MINUTE_NS + 1) * MINUTE_NS
    calm_since = None
    while time.monotonic() < latest:
        stats = get_json(f"{url}/api/stats")
        writer, feed = stats["writer"], stats["feed"]
        busy = writer["waiting_rebuilds"] or feed["gaps_pending"] or time.time_ns() < closed_ns + MINUTE_NS // 20
        if busy:
            calm_since = None
        elif calm_since is None:
            calm_since = time.monotonic()
        elif time.monotonic() - calm_since >= QUIET_S:
            return
        time.sleep(0.5)


def _say(what: str) -> None:
    """Say on standard error how far it is: the whole takes minutes."""
    print(f"screen_live: {what}", file=sys.stderr, flush=True)


async def fill(file: Path, names: list[str]) -> None:
    """Put a day of one-minute bars into a new store: walks, every tenth tied to the one before it."""
    rng = np.random.default_rng(3)
    walks = np.cumsum(rng.standard_normal((MINUTES, len(names))), axis=0) * 0.0005
    for i in range(9, len(names), 10):
        walks[:, i] = walks[:, i - 1] + 0.001 * rng.standard_normal(MINUTES)
    now_ns = time.time_ns() // MINUTE_NS * MINUTE_NS
    store = await open_store(f"duckdb:///{file}")
    symbols = Symbols(names)
    n = MINUTES
    one, none = np.ones(n), np.full(n, -1)
    for i in range(len(names)):
        close = (60_000.0 * np.exp(walks[:, i] - walks[-1, i])).round(2)
        await store.put_bars(
            BarBatch(
                symbols, "1m", np.full(n, i, np.int32), now_ns - MINUTE_NS * np.arange(n, 0, -1), *(close,) * 4,
                volume=one, quote_volume=close, buy_volume=one, trades=np.full(n, 1), first_id=none, last_id=none,
                revision=np.zeros(n, np.int32), origin=np.full(n, Origin.EXCHANGE, np.int8),
            )
        )  # fmt: skip
    await store.close()


def screens(url: str, name: str) -> Any:
    return get_json(f"{url}/api/stats")["screens"].get(name, {"screens": 0})


def screened(url: str) -> Any:
    """The best rows of the newest screen, as the API gives them out."""
    with Client(url, timeout=60) as api:
        return api.screen("1m", LOOKBACK, limit=10_000)


async def compare(file: Path, said: Any) -> None:
    """Demand that the running product's screen is that of the stored bars."""
    store = await open_store(f"duckdb:///{file}")
    end_ns = said.attrs["as_of"] * 1_000_000 + MINUTE_NS
    found = {
        name: await store.bars(name, "1m", 0, end_ns, limit=MINUTES + 60, newest=True) for name in said.attrs["symbols"]
    }
    await store.close()
    common = sorted(set.intersection(*(set(bars.ts_open_ns.tolist()) for bars in found.values())))
    common = common[-said.attrs["bars"] :]
    columns = [bars.close[np.isin(bars.ts_open_ns, common)] for bars in found.values()]
    direct = screen_pairs(np.column_stack(columns), list(found)).to_pandas().set_index(["y", "x"])
    both = said.set_index(["y", "x"]).join(direct, rsuffix="_direct")
    for column in ("statistic", "qvalue", "beta"):
        if not np.allclose(both[column], both[f"{column}_direct"], rtol=1e-7, atol=0):
            raise AssertionError(f"{column} of the live screen is not that of the stored bars")
    if (both["lags"] != both["lags_direct"]).any() or len(both) != 10_000:
        raise AssertionError("the live screen is not that of the stored bars")


def told(runs: dict[str, list[dict[str, Any]]], seconds: int) -> Report:
    report = Report(
        "screen_live",
        f"{SYMBOLS} symbols at {RATE:,} ticks/s through the whole product, {SYMBOLS * (SYMBOLS - 1):,} tests at each "
        f"minute's close (1,440 × 1m; 2,016 × 5m and 1,000 × 1h at theirs), {seconds} s a run, runs without and with "
        f"screens in turns. A client of `/ws/updates` follows {WATCHED} symbols in another process; lag as in `lag`. "
        f"'While screening' are the ticks of the first {AFTER_S} s of each minute, in either kind of run.",
        "10,000 rows of the running product's screen are those of `screen_pairs` on the bars in its store: statistic, "
        "q-value and hedge ratio to 1e-7, the same lags.",
    )
    for name, found in runs.items():
        lags = np.concatenate([one["lags"] for one in found])
        times = np.concatenate([one["times"] for one in found])
        begun = lags[times % MINUTE_NS < AFTER_S * 1_000_000_000]
        for what, part in (("all ticks", lags), ("while screening", begun)):
            p50, p99 = np.percentile(part, [50, 99])
            report.add(
                f"{name} screens, {what}: median, p99, largest",
                f"{p50:.1f}, {p99:.1f}, {part.max():.0f} ms ({part.size:,} ticks)",
            )
        each = ", ".join(f"{np.percentile(one['lags'], 99):.1f}" for one in found)
        report.add(f"{name} screens: p99 of each run", f"{each} ms")
        usage = [one["usage"] for one in found]
        report.add(
            f"{name} screens: backend's CPU, resident memory",
            f"{np.mean([u.cpu_share for u in usage]):.0%} of a core, {max(u.rss_mb for u in usage):,.0f} MB",
        )
    on = runs["with"]
    done = sum(one["after"]["screens"] - one["before"]["screens"] for one in on)
    skipped = sum(one["after"]["skipped"] - one["before"]["skipped"] for one in on)
    slides = sum(one["after"]["slides"] - one["before"]["slides"] for one in on)
    report.add("screens of 1,440 × 1m, of which slid, closes skipped", f"{done:.0f}, {slides:.0f}, {skipped:.0f}")
    report.add(
        "the last one, in its thread of low priority", ", ".join(f"{o['after']['last_ms']:,.0f}" for o in on) + " ms"
    )
    return report
