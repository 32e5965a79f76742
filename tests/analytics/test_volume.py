"""Volume by price and by time of day adds up to what was traded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.analytics.volume import day_volume, volume_profile

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
PRICES = st.lists(st.tuples(st.floats(1, 100), st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=50)


@given(PRICES, st.integers(1, 40))
def test_a_profile_is_the_histogram_of_numpy_and_loses_nothing(rows: list[tuple[float, int, int]], bins: int) -> None:
    price, volume, bought = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    low, high = float(price.min()), float(price.max())
    profile = volume_profile(price, volume, bought, low, high, bins)
    assert profile.volume.sum() == volume.sum()
    assert profile.buy_volume.sum() == bought.sum()
    if low < high and np.all(np.diff(profile.edges) > 0):
        expected, edges = np.histogram(price, bins, (low, high), weights=volume)
        assert profile.edges.tolist() == edges.tolist()
        assert profile.volume.tolist() == expected.tolist()
    else:
        assert low < high or profile.volume.size == 1


def test_prices_beyond_the_range_count_in_the_nearest_bin_and_nan_in_none() -> None:
    price = np.array([0.0, 5.0, 99.0, np.nan])
    profile = volume_profile(price, np.array([1.0, 2.0, 4.0, 8.0]), np.zeros(4), 4.0, 6.0, 2)
    assert profile.volume.tolist() == [1.0, 6.0]


def test_what_makes_no_profile_is_refused_by_name() -> None:
    one = np.ones(1)
    with pytest.raises(ValueError, match="bins"):
        volume_profile(one, one, one, 0.0, 1.0, 0)
    for low, high in ((2.0, 1.0), (np.nan, 1.0)):
        with pytest.raises(ValueError, match="high"):
            volume_profile(one, one, one, low, high, 3)


def test_a_day_is_compared_with_earlier_whole_days_up_to_the_same_time() -> None:
    """Hourly bars from the middle of day 0: days 1 and 2 are whole, day 3 stands at 05:30."""
    opens = np.arange(12 * HOUR, 3 * DAY + 6 * HOUR, HOUR)
    volume = (opens // DAY).astype(np.float64) * 10 + opens % DAY // HOUR
    day = day_volume(opens, volume, 3 * DAY + 5 * HOUR + HOUR // 2)
    assert day.days == 2
    assert day.today == sum(30 + h for h in range(6))
    assert day.mean == sum(15 + h for h in range(6))
    assert day.hours[:6].tolist() == [30 + h for h in range(6)]
    assert np.isnan(day.hours[6:]).all()
    assert day.mean_hours.tolist() == [15 + h for h in range(24)]


@pytest.mark.parametrize("first", [0, 1, 12 * HOUR])
def test_a_first_day_that_does_not_begin_at_midnight_is_no_day(first: int) -> None:
    opens = np.arange(first, DAY + HOUR, HOUR)
    assert day_volume(opens, np.ones(opens.size), DAY + HOUR).days == (1 if first == 0 else 0)


def test_no_bars_at_all_are_a_day_of_nothing_without_a_mean() -> None:
    day = day_volume(np.empty(0, np.int64), np.empty(0), 5 * DAY + HOUR)
    assert (day.today, day.days) == (0.0, 0)
    assert np.isnan(day.mean)


def test_bars_later_than_now_and_volumes_that_are_missing_count_as_nothing() -> None:
    opens = np.arange(0, 2 * DAY, HOUR)
    volume = np.where(opens == HOUR, np.nan, 1.0)
    day = day_volume(opens, volume, DAY + 3 * HOUR)
    assert (day.today, day.mean) == (3.0, 2.0)
