"""Rolling statistics against pandas, SciPy and exact fractions, and their stability over ten million observations."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from numpy.lib.stride_tricks import sliding_window_view

from pairscope.analytics.moments import (
    correlation_of,
    covariance_of,
    extend,
    mean_of,
    moments,
    pair_moments,
    slope_of,
    std_of,
)
from pairscope.analytics.price_stats import realized_volatility, rolling_stats, rolling_sum, vwap

LEVELS = {"price": (60_000.0, 0.1), "huge": (1e8, 0.1), "unit": (0.0, 1.0), "tiny": (1e-5, 1e-8)}


def exact_std(values: np.ndarray) -> float:
    exact = [Fraction(float(x)) for x in values]
    mean = sum(exact) / len(exact)
    return float(sum((x - mean) ** 2 for x in exact) / (len(exact) - 1)) ** 0.5


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("window", [2, 7, 60, 500])
def test_rolling_statistics_equal_pandas_on_the_series_without_its_offset(level: str, window: int) -> None:
    offset, scale = LEVELS[level]
    x = offset + scale * np.random.default_rng(window).standard_normal(2000)
    stats, moved = rolling_stats(x, window), sliding_window_view(x - offset, window)
    full = slice(window - 1, None)
    mean, std = moved.mean(axis=1), moved.std(axis=1, ddof=1)
    assert all(np.isnan(column[: window - 1]).all() for column in stats)
    np.testing.assert_allclose(stats.mean[full] - offset, mean, atol=4 * np.spacing(offset + scale) + 1e-15 * scale)
    np.testing.assert_allclose(stats.std[full], std, rtol=1e-9)
    np.testing.assert_allclose(stats.zscore[full], ((x - offset)[full] - mean) / std, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(stats.min[full], pd.Series(x).rolling(window).min()[full])
    np.testing.assert_array_equal(stats.max[full], pd.Series(x).rolling(window).max()[full])


@pytest.mark.parametrize("level", ["price", "huge"])
def test_nothing_drifts_over_ten_million_observations(level: str) -> None:
    offset, scale = LEVELS[level]
    x = offset + scale * np.random.default_rng(3).standard_normal(10_000_000)
    stats, window = rolling_stats(x, 240), 240
    for at in (10_000_000 - 1, 9_999_840 - 1, 9_999_840, 7_654_321):
        assert stats.std[at] == pytest.approx(exact_std(x[at - window + 1 : at + 1]), rel=1e-9)
        assert stats.mean[at] == pytest.approx(float(np.mean(x[at - window + 1 : at + 1] - offset)) + offset, rel=1e-15)
    grown = extend(moments(x[:1_234_567]), x[1_234_567:])
    assert std_of(grown) == pytest.approx(float(np.std(x - offset, ddof=1)), rel=1e-9)
    assert mean_of(grown) - offset == pytest.approx(float(np.mean(x - offset)), abs=2e-8)


def test_a_jump_leaves_no_trace_once_it_has_left_the_window() -> None:
    x = np.concatenate([np.full(50, 1e12), 1.0 + 0.001 * np.random.default_rng(0).standard_normal(200)])
    stats = rolling_stats(x, 30)
    assert stats.std[100] == pytest.approx(exact_std(x[71:101]), rel=1e-12)
    assert rolling_sum(x, 30)[100] == pytest.approx(float(sum(map(Fraction, x[71:101].tolist()))), rel=1e-15)


def test_realised_volatility_equals_its_definition_in_pandas() -> None:
    x = 100 * np.exp(np.cumsum(np.random.default_rng(5).standard_normal(3000) * 1e-3))
    squares = np.log(pd.Series(x)).diff() ** 2
    np.testing.assert_allclose(realized_volatility(x, 60), np.sqrt(squares.rolling(60).mean()), rtol=1e-10)
    annual = realized_volatility(x, periods_per_year=525_600)
    assert annual == pytest.approx(float(np.sqrt(525_600 * squares.mean())), rel=1e-12)
    assert annual == pytest.approx(1e-3 * 525_600**0.5, rel=0.05)


def test_vwap_equals_its_definition_in_pandas() -> None:
    rng = np.random.default_rng(6)
    price, volume = 100 + rng.random(500), rng.random(500)
    frame = pd.DataFrame({"quote": price * volume, "base": volume})
    assert vwap(price, volume) == pytest.approx(np.average(price, weights=volume), rel=1e-13)
    rolling = frame.rolling(20).sum()
    np.testing.assert_allclose(vwap(price, volume, 20), rolling["quote"] / rolling["base"], rtol=1e-10)


def test_joint_moments_equal_scipy_s_regression_and_correlation() -> None:
    rng = np.random.default_rng(8)
    x = 60_000 + rng.standard_normal(1000)
    y = 3_000 + 0.05 * x + 0.01 * rng.standard_normal(1000)
    state, fit = pair_moments(x, y), scipy.stats.linregress(x - 60_000, y - 6_000)
    assert slope_of(state) == pytest.approx(fit.slope, rel=1e-10)
    assert correlation_of(state) == pytest.approx(fit.rvalue, rel=1e-10)
    assert covariance_of(state) == pytest.approx(np.cov(x - 60_000, y - 6_000)[0, 1], rel=1e-10)
