"""Ticks into bars, bars into longer bars, and how bars merge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairscope.market.bars import (
    TIMEFRAMES,
    BarBatch,
    Origin,
    bars_of,
    concat_bars,
    merge_bars,
    resample,
)
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

Same = Callable[[BarBatch, BarBatch], None]


@pytest.mark.parametrize("timeframe", list(TIMEFRAMES))
def test_bars_equal_those_worked_out_with_fractions(
    ticks_of: Any, market_rows: Any, bars_by_hand: Any, bars_as_rows: Any, timeframe: str
) -> None:
    rows = market_rows(span_s=4000)
    bars = bars_of(ticks_of(rows), timeframe)
    for symbol in ("BTCUSDT", "币安人生USDT"):
        assert bars_as_rows(bars.of_symbol(symbol)) == bars_by_hand(rows, symbol, timeframe)


def test_bars_come_by_symbol_and_time(ticks_of: Any, market_rows: Any) -> None:
    bars = bars_of(ticks_of(market_rows()), "1s")
    keys = list(zip(bars.symbol_id.tolist(), bars.ts_open_ns.tolist(), strict=True))
    assert keys == sorted(set(keys))


def random_ticks(seed: int, n: int, *, units: int = 5000, places: int = 4) -> TickBatch:
    """Trades of two symbols whose ids grow with time, of any number of decimals, in any order."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 200_000, n)) * 1_000_000
    price, size = rng.integers(1, units, (2, n)) / 10.0 ** rng.integers(0, places, (2, n))
    symbol_id = rng.integers(0, 2, n).astype(np.int32)
    maker = rng.integers(0, 2, n).astype(np.bool_)
    batch = TickBatch(Symbols(["AUSDT", "BUSDT"]), symbol_id, times, times, np.arange(n), price, size, maker, 0)
    return batch.take(rng.permutation(n))


trades = st.builds(random_ticks, st.integers(0, 2**32), st.integers(0, 60))


@settings(max_examples=60)
@given(trades, st.sampled_from(list(TIMEFRAMES)), st.floats(0, 1))
def test_neither_order_nor_cutting_changes_a_bit(
    assert_same_bars: Same, ticks: TickBatch, timeframe: str, where: float
) -> None:
    whole = bars_of(ticks, timeframe)
    assert_same_bars(bars_of(ticks.take(np.argsort(ticks.price)), timeframe), whole)
    cut = int(where * len(ticks))
    a, b = bars_of(ticks.take(slice(0, cut)), timeframe), bars_of(ticks.take(slice(cut, None)), timeframe)
    assert_same_bars(merge_bars(a, b), whole)
    assert_same_bars(merge_bars(b, a), whole)


@settings(max_examples=60)
@given(trades)
def test_longer_bars_made_of_bars_equal_those_made_of_ticks(assert_same_bars: Same, ticks: TickBatch) -> None:
    seconds, minutes = bars_of(ticks, "1s"), bars_of(ticks, "1m")
    for timeframe in ("5s", "15s", "1m"):
        assert_same_bars(resample(seconds, timeframe), bars_of(ticks, timeframe))
    for timeframe in ("3m", "5m", "15m", "30m", "1h", "4h", "1d"):
        assert_same_bars(resample(minutes, timeframe), bars_of(ticks, timeframe))
    assert_same_bars(resample(resample(minutes, "5m"), "1h"), bars_of(ticks, "1h"))


def test_beyond_the_bound_of_exactness_bars_still_agree_to_the_last_digit_but_one() -> None:
    ticks = random_ticks(1, 500, units=10**9, places=9)
    whole, minutes = bars_of(ticks, "1h"), bars_of(ticks, "1m")
    for bars in (bars_of(ticks.take(np.argsort(ticks.size)), "1h"), resample(minutes, "1h")):
        for name in ("volume", "buy_volume", "quote_volume"):
            np.testing.assert_allclose(getattr(bars, name), getattr(whole, name), rtol=1e-15)


def test_the_open_is_the_lowest_id_s_and_the_close_the_highest_s_within_one_millisecond(
    ticks_of: Any, noon_ns: int
) -> None:
    rows = [("BTCUSDT", 12, noon_ns, "3", "1", True), ("BTCUSDT", 10, noon_ns, "1", "1", True)]
    rows.append(("BTCUSDT", 11, noon_ns, "2", "1", True))
    bars = bars_of(ticks_of(rows), "1s")
    assert (bars.open[0], bars.close[0], bars.first_id[0], bars.last_id[0]) == (1.0, 3.0, 10, 12)


def test_a_float_sum_would_not_do(ticks_of: Any, noon_ns: int) -> None:
    rows = [("BTCUSDT", k, noon_ns, "1", "0.1", False) for k in range(10)]
    assert sum([0.1] * 10) != 1.0
    assert bars_of(ticks_of(rows), "1s").volume[0] == 1.0


def a_bar(
    symbols: Symbols, ts_ns: int, *, origin: Origin, ids: tuple[int, int], price: float, size: float = 1
) -> BarBatch:
    return BarBatch(
        symbols,
        "1m",
        symbol_id=np.zeros(1, np.int32),
        ts_open_ns=np.array([ts_ns]),
        open=np.array([price]),
        high=np.array([price + 2]),
        low=np.array([price - 2]),
        close=np.array([price + 1]),
        volume=np.array([size]),
        quote_volume=np.array([size * price]),
        buy_volume=np.array([size / 2]),
        trades=np.array([3]),
        first_id=np.array([ids[0]]),
        last_id=np.array([ids[1]]),
        revision=np.array([2], np.int32),
        origin=np.array([origin], np.int8),
    )


def test_a_longer_bar_with_a_foreign_part_has_no_ids_and_the_part_s_origin() -> None:
    symbols, minute = Symbols(["BTCUSDT"]), TIMEFRAMES["1m"]
    parts = [
        a_bar(symbols, 0, origin=Origin.EXCHANGE, ids=(-1, -1), price=10.0),
        a_bar(symbols, minute, origin=Origin.OWN, ids=(5, 9), price=20.0),
        a_bar(symbols, 2 * minute, origin=Origin.OWN, ids=(10, 12), price=30.0),
    ]
    longer = resample(concat_bars(parts[::-1]), "3m")
    assert (longer.open[0], longer.high[0], longer.low[0], longer.close[0]) == (10.0, 32.0, 8.0, 31.0)
    assert (longer.first_id[0], longer.last_id[0], longer.origin[0]) == (-1, -1, Origin.EXCHANGE)
    assert (longer.trades[0], longer.revision[0], longer.volume[0]) == (9, 6, 3.0)


def test_foreign_bars_open_and_close_by_time() -> None:
    symbols, minute = Symbols(["BTCUSDT"]), TIMEFRAMES["1m"]
    parts = [a_bar(symbols, k * minute, origin=Origin.EXCHANGE, ids=(-1, -1), price=10.0 + k) for k in (2, 0, 1)]
    longer = resample(concat_bars(parts), "3m")
    assert (longer.open[0], longer.close[0]) == (10.0, 13.0)


def test_the_vwap_is_quote_over_base_volume_and_absent_without_a_trade() -> None:
    bars = a_bar(Symbols(["BTCUSDT"]), 0, origin=Origin.OWN, ids=(1, 3), price=10.0, size=4.0)
    assert bars.vwap.tolist() == [10.0]
    assert np.isnan(a_bar(Symbols(["BTCUSDT"]), 0, origin=Origin.OWN, ids=(1, 3), price=10.0, size=0.0).vwap).all()


@pytest.mark.parametrize("column", ["price", "size"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_a_number_no_bar_can_be_made_of_is_refused_by_name(
    ticks_of: Any, noon_ns: int, column: str, value: float
) -> None:
    ticks = ticks_of([("BTCUSDT", k, noon_ns, "1", "1", False) for k in range(3)])
    getattr(ticks, column)[1] = value
    with pytest.raises(ValueError, match=column):
        bars_of(ticks, "1m")


def test_a_time_before_the_epoch_is_refused(ticks_of: Any) -> None:
    with pytest.raises(ValueError, match="ts_event_ns"):
        bars_of(ticks_of([("BTCUSDT", 1, -1, "1", "1", False)]), "1m")


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda bars: resample(bars, "2m"), "timeframe"),
        (lambda bars: resample(bars, "5s"), "timeframe"),
        (lambda bars: merge_bars(bars, resample(bars, "3m")), "timeframes"),
        (lambda bars: merge_bars(bars, BarBatch.empty(Symbols(), "1m")), "symbol tables"),
        (lambda bars: concat_bars([]), "batches"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(
    ticks_of: Any, market_rows: Any, call: Callable[[BarBatch], object], name: str
) -> None:
    bars = bars_of(ticks_of(market_rows(trades=5)), "1m")
    with pytest.raises(ValueError, match=name):
        call(bars)


def test_no_ticks_make_no_bars(assert_same_bars: Same, ticks_of: Any) -> None:
    bars = bars_of(ticks_of([]), "1m")
    assert len(bars) == 0
    assert_same_bars(resample(bars, "1h"), BarBatch.empty(bars.symbols, "1h"))


def test_columns_of_any_layout_are_taken(assert_same_bars: Same, ticks_of: Any, market_rows: Any) -> None:
    ticks = ticks_of(market_rows())
    frozen = ticks.take(np.arange(len(ticks)))
    for name in ("price", "size", "trade_id"):
        getattr(frozen, name).flags.writeable = False
    assert_same_bars(bars_of(frozen, "1m"), bars_of(ticks, "1m"))
    assert_same_bars(bars_of(ticks.take(slice(None, None, -1)), "1m"), bars_of(ticks, "1m"))
