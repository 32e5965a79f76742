"""The hedge ratio that a few wild bars cannot move: Huber's M-estimate, its scale by the median absolute deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from pairscope.analytics.pair_window import checked_pair, fit_window
from pairscope.errors import DegenerateSeries, InputError, NotConverged
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = ["HUBER_MOST", "HUBER_TOLERANCE", "HUBER_TUNING", "HuberFit", "HuberHedge", "huber_hedge", "huber_window"]

HUBER_TUNING: Final = 1.345
"""Residuals beyond so many scales count less: 95 % as good as least squares where residuals are normal."""
HUBER_TOLERANCE: Final = 1e-8
"""The iteration ends when a step is below this part of the coefficients' own uncertainty."""
HUBER_MOST: Final = 50
"""Steps after which the iteration gives up."""

_NORMAL_MAD: Final = 0.6744897501960817
"""The 75 % point of the standard normal distribution: the median absolute deviation of a unit of deviation."""
_EPS: Final = 2.0**-52


class HuberFit(NamedTuple):
    """Huber's fit of one window; ``converged`` 1 or 0, and all the rest NaN where x is constant in it."""

    alpha: float
    beta: float
    stderr: float
    scale: float
    iterations: float
    converged: float


@dataclass(frozen=True, slots=True)
class HuberHedge:
    """A hedge ratio by Huber's M-estimate: ``stderr`` is beta's, ``scale`` the residuals' robust deviation."""

    alpha: float
    beta: float
    stderr: float
    scale: float
    iterations: int
    n: int


@kernel
def _median_near(r: F8, guess: float, near: F8) -> float:  # pragma: no cover - compiled
    """Return the median of r, quickly where it lies within 5 % of a guess; ``near`` is room for as many values."""
    n = r.size
    low, high = 0.95 * guess, 1.05 * guess
    below = count = 0
    for i in range(n):
        if r[i] < low:
            below += 1
        elif r[i] <= high:
            near[count] = r[i]
            count += 1
    first, second = (n - 1) // 2 - below, n // 2 - below
    if first < 0 or second >= count or count > 500:
        return float(np.median(r))
    for i in range(1, count):
        value = near[i]
        j = i
        while j > 0 and near[j - 1] > value:
            near[j] = near[j - 1]
            j -= 1
        near[j] = value
    return float(0.5 * (near[first] + near[second]))


@kernel
def huber_window(
    y: F8, x: F8, end: int, lookback: int, tuning: float, tol: float, most: int
) -> HuberFit:  # pragma: no cover - compiled
    r"""Return Huber's fit of y on a constant and x over the ``lookback`` rows before row ``end``.

    .. math:: \min_{\alpha, \beta} \sum \rho(e_i / s), \quad \rho'(z) = \max(-c, \min(c, z)), \quad
        s = \mathrm{median} |e_i| / 0.6745

    Least squares with weights :math:`\min(1, c s / |e_i|)`, begun with OLS, the scale taken anew at every step, until
    no coefficient moves by more than ``tol`` of its uncertainty; ``converged`` is 0 where that takes more than
    ``most`` steps. A scale within the rounding of y is 0: more than half of the rows lie on the line. The standard
    error is Huber's first (H1). NaN where ``fit_window`` has it. O(lookback) a step.
    Reference: Huber & Ronchetti (2009), *Robust Statistics*, ch. 7.

    >>> x = np.arange(20.0)
    >>> y = 1.0 + 2.0 * x + 0.1 * np.cos(3.0 * x) + 100.0 * (x == 18.0)
    >>> round(fit_window(y, x, 20, 20).beta, 2), round(huber_window(y, x, 20, 20, 1.345, 1e-8, 50).beta, 2)
    (3.28, 2.0)
    """
    start = fit_window(y, x, end, lookback)
    if not abs(start.beta) < np.inf:
        return HuberFit(np.nan, np.nan, np.nan, np.nan, np.nan, 0.0)
    n = lookback
    u, v, e, r, near = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    x0, y0 = x[end - 1], y[end - 1]
    mean = size = 0.0
    for i in range(n):
        u[i] = x[end - n + i] - x0
        v[i] = y[end - n + i] - y0
        mean += u[i]
        size = max(size, abs(y[end - n + i]) + abs(start.beta * x[end - n + i]))
    mean /= n
    square = 0.0
    for i in range(n):
        u[i] -= mean
        square += u[i] * u[i]
    beta, level = start.beta, (start.alpha - y0) + start.beta * (x0 + mean)
    scale = 0.0
    step = 0
    converged = 0.0
    while True:
        for i in range(n):
            e[i] = (v[i] - level) - beta * u[i]
            r[i] = abs(e[i])
        scale = _median_near(r, scale * _NORMAL_MAD, near) / _NORMAL_MAD
        if scale <= _EPS * size:
            scale = 0.0
            converged = 1.0
        if converged > 0.0 or step == most:
            break
        bound = tuning * scale
        sw = su = suu = se = sue = 0.0
        for i in range(n):
            weight = 1.0 if r[i] <= bound else bound / r[i]
            part = weight * u[i]
            sw += weight
            su += part
            suu += part * u[i]
            se += weight * e[i]
            sue += part * e[i]
        spread = suu - su * (su / sw)
        if not spread > 0.0:
            break
        turn = (sue - su * (se / sw)) / spread
        lift = (se - turn * su) / sw
        beta += turn
        level += lift
        step += 1
        if max(abs(lift) * np.sqrt(n), abs(turn) * np.sqrt(square)) <= tol * scale:
            converged = 1.0
    alpha = (y0 + level) - beta * (x0 + mean)
    if scale == 0.0:
        return HuberFit(alpha, beta, 0.0, 0.0, float(step), converged)
    inside = squares = 0.0
    for i in range(n):
        z = min(tuning, r[i] / scale)
        squares += z * z
        inside += 1.0 if r[i] <= tuning * scale else 0.0
    m = inside / n
    if m == 0.0:
        return HuberFit(alpha, beta, np.nan, scale, float(step), 0.0)
    k = 1.0 + 2.0 / n * (m * (1.0 - m)) / (m * m)
    stderr = k * scale * np.sqrt(squares / (n - 2.0) / square) / m
    return HuberFit(alpha, beta, stderr, scale, float(step), converged)


def huber_hedge(
    y: F8, x: F8, *, tuning: float = HUBER_TUNING, tol: float = HUBER_TOLERANCE, most: int = HUBER_MOST
) -> HuberHedge:
    r"""Return the hedge ratio of y on x by Huber's M-estimate, ``huber_window`` over all bars.

    Residuals within ``tuning`` scales count in full, others less, so that a flash crash or a wrong print moves the
    ratio little; wild values of x move it as they move OLS. Equals ``RLM(y, [1, x], HuberT(tuning))`` of statsmodels
    with its defaults, which stops where a sum that depends on the units moves little, and so somewhat earlier. Errors
    are assumed independent, of one variance and symmetric.

    NaN in y or x, infinities, a constant series, unequal lengths, fewer than 3 bars and a ``tuning``, ``tol`` or
    ``most`` that is not positive raise ``ValueError`` naming the argument, and so does an iteration that does not
    converge in ``most`` steps (``NotConverged``). O(n) a step, about 0.2 ms for 1,440 bars.
    Reference: Huber & Ronchetti (2009), *Robust Statistics*, ch. 7.

    >>> x = np.arange(20.0)
    >>> y = 1.0 + 2.0 * x + 0.1 * np.cos(3.0 * x) + 100.0 * (x == 18.0)
    >>> round(huber_hedge(y, x).beta, 2)
    2.0
    """
    ys, xs = checked_pair(y, x)
    for name, value in (("tuning", tuning), ("tol", tol), ("most", most)):
        if not 0.0 < value < np.inf:
            raise InputError(f"{name}: must be positive", loc=name)
    fit = huber_window(ys, xs, ys.size, ys.size, float(tuning), float(tol), int(most))
    if np.isnan(fit.beta):
        raise DegenerateSeries("x: hardly varies", loc="x")
    if not fit.converged:
        raise NotConverged(f"y: Huber's iteration has not come to rest after {int(fit.iterations)} steps", loc="y")
    return HuberHedge(fit.alpha, fit.beta, fit.stderr, fit.scale, int(fit.iterations), ys.size)
