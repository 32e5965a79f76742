"""How closely series move together: correlation in each window and of many at once, by values and by ranks.

All of it is of the series as given. Prices that wander correlate whatever they have to do with one another: give
returns. A series that does not vary has no correlation; that is NaN, never nought.
"""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.clustering import average_linkage, cluster_order
from pairscope.analytics.hayashi_yoshida import hayashi_yoshida
from pairscope.analytics.lead_lag import lead_lag
from pairscope.analytics.price_stats import checked
from pairscope.errors import InputError, NotEnoughData
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = [
    "CorrelationKind",
    "average_linkage",
    "cluster_order",
    "correlation_matrix",
    "hayashi_yoshida",
    "lead_lag",
    "rolling_correlation",
]

CorrelationKind = Literal["pearson", "spearman"]

_LARGEST: Final = 1e100
_SMALLEST: Final = 1e-200
"""A window that moves by less is constant: its squares are beyond floating point."""


@kernel
def _pearson_each(y: F8, x: F8, window: int, out: F8) -> None:  # pragma: no cover - compiled
    """Write Pearson's correlation of each full window, from scratch, measured from the window's newest values."""
    for t in range(window - 1, x.size):
        y0, x0 = y[t], x[t]
        mean_y = mean_x = far_y = far_x = 0.0
        for i in range(t - window + 1, t + 1):
            u, v = y[i] - y0, x[i] - x0
            mean_y += u
            mean_x += v
            far_y = max(far_y, abs(u))
            far_x = max(far_x, abs(v))
        if far_y < _SMALLEST or far_x < _SMALLEST:
            continue
        unit_y, unit_x = 1.0 / far_y, 1.0 / far_x
        mean_y *= unit_y / window
        mean_x *= unit_x / window
        yy = xx = xy = 0.0
        for i in range(t - window + 1, t + 1):
            u = (y[i] - y0) * unit_y - mean_y
            v = (x[i] - x0) * unit_x - mean_x
            yy += u * u
            xx += v * v
            xy += u * v
        out[t] = min(1.0, max(-1.0, xy / (np.sqrt(yy) * np.sqrt(xx))))


@kernel
def _spearman_each(y: F8, x: F8, window: int, out: F8) -> None:  # pragma: no cover - compiled
    """Write Spearman's correlation of each full window.

    Twice an average rank is a whole number, 2 (how many are smaller) + (how many are equal, itself included) + 1: so
    that what leaves and what enters can be counted out and in, without any rounding to carry along.
    """
    twice_y = np.empty(window, np.int64)
    twice_x = np.empty(window, np.int64)
    for t in range(x.size):
        slot = t % window
        held = min(t, window)
        if held == window:
            old_y, old_x = y[t - window], x[t - window]
            for i in range(t - window + 1, t):
                k = i % window
                twice_y[k] -= (old_y < y[i]) + (old_y <= y[i])
                twice_x[k] -= (old_x < x[i]) + (old_x <= x[i])
        mine_y = mine_x = 2
        for i in range(max(t - window + 1, 0), t):
            k = i % window
            twice_y[k] += (y[t] < y[i]) + (y[t] <= y[i])
            twice_x[k] += (x[t] < x[i]) + (x[t] <= x[i])
            mine_y += (y[i] < y[t]) + (y[i] <= y[t])
            mine_x += (x[i] < x[t]) + (x[i] <= x[t])
        twice_y[slot] = mine_y
        twice_x[slot] = mine_x
        if t < window - 1:
            continue
        yy = xx = xy = 0
        for k in range(window):
            u = twice_y[k] - (window + 1)
            v = twice_x[k] - (window + 1)
            yy += u * u
            xx += v * v
            xy += u * v
        if yy > 0 and xx > 0:
            out[t] = min(1.0, max(-1.0, xy / (np.sqrt(float(yy)) * np.sqrt(float(xx)))))


def rolling_correlation(y: F8, x: F8, window: int, *, kind: CorrelationKind = "pearson") -> F8:
    r"""Return the correlation of y and x over each window of ``window`` observations, in [-1, 1].

    .. math:: \rho_t = \frac{\sum (y_i - \bar y)(x_i - \bar x)}{\sqrt{\sum (y_i - \bar y)^2 \sum (x_i - \bar x)^2}}

    over the window's observations (``pearson``), or over their ranks, equal values sharing the mean of theirs
    (``spearman``, which outliers hardly move). NaN before the window is full and where y or x is constant in it. Each
    value is a function of its window alone, to the bit. Assumes pairs that belong to one time; of returns, not of
    prices. O(n window). NaN, infinities, values beyond 1e100, a constant series, unequal lengths, fewer values than
    the window, a window below 2 and an unknown kind raise ``ValueError`` naming the argument.
    Reference: Kendall & Gibbons (1990), *Rank Correlation Methods*.

    >>> y, x = np.array([1.0, 2.0, 9.0, 8.0]), np.array([1.0, 2.0, 3.0, 3.0])
    >>> rolling_correlation(y, x, 3).round(3).tolist()
    [nan, nan, 0.918, 0.991]
    >>> rolling_correlation(y, x, 3, kind="spearman").round(3).tolist()
    [nan, nan, 1.0, 0.866]
    """
    if isinstance(window, bool) or not math.isfinite(window) or int(window) != window or window < 2:
        raise InputError("window: must be a whole number of at least 2", loc="window")
    _known(kind)
    legs = [checked(leg, name, need=int(window)) for name, leg in (("y", y), ("x", x))]
    if legs[0].size != legs[1].size:
        raise InputError(f"x: has {legs[1].size} values, y has {legs[0].size}", loc="x")
    for name, leg in zip("yx", legs, strict=True):
        if np.abs(leg).max() > _LARGEST:
            raise InputError(f"{name}: has values beyond {_LARGEST:g}", loc=name)
    out = np.full(legs[0].size, np.nan)
    each = _pearson_each if kind == "pearson" else _spearman_each
    each(legs[0], legs[1], int(window), out)
    return out


def correlation_matrix(x: F8, *, kind: CorrelationKind = "pearson") -> F8:
    r"""Return the correlations of all columns of x (T observations of N series) with one another, N by N.

    Pearson's, or of the columns' ranks (``spearman``, equal values sharing the mean of theirs). Exactly symmetric,
    ones on the diagonal, in [-1, 1], positive semidefinite but for rounding. NaN in the row and the column of a series
    that is constant, its diagonal too. Of returns, not of prices. O(T N²). NaN in x, infinities, anything but two
    dimensions and fewer than 3 observations raise ``ValueError`` naming ``x``.
    Reference: Kendall & Gibbons (1990), *Rank Correlation Methods*.

    >>> correlation_matrix(np.array([[1.0, 2.0, 5.0], [2.0, 4.0, 5.0], [3.0, 6.0, 5.0]])).round(12).tolist()
    [[1.0, 1.0, nan], [1.0, 1.0, nan], [nan, nan, nan]]
    """
    _known(kind)
    table = np.array(x, np.float64)
    if table.ndim != 2 or table.shape[1] == 0:
        raise InputError("x: must have two dimensions, observations and series", loc="x")
    if table.shape[0] < 3:
        raise NotEnoughData("x:", need=3, have=table.shape[0])
    if not np.isfinite(table).all():
        raise InputError("x: has values that are not finite", loc="x")
    if np.abs(table).max() > _LARGEST:
        raise InputError(f"x: has values beyond {_LARGEST:g}", loc="x")
    still = table.min(axis=0) == table.max(axis=0)
    moved = _ranks(table) if kind == "spearman" else table - table[0]
    far = np.abs(moved).max(axis=0)
    moved /= np.where(still, 1.0, far)
    moved -= moved.mean(axis=0)
    moved /= np.where(still, 1.0, np.sqrt((moved * moved).sum(axis=0)))
    product = moved.T @ moved
    answer: F8 = np.clip(0.5 * (product + product.T), -1.0, 1.0)
    np.fill_diagonal(answer, 1.0)
    answer[still, :] = np.nan
    answer[:, still] = np.nan
    return answer


def _ranks(table: F8) -> F8:
    """Return each column's ranks, equal values sharing the mean of theirs."""
    out = np.empty_like(table)
    for k in range(table.shape[1]):
        column = table[:, k]
        order = np.sort(column)
        smaller: NDArray[np.intp] = np.searchsorted(order, column, side="left")
        out[:, k] = 0.5 * (smaller + np.searchsorted(order, column, side="right") + 1.0)
    return out


def _known(kind: str) -> None:
    if kind not in get_args(CorrelationKind):
        raise InputError(f"kind: must be one of {', '.join(get_args(CorrelationKind))}", loc="kind")
