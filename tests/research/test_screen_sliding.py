"""A screen that slides says what a fresh one would, however long it has slid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pairscope.research.screen import screen_pairs
from pairscope.research.screen_sliding import SlidingScreen
from pairscope.research.screen_table import ScreenResult

Walks = Callable[..., tuple[np.ndarray, list[str]]]


def largest_difference(a: ScreenResult, b: ScreenResult) -> float:
    """Of any number of any row; lags must be the same."""
    known = {(row.y, row.x): row for row in b}
    assert known.keys() == {(row.y, row.x) for row in a}
    worst = 0.0
    for row in a:
        other = known[row.y, row.x]
        assert row.lags == other.lags
        apart = [abs(u - v) / max(1e-2, abs(v)) for u, v in zip(row[2:], other[2:], strict=True) if u != v]
        worst = max([worst, *apart])
    return worst


@pytest.mark.parametrize("refreshed", [64, 10**9])
def test_after_thousands_of_bars_it_equals_a_fresh_screen(
    walks: Walks, refreshed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where products slide only and are never made from scratch again."""
    monkeypatch.setattr("pairscope.research.screen_sliding._REFRESHED", refreshed)
    prices, symbols = walks(3200, 5, 1, pairs=1)
    sliding = SlidingScreen(prices[:200], symbols)
    worst = 0.0
    for t in range(200, 3200):
        sliding.push(prices[t])
        if t % 500 == 488:
            fresh = screen_pairs(prices[t - 199 : t + 1], symbols)
            worst = max(worst, largest_difference(sliding.screen(), fresh))
    print(f"\nafter 3,000 bars (from scratch every {refreshed}) it differs from a fresh one by {worst:.1e}")
    assert worst <= 1e-8


def test_tiles_that_were_not_refreshed_for_long_have_not_drifted(walks: Walks) -> None:
    """Three blocks are six tiles, with seams between them; the market moves three times as much from some bar on."""
    prices, symbols = walks(330, 125, 2, pairs=2)
    prices[150:] = prices[150] * (prices[150:] / prices[150]) ** 3.0
    sliding = SlidingScreen(prices[:120], symbols, maxlag=5)
    for row in prices[120:]:
        sliding.push(row)
    assert largest_difference(sliding.screen(), screen_pairs(prices[-120:], symbols, maxlag=5)) <= 1e-8


def test_a_hole_takes_a_symbol_out_until_it_has_left_the_window(walks: Walks) -> None:
    prices, symbols = walks(200, 4, 3)
    prices[110, 2] = np.nan
    sliding = SlidingScreen(prices[:100], symbols)
    for t in range(100, 200):
        sliding.push(prices[t])
        if t in {109, 110, 150}:
            result = sliding.screen()
            assert set(result.excluded) == (set() if t == 109 else {"S2USDT"})
            assert largest_difference(result, screen_pairs(prices[t - 99 : t + 1], symbols)) <= 1e-8
    sliding.push(prices[110 - 1])
    assert len(sliding.screen()) == 6
    for t in range(10):
        sliding.push(prices[t])
    assert not sliding.screen().excluded


def test_a_bar_of_the_wrong_size_is_refused(walks: Walks) -> None:
    sliding = SlidingScreen(*walks(60, 3, 4))
    with pytest.raises(ValueError, match=r"^row: must have 3 values"):
        sliding.push(np.ones(4))
