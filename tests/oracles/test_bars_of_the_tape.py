"""Bars of the recorded market against DuckDB and pandas, every field of every timeframe."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from pairscope.engine.data_processor import DataProcessor
from pairscope.market.bars import TIMEFRAMES, BarBatch, bars_of, concat_bars, resample
from pairscope.market.ticks import TickBatch

FIELDS = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades", "first_id", "last_id")


def assert_bars_are(bars: BarBatch, truth: pd.DataFrame) -> None:
    """``truth`` by (symbol, time), its numbers floats already rounded once."""
    assert [bars.symbols[i] for i in bars.symbol_id.tolist()] == truth["symbol"].tolist()
    np.testing.assert_array_equal(bars.ts_open_ns, truth["ts_open_ns"].to_numpy(np.int64))
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(bars, field), truth[field].to_numpy(), err_msg=field)


@pytest.mark.parametrize("timeframe", list(TIMEFRAMES))
def test_bars_equal_those_of_duckdb_s_decimals(tape: TickBatch, tape_frame: pd.DataFrame, timeframe: str) -> None:
    length = TIMEFRAMES[timeframe]
    trades = tape_frame
    truth = duckdb.sql(
        f"""
        WITH t AS (
            SELECT symbol, id, ts // {length} * {length} AS ts_open_ns, NOT maker AS bought,
                price::DECIMAL(18, 2) AS p, size::DECIMAL(18, 3) AS q FROM trades
        )
        SELECT symbol, ts_open_ns, arg_min(p, id)::DOUBLE AS open, max(p)::DOUBLE AS high, min(p)::DOUBLE AS low,
            arg_max(p, id)::DOUBLE AS close, sum(q)::VARCHAR::DOUBLE AS volume,
            sum(p * q)::VARCHAR::DOUBLE AS quote_volume,
            coalesce(sum(q) FILTER (bought), 0)::VARCHAR::DOUBLE AS buy_volume,
            count(*) AS trades, min(id) AS first_id, max(id) AS last_id
        FROM t GROUP BY ALL ORDER BY symbol, ts_open_ns
        """
    ).df()
    assert trades is tape_frame and len(truth) >= 2
    assert_bars_are(bars_of(tape, timeframe), truth)


@pytest.mark.parametrize("timeframe", ["1s", "5s", "1m"])
def test_bars_equal_those_of_pandas_and_fractions(tape: TickBatch, tape_frame: pd.DataFrame, timeframe: str) -> None:
    frame = tape_frame.sort_values("id", kind="stable")
    frame["at"] = frame["ts"] // TIMEFRAMES[timeframe] * TIMEFRAMES[timeframe]
    frame["p"], frame["q"] = frame["price"].map(Fraction), frame["size"].map(Fraction)
    frame["quote"] = frame["p"] * frame["q"]
    frame["bought"] = frame["q"].where(~frame["maker"], Fraction(0))
    groups = frame.groupby(["symbol", "at"], sort=True)
    truth = pd.DataFrame(
        {
            "open": groups["p"].first(),
            "high": groups["p"].max(),
            "low": groups["p"].min(),
            "close": groups["p"].last(),
            "volume": groups["q"].sum(),
            "quote_volume": groups["quote"].sum(),
            "buy_volume": groups["bought"].sum(),
        }
    ).map(float)
    truth["trades"], truth["first_id"], truth["last_id"] = groups.size(), groups["id"].min(), groups["id"].max()
    assert_bars_are(bars_of(tape, timeframe), truth.reset_index().rename(columns={"at": "ts_open_ns"}))


def test_longer_bars_of_the_tape_equal_whichever_way_they_are_made(tape: TickBatch) -> None:
    for base, longer in (("1s", ("5s", "15s", "1m")), ("1m", ("3m", "5m", "1h", "1d"))):
        bars = bars_of(tape, base)
        for timeframe in longer:
            made, direct = resample(bars, timeframe), bars_of(tape, timeframe)
            for field in ("symbol_id", "ts_open_ns", *FIELDS):
                np.testing.assert_array_equal(
                    getattr(made, field), getattr(direct, field), err_msg=f"{timeframe} {field}"
                )


@pytest.mark.parametrize("size", [7, 300, 40_000])
def test_the_engine_closes_the_same_bars_whatever_its_batches(tape: TickBatch, in_batches: Any, size: int) -> None:
    engine = DataProcessor(tape.symbols)
    updates = [engine.on_batch(batch) for batch in in_batches(tape, [size] * (len(tape) // size + 1))]
    assert sum(update.late for update in updates) == 0
    for timeframe in TIMEFRAMES:
        closed = [bars for update in updates for bars in update.closed if bars.timeframe == timeframe]
        ours, truth = concat_bars(closed), bars_of(tape, timeframe)
        ours = ours.take(np.lexsort((ours.ts_open_ns, ours.symbol_id)))
        for field in ("symbol_id", "ts_open_ns", *FIELDS, "revision", "origin"):
            np.testing.assert_array_equal(getattr(ours, field), getattr(truth, field), err_msg=f"{timeframe} {field}")


def test_float_sums_depend_on_their_order_and_ours_do_not(tape: TickBatch, tape_frame: pd.DataFrame) -> None:
    """The reason for exact integers: the same trades summed as floats, forwards and backwards, differ."""
    frame = tape_frame[tape_frame["symbol"] == "BTCUSDT"]
    groups = frame["size"].astype(float).groupby(frame["ts"] // TIMEFRAMES["5s"])
    differ = sum(sum(sizes.tolist()) != sum(sizes.tolist()[::-1]) for _, sizes in groups)
    assert differ > 10
    ours = bars_of(tape.take(slice(None, None, -1)), "5s")
    np.testing.assert_array_equal(ours.volume, bars_of(tape, "5s").volume)
