"""One lag of itself: the AR(1) fit of a series, and the exact law of its coefficient, near a unit root too.

The least-squares coefficient of an AR(1) with constant is pulled towards zero, by about (1 + 3 phi) / n, and is skewed
where phi is close to one: "estimate plus or minus two standard errors" holds too rarely just where half-lives are
long. Its law is known, though: it is at most r exactly where a quadratic form of the series is at most nought, and the
probability of that follows from the form's characteristic function (Gil-Pelaez 1951, Imhof 1961). The covariance's
inverse has three diagonals, so that the function has a closed form in phi, r and n. A confidence interval is the set of
the phi under which the coefficient found is not in a tail (Andrews 1993).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from pairscope.analytics.price_stats import checked
from pairscope.errors import DegenerateSeries, InputError
from pairscope.market.ticks import F8

__all__ = ["AR1", "ar1_fit", "centred", "coefficient_cdf", "coefficient_interval", "coefficient_median"]

_STEP: Final = 0.035
_NODES: Final = np.exp(np.arange(-5.0, 5.0, _STEP))
"""Where the characteristic function is asked, in inverse standard deviations: even steps of the logarithm."""

_CLOSEST: Final = 1e-4
"""The largest phi is one less this over n: a half-life of thousands of samples, called infinite."""


class AR1(NamedTuple):
    r"""A fit of :math:`x_t = c + \phi x_{t-1} + \varepsilon_t`: its coefficients and the residuals' spread.

    ``phi_stderr`` is the textbook one, ``residual_std`` has n - 3 degrees of freedom, ``n`` counts the series' values.
    """

    constant: float
    phi: float
    phi_stderr: float
    residual_std: float
    n: int


def ar1_fit(x: F8) -> AR1:
    r"""Return the least-squares fit of :math:`x_t = c + \phi x_{t-1} + \varepsilon_t`.

    The standard error assumes independent errors of one variance and a phi well below one; for an interval that holds
    near one as well, see :func:`coefficient_interval`. O(n). NaN, infinities, fewer than 8 values, a constant series
    and one that is constant but for its last value raise ``ValueError`` naming ``x``.
    Reference: Hamilton (1994), *Time Series Analysis*, ch. 8.

    >>> fit = ar1_fit(np.array([9.0, 5.0, 3.0, 2.0, 1.5, 1.25, 1.125, 1.0625]))
    >>> round(fit.constant, 12), round(fit.phi, 12)
    (0.5, 0.5)
    """
    moved, origin, unit = centred(x, need=8)
    before, after = moved[:-1], moved[1:]
    mean_before, mean_after = float(before.mean()), float(after.mean())
    deviation = before - mean_before
    square = float(deviation @ deviation)
    if before.min() == before.max() or square < 1e-280:
        raise DegenerateSeries("x: is constant but for its last value", loc="x")
    phi = float(deviation @ (after - mean_after)) / square
    left = (after - mean_after) - phi * deviation
    residual_std = math.sqrt(float(left @ left) / (moved.size - 3))
    constant = (mean_after - phi * mean_before) * unit + (1.0 - phi) * origin
    return AR1(constant, phi, residual_std / math.sqrt(square), residual_std * unit, moved.size)


def centred(x: F8, *, need: int) -> tuple[F8, float, float]:
    """Return a series measured from its first value in a power of two as unit, that value, and the unit. O(n).

    All values are in [-1, 1] and squares keep within float64, whatever x is measured in. NaN, infinities, a constant
    series, fewer than ``need`` values and a range that float64 cannot hold raise ``ValueError`` naming ``x``.

    >>> values, origin, unit = centred(np.array([100.0, 103.0, 98.0]), need=2)
    >>> values.tolist(), origin, unit
    ([0.0, 0.75, -0.5], 100.0, 4.0)
    """
    series = checked(x, "x", need=need)
    origin = float(series[0])
    with np.errstate(over="ignore"):
        moved = series - origin
    exponent = math.frexp(float(np.abs(moved).max()))[1]
    if not np.isfinite(moved).all() or not -1000 < exponent < 1000:
        raise InputError("x: its range is beyond floating point", loc="x")
    unit = 2.0**exponent
    return moved / unit, origin, unit


def coefficient_cdf(r: float, phi: float, n: int) -> float:
    r"""Return the probability that the least-squares coefficient of n values of an AR(1) with constant is at most r.

    .. math:: P(\hat\phi \le r) = P(Q_r \le 0) = \tfrac12 - \tfrac1\pi \int_0^\infty \Im \psi_r(t)\, \frac{dt}{t},
              \qquad Q_r = \sum_{t<n} (x_t - \bar x)(x_{t+1} - r x_t)

    with :math:`\psi_r` the characteristic function of :math:`Q_r`. Assumes a stationary Gaussian AR(1); neither its
    mean nor its variance matters. ``phi`` is in (-1, 1); beyond 1 - 0.0001/n it is taken as that. Within 1e-4 of
    the exact probability, 2e-5 from n = 50 on. O(1) in n.
    Reference: Imhof (1961), *Computing the distribution of quadratic forms in normal variables*.

    >>> round(coefficient_cdf(0.9, 0.9, 200), 4)
    0.676
    """
    m = float(n - 1)
    phi = min(max(phi, -1.0 + 1e-9), 1.0 - _CLOSEST / n)
    gap = 1.0 - phi
    # At one itself the closed form is nought over nought; r moves by a hundredth of its own spread at most.
    r = r if abs(r - 1.0) * n > 1e-2 else 1.0 - 1e-2 / n
    power = n * min(1.0 / (1.0 - phi * phi), n / 6.0)
    t = _NODES / (math.sqrt(power) + abs(r - phi) * power)
    # The inverse covariance of x_t - x_1, less 2it times the form: three diagonals (off, inner, and a last of one) …
    off = -(phi + 1j * t)
    excess = gap * gap + 2j * t * (r - 1.0)  # inner + 2 off
    eta = 2.0 * np.arcsinh(np.sqrt(-excess / (4.0 * off)))
    root = -off * np.exp(eta)
    corner = 1.0 - excess + off  # last - inner - off
    edge = (gap - 1j * t - excess - off * np.expm1(eta)) / root
    scale = -np.expm1(-2.0 * eta)
    less, least = (-np.expm1(-2.0 * eta * k) / scale for k in (m, m - 1.0))
    size = np.exp(-2.0 * eta * m) + edge * less
    first = (np.exp(-2.0 * eta * (m - 1.0)) + edge * least) / (root * size)
    last = less / (root * size)
    across = np.exp(-eta * (m - 1.0)) / (root * size)
    # … and a part of rank two in the vectors 1 and e_m, from the means and from x_1.
    sum_first = (1.0 + off * first - corner * across) / excess
    sum_last = (1.0 + off * across - corner * last) / excess
    total = (m + off * sum_first - corner * sum_last) / excess
    weight = gap / (2.0 + (m - 1.0) * gap)
    w11 = -weight * gap * gap - 2j * t / m * (r - 1.0)
    w12 = -weight * gap * phi - 2j * t / m * (0.5 - r)
    w22 = -weight * phi * phi - 2j * t / m * r
    trace = w11 * total + 2.0 * w12 * sum_last + w22 * last
    factor = 1.0 + trace + (w11 * w22 - w12 * w12) * (total * last - sum_last * sum_last)
    logarithm = m * np.log(root) + np.log(size * factor)
    phase = np.unwrap(logarithm.imag)
    phase -= 2.0 * math.pi * np.rint(phase[0] / (2.0 * math.pi))
    modulus = np.exp(-0.5 * (logarithm.real - math.log((1.0 + phi) / (2.0 + (m - 1.0) * gap))))
    parts = modulus * np.sin(-0.5 * phase)
    # Below the first node the function is linear, and the nodes there are a geometric series.
    integral = _STEP * float(parts.sum() + parts[0] / math.expm1(_STEP))
    return min(1.0, max(0.0, 0.5 - integral / math.pi))


def coefficient_interval(fit: AR1, *, level: float = 0.95) -> tuple[float, float]:
    r"""Return the confidence interval of phi: all phi under which the fit's coefficient lies in neither tail.

    .. math:: \{\phi : \tfrac{1 - \text{level}}2 \le P_\phi(\hat\phi \le r) \le \tfrac{1 + \text{level}}2\}

    with r the coefficient found. Exact for a Gaussian AR(1) of any persistence, not by large samples. An end of 1 says
    that a unit root is not excluded on that side, one of -1 that nothing is below. O(1) in n.
    Reference: Andrews (1993), *Exactly Median-Unbiased Estimation of First Order Autoregressive/Unit Root Models*.

    >>> low, high = coefficient_interval(AR1(0.0, 0.9, 0.03, 1.0, 200))
    >>> round(low, 3), round(high, 3)
    (0.851, 0.984)
    """
    if not 0.0 < level < 1.0:
        raise InputError("level: must be between 0 and 1", loc="level")
    tail = 0.5 * (1.0 - level)
    return _phi_at(1.0 - tail, fit), _phi_at(tail, fit)


def coefficient_median(fit: AR1) -> float:
    """Return the phi whose coefficient is as often above the fit's as below: the estimate without its median bias.

    1 where even a unit root gives a coefficient below the fit's more often than not. O(1) in n. Reference: Andrews
    (1993).

    >>> round(coefficient_median(AR1(0.0, 0.9, 0.03, 1.0, 200)), 3)
    0.915
    """
    return _phi_at(0.5, fit)


def _phi_at(probability: float, fit: AR1) -> float:
    """Return the phi under which the fit's coefficient stands at a quantile; the ends -1 and 1 where none does."""
    n, r = fit.n, fit.phi
    ends = -1.0 + 1e-9, 1.0 - _CLOSEST / n

    def above(phi: float) -> float:
        p = min(max(coefficient_cdf(r, phi, n), 1e-12), 1.0 - 1e-12)
        return math.log(p / (1.0 - p)) - math.log(probability / (1.0 - probability))

    step = 2.0 * math.sqrt(max(1.0 - r * r, 0.0) / n) + 6.0 / n
    low, high = (min(max(value, ends[0]), ends[1]) for value in (r - step, r + step))
    at_low, at_high = above(low), above(high)
    while at_low < 0.0 and low > ends[0]:
        high, at_high = low, at_low
        low = max(low - step, ends[0])
        at_low = above(low)
    while at_high > 0.0 and high < ends[1]:
        low, at_low = high, at_high
        high = min(high + step, ends[1])
        at_high = above(high)
    if at_low <= 0.0:
        return -1.0
    if at_high >= 0.0:
        return 1.0
    return _root(above, low, high, at_low, at_high)


def _root(f: Callable[[float], float], a: float, b: float, at_a: float, at_b: float) -> float:
    """Return where a falling function is nought between a and b: regula falsi, halving a side that stays (Illinois)."""
    stayed = 0
    c = a
    for _ in range(60):
        c = (a * at_b - b * at_a) / (at_b - at_a)
        at_c = f(c)
        if abs(at_c) < 1e-5 or b - a < 1e-12:
            break
        if at_c < 0.0:
            b, at_b = c, at_c
            at_a *= 0.5 if stayed < 0 else 1.0
            stayed = -1
        else:
            a, at_a = c, at_c
            at_b *= 0.5 if stayed > 0 else 1.0
            stayed = 1
    return c
