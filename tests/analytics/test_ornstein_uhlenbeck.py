"""The Ornstein-Uhlenbeck process: planted parameters are found at the stated rate; what has none is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from pairscope.analytics.mean_reversion import half_life, half_life_interval
from pairscope.analytics.ornstein_uhlenbeck import ou_fit
from pairscope.errors import DegenerateSeries


def process(theta: float, mu: float, sigma: float, dt: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """An Ornstein-Uhlenbeck process at times dt apart, by its exact transition from its stationary law."""
    phi = math.exp(-theta * dt)
    std = sigma / math.sqrt(2 * theta)
    noise = std * math.sqrt(1 - phi * phi) * rng.standard_normal(n)
    noise[0] = std * rng.standard_normal()
    return mu + lfilter([1], [1, -phi], noise)


@pytest.mark.parametrize("half", [5.0, 20.0])
def test_planted_parameters_lie_within_their_errors_at_the_nominal_rate(half: float) -> None:
    rng, dt, mu, sigma = np.random.default_rng(int(half)), 1 / 60, 4.0, 0.3
    theta = math.log(2) / (half * dt)
    inside = []
    for _ in range(160):
        x = process(theta, mu, sigma, dt, 1440, rng)
        fit, found = ou_fit(x, dt=dt), half_life_interval(x)
        inside.append(
            [
                abs(fit.mu - mu) < 1.96 * fit.mu_stderr,
                abs(fit.sigma - sigma) < 1.96 * fit.sigma_stderr,
                math.log(2) / (found.high * dt) <= theta <= math.log(2) / (found.low * dt),
                abs(fit.theta - theta) < 1.96 * fit.theta_stderr,
            ]
        )
    rates = np.mean(inside, axis=0)
    print(f"half-life {half}: mu {rates[0]:.3f}, sigma {rates[1]:.3f}, theta {rates[2]:.3f}, by error {rates[3]:.3f}")
    assert (np.abs(rates - 0.95) < 3.2 * math.sqrt(0.95 * 0.05 / 160)).all()


def test_the_readings_belong_together() -> None:
    fit = ou_fit(process(0.1, 0.0, 1.0, 1.0, 800, np.random.default_rng(3)))
    assert fit.half_life == pytest.approx(math.log(2) / fit.theta)
    assert fit.stationary_std == pytest.approx(fit.sigma / math.sqrt(2 * fit.theta))


def test_a_unit_of_time_and_of_price_scales_the_answer() -> None:
    x = process(0.1, 0.0, 1.0, 1.0, 800, np.random.default_rng(4))
    one, other = ou_fit(x), ou_fit(1000 * x + 60_000, dt=60.0)
    assert other.theta == pytest.approx(one.theta / 60)
    assert other.theta_stderr == pytest.approx(one.theta_stderr / 60)
    assert other.mu == pytest.approx(1000 * one.mu + 60_000)
    assert other.sigma == pytest.approx(1000 * one.sigma / math.sqrt(60))
    assert other.sigma_stderr == pytest.approx(1000 * one.sigma_stderr / math.sqrt(60))


def test_in_a_long_series_the_first_value_matters_little_and_least_squares_agrees() -> None:
    x = process(0.05, 0.0, 1.0, 1.0, 20_000, np.random.default_rng(5))
    assert ou_fit(x).half_life == pytest.approx(half_life(x), rel=1e-2)


def test_what_does_not_revert_has_a_fit_that_says_how_little_is_known() -> None:
    walk = np.cumsum(np.random.default_rng(6).standard_normal(500))
    assert 0 < ou_fit(walk).theta < 4 * ou_fit(walk).theta_stderr
    for trend in (np.arange(100.0), 1.1 ** np.arange(80)):
        assert 0 < ou_fit(trend).theta < 2 * ou_fit(trend).theta_stderr


def test_what_is_no_such_process_is_refused_by_name() -> None:
    rng = np.random.default_rng(7)
    with pytest.raises(DegenerateSeries, match="x: alternates"):
        ou_fit(lfilter([1], [1, 0.6], rng.standard_normal(400)))
    for dt in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^dt: must be positive"):
            ou_fit(rng.standard_normal(100), dt=dt)
