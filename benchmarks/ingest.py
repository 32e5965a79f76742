"""Ticks a second from the socket to the store, against a bare client that stores nothing."""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
from typing import Any

import duckdb
import numpy as np

from benchmarks.exchange import synthetic_tape
from benchmarks.processes import Children, children
from benchmarks.report import Report, median

SYMBOLS, RATE = 200, 20_000.0


def measure(*, ticks: int = 1_600_000, rounds: int = 3) -> Report:
    """Time both on the same frames, in turns."""
    seconds = int(ticks / RATE)
    tape = synthetic_tape(symbols=SYMBOLS, rate=RATE, seconds=seconds)
    truth = truth_of(tape)
    names = [listing.symbol for listing in tape.listings]
    told: dict[str, Any] = {"symbols": SYMBOLS, "rate": RATE, "seconds": seconds}
    ours, peers, on_uvloop = [], [], []
    for _ in range(rounds):
        ours.append(run_ours(told, names, truth))
        peers.append(run_peer(told, names, truth, "peer"))
        on_uvloop.append(run_peer(told, names, truth, "peer-uvloop"))
    n = len(tape.trades)
    mine, theirs, uvloop = (n / median(r["seconds"] for r in found) for found in (ours, peers, on_uvloop))
    report = Report(
        "ingest",
        f"{n:,} aggTrade frames of {SYMBOLS} synthetic symbols, from the replay server in another process as fast as "
        f"they are read; {rounds} rounds in turns, medians. Ours is one process, socket to decoder to ledger to engine "
        "to DuckDB, from the first frame until the last tick is committed. The peer is `websockets` and `json` on the "
        "standard event loop, and stores nothing; on uvloop it is timed too.",
        "every symbol's stored ids are the tape's, each once, and prices and sizes add up; the peer saw the same ids.",
    )
    report.add("ours, ticks/s stored", f"{mine:,.0f}", ">= 150,000", mine >= 150_000)
    report.add("websockets + json, ticks/s parsed", f"{theirs:,.0f}")
    report.add("the same on uvloop", f"{uvloop:,.0f}")
    report.add("ratio", f"{mine / theirs:.2f}", ">= 3", mine >= 3 * theirs)
    report.add("ours, CPU a tick", f"{median(r['cpu'] for r in ours) / n * 1e6:.2f} µs")
    report.add("peer, CPU a tick", f"{median(r['cpu'] for r in peers) / n * 1e6:.2f} µs")
    report.add("all rounds, ours", ", ".join(f"{n / r['seconds']:,.0f}" for r in ours))
    report.add("all rounds, peer", ", ".join(f"{n / r['seconds']:,.0f}" for r in peers))
    return report


def truth_of(tape: Any) -> dict[str, list[float]]:
    """By symbol: how many trades, first and last id, sum of ids, quote volume."""
    found = {}
    for row, listing in enumerate(tape.listings):
        mine = tape.trades.take(np.flatnonzero(tape.trades.symbol_id == row))
        price = mine.price / 10.0**listing.price_decimals
        size = mine.size / 10.0**listing.size_decimals
        ids = mine.agg_id
        found[listing.symbol] = [
            len(mine), int(ids.min()), int(ids.max()), int(ids.sum()), float((price * size).sum()),
        ]  # fmt: skip
    return found


def run_ours(told: dict[str, Any], names: list[str], truth: dict[str, list[float]]) -> dict[str, float]:
    with children() as started:
        _, at = started.exchange(**told)
        child = started.start("benchmarks.ingest", "ours", json.dumps(names), str(sum(r[0] for r in truth.values())),
                              PAIRSCOPE_DATA_DIR=str(started.folder / "data"), **at)  # fmt: skip
        found = child.line()
        check_store(started, truth)
        return dict(found)


def check_store(started: Children, truth: dict[str, list[float]]) -> None:
    with duckdb.connect(str(started.folder / "data" / "pairscope.duckdb"), read_only=True) as store:
        rows = store.execute(
            "SELECT name, count(*), min(id), max(id), sum(id), sum(price * size), count(DISTINCT id) "
            "FROM tick JOIN symbol USING (symbol_id) GROUP BY 1"
        ).fetchall()
        holes = store.execute("SELECT count(*) FROM gap WHERE status <> 'repaired'").fetchone()
    found = {row[0]: row[1:] for row in rows}
    for name, (count, first, last, ids, quote) in truth.items():
        mine = found[name]
        if (mine[:4], mine[5]) != ((count, first, last, ids), count) or abs(mine[4] / quote - 1) > 1e-9:
            raise AssertionError(f"{name}: stored {mine}, printed {truth[name]}")
    if holes != (0,):
        raise AssertionError(f"{holes} holes are open")


def run_peer(told: dict[str, Any], names: list[str], truth: dict[str, list[float]], kind: str) -> dict[str, float]:
    with children() as started:
        _, at = started.exchange(**told)
        count = sum(r[0] for r in truth.values())
        child = started.start("benchmarks.ingest", kind, json.dumps(names), str(count), at["PAIRSCOPE_EXCHANGE_WS_URL"])
        found = child.line()
        if (found["ticks"], found["ids"]) != (count, sum(r[3] for r in truth.values())):
            raise AssertionError("the peer did not get what the tape holds")
        return dict(found)


async def ours(names: list[str], count: int) -> dict[str, float]:
    """Run the product's backend, without its API, until so many ticks are stored."""
    from pairscope.process import configure_logs, load_settings
    from pairscope.storage.tick_storage import open_store
    from pairscope.wiring.embedded import Backend

    settings = load_settings(symbols=tuple(names), source="live", history_minutes=0, log_level="warning")
    configure_logs(settings)
    backend = Backend(settings, await open_store(settings.store_url))
    await backend.start()
    gc.collect()
    gc.freeze()  # as the product does once it is up
    ingest = asyncio.create_task(backend.ingest())
    cpu = began = 0.0
    while backend.writer.counters()["put_rows"] < count:
        if not began and backend.feed is not None and backend.feed.counters()["frames"]:
            began, cpu = time.perf_counter(), cpu_s()
        if ingest.done():
            ingest.result()
        await asyncio.sleep(0.005)
    await backend.writer.drain()
    ended, cpu = time.perf_counter(), cpu_s() - cpu
    await backend.pipeline.close()  # type: ignore[union-attr]
    await ingest
    await backend.close()
    gc.unfreeze()
    return {"seconds": ended - began, "cpu": cpu, "ticks": count}


async def peer(names: list[str], count: int, url: str) -> dict[str, float]:
    """Receive and parse so many trades."""
    from websockets.asyncio.client import connect

    streams = "/".join(f"{name.lower()}@aggTrade" for name in names)
    got = ids = 0
    cpu = began = 0.0
    async with connect(f"{url}/market/stream?streams={streams}", compression=None, max_size=None) as socket:
        async for message in socket:
            if not began:
                began, cpu = time.perf_counter(), cpu_s()
            trade = json.loads(message)["data"]
            ids += trade["a"]
            got += 1
            if got == count:
                break
        return {"seconds": time.perf_counter() - began, "cpu": cpu_s() - cpu, "ticks": got, "ids": ids}


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(kind: str, names: list[str], count: int, *url: str) -> None:
    """Run one side and print what it took."""
    from pairscope.process import loop_factory

    run = ours(names, count) if kind == "ours" else peer(names, count, *url)
    with asyncio.Runner(loop_factory=None if kind == "peer" else loop_factory()) as runner:
        sys.stdout.write(json.dumps(runner.run(run)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
