"""Rolling statistics of the last closed minutes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pairscope.engine.data_processor import DataProcessor
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

from .conftest import MINUTE, closed, play

Same = Callable[[BarBatch, BarBatch], None]
Make = Callable[..., TickBatch]


def test_statistics_come_with_every_close_and_equal_those_of_the_last_bars(
    ticks_of: Make, market_rows: Any, in_batches: Any
) -> None:
    ticks = ticks_of(market_rows(trades=6000, span_s=9000))
    engine = DataProcessor(ticks.symbols, windows=(5, 30))
    updates = play(engine, in_batches(ticks, [40] * 150)[:-1])
    minutes = closed(updates, "1m")
    rows = [(u.stats, i) for u in updates for i in range(len(u.stats))]
    assert len(rows) == len(minutes)
    for stats, i in rows:
        bars = minutes.take(minutes.symbol_id == stats.symbol_id[i])
        bars = bars.take(bars.ts_open_ns <= stats.ts_open_ns[i])
        for w, window in enumerate((5, 30)):
            last = bars.take(slice(max(0, len(bars) - window), None))
            assert stats.n[i, w] == len(last)
            if len(last) < window:
                assert np.isnan(stats.mean[i, w]) and np.isnan(stats.std[i, w]) and np.isnan(stats.vwap[i, w])
                continue
            close = last.close
            assert stats.mean[i, w] == pytest.approx(close.mean(), rel=1e-14)
            assert stats.std[i, w] == pytest.approx(close.std(ddof=1), rel=1e-12)
            assert (stats.min[i, w], stats.max[i, w]) == (close.min(), close.max())
            assert stats.zscore[i, w] == pytest.approx((close[-1] - close.mean()) / close.std(ddof=1), abs=1e-10)
            assert stats.vwap[i, w] == pytest.approx(last.quote_volume.sum() / last.volume.sum(), rel=1e-13)
            if len(bars) > window:
                returns = np.diff(np.log(bars.close[-window - 1 :]))
                assert stats.volatility[i, w] == pytest.approx(np.sqrt((returns**2).mean()), rel=1e-10)
                annual = np.sqrt((returns**2).mean() * 365 * 1440)
                assert stats.annual_volatility[i, w] == pytest.approx(annual, rel=1e-10)
            else:
                assert np.isnan(stats.volatility[i, w])


def test_a_correction_of_an_older_minute_renews_the_statistics(tick: Any, noon_ns: int) -> None:
    engine = DataProcessor(tick.symbols, windows=(2,))
    play(engine, [tick(1, 1, "100"), tick(3, 61, "104"), tick(4, 130, "9", watermark_s=130)])
    update = engine.on_batch(tick(2, 59, "102"))
    assert update.stats.mean.tolist() == [[103.0]]
    assert update.stats.ts_open_ns.tolist() == [noon_ns + MINUTE]
    assert len(engine.on_batch(tick(5, 131, watermark_s=131)).stats) == 0


def test_bars_of_a_ring_ago_are_not_taken_for_recent_ones(tick: Any) -> None:
    engine = DataProcessor(tick.symbols, windows=(20,))
    minutes = [*range(30), *range(1540, 1546)]
    updates = play(engine, [tick(k, 60 * m, watermark_s=60 * m) for k, m in enumerate(minutes)])
    assert updates[-1].stats.n.tolist() == [[5]], "the minutes 0 to 29 lie more than 1,500 back"


def test_a_constant_price_has_no_deviation_and_no_z_score(tick: Any) -> None:
    engine = DataProcessor(tick.symbols, windows=(2,))
    updates = play(engine, [tick(k, 60 * k, "61800.1", watermark_s=60 * k) for k in range(1, 5)])
    stats = updates[-1].stats
    assert (stats.mean.tolist(), stats.std.tolist(), stats.volatility.tolist()) == ([[61800.1]], [[0.0]], [[0.0]])
    assert np.isnan(stats.zscore).all()


@pytest.mark.parametrize("windows", [(), (0,), (1500,)])
def test_windows_that_cannot_be_kept_are_refused(windows: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="windows"):
        DataProcessor(Symbols(), windows=windows)
