"""Some symbols' prices made ready to be tested against others: centred, scaled, laid out both by symbol and by lane.

A screen cuts its symbols into blocks of sixty. Of two blocks one gives the rows of a tile, the other its lanes: the
symbols that a kernel's innermost loop runs over. What a symbol brings to a pair is linear in it (its first and last
values and changes) or quadratic (its own products at each lag), and is computed here, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.ticks import F8

__all__ = ["LANES", "STRIDE", "Block", "block_of"]

LANES: Final = 60
"""Symbols in a block: the length of a kernel's innermost loop."""

STRIDE: Final = 8
"""Bars that the product kernel takes at once; series are filled up with zeros to a multiple of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Up to sixty symbols, each a row; where a name ends in ``_lanes``, each a column.

    ``values`` are (log) prices as they came; ``origin`` and ``power`` say that a level is (value - origin) / 2^power.
    ``changes`` of the levels and ``returns`` (changes of log prices, less their mean, of unit length; NaN where a price
    is not positive) are rows filled up with zeros. ``edges`` are what is linear in a symbol, for a largest lag p: the
    levels 0 … p and the last, the changes 0 … p-1, the last p changes from the newest back. ``own`` are the products
    of the changes from p on with those 0 … p before, then the sum of squares of the levels. A block travels between
    processes as its values and is made ready where it arrives: the same bits.
    """

    values: F8
    returns_of: F8
    lags: int
    origin: F8
    power: NDArray[np.int64]
    levels: F8
    levels_lanes: F8
    changes: F8
    changes_lanes: F8
    returns: F8
    returns_lanes: F8
    edges: F8
    edges_lanes: F8
    own: F8
    own_lanes: F8

    def __reduce__(self) -> tuple[object, tuple[F8, F8, int, NDArray[np.int64]]]:
        return block_of, (self.values, self.returns_of, self.lags, self.power)

    def __len__(self) -> int:
        """Return how many symbols there are."""
        return len(self.values)


def block_of(values: F8, returns_of: F8, lags: int, power: NDArray[np.int64] | None = None) -> Block:
    """Make symbols ready: rows of ``values``, the log prices ``returns_of`` (the same array where values are logs).

    ``power`` keeps a scale from before; without it each symbol's largest level lies between a half and one. O(n lags).
    """
    bars = values.shape[1]
    # Divided first, so that neither the mean nor a square overflows.
    first = np.frexp(np.abs(values).max(axis=1))[1].astype(np.int64)
    scaled = np.ldexp(values, -first[:, None])
    mean = scaled.mean(axis=1)
    levels = scaled - mean[:, None]
    rest = levels.mean(axis=1)
    levels -= rest[:, None]
    if power is None:
        power = first + np.frexp(np.abs(levels).max(axis=1))[1]
    shift = (first - power)[:, None]
    levels = np.ldexp(levels, shift)
    changes = np.ldexp(np.diff(scaled, axis=1), shift)
    edges = np.concatenate(
        [levels[:, : lags + 1], levels[:, -1:], changes[:, :lags], changes[:, : -lags - 1 : -1]], axis=1
    )
    now = changes[:, lags:]
    past = [(now * changes[:, lags - lag : bars - 1 - lag]).sum(axis=1) for lag in range(lags + 1)]
    own = np.column_stack([*past, (levels * levels).sum(axis=1)])
    returns = _unit_returns(returns_of)
    return Block(
        values,
        returns_of,
        lags,
        np.ldexp(mean + rest, first),
        power,
        _rows(levels),
        _lanes(levels, 0),
        _rows(changes),
        _lanes(changes, lags),
        _rows(returns),
        _lanes(returns, 0),
        np.ascontiguousarray(edges),
        _lanes(edges, 0),
        own,
        _lanes(own, 0),
    )


def _unit_returns(logs: F8) -> F8:
    """Return the changes of log prices, less their mean and scaled to unit length; NaN where there are none."""
    change = np.diff(logs, axis=1)
    change -= change.mean(axis=1, keepdims=True)
    largest = np.abs(change).max(axis=1, keepdims=True)
    change /= np.where(largest > 0.0, largest, np.nan)
    unit: F8 = change / np.sqrt((change * change).sum(axis=1, keepdims=True))
    return unit


def _rows(series: F8) -> F8:
    """Return rows, an even number of them, filled up with zeros to a whole number of strides."""
    size, steps = series.shape
    out = np.zeros((size + size % 2, -(-steps // STRIDE) * STRIDE))
    out[:size, :steps] = series
    return out


def _lanes(series: F8, after: int) -> F8:
    """Return a column a symbol, ``LANES`` of them, filled up with zeros to whole strides and ``after`` rows more."""
    size, steps = series.shape
    out = np.zeros((-(-steps // STRIDE) * STRIDE + after, LANES))
    out[:steps, :size] = series.T
    return out
