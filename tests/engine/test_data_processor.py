"""What closes when, whatever the batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairscope.engine.data_processor import DataProcessor
from pairscope.market.bars import TIMEFRAMES, BarBatch, bars_of, merge_bars
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks

from .conftest import HOUR, SECOND, closed, play, timeframes

Same = Callable[[BarBatch, BarBatch], None]
Make = Callable[..., TickBatch]


def test_a_bar_closes_when_the_watermark_reaches_its_end_though_nobody_trades(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    assert engine.on_batch(tick(1, 0.5, watermark_s=0.6)).closed == ()
    assert engine.on_batch(TickBatch.empty(tick.symbols, noon_ns + SECOND - 1)).closed == ()
    (bars,) = engine.on_batch(TickBatch.empty(tick.symbols, noon_ns + SECOND)).closed
    assert (bars.timeframe, bars.ts_open_ns.tolist(), bars.trades.tolist()) == ("1s", [noon_ns], [1])
    assert engine.on_batch(TickBatch.empty(tick.symbols, noon_ns + 2 * SECOND)).closed == ()


def test_every_timeframe_that_ends_at_the_watermark_closes_in_the_same_call(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    engine.on_batch(tick(1, 0.5, watermark_s=0.6))
    update = engine.on_batch(TickBatch.empty(tick.symbols, noon_ns + HOUR))
    assert timeframes(update.closed) == ["1s", "5s", "15s", "1m", "3m", "5m", "15m", "30m", "1h"]
    assert engine.open_bar("BTCUSDT", "1h") is None
    bar = engine.open_bar("BTCUSDT", "4h")
    assert bar is not None and bar.ts_open_ns.tolist() == [noon_ns]


def test_a_tick_at_the_end_of_a_bar_belongs_to_the_next(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    engine.on_batch(tick(1, 0.999, watermark_s=0))
    (bars,) = engine.on_batch(tick(2, 1.0, "200", watermark_s=1)).closed
    assert (bars.high.tolist(), bars.ts_open_ns.tolist()) == ([100.0], [noon_ns])


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), jumble=st.booleans(), size=st.integers(1, 200))
def test_streamed_bars_equal_those_of_all_ticks_at_once(
    market_rows: Any, ticks_of: Make, in_batches: Any, assert_same_bars: Same, seed: int, jumble: bool, size: int
) -> None:
    ticks = ticks_of(market_rows(seed=seed, trades=400, span_s=5000))
    rng = np.random.default_rng(seed)
    if jumble:
        ticks = ticks.take(np.argsort(ticks.ts_event_ns + rng.integers(0, 290_000_000, len(ticks))))
    engine = DataProcessor(ticks.symbols)
    updates = play(engine, in_batches(ticks, rng.integers(0, size, 1 + 2 * len(ticks) // size) + 1))
    taken = sum(len(u.touched) > 0 for u in updates)
    assert taken and sum(u.late for u in updates) == 0
    seen = concat_ticks([b for b in in_batches(ticks, [len(ticks)]) if len(b)])
    done = closed(updates, "1s").trades.sum()
    whole = seen.take(slice(0, int(done)))
    for timeframe in TIMEFRAMES:
        assert_same_bars(closed(updates, timeframe), bars_of(whole, timeframe))


def test_a_batch_that_spans_a_day_closes_every_bar_in_it(
    market_rows: Any, ticks_of: Make, in_batches: Any, assert_same_bars: Same
) -> None:
    ticks = ticks_of(market_rows(trades=3000, span_s=86_400))
    ticks = ticks.take(np.random.default_rng(1).permutation(len(ticks)))
    engine = DataProcessor(ticks.symbols)
    updates = play(engine, in_batches(ticks, [len(ticks)]))
    for timeframe in TIMEFRAMES:
        assert_same_bars(closed(updates, timeframe), bars_of(ticks, timeframe))
    assert engine.hurried == 0
    assert len(updates[0].prices) == 2
    assert sorted(updates[0].prices.trade_id.tolist()) == sorted(
        ticks.of_symbol(s).trade_id.max() for s in ticks.symbols
    )


def test_a_watermark_far_behind_the_ticks_is_dragged_along(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    engine.on_batch(tick(1, 0, watermark_s=0))
    update = engine.on_batch(tick(2, 3600, watermark_s=0))
    assert engine.hurried == 1
    assert update.watermark_ns == noon_ns + 3600 * SECOND - 300 * SECOND + 1
    assert update.late == 0


def test_the_watermark_never_goes_back(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    engine.on_batch(tick(1, 5, watermark_s=5))
    assert engine.on_batch(TickBatch.empty(tick.symbols, noon_ns)).watermark_ns == noon_ns + 5 * SECOND
    assert engine.watermark_ns() == noon_ns + 5 * SECOND


def test_symbols_may_come_at_any_time_and_from_another_table(
    market_rows: Any, ticks_of: Make, in_batches: Any, assert_same_bars: Same
) -> None:
    names = tuple(f"S{i}USDT" for i in range(40))
    ticks = ticks_of(market_rows(names=names, trades=500))
    engine = DataProcessor(Symbols(["BTCUSDT"]))
    updates = play(engine, in_batches(ticks, [100] * 5))
    ours, theirs = closed(updates, "1m"), bars_of(ticks, "1m")
    for name in names:
        assert_same_bars(ours.of_symbol(name), theirs.of_symbol(name))
    assert set(engine.symbols()) == set(names)


def test_columns_that_may_not_be_written_are_taken(tick: Any) -> None:
    engine, batch = DataProcessor(tick.symbols), tick(1, 0)
    batch.price.flags.writeable = False
    assert engine.on_batch(batch).prices.price.tolist() == [100.0]


def test_bars_whose_volumes_cannot_be_exact_are_counted(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    play(engine, [tick(1, 1, "61800.1", "0.001"), tick(2, 2, "61800.1", "123456789.123456789"), tick(3, 70)])
    engine.on_batch(TickBatch.empty(tick.symbols, noon_ns + 300 * SECOND))
    assert engine.inexact == 2, "the second and the minute of the second trade"


@pytest.mark.parametrize("column", ["price", "size"])
def test_a_bad_number_is_refused_and_leaves_no_trace(tick: Any, column: str) -> None:
    engine, batch = DataProcessor(tick.symbols), tick(1, 0, watermark_s=0)
    getattr(batch, column)[0] = np.nan
    with pytest.raises(ValueError, match=column):
        engine.on_batch(batch)
    assert engine.symbols() == [] and engine.watermark_ns() == 0


def test_an_engine_that_has_begun_cannot_be_restored(tick: Any, noon_ns: int) -> None:
    engine, nothing = DataProcessor(tick.symbols), BarBatch.empty(tick.symbols, "1m")
    engine.on_batch(tick(1, 1))
    with pytest.raises(ValueError, match="begun"):
        engine.restore(nothing, BarBatch.empty(tick.symbols, "1s"), [], watermark_ns=noon_ns, first_own_ns={})


def test_merging_two_engines_bars_is_as_good_as_one_engine(
    ticks_of: Make, market_rows: Any, in_batches: Any, assert_same_bars: Same
) -> None:
    ticks = ticks_of(market_rows(trades=800, span_s=600))
    mask = np.random.default_rng(2).random(len(ticks)) < 0.5
    parts = [
        closed(play(DataProcessor(ticks.symbols), in_batches(ticks.take(m), [100] * 8)), "1m") for m in (mask, ~mask)
    ]
    assert_same_bars(merge_bars(*parts), bars_of(ticks, "1m"))
