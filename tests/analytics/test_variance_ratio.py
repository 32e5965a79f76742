"""The variance ratio: its sign, its rate of false alarms, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from pairscope.analytics.variance_ratio import variance_ratio
from pairscope.errors import DegenerateSeries


def test_reversion_is_below_one_and_a_trend_above() -> None:
    rng = np.random.default_rng(1)
    reverting = variance_ratio(lfilter([1], [1, -0.7], rng.standard_normal(1000)))
    trending = variance_ratio(np.cumsum(lfilter([1], [1, -0.4], rng.standard_normal(1000))))
    assert (reverting.ratio < 0.9).all() and (reverting.statistic < -3).all() and (reverting.pvalue < 0.01).all()
    assert (trending.ratio > 1.2).all() and (trending.statistic > 3).all() and (trending.pvalue < 0.01).all()


def test_a_random_walk_whose_variance_changes_is_rejected_as_often_as_the_level_says() -> None:
    rng, rejected = np.random.default_rng(2), 0
    for _ in range(400):
        calm_and_wild = np.where(np.arange(1000) % 200 < 100, 1.0, 4.0)
        rejected += bool(variance_ratio(np.cumsum(rng.standard_normal(1000) * calm_and_wild), [4]).pvalue[0] < 0.05)
    assert abs(rejected / 400 - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 400)


def test_what_cannot_be_answered_is_refused_by_name() -> None:
    x = np.cumsum(np.random.default_rng(3).standard_normal(100))
    for lags in ([], [1], [2.5], [True], [float("nan")]):
        with pytest.raises(ValueError, match=r"^lags: "):
            variance_ratio(x, lags)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^x: needs 102, has 100"):
        variance_ratio(x, [100])
    with pytest.raises(DegenerateSeries, match="x: moves by the same step always"):
        variance_ratio(0.1 * np.arange(100.0))
    with pytest.raises(DegenerateSeries, match="x: moves too seldom"):
        variance_ratio(np.array([0.0] * 30 + [1.0] * 30 + [0.0] * 30), [2])
