"""The whole of it as a person runs it: a replay server, ``pairscope run`` pointed at it, and what comes out."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from .running import Api, Programs, until

SYMBOLS = ("BTCUSDT", "ETHUSDT")
TIMEFRAMES_MS = {"1s": 1000, "5s": 5000, "1m": 60_000}
OVER_MS = 1_723_161_600_000
"""The recordings end a moment after midnight."""
QUICK = {"stall_seconds": "1", "log_level": "info"}


def assert_ticks_are(api: Api, truth: pd.DataFrame) -> None:
    """Every trade of the truth is there once, in order, with its very decimals; ids have no hole."""
    for symbol in SYMBOLS:
        of = truth[truth["symbol"] == symbol]
        found = api.ticks(symbol)
        assert [(t["timestamp"], Decimal(t["price"]), Decimal(t["size"]), t["buyer_is_maker"]) for t in found] == [
            (t.T, Decimal(t.p), Decimal(t.q), t.m) for t in of.itertuples()
        ]
        ids = [t["id"] for t in found]
        assert ids == list(range(ids[0], ids[0] + len(of)))


def assert_bars_are(api: Api, truth: pd.DataFrame, timeframe: str) -> None:
    """Every bar has every field of the one that DuckDB's decimals give, and is closed when it is over."""
    length = TIMEFRAMES_MS[timeframe]
    expected = duckdb.sql(
        f"""
        WITH t AS (
            SELECT symbol, n, "T" // {length} * {length} AS opened, p::DECIMAL(18, 2) AS p, q::DECIMAL(18, 3) AS q
            FROM truth
        )
        SELECT symbol, opened, arg_min(p, n) AS open, max(p) AS high, min(p) AS low, arg_max(p, n) AS close,
               sum(q) AS volume, count(*) AS trades, sum(p * q) AS quote
        FROM t GROUP BY ALL ORDER BY symbol, opened
        """
    ).fetchall()
    assert len(truth) and expected
    for symbol in SYMBOLS:
        mine = [row[1:] for row in expected if row[0] == symbol]
        found = api.bars(symbol, timeframe)
        fields = ("open", "high", "low", "close", "volume")
        assert [(b["timestamp"], *(Decimal(b[f]) for f in fields), b["trades"]) for b in found] == [
            row[:-1] for row in mine
        ]
        assert all(b["closed"] for b in found if b["timestamp"] + length <= OVER_MS)
        for bar, row in zip(found, mine, strict=True):
            assert float(bar["vwap"]) == pytest.approx(float(row[-1] / row[5]), rel=1e-15)


def assert_stored_once(file: Path, truth: pd.DataFrame) -> None:
    """The file itself, read by DuckDB alone after the end, holds each id once."""
    with duckdb.connect(str(file), read_only=True) as store:
        rows, different = store.execute("SELECT count(*), count(DISTINCT (symbol_id, id)) FROM tick").fetchone() or ()
    assert rows == different == len(truth)


def all_there(api: Api, count: int) -> bool:
    """Every trade is stored, everything up to the end is closed and no gap is open."""
    stats = api.stats()
    if stats["ticks"] != count or any(gap["status"] == "open" for gap in stats["gaps"]):
        return False
    return all(api.get(f"/api/ohlc/{s}?timeframe=5s&limit=1")["bars"][-1]["closed"] for s in SYMBOLS)


def test_tapes_at_full_speed_are_stored_trade_by_trade_and_make_the_bars_that_duckdb_makes(
    programs: Programs, tapes: list[str], recorded: pd.DataFrame
) -> None:
    at = programs.serve(*tapes, "--speed", "max")
    running, api = programs.run("--source", "live", "--symbols", ",".join(SYMBOLS), "--data-dir", "d", **at, **QUICK)
    until(lambda: all_there(api, len(recorded)), what="every trade stored", seconds=250)
    assert_ticks_are(api, recorded)
    for timeframe in TIMEFRAMES_MS:
        assert_bars_are(api, recorded, timeframe)
    assert running.stop()[0] == 0, running.said()
    assert_stored_once(programs.folder / "d" / "pairscope.duckdb", recorded)


@pytest.mark.timeout(400)  # half a minute where nothing else runs
def test_whatever_is_dropped_doubled_swapped_broken_cut_or_stalled_on_the_way_is_stored_in_the_end(
    programs: Programs, tapes: list[str], recorded: pd.DataFrame
) -> None:
    faults = ("drop:0.001", "duplicate", "reorder", "malformed:0.0005", "disconnect:3s", "stall:1500ms/1200ms")
    at = programs.serve(*tapes, "--speed", "60", *(word for fault in faults for word in ("--fault", fault)))
    running, api = programs.run("--source", "live", "--symbols", ",".join(SYMBOLS), "--data-dir", "d", **at, **QUICK)
    until(lambda: all_there(api, len(recorded)), what="every trade stored and every hole repaired", seconds=300)
    stats = api.stats()
    feed, gaps = stats["feed"], stats["gaps"]
    assert feed["repeats"] > 50 and feed["rejected"]["malformed"] > 0
    assert feed["reconnects"] >= 2
    assert len(gaps) >= 10
    assert {(gap["status"], gap["missing"]) for gap in gaps} == {("repaired", 0)}
    assert_ticks_are(api, recorded)
    for timeframe in TIMEFRAMES_MS:
        assert_bars_are(api, recorded, timeframe)
    assert running.stop()[0] == 0
    assert_stored_once(programs.folder / "d" / "pairscope.duckdb", recorded)
