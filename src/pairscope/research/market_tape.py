"""The newest closes of a whole market at one timeframe: a row a symbol, a column a slot, NaN where there is no bar.

A slot is a bar's open time divided by the timeframe; the newest are kept in a ring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.market.ticks import F8
from pairscope.research.closes import Closes

__all__ = ["MarketTape", "reach"]

_SPARE: Final = 0.1
"""Slots kept beyond the lookback, as a share: some of the newest times may not count as bars of the market."""


def reach(lookback: int) -> int:
    """Return how many slots back a screen of ``lookback`` bars may have to look.

    >>> reach(1440)
    1586
    """
    return lookback + int(lookback * _SPARE) + 2


class MarketTape:
    """Takes closed bars in any order, the last version of each over those before it.

    >>> tape = MarketTape("1m", 60)
    >>> tape.closes(["NEWUSDT"]).excluded["NEWUSDT"]
    'has none of the last 68 bars'
    """

    def __init__(self, timeframe: str, lookback: int) -> None:
        self.timeframe = timeframe
        self.slots = reach(lookback)
        self.top = -1
        self._step_ns = timeframe_ns(timeframe)
        self._rows: dict[str, int] = {}
        self._closes: F8 = np.empty((0, self.slots))

    def write(self, bars: BarBatch) -> None:
        """Take closed bars of the tape's timeframe; what is older than the ring is left out. O(bars)."""
        if not len(bars):
            return
        slot = bars.ts_open_ns // self._step_ns
        self._reach(int(slot.max()))
        ids, place = np.unique(bars.symbol_id, return_inverse=True)
        rows = np.array([self._row(bars.symbols[i]) for i in ids.tolist()], np.intp)[place]
        kept = slot > self.top - self.slots
        self._closes[rows[kept], slot[kept] % self.slots] = bars.close[kept]

    def closes(self, symbols: Sequence[str], left_out: Mapping[str, str] | None = None) -> Closes:
        """Return the table of these symbols, by name; those without a bar in it are excluded. O(slots · symbols)."""
        slots = np.arange(max(0, self.top - self.slots + 1), self.top + 1)
        reasons = dict(left_out or {})
        names, rows = [], []
        for name in sorted(symbols):
            row = self._rows.get(name, -1)
            if row < 0 or np.isnan(self._closes[row]).all():
                reasons.setdefault(name, f"has none of the last {self.slots:,} bars")
            else:
                names.append(name)
                rows.append(row)
        prices = self._closes[np.array(rows, np.intp)[:, None], slots % self.slots]
        return Closes(slots * self._step_ns, tuple(names), np.ascontiguousarray(prices.T), reasons)

    def _reach(self, slot: int) -> None:
        """Let the ring come to a slot; what lies a ring's length before it is forgotten."""
        if slot > self.top:
            fresh = np.arange(max(self.top + 1, slot - self.slots + 1), slot + 1) % self.slots
            self._closes[:, fresh] = np.nan
            self.top = slot

    def _row(self, name: str) -> int:
        """Return a symbol's row, an empty one where it is new."""
        row = self._rows.setdefault(name, len(self._rows))
        have = self._closes.shape[0]
        if row >= have:
            self._closes = np.concatenate([self._closes, np.full((max(16, have), self.slots), np.nan)])
        return row
