"""Both legs on one clock: rows that belong together, and funding in the bar in which it fell due."""

from __future__ import annotations

import numpy as np
import pytest

from pairscope.errors import InputError
from pairscope.market.bars import BarBatch, bars_of
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.research.pair_bars import pair_bars, pair_bars_from_closes

MINUTE = 60_000_000_000
MINUTE_MS = 60_000


def bars(symbol: str, minutes: list[int]) -> BarBatch:
    times = np.array(minutes, np.int64) * MINUTE
    zero, price = np.zeros(times.size, np.int32), 1.0 + np.arange(times.size)
    ticks = TickBatch(
        Symbols([symbol]), zero, times, times, np.arange(times.size), price, price, np.zeros(times.size, bool), 0
    )
    return bars_of(ticks, "1m")


def test_only_bars_that_both_legs_have_are_there_in_whole() -> None:
    made = pair_bars(bars("AUSDT", [0, 1, 3, 4]), bars("BUSDT", [1, 2, 3, 5]), source="live", open_gaps=2)
    assert made.times_ns.tolist() == [MINUTE, 3 * MINUTE]
    assert (made.y.close.tolist(), made.x.open.tolist()) == ([2.0, 3.0], [1.0, 3.0])
    assert (made.timeframe, made.source, made.open_gaps, made.whole) == ("1m", "live", 2, True)
    assert (made.funding_y, made.funding_x) == (None, None)


def test_a_rate_is_paid_in_the_bar_that_holds_its_time_or_the_next_there_is() -> None:
    """Binance stamps funding some milliseconds late; a leg without a bar then pays at the next one."""
    due = [
        ("AUSDT", 0, 9e-4),  # before the first bar: nobody held anything
        ("AUSDT", MINUTE_MS + 5, 1e-4),
        ("AUSDT", 2 * MINUTE_MS, 2e-4),  # no bar of minute 2: minute 3 pays
        ("AUSDT", 3 * MINUTE_MS + 59_999, 4e-4),
        ("AUSDT", 99 * MINUTE_MS, 9e-4),
        ("CUSDT", MINUTE_MS, 5e-4),
    ]
    made = pair_bars(bars("AUSDT", [1, 3, 4]), bars("BUSDT", [1, 3, 4]), funding=due)
    assert made.funding_y is not None
    assert made.funding_y.tolist() == pytest.approx([1e-4, 6e-4, 0.0])
    assert made.funding_x is None


def test_a_rate_that_is_none_is_refused() -> None:
    for rate in (float("nan"), 1.5):
        with pytest.raises(InputError, match="funding"):
            pair_bars(bars("AUSDT", [1]), bars("BUSDT", [1]), funding=[("BUSDT", MINUTE_MS, rate)])


def test_bars_without_one_in_common_are_none() -> None:
    assert len(pair_bars(bars("AUSDT", [0]), bars("BUSDT", [1]))) == 0
    assert len(pair_bars(BarBatch.empty(Symbols(), "1m"), bars("BUSDT", [1]), funding=[("BUSDT", 0, 0.0)])) == 0


def test_closes_alone_make_bars_that_say_so_and_are_cut_as_one() -> None:
    close = np.array([1.0, 2.0, np.nan, 4.0])
    made = pair_bars_from_closes(
        np.arange(4) * MINUTE, close, close + 1, timeframe="1m", y="A", x="B", funding=[("B", 3 * MINUTE_MS, 1e-3)]
    )
    assert made.whole is False
    later = made.take(slice(1, None))
    assert later.times_ns.tolist() == [MINUTE, 3 * MINUTE]
    assert (later.y.high.tolist(), later.x.low.tolist()) == ([2.0, 4.0], [3.0, 5.0])
    assert later.funding_x is not None
    assert later.funding_x.tolist() == [0.0, 1e-3]
