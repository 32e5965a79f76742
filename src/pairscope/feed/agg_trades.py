"""Aggregate trades and klines as the exchange counts them: integer columns, and what is listed.

Prices and sizes are integers in units of a symbol's own decimals, so that the text of a frame, a REST row and every
sum of volumes follow from them exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from pairscope.market.kernel import kernel
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1, I4, I8, TickBatch

__all__ = [
    "AggTrades",
    "Klines",
    "Listing",
    "concat_trades",
    "decimal_text",
    "flatten",
    "fold_klines",
    "klines_of",
    "regroup_klines",
]

_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Listing:
    """A symbol as the exchange lists it.

    A price of ``n`` units is ``n / 10**price_decimals`` quote units and a multiple of ``tick`` units; a size of ``n``
    units is ``n / 10**size_decimals`` base units and a multiple of ``step`` units.
    """

    symbol: str
    price_decimals: int
    size_decimals: int
    tick: int = 1
    step: int = 1
    onboard_ms: int = 1_577_836_800_000


def decimal_text(units: int, decimals: int) -> str:
    """Return an integer count of ``10**-decimals`` as the exchange writes it.

    >>> decimal_text(6180030, 2), decimal_text(1234, 8), decimal_text(7, 0), decimal_text(-5, 1)
    ('61800.30', '0.00001234', '7', '-0.5')
    """
    if decimals == 0:
        return str(units)
    whole, part = divmod(abs(units), 10**decimals)
    return f"{'-' if units < 0 else ''}{whole}.{part:0{decimals}d}"


@dataclass(frozen=True, slots=True, eq=False)
class AggTrades:
    """Aggregate trades in the order in which they are printed, one array a field.

    ``symbol_id`` indexes the listings of the source. ``event_ms`` is the time of the print (``E``), ``trade_ms`` that
    of the first trade in it (``T``); ids run from ``first_id`` to ``last_id``, both inclusive. ``price`` and ``size``
    are in units of the listing. ``net_size`` (``nq``) is -1 where the source has none.
    """

    symbol_id: I4
    event_ms: I8
    trade_ms: I8
    agg_id: I8
    first_id: I8
    last_id: I8
    price: I8
    size: I8
    net_size: I8
    buyer_is_maker: B1

    def __len__(self) -> int:
        return int(self.symbol_id.size)

    @classmethod
    def empty(cls) -> AggTrades:
        """Return no trades."""
        i8 = np.empty(0, np.int64)
        return cls(np.empty(0, np.int32), i8, i8, i8, i8, i8, i8, i8, i8, np.empty(0, np.bool_))

    def take(self, index: NDArray[np.intp] | B1 | slice) -> AggTrades:
        """Return the trades at an index array, mask or slice."""
        return AggTrades(*(getattr(self, field.name)[index] for field in fields(self)))

    def trade_count(self, i: int) -> int:
        """Return how many trades are in one of them."""
        return int(self.last_id[i] - self.first_id[i]) + 1

    def shifted(self, shift_ms: int) -> AggTrades:
        """Return the same trades at other times."""
        return replace(self, event_ms=self.event_ms + shift_ms, trade_ms=self.trade_ms + shift_ms)

    def ticks(self, listings: Sequence[Listing], symbols: Symbols, *, watermark_ns: int = 0) -> TickBatch:
        """Return them as a batch of ticks, received when they were printed."""
        ids = np.array([symbols.id_of(listing.symbol) for listing in listings], np.int32)
        price_scale = np.array([10.0**listing.price_decimals for listing in listings])
        size_scale = np.array([10.0**listing.size_decimals for listing in listings])
        return TickBatch(
            symbols,
            ids[self.symbol_id],
            self.trade_ms * _MS,
            self.event_ms * _MS,
            self.agg_id,
            self.price / price_scale[self.symbol_id],
            self.size / size_scale[self.symbol_id],
            self.buyer_is_maker,
            watermark_ns,
        )


def concat_trades(parts: Sequence[AggTrades]) -> AggTrades:
    """Join columns in order.

    >>> len(concat_trades([AggTrades.empty(), AggTrades.empty()]))
    0
    """
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return AggTrades.empty()
    return AggTrades(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(AggTrades)))


@dataclass(frozen=True, slots=True, eq=False)
class Klines:
    """Klines of one symbol, oldest first, in units of its listing.

    ``quote`` and ``buy_quote`` are in units of ``10**-(price_decimals + size_decimals)``; ``trades`` counts trades,
    not aggregates; ``first_id`` and ``last_id`` are trade ids, -1 where nothing traded.
    """

    open_ms: I8
    open: I8
    high: I8
    low: I8
    close: I8
    volume: I8
    quote: I8
    buy_volume: I8
    buy_quote: I8
    trades: I8
    first_id: I8
    last_id: I8

    def __len__(self) -> int:
        return int(self.open_ms.size)

    @classmethod
    def of_table(cls, table: NDArray[np.int64]) -> Klines:
        """Wrap a table with one row a kline and the columns of this class."""
        return cls(*(np.ascontiguousarray(column) for column in table.T))

    def table(self) -> NDArray[np.int64]:
        """Return one row a kline."""
        return np.column_stack([getattr(self, field.name) for field in fields(self)])

    def take(self, index: NDArray[np.intp] | B1 | slice) -> Klines:
        """Return the klines at an index array, mask or slice."""
        return Klines(*(getattr(self, field.name)[index] for field in fields(self)))


@kernel
def fold_klines(
    open_ms: int,
    step_ms: int,
    trade_ms: I8,
    price: I8,
    size: I8,
    maker: B1,
    first_id: I8,
    last_id: I8,
    out: NDArray[np.int64],
) -> None:  # pragma: no cover - compiled
    """Fold trades of one symbol, by id, into rows of ``out``; rows without a trade keep ``trades`` 0."""
    for i in range(trade_ms.size):
        row = out[(trade_ms[i] - open_ms) // step_ms]
        p, q = price[i], size[i]
        if row[9] == 0:
            row[1] = row[2] = row[3] = p
            row[10] = first_id[i]
        row[2] = max(row[2], p)
        row[3] = min(row[3], p)
        row[4] = p
        row[5] += q
        row[6] += p * q
        if not maker[i]:
            row[7] += q
            row[8] += p * q
        row[9] += last_id[i] - first_id[i] + 1
        row[11] = last_id[i]


@kernel
def flatten(table: NDArray[np.int64], open_ms: int, step_ms: int, close: int) -> int:  # pragma: no cover - compiled
    """Stamp rows of klines and make those without a trade flat; return the first row that has a price."""
    first = len(table)
    for i in range(table.shape[0]):
        row = table[i]
        row[0] = open_ms + i * step_ms
        if row[9] == 0:
            row[1] = row[2] = row[3] = row[4] = close
            row[10] = row[11] = -1
        close = int(row[4])
        if close > 0 and first > i:
            first = i
    return first


def klines_of(trades: AggTrades, *, step_ms: int, start_ms: int, end_ms: int, before: int = 0) -> Klines:
    """Return the klines of one symbol's trades over [start_ms, end_ms), both multiples of ``step_ms``.

    A kline without a trade is flat at the last price; ``before`` is the last price before ``start_ms`` (0: none, and
    the klines before the first trade are left out).
    """
    table = np.zeros((max(0, (end_ms - start_ms) // step_ms), 12), np.int64)
    inside = (trades.trade_ms >= start_ms) & (trades.trade_ms < end_ms)
    t = trades if bool(inside.all()) else trades.take(inside)
    fold_klines(start_ms, step_ms, t.trade_ms, t.price, t.size, t.buyer_is_maker, t.first_id, t.last_id, table)
    first = flatten(table, start_ms, step_ms, before)
    return Klines.of_table(table[first:])


@kernel
def _regroup(table: NDArray[np.int64], step_ms: int, out: NDArray[np.int64]) -> int:  # pragma: no cover - compiled
    """Merge klines into longer ones; return how many there are."""
    n = -1
    for i in range(table.shape[0]):
        src = table[i]
        open_ms = src[0] - src[0] % step_ms
        if n < 0 or out[n, 0] != open_ms:
            n += 1
            out[n] = src
            out[n, 0] = open_ms
            continue
        row = out[n]
        if src[9] == 0:
            continue
        if row[9] == 0:
            row[10] = src[10]
            row[1] = src[1]
            row[2] = src[2]
            row[3] = src[3]
        row[2] = max(row[2], src[2])
        row[3] = min(row[3], src[3])
        row[4] = src[4]
        for column in (5, 6, 7, 8, 9):
            row[column] += src[column]
        row[11] = src[11]
    return n + 1


def regroup_klines(klines: Klines, step_ms: int) -> Klines:
    """Merge klines into klines of a longer timeframe; flat ones add nothing but time."""
    table = klines.table()
    out = np.empty_like(table)
    return Klines.of_table(out[: _regroup(table, step_ms, out)])


def merged_kline(klines: Klines) -> Klines:
    """Return klines as a single one that opens when the first does; none for none."""
    if len(klines) == 0:
        return klines
    table = klines.table()
    opened_ms = table[:1, 0].copy()
    table[:, 0] = 0
    return replace(regroup_klines(Klines.of_table(table), 1), open_ms=opened_ms)
