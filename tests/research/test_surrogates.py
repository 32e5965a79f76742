"""Surrogate markets keep what each symbol does by itself, and show what chance alone discovers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pairscope.research.screen import screen_pairs
from pairscope.research.surrogates import empirical_null, surrogate_market

Walks = Callable[..., tuple[np.ndarray, list[str]]]


def test_a_surrogate_keeps_each_symbols_returns_in_their_cyclic_order(walks: Walks) -> None:
    prices, _ = walks(100, 3, 1)
    other = surrogate_market(prices, 7)
    for i in range(3):
        before, after = (np.diff(np.log(table[:, i])) for table in (prices, other))
        shifts = [k for k in range(99) if np.allclose(np.roll(before, k), after, rtol=1e-6, atol=1e-12)]
        assert len(shifts) == 1
    np.testing.assert_allclose(other[[0, -1]], prices[[0, -1]], rtol=1e-10)
    assert (surrogate_market(prices, 7) == other).all()
    assert (surrogate_market(prices, 8) != other).any()


def test_a_column_that_has_no_returns_is_left_as_it_is(walks: Walks) -> None:
    prices, _ = walks(50, 3, 2)
    prices[3, 0] = np.nan
    prices[4, 1] = -1.0
    other = surrogate_market(prices, 1)
    np.testing.assert_array_equal(other[:, :2], prices[:, :2])
    assert (surrogate_market(prices, 1, log=False)[:, 1] != prices[:, 1]).any()


def test_planted_pairs_are_discoveries_and_their_surrogates_are_not(walks: Walks) -> None:
    prices, symbols = walks(500, 30, 3, pairs=8)
    null = empirical_null(prices, symbols, markets=5, seed=1, thresholds=[1e-2, 1e-4])
    assert null.screen.tests == 870
    assert null.discoveries[1] >= 10
    assert null.false[1] < 2.0
    assert null.fdr[1] < 0.15
    assert null.theory.tolist() == pytest.approx([8.7, 0.087])
    assert (null.qvalue[: null.discoveries[1]] < 0.15).all()
    assert (np.diff(null.qvalue) >= 0.0).all()


def test_legs_that_bounce_offer_more_false_discoveries_than_theory_says(walks: Walks) -> None:
    """The very reason for an empirical null: noise on a leg makes its residual on any other look reverting."""
    prices, symbols = walks(500, 40, 4)
    bounce = 2e-3 * np.random.default_rng(5).standard_normal(prices.shape)
    bounced = prices * np.exp(bounce + np.roll(bounce, 1, axis=0))
    null = empirical_null(bounced, symbols, markets=4, seed=2, thresholds=[1e-3])
    modified = empirical_null(bounced, symbols, markets=4, seed=2, thresholds=[1e-3], autolag="maic")
    print(f"\np <= 1e-3 in {null.screen.tests} tests of a bouncing market: theory {null.theory[0]:.1f},")
    print(f"surrogates {null.false[0]:.1f}, the market itself {null.discoveries[0]}; by MAIC {modified.false[0]:.1f}")
    assert null.false[0] > 3.0 * null.theory[0]
    assert null.discoveries[0] > 3.0 * null.theory[0]
    assert modified.false[0] < null.false[0]
    assert null.fdr[0] > null.fdr_of_theory[0]


def test_rates_of_nothing_are_nan_and_arguments_are_named(walks: Walks) -> None:
    prices, symbols = walks(200, 4, 6)
    null = empirical_null(prices, symbols, markets=2, thresholds=[1e-12])
    assert np.isnan(null.fdr).all()
    assert np.isnan(null.fdr_of_theory).all()
    told: list[tuple[int, int]] = []
    empirical_null(prices, symbols, markets=2, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    for change, name in (({"markets": 0}, "markets"), ({"thresholds": [0.0]}, "thresholds")):
        with pytest.raises(ValueError, match=f"^{name}:"):
            empirical_null(prices, symbols, **change)
    with pytest.raises(ValueError, match=r"^prices:"):
        surrogate_market(prices[:, 0], 1)


def test_the_screen_in_it_is_the_screen(walks: Walks) -> None:
    prices, symbols = walks(200, 4, 7)
    null = empirical_null(prices, symbols, markets=1, maxlag=2)
    np.testing.assert_array_equal(null.screen.statistic, screen_pairs(prices, symbols, maxlag=2).statistic)
