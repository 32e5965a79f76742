"""What was told live is told again by a fresh engine over stored ticks; what is on paper is what a backtest makes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from pairscope.market.bars import BarBatch, Origin
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.verification import Verdict, lines, verify_source

from .live_house import MINUTE, SECOND, START_NS, LiveHouse, as_it_came, synthetic_ticks

FLUSH_NS = 250_000_000
SECONDS = int(os.environ.get("RECORDED_SECONDS", "250"))
"""How long a stretch of the synthetic market is told and told again; two hours under ``make soak``."""


@pytest.fixture(scope="module")
def ticks() -> TickBatch:
    return synthetic_ticks(seed=3, symbols=5, rate=20.0, seconds=SECONDS)


def rules(names: Sequence[str]) -> list[dict[str, Any]]:
    """One rule of each method, one filled at opens and re-hedged, on seconds and on five of them."""
    shared = {"y": names[0], "x": names[1], "timeframe": "1s", "window": 20, "entry": 1.2, "exit": 0.2}
    made = [
        {**shared, "hedge": {"method": m, "lookback": 50}, "stop": 3.5, "max_holding": 40} for m in ("ols", "huber")
    ]
    made.append({**shared, "hedge": {"method": "kalman", "lookback": 50}, "fill": "open", "rehedge": 0.05})
    made.append({**shared, "y": names[2], "timeframe": "5s", "hedge": 1.1, "window": 8, "cooldown": 3, "stop": 2.0})
    return made


def pairs(names: Sequence[str]) -> list[PairSettings]:
    return [
        PairSettings(names[0], names[1], "1s", lookback=60, window=20),
        PairSettings(names[2], names[1], "5s", lookback=30, window=10, method="kalman"),
        PairSettings(names[0], names[2], "1m", lookback=5, window=3, method="huber"),
    ]


def exchange_minutes(symbols: Symbols, first: int, end: int) -> BarBatch:
    """The exchange's minutes of every symbol, counted from that of the first tick."""
    minutes = np.arange(first, end)
    close = 100.0 + np.sin(np.arange(minutes.size * len(symbols)))
    none, sizes = np.full(close.size, -1), np.ones(close.size)
    rows = np.repeat(np.arange(len(symbols), dtype=np.int32), minutes.size)
    times = np.tile(START_NS + MINUTE * minutes, len(symbols))
    return BarBatch(
        symbols, "1m", rows, times, *(close,) * 4, sizes, close, sizes, none + 4, none, none,
        np.zeros(close.size, np.int32), np.full(close.size, Origin.EXCHANGE, np.int8),
    )  # fmt: skip


async def recorded(folder: Path, batches: list[TickBatch], *, crash: bool) -> list[Any]:
    """Live over a restart in the middle; return how the rules stand and what their checks say."""
    symbols = batches[0].symbols
    quarter = len(batches) // 4
    house = await LiveHouse.open(folder / "market.duckdb", symbols)
    await house.feed(batches[:10])
    await house.history(exchange_minutes(symbols, -60, 0))
    await house.watch(pairs(list(symbols)))
    await house.feed(batches[10:quarter])
    await house.history(exchange_minutes(symbols, 0, 1))  # the minute of the first tick, once it is over
    for rule in rules(list(symbols)):
        await house.paper.create(rule)
    await house.catch_up()
    await house.feed(batches[quarter : 2 * quarter])
    await (house.crash() if crash else house.close())
    at_ns = int(batches[2 * quarter].ts_recv_ns.min()) - 1
    house = await LiveHouse.open(folder / "market.duckdb", symbols, now_ns=at_ns)
    await house.feed(batches[2 * quarter :])
    await house.catch_up()
    await house.writer.drain()
    stands = [(view, await house.paper.check(view["id"])) for view in house.paper.views()]
    await house.close()
    return stands


async def verdict_of(path: Path, **asked: Any) -> Verdict:
    store = await DuckDBStore.open(path, threads=1)
    try:
        return await verify_source(store, **asked)
    finally:
        await store.close()


@pytest.mark.parametrize(("late", "crash"), [(0.0, False), (0.02, True)])
async def test_all_that_was_told_over_a_restart_is_told_again(
    ticks: TickBatch, tmp_path: Path, late: float, crash: bool
) -> None:
    batches = as_it_came(ticks, seed=1, flush_ns=FLUSH_NS, late=late, most_late_s=30.0)
    stands = await recorded(tmp_path, batches, crash=crash)
    verdict = await verdict_of(tmp_path / "market.duckdb")
    assert lines(verdict)[-1] == "0 differences", "\n".join(lines(verdict))
    told = verdict.compared
    least = {"1s bars": 800, "1m bars": 10, "3m bars as told": 5, "statistics": 15, "pairs": 100, "paper": 300}
    written = 0.4 if crash else 0.9  # what waited for its ticks to be stored is gone with a crash
    assert {kind: told[kind] >= n * written for kind, n in least.items()} == dict.fromkeys(least, True), told
    assert told["1s bars as told"] >= written * told["1s bars"]
    assert verdict.foreign["1m bars"] == len(ticks.symbols), "the first minute is the exchange's"
    for view, check in stands:
        assert view["trades_closed"] == check["trades"] >= 1 if not late else view["trades_closed"] >= 1
        if not late:
            assert check["equal"], check["differences"]


async def test_trades_that_come_behind_a_restart_change_no_minute_that_is_the_exchanges(
    tmp_path: Path,
) -> None:
    ticks = synthetic_ticks(seed=3, symbols=2, rate=5.0, seconds=100)
    came_late = np.isin(np.arange(len(ticks)), np.arange(60, 90))
    batches = as_it_came(ticks.take(~came_late), seed=1, flush_ns=FLUSH_NS)
    stop = next(i for i, batch in enumerate(batches) if batch.watermark_ns > START_NS + 75 * SECOND)
    house = await LiveHouse.open(tmp_path / "market.duckdb", ticks.symbols)
    await house.feed(batches[: stop - 20])
    await house.history(exchange_minutes(ticks.symbols, 0, 1))
    await house.feed(batches[stop - 20 : stop])
    await house.close()
    at_ns = int(batches[stop].ts_recv_ns.min()) - 1
    house = await LiveHouse.open(tmp_path / "market.duckdb", ticks.symbols, now_ns=at_ns)
    late = ticks.take(came_late)
    late = replace(late, ts_recv_ns=np.full(len(late), int(batches[stop].ts_recv_ns.max()) + 1))
    await house.feed([batches[stop], late.with_watermark(batches[stop].watermark_ns), *batches[stop + 1 :]])
    await house.close()
    verdict = await verdict_of(tmp_path / "market.duckdb")
    assert lines(verdict)[-1] == "0 differences", "\n".join(lines(verdict))


async def test_a_tick_that_was_altered_or_lost_or_added_in_the_store_is_found(ticks: TickBatch, tmp_path: Path) -> None:
    path = tmp_path / "market.duckdb"
    await recorded(tmp_path, as_it_came(ticks, seed=1, flush_ns=FLUSH_NS), crash=False)
    changes = {
        "UPDATE tick SET price = price * 1.01 WHERE symbol_id = ? AND id = ?": "quote_volume",
        "UPDATE tick SET size = size + 1 WHERE symbol_id = ? AND id = ?": "volume",
        "DELETE FROM tick WHERE symbol_id = ? AND id = ?": "trades",
    }
    with duckdb.connect(str(path)) as connection:
        rows = connection.execute(
            "SELECT symbol_id, id, ts_event_ns, name FROM tick JOIN symbol USING (symbol_id) "
            "WHERE ts_event_ns >= ? ORDER BY ts_event_ns LIMIT 1 OFFSET 400",
            [START_NS + 120 * SECOND],
        )
        symbol_id, trade_id, at_ns, name = rows.fetchone()
        before = connection.execute(
            "SELECT * FROM tick WHERE symbol_id = ? AND id = ?", [symbol_id, trade_id]
        ).fetchone()
    for sql, what in changes.items():
        with duckdb.connect(str(path)) as connection:
            connection.execute(sql, [symbol_id, trade_id])
        verdict = await verdict_of(path)
        first = next(d for d in verdict.examples if d.timeframe == "1s")
        assert (first.key, first.time_ns) == (name, at_ns // SECOND * SECOND)
        assert what in first.what or "no tick is stored" in first.what
        assert verdict.differing["bars"] >= 4, "seconds, longer bars, and both as they were told"
        with duckdb.connect(str(path)) as connection:
            connection.execute("DELETE FROM tick WHERE symbol_id = ? AND id = ?", [symbol_id, trade_id])
            connection.execute(f"INSERT INTO tick VALUES ({', '.join('?' * len(before))})", before)
    assert (await verdict_of(path)).differences == 0


async def test_a_bar_that_was_altered_or_lost_in_the_store_is_found(ticks: TickBatch, tmp_path: Path) -> None:
    path = tmp_path / "market.duckdb"
    await recorded(tmp_path, as_it_came(ticks, seed=1, flush_ns=FLUSH_NS), crash=False)
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "UPDATE bar_1m SET low = low / 2 WHERE ts_open_ns = ? AND symbol_id = 1", [START_NS + 2 * MINUTE]
        )
        connection.execute("DELETE FROM bar_1s WHERE ts_open_ns = ?", [START_NS + 160 * SECOND])
    verdict = await verdict_of(path)
    found = {(d.timeframe, d.what.split(" ")[0]) for d in verdict.examples}
    assert found >= {("1m", "low"), ("1s", "no")}, found
    assert verdict.differing["pairs"] == verdict.differing["paper"] == 0, "what was told is not touched by that"


async def test_from_the_middle_on_it_begins_with_what_is_stored_of_before(ticks: TickBatch, tmp_path: Path) -> None:
    batches = as_it_came(ticks, seed=1, flush_ns=FLUSH_NS, late=0.02, most_late_s=30.0)
    await recorded(tmp_path, batches, crash=False)
    whole = await verdict_of(tmp_path / "market.duckdb")
    part = await verdict_of(tmp_path / "market.duckdb", since_ns=START_NS + 100 * SECOND)
    assert part.differences == 0, "\n".join(lines(part))
    assert 0 < part.compared["1s bars"] < whole.compared["1s bars"]
    assert 0 < part.compared["pairs"] < whole.compared["pairs"]
    one = await verdict_of(tmp_path / "market.duckdb", symbols=frozenset({ticks.symbols[1]}))
    assert one.differences == 0
    assert 0 < one.compared["1s bars"] < whole.compared["1s bars"] / 2
    assert "pairs" not in one.compared
