"""Two symbols on one clock: which bars they have in common, and the last value known at a time, never a later one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pairscope.errors import InputError
from pairscope.market.bars import BarBatch
from pairscope.market.ticks import F8, I8

__all__ = ["common_bars", "last_known"]


def common_bars(a: BarBatch, b: BarBatch) -> tuple[BarBatch, BarBatch]:
    """Return the bars of two symbols that open at the same times: rows of both belong together. O(n).

    Each batch holds one symbol's bars of one timeframe, by time. A slot in which either did not trade is left out: a
    price that is repeated there would be a value nobody traded at. Raises ``ValueError`` where timeframes differ.

    >>> from pairscope.market.symbols import Symbols
    >>> none = BarBatch.empty(Symbols(["AUSDT"]), "1m")
    >>> [len(part) for part in common_bars(none, none)]
    [0, 0]
    """
    if a.timeframe != b.timeframe:
        raise InputError(f"b: has {b.timeframe} bars, a has {a.timeframe}", loc="b")
    _, left, right = np.intersect1d(a.ts_open_ns, b.ts_open_ns, assume_unique=True, return_indices=True)
    return a.take(left), b.take(right)


def last_known(ts_ns: I8, values: F8, at_ns: I8) -> tuple[F8, I8]:
    """Return the newest value at or before each asked time, and that value's age in ns; NaN and -1 where there is none.

    ``ts_ns`` ascends. O(m log n).

    >>> last_known(np.array([10, 20]), np.array([1.0, 2.0]), np.array([5, 20, 27]))
    (array([nan,  2.,  2.]), array([-1,  0,  7]))
    """
    row: NDArray[np.intp] = np.searchsorted(ts_ns, at_ns, side="right") - 1
    there = row >= 0
    found = np.full(at_ns.size, np.nan)
    found[there] = values[row[there]]
    age = np.full(at_ns.size, -1, np.int64)
    age[there] = at_ns[there] - ts_ns[row[there]]
    return found, age
