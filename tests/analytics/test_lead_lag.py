"""Lead and lag: the sign, the strongest lag, and how often chance goes beyond the bands."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pairscope.analytics.lead_lag import lead_lag


@pytest.mark.parametrize("lag", [-3, 0, 1, 4])
def test_a_positive_lag_says_that_x_moves_first(lag: int) -> None:
    rng = np.random.default_rng(lag + 10)
    moves = rng.standard_normal(520)
    x = moves[10:510]
    y = moves[10 - lag : 510 - lag] + 0.5 * rng.standard_normal(500)
    found = lead_lag(y, x, 8)
    assert found.best_lag == lag
    assert found.best == found.correlations[found.lags == lag] > 0.8 > found.band_of_best > found.band
    mirrored = lead_lag(x, y, 8)
    assert mirrored.best_lag == -lag
    np.testing.assert_allclose(mirrored.correlations, found.correlations[::-1], atol=1e-15)


def test_an_opposite_move_is_found_with_its_sign() -> None:
    x = np.random.default_rng(1).standard_normal(300)
    found = lead_lag(-np.roll(x, 2), x, 5)
    assert (found.best_lag, found.best < -0.9) == (2, True)


def test_chance_goes_beyond_the_bands_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    found = [lead_lag(*rng.standard_normal((2, 1000)), 10) for _ in range(500)]
    at_one_lag = np.mean([abs(one.correlations[13]) > one.band for one in found])
    at_any = np.mean([abs(one.best) > one.band_of_best for one in found])
    for rate in (at_one_lag, at_any):
        assert abs(rate - 0.05) < 3 * math.sqrt(0.05 * 0.95 / 500)


def test_the_unit_does_not_matter() -> None:
    y, x = np.random.default_rng(3).standard_normal((2, 100))
    np.testing.assert_allclose(
        lead_lag(1e200 * y, 1e-200 * x, 5).correlations, lead_lag(y, x, 5).correlations, rtol=1e-12, atol=1e-15
    )


def test_misuse_is_refused_by_name() -> None:
    y, x = np.random.default_rng(4).standard_normal((2, 50))
    for lag in (-1, 26, 1.5, True, math.nan):
        with pytest.raises(ValueError, match=r"^most_lag: "):
            lead_lag(y, x, lag)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^level: "):
        lead_lag(y, x, 5, level=1.0)
    with pytest.raises(ValueError, match="x: has 49 values, y has 50"):
        lead_lag(y, x[1:], 5)
    for name, legs in (("y", (np.ones(50), x)), ("x", (y, np.ones(50)))):
        with pytest.raises(ValueError, match=f"^{name}: is constant"):
            lead_lag(*legs, 5)
    x[3] = np.nan
    with pytest.raises(ValueError, match=r"^x: .*finite"):
        lead_lag(y, x, 5)
    with pytest.raises(ValueError, match=r"^y: .*needs 4, has 3"):
        lead_lag(y[:3], y[:3], 1)
