"""The table ranks its tests the same way whoever sorted them, and keeps count of what it left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pairscope.research.screen import screen_pairs
from pairscope.research.screen_table import _ranking

Walks = Callable[..., tuple[np.ndarray, list[str]]]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), max_size=40))
def test_equal_p_values_are_ranked_by_statistic_and_then_as_they_stand(tests: list[tuple[int, int]]) -> None:
    pvalue = np.array([p / 4.0 for p, _ in tests])
    statistic = np.array([float(t) for _, t in tests])
    assert _ranking(pvalue, statistic).tolist() == sorted(range(len(tests)), key=lambda i: (*tests[i], i))


def test_survivors_are_those_below_the_rate_and_still_know_the_whole_screen(walks: Walks) -> None:
    prices, symbols = walks(500, 12, 1, pairs=3)
    result = screen_pairs(prices, symbols)
    found = result.survivors(0.05)
    assert 0 < len(found) == int((result.qvalue <= 0.05).sum()) < len(result)
    assert (found.tests, found.family, found.universe) == (result.tests, result.family, result.universe)
    m = result.tests
    direct = [min(1.0, *(m * p / (j + 1) for j, p in enumerate(result.pvalue) if j >= i)) for i in range(m)]
    np.testing.assert_allclose(result.qvalue, direct, rtol=1e-12)
