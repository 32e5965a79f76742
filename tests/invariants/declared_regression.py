"""No look-ahead: the declarations of the kernels of hedge ratio."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pairscope.analytics import ewm_hedge, kalman, pair_window, regression

from .declaring import Declaration, PerBar, Series, Whole


def _kalman(s: Series) -> list[np.ndarray]:
    made = kalman.kalman_hedge(s.y, s.x)
    return [made.alphas, made.betas, made.stderrs, made.innovations, made.innovation_stds]


def _kalman_resumed(s: Series, k: int) -> list[np.ndarray]:
    """The same columns from a state that is copied after ``k`` rows, as the live engine keeps it."""
    state, rows = kalman.kalman_state(), []
    for t in range(s.x.size):
        if t == k:
            state = state.copy()
        kalman.kalman_step(state, s.y[t], s.x[t])
        rows.append(state[: kalman.KALMAN_COUNT].copy())
    alpha, beta, variance, innovation, std = np.array(rows).T
    return [alpha, beta, np.sqrt(variance), innovation, std]


def _ewm_resumed(s: Series, k: int) -> list[np.ndarray]:
    state, rows = ewm_hedge.ewm_ols_state(half_life=9.0), []
    for t in range(s.x.size):
        if t == k:
            state = state.copy()
        ewm_hedge.ewm_ols_step(state, s.y[t], s.x[t])
        rows.append(state[:4].copy())
    return list(np.array(rows).T)


def _spread_under_each_fit(s: Series) -> list[np.ndarray]:
    fits = pair_window.fit_windows(s.y, s.x, 9)
    return list(pair_window.spread_windows(s.y, s.x, 7, alpha=fits.alpha, beta=fits.beta))


_WINDOW = Whole("one window before a given row; the columns made of it are checked")
_ONE_FIT = Whole("one fit of all rows given")
_EWM = PerBar(lambda s: list(regression.ewm_ols_hedge(s.y, s.x, half_life=9.0)), 3, resumed=_ewm_resumed)
_KALMAN = PerBar(_kalman, 3, resumed=_kalman_resumed)
_STATE = Whole("a state or a reading of one, of exactly the rows given; kalman_hedge is checked")

REGRESSION: Mapping[str, Declaration] = {
    "pairscope.analytics.pair_window.fit_windows": PerBar(lambda s: list(pair_window.fit_windows(s.y, s.x, 9)), 9),
    "pairscope.analytics.pair_window.spread_windows": PerBar(_spread_under_each_fit, 9),
    "pairscope.analytics.pair_window.rolling_pair_correlation": PerBar(
        lambda s: pair_window.rolling_pair_correlation(s.y, s.x, 7), 8
    ),
    "pairscope.analytics.pair_window.checked_pair": PerBar(lambda s: list(pair_window.checked_pair(s.y, s.x)), 3),
    **{
        f"pairscope.analytics.pair_window.{name}": _WINDOW
        for name in ("fit_window", "zscore_window", "correlation_window")
    },
    "pairscope.analytics.regression.rolling_ols_hedge": PerBar(
        lambda s: list(regression.rolling_ols_hedge(s.y, s.x, 9)), 9
    ),
    "pairscope.analytics.regression.ewm_ols_hedge": _EWM,
    "pairscope.analytics.ewm_hedge.ewm_ols_hedge": _EWM,
    "pairscope.analytics.regression.kalman_hedge": _KALMAN,
    "pairscope.analytics.kalman.kalman_hedge": _KALMAN,
    **{
        f"pairscope.analytics.{name}": _ONE_FIT
        for name in (
            "regression.ols_hedge",
            "regression.huber_hedge",
            "regression.tls_hedge",
            "regression.theil_sen_hedge",
            "huber.huber_hedge",
            "huber.huber_window",
            "theil_sen.theil_sen_hedge",
        )
    },
    **{
        f"pairscope.analytics.{name}": _STATE
        for name in (
            "kalman.kalman_state",
            "kalman.kalman_step",
            "kalman_filter.kalman_state",
            "kalman_filter.kalman_step",
            "kalman_filter.state_of",
            "ewm_hedge.ewm_ols_state",
            "ewm_hedge.ewm_ols_step",
        )
    },
}
