"""Does a series wander or revert: the Dickey-Fuller test, whose null is a unit root, and KPSS, whose null is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from pairscope.analytics.dickey_fuller import AutoLag, dickey_fuller, even_scale, trend_columns
from pairscope.analytics.householder import least_squares
from pairscope.analytics.mackinnon import Trend, mackinnon_critical_values, mackinnon_pvalues
from pairscope.analytics.price_stats import checked
from pairscope.errors import DegenerateSeries, InputError
from pairscope.market.ticks import F8

__all__ = ["AdfResult", "KpssResult", "StationaryAround", "adf_test", "kpss_test"]

StationaryAround = Literal["c", "ct"]
"""What a series is stationary around under the null of KPSS: a level, or a line."""

_AROUND: Final[Mapping[str, str]] = {
    "n": "",
    "c": " around a level",
    "ct": " around a line",
    "ctt": " around a parabola",
}

# Statistics at 10, 5, 2.5 and 1 %: Kwiatkowski et al. (1992), table 1.
_KPSS_LEVELS: Final = (0.10, 0.05, 0.025, 0.01)
_KPSS: Final[Mapping[str, tuple[float, ...]]] = {
    "c": (0.347, 0.463, 0.574, 0.739),
    "ct": (0.119, 0.146, 0.176, 0.216),
}


@dataclass(frozen=True, slots=True)
class AdfResult:
    """The outcome of an augmented Dickey-Fuller test.

    ``lags`` lagged changes, ``nobs`` observations of the final regression, ``critical_values`` by level ("1%", "5%",
    "10%"), ``null`` what a small p-value speaks against.

    >>> AdfResult(-3.1, 0.03, 1, 98, {"5%": -2.9}, "c", "x has a unit root").rejects(0.05)
    True
    """

    statistic: float
    pvalue: float
    lags: int
    nobs: int
    critical_values: Mapping[str, float]
    regression: Trend
    null: str

    def rejects(self, level: float = 0.05) -> bool:
        """Whether the p-value is below ``level``: the series is taken for stationary."""
        return self.pvalue < level


@dataclass(frozen=True, slots=True)
class KpssResult:
    """The outcome of a KPSS test.

    ``pvalue`` is interpolated in a table that goes from 0.01 to 0.10; ``is_bound`` says that it lies beyond, so that
    0.01 means at most and 0.10 at least. ``lags`` autocovariances make the long-run variance, ``critical_values`` by
    level ("10%", "5%", "2.5%", "1%"), ``null`` what a small p-value speaks against.

    >>> KpssResult(0.5, 0.0417, False, 3, 100, {"5%": 0.463}, "c", "x is stationary around a level").rejects(0.05)
    True
    """

    statistic: float
    pvalue: float
    is_bound: bool
    lags: int
    nobs: int
    critical_values: Mapping[str, float]
    regression: StationaryAround
    null: str

    def rejects(self, level: float = 0.05) -> bool:
        """Whether the statistic is above the critical value of ``level`` (0.01 to 0.10): the series has a unit root."""
        if not 0.01 <= level <= 0.10:
            raise InputError("level: the table goes from 0.01 to 0.10", loc="level")
        critical = np.interp(level, _KPSS_LEVELS[::-1], _KPSS[self.regression][::-1])
        return bool(self.statistic > critical)


def adf_test(
    x: F8, *, regression: Trend = "c", maxlag: int | None = None, autolag: AutoLag | None = "aic"
) -> AdfResult:
    r"""Test whether a series has a unit root: shocks stay for good, nothing pulls it back.

    .. math:: \Delta x_t = d_t + \gamma x_{t-1} + \sum_{i=1}^{k} \delta_i \Delta x_{t-i} + \varepsilon_t, \qquad
        H_0: \gamma = 0, \quad H_1: \gamma < 0

    The statistic is the t-ratio of :math:`\gamma`, judged by MacKinnon's tables. ``regression`` is the part
    :math:`d_t`: n nothing, c a constant, ct a line, ctt a parabola. ``autolag`` (aic, bic, t-stat) chooses k up to
    ``maxlag``, None takes ``maxlag`` itself; the default is :math:`\lceil 12 (n/100)^{1/4} \rceil`. Equal to
    ``statsmodels.tsa.stattools.adfuller``, and holds where a level far from zero costs that its digits. O(n maxlag²).
    NaN, infinities, a constant or perfectly predictable series and too few values raise ``ValueError``.
    Reference: Said & Dickey (1984), Biometrika 71; MacKinnon (1994, 2010).

    >>> test = adf_test(np.sin(np.arange(200.0) ** 1.5))
    >>> test.rejects(0.01), test.lags, test.nobs
    (True, 0, 199)
    """
    fit = dickey_fuller(x, regression=regression, maxlag=maxlag, autolag=autolag)
    return AdfResult(
        statistic=fit.statistic,
        pvalue=float(mackinnon_pvalues(np.array(fit.statistic), regression)),
        lags=fit.lags,
        nobs=fit.nobs,
        critical_values=mackinnon_critical_values(regression, nobs=fit.nobs),
        regression=regression,
        null=f"x has a unit root: it does not revert{_AROUND[regression]}",
    )


def kpss_test(x: F8, *, regression: StationaryAround = "c", lags: int | Literal["auto"] = "auto") -> KpssResult:
    r"""Test whether a series is stationary, the null being that it is: the cross-check of :func:`adf_test`.

    .. math:: \eta = \frac{\sum_t S_t^2}{n^2 \hat\sigma^2}, \qquad S_t = \sum_{s \le t} e_s, \qquad
        \hat\sigma^2 = \frac1n \Big(\sum e_t^2 + 2 \sum_{i=1}^{k} \big(1 - \tfrac{i}{k+1}\big) \sum_t e_t e_{t-i}\Big)

    e are the deviations from the mean (``regression`` c) or from a fitted line (ct). ``lags`` is k, chosen by "auto"
    from the autocovariances (Hobijn, Franses & Ooms). The p-value is read off a table, see :class:`KpssResult`. Equal
    to ``statsmodels.tsa.stattools.kpss``. O(n lags). NaN, infinities, a constant series, a perfect line and too few
    values raise ``ValueError``.
    Reference: Kwiatkowski, Phillips, Schmidt & Shin (1992), Journal of Econometrics 54; Hobijn, Franses & Ooms (2004),
    Statistica Neerlandica 58.

    >>> test = kpss_test(np.arange(50.0) ** 1.1)
    >>> test.rejects(0.05), test.pvalue, test.is_bound
    (True, 0.01, True)
    """
    if regression not in get_args(StationaryAround):
        raise InputError("regression: must be c or ct", loc="regression")
    trends = len(regression)
    series = even_scale(checked(x, "x", need=trends + 2))[0]
    n = series.size
    deviation = series - series.mean()
    fitted = least_squares(trend_columns(n, trends), deviation)
    spread = float(deviation @ deviation)
    deviation = deviation if fitted is None else fitted[1]
    if float(deviation @ deviation) <= 1e-24 * spread:
        raise DegenerateSeries("x: is a straight line", loc="x")
    used = _kpss_lags(deviation) if lags == "auto" else _whole(lags, n - 1)
    variance = float(deviation @ deviation)
    for lag in range(1, used + 1):
        variance += 2.0 * (1.0 - lag / (used + 1.0)) * float(deviation[lag:] @ deviation[:-lag])
    if variance <= 1e-14 * float(deviation @ deviation):
        raise DegenerateSeries("x: has no long-run variance, its swings cancel exactly", loc="x")
    statistic = float((np.cumsum(deviation) ** 2).sum()) / (n * variance)
    table = _KPSS[regression]
    return KpssResult(
        statistic=statistic,
        pvalue=float(np.interp(statistic, table, _KPSS_LEVELS)),
        is_bound=not table[0] < statistic < table[-1],
        lags=used,
        nobs=n,
        critical_values=dict(zip(("10%", "5%", "2.5%", "1%"), table, strict=True)),
        regression=regression,
        null=f"x is stationary{_AROUND[regression]}",
    )


def _whole(lags: object, most: int) -> int:
    """Return a number of lags; ``InputError`` where it is none."""
    if isinstance(lags, bool) or not isinstance(lags, int | np.integer) or not 0 <= lags <= most:
        raise InputError(f'lags: must be "auto" or a whole number from 0 to {most}', loc="lags")
    return int(lags)


def _kpss_lags(deviation: F8) -> int:
    """Return how many autocovariances the long-run variance should take, by those of the first n^(2/9) lags."""
    n = deviation.size
    level = float(deviation @ deviation)
    slope = 0.0
    for lag in range(1, int(n ** (2.0 / 9.0)) + 1):
        product = 2.0 * float(deviation[lag:] @ deviation[:-lag])
        level += product
        slope += lag * product
    if level == 0.0:
        return n - 1
    wanted = 1.1447 * ((slope / level) ** 2) ** (1.0 / 3.0) * n ** (1.0 / 3.0)
    return int(min(wanted, n - 1))
