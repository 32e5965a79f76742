"""How each public function of ``market`` and ``analytics`` is shown not to look ahead: one declaration a name.

A function that is not declared here fails the test. ``PerBar`` and ``Closed`` are checked by cutting the series off;
``Whole`` says why there is nothing to cut: no value of it stands at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pairscope.analytics import indicators, moments, price_stats
from pairscope.market import bars
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

MINUTE = 60_000_000_000


@dataclass(frozen=True)
class Series:
    """What a kernel may be fed: prices of two legs, volumes, trades, bars; all rows in the order of time."""

    x: np.ndarray
    y: np.ndarray
    volume: np.ndarray
    ticks: TickBatch
    bars: BarBatch

    def until(self, k: int) -> Series:
        """The same series with everything after row ``k`` cut off."""
        rows = slice(0, k)
        return Series(self.x[rows], self.y[rows], self.volume[rows], self.ticks.take(rows), self.bars.take(rows))


def sample(n: int, seed: int) -> Series:
    """A random walk and one that follows it, a trade every 7 s, a bar every minute."""
    rng = np.random.default_rng(seed)
    x = (100 * np.exp(np.cumsum(rng.standard_normal(n) * 0.01))).round(6)
    y = (3 + 0.5 * x + rng.standard_normal(n)).round(2)
    volume = rng.integers(1, 1000, n) / 1000
    symbols, zero, rows = Symbols(["BTCUSDT"]), np.zeros(n, np.int32), np.arange(n)
    times = np.int64(1_722_513_600_000_000_000) + rows * 7_000_000_000
    ticks = TickBatch(symbols, zero, times, times, rows, x, volume, rng.random(n) < 0.5, int(times[-1]))
    made = BarBatch(
        symbols,
        "1m",
        symbol_id=zero,
        ts_open_ns=np.int64(1_722_470_400_000_000_000) + MINUTE * np.cumsum(rng.integers(1, 6, n)),
        open=x,
        high=x + rng.random(n),
        low=x - rng.random(n),
        close=x + 0.1,
        volume=volume,
        quote_volume=volume * x,
        buy_volume=volume / 2,
        trades=rows + 1,
        first_id=rows * 10,
        last_id=rows * 10 + 9,
        revision=zero,
        origin=np.zeros(n, np.int8),
    )
    return Series(x, y, volume, ticks, made)


@dataclass(frozen=True)
class PerBar:
    """Returns columns with a value at each row, none of which may depend on a later row. ``least``: rows needed."""

    call: Callable[[Series], Any]
    least: int = 2


@dataclass(frozen=True)
class Closed:
    """Returns bars; one that has closed when the series is cut may not depend on what comes after."""

    call: Callable[[Series], BarBatch]


@dataclass(frozen=True)
class Whole:
    """Says one thing of all that it is given, at no time of its own: why it is so."""

    reason: str


Declaration = PerBar | Closed | Whole

_EVERY_KIND = ["sma:5", "ema:5", "bb:5:2", "vwap", "rsi:5", "macd:3:6:4", "atr:5", "rv:5"]
_STATE = Whole("a state or a reading of one, of exactly the observations given")
_CELLS = Whole("works on cells of one time; what is made of them is checked as bars")
_COLUMNS = Whole("moves columns, computes nothing")

DECLARED: Mapping[str, Declaration] = {
    "pairscope.analytics.price_stats.simple_returns": PerBar(lambda s: price_stats.simple_returns(s.x)),
    "pairscope.analytics.price_stats.log_returns": PerBar(lambda s: price_stats.log_returns(s.x)),
    "pairscope.analytics.price_stats.rolling_stats": PerBar(lambda s: price_stats.rolling_stats(s.x, 7), 7),
    "pairscope.analytics.price_stats.rolling_sum": PerBar(lambda s: price_stats.rolling_sum(s.x, 7), 7),
    "pairscope.analytics.price_stats.realized_volatility": PerBar(
        lambda s: price_stats.realized_volatility(s.x, 7, periods_per_year=525_600), 8
    ),
    "pairscope.analytics.price_stats.vwap": PerBar(lambda s: price_stats.vwap(s.x, s.volume, 7), 7),
    "pairscope.analytics.price_stats.checked": PerBar(lambda s: price_stats.checked(s.x, "x")),
    "pairscope.analytics.indicators.indicators": PerBar(
        lambda s: list(indicators.indicators(s.bars, _EVERY_KIND).values())
    ),
    "pairscope.analytics.indicators.parse_indicators": Whole("reads names"),
    "pairscope.analytics.moments.moments": PerBar(lambda s: [moments.moments(s.x[:k]) for k in range(1, s.x.size + 1)]),
    "pairscope.analytics.moments.pair_moments": PerBar(
        lambda s: [moments.pair_moments(s.x[:k], s.y[:k]) for k in range(1, s.x.size + 1)]
    ),
    **{
        f"pairscope.analytics.moments.{name}": _STATE
        for name in (
            "correlation_of",
            "covariance_of",
            "extend",
            "extend_pair",
            "mean_of",
            "merge",
            "merge_pair",
            "slope_of",
            "std_of",
            "variance_of",
        )
    },
    "pairscope.analytics.volume.day_volume": Whole("one day's volume as of a time that is given"),
    "pairscope.analytics.volume.volume_profile": Whole("volume by price, without a time"),
    "pairscope.market.bars.bars_of": Closed(lambda s: bars.bars_of(s.ticks, "1m")),
    "pairscope.market.bars.resample": Closed(lambda s: bars.resample(s.bars, "1h")),
    "pairscope.market.bars.merge_bars": Closed(
        lambda s: bars.merge_bars(*(bars.bars_of(s.ticks.take(slice(k, None, 2)), "1m") for k in (0, 1)))
    ),
    **{
        f"pairscope.market.bars.{name}": _COLUMNS
        for name in ("bars_from_cells", "cells_from_bars", "check_ticks", "concat_bars", "timeframe_ns")
    },
    **{
        f"pairscope.market.bar_cells.{name}": _CELLS
        for name in ("absorb", "build", "cell_values", "find_closed", "fold", "fold_spans", "last_day", "scale")
    },
    **{f"pairscope.market.exact.{name}": Whole("one number") for name in ("plus", "quote_of", "units_of", "value_of")},
    "pairscope.market.kernel.kernel": Whole("compiles"),
    "pairscope.market.symbols.normalize_symbol": Whole("one name"),
    "pairscope.market.ticks.concat_ticks": _COLUMNS,
}
