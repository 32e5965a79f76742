"""Hedge ratios that slide: close enough to those from scratch to count surrogate pairs by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pairscope.analytics.backtest import causal_hedge
from pairscope.analytics.huber import HUBER_MOST, HUBER_TOLERANCE, HUBER_TUNING, huber_window
from pairscope.research.pair_bars import PairBars
from pairscope.research.sliding_hedge import sliding_huber, sliding_ols


def test_least_squares_that_slide_are_those_from_scratch_in_logs_and_in_prices(
    pair_of: Callable[..., PairBars],
) -> None:
    bars = pair_of(2000, 1)
    for y, x in ((np.log(bars.y.close), np.log(bars.x.close)), (1e5 + bars.y.close, 3e5 + bars.x.close)):
        exact, slid = causal_hedge(y, x, "ols", 120), sliding_ols(y, x, 120)
        np.testing.assert_allclose(slid.beta, exact.beta, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(slid.alpha, exact.alpha, rtol=1e-6, atol=1e-6)


def test_least_squares_say_nothing_where_x_stands_still() -> None:
    x = np.concatenate((np.arange(30.0), np.full(40, 29.0)))
    slid = sliding_ols(2.0 * x, x, 20)
    assert np.isnan(slid.beta[:19]).all()
    assert np.isfinite(slid.beta[19:48]).all()
    assert np.isnan(slid.beta[52:]).all()


def test_huber_that_slides_stays_within_its_own_error(pair_of: Callable[..., PairBars]) -> None:
    """On walks, the hardest case: residuals are trends, and a window is nothing like a sample."""
    bars = pair_of(1500, 2)
    y, x = np.log(bars.y.close), np.log(bars.x.close)
    exact, slid = causal_hedge(y, x, "huber", 300), sliding_huber(y, x, 300)
    there = np.isfinite(exact.beta)
    error = np.array(
        [
            huber_window(y, x, t + 1, 300, HUBER_TUNING, HUBER_TOLERANCE, HUBER_MOST).stderr
            for t in np.flatnonzero(there)[::50]
        ]
    )
    gap = np.abs(exact.beta - slid.beta)[there] / np.median(error)
    assert np.median(gap) < 0.1
    assert np.quantile(gap, 0.99) < 1.0
    assert np.isnan(slid.beta[:299]).all()


def test_huber_from_scratch_is_taken_where_half_of_the_rows_lie_on_a_line() -> None:
    x = np.arange(60.0) % 7
    y = 1.0 + 2.0 * x
    y[40] += 5.0
    assert np.allclose(sliding_huber(y, x, 20).beta[19:], 2.0, atol=1e-9)
