"""A thousand clients of the stream at once, and what one that never reads does to the others."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from benchmarks.lag import lags_ms
from benchmarks.processes import Watch, children, get_json, until
from benchmarks.report import Report

CLIENTS, SYMBOLS, PER_SECOND = 1000, 200, 5
STUCK_ON = (("price", ""), ("bar", ":1s"), ("bar", ":1m"))


def measure(*, seconds: int = 20) -> Report:
    """Run the crowd without and with a stuck client."""
    alone, stuck = run(seconds, stuck=False), run(seconds, stuck=True)
    report = Report(
        "ws",
        f"{CLIENTS:,} clients of `/ws/updates`, each following one of {SYMBOLS} symbols that trade {PER_SECOND} times "
        f"a second, for {seconds} s; then the same with one more client that asks for every price and the bars of two "
        "timeframes and never reads.",
        "every client got messages up to the end; lags are from the arrival of a tick to the message that shows it.",
    )
    wanted = CLIENTS * PER_SECOND
    report.add("messages/s", f"{alone['rate']:,.0f}", f">= {wanted:,} x 0.98", alone["rate"] >= 0.98 * wanted)
    report.add("backend's CPU", f"{alone['cpu']:.0%} of a core", "<= 100 %", alone["cpu"] <= 1.0)
    report.add("lag, median and 99th percentile", f"{alone['p50']:.1f} ms, {alone['p99']:.1f} ms")
    near = stuck["p99"] <= max(1.5 * alone["p99"], alone["p99"] + 15)
    report.add("the same beside a stuck client", f"{stuck['p50']:.1f} ms, {stuck['p99']:.1f} ms", "no change", near)
    report.add("stuck clients hung up on", f"{stuck['hung_up']:.0f}", "1", stuck["hung_up"] == 1)
    return report


def run(seconds: int, *, stuck: bool) -> dict[str, Any]:
    names = [f"S{i:03d}USDT" for i in range(SYMBOLS)]
    rate = SYMBOLS * PER_SECOND
    with children() as started:
        _, at = started.exchange(symbols=SYMBOLS, rate=rate, seconds=seconds + 60, speed=1.0, even=True)
        backend, url = started.backend(at, symbols=",".join(names), source="live", history_minutes=0)
        until(lambda: get_json(f"{url}/api/stats")["ticks"] > rate, what="the market")
        out = started.folder / "arrivals.npz"
        told: dict[str, Any] = {
            "url": f"{url.replace('http', 'ws')}/ws/updates",
            "topics": [[f"price:{names[i % SYMBOLS]}"] for i in range(CLIENTS)],
            "seconds": seconds,
            "out": str(out),
        }
        if stuck:
            told["stuck"] = [f"{kind}:{name}{of}" for name in names for kind, of in STUCK_ON]
        client = started.start("benchmarks.listener", json.dumps(told))
        if client.line()["open"] != CLIENTS:
            raise AssertionError("not every client got in")
        watch = Watch(backend.usage)
        heard = client.line()
        usage = watch.usage()
        if heard["closed"] or heard["fewest"] < 0.9 * PER_SECOND * seconds:
            raise AssertionError(f"clients were cut off or left out: {heard}")
        hung_up = metric(url, "hung_up")
        backend.stop()
        found = lags_ms(started.folder / "data" / "pairscope.duckdb", out)
    p50, p99 = np.percentile(found, [50, 99])
    return {"rate": heard["messages"] / seconds, "cpu": usage.cpu_share, "p50": p50, "p99": p99, "hung_up": hung_up}


def metric(url: str, word: str) -> float:
    """The sum of the metrics in whose names a word is."""
    import urllib.request

    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if word in line and not line.startswith("#"))
