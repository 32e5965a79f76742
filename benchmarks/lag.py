"""From a tick's arrival at the feed's socket to the price message that shows it at a client of the stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from benchmarks.listener import arrivals
from benchmarks.processes import Watch, children, until
from benchmarks.report import Report

__all__ = ["lags_ms", "measure", "timed_lags"]

SYMBOLS, RATE, WATCHED = 200, 20_000, 20


def measure(*, seconds: int = 20) -> Report:
    """Run the whole product at the rate and read its store and its client."""
    names = [f"S{i:03d}USDT" for i in range(SYMBOLS)]
    with children() as started:
        _, at = started.exchange(symbols=SYMBOLS, rate=RATE, seconds=seconds + 40, speed=1.0, even=True)
        backend, url = started.backend(at, symbols=",".join(names), source="live", history_minutes=0)
        until(lambda: rate_of(url) > RATE * 0.9, what="the full rate")
        out = started.folder / "arrivals.npz"
        topics = [[f"price:{name}" for name in names[:WATCHED]]]
        told = {"url": f"{url.replace('http', 'ws')}/ws/updates", "topics": topics, "seconds": seconds, "out": str(out)}
        watch = Watch(backend.usage)
        client = started.start("benchmarks.listener", json.dumps(told))
        client.line()
        messages = client.line()["messages"]
        usage = watch.usage()
        backend.stop()
        found = lags_ms(started.folder / "data" / "pairscope.duckdb", out)
    p50, p99 = np.percentile(found, [50, 99])
    report = Report(
        "lag",
        f"{SYMBOLS} symbols at {RATE:,} ticks/s through the whole product for {seconds} s; a client of `/ws/updates` "
        f"follows {WATCHED} of them in another process. A tick's lag ends with the first message that shows it or a "
        "newer one of its symbol; the flush interval of 25 ms is part of it.",
        "each message names the trade that it shows, and every trade of these symbols is in the store with the moment "
        "of its arrival.",
    )
    report.add("ticks measured", f"{found.size:,}")
    report.add("messages", f"{messages:,}")
    report.add("median", f"{p50:.1f} ms", "<= 30 ms", bool(p50 <= 30))
    report.add("99th percentile", f"{p99:.1f} ms", "<= 60 ms", bool(p99 <= 60))
    report.add("largest", f"{found.max():.1f} ms")
    report.add("backend's CPU", f"{usage.cpu_share:.0%} of a core")
    return report


def rate_of(url: str) -> float:
    from benchmarks.processes import get_json

    return float(get_json(f"{url}/api/stats")["rates"]["ticks_per_second"])


def lags_ms(store: Path, out: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Every tick's lag at every client that followed its symbol, between that client's first message and its last."""
    return timed_lags(store, out)[1]


def timed_lags(store: Path, out: Path) -> tuple[Any, Any]:
    """When each tick was received (ns), and its lag in ms at every client that followed its symbol."""
    parts, times = [], []
    with duckdb.connect(str(store), read_only=True) as held:
        for symbol, rows in arrivals(str(out)).items():
            ticks = held.execute(
                "SELECT id, ts_recv_ns FROM tick JOIN symbol USING (symbol_id) WHERE name = $name ORDER BY id",
                {"name": symbol},
            ).fetchnumpy()
            ids, received = np.asarray(ticks["id"]), np.asarray(ticks["ts_recv_ns"])
            if ids.size != ids[-1] - ids[0] + 1:
                raise AssertionError(f"{symbol}: ids are missing in the store")
            for client in np.unique(rows[:, 0]):
                mine = rows[(rows[:, 0] == client) & (rows[:, 2] >= 0)]
                shown = np.maximum.accumulate(mine[:, 2])
                wanted = np.arange(shown[0] + 1, shown[-1] + 1)
                wanted = wanted[(wanted >= ids[0]) & (wanted <= ids[-1])]
                first = mine[np.searchsorted(shown, wanted), 1]
                parts.append((first - received[wanted - ids[0]]) / 1e6)
                times.append(received[wanted - ids[0]])
    return np.concatenate(times), np.concatenate(parts)
