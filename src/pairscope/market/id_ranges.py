"""Ranges of trade ids, both ends inclusive: which ids are missing, and what is left of them when some come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pairscope.market.ticks import B1, I8

__all__ = ["Range", "clipped", "count", "inside", "less", "runs_of"]

Range = tuple[int, int]


def runs_of(ids: I8) -> list[Range]:
    """Return ascending ids, each there once, as runs of consecutive ones. O(ids).

    >>> runs_of(np.array([3, 4, 5, 9]))
    [(3, 5), (9, 9)]
    """
    if not ids.size:
        return []
    cuts = np.flatnonzero(np.diff(ids) != 1)
    lows, highs = ids[np.append(0, cuts + 1)], ids[np.append(cuts, ids.size - 1)]
    return list(zip(lows.tolist(), highs.tolist(), strict=True))


def less(ranges: Iterable[Range], taken: Sequence[Range]) -> list[Range]:
    """Return what is left of ascending ranges when others, ascending too, are taken out of them. O(both).

    >>> less([(1, 9), (20, 30)], [(3, 4), (9, 21)])
    [(1, 2), (5, 8), (22, 30)]
    """
    left: list[Range] = []
    k = 0
    for range_ in ranges:
        low, high = range_
        while k < len(taken) and taken[k][1] < low:
            k += 1
        at = k
        while at < len(taken) and taken[at][0] <= high:
            if taken[at][0] > low:
                left.append((low, taken[at][0] - 1))
            low = taken[at][1] + 1
            at += 1
        if low <= high:
            left.append((low, high))
    return left


def clipped(ranges: Iterable[Range], first: int, last: int) -> list[Range]:
    """Return what of ranges lies within first to last. O(ranges).

    >>> clipped([(1, 5), (8, 9)], 4, 8)
    [(4, 5), (8, 8)]
    """
    return [(max(low, first), min(high, last)) for low, high in ranges if low <= last and high >= first]


def count(ranges: Iterable[Range]) -> int:
    """Return how many ids ranges hold. O(ranges).

    >>> count([(1, 5), (8, 8)])
    6
    """
    return sum(high - low + 1 for low, high in ranges)


def inside(ids: I8, ranges: Iterable[Range]) -> B1:
    """Return which ids lie in one of some ranges, which do not touch each other. O(n log n).

    >>> inside(np.array([1, 5, 7]), [(4, 6), (1, 1)]).tolist()
    [True, True, False]
    """
    ordered = sorted(ranges)
    if not ordered:
        return np.zeros(ids.size, np.bool_)
    lows, highs = np.array(ordered, np.int64).T
    at = np.searchsorted(lows, ids, side="right") - 1
    found: B1 = (at >= 0) & (ids <= highs[np.maximum(at, 0)])
    return found
