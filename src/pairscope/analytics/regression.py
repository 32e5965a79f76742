"""Hedge ratios of a pair by regression: least squares, rolling, orthogonal, and those with modules of their own."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from pairscope.analytics.ewm_hedge import EwmHedge, ewm_ols_hedge
from pairscope.analytics.huber import HuberHedge, huber_hedge
from pairscope.analytics.kalman import KalmanHedge, kalman_hedge
from pairscope.analytics.pair_window import WindowFits, checked_pair, fit_window, fit_windows
from pairscope.analytics.theil_sen import TheilSenHedge, theil_sen_hedge
from pairscope.errors import DegenerateSeries, InputError
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = [
    "EwmHedge",
    "HuberHedge",
    "KalmanHedge",
    "OlsHedge",
    "TheilSenHedge",
    "TlsHedge",
    "ewm_ols_hedge",
    "huber_hedge",
    "kalman_hedge",
    "ols_hedge",
    "rolling_ols_hedge",
    "theil_sen_hedge",
    "tls_hedge",
]


@dataclass(frozen=True, slots=True)
class OlsHedge:
    """A hedge ratio by least squares.

    ``stderr`` and ``stderr_alpha`` assume independent residuals, or, with ``lags``, are Newey and West's.
    ``stderr_ar1`` allows for residuals that keep ``persistence`` of their deviation from bar to bar, as a spread does.
    """

    alpha: float
    beta: float
    stderr: float
    stderr_alpha: float
    r_squared: float
    residual_std: float
    n: int
    lags: int | None
    stderr_ar1: float
    persistence: float

    def interval(self, level: float = 0.95, *, persistent: bool = True) -> tuple[float, float]:
        """Return the interval that covers beta at ``level``, by the normal distribution. O(1).

        ``persistent`` takes ``stderr_ar1``, else it is ``stderr``.

        >>> x = np.array([0.0, 1.0, 2.0, 3.0])
        >>> fit = ols_hedge(np.array([1.0, 3.0, 5.0, 8.0]), x)
        >>> low, high = fit.interval(persistent=False)
        >>> round(low, 3), round(high, 3)
        (1.961, 2.639)
        """
        if not 0.0 < level < 1.0:
            raise InputError("level: must be between 0 and 1", loc="level")
        reach = NormalDist().inv_cdf(0.5 + level / 2.0) * (self.stderr_ar1 if persistent else self.stderr)
        return self.beta - reach, self.beta + reach


@dataclass(frozen=True, slots=True)
class TlsHedge:
    """A hedge ratio by total least squares: ``noise_x`` is the deviation of the noise that it finds in x."""

    alpha: float
    beta: float
    stderr: float
    noise_x: float
    n: int


def ols_hedge(y: F8, x: F8, *, newey_west: int | Literal["auto"] | None = None) -> OlsHedge:
    r"""Return the hedge ratio of y on x by ordinary least squares, ``fit_window`` over all bars.

    .. math:: y_t = \alpha + \beta x_t + e_t, \qquad \beta = S_{xy} / S_{xx}

    ``stderr`` assumes that e is independent with one variance, as a spread is not. With ``newey_west=L`` it allows for
    correlation up to L bars apart and for changing variance: Bartlett's kernel, no small-sample factor, which is
    statsmodels' ``cov_type="HAC"``; ``"auto"`` takes :math:`L = \lfloor 4 (n/100)^{2/9} \rfloor`. That is short for a
    spread that takes an hour to revert, and so ``stderr_ar1`` is always there too: the exact standard error of the OLS
    estimate where e is an AR(1) independent of x, its coefficient (``persistence``) corrected for its bias, 2 (1 + 3
    phi)/n; 95 % intervals by it covered 93 to 96 % for half-lives of 0 to 60 bars at n = 500 and 1,440.

    NaN in y or x, infinities, a constant series, unequal lengths, fewer than 3 bars and ``newey_west`` that is not a
    whole number from 0 to n - 1 raise ``ValueError`` naming the argument. O(n), O(n L) with ``newey_west``.
    Reference: Newey & West (1987), *Econometrica* 55; Greene (2018), *Econometric Analysis*, ch. 20.

    >>> fit = ols_hedge(np.array([1.0, 3.0, 5.0, 8.0]), np.array([0.0, 1.0, 2.0, 3.0]))
    >>> round(fit.beta, 12), round(fit.stderr, 6), round(fit.r_squared, 6)
    (2.3, 0.173205, 0.988785)
    """
    ys, xs = checked_pair(y, x)
    n = ys.size
    lags = _lags(newey_west, n)
    fit = fit_window(ys, xs, n, n)
    if not np.isfinite(fit.beta):
        raise DegenerateSeries("x: hardly varies", loc="x")
    stderr, stderr_alpha = fit.stderr, fit.stderr_alpha
    deviation = (xs - xs[-1]) - np.mean(xs - xs[-1])
    left = ys - ys[-1] - fit.beta * (xs - xs[-1])
    left -= left.mean()
    square = float(deviation @ deviation)
    if lags is not None:
        stderr = _long_run(deviation * left, lags) / square
        centre = float(np.mean(xs - xs[-1])) + xs[-1]
        stderr_alpha = _long_run(left * (1.0 / n - centre * deviation / square), lags)
    phi, variance = _persistence(left)
    return OlsHedge(
        fit.alpha,
        fit.beta,
        float(stderr),
        float(stderr_alpha),
        # A y that varies by nothing but rounding is explained by nothing.
        fit.r_squared if np.isfinite(fit.r_squared) else 0.0,
        fit.residual_std,
        n,
        lags,
        float(np.sqrt(max(0.0, _quadratic(deviation, phi))) * np.sqrt(variance) / square),
        phi,
    )


def rolling_ols_hedge(y: F8, x: F8, window: int) -> WindowFits:
    """Return least squares of y on x over each window of ``window`` bars, ``fit_window`` at each: the bits of live.

    Columns ``alpha``, ``beta``, ``stderr`` (beta's), ``stderr_alpha``, ``r_squared``, ``residual_std``, a value a bar;
    NaN until the window is full and where x is constant in it, ``r_squared`` also where y is. NaN in y or x,
    infinities, a constant series, unequal lengths, a ``window`` of less than 3 and fewer bars than it raise
    ``ValueError`` naming the argument. O(n · window), below 1 ns a row.

    >>> rolling_ols_hedge(np.array([1.0, 3.0, 5.0, 6.0]), np.array([0.0, 1.0, 2.0, 3.0]), 3).beta.round(9).tolist()
    [nan, nan, 2.0, 1.5]
    """
    try:
        return fit_windows(y, x, window)
    except InputError as error:
        if error.loc == "lookback":
            raise InputError("window: must be a whole number of at least 3", loc="window") from None
        raise


def tls_hedge(y: F8, x: F8, *, noise_ratio: float = 1.0) -> TlsHedge:
    r"""Return the hedge ratio of y on x where both are measured with noise: total least squares, also Deming's.

    .. math:: \beta = \frac{S_{yy} - \delta S_{xx} + \sqrt{(S_{yy} - \delta S_{xx})^2 + 4 \delta S_{xy}^2}}{2 S_{xy}}

    ``noise_ratio`` is :math:`\delta`, the variance of y's noise over that of x's; with 1 the squares of the orthogonal
    distances are least, and the ratio of x on y is the inverse of that of y on x: it treats both legs alike, which OLS
    does not. That makes sense where y and x have the same units, as logs do. ``stderr`` is Fuller's, for independent
    normal noise.

    NaN in y or x, infinities, a constant series, unequal lengths, fewer than 3 bars and a ``noise_ratio`` that is not
    positive raise ``ValueError`` naming the argument, and so do legs without any correlation, for which the line may be
    vertical. O(n). Reference: Fuller (1987), *Measurement Error Models*, sec. 1.3.

    >>> x = np.array([0.0, 1.0, 2.0, 3.0])
    >>> a, b = tls_hedge(np.array([1.0, 3.0, 5.0, 8.0]), x), tls_hedge(x, np.array([1.0, 3.0, 5.0, 8.0]))
    >>> round(a.beta, 6), round(a.beta * b.beta, 12)
    (2.321973, 1.0)
    """
    if not 0.0 < noise_ratio < np.inf:
        raise InputError("noise_ratio: must be positive", loc="noise_ratio")
    ys, xs = checked_pair(y, x)
    n = ys.size
    v, u = ys - ys[-1], xs - xs[-1]
    middle_v, middle_u = float(v.mean()), float(u.mean())
    # In units in which both noises have the variance of x's, and both legs a size of 1.
    root = float(np.sqrt(noise_ratio))
    unit = max(float(np.abs(v - middle_v).max()) / root, float(np.abs(u - middle_u).max()))
    dv, du = (v - middle_v) / root / unit, (u - middle_u) / unit
    yy, xx, xy = float(dv @ dv), float(du @ du), float(dv @ du)
    half = 0.5 * (yy - xx)
    reach = float(np.hypot(half, xy))
    if abs(xy) <= 1e-14 * max(yy, xx) and half >= 0.0:
        raise DegenerateSeries("y: is not correlated with x", loc="y")
    slope = (half + reach) / xy if half > 0.0 else xy / (reach - half)
    noise = max(0.0, float(np.sum((dv - slope * du) ** 2))) / (n - 2.0) / (1.0 + slope * slope)
    signal = max(xx / (n - 1.0) - noise, 1e-16 * xx / (n - 1.0))
    across = (1.0 + slope * slope) * noise
    variance = (signal * across + noise * noise) / (signal * signal) / (n - 1.0)
    beta = slope * root
    alpha = (float(ys[-1]) + middle_v) - beta * (float(xs[-1]) + middle_u)
    return TlsHedge(alpha, beta, float(np.sqrt(variance)) * root, float(np.sqrt(noise)) * unit, n)


def _lags(newey_west: int | Literal["auto"] | None, n: int) -> int | None:
    """Return the lags that are asked for."""
    if newey_west is None:
        return None
    if newey_west == "auto":
        return int(4.0 * (n / 100.0) ** (2.0 / 9.0))
    if isinstance(newey_west, str | bool) or not 0 <= newey_west < n or int(newey_west) != newey_west:
        raise InputError(f"newey_west: must be auto, None or a whole number from 0 to {n - 1}", loc="newey_west")
    return int(newey_west)


def _long_run(g: F8, lags: int) -> float:
    """Return the long-run deviation of the sum of g by Bartlett's kernel, which makes no variance negative."""
    size = float(np.abs(g).max())
    if size == 0.0:
        return 0.0
    g = g / size
    total = float(g @ g)
    for lag in range(1, lags + 1):
        total += 2.0 * (1.0 - lag / (lags + 1.0)) * float(g[lag:] @ g[:-lag])
    return float(np.sqrt(max(0.0, total))) * size


def _persistence(left: F8) -> tuple[float, float]:
    """Return the AR(1) coefficient of residuals, corrected for bias, and the variance that goes with it."""
    n = left.size
    square = float(left[:-1] @ left[:-1])
    if not square > 0.0:
        return 0.0, 0.0
    phi = float(left[1:] @ left[:-1]) / square
    phi = min(max(phi + 2.0 * (1.0 + 3.0 * phi) / n, -1.0 + 1.0 / n), 1.0 - 1.0 / n)
    steps = left[1:] - phi * left[:-1]
    return phi, float(steps @ steps) / max(n - 3.0, 1.0) / (1.0 - phi * phi)


@kernel
def _quadratic(d: F8, phi: float) -> float:  # pragma: no cover - compiled
    """Return the sum over all i and j of ``d[i] · d[j] · phi^|i - j|``, in one pass."""
    total = older = 0.0
    for t in range(d.size):
        total += d[t] * (d[t] + 2.0 * older)
        older = phi * (older + d[t])
    return total
