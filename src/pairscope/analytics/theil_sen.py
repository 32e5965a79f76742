"""The hedge ratio as a median: Theil-Sen's, of the slopes between every two bars."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from pairscope.analytics.pair_window import checked_pair
from pairscope.errors import InputError
from pairscope.market.ticks import F8

__all__ = ["TheilSenHedge", "theil_sen_hedge"]

_AT_ONCE: Final = 4_000_000
"""Slopes that are held at once; more of them are counted first, and only those near the wanted ranks are kept."""
_SAMPLE: Final = 1_000_000
"""Slopes in the sample that says where those ranks are near."""


@dataclass(frozen=True, slots=True)
class TheilSenHedge:
    """A hedge ratio by Theil and Sen: ``low`` and ``high`` bound beta at ``level``; ``stderr`` is what they imply."""

    alpha: float
    beta: float
    stderr: float
    low: float
    high: float
    level: float
    n: int


def theil_sen_hedge(y: F8, x: F8, *, level: float = 0.95) -> TheilSenHedge:
    r"""Return the median of the slopes between every two bars that differ in x, and alpha by the medians of y and x.

    .. math:: \beta = \mathrm{med}_{i<j} \frac{y_j - y_i}{x_j - x_i}, \qquad
        \alpha = \mathrm{med}\, y - \beta\, \mathrm{med}\, x

    Up to 29 % of the bars may be anything, in y and in x alike. The interval is Sen's, from the variance of Kendall's
    statistic with ties; it assumes independent errors. Equals ``scipy.stats.theilslopes``. NaN in y or x, infinities, a
    constant series, unequal lengths, fewer than 3 bars and a ``level`` outside (0, 1) raise ``ValueError`` naming the
    argument. O(n²) time, about 30 ms for 1,440 bars and 1 s for 10,000, but not O(n²) memory: beyond four million
    slopes only those near the middle are held. Reference: Sen (1968), *JASA* 63.

    >>> x = np.arange(9.0)
    >>> fit = theil_sen_hedge(1.0 + 2.0 * x + 50.0 * (x == 7.0), x)
    >>> fit.beta, fit.alpha
    (2.0, 1.0)
    """
    ys, xs = checked_pair(y, x)
    if not 0.0 < level < 1.0:
        raise InputError("level: must be between 0 and 1", loc="level")
    order = np.argsort(xs, kind="stable")
    ys, xs = ys[order], xs[order]
    n = ys.size
    # Where the larger values of x begin, for each bar.
    after = np.searchsorted(xs, xs, side="right")
    slopes = int((n - after).sum())
    z = -NormalDist().inv_cdf((1.0 - level) / 2.0)
    ties = sum(float((k * (k - 1.0) * (2.0 * k + 5.0)).sum()) for k in map(_repeats, (xs, ys)))
    sigma = np.sqrt(max(0.0, n * (n - 1.0) * (2.0 * n + 5.0) - ties) / 18.0)
    low = max(int(np.round((slopes - z * sigma) / 2.0)) - 1, 0)
    high = min(int(np.round((slopes + z * sigma) / 2.0)), slopes - 1)
    ranks = [(slopes - 1) // 2, slopes // 2, low, high]
    found = _ranked(ys, xs, after, ranks, slopes)
    beta = 0.5 * (found[0] + found[1])
    alpha = float(np.median(ys)) - beta * float(np.median(xs))
    return TheilSenHedge(alpha, beta, (found[3] - found[2]) / (2.0 * z), found[2], found[3], level, n)


def _repeats(values: F8) -> F8:
    """Return how often each value occurs."""
    counts: F8 = np.unique(values, return_counts=True)[1].astype(np.float64)
    return counts


def _slopes(y: F8, x: F8, after: np.ndarray, i: int) -> F8:
    """Return the slopes from bar ``i`` to all bars with a larger x."""
    rows = slice(int(after[i]), None)
    slopes: F8 = (y[rows] - y[i]) / (x[rows] - x[i])
    return slopes


def _ranked(y: F8, x: F8, after: np.ndarray, ranks: list[int], slopes: int) -> list[float]:
    """Return the slopes of these ranks."""
    n = y.size
    if slopes <= _AT_ONCE:
        every = np.concatenate([_slopes(y, x, after, i) for i in range(n)])
        every.partition(ranks)
        return [float(every[rank]) for rank in ranks]
    # Every k-th slope is a sample whose quantiles lie near those of all: bracket the ranks, which lie close together,
    # count what lies below, keep what lies within; a bracket that missed is widened.
    step = slopes // _SAMPLE + 1
    sample = np.sort(np.concatenate([_slopes(y, x, after, i)[i % step :: step] for i in range(n)]))
    first, last, reach = min(ranks), max(ranks), sample.size // 100 + 1
    while True:
        at = int(first / slopes * sample.size) - reach, int(last / slopes * sample.size) + reach
        bottom = sample[at[0]] if at[0] >= 0 else -np.inf
        top = sample[at[1]] if at[1] < sample.size else np.inf
        below, kept = 0, []
        for i in range(n):
            values = _slopes(y, x, after, i)
            not_below = values[values >= bottom]
            below += values.size - not_below.size
            kept.append(not_below[not_below <= top])
        near = np.concatenate(kept)
        if below <= first and last < below + near.size:
            near.partition([rank - below for rank in ranks])
            return [float(near[rank - below]) for rank in ranks]
        reach *= 4
