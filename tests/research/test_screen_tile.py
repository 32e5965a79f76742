"""A tile notices where sums of products cannot carry the digits, and only there computes a pair from its series."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pairscope.analytics.cointegration import engle_granger
from pairscope.errors import DegenerateSeries
from pairscope.research.screen import screen_pairs
from pairscope.research.screen_table import ScreenRow

Walks = Callable[..., tuple[np.ndarray, list[str]]]


def hard_market(bars: int, seed: int) -> np.ndarray:
    """Legs that share almost everything, legs without a corner, and legs far from nought."""
    rng = np.random.default_rng(seed)
    legs = np.cumsum(rng.standard_normal((12, bars)), axis=1)
    for i in range(1, 6):
        legs[i] = legs[0] * rng.uniform(0.5, 2.0) + 10.0 ** rng.uniform(-3.0, 0.0) * legs[i]
    legs[6] = np.cumsum(legs[6])
    legs[7] = np.cumsum(np.cumsum(legs[7]))
    legs[8] = 10.0 * np.sin(np.arange(bars) / 50.0) + 1e-4 * legs[8]
    legs[9] = np.convolve(rng.standard_normal(bars), np.ones(20) / 20.0)[:bars].cumsum()
    legs[10] += 1e7
    legs[11] = np.linspace(0.0, 1.0, bars) ** 2 + 1e-5 * legs[11]
    return legs


def furthest(legs: np.ndarray, rows: list[ScreenRow]) -> float:
    """The largest relative difference of a statistic from that of the direct test; lags must be the same."""
    worst = 0.0
    for row in rows:
        direct = engle_granger(legs[int(row.y)], legs[int(row.x)])
        assert row.lags == direct.lags, row
        worst = max(worst, abs(row.statistic / direct.statistic - 1.0))
    return worst


@pytest.mark.parametrize("bars", [60, 300, 1440])
def test_hard_legs_keep_their_digits(bars: int) -> None:
    worst = recomputed = tests = 0.0
    for seed in range(2):
        legs = hard_market(bars, seed)
        result = screen_pairs(legs.T, [str(i) for i in range(12)], log=False)
        worst = max(worst, furthest(legs, list(result)))
        recomputed += result.recomputed
        tests += result.tests
        for y, x in result.untested:
            with pytest.raises(DegenerateSeries):
                engle_granger(legs[int(y)], legs[int(x)])
    print(f"\n{bars} bars of hard legs: {recomputed:.0f} of {tests:.0f} recomputed, statistic differs by {worst:.1e}")
    assert worst <= 1e-8
    assert recomputed > 0


def smooth_market(bars: int) -> np.ndarray:
    """Legs whose third differences are noise: each change all but follows from those before it."""
    legs = np.random.default_rng(0).standard_normal((4, bars))
    for _ in range(3):
        legs = np.cumsum(legs, axis=1)
    return legs


def test_smooth_legs_keep_their_digits_and_would_lose_them_if_nobody_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    legs = smooth_market(1440)
    rows = list(screen_pairs(legs.T, list("0123"), log=False))
    assert furthest(legs, rows) <= 1e-8
    monkeypatch.setattr("pairscope.research.screen_tile._DOUBTFUL", np.inf)
    unseen = screen_pairs(legs.T, list("0123"), log=False, autolag=None)
    direct = {(y, x): engle_granger(legs[int(y)], legs[int(x)], autolag=None) for y, x, *_ in unseen}
    assert max(abs(row.statistic / direct[row.y, row.x].statistic - 1.0) for row in unseen) > 1e-7


def test_an_ordinary_market_is_hardly_ever_recomputed(walks: Walks) -> None:
    prices, symbols = walks(1440, 60, 1, pairs=10)
    result = screen_pairs(prices, symbols)
    assert result.recomputed <= 3
