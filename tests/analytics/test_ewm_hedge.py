"""Exponentially weighted OLS as a state: it follows, forgets, and says NaN while x stands still for long."""

from __future__ import annotations

import numpy as np
import pytest

from pairscope.analytics.ewm_hedge import (
    EWM_ALPHA,
    EWM_BETA,
    EWM_R_SQUARED,
    EWM_STATE,
    EWM_STDERR,
    ewm_ols_hedge,
    ewm_ols_state,
    ewm_ols_step,
)
from pairscope.analytics.regression import ols_hedge


def pair(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = 100.0 + np.cumsum(rng.standard_normal(n))
    return 2.0 + 0.7 * x + rng.standard_normal(n), x


def test_with_a_half_life_beyond_the_series_it_is_ols() -> None:
    y, x = pair()
    made, fit = ewm_ols_hedge(y, x, half_life=1e12), ols_hedge(y, x)
    assert made.beta[-1] == pytest.approx(fit.beta, rel=1e-8)
    assert made.stderr[-1] == pytest.approx(fit.stderr, rel=1e-8)
    assert made.r_squared[-1] == pytest.approx(fit.r_squared, rel=1e-8)


def test_a_new_ratio_is_believed_by_half_after_a_half_life() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal(20_000)
    y = np.where(np.arange(20_000) < 10_000, 1.0, 2.0) * x
    beta = ewm_ols_hedge(y, x, half_life=500.0).beta
    assert beta[9_999] == pytest.approx(1.0)
    assert beta[10_499] == pytest.approx(1.5, abs=0.05)
    assert beta[-1] == pytest.approx(2.0, abs=1e-4)


def test_a_leg_that_has_stood_still_for_long_gives_nan_until_it_moves() -> None:
    y, x = pair(3000)
    x[300:2000] = x[300]
    made = ewm_ols_hedge(y, x, half_life=10.0)
    assert np.isfinite(made.beta[2:400]).all()
    assert np.isnan(made.beta[1500:2000]).all()
    assert np.isfinite(made.beta[2010:]).all()
    assert np.isfinite(made.stderr[2010:]).all()


def test_the_stated_error_is_how_much_the_estimate_varies() -> None:
    rng = np.random.default_rng(3)
    x = np.cumsum(rng.standard_normal(200))
    ends = []
    for _ in range(500):
        made = ewm_ols_hedge(0.7 * x + rng.standard_normal(200), x, half_life=20.0)
        ends.append((made.beta[-1], made.stderr[-1]))
    beta, stderr = np.array(ends).T
    assert np.sqrt(np.mean(stderr**2)) == pytest.approx(beta.std(), rel=0.1)


def test_a_state_is_its_readings_and_a_row_without_a_price_changes_nothing() -> None:
    y, x = pair(50)
    state, made = ewm_ols_state(half_life=15.0), ewm_ols_hedge(y, x, half_life=15.0)
    assert state.size == EWM_STATE
    for t in range(50):
        ewm_ols_step(state, y[t], x[t])
        before = state.copy()
        ewm_ols_step(state, np.nan, x[t])
        ewm_ols_step(state, y[t], np.inf)
        np.testing.assert_array_equal(state, before)
    found = [state[i] for i in (EWM_ALPHA, EWM_BETA, EWM_STDERR, EWM_R_SQUARED)]
    assert found == [column[-1] for column in made]
    assert np.isnan(made.beta[:2]).all()
    assert np.isfinite(made.beta[2:]).all()
