"""Bar cells: bars while they are being built, in exact integers, and the kernels that add ticks to them and merge them.

A cell is one bar as a record. Its volumes are exact decimals (see ``exact``), each cell with decimals of its own, found
from the data and widened when a finer size comes. Sums of integers do not depend on the order of the summands, so
neither do bars; a cell whose sums lost digits is marked ``inexact``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairscope.market.exact import EXACT, plus, quote_of, units_of, value_of
from pairscope.market.kernel import kernel
from pairscope.market.ticks import B1, F8, I4, I8

__all__ = [
    "CELL",
    "SYMBOL_STATE",
    "Cells",
    "absorb",
    "build",
    "cell_values",
    "find_closed",
    "fold",
    "fold_spans",
    "last_day",
    "scale",
]

CELL = np.dtype(
    [
        ("ordinal", "i8"),  # 1 + ts_open / timeframe; 0: the cell is empty, so that zeroed memory needs no filling
        ("open", "f8"),
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("lots", "i8"),
        ("buy_lots", "i8"),
        ("quote", "i8"),
        ("first_id", "i8"),
        ("last_id", "i8"),
        ("trades", "i4"),
        ("revision", "i4"),
        ("lots_decimals", "i1"),
        ("buy_decimals", "i1"),
        ("quote_decimals", "i1"),
        ("origin", "i1"),
        ("inexact", "i1"),
    ],
    align=True,
)
SYMBOL_STATE = np.dtype(
    [
        ("last_price", "f8"),
        ("last_size", "f8"),
        ("last_ns", "i8"),
        ("last_id", "i8"),
        ("last_row", "i8"),
        ("first_ns", "i8"),
        ("batch", "i8"),
        ("price_decimals", "i1"),
        ("size_decimals", "i1"),
    ],
    align=True,
)
Cells = NDArray[Any]

_OWN = 0
_SECOND = 1_000_000_000
_MINUTE = 60_000_000_000


@kernel
def _open(cell: Any, ordinal: int) -> None:  # pragma: no cover - compiled
    """Make a cell an empty bar of its own ticks."""
    cell.ordinal = ordinal
    cell.lots = 0
    cell.buy_lots = 0
    cell.quote = 0
    cell.first_id = -1
    cell.last_id = -1
    cell.trades = 0
    cell.revision = 0
    cell.lots_decimals = 0
    cell.buy_decimals = 0
    cell.quote_decimals = 0
    cell.origin = _OWN
    cell.inexact = 0


@kernel
def _add(
    cell: Any,
    price: float,
    lots: int,
    lots_decimals: int,
    quote: int,
    quote_decimals: int,
    buyer_is_maker: np.bool_,
    number: int,
    inexact: int,
) -> None:  # pragma: no cover - compiled
    """Add one trade to a cell."""
    if cell.trades == 0:
        cell.open = price
        cell.high = price
        cell.low = price
        cell.close = price
        cell.first_id = number
        cell.last_id = number
    else:
        cell.high = max(cell.high, price)
        cell.low = min(cell.low, price)
        if number < cell.first_id:
            cell.first_id = number
            cell.open = price
        if number > cell.last_id:
            cell.last_id = number
            cell.close = price
    cell.trades += 1
    cell.lots, cell.lots_decimals, a = plus(cell.lots, cell.lots_decimals, lots, lots_decimals)
    b = 0
    if not buyer_is_maker:
        cell.buy_lots, cell.buy_decimals, b = plus(cell.buy_lots, cell.buy_decimals, lots, lots_decimals)
    cell.quote, cell.quote_decimals, c = plus(cell.quote, cell.quote_decimals, quote, quote_decimals)
    if a | b | c | inexact or lots >= EXACT:
        cell.inexact = 1


@kernel
def _merge(into: Any, cell: Any) -> None:  # pragma: no cover - compiled
    """Add a cell to one that is empty or not later: by trade ids where both have them, else by the order of calls."""
    if into.ordinal == 0:
        ordinal = cell.ordinal
        _open(into, ordinal)
        into.open = cell.open
        into.high = cell.high
        into.low = cell.low
        into.close = cell.close
        into.first_id = cell.first_id
        into.last_id = cell.last_id
    else:
        into.high = max(into.high, cell.high)
        into.low = min(into.low, cell.low)
        if cell.first_id >= 0 and (into.first_id < 0 or cell.first_id < into.first_id):
            if into.first_id >= 0:
                into.open = cell.open
            into.first_id = cell.first_id
        if cell.last_id < 0 or cell.last_id > into.last_id:
            into.close = cell.close
        into.last_id = max(into.last_id, cell.last_id)
    into.trades += cell.trades
    into.revision += cell.revision
    into.origin = max(into.origin, cell.origin)
    into.lots, into.lots_decimals, a = plus(into.lots, into.lots_decimals, cell.lots, cell.lots_decimals)
    into.buy_lots, into.buy_decimals, b = plus(into.buy_lots, into.buy_decimals, cell.buy_lots, cell.buy_decimals)
    into.quote, into.quote_decimals, c = plus(into.quote, into.quote_decimals, cell.quote, cell.quote_decimals)
    if a | b | c | cell.inexact:
        into.inexact = 1


@kernel
def build(
    symbol_id: I4, ordinal: I8, trade_id: I8, price: F8, size: F8, buyer_is_maker: B1, out: Cells, owner: I4
) -> int:  # pragma: no cover - compiled
    """Turn ticks grouped by (symbol, ordinal) into cells; returns how many there are. O(ticks)."""
    found = 0
    price_decimals = size_decimals = 0
    for i in range(symbol_id.size):
        if i == 0 or symbol_id[i] != symbol_id[i - 1]:
            price_decimals = size_decimals = 0
        if i == 0 or symbol_id[i] != symbol_id[i - 1] or ordinal[i] != ordinal[i - 1]:
            _open(out[found], ordinal[i])
            owner[found] = symbol_id[i]
            found += 1
        lots, d = units_of(size[i], size_decimals)
        units, e = units_of(price[i], price_decimals)
        size_decimals = d if lots < EXACT else size_decimals
        price_decimals = e if units < EXACT else price_decimals
        quote, q, lost = quote_of(price[i], size[i], units, e, lots, d)
        _add(out[found - 1], price[i], lots, d, quote, q, buyer_is_maker[i], trade_id[i], lost)
    return found


@kernel
def fold(symbol_id: I4, ordinal: I8, cells: Cells, out: Cells, owner: I4) -> int:  # pragma: no cover - compiled
    """Merge neighbours that share (symbol, ordinal), in their order; returns how many cells are left. O(cells)."""
    found = 0
    for i in range(symbol_id.size):
        if i == 0 or symbol_id[i] != symbol_id[i - 1] or ordinal[i] != ordinal[i - 1]:
            out[found].ordinal = 0
            owner[found] = symbol_id[i]
            found += 1
        _merge(out[found - 1], cells[i])
        out[found - 1].ordinal = ordinal[i]
    return found


@kernel
def cell_values(cells: Cells, volume: F8, buy_volume: F8, quote_volume: F8) -> None:  # pragma: no cover - compiled
    """Write the volumes of cells as float64, each divided once."""
    for i in range(cells.size):
        cell = cells[i]
        volume[i] = value_of(cell.lots, cell.lots_decimals)
        buy_volume[i] = value_of(cell.buy_lots, cell.buy_decimals)
        quote_volume[i] = value_of(cell.quote, cell.quote_decimals)


@kernel
def scale(volume: F8, buy_volume: F8, quote_volume: F8, cells: Cells) -> None:  # pragma: no cover - compiled
    """Read float64 volumes back into cells as the decimals that they came from."""
    for i in range(cells.size):
        cell = cells[i]
        cell.lots, cell.lots_decimals = units_of(volume[i], 0)
        cell.buy_lots, cell.buy_decimals = units_of(buy_volume[i], 0)
        cell.quote, cell.quote_decimals = units_of(quote_volume[i], 0)
        cell.inexact = 1 if max(cell.lots, cell.buy_lots, cell.quote) >= EXACT else 0


@kernel
def fold_spans(cells: Cells, symbol_id: I4, first: I8, span: int, out: Cells) -> None:  # pragma: no cover - compiled
    """Merge each symbol's bars ``first`` … ``first + span - 1`` of a ring into one cell; ordinal 0 where none is."""
    slots = cells.shape[1]
    for i in range(symbol_id.size):
        out[i].ordinal = 0
        for k in range(first[i], first[i] + min(span, slots)):
            cell = cells[symbol_id[i], k % slots]
            if cell.ordinal == k + 1:
                _merge(out[i], cell)


@kernel
def find_closed(
    cells: Cells, newest: I8, start: int, end: int, owner: I4, index: I8
) -> int:  # pragma: no cover - compiled
    """Write (symbol, bar index) of every bar of a ring in [start, end), by (symbol, time); returns how many."""
    found = 0
    slots = cells.shape[1]
    for s in range(newest.size):
        for k in range(max(start, newest[s] - slots + 1), min(end, newest[s] + 1)):
            cell = cells[s, k % slots]
            if cell.ordinal == k + 1:
                owner[found] = s
                index[found] = k
                found += 1
    return found


@kernel
def last_day(
    cells: Cells, day: Cells, day_at: I8, symbol_id: int, minute: int, newest: int
) -> float:  # pragma: no cover - compiled
    """Return the volume of the last 1,440 one-minute bars, those open from ``minute`` on included.

    ``day`` keeps what the closed ones sum up to, ``day_at`` for which minute: O(1) but once a minute.
    """
    slots = cells.shape[1]
    closed = day[symbol_id]
    if day_at[symbol_id] != minute:
        day_at[symbol_id] = minute
        closed.ordinal = 0
        _open(closed, 0)
        for k in range(minute - 1439, minute):
            cell = cells[symbol_id, k % slots]
            if cell.ordinal == k + 1:
                closed.lots, closed.lots_decimals, _ = plus(
                    closed.lots, closed.lots_decimals, cell.lots, cell.lots_decimals
                )
    lots, decimals = closed.lots, closed.lots_decimals
    for k in range(minute, newest + 1):
        cell = cells[symbol_id, k % slots]
        if cell.ordinal == k + 1:
            lots, decimals, _ = plus(lots, decimals, cell.lots, cell.lots_decimals)
    return value_of(lots, decimals)


@kernel
def absorb(
    symbol_id: I4,
    ts_event_ns: I8,
    trade_id: I8,
    price: F8,
    size: F8,
    buyer_is_maker: B1,
    state: Cells,
    seconds: Cells,
    minutes: Cells,
    newest_second: I8,
    newest_minute: I8,
    limits: I8,
    touched: I4,
    revised: I8,
    rebuild: I8,
    counts: I8,
) -> None:  # pragma: no cover - compiled
    """Add a batch of ticks to the rings of one-second and one-minute bars.

    ``limits``: the watermark, the oldest second and the oldest minute kept, the oldest second and minute to update,
    and the number of this batch. ``counts`` returns how many symbols were touched, late ticks, revised bars and
    minutes to rebuild. A row of ``revised`` is (0 second or 1 minute, symbol, bar index).
    """
    watermark, oldest_second, oldest_minute, from_second, from_minute, batch = limits
    for i in range(symbol_id.size):
        s = symbol_id[i]
        ts = ts_event_ns[i]
        of = state[s]
        if of.batch != batch:
            of.batch = batch
            of.last_row = -1
            touched[counts[0]] = s
            counts[0] += 1
        if trade_id[i] > of.last_id:
            of.last_id = trade_id[i]
            of.last_price = price[i]
            of.last_size = size[i]
            of.last_ns = ts
            of.last_row = i
        if of.first_ns < 0 or ts < of.first_ns:
            of.first_ns = ts
        if ts < watermark:
            counts[1] += 1
        lots, d = units_of(size[i], of.size_decimals)
        units, e = units_of(price[i], of.price_decimals)
        if lots < EXACT:
            of.size_decimals = d
        if units < EXACT:
            of.price_decimals = e
        quote, q, inexact = quote_of(price[i], size[i], units, e, lots, d)
        second = ts // _SECOND
        minute = ts // _MINUTE
        lost = second < oldest_second or minute < oldest_minute
        if second >= max(oldest_second, from_second):
            cell = seconds[s, second % seconds.shape[1]]
            if cell.ordinal != second + 1:
                _open(cell, second + 1)
                newest_second[s] = max(newest_second[s], second)
            _add(cell, price[i], lots, d, quote, q, buyer_is_maker[i], trade_id[i], inexact)
            if (second + 1) * _SECOND <= watermark:
                cell.revision += 1
                revised[counts[2], 0] = 0
                revised[counts[2], 1] = s
                revised[counts[2], 2] = second
                counts[2] += 1
        if minute >= max(oldest_minute, from_minute):
            cell = minutes[s, minute % minutes.shape[1]]
            if cell.ordinal != minute + 1:
                _open(cell, minute + 1)
                newest_minute[s] = max(newest_minute[s], minute)
            if cell.origin == _OWN:
                _add(cell, price[i], lots, d, quote, q, buyer_is_maker[i], trade_id[i], inexact)
                if (minute + 1) * _MINUTE <= watermark:
                    cell.revision += 1
                    revised[counts[2], 0] = 1
                    revised[counts[2], 1] = s
                    revised[counts[2], 2] = minute
                    counts[2] += 1
            else:  # another's bar: the store decides whether own ticks make it whole by now
                lost = True
        if lost:
            rebuild[counts[3], 0] = s
            rebuild[counts[3], 1] = minute
            counts[3] += 1
