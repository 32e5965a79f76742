"""Who moves first: the correlation of one series with another's past and future."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.price_stats import checked
from pairscope.errors import InputError
from pairscope.market.ticks import F8

__all__ = ["LeadLag", "lead_lag"]


class LeadLag(NamedTuple):
    """The cross-correlation at each lag, and the lag where it is strongest. Positive: x leads y by that many bars.

    ``band`` is what a single lag stays within by chance, ``band_of_best`` what the strongest of all lags does.
    """

    lags: NDArray[np.int64]
    correlations: F8
    best_lag: int
    best: float
    band: float
    band_of_best: float


def lead_lag(y: F8, x: F8, most_lag: int, *, level: float = 0.95) -> LeadLag:
    r"""Return the cross-correlation of two return series at the lags ``-most_lag`` … ``most_lag``.

    .. math:: c_k = \frac{\sum_t (y_t - \bar y)(x_{t-k} - \bar x)}
                         {\sqrt{\sum_t (y_t - \bar y)^2 \sum_t (x_t - \bar x)^2}}

    A positive lag says that x leads y: what x did k bars ago goes with what y does now; a negative one that y leads x.
    The sums have n - \|k\| terms at lag k and are divided by those of the whole series, so that c is in [-1, 1].
    ``best_lag`` is where \|c\| is largest (the lag nearest to 0, and of two the positive, where several are).

    The bands are those of white noise: if y and x have nothing to do with one another and at least one of them is
    white, :math:`c_k` is normal with variance 1/n, and stays within ``band`` with probability ``level`` at one lag, the
    largest within ``band_of_best`` with that probability over all lags. O(n most_lag). NaN, infinities, constant
    series, unequal lengths, a lag that is not from 0 to n / 2, and a level that is not between 0 and 1 raise
    ``ValueError`` naming the argument.
    Reference: Box, Jenkins, Reinsel & Ljung (2015), *Time Series Analysis*, ch. 12.

    >>> x = np.sin(np.arange(100.0) ** 2)
    >>> found = lead_lag(np.roll(x, 2), x, 5)
    >>> found.best_lag, found.best > 0.9 > found.band
    (2, True)
    """
    left, right = checked(y, "y", need=4), checked(x, "x", need=4)
    n = left.size
    if right.size != n:
        raise InputError(f"x: has {right.size} values, y has {n}", loc="x")
    if isinstance(most_lag, bool) or not math.isfinite(most_lag) or int(most_lag) != most_lag:
        raise InputError("most_lag: must be a whole number", loc="most_lag")
    most = int(most_lag)
    if not 0 <= most <= n // 2:
        raise InputError(f"most_lag: must be 0 to {n // 2}, half of the series", loc="most_lag")
    if not 0.0 < level < 1.0:
        raise InputError("level: must be between 0 and 1", loc="level")
    a, b = _standardised(left, "y"), _standardised(right, "x")
    lags = np.arange(-most, most + 1, dtype=np.int64)
    values = np.array([float(a[max(k, 0) : n + min(k, 0)] @ b[max(-k, 0) : n - max(k, 0)]) for k in lags.tolist()])
    values = np.clip(values, -1.0, 1.0)
    near = sorted(range(lags.size), key=lambda i: (abs(int(lags[i])), -int(lags[i])))
    best = max(near, key=lambda i: abs(float(values[i])))
    tails = 1.0 - level, 1.0 - level ** (1.0 / lags.size)
    band, band_of_best = (NormalDist().inv_cdf(1.0 - 0.5 * tail) / math.sqrt(n) for tail in tails)
    return LeadLag(lags, values, int(lags[best]), float(values[best]), band, band_of_best)


def _standardised(series: F8, name: str) -> F8:
    """Return a series less its mean, with a sum of squares of one, whatever its unit."""
    with np.errstate(over="ignore"):
        moved = series - series[0]
    far = float(np.abs(moved).max())
    if not 1e-300 < far < math.inf:
        raise InputError(f"{name}: its range is beyond floating point", loc=name)
    moved /= far
    moved -= moved.mean()
    answer: F8 = moved / math.sqrt(float(moved @ moved))
    return answer
