"""Bar batches cut, joined and ordered: what ``TickBatch`` does by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1

__all__ = ["concat_bars", "empty_bars", "in_table", "take_bars"]

_TYPES = (np.int32, np.int64, *[np.float64] * 7, np.int64, np.int64, np.int64, np.int32, np.int8)
_FIELDS = tuple(field.name for field in fields(BarBatch))[2:]


def empty_bars(symbols: Symbols, timeframe: str) -> BarBatch:
    """Return a batch of no bars."""
    return BarBatch(symbols, timeframe, *(np.empty(0, kind) for kind in _TYPES))


def take_bars(bars: BarBatch, index: NDArray[np.intp] | B1 | slice) -> BarBatch:
    """Return the bars at an index array, mask or slice."""
    return replace(bars, **{name: getattr(bars, name)[index] for name in _FIELDS})


def concat_bars(batches: Sequence[BarBatch]) -> BarBatch:
    """Join batches of one symbol table and timeframe, in order."""
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    joined = (np.concatenate([getattr(batch, name) for batch in batches]) for name in _FIELDS)
    return BarBatch(first.symbols, first.timeframe, *joined)


def in_table(bars: BarBatch, symbols: Symbols, symbol: str) -> BarBatch:
    """Return the bars of one symbol under its id in another table."""
    return replace(bars, symbols=symbols, symbol_id=np.full(len(bars), symbols.id_of(symbol), np.int32))
