"""Moments by hand: what a state holds, how two merge, what is read off it."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.analytics.moments import (
    Moments,
    correlation_of,
    covariance_of,
    extend,
    extend_pair,
    mean_of,
    merge,
    merge_pair,
    moments,
    pair_moments,
    slope_of,
    std_of,
    variance_of,
)

NOTHING = Moments(0.0, 0.0, 0.0, 0.0)


def test_the_readings_of_a_series_worked_out_by_hand() -> None:
    state = moments(np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]))
    assert mean_of(state) == 5.0
    assert variance_of(state) == pytest.approx(32 / 7, rel=1e-15)
    assert std_of(state) == pytest.approx(math.sqrt(32 / 7), rel=1e-15)


def test_the_readings_of_a_pair_worked_out_by_hand() -> None:
    state = pair_moments(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 5.0]))
    assert covariance_of(state) == pytest.approx(5.5 / 3, rel=1e-15)
    assert slope_of(state) == pytest.approx(1.1, rel=1e-15)
    assert correlation_of(state) == pytest.approx(5.5 / math.sqrt(5 * 8.75), rel=1e-15)


@pytest.mark.parametrize("offset", [0.0, 60_000.0, 1e8])
@given(cuts=st.lists(st.integers(0, 300), min_size=1, max_size=6))
def test_states_merge_in_any_grouping_to_those_of_one_pass(offset: float, cuts: list[int]) -> None:
    x, y = np.random.default_rng(9).standard_normal((2, 300)) * 0.1 + offset
    edges = [0, *sorted(cuts), 300]
    single, pair = NOTHING, pair_moments(x[:0], y[:0])
    for a, b in pairwise(edges):
        single = merge(single, moments(x[a:b]))
        pair = merge_pair(pair, pair_moments(x[a:b], y[a:b]))
    assert (single.n, pair.n) == (300.0, 300.0)
    assert std_of(single) == pytest.approx(np.std(x - offset, ddof=1), rel=1e-12)
    assert mean_of(single) - offset == pytest.approx(np.mean(x - offset), abs=2 * np.spacing(offset + 1))
    assert covariance_of(pair) == pytest.approx(np.cov(x - offset, y - offset)[0, 1], rel=1e-9)
    assert correlation_of(pair) == pytest.approx(np.corrcoef(x - offset, y - offset)[0, 1], rel=1e-9)


def test_nothing_is_neutral() -> None:
    state = moments(np.array([1.0, 5.0]))
    assert merge(NOTHING, state) == state == merge(state, NOTHING) == extend(state, np.empty(0))
    pair = pair_moments(np.array([1.0]), np.array([2.0]))
    empty = pair_moments(np.empty(0), np.empty(0))
    assert merge_pair(empty, pair) == pair == merge_pair(pair, empty)


def test_what_too_few_or_constant_observations_do_not_say_is_nan() -> None:
    one = moments(np.array([3.0]))
    assert mean_of(one) == 3.0 and math.isnan(std_of(one)) and math.isnan(mean_of(NOTHING))
    flat = pair_moments(np.full(5, 0.1), np.arange(5.0))
    assert math.isnan(correlation_of(flat)) and math.isnan(slope_of(flat)) and covariance_of(flat) == 0.0
    assert math.isnan(covariance_of(pair_moments(np.array([1.0]), np.array([1.0]))))


def test_nan_goes_through() -> None:
    assert math.isnan(mean_of(moments(np.array([1.0, np.nan, 2.0]))))
    assert math.isnan(covariance_of(pair_moments(np.array([1.0, 2.0]), np.array([np.nan, 2.0]))))


def test_a_perfect_relation_has_a_correlation_of_exactly_one_at_most() -> None:
    x = np.random.default_rng(1).standard_normal(1000)
    for sign in (1.0, -1.0):
        found = correlation_of(pair_moments(x, sign * 3.7 * x))
        assert abs(found) <= 1.0 and found == pytest.approx(sign, abs=1e-15)


def test_pairs_of_unequal_length_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="y: has 2 values, x has 3"):
        extend_pair(pair_moments(np.empty(0), np.empty(0)), np.ones(3), np.ones(2))
