"""TickBatch: trades as columns, with the time up to which they are complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pairscope.market.symbols import Symbols

__all__ = ["B1", "F8", "I4", "I8", "TickBatch", "concat_ticks"]

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
B1 = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class TickBatch:
    """Trades in the order of their arrival, one array a field, all of one length.

    ``trade_id`` is the exchange's aggregate trade id: consecutive per symbol, and with the symbol the key of a tick.
    ``price`` and ``size`` are the float64 nearest to the decimals that the exchange sent (ADR 0003), in quote and
    base units. ``buyer_is_maker`` true means that the seller was the aggressor. ``watermark_ns``: no tick with an
    earlier event time is expected any more; one that comes all the same is *late*. A batch without ticks carries
    time alone, which is how bars close when nobody trades. ``void`` names ids, as (symbol_id, trade_id), that the
    exchange gave to something that is no trade (zero size, an off-book print): no row has them, and they are no hole.
    Never changed after it was made.
    """

    symbols: Symbols
    symbol_id: I4
    ts_event_ns: I8
    ts_recv_ns: I8
    trade_id: I8
    price: F8
    size: F8
    buyer_is_maker: B1
    watermark_ns: int
    void: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return int(self.symbol_id.size)

    @classmethod
    def empty(cls, symbols: Symbols, watermark_ns: int) -> TickBatch:
        """Return a batch that carries time alone.

        >>> len(TickBatch.empty(Symbols(), 0))
        0
        """
        i8 = np.empty(0, np.int64)
        f8 = np.empty(0, np.float64)
        return cls(symbols, np.empty(0, np.int32), i8, i8, i8, f8, f8, np.empty(0, np.bool_), watermark_ns)

    def take(self, index: NDArray[np.intp] | B1 | slice) -> TickBatch:
        """Return the ticks at an index array, mask or slice, with the same watermark and void ids."""
        return replace(
            self,
            symbol_id=self.symbol_id[index],
            ts_event_ns=self.ts_event_ns[index],
            ts_recv_ns=self.ts_recv_ns[index],
            trade_id=self.trade_id[index],
            price=self.price[index],
            size=self.size[index],
            buyer_is_maker=self.buyer_is_maker[index],
        )

    def of_symbol(self, symbol: str) -> TickBatch:
        """Return the ticks of one symbol, in the same order."""
        symbol_id = self.symbols.find(symbol)
        return self.take(self.symbol_id == (-1 if symbol_id is None else symbol_id))

    def with_watermark(self, watermark_ns: int) -> TickBatch:
        """Return the same ticks under another watermark."""
        return replace(self, watermark_ns=watermark_ns)


def concat_ticks(batches: Sequence[TickBatch]) -> TickBatch:
    """Join batches of one symbol table into one, in order, under the greatest watermark. O(total ticks).

    Raises ``ValueError`` on an empty sequence.

    >>> symbols = Symbols(["BTCUSDT"])
    >>> len(concat_ticks([TickBatch.empty(symbols, 1), TickBatch.empty(symbols, 2)]))
    0
    """
    if not batches:
        raise ValueError("batches: needs at least one")
    if len(batches) == 1:
        return batches[0]
    return TickBatch(
        batches[0].symbols,
        np.concatenate([b.symbol_id for b in batches]),
        np.concatenate([b.ts_event_ns for b in batches]),
        np.concatenate([b.ts_recv_ns for b in batches]),
        np.concatenate([b.trade_id for b in batches]),
        np.concatenate([b.price for b in batches]),
        np.concatenate([b.size for b in batches]),
        np.concatenate([b.buyer_is_maker for b in batches]),
        max(b.watermark_ns for b in batches),
        tuple(pair for b in batches for pair in b.void),
    )
