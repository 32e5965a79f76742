"""What the tests say of one series, side by side: unit root, stationarity, half-life, memory, Ornstein-Uhlenbeck."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from pairscope.analytics.mean_reversion import half_life, half_life_interval, hurst_exponent, variance_ratio
from pairscope.analytics.ornstein_uhlenbeck import ou_fit
from pairscope.analytics.report_parts import Parts
from pairscope.analytics.statistical_tests import adf_test, kpss_test
from pairscope.market.ticks import F8

__all__ = ["reversion_parts", "stationarity_parts"]

_LEVEL: Final = 0.05
_TEST: Final = ("statistic", "pvalue", "lags", "nobs", "critical_values", "stationary")
_RATIO_LAGS: Final = (2, 4, 8, 16)
_OU: Final = ("theta", "mu", "sigma", "stationary_std", "half_life")


def stationarity_parts(parts: Parts, x: F8) -> dict[str, Any]:
    """Return ``adf`` (null: unit root) and ``kpss`` (null: stationary) of a series, both around a constant.

    ``stationary`` is the verdict at 5 %: ADF rejects, KPSS does not. What has no answer (NaN, a constant series, too
    few values) is None with its reason. O(n · lags²).

    >>> import numpy as np
    >>> found = stationarity_parts(Parts(), np.sin(np.arange(200.0) ** 1.5))
    >>> found["adf"]["stationary"], found["kpss"]["stationary"]
    (True, True)
    >>> stationarity_parts(Parts(), np.ones(5))["adf"]["reason"]
    'x: is constant'
    """

    return {"adf": parts.group("adf", _TEST, lambda: _adf(x)), "kpss": parts.group("kpss", _TEST, lambda: _kpss(x))}


def reversion_parts(parts: Parts, path: str, x: F8) -> dict[str, Any]:
    """Return how a series comes back to its mean: half-life with its interval, Hurst exponent, variance ratio, OU.

    Times are in bars. The variance ratio is that of the longest lag of 2, 4, 8, 16 bars that the series allows in
    ``ratio``, and of each in ``lags`` and ``ratios``. ``path`` stands before the names in the reasons. What has no
    answer (NaN, a constant series, too few values, no reversion) is None with its reason. O(n).

    >>> import numpy as np
    >>> found = reversion_parts(Parts(), "", np.convolve(np.sin(np.arange(300.0) ** 2), 0.9 ** np.arange(60))[:300])
    >>> found["half_life"] < 20, found["hurst"] < 0.5
    (True, True)
    """
    halves = parts.result(f"{path}half_life", lambda: half_life(x))
    if halves is not None and not math.isfinite(halves):
        parts.reasons[f"{path}half_life"] = (
            "does not revert: a deviation is not expected to shrink"
            if halves > 0.0
            else "turns around from bar to bar: a deviation changes sign each time"
        )

    return {
        "half_life": halves if halves is not None and math.isfinite(halves) else None,
        "half_life_interval": parts.group(f"{path}half_life_interval", ("low", "high"), lambda: _interval(x)),
        "hurst": parts.number(f"{path}hurst", lambda: hurst_exponent(x)),
        "variance_ratio": parts.group(f"{path}variance_ratio", ("ratio", "statistic", "pvalue"), lambda: _ratios(x)),
        "ou": parts.group(f"{path}ou", _OU, lambda: _ou(x)),
    }


def _adf(x: F8) -> Mapping[str, Any]:
    """Return what the Dickey-Fuller test says."""
    test = adf_test(x)
    return {
        "statistic": test.statistic,
        "pvalue": test.pvalue,
        "lags": test.lags,
        "nobs": test.nobs,
        "critical_values": test.critical_values,
        "stationary": test.rejects(_LEVEL),
        "null": test.null,
    }


def _kpss(x: F8) -> Mapping[str, Any]:
    """Return what KPSS says."""
    test = kpss_test(x)
    return {
        "statistic": test.statistic,
        "pvalue": test.pvalue,
        "is_bound": test.is_bound,
        "lags": test.lags,
        "nobs": test.nobs,
        "critical_values": test.critical_values,
        "stationary": not test.rejects(_LEVEL),
        "null": test.null,
    }


def _interval(x: F8) -> Mapping[str, Any]:
    """Return the interval of the half-life; an end that is not bounded is infinite."""
    found = half_life_interval(x, level=1.0 - _LEVEL)
    return {
        "low": found.low,
        "high": found.high,
        "level": found.level,
        "unbiased": found.unbiased,
        "unbounded": math.isinf(found.high),
    }


def _ratios(x: F8) -> Mapping[str, Any]:
    """Return the variance ratios, the longest lag's first."""
    found = variance_ratio(x, _RATIO_LAGS)
    return {
        "ratio": found.ratio[-1],
        "statistic": found.statistic[-1],
        "pvalue": found.pvalue[-1],
        "lags": found.lags,
        "ratios": found.ratio,
        "pvalues": found.pvalue,
    }


def _ou(x: F8) -> Mapping[str, Any]:
    """Return the Ornstein-Uhlenbeck process that is most likely."""
    found = ou_fit(x)
    return found._asdict()
