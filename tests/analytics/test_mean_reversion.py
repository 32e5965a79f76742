"""Spread, z-score and half-life: by hand, over many draws at the stated rate, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from pairscope.analytics.mean_reversion import (
    half_life,
    half_life_interval,
    half_life_of,
    hurst_exponent,
    spread,
    variance_ratio,
    zscore,
)
from pairscope.analytics.ornstein_uhlenbeck import ou_fit
from pairscope.errors import DegenerateSeries, InputError, NotEnoughData

WALK = np.cumsum(np.random.default_rng(0).standard_normal(200))


def reverting(half: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """A stationary AR(1) of a half-life, long after its start."""
    phi = 0.5 ** (1 / half)
    return lfilter([1], [1, -phi], rng.standard_normal(n + 600))[600:]


def test_a_spread_is_y_less_the_hedge_and_takes_no_logarithm() -> None:
    y, x = np.array([5.0, 8.0, 1.0]), np.array([1.0, 2.0, -1.0])
    assert spread(y, x, alpha=1.0, beta=2.0).tolist() == [2.0, 3.0, 2.0]
    moving = spread(y, x, alpha=np.array([np.nan, 1.0, 0.0]), beta=np.array([np.nan, 2.0, 3.0]))
    np.testing.assert_array_equal(moving, [np.nan, 3.0, 4.0])


def test_a_spread_refuses_coefficients_that_do_not_fit() -> None:
    y, x = np.array([5.0, 8.0, 1.0]), np.array([1.0, 2.0, -1.0])
    with pytest.raises(ValueError, match="beta: must be a number or have 3 values"):
        spread(y, x, alpha=0.0, beta=np.ones(2))
    with pytest.raises(ValueError, match="alpha: is not finite"):
        spread(y, x, alpha=math.nan, beta=1.0)
    with pytest.raises(ValueError, match="beta: is not finite"):
        spread(y, x, alpha=0.0, beta=np.array([1.0, np.inf, 1.0]))
    with pytest.raises(ValueError, match="x: has 2 values, y has 3"):
        spread(y, x[1:], alpha=0.0, beta=1.0)
    with pytest.raises(ValueError, match=r"y: .* beyond floating point"):
        spread(y, 1e200 * x, alpha=0.0, beta=1e200)


def test_z_scores_worked_out_by_hand() -> None:
    ours = zscore(np.array([1.0, 2.0, 4.0, 4.0, 4.0]), 3)
    np.testing.assert_allclose(ours, [np.nan, np.nan, (4 - 7 / 3) / math.sqrt(7 / 3), 1 / math.sqrt(3), np.nan])


@given(st.integers(0, 2**32), st.integers(2, 30), st.integers(0, 50))
def test_a_z_score_has_the_same_bits_wherever_its_series_begins(seed: int, window: int, more: int) -> None:
    x = 61_800 + np.random.default_rng(seed).standard_normal(window + more)
    assert zscore(x, window)[-1].tobytes() == zscore(x[more:], window)[-1].tobytes()


def test_z_scores_keep_their_digits_under_an_offset_after_a_million_values() -> None:
    x = np.random.default_rng(1).integers(-1000, 1000, 1_000_000) / 64
    np.testing.assert_allclose(zscore(x + 1e8, 50)[-1000:], zscore(x[-1100:], 50)[-1000:], rtol=1e-12)


def test_half_lives_at_the_edges_of_reversion() -> None:
    assert half_life_of(math.sqrt(0.5)) == pytest.approx(2.0, rel=1e-15)
    assert half_life_of(1.0) == half_life_of(1.3) == math.inf
    assert math.isnan(half_life_of(0.0)) and math.isnan(half_life_of(-0.4))
    assert half_life(np.arange(50.0)) == half_life(1.1 ** np.arange(50)) == math.inf
    assert math.isnan(half_life(np.tile([0.0, 1.0], 30)))


def test_the_half_life_does_not_depend_on_unit_or_level() -> None:
    x = reverting(10, 300, np.random.default_rng(2))
    for scale, level in ((1e-180, 0.0), (1e180, 0.0), (1e-3, 60_000.0), (-5.0, 1e6)):
        assert half_life(scale * x + level) == pytest.approx(half_life(x), rel=1e-6)


def test_the_interval_covers_the_half_life_as_often_as_it_says() -> None:
    rng, covered, below = np.random.default_rng(12), [], []
    for n in (500, 1440):
        for half in (5, 20, 60):
            found = [half_life_interval(reverting(half, n, rng)) for _ in range(70)]
            rate = np.mean([one.low <= half <= one.high for one in found])
            print(f"n = {n}, half-life {half}: {rate:.3f} covered")
            assert abs(rate - 0.95) < 3.5 * math.sqrt(0.95 * 0.05 / 70)
            covered.append(rate)
            below.append(np.mean([one.unbiased < half for one in found]))
    assert abs(np.mean(covered) - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 420)
    assert abs(np.mean(below) - 0.5) < 3 * math.sqrt(0.25 / 420)


def test_the_interval_covers_at_its_rate_under_fat_tails_and_other_levels() -> None:
    rng, phi = np.random.default_rng(13), 0.5 ** (1 / 30)
    draws = [lfilter([1], [1, -phi], rng.standard_t(3, 1100))[600:] for _ in range(100)]
    rate = np.mean([found.low <= 30 <= found.high for found in (half_life_interval(x, level=0.8) for x in draws)])
    assert abs(rate - 0.8) < 3 * math.sqrt(0.8 * 0.2 / 100)


def test_on_a_random_walk_the_interval_is_open_above_as_often_as_it_says() -> None:
    rng = np.random.default_rng(14)
    found = [half_life_interval(np.cumsum(rng.standard_normal(300))) for _ in range(100)]
    assert np.mean([math.isinf(one.high) for one in found]) > 0.975 - 3 * math.sqrt(0.975 * 0.025 / 100)
    assert all(one.low > 3 for one in found)


def test_the_interval_s_ends_where_there_is_no_half_life() -> None:
    noise = half_life_interval(np.random.default_rng(5).standard_normal(400))
    assert noise.low == 0.0 and noise.high < 1.0
    explosive = half_life_interval(1.1 ** np.arange(60))
    assert explosive.low == explosive.high == explosive.half_life == math.inf
    narrow, wide = (half_life_interval(WALK, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.unbiased <= narrow.high <= wide.high


CALLS: dict[str, Callable[[np.ndarray], object]] = {
    "zscore": lambda x: zscore(x, 10),
    "half_life": half_life,
    "half_life_interval": half_life_interval,
    "hurst_exponent": hurst_exponent,
    "variance_ratio": variance_ratio,
    "ou_fit": ou_fit,
    "spread": lambda x: spread(x, np.arange(len(x)), alpha=0.0, beta=1.0),
}


def named(call: str) -> str:
    return "y" if call == "spread" else "x"


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_by_name(name: str, value: float) -> None:
    x = WALK.copy()
    x[7] = value
    with pytest.raises(InputError, match=rf"^{named(name)}: .*finite"):
        CALLS[name](x)


@pytest.mark.parametrize("name", CALLS)
def test_a_constant_series_is_refused_by_name(name: str) -> None:
    with pytest.raises(DegenerateSeries, match=f"^{named(name)}: is constant"):
        CALLS[name](np.full(200, 61_800.1))


@pytest.mark.parametrize("name", [name for name in CALLS if name != "spread"])
def test_too_few_values_are_refused_with_both_numbers(name: str) -> None:
    with pytest.raises(NotEnoughData, match=r"^x:.* needs \d+, has 3"):
        CALLS[name](WALK[:3])


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=40)
@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1.0, 1.5]), min_size=3, max_size=60
    )
)
def test_finite_input_gives_numbers_or_a_refusal_and_never_a_warning(name: str, values: list[float]) -> None:
    try:
        CALLS[name](np.array(values))
    except ValueError as error:
        assert isinstance(error, (InputError, DegenerateSeries))


@pytest.mark.parametrize("window", [0, 1, 2.5, True, math.nan, math.inf])
def test_a_window_that_is_none_is_refused_by_name(window: float) -> None:
    with pytest.raises(ValueError, match=r"^window"):
        zscore(WALK, window)  # type: ignore[arg-type]


def test_other_misuse_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="level: must be between 0 and 1"):
        half_life_interval(WALK, level=95)
    with pytest.raises(DegenerateSeries, match="x: is constant but for its last value"):
        half_life(np.array([1.0] * 9 + [2.0]))
    with pytest.raises(ValueError, match=r"x: .*beyond"):
        zscore(WALK * 1e101, 10)
