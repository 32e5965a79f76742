"""How bars that others made come into the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pairscope.engine.data_processor import DataProcessor
from pairscope.market.bars import BarBatch, Origin, bars_of
from pairscope.market.ticks import TickBatch, concat_ticks

from .conftest import MINUTE, SECOND, exchange_bars, play, timeframes

Same = Callable[[BarBatch, BarBatch], None]
Make = Callable[..., TickBatch]


def test_history_fills_what_own_ticks_do_not_cover_and_open_longer_bars_take_it_in(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    play(engine, [tick(1, 130, "100"), tick(2, 200, "100"), tick(3, 250, "100", watermark_s=250)])
    history = exchange_bars(tick.symbols, "BTCUSDT", noon_ns, [50.0, 60.0, 70.0, 80.0])
    assert engine.adopt_history(history) == 3
    minutes = engine.recent_bars("BTCUSDT", "1m", 10)
    assert minutes.close.tolist() == [50.0, 60.0, 70.0, 100.0]
    assert minutes.origin.tolist() == [Origin.EXCHANGE] * 3 + [Origin.OWN]
    hour = engine.open_bar("BTCUSDT", "1h")
    assert hour is not None
    assert (hour.open.tolist(), hour.high.tolist(), hour.volume.tolist(), hour.origin.tolist()) == (
        [49.0], [100.0], [32.0], [Origin.EXCHANGE],
    )  # fmt: skip


def test_history_before_the_first_batch_is_kept_and_nothing_old_closes_by_it(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    closes = [100.0 + k for k in range(1500)]
    assert engine.adopt_history(exchange_bars(tick.symbols, "BTCUSDT", noon_ns - 1500 * MINUTE, closes)) == 1500
    view = engine.price("BTCUSDT")
    assert view == {
        "symbol": "BTCUSDT", "price": 1599.0, "size": None, "timestamp": noon_ns // 1_000_000,
        "change_24h": 1599.0 / 159.0 - 1, "volume_24h": 14_390.0,
    }  # fmt: skip
    update = engine.on_batch(tick(1, 1, watermark_s=1))
    assert update.closed == ()
    assert update.stats.n.tolist() == [[20, 60, 240, 1440]]
    assert len(engine.recent_bars("BTCUSDT", "1m", 2000)) == 1500
    assert len(engine.recent_bars("BTCUSDT", "1h", 2000)) == 25


def test_flat_bars_of_minutes_without_a_trade_are_left_out(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    flat = exchange_bars(tick.symbols, "BTCUSDT", noon_ns, [50.0, 50.0], size=0.0)
    flat.trades[:] = [0, 3]
    assert engine.adopt_history(flat) == 1


def test_a_late_tick_into_a_minute_of_the_exchange_s_asks_for_a_rebuild(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    play(engine, [tick(1, 30), tick(5, 300, watermark_s=300)])
    engine.adopt_history(exchange_bars(tick.symbols, "BTCUSDT", noon_ns, [50.0, 60.0, 70.0]))
    update = engine.on_batch(tick(2, 90))
    assert update.rebuild == (("BTCUSDT", noon_ns + MINUTE, noon_ns + 2 * MINUTE),)
    assert timeframes(update.revised) == ["1s", "5s", "15s"]
    assert engine.on_batch(tick(3, 31)).rebuild == (("BTCUSDT", noon_ns, noon_ns + MINUTE),), "it may be whole now"
    assert engine.recent_bars("BTCUSDT", "1m", 3).close.tolist() == [50.0, 60.0, 70.0]


def test_history_counts_in_the_volume_of_24_hours_at_once(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    play(engine, [tick(1, 130, size="2"), tick(2, 250, size="1", watermark_s=250)])
    before = engine.price("BTCUSDT")
    engine.adopt_history(exchange_bars(tick.symbols, "BTCUSDT", noon_ns - MINUTE, [50.0, 60.0]))
    after = engine.price("BTCUSDT")
    assert before is not None and after is not None
    assert (before["volume_24h"], after["volume_24h"]) == (3.0, 23.0)


def test_an_exchange_bar_of_a_minute_that_is_still_open_here_counts_from_its_close_and_is_not_told_as_ours(
    tick: Any, noon_ns: int
) -> None:
    engine = DataProcessor(tick.symbols, windows=(1,))
    play(engine, [tick(1, 1, watermark_s=61)])
    engine.adopt_history(exchange_bars(tick.symbols, "BTCUSDT", noon_ns + MINUTE, [70.0]))
    update = engine.on_batch(TickBatch.empty(tick.symbols, noon_ns + 2 * MINUTE))
    assert timeframes(update.closed) == []
    assert (update.stats.mean.tolist(), update.stats.ts_open_ns.tolist()) == ([[70.0]], [noon_ns + MINUTE])


def test_older_history_never_displaces_newer(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    for start in (noon_ns, noon_ns - 1536 * MINUTE):
        engine.adopt_history(exchange_bars(tick.symbols, "BTCUSDT", start, [50.0] * 10))
    engine.on_batch(TickBatch.empty(tick.symbols, noon_ns + 10 * MINUTE))
    assert len(engine.recent_bars("BTCUSDT", "1m", 100)) == 10


def test_a_minute_that_the_store_rebuilt_replaces_the_exchange_s(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    play(engine, [tick(1, 30), tick(5, 300, watermark_s=300)])
    engine.adopt_history(exchange_bars(tick.symbols, "BTCUSDT", noon_ns, [50.0, 60.0, 70.0]))
    rebuilt = bars_of(tick(2, 90, "91"), "1m")
    changed = engine.adopt_bars(rebuilt)
    assert timeframes(changed) == ["1m", "3m", "5m"]
    assert changed[0].close.tolist() == [91.0]
    assert changed[1].close.tolist() == [70.0] and changed[1].volume.tolist() == [21.0]
    stats = engine.on_batch(TickBatch.empty(tick.symbols, noon_ns + 301 * SECOND)).stats
    assert stats.symbol_id.tolist() == [0]


def test_an_exchange_s_minute_says_how_many_trades_are_stored_in_it_once_they_were_counted(
    tick: Any, noon_ns: int
) -> None:
    engine = DataProcessor(tick.symbols)
    play(engine, [tick(1, 30), tick(5, 300, watermark_s=300)])
    minute = exchange_bars(tick.symbols, "BTCUSDT", noon_ns, [50.0])
    engine.adopt_history(replace(minute, trades=np.array([400])))
    assert engine.recent_bars("BTCUSDT", "1m", 5).trades.tolist()[0] == 1, "the exchange's own count is not ours"
    engine.adopt_bars(replace(minute, trades=np.array([3])))
    assert engine.recent_bars("BTCUSDT", "1m", 5).trades.tolist()[0] == 3
    assert engine.recent_bars("BTCUSDT", "5m", 5).trades.tolist()[0] == 3


def test_a_rebuilt_bar_never_takes_back_ticks_that_came_meanwhile(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    play(engine, [tick(1, 1), tick(4, 90, watermark_s=90)])
    stored = bars_of(concat_ticks([tick(1, 1), tick(2, 2)]), "1m")
    play(engine, [tick(2, 2), tick(3, 3)])
    assert engine.adopt_bars(stored) == ()
    assert engine.recent_bars("BTCUSDT", "1m", 1).trades.tolist() == [3]


def test_history_of_another_timeframe_is_refused(tick: Any) -> None:
    engine = DataProcessor(tick.symbols)
    with pytest.raises(ValueError, match="one-minute"):
        engine.adopt_history(bars_of(tick(1, 1), "5m"))
    with pytest.raises(ValueError, match="base bars"):
        engine.adopt_bars(bars_of(tick(1, 1), "5m"))
