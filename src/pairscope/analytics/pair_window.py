"""One window of a pair, computed from that window alone: hedge ratio by least squares, z-score, correlation.

Nothing slides. Each figure is worked out from scratch over its own rows, always in the same order, so that its bits
depend neither on where the series begins nor on where it is cut, and nothing drifts; the live engine, an answer over
HTTP and a backtest get the same number. Rows are measured from the window's newest, which float64 subtracts exactly
where values lie close together: an offset of 1e8 costs no digits, and a constant window is exactly zero. Sums run in
32 independent lanes, which the processor adds side by side without ``fastmath``: below 1 ns a row.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.price_stats import checked
from pairscope.errors import DegenerateSeries, InputError
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = [
    "WindowFit",
    "WindowFits",
    "WindowSpread",
    "WindowSpreads",
    "checked_pair",
    "correlation_window",
    "fit_window",
    "fit_windows",
    "rolling_pair_correlation",
    "spread_windows",
    "zscore_window",
]

_LANES: Final = 32
_EPS: Final = 2.0**-52
_LARGEST: Final = 1e75


class WindowFit(NamedTuple):
    """Least squares of y on a constant and x in one window; all NaN where x is constant in it."""

    alpha: float
    beta: float
    stderr_alpha: float
    stderr: float
    r_squared: float
    residual_std: float


class WindowSpread(NamedTuple):
    """The spread of one window: its newest value, mean, sample standard deviation, and the newest value's z-score."""

    last: float
    mean: float
    std: float
    zscore: float


class WindowFits(NamedTuple):
    """The columns of :class:`WindowFit`, a row a bar."""

    alpha: F8
    beta: F8
    stderr_alpha: F8
    stderr: F8
    r_squared: F8
    residual_std: F8


class WindowSpreads(NamedTuple):
    """The columns of :class:`WindowSpread`, a row a bar."""

    last: F8
    mean: F8
    std: F8
    zscore: F8


@kernel
def _sums(y: F8, x: F8, start: int, end: int) -> tuple[float, float, float, float]:  # pragma: no cover - compiled
    """Return the sums of x, y, x² and xy, both measured from the newest row."""
    x0, y0 = x[end - 1], y[end - 1]
    lanes = np.zeros((4, _LANES))
    a, b, c, d = lanes[0], lanes[1], lanes[2], lanes[3]
    whole = end - (end - start) % _LANES
    for i in range(start, whole, _LANES):
        xs, ys = x[i : i + _LANES], y[i : i + _LANES]
        for j in range(_LANES):
            u = xs[j] - x0
            v = ys[j] - y0
            a[j] += u
            b[j] += v
            c[j] += u * u
            d[j] += u * v
    for i in range(whole, end):
        u = x[i] - x0
        v = y[i] - y0
        a[i - whole] += u
        b[i - whole] += v
        c[i - whole] += u * u
        d[i - whole] += u * v
    sx = sy = sxx = sxy = 0.0
    for j in range(_LANES):
        sx += a[j]
        sy += b[j]
        sxx += c[j]
        sxy += d[j]
    return sx, sy, sxx, sxy


@kernel
def _residual_sums(
    y: F8, x: F8, start: int, end: int, my: float, mx: float, slope: float
) -> tuple[float, float, float, float]:  # pragma: no cover - compiled
    """Return the sums of e, e², e·u and u²: u is x off its mean ``mx``, e what ``slope`` leaves of y off ``my``."""
    x0, y0 = x[end - 1], y[end - 1]
    lanes = np.zeros((4, _LANES))
    a, b, c, d = lanes[0], lanes[1], lanes[2], lanes[3]
    whole = end - (end - start) % _LANES
    for i in range(start, whole, _LANES):
        xs, ys = x[i : i + _LANES], y[i : i + _LANES]
        for j in range(_LANES):
            u = (xs[j] - x0) - mx
            e = ((ys[j] - y0) - my) - slope * u
            a[j] += e
            b[j] += e * e
            c[j] += e * u
            d[j] += u * u
    for i in range(whole, end):
        u = (x[i] - x0) - mx
        e = ((y[i] - y0) - my) - slope * u
        a[i - whole] += e
        b[i - whole] += e * e
        c[i - whole] += e * u
        d[i - whole] += u * u
    se = see = seu = suu = 0.0
    for j in range(_LANES):
        se += a[j]
        see += b[j]
        seu += c[j]
        suu += d[j]
    return se, see, seu, suu


@kernel
def fit_window(y: F8, x: F8, end: int, lookback: int) -> WindowFit:  # pragma: no cover - compiled
    r"""Return the least squares fit of y on a constant and x over the ``lookback`` rows before row ``end``.

    .. math:: \beta = S_{xy} / S_{xx}, \quad \alpha = \bar y - \beta \bar x, \quad
        s^2 = \textstyle\sum e_i^2 / (n - 2), \quad \mathrm{se}(\beta) = s / \sqrt{S_{xx}}

    Standard errors assume residuals that are independent and of one variance, which the residuals of a pair seldom
    are (``ols_hedge`` has those that allow for it). A second pass over the residuals corrects the slope of the first
    and adds their squares themselves, so that ``r_squared`` never leaves [0, 1] and is good to rounding next to 1.
    NaN where x is constant in the window, where fewer than ``lookback`` rows come before ``end``, where ``lookback``
    is less than 3, and where a row of the window is NaN or too large to be squared; ``r_squared`` also where y is
    constant. O(lookback). Reference: Greene (2018), *Econometric Analysis*, ch. 3-4.

    >>> fit = fit_window(np.array([9.0, 1.0, 3.0, 5.0, 8.0]), np.array([9.0, 0.0, 1.0, 2.0, 3.0]), 5, 4)
    >>> [round(value, 4) for value in fit]
    [0.8, 2.3, 0.324, 0.1732, 0.9888, 0.3873]
    """
    start = end - lookback
    none = WindowFit(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan)
    if lookback < 3 or start < 0 or end > x.size or end > y.size:
        return none
    n = float(lookback)
    sx, sy, sxx, sxy = _sums(y, x, start, end)
    mx, my = sx / n, sy / n
    spread_x = sxx - sx * mx
    if not 0.0 < spread_x < np.inf:
        return none
    slope = (sxy - sx * my) / spread_x
    se, see, seu, suu = _residual_sums(y, x, start, end, my, mx, slope)
    if not 0.0 < suu < np.inf:
        return none
    fix = seu / suu
    slope += fix
    left = see - se * (se / n) - fix * seu
    if not left < np.inf:
        return none
    left = max(left, 0.0)
    centre = x[end - 1] + mx
    s = np.sqrt(left / (n - 2.0))
    explained = slope * (slope * suu)
    return WindowFit(
        (y[end - 1] + my + se / n) - slope * centre,
        slope,
        s * np.sqrt(1.0 / n + centre * (centre / suu)),
        s / np.sqrt(suu),
        explained / (explained + left) if explained + left > 0.0 else np.nan,
        s,
    )


@kernel
def zscore_window(
    y: F8, x: F8, end: int, window: int, alpha: float, beta: float
) -> WindowSpread:  # pragma: no cover - compiled
    r"""Return how far the spread y - (alpha + beta x) of the row before ``end`` lies from the mean of its window.

    .. math:: z = (s_t - \bar s) / \sigma, \quad s_i = y_i - (\alpha + \beta x_i)

    Mean and sample standard deviation are those of the last ``window`` rows under the one hedge ratio given, the
    newest row included. A spread that moves by no more than the rounding of its legs is constant: ``std`` 0 and
    ``zscore`` NaN. All NaN where fewer than ``window`` rows come before ``end``, where ``window`` is less than 2, and
    where a row, ``alpha`` or ``beta`` is NaN or too large to be squared. O(window).

    >>> zscore_window(np.array([1.0, 2.0, 5.0]), np.array([0.0, 0.0, 1.0]), 3, 3, 0.0, 2.0)
    WindowSpread(last=3.0, mean=2.0, std=1.0, zscore=1.0)
    """
    start = end - window
    none = WindowSpread(np.nan, np.nan, np.nan, np.nan)
    if window < 2 or start < 0 or end > x.size or end > y.size:
        return none
    x0, y0 = x[end - 1], y[end - 1]
    total = size = 0.0
    for i in range(start, end):
        total += (y[i] - y0) - beta * (x[i] - x0)
        size = max(size, abs(y[i]) + abs(beta * x[i]))
    shift = total / window
    squares = 0.0
    for i in range(start, end):
        gap = ((y[i] - y0) - beta * (x[i] - x0)) - shift
        squares += gap * gap
    if not squares < np.inf:
        return none
    std = np.sqrt(squares / (window - 1.0))
    last = y0 - (alpha + beta * x0)
    if not abs(last) < np.inf:
        return none
    if std <= _EPS * size:
        return WindowSpread(last, last + shift, 0.0, np.nan)
    return WindowSpread(last, last + shift, std, -shift / std)


@kernel
def correlation_window(y: F8, x: F8, end: int, window: int) -> float:  # pragma: no cover - compiled
    r"""Return Pearson's correlation of the last ``window`` returns before row ``end``.

    .. math:: \rho = S_{rq} / \sqrt{S_{rr} S_{qq}}, \quad r_i = y_i - y_{i-1}, \; q_i = x_i - x_{i-1}

    A return is the difference of two rows, so that ``window`` returns take ``window + 1`` rows; rows that are logs of
    prices give log returns. In [-1, 1]. NaN where there are fewer rows, where ``window`` is less than 2, where a row
    is NaN, and where either leg's returns vary by no more than the rounding of its values. O(window).

    >>> correlation_window(np.array([1.0, 2.0, 4.0, 5.0]), np.array([0.0, 1.0, 3.0, 4.0]), 4, 3)
    1.0
    """
    start = end - window
    if window < 2 or start < 1 or end > x.size or end > y.size:
        return np.nan
    # The returns of a window add up to its last row less the one before its first: their mean needs no pass.
    my = (y[end - 1] - y[start - 1]) / window
    mx = (x[end - 1] - x[start - 1]) / window
    yy = xx = yx = size_y = size_x = 0.0
    for i in range(start, end):
        r = (y[i] - y[i - 1]) - my
        q = (x[i] - x[i - 1]) - mx
        yy += r * r
        xx += q * q
        yx += r * q
        size_y = max(size_y, abs(y[i]))
        size_x = max(size_x, abs(x[i]))
    small_y, small_x = _EPS * size_y, _EPS * size_x
    if not (yy > window * (small_y * small_y) and xx > window * (small_x * small_x)):
        return np.nan
    return float(min(1.0, max(-1.0, yx / (np.sqrt(yy) * np.sqrt(xx)))))


@kernel
def _fit_each(y: F8, x: F8, lookback: int, out: NDArray[np.float64]) -> None:  # pragma: no cover - compiled
    for t in range(lookback - 1, x.size):
        fit = fit_window(y, x, t + 1, lookback)
        for k in range(6):
            out[k, t] = fit[k]


@kernel
def _spread_each(
    y: F8, x: F8, window: int, alpha: F8, beta: F8, out: NDArray[np.float64]
) -> None:  # pragma: no cover - compiled
    for t in range(window - 1, x.size):
        spread = zscore_window(y, x, t + 1, window, alpha[t], beta[t])
        for k in range(4):
            out[k, t] = spread[k]


@kernel
def _correlate_each(y: F8, x: F8, window: int, out: F8) -> None:  # pragma: no cover - compiled
    for t in range(window, x.size):
        out[t] = correlation_window(y, x, t + 1, window)


def checked_pair(y: F8, x: F8, *, need: int = 3) -> tuple[F8, F8]:
    """Return both legs as float64, or raise a ``ValueError`` that names the argument. O(n).

    Raises on NaN and infinities, on values beyond 1e75 or that differ by less than 1e-75, whose products leave float64,
    on fewer than ``need`` values, on unequal lengths, and where all values of a leg are equal.

    >>> [leg.tolist() for leg in checked_pair(np.array([1, 2]), np.array([3, 5]), need=2)]
    [[1.0, 2.0], [3.0, 5.0]]
    """
    legs = checked(y, "y", need=need), checked(x, "x", need=need)
    if legs[0].size != legs[1].size:
        raise InputError(f"x: has {legs[1].size} values, y has {legs[0].size}", loc="x")
    for name, leg in zip("yx", legs, strict=True):
        if np.abs(leg).max() > _LARGEST:
            raise InputError(f"{name}: has values beyond {_LARGEST:g}", loc=name)
        if leg.max() - leg.min() < 1.0 / _LARGEST:
            raise DegenerateSeries(f"{name}: varies by less than {1.0 / _LARGEST:g}", loc=name)
    return legs


def fit_windows(y: F8, x: F8, lookback: int) -> WindowFits:
    """Return ``fit_window`` at each row, NaN before the first window is full.

    NaN also where x is constant in a window. NaN in y or x, infinities, a constant series, unequal lengths and fewer
    rows than ``lookback`` raise ``ValueError`` naming the argument. O(n · lookback).

    >>> fit_windows(np.array([1.0, 3.0, 5.0, 6.0]), np.array([0.0, 1.0, 2.0, 3.0]), 3).beta.round(12).tolist()
    [nan, nan, 2.0, 1.5]
    """
    size = _whole(lookback, "lookback", 3)
    legs = checked_pair(y, x, need=size)
    out = np.full((6, legs[0].size), np.nan)
    _fit_each(*legs, size, out)
    return WindowFits(*out)


def spread_windows(y: F8, x: F8, window: int, *, alpha: float | F8, beta: float | F8) -> WindowSpreads:
    """Return ``zscore_window`` at each row t, all rows of its window under row t's hedge ratio.

    ``alpha`` and ``beta`` are numbers, or arrays with a value a row, in which NaN stands where none is known yet. NaN
    before the window is full and where the row's hedge ratio is NaN; the z-score also where the spread is constant.
    NaN in y or x, infinities, a constant series, unequal lengths and fewer rows than ``window`` raise ``ValueError``
    naming the argument. O(n · window).

    >>> spread_windows(np.array([1.0, 2.0, 6.0]), np.array([0.0, 0.0, 1.0]), 2, alpha=0.0, beta=2.0).mean.tolist()
    [nan, 1.5, 3.0]
    """
    size = _whole(window, "window", 2)
    legs = checked_pair(y, x, need=size)
    ratios = []
    for name, value in (("alpha", alpha), ("beta", beta)):
        column = np.array(value, np.float64)
        if column.ndim > 1 or (column.ndim == 1 and column.size != legs[0].size):
            raise InputError(f"{name}: must be a number or have {legs[0].size} values", loc=name)
        if np.isinf(column).any() or (column.ndim == 0 and np.isnan(column)):
            raise InputError(f"{name}: must be finite", loc=name)
        ratios.append(np.ascontiguousarray(np.broadcast_to(column, legs[0].shape)))
    out = np.full((4, legs[0].size), np.nan)
    _spread_each(*legs, size, ratios[0], ratios[1], out)
    return WindowSpreads(*out)


def rolling_pair_correlation(y: F8, x: F8, window: int) -> F8:
    """Return ``correlation_window`` at each row: that of the last ``window`` differences of the legs.

    NaN in the first ``window`` rows, and where either leg's returns do not vary. NaN in y or x, infinities, a constant
    series, unequal lengths and fewer than ``window + 1`` rows raise ``ValueError`` naming the argument. O(n · window).

    >>> rolling_pair_correlation(np.array([1.0, 2.0, 4.0, 3.0]), np.array([0.0, 1.0, 3.0, 7.0]), 2).round(12).tolist()
    [nan, nan, 1.0, -1.0]
    """
    size = _whole(window, "window", 2)
    legs = checked_pair(y, x, need=size + 1)
    out = np.full(legs[0].size, np.nan)
    _correlate_each(*legs, size, out)
    return out


def _whole(value: int, name: str, least: int) -> int:
    """Return a count as an integer; ``ValueError`` where it is not a whole number from ``least`` on."""
    if isinstance(value, bool) or not np.isfinite(value) or int(value) != value or value < least:
        raise InputError(f"{name}: must be a whole number of at least {least}", loc=name)
    return int(value)
