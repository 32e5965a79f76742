"""The augmented Dickey-Fuller regression: how many lags it takes, and the t-ratio of the level.

Both orders of business rest on one QR factorization each. With the regressors in the order trend, level, lag 1, lag 2,
… and the change itself last, the squares at the bottom of R's last column are the residual sums of squares of every
lag order at once; with the level last of the regressors, its t-ratio can be read off two cells. Factoring the data
itself, never its cross-products, keeps the digits of levels that lie far from zero.
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pairscope.analytics.householder import triangle
from pairscope.analytics.mackinnon import TRENDS, Trend
from pairscope.analytics.price_stats import checked
from pairscope.errors import DegenerateSeries, InputError, NotEnoughData
from pairscope.market.ticks import F8

__all__ = ["SIGNIFICANT", "AutoLag", "DickeyFuller", "dickey_fuller", "even_scale", "longest_lag", "trend_columns"]

AutoLag = Literal["aic", "bic", "t-stat"]
"""What chooses the number of lags: Akaike's or Bayes' criterion, or the last lag's t-ratio."""

SIGNIFICANT: Final = 1.6448536269514722
"""|t| from which the last lag is kept: two-sided 10 %."""

_EXACT: Final = 1e-12
"""Share of a target's length that a fit must leave, for its residual to be more than rounding."""


class DickeyFuller(NamedTuple):
    """The level's t-ratio, the number of lagged changes, and the observations of the final regression."""

    statistic: float
    lags: int
    nobs: int


def dickey_fuller(
    x: F8, *, regression: Trend = "c", maxlag: int | None = None, autolag: AutoLag | None = "aic", name: str = "x"
) -> DickeyFuller:
    r"""Return the t-ratio of :math:`\gamma` in the augmented Dickey-Fuller regression.

    .. math:: \Delta x_t = d_t + \gamma x_{t-1} + \sum_{i=1}^{k} \delta_i \Delta x_{t-i} + \varepsilon_t

    :math:`d_t` is nothing, a constant, a line or a parabola (``regression`` n, c, ct, ctt). ``autolag`` picks k from 0
    to ``maxlag`` on the sample that ``maxlag`` leaves, the regression is then fitted on the longer sample that k
    leaves; None takes k = ``maxlag``. Where ``maxlag`` is not given it is :math:`\lceil 12 (n/100)^{1/4} \rceil`, and
    never more than half the sample bears. Errors call the series ``name``. NaN, infinities, a constant or perfectly
    predictable series and too few values raise ``ValueError``. O(n maxlag²).
    Reference: Said & Dickey (1984), Biometrika 71; Schwert (1989) for the default ``maxlag``.

    >>> fit = dickey_fuller(np.array([0.0, 1.0, 0.5, 1.5, 0.2, 1.1, 0.4, 1.3, 0.6]), maxlag=1)
    >>> round(fit.statistic, 4), fit.lags, fit.nobs
    (-8.2381, 0, 8)
    """
    if regression not in TRENDS:
        raise InputError(f"regression: must be one of {', '.join(TRENDS)}", loc="regression")
    if autolag is not None and autolag not in get_args(AutoLag):
        raise InputError(f"autolag: must be {', '.join(get_args(AutoLag))} or None", loc="autolag")
    trends = 0 if regression == "n" else len(regression)
    series = even_scale(checked(x, name, need=2 * trends + 2))[0]
    longest = longest_lag(series.size, trends, maxlag)
    change = np.diff(series)
    # A level far from zero is moved there where a constant takes up the difference.
    level = series - series.mean() if trends else series
    spare = series.size - 2 - trends - 2 * longest
    if spare == 0 and autolag != "t-stat":
        # The longest regression would fit perfectly, and a criterion would always choose it.
        raise NotEnoughData(f"{name}:", need=series.size + 1, have=series.size)
    lags = longest if autolag is None else _choose(level, change, trends, longest, autolag, name)
    rows = change.size - lags
    past = _past(change, lags)
    columns = np.column_stack([trend_columns(rows, trends), past[:, 1:], level[lags:-1]])
    reduced, kept = triangle(columns, past[:, 0])
    rank = int(kept.sum())
    rss = float(reduced[rank:, -1] @ reduced[rank:, -1])
    if not kept[-1] or _is_exact(np.array([rss]), past[:, 0]):
        raise _predictable(name)
    ratio = reduced[rank - 1, -1] / math.sqrt(rss / (rows - rank))
    return DickeyFuller(float(math.copysign(1.0, reduced[rank - 1, rank - 1]) * ratio), lags, rows)


def even_scale(x: F8) -> tuple[F8, int]:
    """Return a series divided by the power of two next to its largest value, without rounding, and that power. O(n).

    Squares of what comes out neither overflow nor vanish. NaN stays NaN.

    >>> even_scale(np.array([3.0, -6.0]))
    (array([ 0.375, -0.75 ]), 3)
    """
    _, exponent = np.frexp(np.abs(x).max())
    power = int(exponent)
    return np.ldexp(x, -power), power


def trend_columns(rows: int, trends: int) -> F8:
    """Return the powers 0 … ``trends`` - 1 of a time that runs evenly from -1 to 1, a column each. O(rows trends).

    >>> trend_columns(3, 2).tolist()
    [[1.0, -1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    time: F8 = np.linspace(-1.0, 1.0, rows)
    return time[:, None] ** np.arange(trends)


def longest_lag(n: int, trends: int, maxlag: int | None) -> int:
    r"""Return the largest number of lags that n values let be looked at, or ``maxlag`` where that is no more. O(1).

    :math:`\lceil 12 (n/100)^{1/4} \rceil` where ``maxlag`` is None, and never more than :math:`n/2 - 1 - trends`;
    a ``maxlag`` beyond that, NaN or not whole raises ``ValueError``. Reference: Schwert (1989).

    >>> longest_lag(1440, 0, None), longest_lag(20, 1, None), longest_lag(20, 1, 3)
    (24, 8, 3)
    """
    bound = n // 2 - trends - 1
    if maxlag is None:
        return min(bound, math.ceil(12.0 * math.pow(n / 100.0, 0.25)))
    if isinstance(maxlag, bool) or int(maxlag) != maxlag or not 0 <= maxlag <= bound:
        raise InputError(f"maxlag: must be a whole number from 0 to {bound} with {n} values", loc="maxlag")
    return int(maxlag)


def _past(change: F8, lags: int) -> F8:
    """Return a row for each change that has ``lags`` before it: itself, then those, newest first."""
    return sliding_window_view(change, lags + 1)[:, ::-1]


def _choose(level: F8, change: F8, trends: int, longest: int, autolag: AutoLag, name: str) -> int:
    """Return the number of lags that the criterion prefers, the smallest of equals."""
    past = _past(change, longest)
    rows = past.shape[0]
    columns = np.column_stack([trend_columns(rows, trends), level[longest:-1], past[:, 1:]])
    reduced, kept = triangle(columns, past[:, 0])
    if not kept[trends]:
        raise _predictable(name)
    rank = np.cumsum(kept)[trends:]
    bottom = reduced[:, -1]
    left = np.append(np.cumsum(bottom[::-1] ** 2)[::-1], 0.0)
    rss, free = left[rank], rows - rank
    if _is_exact(rss[free > 0], past[:, 0]):
        raise _predictable(name)
    if autolag == "t-stat":
        for lag in range(longest, 0, -1):
            own = abs(bottom[rank[lag] - 1]) if kept[trends + lag] and free[lag] > 0 else 0.0
            if own > 0.0 and own / math.sqrt(rss[lag] / free[lag]) >= SIGNIFICANT:
                return lag
        return 0
    price = 2.0 if autolag == "aic" else math.log(rows)
    criterion: F8 = rows * np.log(rss) + price * rank
    return int(criterion.argmin())


def _is_exact(rss: F8, target: F8) -> bool:
    """Whether a fit leaves no more of its target than rounding does."""
    return bool((rss <= _EXACT**2 * float(target @ target)).any())


def _predictable(name: str) -> DegenerateSeries:
    return DegenerateSeries(f"{name}: follows from its own trend and past without error", loc=name)
