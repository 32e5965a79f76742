"""What rules of a sweep share: hedge ratios, the moments of each window, and the z-scores that could enter.

The z-score of a spread follows from the moments of its window in a few operations, whatever its hedge ratio. Where
that could decide otherwise than ``zscore_window``, because digits cancel or a threshold is near, ``zscore_window``
decides.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.huber import HUBER_MOST, HUBER_TOLERANCE, HUBER_TUNING, huber_window
from pairscope.analytics.pair_window import fit_window, zscore_window
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8, I8

__all__ = [
    "CANCELLED",
    "SweepLegs",
    "WindowMoments",
    "entry_scores",
    "spread_std",
    "trailing_hedges",
    "window_moments",
]

_LANES: Final = 32
CANCELLED: Final = 1e-3
"""A variance that keeps less than this of the terms that it is the difference of has lost too many digits."""
_STILL: Final = 1e-20
_NEAR: Final = 1e-6


class SweepLegs(NamedTuple):
    """What is traded: prices ``y`` and ``x``, ``spaced_…`` what the hedge ratio relates, the fills' prices, the rest.

    ``fill_y`` and ``fill_x`` of a bar are the prices at which is filled in it what the bar before decided, at its
    beginning where ``opens``; with ``same`` each bar fills what it decides. ``range_…`` is high less low,
    ``funding_…`` a rate a bar. Nothing is entered, and nothing counted, before bar ``first``.
    """

    y: F8
    x: F8
    spaced_y: F8
    spaced_x: F8
    fill_y: F8
    fill_x: F8
    range_y: F8
    range_x: F8
    funding_y: F8
    funding_x: F8
    log: bool
    opens: bool
    same: bool
    first: int


class WindowMoments(NamedTuple):
    """Of each bar's window: both legs' means, measured from their newest row, variances and covariance.

    The covariance is NaN where a leg hardly varies beyond its rounding: there nothing follows from moments.
    """

    mean_y: F8
    mean_x: F8
    var_y: F8
    var_x: F8
    cov: F8


@kernel
def _moments_each(
    y: F8, x: F8, window: int, start: int, end: int, out: NDArray[np.float64]
) -> None:  # pragma: no cover - compiled
    """Write the moments of the windows that end at bars of a range, in two passes each, neighbours side by side."""
    for first in range(max(start, window - 1), end, _LANES):
        stop = min(first + _LANES, end)
        y0, x0, cells = y[first:stop], x[first:stop], out[:, first - start : stop - start]
        my, mx, vy, vx, c = cells[0], cells[1], cells[2], cells[3], cells[4]
        cells[:] = 0.0
        for k in range(window):
            ys, xs = y[first - k : stop - k], x[first - k : stop - k]
            for j in range(y0.size):
                my[j] += ys[j] - y0[j]
                mx[j] += xs[j] - x0[j]
        for j in range(y0.size):
            my[j] /= window
            mx[j] /= window
        for k in range(window):
            ys, xs = y[first - k : stop - k], x[first - k : stop - k]
            for j in range(y0.size):
                v = (ys[j] - y0[j]) - my[j]
                u = (xs[j] - x0[j]) - mx[j]
                vy[j] += v * v
                vx[j] += u * u
                c[j] += u * v
        for j in range(y0.size):
            vy[j] /= window - 1.0
            vx[j] /= window - 1.0
            still = vy[j] <= _STILL * (y0[j] * y0[j]) or vx[j] <= _STILL * (x0[j] * x0[j])
            c[j] = np.nan if still else c[j] / (window - 1.0)


def window_moments(y: F8, x: F8, window: int, start: int = 0, end: int | None = None) -> WindowMoments:
    """Return means, sample variances and covariance of both legs in the windows that end at bars ``start`` to ``end``.

    The means are measured from the window's newest row. NaN before the first window is full; NaN in y or x spreads
    through its windows. O(bars · window).

    >>> [column.tolist()[1:] for column in window_moments(np.array([1.0, 3.0, 4.0]), np.array([0.0, 1.0, 3.0]), 2)]
    [[-1.0, -0.5], [-0.5, -1.0], [2.0, 0.5], [0.5, 2.0], [1.0, 1.0]]
    """
    until = y.size if end is None else end
    out = np.full((5, until - start), np.nan)
    _moments_each(y, x, window, start, until, out)
    return WindowMoments(*out)


@kernel
def _hedges_each(
    y: F8,
    x: F8,
    lookback: int,
    start: int,
    huber: bool,  # noqa: FBT001 - compiled functions take arguments by position
    out: NDArray[np.float64],
) -> None:  # pragma: no cover - compiled
    for t in range(max(start, lookback - 1), start + out.shape[1]):
        if huber:
            robust = huber_window(y, x, t + 1, lookback, HUBER_TUNING, HUBER_TOLERANCE, HUBER_MOST)
            if robust.converged:
                out[0, t - start], out[1, t - start] = robust.alpha, robust.beta
        else:
            fit = fit_window(y, x, t + 1, lookback)
            out[0, t - start], out[1, t - start] = fit.alpha, fit.beta


def trailing_hedges(
    y: F8, x: F8, lookback: int, *, huber: bool, start: int = 0, end: int | None = None
) -> NDArray[np.float64]:
    """Return alpha and beta of ``causal_hedge``'s ``ols``, or its ``huber``, at bars ``start`` to ``end``, a row each.

    NaN before ``lookback`` bars, and where a fit does not exist. NaN in y or x spreads through its windows.
    O(bars · lookback), Huber's times his steps.

    >>> y, x = np.array([1.0, 3.0, 5.0, 6.0]), np.array([0.0, 1.0, 2.0, 3.0])
    >>> trailing_hedges(y, x, 3, huber=False, start=1)[1].round(9).tolist()
    [nan, 2.0, 1.5]
    """
    out = np.full((2, (y.size if end is None else end) - start), np.nan)
    _hedges_each(y, x, lookback, start, huber, out)
    return out


@kernel
def spread_std(var_y: float, var_x: float, cov: float, beta: float) -> float:  # pragma: no cover - compiled
    r"""Return the sample standard deviation of y - beta x from its window's moments; 0 where too few digits are left.

    .. math:: \sigma^2 = \sigma_y^2 - 2 \beta \sigma_{yx} + \beta^2 \sigma_x^2

    0 also where it is NaN or not finite. O(1).

    >>> spread_std(2.0, 2.0, 1.5, 1.0), spread_std(2.0, 2.0, 2.0 - 1e-9, 1.0)
    (1.0, 0.0)
    """
    size = var_y + beta * beta * var_x
    variance = size - 2.0 * beta * cov
    if variance > CANCELLED * size:  # which is never so where they are NaN or infinite
        return float(np.sqrt(variance))
    return 0.0


@kernel
def entry_scores(
    legs: SweepLegs,
    beta: F8,
    moments: WindowMoments,
    window: int,
    levels: F8,
    least: float,
    gate: NDArray[np.bool_],
    zscore: F8,
    coming: I8,
) -> None:  # pragma: no cover - compiled
    """Write each bar's z-score, 0 where none or no entry is allowed, and where from it on the first of ``least`` is.

    Right to 1e-6, and on the right side of every one of ``levels``, which ascend: near one, and where digits cancel,
    it is ``zscore_window``'s. ``coming`` has one more value than there are bars. NaN in ``beta`` gives 0.
    O(n log(levels)), and O(window) for a bar near a level.

    >>> y, x = np.array([0.0, 0.0, 3.0]), np.array([1.0, 2.0, 1.0])
    >>> legs = SweepLegs(y, x, y, x, y, x, *[np.zeros(3)] * 4, False, False, False, 0)
    >>> z, coming, levels = np.empty(3), np.empty(4, np.int64), np.array([1.0, 2.0])
    >>> entry_scores(legs, np.zeros(3), window_moments(y, x, 3), 3, levels, 1.0, np.full(3, True), z, coming)
    >>> z.round(4).tolist(), coming.tolist()
    ([0.0, 0.0, 1.1547], [2, 2, 2, 3])
    """
    spaced_y, spaced_x = legs.spaced_y, legs.spaced_x
    mean_y, mean_x, var_y, var_x, cov = moments.mean_y, moments.mean_x, moments.var_y, moments.var_x, moments.cov
    first = max(legs.first, window - 1)
    lowest = levels[0] if levels.size > 0 else np.inf
    coming[beta.size] = beta.size
    for t in range(beta.size - 1, -1, -1):
        zscore[t] = 0.0
        ratio = beta[t]
        if t >= first and gate[t] and not np.isnan(ratio):
            std = spread_std(var_y[t], var_x[t], cov[t], ratio)
            exact = not std > 0.0
            z = 0.0
            if not exact:
                z = (ratio * mean_x[t] - mean_y[t]) / std
                k = np.searchsorted(levels, abs(z)) if abs(z) >= lowest else 0
                for near in (k - 1, k):
                    if 0 <= near < levels.size:
                        exact |= abs(abs(z) - levels[near]) <= _NEAR * (1.0 + levels[near])
            if exact:
                z = zscore_window(spaced_y, spaced_x, t + 1, window, 0.0, ratio).zscore
            if not np.isnan(z):
                zscore[t] = z
        coming[t] = t if abs(zscore[t]) >= least else coming[t + 1]
