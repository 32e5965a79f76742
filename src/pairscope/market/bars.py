"""Bars: their columns, their timeframes, how ticks become bars and bars become longer bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pairscope.errors import InputError
from pairscope.market.bar_cells import CELL, Cells, build, cell_values, fold, scale
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1, F8, I4, I8, TickBatch

__all__ = [
    "BASE_TIMEFRAMES",
    "TIMEFRAMES",
    "BarBatch",
    "BarOutcome",
    "BarOutcomes",
    "Origin",
    "bars_from_cells",
    "bars_of",
    "cells_from_bars",
    "check_ticks",
    "concat_bars",
    "merge_bars",
    "resample",
    "timeframe_ns",
]

_S = 1_000_000_000
TIMEFRAMES: MappingProxyType[str, int] = MappingProxyType(
    {
        "1s": _S,
        "5s": 5 * _S,
        "15s": 15 * _S,
        "1m": 60 * _S,
        "3m": 180 * _S,
        "5m": 300 * _S,
        "15m": 900 * _S,
        "30m": 1800 * _S,
        "1h": 3600 * _S,
        "4h": 14400 * _S,
        "1d": 86400 * _S,
    }
)
"""Every timeframe with its length in nanoseconds; a bar opens at a multiple of it since the epoch, UTC."""

BASE_TIMEFRAMES = ("1s", "1m")
"""What a store makes of ticks: 5s and 15s follow from 1s, everything longer from 1m."""


class Origin(IntEnum):
    """Whose bar it is. A bar of own ticks replaces the exchange's or an uploaded one, never the other way round."""

    OWN = 0
    EXCHANGE = 1
    UPLOAD = 2


class BarOutcome(IntEnum):
    """What came of a bar that was put into a store; ``KEPT``: what is there has precedence, or own ticks cover it."""

    INSERTED = 0
    UPDATED = 1
    UNCHANGED = 2
    KEPT = 3


BarOutcomes = NDArray[np.int8]
"""Values of :class:`BarOutcome`, one a bar, in the order of a batch."""


def timeframe_ns(timeframe: str) -> int:
    """Return the length of a timeframe in nanoseconds; ``KeyError`` where there is no such timeframe.

    >>> timeframe_ns("1m")
    60000000000
    """
    return TIMEFRAMES[timeframe]


@dataclass(frozen=True, slots=True, eq=False)
class BarBatch:
    """Bars of one timeframe as columns, in the order stated by whoever made them.

    A bar is named by ``ts_open_ns`` and covers [ts_open_ns, ts_open_ns + timeframe). ``open`` is the price of its
    lowest trade id, ``close`` of its highest, whatever the order of arrival. ``volume``, ``buy_volume`` (aggressor
    bought) in base units and ``quote_volume`` in quote units are exact decimal sums, rounded once to float64.
    ``first_id`` and ``last_id`` are -1 where the bar is not made of own ticks. ``revision`` counts how often a closed
    bar was corrected. ``origin`` holds values of :class:`Origin`.
    """

    symbols: Symbols
    timeframe: str
    symbol_id: I4
    ts_open_ns: I8
    open: F8
    high: F8
    low: F8
    close: F8
    volume: F8
    quote_volume: F8
    buy_volume: F8
    trades: I8
    first_id: I8
    last_id: I8
    revision: I4
    origin: NDArray[np.int8]

    def __len__(self) -> int:
        return int(self.symbol_id.size)

    @property
    def vwap(self) -> F8:
        """Volume-weighted average price; NaN where nothing was traded, or where the traded value is not known."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where((self.volume > 0) & ~self.untold, self.quote_volume / self.volume, np.nan)

    @property
    def untold(self) -> B1:
        """Which bars were traded and do not tell for how much: uploads of a file that had no column for it.

        Their ``quote_volume`` and ``buy_volume`` are 0 and mean nothing.
        """
        untold: B1 = (self.quote_volume == 0) & (self.volume > 0) & (self.origin == Origin.UPLOAD)
        return untold

    @classmethod
    def empty(cls, symbols: Symbols, timeframe: str) -> BarBatch:
        """Return a batch without bars.

        >>> len(BarBatch.empty(Symbols(), "1m"))
        0
        """
        return bars_from_cells(symbols, timeframe, np.empty(0, np.int32), np.empty(0, CELL))

    def take(self, index: NDArray[np.intp] | B1 | slice) -> BarBatch:
        """Return the bars at an index array, mask or slice."""
        columns = {name: getattr(self, name)[index] for name in _COLUMNS}
        return BarBatch(self.symbols, self.timeframe, **columns)

    def in_table(self, symbols: Symbols) -> BarBatch:
        """Return the same bars under the ids of another table, which takes in the names of theirs that it lacks."""
        ids = np.zeros(len(self.symbols), np.int32)
        for symbol_id in np.unique(self.symbol_id).tolist():
            ids[symbol_id] = symbols.id_of(self.symbols[symbol_id])
        columns = {name: getattr(self, name) for name in _COLUMNS}
        return BarBatch(symbols, self.timeframe, **{**columns, "symbol_id": ids[self.symbol_id]})

    def of_symbol(self, symbol: str) -> BarBatch:
        """Return the bars of one symbol, in the same order."""
        symbol_id = self.symbols.find(symbol)
        return self.take(self.symbol_id == (-1 if symbol_id is None else symbol_id))


_COLUMNS = tuple(field.name for field in fields(BarBatch))[2:]


def bars_of(ticks: TickBatch, timeframe: str) -> BarBatch:
    """Return the bars that trades make, by (symbol, time). O(n log n).

    The order of the ticks changes nothing; a trade that is there twice counts twice (:class:`Continuity` keeps repeats
    out). Intervals without a trade have no bar. Volumes are exact within the bounds of :mod:`pairscope.market.exact`.
    Raises ``ValueError`` naming the column on a price or size that is not finite and positive, or on a time before
    1970, and on an unknown timeframe.

    >>> i8 = np.array([0, 1_500_000_000, 1_000_000_000])
    >>> ticks = TickBatch(Symbols(["BTCUSDT"]), np.zeros(3, np.int32), i8, i8, np.array([1, 3, 2]),
    ...     np.array([10.0, 12.0, 11.0]), np.array([0.1, 0.2, 0.7]), np.array([False, True, False]), 0)
    >>> bars = bars_of(ticks, "1s")
    >>> bars.open.tolist(), bars.close.tolist(), bars.volume.tolist(), bars.buy_volume.tolist()
    ([10.0, 11.0], [10.0, 12.0], [0.1, 0.9], [0.1, 0.7])
    """
    step = _step_of(timeframe)
    check_ticks(ticks)
    ordinal = ticks.ts_event_ns // step + 1
    order = np.lexsort((ordinal, ticks.symbol_id))
    count = order.size
    cells, owner = np.zeros(_groups(ordinal, ticks.symbol_id, order), CELL), np.empty(count, np.int32)
    found = build(
        ticks.symbol_id[order],
        ordinal[order],
        ticks.trade_id[order],
        ticks.price[order],
        ticks.size[order],
        ticks.buyer_is_maker[order],
        cells,
        owner,
    )
    return bars_from_cells(ticks.symbols, timeframe, owner[:found].copy(), cells)


def resample(bars: BarBatch, timeframe: str) -> BarBatch:
    """Return bars of a longer timeframe (or the same), by (symbol, time). O(n log n).

    Volumes are summed exactly: a float64 volume is read back as the decimal that it came from. ``open`` and ``close``
    are those of the lowest and highest trade id where the bars have ids, else of the first and last bar; a longer bar
    has ids only where all of its parts are own, its ``origin`` is the highest of its parts', and its ``revision`` the
    sum of theirs. Bars of the same symbol and time are merged. Raises ``ValueError`` naming ``timeframe`` unless it is
    a multiple of the bars'.

    >>> i8 = np.array([0, 1_000_000_000])
    >>> ticks = TickBatch(Symbols(["BTCUSDT"]), np.zeros(2, np.int32), i8, i8, np.array([1, 2]),
    ...     np.array([10.0, 12.0]), np.array([0.1, 0.2]), np.array([False, True]), 0)
    >>> resample(bars_of(ticks, "1s"), "5s").volume.tolist()
    [0.3]
    """
    step, base = _step_of(timeframe), timeframe_ns(bars.timeframe)
    if step % base:
        raise InputError(f"timeframe: {timeframe} cannot be made of {bars.timeframe} bars", loc="timeframe")
    order = np.lexsort((bars.first_id, bars.ts_open_ns, bars.symbol_id))
    symbol_id = bars.symbol_id[order]
    ordinal = bars.ts_open_ns[order] // step + 1
    out, owner = np.zeros(_groups(ordinal, symbol_id), CELL), np.empty(order.size, np.int32)
    found = fold(symbol_id, ordinal, cells_from_bars(bars.take(order)), out, owner)
    return bars_from_cells(bars.symbols, timeframe, owner[:found].copy(), out)


def merge_bars(a: BarBatch, b: BarBatch) -> BarBatch:
    """Return the bars of both, those of the same symbol and time merged into one, by (symbol, time). O(n log n).

    ``merge_bars(bars_of(x), bars_of(y))`` is ``bars_of(x and y together)``, bit for bit, in either order: bars of own
    ticks are a commutative monoid with :meth:`BarBatch.empty` as zero. Of two bars without trade ids the first given
    counts as the earlier one. Raises ``ValueError`` where timeframes or symbol tables differ.

    >>> nothing = BarBatch.empty(Symbols(), "1m")
    >>> len(merge_bars(nothing, nothing))
    0
    """
    return resample(concat_bars([a, b]), a.timeframe)


def concat_bars(batches: Sequence[BarBatch]) -> BarBatch:
    """Join batches of one timeframe and one symbol table, in order. O(total bars).

    Raises ``ValueError`` on an empty sequence, or where timeframes or symbol tables differ.

    >>> len(concat_bars([BarBatch.empty(Symbols(), "1s")]))
    0
    """
    if not batches:
        raise InputError("batches: needs at least one", loc="batches")
    first = batches[0]
    if len(batches) == 1:
        return first
    if any(batch.timeframe != first.timeframe for batch in batches):
        raise InputError("batches: timeframes differ", loc="batches")
    if any(batch.symbols is not first.symbols for batch in batches):
        raise InputError("batches: symbol tables differ", loc="batches")
    columns = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in _COLUMNS}
    return BarBatch(first.symbols, first.timeframe, **columns)


def bars_from_cells(symbols: Symbols, timeframe: str, symbol_id: I4, cells: Cells) -> BarBatch:
    """Return cells as columns, volumes divided once; in the order given. O(n).

    >>> cells = np.zeros(1, CELL)
    >>> cells["ordinal"], cells["lots"], cells["lots_decimals"] = 2, 3, 1
    >>> bars = bars_from_cells(Symbols(["BTCUSDT"]), "1m", np.zeros(1, np.int32), cells)
    >>> bars.ts_open_ns.tolist(), bars.volume.tolist()
    ([60000000000], [0.3])
    """
    volume, buy_volume, quote_volume = np.empty((3, cells.size))
    cell_values(cells, volume, buy_volume, quote_volume)
    own = cells["origin"] == Origin.OWN
    return BarBatch(
        symbols=symbols,
        timeframe=timeframe,
        symbol_id=symbol_id,
        ts_open_ns=(cells["ordinal"] - 1) * timeframe_ns(timeframe),
        open=cells["open"].copy(),
        high=cells["high"].copy(),
        low=cells["low"].copy(),
        close=cells["close"].copy(),
        volume=volume,
        quote_volume=quote_volume,
        buy_volume=buy_volume,
        trades=cells["trades"].astype(np.int64),
        first_id=np.where(own, cells["first_id"], -1),
        last_id=np.where(own, cells["last_id"], -1),
        revision=cells["revision"].copy(),
        origin=cells["origin"].copy(),
    )


def cells_from_bars(bars: BarBatch) -> Cells:
    """Return columns as cells, volumes read back as the decimals that they came from; in the order given. O(n).

    >>> cells_from_bars(BarBatch.empty(Symbols(), "1m")).size
    0
    """
    cells = np.zeros(len(bars), CELL)
    cells["ordinal"] = bars.ts_open_ns // timeframe_ns(bars.timeframe) + 1
    for name in ("open", "high", "low", "close", "first_id", "last_id", "trades", "revision", "origin"):
        cells[name] = getattr(bars, name)
    scale(np.array(bars.volume), np.array(bars.buy_volume), np.array(bars.quote_volume), cells)
    return cells


def check_ticks(ticks: TickBatch) -> None:
    """Raise ``ValueError`` naming the column that no bar can be made of. O(n).

    >>> check_ticks(TickBatch.empty(Symbols(), 0))
    """
    if len(ticks) == 0:
        return
    for name in ("price", "size"):
        column = getattr(ticks, name)
        # A NaN fails both comparisons.
        if not (column.min() > 0 and column.max() < np.inf):
            raise InputError(f"{name}: must be finite and positive", loc=name)
    if ticks.ts_event_ns.min() < 0:
        raise InputError("ts_event_ns: must not lie before 1970", loc="ts_event_ns")


def _step_of(timeframe: str) -> int:
    """Return the length of a timeframe; ``ValueError`` where there is no such timeframe."""
    if timeframe not in TIMEFRAMES:
        raise InputError(f"timeframe: unknown {timeframe!r}, one of {', '.join(TIMEFRAMES)}", loc="timeframe")
    return TIMEFRAMES[timeframe]


def _groups(ordinal: I8, symbol_id: I4, order: NDArray[np.intp] | slice = slice(None)) -> int:
    """Return how many (symbol, ordinal) there are in columns that ``order`` sorts."""
    n = ordinal.size
    if n == 0:
        return 0
    o, s = ordinal[order], symbol_id[order]
    return 1 + int(np.count_nonzero((o[1:] != o[:-1]) | (s[1:] != s[:-1])))
