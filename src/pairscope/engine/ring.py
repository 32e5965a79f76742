"""The newest bars of one base timeframe in memory: a row a symbol, a bar's place in it its index modulo the length.

A bar's index is its open time divided by the timeframe. Open and closed bars live here alike, so that a late tick
changes a closed bar exactly as a timely one changes an open bar; longer bars are merged from here when asked for.
"""

from __future__ import annotations

import numpy as np

from pairscope.market.bar_cells import CELL, Cells, find_closed, fold_spans
from pairscope.market.bars import BarBatch, bars_from_cells, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I4, I8

__all__ = ["BarRing"]

_INDEX_BITS = 40


class BarRing:
    """``kept`` closed bars of each symbol, with ``spare`` places for open ones.

    ``derived`` are the timeframes that are made of these bars, ``newest`` is the index of each symbol's newest bar (-1
    before its first). A place that is needed again is overwritten: what is older than ``kept`` bars is gone.
    """

    def __init__(self, symbols: Symbols, timeframe: str, derived: tuple[str, ...], *, kept: int, spare: int) -> None:
        self.symbols = symbols
        self.timeframe = timeframe
        self.derived = derived
        self.kept = kept
        self.step_ns = timeframe_ns(timeframe)
        self.cells: Cells = np.zeros((0, kept + spare), CELL)
        self.newest: I8 = np.empty(0, np.int64)

    def grow(self, capacity: int) -> None:
        """Make room for ``capacity`` symbols. Memory is touched only where bars come to lie."""
        have = self.newest.size
        cells = np.zeros((capacity, self.cells.shape[1]), CELL)
        cells[:have] = self.cells
        self.cells = cells
        self.newest = np.concatenate([self.newest, np.full(capacity - have, -1, np.int64)])

    def end(self, watermark_ns: int) -> int:
        """Return the index of the first bar that is still open."""
        return watermark_ns // self.step_ns

    def oldest(self, watermark_ns: int) -> int:
        """Return the index of the oldest bar that is kept."""
        return max(0, self.end(watermark_ns) - self.kept)

    def at(self, symbol_id: I4, index: I8) -> Cells:
        """Return copies of the cells where bars lie, or would lie."""
        found: Cells = self.cells[symbol_id, index % self.cells.shape[1]]
        return found

    def put(self, symbol_id: I4, index: I8, cells: Cells) -> None:
        """Place bars, later ones over earlier ones."""
        self.cells[symbol_id, index % self.cells.shape[1]] = cells
        np.maximum.at(self.newest, symbol_id, index)

    def pick(self, symbol_id: I4, index: I8) -> BarBatch:
        """Return bars by symbol and index, which must be there."""
        return bars_from_cells(self.symbols, self.timeframe, symbol_id, self.at(symbol_id, index))

    def inexact(self, symbol_id: I4, index: I8) -> int:
        """Return how many of these bars have sums that lost digits."""
        return int(np.count_nonzero(self.cells["inexact"][symbol_id, index % self.cells.shape[1]]))

    def closing(self, start_ns: int, end_ns: int) -> tuple[I4, I8]:
        """Return (symbol, index) of the bars that close as the watermark moves from ``start_ns`` to ``end_ns``."""
        start, end = self.end(start_ns), self.end(end_ns)
        room = self.newest.size * min(max(0, end - start), self.cells.shape[1])
        owner, index = np.empty(room, np.int32), np.empty(room, np.int64)
        found = find_closed(self.cells, self.newest, start, end, owner, index) if room else 0
        return owner[:found].copy(), index[:found].copy()

    def closing_longer(self, timeframe: str, start_ns: int, end_ns: int) -> BarBatch | None:
        """Return the longer bars that close as the watermark moves from ``start_ns`` to ``end_ns``, None where none."""
        length = timeframe_ns(timeframe)
        per = length // self.step_ns
        start, end = start_ns // length, end_ns // length
        if end <= start or self.newest.size == 0:
            return None
        buckets = np.arange(start, min(end, int(self.newest.max()) // per + 1), dtype=np.int64)
        active = np.flatnonzero(self.newest >= start * per).astype(np.int32)
        bars = self.longer(timeframe, np.repeat(active, buckets.size), np.tile(buckets, active.size))
        return bars if len(bars) else None

    def longer(self, timeframe: str, symbol_id: I4, bucket: I8) -> BarBatch:
        """Return longer bars by symbol and their own index, merged from the bars here; absent where there are none."""
        per = timeframe_ns(timeframe) // self.step_ns
        out = np.empty(symbol_id.size, CELL)
        fold_spans(self.cells, symbol_id, bucket * per, per, out)
        there = out["ordinal"] > 0
        out["ordinal"] = bucket + 1
        if not there.all():
            symbol_id, out = symbol_id[there], out[there]
        return bars_from_cells(self.symbols, timeframe, symbol_id, out)

    def closed_around(self, symbol_id: I4, index: I8, watermark_ns: int) -> list[BarBatch]:
        """Return the closed longer bars that hold any of these bars and of which every part is still kept."""
        found = []
        for timeframe in self.derived:
            per = timeframe_ns(timeframe) // self.step_ns
            owner, bucket = distinct(symbol_id, index // per)
            whole = (bucket * per >= self.oldest(watermark_ns)) & ((bucket + 1) * per <= self.end(watermark_ns))
            if whole.any():
                found.append(self.longer(timeframe, owner[whole], bucket[whole]))
        return found


def distinct(symbol_id: I4, index: I8) -> tuple[I4, I8]:
    """Return the different pairs of (symbol, index), ascending."""
    keys = np.unique(symbol_id.astype(np.int64) << _INDEX_BITS | index)
    return (keys >> _INDEX_BITS).astype(np.int32), keys & ((1 << _INDEX_BITS) - 1)
