"""What a declaration in ``declared.py`` can say of a kernel, and the series that kernels are tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    """Returns columns with a value at each row, none of which may depend on a later row. ``least``: rows needed.

    ``resumed`` is for a kernel that also comes as a state that is stepped: the same columns, made by stepping through
    the first ``k`` rows, and then, with the state that is left, through the others. It must give the same bits.
    """

    call: Callable[[Series], Any]
    least: int = 2
    resumed: Callable[[Series, int], Any] | None = None


@dataclass(frozen=True)
class Closed:
    """Returns bars; one that has closed when the series is cut may not depend on what comes after."""

    call: Callable[[Series], BarBatch]


@dataclass(frozen=True)
class Whole:
    """Says one thing of all that it is given, at no time of its own: why it is so."""

    reason: str


Declaration = PerBar | Closed | Whole
