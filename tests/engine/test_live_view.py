"""What the engine says of prices, open bars and recent bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pairscope.engine.data_processor import DataProcessor
from pairscope.market.bars import TIMEFRAMES, BarBatch, bars_of
from pairscope.market.ticks import TickBatch

from .conftest import MINUTE, SECOND, play

Same = Callable[[BarBatch, BarBatch], None]
Make = Callable[..., TickBatch]


def test_the_price_is_the_last_trade_s_with_change_and_volume_of_24_hours(
    ticks_of: Make, market_rows: Any, in_batches: Any, noon_ns: int, bars_by_hand: Any
) -> None:
    rows = market_rows(trades=4000, span_s=26 * 3600, names=("BTCUSDT",))
    ticks = ticks_of(rows)
    engine = DataProcessor(ticks.symbols)
    play(engine, in_batches(ticks, [200] * 20)[:-1])
    now_minute = engine.watermark_ns() // MINUTE
    minutes = bars_by_hand(rows, "BTCUSDT", "1m")
    day = [bar for bar in minutes if bar["ts_open_ns"] // MINUTE > now_minute - 1440]
    before = [b for b in minutes if b["ts_open_ns"] // MINUTE < now_minute - 1440]
    view = engine.price("btcusdt")
    assert view is not None
    assert view["volume_24h"] == float(round(sum(bar["volume"] for bar in day), 3))
    assert view["change_24h"] == float(rows[-1][3]) / before[-1]["close"] - 1
    assert (view["price"], view["size"], view["timestamp"]) == (
        float(rows[-1][3]), float(rows[-1][4]), rows[-1][2] // 1_000_000,
    )  # fmt: skip


def test_a_late_tick_counts_in_the_volume_of_24_hours(tick: Any) -> None:
    engine = DataProcessor(tick.symbols)
    play(engine, [tick(1, 1, size="0.1"), tick(3, 90, size="0.2", watermark_s=90)])
    first = engine.price("BTCUSDT")
    engine.on_batch(tick(2, 2, size="0.4"))
    second = engine.price("BTCUSDT")
    assert first is not None and second is not None
    assert (first["volume_24h"], second["volume_24h"], second["change_24h"]) == (0.3, 0.7, None)


def test_the_last_trade_is_the_one_with_the_highest_id_whenever_it_came(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    assert engine.last_trade("BTCUSDT") is None
    play(engine, [tick(1, 1, "100"), tick(3, 3, "103"), tick(2, 2, "102")])
    assert engine.last_trade("btcusdt") == (3, 103.0, noon_ns + 3 * SECOND)


def test_nothing_is_said_of_symbols_that_are_not_there(tick: Any) -> None:
    engine = DataProcessor(tick.symbols)
    assert engine.price("BTCUSDT") is None and engine.open_bar("BTCUSDT", "1m") is None
    assert len(engine.recent_bars("BTCUSDT", "1m", 5)) == 0
    engine.on_batch(tick(1, 1))
    assert engine.price("ETHUSDT") is None and engine.open_bar("ETHUSDT", "1m") is None
    assert engine.symbols() == ["BTCUSDT"]
    assert engine.first_own_ns("ETHUSDT") is None and engine.first_own_ns("BTCUSDT") == tick(1, 1).ts_event_ns[0]


def test_open_bars_of_every_timeframe_hold_every_tick_so_far(
    ticks_of: Make, market_rows: Any, in_batches: Any, assert_same_bars: Same
) -> None:
    ticks = ticks_of(market_rows(trades=900, span_s=3000))
    engine = DataProcessor(ticks.symbols)
    for batch in in_batches(ticks, [50] * 18)[:-1]:
        engine.on_batch(batch)
        so_far = ticks.take(slice(0, int(np.searchsorted(ticks.ts_event_ns, batch.ts_event_ns[-1], "right"))))
        for symbol in ticks.symbols:
            for timeframe in TIMEFRAMES:
                bars = bars_of(so_far.of_symbol(symbol), timeframe)
                bar = engine.open_bar(symbol, timeframe)
                if bar is None:
                    assert bars.ts_open_ns[-1] + TIMEFRAMES[timeframe] <= engine.watermark_ns()
                else:
                    assert_same_bars(bar, bars.take(slice(-1, None)))


def test_recent_bars_are_the_newest_closed_ones_and_all_that_are_open(
    ticks_of: Make, market_rows: Any, in_batches: Any, assert_same_bars: Same
) -> None:
    ticks = ticks_of(market_rows(trades=2000, span_s=1000, names=("BTCUSDT",)))
    engine = DataProcessor(ticks.symbols)
    play(engine, in_batches(ticks, [100] * 20, lateness_ns=2 * SECOND)[:-1])
    for timeframe in ("1s", "15s", "1m", "5m", "1d"):
        bars = bars_of(ticks, timeframe)
        done = bars.take(bars.ts_open_ns + TIMEFRAMES[timeframe] <= engine.watermark_ns())
        assert_same_bars(engine.recent_bars("BTCUSDT", timeframe, 7), done.take(slice(max(0, len(done) - 7), None)))
        both = engine.recent_bars("BTCUSDT", timeframe, 7, with_open=True)
        assert_same_bars(both, bars.take(slice(max(0, len(done) - 7), None)))
    assert len(engine.recent_bars("BTCUSDT", "1s", 10_000)) <= 600
