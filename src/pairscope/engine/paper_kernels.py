"""One closed bar of a paper position, compiled: its hedge ratio and z-score of that moment, and the backtest's step."""

from __future__ import annotations

from typing import Final

import numpy as np

from pairscope.analytics.huber import HUBER_MOST, HUBER_TOLERANCE, HUBER_TUNING, huber_window
from pairscope.analytics.kalman import KALMAN_ALPHA, KALMAN_BETA, KALMAN_COUNT, kalman_state, kalman_step
from pairscope.analytics.pair_positions import position_state, position_step
from pairscope.analytics.pair_terms import PairBar, PairTerms
from pairscope.analytics.pair_window import fit_window, zscore_window
from pairscope.analytics.signals import SignalRule
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = ["JUDGED", "METHODS", "paper_step", "warm_filter", "warm_up"]

METHODS: Final = ("ols", "huber", "kalman", "fixed")
_OLS: Final = 0
_HUBER: Final = 1
_KALMAN: Final = 2
JUDGED: Final = 3
"""What a step writes of a bar: alpha, beta, z-score."""


@kernel
def warm_filter(state: F8, y: F8, x: F8) -> None:  # pragma: no cover - compiled
    """Take a filter through rows."""
    for t in range(x.size):
        kalman_step(state, y[t], x[t])


@kernel
def paper_step(
    state: F8,
    kalman: F8,
    spaced_y: F8,
    spaced_x: F8,
    end: int,
    method: int,
    fixed: float,
    lookback: int,
    window: int,
    rule: SignalRule,
    terms: PairTerms,
    row: F8,
    judged: F8,
) -> bool:  # pragma: no cover - compiled
    """Judge the bar before row ``end`` and take it into a position's state; return whether that closed a position.

    ``row`` has both closes, both opens and both ranges; ``judged`` is written. As ``causal_hedge`` and
    ``backtest_pair`` do it for all bars: NaN where a hedge ratio is not known yet.
    """
    alpha = beta = np.nan
    if method == _OLS:
        fit = fit_window(spaced_y, spaced_x, end, lookback)
        alpha, beta = fit.alpha, fit.beta
    elif method == _HUBER:
        if end >= lookback:
            robust = huber_window(spaced_y, spaced_x, end, lookback, HUBER_TUNING, HUBER_TOLERANCE, HUBER_MOST)
            if robust.converged > 0.0:
                alpha, beta = robust.alpha, robust.beta
    elif method == _KALMAN:
        kalman_step(kalman, spaced_y[end - 1], spaced_x[end - 1])
        if kalman[KALMAN_COUNT] >= lookback:
            alpha, beta = kalman[KALMAN_ALPHA], kalman[KALMAN_BETA]
    else:
        alpha, beta = 0.0, fixed
    zscore = zscore_window(spaced_y, spaced_x, end, window, alpha, beta).zscore
    judged[0], judged[1], judged[2] = alpha, beta, zscore
    fill_y, fill_x = row[0], row[1]
    if terms.opens:
        fill_y, fill_x = row[2], row[3]
    bar = PairBar(row[0], row[1], fill_y, fill_x, row[4], row[5], 0.0, 0.0, alpha, beta, zscore, True)
    return position_step(state, bar, spaced_y, spaced_x, end, window, rule, terms, False)


def warm_up() -> None:
    """Compile the kernels of paper positions on a made-up one, so that no bar waits for it. Seconds at first."""
    rows, judged, kalman = np.linspace(4.0, 5.0, 64), np.empty(JUDGED), kalman_state()
    terms = PairTerms(1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, np.inf, False, False, True, False)
    warm_filter(kalman, rows, rows)
    for method in range(len(METHODS)):
        paper_step(
            position_state(1.0),
            kalman,
            rows,
            rows,
            64,
            method,
            1.0,
            60,
            20,
            SignalRule(2.0, 0.5, np.inf, np.inf, 0.0),
            terms,
            np.ones(6),
            judged,
        )
