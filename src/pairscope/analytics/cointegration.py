"""Engle and Granger's test of a pair: is what one leg leaves of the other stationary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from pairscope.analytics.dickey_fuller import AutoLag, dickey_fuller, even_scale, trend_columns
from pairscope.analytics.householder import least_squares
from pairscope.analytics.mackinnon import mackinnon_critical_values, mackinnon_pvalues
from pairscope.analytics.price_stats import checked
from pairscope.errors import DegenerateSeries, InputError
from pairscope.market.ticks import F8

__all__ = ["CointegrationTrend", "EngleGrangerResult", "engle_granger"]

CointegrationTrend = Literal["c", "ct", "ctt"]
"""Deterministic part of a cointegrating regression: a constant, with a line, with a parabola as well."""

_COLLINEAR: Final = 1.0 - 100.0 * math.sqrt(np.finfo(np.float64).eps)
"""R² of the cointegrating regression from which its residual is too small to be tested (1 - 1.5e-6)."""


@dataclass(frozen=True, slots=True)
class EngleGrangerResult:
    """The outcome of an Engle-Granger test of y on x.

    ``alpha`` and ``beta`` are those of the cointegrating regression, ``drift`` its coefficients of t and t² for
    t = 1 … n (empty with a constant alone), ``r_squared`` the share of y's variance that it explains; ``lags`` lagged
    changes and ``nobs`` observations of the regression on its residual; ``critical_values`` by level ("1%", "5%",
    "10%"); ``null`` what a small p-value speaks against.

    >>> EngleGrangerResult(-4.1, 0.005, 0, 99, {"5%": -3.4}, "c", 1.0, 0.5, (), 0.9, "not cointegrated").rejects(0.01)
    True
    """

    statistic: float
    pvalue: float
    lags: int
    nobs: int
    critical_values: Mapping[str, float]
    trend: CointegrationTrend
    alpha: float
    beta: float
    drift: tuple[float, ...]
    r_squared: float
    null: str

    def rejects(self, level: float = 0.05) -> bool:
        """Whether the p-value is below ``level``: the pair is taken for cointegrated."""
        return self.pvalue < level


def engle_granger(
    y: F8,
    x: F8,
    *,
    trend: CointegrationTrend = "c",
    maxlag: int | None = None,
    autolag: AutoLag | None = "aic",
) -> EngleGrangerResult:
    r"""Test whether two series are cointegrated: each wanders, but some y - beta x does not.

    .. math:: y_t = \alpha + \beta x_t + [d_t] + u_t, \qquad
        \Delta u_t = \gamma u_{t-1} + \sum_{i=1}^{k} \delta_i \Delta u_{t-i} + \varepsilon_t, \qquad
        H_0: \gamma = 0 \text{ (not cointegrated)}

    Assumes that y and x are integrated of order one, and tells y on x from x on y. Because beta is fitted so as to
    make u small, the t-ratio is judged by MacKinnon's tables for two series, not by those of Dickey and Fuller.
    ``trend`` adds a line (ct) or a parabola (ctt) to the first regression; ``maxlag`` and ``autolag`` are those of
    :func:`~pairscope.analytics.unit_root.adf_test`. Equal to ``statsmodels.tsa.stattools.coint``; where that answers
    minus infinity (R² from 1 - 1.5e-6 on) a ``DegenerateSeries`` is raised. O(n maxlag²). NaN, infinities, constant or
    collinear series, unequal lengths and too few values raise ``ValueError`` naming the argument.
    Reference: Engle & Granger (1987), Econometrica 55; MacKinnon (1994, 2010).

    >>> rng = np.random.default_rng(0)
    >>> x = np.cumsum(rng.standard_normal(500))
    >>> test = engle_granger(1.0 + 2.0 * x + rng.standard_normal(500), x)
    >>> test.rejects(0.01), round(test.beta, 2)
    (True, 2.0)
    """
    if trend not in get_args(CointegrationTrend):
        raise InputError(f"trend: must be one of {', '.join(get_args(CointegrationTrend))}", loc="trend")
    trends = len(trend)
    left = checked(y, "y", need=trends + 3)
    right = checked(x, "x", need=trends + 3)
    if left.size != right.size:
        raise InputError(f"x: has {right.size} values, y has {left.size}", loc="x")
    (left, power_y), (right, power_x) = even_scale(left), even_scale(right)
    mean_y, mean_x = float(left.mean()), float(right.mean())
    left, right = left - mean_y, right - mean_x
    columns = np.column_stack([trend_columns(left.size, trends), right])
    fitted = least_squares(columns, left)
    if fitted is None:
        raise DegenerateSeries("x: is nothing but its trend", loc="x")
    slopes, residual = fitted
    r_squared = 1.0 - float(residual @ residual) / float(left @ left)
    if r_squared >= _COLLINEAR:
        raise DegenerateSeries(f"x: is collinear with y (R² {r_squared:.9f}), nothing is left to test", loc="x")
    fit = dickey_fuller(residual, regression="n", maxlag=maxlag, autolag=autolag, name="y")
    level, *drift = _in_bars(slopes[:-1], left.size)
    level += mean_y - slopes[-1] * mean_x
    with np.errstate(over="ignore"):
        alpha, beta = float(np.ldexp(level, power_y)), float(np.ldexp(slopes[-1], power_y - power_x))
        slants = tuple(float(np.ldexp(slope, power_y)) for slope in drift)
    if not np.isfinite([alpha, beta, *slants]).all():
        raise DegenerateSeries("x: is so many orders of magnitude from y that beta is beyond float64", loc="x")
    return EngleGrangerResult(
        statistic=fit.statistic,
        pvalue=float(mackinnon_pvalues(np.array(fit.statistic), trend, series=2)),
        lags=fit.lags,
        nobs=fit.nobs,
        critical_values=mackinnon_critical_values(trend, series=2, nobs=left.size - 1),
        trend=trend,
        alpha=alpha,
        beta=beta,
        drift=slants,
        r_squared=r_squared,
        null="y and x are not cointegrated: what x leaves of y has a unit root",
    )


def _in_bars(coefficients: F8, n: int) -> list[float]:
    """Return a polynomial in a time from -1 to 1 as one in t = 1 … n, the constant first."""
    scale, origin = 2.0 / (n - 1.0), -(n + 1.0) / (n - 1.0)
    a, b, c = (*coefficients.tolist(), 0.0, 0.0)[:3]
    powers = [a + origin * (b + origin * c), scale * (b + 2.0 * origin * c), scale * scale * c]
    return powers[: coefficients.size]
