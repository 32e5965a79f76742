"""Rolling statistics of one-minute bars: at each close a pure function of the last ``window`` closed bars.

Nothing is carried from close to close but the bars themselves, so that a restart, which restores the bars, repeats
every statistic bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pairscope.market.bars import BarBatch
from pairscope.market.kernel import kernel
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import F8, I4, I8

__all__ = ["BARS_PER_YEAR", "RollingStats", "StatTape"]

BARS_PER_YEAR = 365 * 24 * 60
_MINUTE = 60_000_000_000
_CLOSE, _LOG, _VOLUME, _QUOTE = 0, 1, 2, 3
_MEAN, _STD, _MIN, _MAX, _ZSCORE, _VOLATILITY, _VWAP = 0, 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, slots=True, eq=False)
class RollingStats:
    """Statistics of closes: one row a symbol and close, one column a window.

    ``ts_open_ns`` is the open of the newest bar in the windows, ``n`` how many bars a window had (fewer than the
    window: the row is NaN there). ``std`` is the sample standard deviation, ``zscore`` that of the newest close, NaN
    where the window is constant. ``volatility`` is the root mean square of the last ``window`` log returns, a bar,
    and ``annual_volatility`` the same for a year of 365 days. ``vwap`` is NaN where nothing was traded.
    """

    symbols: Symbols
    windows: tuple[int, ...]
    symbol_id: I4
    ts_open_ns: I8
    n: I8
    mean: F8
    std: F8
    min: F8
    max: F8
    zscore: F8
    volatility: F8
    annual_volatility: F8
    vwap: F8

    def __len__(self) -> int:
        return int(self.symbol_id.size)


@kernel
def _trailing(
    tape: NDArray[np.float64],
    symbol_id: I4,
    minute: I8,
    windows: I8,
    kept: int,
    at: I8,
    n: I8,
    out: NDArray[np.float64],
) -> None:  # pragma: no cover - compiled
    """Walk back from each minute over the bars that are there and read every window on the way."""
    slots = tape.shape[2]
    for i in range(symbol_id.size):
        row = tape[symbol_id[i]]
        at[i] = -1
        count = prices = returns = 0
        sum_1 = sum_2 = squares = volume = quote = 0.0
        newest = lowest = highest = newer_log = np.nan
        for k in range(minute[i], max(minute[i] - kept, -1), -1):
            close = row[_CLOSE, k % slots]
            if np.isnan(close):
                continue
            log = row[_LOG, k % slots]
            if count == 0:
                at[i] = k * _MINUTE
                newest = lowest = highest = close
            else:
                squares += (newer_log - log) ** 2
                if count == windows[returns]:
                    out[i, returns, _VOLATILITY] = np.sqrt(squares / count)
                    returns += 1
                    if returns == windows.size:
                        break
            newer_log = log
            count += 1
            # Measured from the newest close, so that squares of small moves are not lost in those of the price.
            sum_1 += close - newest
            sum_2 += (close - newest) ** 2
            lowest = min(lowest, close)
            highest = max(highest, close)
            volume += row[_VOLUME, k % slots]
            quote += row[_QUOTE, k % slots]
            if prices < windows.size and count == windows[prices]:
                mean = newest + sum_1 / count
                out[i, prices, _MEAN] = mean
                out[i, prices, _MIN] = lowest
                out[i, prices, _MAX] = highest
                if count > 1:
                    std = 0.0 if lowest == highest else np.sqrt(max(0.0, sum_2 - sum_1 * sum_1 / count) / (count - 1))
                    out[i, prices, _STD] = std
                    if std > 0.0:
                        out[i, prices, _ZSCORE] = (newest - mean) / std
                if volume > 0.0:
                    out[i, prices, _VWAP] = quote / volume
                prices += 1
        for w in range(windows.size):
            n[i, w] = min(count, windows[w])


class StatTape:
    """What rolling statistics read of the last one-minute bars, in columns: NaN where a minute has none."""

    def __init__(self, symbols: Symbols, windows: Sequence[int], *, kept: int, slots: int) -> None:
        self._symbols = symbols
        self._windows = tuple(sorted(set(windows)))
        self._kept = kept
        self._tape = np.empty((0, 4, slots))
        self.nothing = self.read(np.empty(0, np.int32), np.empty(0, np.int64))

    def grow(self, capacity: int) -> None:
        """Make room for ``capacity`` symbols."""
        tape = np.full((capacity, 4, self._tape.shape[2]), np.nan)
        tape[: self._tape.shape[0]] = self._tape
        self._tape = tape

    def forget(self, start: int, end: int) -> None:
        """Clear the minutes [start, end) of every symbol: those that no longer hold what they held a ring ago."""
        slots = self._tape.shape[2]
        index = np.arange(max(start, end - slots), end) % slots
        self._tape[:, _CLOSE, index] = np.nan

    def write(self, bars: BarBatch) -> None:
        """Take closed one-minute bars."""
        slot = bars.ts_open_ns // _MINUTE % self._tape.shape[2]
        self._tape[bars.symbol_id, _CLOSE, slot] = bars.close
        self._tape[bars.symbol_id, _LOG, slot] = np.log(bars.close)
        self._tape[bars.symbol_id, _VOLUME, slot] = bars.volume
        self._tape[bars.symbol_id, _QUOTE, slot] = bars.quote_volume

    def close_at(self, symbol_id: int, start: int, end: int) -> float:
        """Return the newest close in the minutes [start, end), NaN where there is none."""
        slots = self._tape.shape[2]
        for minute in range(end - 1, start - 1, -1):
            close = float(self._tape[symbol_id, _CLOSE, minute % slots])
            if close == close:  # noqa: PLR0124 - not NaN
                return close
        return float("nan")

    def read(self, symbol_id: I4, minute: I8) -> RollingStats:
        """Return every window's statistics of symbols as of the close of given minutes. O(kept) a row."""
        windows = np.array(self._windows, np.int64)
        rows = symbol_id.size
        at, n = np.empty(rows, np.int64), np.empty((rows, windows.size), np.int64)
        out = np.full((rows, windows.size, 7), np.nan)
        _trailing(self._tape, symbol_id, minute, windows, self._kept, at, n, out)
        columns = {name: out[:, :, i] for i, name in enumerate(("mean", "std", "min", "max", "zscore", "volatility"))}
        return RollingStats(
            self._symbols,
            self._windows,
            symbol_id,
            at,
            n,
            **columns,
            annual_volatility=columns["volatility"] * np.sqrt(BARS_PER_YEAR),
            vwap=out[:, :, _VWAP],
        )
