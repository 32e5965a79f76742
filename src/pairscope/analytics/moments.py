"""Moments as values: means, variances and covariances that grow observation by observation and merge.

A state is a tuple of numbers; every reading is a function of it. Growing is Welford's update (1962), merging that of
Chan, Golub & LeVeque (1983). Observations are measured from the first of them, which float64 subtracts exactly where
they lie close together, so that an offset many orders above the deviation costs no digits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pairscope.errors import InputError
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = [
    "Moments",
    "PairMoments",
    "correlation_of",
    "covariance_of",
    "extend",
    "extend_pair",
    "mean_of",
    "merge",
    "merge_pair",
    "moments",
    "pair_moments",
    "slope_of",
    "std_of",
    "variance_of",
]


class Moments(NamedTuple):
    """``n`` observations: the first of them, the mean measured from it, the sum ``m2`` of squared deviations."""

    n: float
    first: float
    mean: float
    m2: float


class PairMoments(NamedTuple):
    """``n`` pairs: the same as :class:`Moments` for both series, and the sum of the deviations' products."""

    n: float
    first_x: float
    first_y: float
    mean_x: float
    mean_y: float
    m2_x: float
    m2_y: float
    c_xy: float


@kernel
def _extend(
    n: float, first: float, mean: float, m2: float, x: F8
) -> tuple[float, float, float, float]:  # pragma: no cover - compiled
    """Welford's update, one observation after the other."""
    for i in range(x.size):
        if n == 0.0:
            first = x[i]
        n += 1.0
        value = x[i] - first
        delta = value - mean
        mean += delta / n
        m2 += delta * (value - mean)
    return n, first, mean, m2


@kernel
def _extend_pair(
    n: float,
    first_x: float,
    first_y: float,
    mean_x: float,
    mean_y: float,
    m2_x: float,
    m2_y: float,
    c_xy: float,
    x: F8,
    y: F8,
) -> tuple[float, float, float, float, float, float, float, float]:  # pragma: no cover - compiled
    """Welford's update for two series at once."""
    for i in range(x.size):
        if n == 0.0:
            first_x = x[i]
            first_y = y[i]
        n += 1.0
        u = x[i] - first_x
        v = y[i] - first_y
        dx = u - mean_x
        dy = v - mean_y
        mean_x += dx / n
        mean_y += dy / n
        m2_x += dx * (u - mean_x)
        m2_y += dy * (v - mean_y)
        c_xy += dx * (v - mean_y)
    return n, first_x, first_y, mean_x, mean_y, m2_x, m2_y, c_xy


def moments(x: F8) -> Moments:
    """Return the moments of a series. O(n). NaN in ``x`` makes NaN of the readings.

    >>> moments(np.array([1.0, 2.0, 3.0]))
    Moments(n=3.0, first=1.0, mean=1.0, m2=2.0)
    """
    return extend(Moments(0.0, 0.0, 0.0, 0.0), x)


def extend(state: Moments, x: F8) -> Moments:
    """Return a state grown by more observations: the same bits, however ``x`` is cut. O(n). NaN as in :func:`moments`.

    >>> extend(moments(np.array([1.0])), np.array([2.0, 3.0])) == moments(np.array([1.0, 2.0, 3.0]))
    True
    """
    return Moments(*_extend(*state, np.array(x, np.float64)))


def merge(a: Moments, b: Moments) -> Moments:
    """Return the moments of two sets of observations together, equal to those of one pass but for rounding. O(1).

    >>> merge(moments(np.array([1.0, 2.0])), moments(np.array([3.0])))
    Moments(n=3.0, first=1.0, mean=1.0, m2=2.0)
    """
    if a.n == 0.0 or b.n == 0.0:
        return b if a.n == 0.0 else a
    n = a.n + b.n
    delta = (b.first - a.first) + b.mean - a.mean
    return Moments(n, a.first, a.mean + delta * (b.n / n), a.m2 + b.m2 + delta * delta * (a.n * b.n / n))


def mean_of(state: Moments) -> float:
    """Return the mean; NaN without observations. O(1).

    >>> mean_of(moments(np.array([1.0, 2.0, 6.0])))
    3.0
    """
    return state.first + state.mean if state.n > 0.0 else float("nan")


def variance_of(state: Moments) -> float:
    """Return the sample variance, m2 / (n - 1); NaN below two observations. O(1).

    >>> variance_of(moments(np.array([1.0, 2.0, 3.0])))
    1.0
    """
    return state.m2 / (state.n - 1.0) if state.n > 1.0 else float("nan")


def std_of(state: Moments) -> float:
    """Return the sample standard deviation; NaN below two observations. O(1).

    >>> std_of(moments(np.array([1.0, 3.0, 5.0])))
    2.0
    """
    return float(np.sqrt(variance_of(state)))


def pair_moments(x: F8, y: F8) -> PairMoments:
    """Return the joint moments of two series of one length. O(n). NaN in either makes NaN of what it enters.

    >>> pair_moments(np.array([1.0, 3.0]), np.array([2.0, 6.0])).c_xy
    4.0
    """
    return extend_pair(PairMoments(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), x, y)


def extend_pair(state: PairMoments, x: F8, y: F8) -> PairMoments:
    """Return a state grown by more pairs: the same bits, however they are cut. O(n). NaN as in :func:`pair_moments`.

    Raises ``ValueError`` where the lengths differ.

    >>> a, b = np.array([1.0, 3.0]), np.array([2.0, 6.0])
    >>> extend_pair(pair_moments(a[:1], b[:1]), a[1:], b[1:]) == pair_moments(a, b)
    True
    """
    if len(x) != len(y):
        raise InputError(f"y: has {len(y)} values, x has {len(x)}", loc="y")
    return PairMoments(*_extend_pair(*state, np.array(x, np.float64), np.array(y, np.float64)))


def merge_pair(a: PairMoments, b: PairMoments) -> PairMoments:
    """Return the joint moments of two sets of pairs together, equal to those of one pass but for rounding. O(1).

    >>> one, two = pair_moments(np.array([1.0]), np.array([2.0])), pair_moments(np.array([3.0]), np.array([6.0]))
    >>> merge_pair(one, two).c_xy
    4.0
    """
    if a.n == 0.0 or b.n == 0.0:
        return b if a.n == 0.0 else a
    n = a.n + b.n
    dx = (b.first_x - a.first_x) + b.mean_x - a.mean_x
    dy = (b.first_y - a.first_y) + b.mean_y - a.mean_y
    weight = a.n * b.n / n
    return PairMoments(
        n,
        a.first_x,
        a.first_y,
        a.mean_x + dx * (b.n / n),
        a.mean_y + dy * (b.n / n),
        a.m2_x + b.m2_x + dx * dx * weight,
        a.m2_y + b.m2_y + dy * dy * weight,
        a.c_xy + b.c_xy + dx * dy * weight,
    )


def covariance_of(state: PairMoments) -> float:
    """Return the sample covariance; NaN below two pairs. O(1).

    >>> covariance_of(pair_moments(np.array([1.0, 3.0]), np.array([2.0, 6.0])))
    4.0
    """
    return state.c_xy / (state.n - 1.0) if state.n > 1.0 else float("nan")


def correlation_of(state: PairMoments) -> float:
    """Return Pearson's correlation, within [-1, 1]; NaN where a series is constant or below two pairs. O(1).

    >>> round(correlation_of(pair_moments(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0]))), 12)
    1.0
    """
    scale = float(np.sqrt(state.m2_x) * np.sqrt(state.m2_y))
    return min(1.0, max(-1.0, state.c_xy / scale)) if scale > 0.0 else float("nan")


def slope_of(state: PairMoments) -> float:
    """Return the least-squares slope of y on x, c_xy / m2_x; NaN where x is constant. O(1).

    >>> slope_of(pair_moments(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])))
    2.0
    """
    return state.c_xy / state.m2_x if state.m2_x > 0.0 else float("nan")
