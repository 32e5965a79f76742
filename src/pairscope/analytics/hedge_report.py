"""The part of a pair's report that names each method's hedge ratio, with what is known of its error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from pairscope.analytics.pair_recursions import AnchoredKalman
from pairscope.analytics.pair_series import least_bars
from pairscope.analytics.pair_window import fit_window
from pairscope.analytics.regression import huber_hedge, ols_hedge, theil_sen_hedge, tls_hedge
from pairscope.analytics.report_parts import Parts
from pairscope.errors import DegenerateSeries, InputError, NotEnoughData
from pairscope.market.pairs import PairSettings
from pairscope.market.ticks import F8

__all__ = ["hedge_parts"]

_Z95: Final = 1.959963984540054
_MOST_SLOPES: Final = 3000
_HEDGE: Final = ("alpha", "beta", "stderr")


def hedge_parts(
    parts: Parts, legs: tuple[F8, F8], kalman: AnchoredKalman | None, settings: PairSettings, step_ms: int
) -> dict[str, dict[str, Any]]:
    """Return each method's hedge ratio with what is known of its error; intervals at 95 %.

    That of OLS allows for a spread that persists from bar to bar; Huber's, TLS's and Theil-Sen's do not. ``kalman`` is
    the filter's reading, None where ``parts`` holds the reason why there is none; ``step_ms`` the length of a bar.
    Each method assumes what its own page says. What has no answer is None, with its reason, never NaN; NaN and
    infinities in a leg are no rows of a pair. O(lookback), Theil-Sen O(lookback²) up to 3,000 bars. References: those
    of ``ols_hedge``, ``huber_hedge``, ``kalman_hedge``, ``tls_hedge`` and ``theil_sen_hedge``.

    >>> parts = Parts()
    >>> parts.reasons["hedge_ratio.kalman"] = "not asked for"
    >>> x = np.arange(60.0)
    >>> ratios = hedge_parts(parts, (1.0 + 2.0 * x + np.sin(x), x), None, PairSettings("A", "B"), 60_000)
    >>> {name: ratio["beta"] and round(ratio["beta"], 2) for name, ratio in ratios.items()}
    {'ols': 2.0, 'huber': 2.0, 'kalman': None, 'tls': 2.0, 'theil_sen': 2.0}
    """
    methods = {
        "ols": lambda: _ols(legs),
        "huber": lambda: _huber(legs),
        "kalman": lambda: _filtered(parts, kalman, settings, step_ms),
        "tls": lambda: _tls(legs),
        "theil_sen": lambda: _theil_sen(legs),
    }
    return {name: parts.group(f"hedge_ratio.{name}", _HEDGE, compute) for name, compute in methods.items()}


def _ols(legs: tuple[F8, F8]) -> Mapping[str, Any]:
    n = legs[0].size
    fit = fit_window(*legs, n, n)
    if not np.isfinite(fit.beta):
        raise DegenerateSeries("x: is constant", loc="x")
    said = {
        "alpha": fit.alpha,
        "beta": fit.beta,
        "stderr": fit.stderr,
        "stderr_alpha": fit.stderr_alpha,
        "r_squared": fit.r_squared,
        "residual_std": fit.residual_std,
    }
    robust = ols_hedge(*legs, newey_west="auto")
    return said | {
        "stderr_ar1": robust.stderr_ar1,
        "persistence": robust.persistence,
        "interval": robust.interval(),
        "newey_west": {"stderr": robust.stderr, "lags": robust.lags},
    }


def _huber(legs: tuple[F8, F8]) -> Mapping[str, Any]:
    fit = huber_hedge(*legs)
    return {
        "alpha": fit.alpha,
        "beta": fit.beta,
        "stderr": fit.stderr,
        "interval": _around(fit.beta, fit.stderr),
        "scale": fit.scale,
        "iterations": fit.iterations,
    }


def _filtered(parts: Parts, kalman: AnchoredKalman | None, settings: PairSettings, step_ms: int) -> Mapping[str, Any]:
    if kalman is None:
        raise DegenerateSeries(parts.reasons["hedge_ratio.kalman"])
    alpha, beta, stderr, innovation, innovation_std = (float(column[-1]) for column in kalman[:5])
    if not np.isfinite(beta):
        need = least_bars(settings.lookback, settings.window)
        raise NotEnoughData("y:", need=need, have=int(kalman.n[-1]))
    return {
        "alpha": alpha,
        "beta": beta,
        "stderr": stderr,
        "interval": _around(beta, stderr),
        "innovation": innovation,
        "innovation_std": innovation_std,
        "since": int(kalman.since[-1]) * step_ms,
        "n": int(kalman.n[-1]),
    }


def _tls(legs: tuple[F8, F8]) -> Mapping[str, Any]:
    fit = tls_hedge(*legs)
    return {
        "alpha": fit.alpha,
        "beta": fit.beta,
        "stderr": fit.stderr,
        "interval": _around(fit.beta, fit.stderr),
    }


def _theil_sen(legs: tuple[F8, F8]) -> Mapping[str, Any]:
    n = legs[0].size
    if n > _MOST_SLOPES:
        raise InputError(f"is computed of at most {_MOST_SLOPES} bars, has {n}: its time grows with their square")
    fit = theil_sen_hedge(*legs)
    return {"alpha": fit.alpha, "beta": fit.beta, "stderr": fit.stderr, "interval": [fit.low, fit.high]}


def _around(value: float, stderr: float) -> list[float | None]:
    """Return the 95 % interval of an estimate that is normally distributed."""
    return [value - _Z95 * stderr, value + _Z95 * stderr]
