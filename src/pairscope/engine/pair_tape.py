"""Closes of one timeframe as live pairs read them: a row a symbol, a column a slot, NaN where a slot has no bar.

A slot is a bar's open time divided by the timeframe. The newest ``slots`` of them are kept in a ring. Logs are laid out
twice, one ring length apart, so that the slots before any slot lie next to each other and a window is read where it is.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pairscope.market.ticks import B1, F8, I8

__all__ = ["CloseTape"]

_SPARE: Final = 64
_NONE: Final = -1


class CloseTape:
    """Rows come and go with the symbols of the pairs; ``top`` is the newest slot that the ring has come to."""

    def __init__(self) -> None:
        self.slots = _SPARE
        self.top = _NONE
        self.closes: F8 = np.empty((0, self.slots))
        self.logs: F8 = np.empty((0, 2 * self.slots))
        self._row_of: I8 = np.empty(0, np.int64)
        self._symbol_of: list[int] = []
        self._free: list[int] = []

    def row(self, symbol_id: int) -> int:
        """Return a symbol's row, an empty one where it is new."""
        self._know(symbol_id)
        known = int(self._row_of[symbol_id])
        if known >= 0:
            return known
        if not self._free:
            self._more_rows()
        row = self._free.pop()
        self.closes[row] = self.logs[row] = np.nan
        self._row_of[symbol_id] = row
        self._symbol_of[row] = symbol_id
        return row

    def release(self, row: int) -> None:
        """Give a row back that no pair reads any more."""
        self._row_of[self._symbol_of[row]] = _NONE
        self._symbol_of[row] = _NONE
        self.closes[row] = self.logs[row] = np.nan
        self._free.append(row)

    def rows_of(self, symbol_id: I8) -> I8:
        """Return the rows of symbols, -1 where a symbol has none."""
        if symbol_id.size:
            self._know(int(symbol_id.max()))
        rows: I8 = self._row_of[symbol_id]
        return rows

    def symbol_of(self, row: int) -> int:
        """Return whose row it is."""
        return self._symbol_of[row]

    def keep(self, slots: int) -> None:
        """Make the ring so long that ``slots`` slots before the newest are kept; what is there stays."""
        need = slots + _SPARE
        if need <= self.slots:
            return
        closes = np.full((self.closes.shape[0], need), np.nan)
        if self.top >= 0:
            held = np.arange(max(0, self.top - self.slots + 1), self.top + 1)
            closes[:, held % need] = self.closes[:, held % self.slots]
        self.slots, self.closes = need, closes
        logs = np.log(closes)
        self.logs = np.concatenate([logs, logs], axis=1)

    def reach(self, slot: int) -> None:
        """Let the ring come to a slot; what lies a ring's length before it is forgotten."""
        if slot <= self.top:
            return
        fresh = np.arange(max(self.top + 1, slot - self.slots + 1), slot + 1) % self.slots
        self.closes[:, fresh] = np.nan
        self.logs[:, fresh] = np.nan
        self.logs[:, fresh + self.slots] = np.nan
        self.top = slot

    def write(self, rows: I8, slots: I8, closes: F8) -> B1:
        """Take closes; return which of them are news. What is older than the ring is left out."""
        if slots.size:
            self.reach(int(slots.max()))
        kept = slots > self.top - self.slots
        at = slots % self.slots
        news: B1 = kept & (self.closes[rows, at] != closes)
        rows, at, closes = rows[news], at[news], closes[news]
        logs = np.log(closes)
        self.closes[rows, at] = closes
        self.logs[rows, at] = logs
        self.logs[rows, at + self.slots] = logs
        return news

    def filled(self, start: int, end: int) -> I8:
        """Return the slots of [start, end) in which any row has a bar, ascending."""
        slots = np.arange(max(start, self.top - self.slots + 1, 0), end)
        there = ~np.isnan(self.closes[:, slots % self.slots])
        found: I8 = slots[there.any(axis=0)]
        return found

    def common(self, row: int, other: int, end: int) -> I8:
        """Return the slots before ``end`` in which both rows have a bar, ascending."""
        slots: I8 = np.arange(max(0, self.top - self.slots + 1), end)
        at = slots % self.slots
        both: I8 = slots[~(np.isnan(self.closes[row, at]) | np.isnan(self.closes[other, at]))]
        return both

    def _know(self, symbol_id: int) -> None:
        have = self._row_of.size
        if symbol_id >= have:
            more = max(symbol_id + 1, 2 * have) - have
            self._row_of = np.concatenate([self._row_of, np.full(more, _NONE, np.int64)])

    def _more_rows(self) -> None:
        have = self.closes.shape[0]
        more = max(8, have)
        self.closes = np.concatenate([self.closes, np.full((more, self.slots), np.nan)])
        self.logs = np.concatenate([self.logs, np.full((more, 2 * self.slots), np.nan)])
        self._symbol_of += [_NONE] * more
        self._free += range(have + more - 1, have - 1, -1)
