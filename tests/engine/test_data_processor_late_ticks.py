"""What late ticks correct, and what they leave to the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pairscope.engine.data_processor import DataProcessor
from pairscope.market.bars import TIMEFRAMES, BarBatch, bars_of
from pairscope.market.ticks import TickBatch, concat_ticks

from .conftest import DAY, HOUR, MINUTE, SECOND, play, timeframes

Same = Callable[[BarBatch, BarBatch], None]
Make = Callable[..., TickBatch]


def test_a_late_tick_corrects_every_closed_bar_that_it_belongs_to_and_no_open_one(
    tick: Any, noon_ns: int, assert_same_bars: Same
) -> None:
    engine = DataProcessor(tick.symbols)
    ticks = [tick(1, 1, "100"), tick(2, 100, "110"), tick(4, 400, "90")]
    play(engine, ticks)
    engine.on_batch(TickBatch.empty(tick.symbols, noon_ns + 400 * SECOND))
    late = tick(3, 101, "500", "2.5")
    update = engine.on_batch(late)
    assert update.late == 1
    assert update.closed == () and update.rebuild == ()
    assert timeframes(update.revised) == ["1s", "5s", "15s", "1m", "3m", "5m"]
    for bars in update.revised:
        whole = bars_of(concat_ticks([*ticks, late]), bars.timeframe)
        own = whole.take(
            whole.ts_open_ns == late.ts_event_ns // TIMEFRAMES[bars.timeframe] * TIMEFRAMES[bars.timeframe]
        )
        assert bars.revision.tolist() == [1]
        bars.revision[:] = 0
        assert_same_bars(bars, own)
    hour = engine.open_bar("BTCUSDT", "1h")
    assert hour is not None and (hour.high.tolist(), hour.volume.tolist()) == ([500.0], [5.5])


def test_a_late_tick_into_a_second_that_had_none_makes_its_bar(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    play(engine, [tick(1, 1), tick(3, 30, watermark_s=30)])
    update = engine.on_batch(tick(2, 20, "101"))
    assert timeframes(update.revised) == ["1s", "5s", "15s"]
    assert [bars.ts_open_ns.tolist() for bars in update.revised] == [
        [noon_ns + 20 * SECOND], [noon_ns + 20 * SECOND], [noon_ns + 15 * SECOND],
    ]  # fmt: skip
    assert update.revised[0].revision.tolist() == [1]
    assert len(engine.recent_bars("BTCUSDT", "1s", 100)) == 2


def test_a_tick_is_too_late_for_its_bar_from_the_moment_that_the_watermark_reaches_the_bar_s_end(tick: Any) -> None:
    for watermark_s, corrected in ((1.999, False), (2.0, True)):
        engine = DataProcessor(tick.symbols)
        engine.on_batch(tick(1, 1.1, watermark_s=watermark_s))
        assert ("1s" in timeframes(engine.on_batch(tick(2, 1.2)).revised)) is corrected


def test_every_late_tick_is_one_correction_however_many_come_at_once(tick: Any) -> None:
    engines = [DataProcessor(tick.symbols) for _ in range(2)]
    for engine in engines:
        play(engine, [tick(1, 1), tick(4, 90, watermark_s=90)])
    late = [tick(2, 1.5, watermark_s=90), tick(3, 1.6, watermark_s=90)]
    together = engines[0].on_batch(concat_ticks(late)).revised
    apart = play(engines[1], late)[-1].revised
    assert [bars.revision.tolist() for bars in together] == [[2]] * len(together)
    assert [bars.revision.tolist() for bars in apart] == [[2]] * len(apart)


def test_a_late_tick_is_not_the_last_price(tick: Any) -> None:
    engine = DataProcessor(tick.symbols)
    play(engine, [tick(1, 1), tick(3, 90, "103", watermark_s=90)])
    update = engine.on_batch(tick(2, 2, "102"))
    assert len(update.prices) == 0
    assert update.touched.tolist() == [0]
    view = engine.price("BTCUSDT")
    assert view is not None and view["price"] == 103.0


def test_a_bar_that_closes_in_the_batch_of_its_late_tick_is_closed_not_revised(tick: Any) -> None:
    """Late is a tick whose bar has closed before the batch: the batch's own watermark comes after its ticks."""
    engine = DataProcessor(tick.symbols)
    engine.on_batch(tick(1, 1, watermark_s=30))
    update = engine.on_batch(tick(2, 40, watermark_s=60))
    assert update.late == 0 and update.revised == ()
    assert [bars.trades.tolist() for bars in update.closed if bars.timeframe == "1m"] == [[2]]


def test_a_tick_later_than_the_kept_seconds_corrects_its_minute_and_asks_for_a_rebuild(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    play(engine, [tick(1, 1), tick(5, 1000, watermark_s=1000)])
    update = engine.on_batch(concat_ticks([tick(2, 61), tick(3, 62), tick(4, 125)]))
    assert timeframes(update.revised) == ["1m", "3m", "5m", "15m"]
    assert update.rebuild == (("BTCUSDT", noon_ns + MINUTE, noon_ns + 3 * MINUTE),)
    assert update.late == 3


def test_a_tick_later_than_the_kept_minutes_asks_for_a_rebuild_alone(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    play(engine, [tick(1, 1), tick(3, 1502 * 60, watermark_s=1502 * 60)])
    update = engine.on_batch(tick(2, 2))
    assert update.revised == ()
    assert update.rebuild == (("BTCUSDT", noon_ns, noon_ns + MINUTE),)


def test_a_day_is_revised_only_while_all_of_its_minutes_are_kept(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols)
    midnight = noon_ns - 12 * HOUR
    end_s = (midnight + DAY - noon_ns) // SECOND
    play(engine, [tick(1, 1), tick(4, end_s + 1800, watermark_s=end_s + 1800)])
    assert "1d" in timeframes(engine.on_batch(tick(2, end_s - 1)).revised)
    play(engine, [tick(5, end_s + 4000, watermark_s=end_s + 4000)])
    assert "1d" not in timeframes(engine.on_batch(tick(3, end_s - 1)).revised)


def test_late_ticks_of_a_repair_make_the_same_bars_as_if_they_had_come_in_time(
    ticks_of: Make, market_rows: Any, in_batches: Any, assert_same_bars: Same
) -> None:
    """Revised bars, laid over closed ones, are the bars of all ticks; what asks for a rebuild is worked out anew."""
    ticks = ticks_of(market_rows(trades=3000, span_s=3000))
    rng = np.random.default_rng(4)
    held_back = rng.random(len(ticks)) < 0.2
    engine = DataProcessor(ticks.symbols)
    batches = [*in_batches(ticks.take(~held_back), [50] * 60)[:-1], ticks.take(held_back).with_watermark(0)]
    batches.append(TickBatch.empty(ticks.symbols, int(ticks.ts_event_ns.max()) // DAY * DAY + DAY))
    known: dict[tuple[str, int, int], BarBatch] = {}
    updates = play(engine, batches)
    for update in updates:
        for bars in (*update.closed, *update.revised):
            for i in range(len(bars)):
                known[bars.timeframe, int(bars.symbol_id[i]), int(bars.ts_open_ns[i])] = bars.take(slice(i, i + 1))
    rebuild = [span for update in updates for span in update.rebuild]
    assert rebuild, "the first minutes lie beyond the kept seconds"
    for timeframe in TIMEFRAMES:
        truth = bars_of(ticks, timeframe)
        for i in range(len(truth)):
            one = truth.take(slice(i, i + 1))
            at = int(one.ts_open_ns[0])
            if TIMEFRAMES[timeframe] < MINUTE and any(
                s == truth.symbols[int(one.symbol_id[0])] and a <= at < b for s, a, b in rebuild
            ):
                continue
            mine = known[timeframe, int(one.symbol_id[0]), at]
            mine.revision[:] = 0
            assert_same_bars(mine, one)
