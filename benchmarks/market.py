"""The whole market, live: 600 synthetic symbols at 6,000 ticks a second through the product as it is started."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.processes import Watch, children, get_json, until
from benchmarks.report import Report, median

SYMBOLS, RATE = 600, 6000


def measure(*, seconds: int = 20, settle: int = 10, history_minutes: int = 1500) -> Report:
    """Follow the market for a while after it has settled; look at the process every half second."""
    with children() as started:
        server = started.start(
            "pairscope", "replay", "serve", f"synthetic:symbols={SYMBOLS},rate={RATE}", "--port", "0"
        )
        rest = server.find(r"EXCHANGE_REST_URL=(\S+)")
        at = {"PAIRSCOPE_EXCHANGE_REST_URL": rest, "PAIRSCOPE_EXCHANGE_WS_URL": rest.replace("http", "ws")}
        backend, url = started.backend(at, all_symbols="true", source="live", history_minutes=history_minutes)
        until(lambda: get_json(f"{url}/api/stats")["rates"]["ticks_per_second"] > RATE / 2, what="the market")
        time.sleep(settle)
        watch, looks, memory = Watch(backend.usage), [], []
        end = time.monotonic() + seconds
        before = get_json(f"{url}/api/stats")
        while time.monotonic() < end:
            time.sleep(0.5)
            memory.append(watch.look())
            looks.append(get_json(f"{url}/api/stats"))
        usage = watch.usage()
        until(lambda: not [g for g in get_json(f"{url}/api/stats")["gaps"] if g["status"] == "open"], what="repairs")
        code = backend.stop()
        stored = check(started.folder / "data" / "pairscope.duckdb")
    return told(before, looks, memory, usage, stored, code, seconds)


def check(file: Path) -> int:
    """Demand that every symbol's ids are there from its first to its last, once; return how many ticks there are."""
    with duckdb.connect(str(file), read_only=True) as store:
        [(ticks, different, span)] = store.execute(
            "SELECT sum(n), sum(d), sum(span) FROM (SELECT count(*) AS n, count(DISTINCT id) AS d, "
            "max(id) - min(id) + 1 AS span FROM tick GROUP BY symbol_id)"
        ).fetchall()
    if not ticks == different == span:
        raise AssertionError(f"{ticks} ticks, {different} different ones, of {span}")
    return int(ticks)


def told(
    before: Any, looks: list[Any], memory: list[float], usage: Any, stored: int, code: int, seconds: int
) -> Report:
    last = looks[-1]
    rate = (last["ticks"] - before["ticks"]) / (last["uptime_s"] - before["uptime_s"])
    writer = last["writer"]
    report = Report(
        "market",
        f"{SYMBOLS} synthetic symbols at {RATE:,} ticks/s from `pairscope replay serve`, followed by the backend with "
        f"its API for {seconds} s, closed bars of history being fetched within the weight budget meanwhile.",
        f"in the store, which held {stored:,} ticks at the end, every symbol has each id from its first to its last "
        "once, and no hole is open.",
    )
    report.add("ticks/s", f"{rate:,.0f}")
    report.add("symbols followed", f"{last['following']}")
    report.add("backend's CPU", f"{usage.cpu_share:.1%} of a core", "<= 25 %", usage.cpu_share <= 0.25)
    report.add("backend's resident memory", f"{usage.rss_mb:,.0f} MB", "<= 1,500 MB", usage.rss_mb <= 1500)
    half = len(memory) // 2
    growth = (median(memory[half:]) - median(memory[:half])) / (seconds / 120)
    report.add("its growth, second half against first", f"{growth:+.1f} MB/min")
    report.add("open handles", f"{usage.handles}")
    lag = [look["queues"]["writer"]["lag_ms"] for look in looks]
    report.add("age of the oldest tick not yet stored", f"median {median(lag):.0f} ms, largest {max(lag):.0f} ms")
    report.add("one flush", f"last {writer['last_flush_ms']:.0f} ms, longest {writer['max_flush_ms']:.0f} ms")
    lost = writer["dropped_rows"] + len([g for g in last["gaps"] if g["status"] == "unrepairable"])
    report.add("lost ticks", f"{lost}", "0", lost == 0)
    report.add("late ticks", f"{last['late_ticks']}")
    report.add("exit code after SIGTERM", f"{code}", "0", code == 0)
    return report
