"""Returns, rolling statistics, realised volatility and VWAP by hand, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.analytics.price_stats import (
    log_returns,
    realized_volatility,
    rolling_stats,
    rolling_sum,
    simple_returns,
    vwap,
)
from pairscope.errors import DegenerateSeries, InputError, NotEnoughData


def test_returns_stand_at_the_bar_that_earned_them() -> None:
    x = np.array([100.0, 110.0, 99.0])
    np.testing.assert_allclose(simple_returns(x), [np.nan, 0.1, -0.1], rtol=1e-14)
    np.testing.assert_allclose(log_returns(x), [np.nan, math.log(1.1), math.log(0.9)], rtol=1e-13)


def test_rolling_statistics_worked_out_by_hand() -> None:
    stats = rolling_stats(np.array([1.0, 2.0, 4.0, 4.0, 4.0]), 3)
    np.testing.assert_allclose(stats.mean, [np.nan, np.nan, 7 / 3, 10 / 3, 4.0])
    np.testing.assert_allclose(stats.std, [np.nan, np.nan, math.sqrt(7 / 3), math.sqrt(4 / 3), 0.0])
    np.testing.assert_array_equal(stats.min, [np.nan, np.nan, 1.0, 2.0, 4.0])
    np.testing.assert_array_equal(stats.max, [np.nan, np.nan, 4.0, 4.0, 4.0])
    expected = [np.nan, np.nan, (4 - 7 / 3) / math.sqrt(7 / 3), (4 - 10 / 3) / math.sqrt(4 / 3), np.nan]
    np.testing.assert_allclose(stats.zscore, expected)


@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(0, 60))
def test_a_window_s_values_depend_on_nothing_outside_it(seed: int, window: int, more: int) -> None:
    x = 100 + np.random.default_rng(seed).standard_normal(window + more)
    whole, alone = rolling_stats(x, window), rolling_stats(x[-window:], window)
    for ours, theirs in zip(whole, alone, strict=True):
        assert ours[-1] == pytest.approx(theirs[-1], rel=1e-9, abs=1e-12)
    assert rolling_sum(x, window)[-1] == pytest.approx(math.fsum(x[-window:]), rel=1e-14)


def test_a_window_of_the_whole_series_is_allowed() -> None:
    stats = rolling_stats(np.array([1.0, 3.0]), 2)
    assert (stats.mean[-1], stats.std[-1]) == (2.0, math.sqrt(2))


def test_realised_volatility_of_alternating_returns_is_their_size() -> None:
    x = 100 * np.exp(0.01 * np.array([0, 1, 0, 1, 0, 1.0]))
    assert realized_volatility(x) == pytest.approx(0.01, rel=1e-12)
    assert realized_volatility(x, periods_per_year=525_600) == pytest.approx(0.01 * math.sqrt(525_600), rel=1e-12)
    rolling = realized_volatility(x, 2)
    assert isinstance(rolling, np.ndarray)
    np.testing.assert_allclose(rolling, [np.nan, np.nan, 0.01, 0.01, 0.01, 0.01], rtol=1e-10)


def test_realised_volatility_does_not_take_the_trend_off() -> None:
    assert realized_volatility(np.exp(np.arange(5.0))) == pytest.approx(1.0, rel=1e-14)


def test_vwap_weighs_by_volume_and_is_absent_without_any() -> None:
    price, volume = np.array([10.0, 20.0, 40.0, 50.0]), np.array([3.0, 1.0, 0.0, 0.0])
    assert vwap(price, volume) == 12.5
    rolling = vwap(price, volume, 2)
    assert isinstance(rolling, np.ndarray)
    np.testing.assert_array_equal(rolling, [np.nan, 12.5, 20.0, np.nan])
    assert math.isnan(float(vwap(price, np.zeros(4))))


WALK = 100 + np.cumsum(np.random.default_rng(0).standard_normal(50)) / 10
CALLS: dict[str, Callable[[np.ndarray], object]] = {
    "rolling_stats": lambda x: rolling_stats(x, 5),
    "rolling_sum": lambda x: rolling_sum(x, 5),
    "realized_volatility": realized_volatility,
    "realized_volatility in a window": lambda x: realized_volatility(x, 5),
    "simple_returns": simple_returns,
    "log_returns": log_returns,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_by_name(call: Callable[[np.ndarray], object], value: float) -> None:
    x = WALK.copy()
    x[7] = value
    with pytest.raises(ValueError, match=r"^x: .*finite") as error:
        call(x)
    assert isinstance(error.value, InputError) and error.value.loc == "x"


@pytest.mark.parametrize("name", ["rolling_stats", "rolling_sum", "realized_volatility in a window"])
def test_fewer_values_than_a_window_needs_are_refused_with_both_numbers(name: str) -> None:
    with pytest.raises(NotEnoughData, match=r"x:.* needs .* has 4"):
        CALLS[name](WALK[:4])


@pytest.mark.parametrize("name", ["rolling_stats", "realized_volatility", "realized_volatility in a window"])
def test_a_constant_series_is_refused_by_name(name: str) -> None:
    with pytest.raises(DegenerateSeries, match="x: is constant") as error:
        CALLS[name](np.full(50, 61_800.1))
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("name", ["realized_volatility", "simple_returns", "log_returns"])
def test_prices_that_are_not_positive_are_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"x: .*positive"):
        CALLS[name](np.array([1.0, 0.0, 2.0]))


@pytest.mark.parametrize("window", [0, 1, -3, 2.5, True])
def test_a_window_that_is_none_is_refused_by_name(window: float) -> None:
    with pytest.raises(ValueError, match="window"):
        rolling_stats(WALK, window)  # type: ignore[arg-type]


def test_other_misuse_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="volume: has 49 values, price has 50"):
        vwap(WALK, WALK[1:])
    with pytest.raises(ValueError, match="volume: has negative"):
        vwap(WALK, -WALK)
    with pytest.raises(ValueError, match="periods_per_year"):
        realized_volatility(WALK, periods_per_year=0)
    with pytest.raises(ValueError, match="x: must have one dimension"):
        rolling_stats(np.ones((3, 3)), 2)


def test_integers_and_lists_are_taken_as_numbers() -> None:
    assert rolling_stats([1, 2, 4], 2).mean.tolist()[1:] == [1.5, 3.0]  # type: ignore[arg-type]
