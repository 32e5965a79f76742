"""From a tick's arrival to the alert that a client of the stream reads, with ten thousand rules; what those cost."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import numpy as np

from benchmarks.lag import rate_of
from benchmarks.listener import heard_alerts
from benchmarks.processes import Watch, children, get_json, until
from benchmarks.report import Report, median
from pairscope.engine.alerts import AlertBook
from pairscope.engine.data_processor import DataProcessor
from pairscope.market.alert_rules import AlertRule
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

__all__ = ["measure"]

SYMBOLS, RATE, RULES = 200, 20_000, 10_000
NEAR, WAVE_S = 2, 10
"""Rules a symbol whose level its price crosses once in so many seconds; the others lie beyond what it reaches."""
COOLDOWN_S = 5
BATCH, STEPS = 500, 400
GOAL_MS = 60.0


def measure(*, seconds: int = 20, rules: int = RULES, rate: int = RATE) -> Report:
    """The book by itself, then the whole backend with a client in another process, without rules and with them."""
    report = Report(
        "alerts",
        f"{SYMBOLS} symbols at {rate:,} ticks/s through the whole product for {seconds} s, {rules:,} price rules on "
        f"them ({NEAR} a symbol at a level that is crossed every {WAVE_S} s, all others far off). A client of "
        "`/ws/updates` follows `alerts` in another process. An alert's time runs from the arrival of its tick at the "
        "feed's socket to the client's; the flush interval of 25 ms is part of it.",
        "every alert that was heard is at a stored trade beyond its level whose predecessor was not, no rule that is "
        "far off was heard, and every crossing was, while there was somebody to hear it.",
    )
    by_itself(report, rules=rules)
    inside(report, seconds=seconds, rules=rules, rate=rate)
    return report


def by_itself(report: Report, *, rules: int) -> None:
    """Time the engine's step with the book before and after it, in batches as the feed flushes them."""
    shapes = {
        "without rules": [],
        f"{rules:,} price rules over {SYMBOLS} symbols": made_rules(rules, range(SYMBOLS)),
        f"{rules:,} price rules on one symbol": made_rules(rules, [0]),
    }
    costs = {name: [step_cost(found) for _ in range(3)] for name, found in shapes.items()}
    for name, runs in costs.items():
        engine, book = median(run[0] for run in runs), median(run[1] for run in runs)
        report.add(
            f"engine and book, {name}",
            f"{engine:.2f} + {book:.2f} µs a tick ({(engine + book) * RATE / 1e4:.1f} % of a core)",
        )


def made_rules(count: int, symbols: Any) -> list[AlertRule]:
    """Rules of a level far from the price, every symbol in turn, and on each a few near it."""
    found, table = [], list(symbols)
    for i in range(count):
        symbol, number = table[i % len(table)], i // len(table)
        found.append(AlertRule.from_document(f"r{i}", rule_document(f"S{symbol:03d}USDT", number)))
    return found


def rule_document(symbol: str, number: int) -> dict[str, Any]:
    """The ``number``-th rule of a symbol: the first few in the middle of its way, the others 3 to 30 % from it."""
    condition = ("crosses_above", "crosses_below")[number % 2]
    side = 1.0 if number % 2 == 0 else -1.0
    level = 60_000.0 * (1.0 + (0.0 if number < NEAR else side * (0.03 + 0.27 * (number % 997) / 997)))
    asked = {"type": "price", "symbol": symbol, "condition": condition, "threshold": round(level, 2)}
    return {**asked, "cooldown_s": COOLDOWN_S}


def step_cost(rules: list[AlertRule]) -> tuple[float, float]:
    """The engine's and the book's cost of a tick, in µs."""
    symbols = Symbols(f"S{i:03d}USDT" for i in range(SYMBOLS))
    engine = DataProcessor(symbols)
    book = AlertBook(symbols, engine)
    for rule in rules:
        book.put(rule)
    batches = walked(symbols)
    took = [0, 0]
    for i, batch in enumerate(batches):
        began = time.perf_counter_ns()
        book.on_ticks(batch)
        middle = time.perf_counter_ns()
        updates = engine.on_batch(batch)
        end = time.perf_counter_ns()
        book.on_updates(updates)
        book.firings()
        book.changed()
        if i >= STEPS // 4:  # the first ones compile, and fill the rings
            took[0] += end - middle
            took[1] += middle - began + time.perf_counter_ns() - end
    ticks = BATCH * (STEPS - STEPS // 4)
    return took[0] / ticks / 1e3, took[1] / ticks / 1e3


def walked(symbols: Symbols) -> list[TickBatch]:
    """Batches of all symbols in turn at the rate, prices as in the exchange's tape."""
    n = BATCH * STEPS
    rows = np.arange(n)
    start_ns = 1_760_000_000_000_000_000
    times = start_ns + rows * 1_000_000_000 // RATE
    turns = rows / RATE / WAVE_S + rows % SYMBOLS / SYMBOLS
    price = (60_000.0 + 20.0 * np.sin(2.0 * np.pi * turns)).round(2)
    found = []
    for part in np.split(rows, STEPS):
        ids = (part // SYMBOLS + 1).astype(np.int64)
        found.append(
            TickBatch(
                symbols, (part % SYMBOLS).astype(np.int32), times[part], times[part], ids, price[part],
                np.ones(part.size), part % 2 == 0, int(times[part[-1]]) - 300_000_000,
            )
        )  # fmt: skip
    return found


def inside(report: Report, *, seconds: int, rules: int, rate: int) -> None:
    """Run the product at the rate; watch it without rules, then create them, then listen."""
    names = [f"S{i:03d}USDT" for i in range(SYMBOLS)]
    with children() as started:
        _, at = started.exchange(
            symbols=SYMBOLS, rate=rate, seconds=3 * seconds + 240, speed=1.0, even=True, wave_s=WAVE_S
        )
        backend, url = started.backend(
            at, symbols=",".join(names), source="live", history_minutes=0, log_level="warning"
        )
        until(lambda: rate_of(url) > rate * 0.9, what="the full rate")
        alone = watched(backend, seconds)
        asked = create(url, names, rules)
        until(lambda: get_json(f"{url}/api/stats")["alerts"]["rules"] == rules, what="all rules")
        until(lambda: rate_of(url) > rate * 0.9, what="the full rate")
        out = started.folder / "alerts.npz"
        told = {"url": f"{url.replace('http', 'ws')}/ws/updates", "topics": [["alerts"]], "seconds": seconds}
        watch = Watch(backend.usage)
        client = started.start("benchmarks.listener", json.dumps({**told, "out": str(out)}))
        client.line()
        client.line()
        usage = watch.usage()
        stats = get_json(f"{url}/api/stats")
        code = backend.stop()
        found = check(started.folder / "data" / "pairscope.duckdb", out, asked)
    p50, p99 = np.percentile(found, [50, 99])
    report.add("alerts heard", f"{found.size:,} ({found.size / seconds:.0f} a second)")
    report.add("tick to alert, median", f"{p50:.1f} ms")
    report.add("tick to alert, p99", f"{p99:.1f} ms", f"<= {GOAL_MS:.0f} ms", p99 <= GOAL_MS)
    report.add("tick to alert, largest", f"{found.max():.1f} ms")
    report.add("backend's CPU without rules", f"{alone:.0%} of a core")
    report.add(f"backend's CPU with {rules:,} rules, some firing", f"{usage.cpu_share:.0%} of a core")
    report.add("backend's resident memory with them", f"{usage.rss_mb:,.0f} MB")
    report.add("ticks/s meanwhile", f"{stats['rates']['ticks_per_second']:,.0f}")
    report.add("exit code after SIGTERM", f"{code}", "0", code == 0)


def watched(backend: Any, seconds: int) -> float:
    watch = Watch(backend.usage)
    time.sleep(seconds)
    return watch.usage().cpu_share


def create(url: str, names: list[str], rules: int) -> dict[str, dict[str, Any]]:
    """Create the rules, far ones first, over one connection; return what was asked by the rule's id."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    asked = {}
    for i in reversed(range(rules)):
        name, number = names[i % len(names)], i // len(names)
        document = rule_document(name, number)
        asked[request(connection, "POST", "/api/alerts", document)["id"]] = {**document, "far": number >= NEAR}
    connection.close()
    return asked


def request(connection: http.client.HTTPConnection, method: str, path: str, document: Any = None) -> Any:
    body = None if document is None else json.dumps(document)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        raise AssertionError(f"{method} {path}: {answer.status} {text.decode()[:500]}")
    return json.loads(text)


def check(store: Path, out: Path, asked: dict[str, dict[str, Any]]) -> Any:
    """Hold every alert against the stored trades; return how long each took from its tick's arrival, in ms."""
    took = []
    rules_of: dict[str, list[str]] = {}
    for rule_id, rule in asked.items():
        if not rule["far"]:
            rules_of.setdefault(rule["symbol"], []).append(rule_id)
    heard = heard_alerts(str(out))
    far = [one for one in heard if asked[one["alert_id"]]["far"]]
    if far or not heard:
        raise AssertionError(f"{len(heard)} alerts were heard, {len(far)} of rules that are far off")
    first_ms, last_ms = min(one["timestamp"] for one in heard), max(one["timestamp"] for one in heard)
    with duckdb.connect(str(store), read_only=True) as held:
        for symbol, rule_ids in rules_of.items():
            ticks = held.execute(
                "SELECT ts_event_ns // 1000000 AS ms, ts_recv_ns, price FROM tick JOIN symbol USING (symbol_id) "
                "WHERE name = $name ORDER BY id",
                {"name": symbol},
            ).fetchnumpy()
            ms, price = np.asarray(ticks["ms"]), np.asarray(ticks["price"])
            for rule_id in rule_ids:
                side = 1.0 if asked[rule_id]["condition"] == "crosses_above" else -1.0
                beyond = side * (price - asked[rule_id]["threshold"])
                mine = [one for one in heard if one["alert_id"] == rule_id]
                for one in mine:
                    row = int(np.searchsorted(ms, one["timestamp"]))
                    if ms[row] != one["timestamp"] or not beyond[row] > 0 >= beyond[row - 1]:
                        raise AssertionError(f"{one}: no trade crossed {asked[rule_id]} at that moment")
                    took.append((one["at_ns"] - int(ticks["ts_recv_ns"][row])) / 1e6)
                fired = np.array([one["timestamp"] for one in mine], np.int64)
                crossed = ms[1:][(beyond[:-1] < 0) & (beyond[1:] > 0)]
                inside = crossed[(crossed > first_ms + COOLDOWN_S * 1000) & (crossed < last_ms)]
                for at in inside.tolist():
                    if not fired.size or not ((at - fired >= 0) & (at - fired < COOLDOWN_S * 1000)).any():
                        raise AssertionError(f"{asked[rule_id]} crossed at {at}, and nobody heard of it")
    return np.array(took)
