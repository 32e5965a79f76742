"""The Hurst exponent of motions whose exponent is known: its bias and its scatter over many draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from pairscope.analytics.hurst import hurst_exponent


def fractional(h: float, n: int, draws: int, seed: int) -> np.ndarray:
    """Fractional Brownian motions, exact, by circulant embedding of their increments' covariance."""
    k = np.arange(n, dtype=float)
    row = 0.5 * ((k + 1) ** (2 * h) - 2 * k ** (2 * h) + np.abs(k - 1) ** (2 * h))
    weights = np.fft.fft(np.concatenate([row, [0.0], row[:0:-1]])).real.clip(0)
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((draws, 2 * n)) + 1j * rng.standard_normal((draws, 2 * n))
    return np.cumsum(np.fft.fft(noise * np.sqrt(weights / (2 * n)), axis=1).real[:, :n], axis=1)


@pytest.mark.parametrize("n", [500, 1440])
@pytest.mark.parametrize("h", [0.3, 0.5, 0.7])
def test_the_exponent_of_a_fractional_motion_is_found_without_bias(h: float, n: int) -> None:
    found = np.array([hurst_exponent(x) for x in fractional(h, n, 400, n)])
    print(f"n = {n}, H = {h}: {found.mean():.3f} ± {found.std():.3f}")
    assert abs(found.mean() - h) < 0.015
    assert found.std() < 0.06


@pytest.mark.parametrize(("n", "scatter"), [(250, 0.065), (500, 0.05), (1440, 0.033)])
def test_a_random_walk_has_an_exponent_of_one_half_within_the_stated_error(n: int, scatter: float) -> None:
    walks = np.cumsum(np.random.default_rng(n).standard_normal((400, n)), axis=1)
    found = np.array([hurst_exponent(100 * np.exp(0.001 * x)) for x in walks])
    assert abs(found.mean() - 0.5) < 4 * scatter / 20
    assert found.std() < scatter


def test_the_faster_a_series_reverts_the_nearer_its_exponent_is_to_nought() -> None:
    rng, means = np.random.default_rng(3), []
    for half in (0.1, 1, 5, 20, 60):
        phi = 0.5 ** (1 / half)
        draws = [lfilter([1], [1, -phi], rng.standard_normal(1940))[500:] for _ in range(40)]
        means.append(np.mean([hurst_exponent(x) for x in draws]))
    assert means == sorted(means)
    assert means[0] < 0.02 and means[1] < 0.1 and means[-1] < 0.5


def test_moves_that_go_on_have_an_exponent_above_one_half() -> None:
    rng = np.random.default_rng(4)
    persistent = np.cumsum(lfilter([1], [1, -0.8], rng.standard_normal(1500)))
    drifting = np.cumsum(rng.standard_normal(1500) + 0.5)
    assert hurst_exponent(persistent) > 0.65
    assert hurst_exponent(drifting) > 0.65
    assert hurst_exponent(np.arange(30.0)) == 1.0


def test_a_series_with_a_period_comes_back() -> None:
    assert hurst_exponent(np.tile([0.0, 1.0], 100)) == 0.0


def test_the_exponent_depends_on_neither_unit_nor_level() -> None:
    x = np.cumsum(np.random.default_rng(6).standard_normal(600))
    for scale, level in ((1e-200, 0.0), (1e200, 0.0), (-3.0, 1e5)):
        assert hurst_exponent(scale * x + level) == pytest.approx(hurst_exponent(x), abs=1e-9)
