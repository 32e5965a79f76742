"""A pair bar by bar: hedge ratio, spread, z-score and correlation at each bar, each of what was known at it.

The figures of a bar come from the kernels of one window (``pair_window``), so that the last row of a series is what a
report says of the pair now, to the bit. Where history begins less than ``lookback`` bars before a bar, its hedge ratio
is fitted on what there is, once there are at least ``least`` bars; column ``n`` says how many.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.huber import HUBER_MOST, HUBER_TOLERANCE, HUBER_TUNING, huber_window
from pairscope.analytics.pair_window import (
    checked_pair,
    fit_window,
    rolling_pair_correlation,
    spread_windows,
)
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8, I8

__all__ = ["HUBER_COST", "HedgeSeries", "hedge_series", "huber_series", "least_bars", "pair_columns"]

HUBER_COST: Final = 4_000_000
"""Rows that all Huber fits of one series may read together; what is older than they reach stays NaN."""

_LEAST: Final = 30


class HedgeSeries(NamedTuple):
    """A hedge ratio a bar, and the bars ``n`` that it was fitted on; NaN (and 0) before the first."""

    alpha: F8
    beta: F8
    n: I8


def least_bars(lookback: int, window: int) -> int:
    """Return the bars that a hedge ratio of a series takes at least: the window's, and thirty; never above lookback.

    >>> least_bars(1440, 60), least_bars(10, 5)
    (60, 10)
    """
    return min(lookback, max(window, _LEAST))


@kernel
def _fit_from(y: F8, x: F8, first: int, lookback: int, out: NDArray[np.float64]) -> None:  # pragma: no cover - compiled
    for t in range(first, x.size):
        fit = fit_window(y, x, t + 1, min(t + 1, lookback))
        out[0, t] = fit.alpha
        out[1, t] = fit.beta


def hedge_series(y: F8, x: F8, lookback: int, *, least: int, first: int = 0) -> HedgeSeries:
    """Return the least squares fit of y on x at each bar, over the last ``lookback`` bars or, from ``least`` on, fewer.

    ``fit_window`` at each bar from row ``first`` on; NaN before it, before ``least`` bars are there, and where x is
    constant in the window. NaN in y or x, infinities, a constant series, unequal lengths and fewer than ``least`` rows
    raise ``ValueError`` naming the argument. O(n · lookback).

    >>> series = hedge_series(np.array([1.0, 3.0, 5.0, 6.0]), np.array([0.0, 1.0, 2.0, 3.0]), 4, least=3)
    >>> series.beta.round(12).tolist(), series.n.tolist()
    ([nan, nan, 2.0, 1.7], [0, 0, 3, 4])
    """
    legs = checked_pair(y, x, need=least)
    size = legs[0].size
    out = np.full((2, size), np.nan)
    _fit_from(*legs, max(first, least - 1), lookback, out)
    rows = np.minimum(np.arange(1, size + 1), lookback)
    return HedgeSeries(out[0], out[1], np.where(np.isfinite(out[1]), rows, 0))


def huber_series(y: F8, x: F8, lookback: int, *, least: int, first: int = 0) -> HedgeSeries:
    """Return Huber's fit of y on x at each bar from row ``first`` on, as ``hedge_series`` does.

    Only as far back as ``HUBER_COST`` allows. NaN also where the iteration does not converge. NaN in y or x,
    infinities, a constant series, unequal lengths and fewer than ``least`` rows raise ``ValueError`` naming the
    argument. O(HUBER_COST).

    >>> x = np.arange(20.0)
    >>> series = huber_series(1.0 + 2.0 * x + 0.1 * np.cos(3.0 * x), x, 20, least=20)
    >>> series.n.tolist()[-2:], round(float(series.beta[-1]), 2)
    ([0, 20], 2.0)
    """
    legs = checked_pair(y, x, need=least)
    size = legs[0].size
    alpha, beta, n = np.full(size, np.nan), np.full(size, np.nan), np.zeros(size, np.int64)
    left = HUBER_COST
    for t in range(size - 1, max(first, least - 1) - 1, -1):
        rows = min(t + 1, lookback)
        left -= rows
        if left < 0:
            break
        fit = huber_window(*legs, t + 1, rows, HUBER_TUNING, HUBER_TOLERANCE, HUBER_MOST)
        if fit.converged:
            alpha[t], beta[t], n[t] = fit.alpha, fit.beta, rows
    return HedgeSeries(alpha, beta, n)


def pair_columns(y: F8, x: F8, *, lookback: int, window: int, hedge: HedgeSeries | None = None) -> dict[str, F8]:
    """Return a pair by columns: ``alpha``, ``beta``, ``n``, ``spread``, ``mean``, ``std``, ``zscore``, ``correlation``.

    Spread and z-score of bar t stand under its own hedge ratio: that of ``hedge``, by default ``hedge_series`` over
    ``lookback`` bars; the correlation is that of the last ``window`` returns. Each row is known at its bar. NaN in
    warm-up and where the hedge ratio is NaN. NaN in y or x, infinities, a constant series, unequal lengths and too few
    rows raise ``ValueError`` naming the argument. O(n · lookback).

    >>> columns = pair_columns(np.array([1.0, 3.0, 5.0, 6.0]), np.array([0.0, 1.0, 2.0, 3.0]), lookback=3, window=2)
    >>> columns["spread"].round(12).tolist()
    [nan, nan, 0.0, -0.166666666667]
    """
    ratio = hedge_series(y, x, lookback, least=least_bars(lookback, window)) if hedge is None else hedge
    spread = spread_windows(y, x, window, alpha=ratio.alpha, beta=ratio.beta)
    correlation = np.full(spread.last.size, np.nan)
    if spread.last.size > window:
        correlation = rolling_pair_correlation(y, x, window)
    return {
        "alpha": ratio.alpha,
        "beta": ratio.beta,
        "n": ratio.n.astype(np.float64),
        "spread": spread.last,
        "mean": spread.mean,
        "std": spread.std,
        "zscore": spread.zscore,
        "correlation": correlation,
    }
