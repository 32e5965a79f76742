"""Integer columns of aggregate trades, and klines folded from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.feed.agg_trades import AggTrades, concat_trades, decimal_text, klines_of, regroup_klines


def trades_at(rows: list[tuple[int, int, int, bool]]) -> AggTrades:
    """Make trades of (time in ms, price, size, buyer is maker), three trade ids each."""
    n = len(rows)
    ms, price, size = (np.array([row[k] for row in rows], np.int64) for k in range(3))
    agg = np.arange(n)
    maker = np.array([row[3] for row in rows], np.bool_)
    return AggTrades(np.zeros(n, np.int32), ms, ms, agg, 3 * agg, 3 * agg + 2, price, size, size, maker)


@given(st.integers(0, 10**15), st.integers(0, 12))
def test_the_text_of_a_decimal_reads_back_as_the_same_number(units: int, decimals: int):
    text = decimal_text(units, decimals)
    assert "e" not in text
    whole, _, part = text.partition(".")
    assert len(part) == decimals
    assert int(whole + part) == units


def test_klines_take_open_from_the_first_and_close_from_the_last_trade():
    trades = trades_at([(1000, 50, 2, False), (1500, 70, 1, True), (59_999, 40, 3, False), (60_000, 45, 1, True)])
    first, second = klines_of(trades, step_ms=60_000, start_ms=0, end_ms=120_000).table().tolist()
    assert first == [0, 50, 70, 40, 40, 6, 2 * 50 + 70 + 3 * 40, 5, 2 * 50 + 3 * 40, 9, 0, 8]
    assert second == [60_000, 45, 45, 45, 45, 1, 45, 0, 0, 3, 9, 11]


def test_minutes_without_a_trade_are_flat_and_those_before_the_first_price_are_left_out():
    trades = trades_at([(125_000, 50, 2, False)])
    klines = klines_of(trades, step_ms=60_000, start_ms=0, end_ms=240_000)
    assert klines.open_ms.tolist() == [120_000, 180_000]
    assert klines.table()[1].tolist() == [180_000, 50, 50, 50, 50, 0, 0, 0, 0, 0, -1, -1]
    known = klines_of(trades, step_ms=60_000, start_ms=0, end_ms=60_000, before=33)
    assert known.close.tolist() == [33]


@given(
    st.lists(
        st.tuples(st.integers(0, 899_999), st.integers(1, 99), st.integers(1, 9), st.booleans()),
        min_size=1,
        max_size=60,
    )
)
def test_longer_klines_from_minutes_are_those_from_the_trades(rows: list[tuple[int, int, int, bool]]):
    trades = trades_at(sorted(rows, key=lambda row: row[0]))
    minutes = klines_of(trades, step_ms=60_000, start_ms=0, end_ms=900_000)
    longer = regroup_klines(minutes, 300_000)
    direct = klines_of(trades, step_ms=300_000, start_ms=0, end_ms=900_000)
    assert np.array_equal(longer.table(), direct.table())


def test_no_trades_make_no_klines():
    assert len(klines_of(AggTrades.empty(), step_ms=60_000, start_ms=0, end_ms=600_000)) == 0
    assert len(concat_trades([])) == 0


def test_moving_trades_in_time_moves_both_times():
    moved = trades_at([(1000, 1, 1, False)]).shifted(5)
    assert (moved.event_ms.tolist(), moved.trade_ms.tolist()) == ([1005], [1005])


@pytest.mark.parametrize(("units", "decimals", "text"), [(0, 0, "0"), (0, 2, "0.00"), (-140_50, 2, "-140.50")])
def test_zero_and_negative_decimals_are_written_out(units: int, decimals: int, text: str):
    assert decimal_text(units, decimals) == text
