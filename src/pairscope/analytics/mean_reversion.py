"""What is left of a pair once it is hedged, how far that has strayed, and how long it takes to come back."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pairscope.analytics.autoregression import ar1_fit, coefficient_interval, coefficient_median
from pairscope.analytics.hurst import hurst_exponent
from pairscope.analytics.pair_window import zscore_window
from pairscope.analytics.price_stats import checked
from pairscope.analytics.variance_ratio import variance_ratio
from pairscope.errors import InputError
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = [
    "HalfLife",
    "half_life",
    "half_life_interval",
    "half_life_of",
    "hurst_exponent",
    "spread",
    "variance_ratio",
    "zscore",
]


class HalfLife(NamedTuple):
    """A half-life in observations, and what is known of it.

    ``half_life`` is that of the least-squares ``phi``; ``unbiased`` that of the phi whose estimate is as often too
    high as too low; ``low`` and ``high`` hold the true one with probability ``level``. An end where phi is not
    positive is 0, one where a unit root is not excluded is infinite.
    """

    phi: float
    half_life: float
    unbiased: float
    low: float
    high: float
    level: float


@kernel
def _zscore_each(x: F8, none: F8, window: int, out: F8) -> None:  # pragma: no cover - compiled
    """Write the z-score of each full window: that of a pair whose second leg is nothing."""
    for t in range(window - 1, x.size):
        out[t] = zscore_window(x, none, t + 1, window, 0.0, 0.0).zscore


def spread(y: F8, x: F8, *, alpha: float | F8, beta: float | F8) -> F8:
    r"""Return the spread of a pair, :math:`s_t = y_t - (\alpha + \beta x_t)`, of y and x as given.

    No logarithm is taken: give log prices for a spread in logs. ``alpha`` and ``beta`` are numbers, or arrays with a
    value an observation, in which NaN says that none is known yet; the spread is NaN there. In units of y. O(n). NaN
    in y or x, infinities, constant series and unequal lengths raise ``ValueError`` naming the argument.
    Reference: Vidyamurthy (2004), *Pairs Trading*, ch. 5.

    >>> spread(np.array([5.0, 8.0]), np.array([1.0, 2.0]), alpha=1.0, beta=2.0).tolist()
    [2.0, 3.0]
    """
    left, right = checked(y, "y"), checked(x, "x")
    if right.size != left.size:
        raise InputError(f"x: has {right.size} values, y has {left.size}", loc="x")
    hedge = _coefficient(alpha, "alpha", left.size), _coefficient(beta, "beta", left.size)
    with np.errstate(over="ignore", invalid="ignore"):
        answer: F8 = left - (hedge[0] + hedge[1] * right)
    if np.isinf(answer).any():
        raise InputError("y: less the hedge it is beyond floating point", loc="y")
    return answer


def zscore(x: F8, window: int) -> F8:
    r"""Return how many standard deviations each value lies from the mean of the window that it ends.

    .. math:: z_t = (x_t - \bar x) / \sigma, \qquad \text{over } x_{t - w + 1}, \dots, x_t

    with the sample standard deviation, the newest value included. NaN before the window is full, and where the window
    moves by no more than the rounding of its values. Assumes nothing; it reads as a probability only where the series
    is stationary and the window spans several half-lives.

    Each value is computed from its window alone, by the formula of a pair's z-score, and not by sliding moments, so
    that its bits do not depend on where the series begins: O(n window). NaN, infinities, values beyond 1e100, a
    constant series and fewer values than the window raise ``ValueError`` naming the argument.

    >>> zscore(np.array([1.0, 2.0, 3.0, 3.0, 3.0]), 3).round(3).tolist()
    [nan, nan, 1.0, 0.577, nan]
    """
    if isinstance(window, bool) or not math.isfinite(window) or int(window) != window or window < 2:
        raise InputError("window: must be a whole number of at least 2", loc="window")
    series = checked(x, "x", need=int(window))
    if np.abs(series).max() > 1e100:
        raise InputError("x: has values beyond 1e+100", loc="x")
    out = np.full(series.size, np.nan)
    _zscore_each(series, np.zeros(series.size), int(window), out)
    return out


def half_life_of(phi: float) -> float:
    r"""Return the observations after which an expected AR(1) deviation has halved, :math:`-\ln 2 / \ln \phi`.

    Infinite where phi is 1 or more (nothing comes back; within 1e-12, the rounding of an estimate), NaN where it is 0
    or less (a deviation changes sign each time). O(1). Reference: Chan (2013), *Algorithmic Trading*, ch. 2, who has
    phi - 1 for its logarithm.

    >>> half_life_of(0.5), half_life_of(1.0), half_life_of(-0.5)
    (1.0, inf, nan)
    """
    if phi >= 1.0 - 1e-12:
        return math.inf
    return -math.log(2.0) / math.log(phi) if phi > 0.0 else math.nan


def half_life(x: F8) -> float:
    r"""Return the half-life of a series' deviations from its mean, in observations: :math:`-\ln 2 / \ln \hat\phi`.

    phi is the least-squares coefficient of an AR(1) with constant, :math:`x_t = c + \phi x_{t-1} + \varepsilon_t`.
    Assumes one speed throughout, whatever the distance. The estimate is short on average, the more so the longer the
    half-life against the sample: :func:`half_life_interval` says by how much. Infinite where phi is 1 or more, NaN
    where it is 0 or less. O(n). NaN, infinities, a constant series and fewer than 8 values raise ``ValueError`` naming
    ``x``. Reference: Chan (2013), *Algorithmic Trading*, ch. 2.

    >>> round(half_life(np.array([9.0, 5.0, 3.0, 2.0, 1.5, 1.25, 1.125, 1.0625])), 12)
    1.0
    """
    return half_life_of(ar1_fit(x).phi)


def half_life_interval(x: F8, *, level: float = 0.95) -> HalfLife:
    r"""Return the half-life of a series with its confidence interval, valid up to a unit root.

    The interval holds all phi under which the least-squares coefficient is not in a tail of its exact law, which the
    bias and the skewness near one are part of; an interval of estimate and standard error would be too narrow and too
    low there. Assumes a stationary Gaussian AR(1); holds at its level for errors with fat tails too, in samples of a
    few hundred. O(n), and some milliseconds for the law. NaN, infinities, a constant series, fewer than 8 values and
    a level that is not between 0 and 1 raise ``ValueError`` naming the argument.
    Reference: Andrews (1993), *Exactly Median-Unbiased Estimation of First Order Autoregressive/Unit Root Models*.

    >>> wave = np.convolve(np.sin(np.arange(300.0) ** 2), 0.9 ** np.arange(60))[:300]
    >>> [round(value, 1) for value in half_life_interval(wave)[:5]]
    [0.9, 6.5, 7.2, 4.5, 17.8]
    """
    fit = ar1_fit(x)
    low, high = coefficient_interval(fit, level=level)
    return HalfLife(
        fit.phi,
        half_life_of(fit.phi),
        half_life_of(coefficient_median(fit)),
        half_life_of(low) if low > 0.0 else 0.0,
        half_life_of(high) if high > 0.0 else 0.0,
        level,
    )


def _coefficient(value: float | F8, name: str, n: int) -> F8:
    """Return alpha or beta as an array of one value or n; ``ValueError`` where it is neither or not finite."""
    given: F8 = np.atleast_1d(np.asarray(value, np.float64))
    scalar = np.ndim(value) == 0
    if not scalar and given.shape != (n,):
        raise InputError(f"{name}: must be a number or have {n} values, as y has", loc=name)
    if np.isinf(given).any() or (scalar and np.isnan(given).any()):
        raise InputError(f"{name}: is not finite", loc=name)
    return given
