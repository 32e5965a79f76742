"""The second look: a pair that holds and pays looks so, and one that only seemed to does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pairscope.analytics.hurst import hurst_exponent
from pairscope.analytics.johansen import johansen
from pairscope.research.screen import screen_pairs
from pairscope.research.screen_examine import examine

Walks = Callable[..., tuple[np.ndarray, list[str]]]


def test_a_planted_pair_holds_in_its_parts_and_other_tests_agree(walks: Walks) -> None:
    prices, symbols = walks(1200, 10, 1, pairs=3)
    result = screen_pairs(prices, symbols)
    found = examine(result, prices, symbols)
    survivors = result.survivors(0.05)
    assert [*zip(found.y, found.x, strict=True)] == [*zip(survivors.y, survivors.x, strict=True)]
    assert len(found) == 6
    assert (found.johansen_rank >= 1).all()
    assert (found.rejects >= 0.75).all()
    assert (found.beta_stable >= 0.5).all()
    assert (found.hurst < 0.45).all()
    row = next(iter(survivors))
    y, x = (np.log(prices[:, symbols.index(leg)]) for leg in (row.y, row.x))
    assert found.hurst[0] == pytest.approx(hurst_exponent(y - row.alpha - row.beta * x))
    assert found.johansen_trace[0] == pytest.approx(johansen(np.column_stack([y, x])).trace[0])


def test_a_pair_that_broke_half_way_is_seen_to_be_unstable(walks: Walks) -> None:
    prices, symbols = walks(1200, 2, 2, pairs=1)
    logs = np.log(prices)
    logs[600:, 1] += 0.8 * (logs[600:, 0] - logs[600, 0])
    broken = np.exp(logs)
    whole = examine(screen_pairs(prices, symbols), prices, symbols, fdr=1.0)
    other = examine(screen_pairs(broken, symbols), broken, symbols, fdr=1.0)
    assert other.beta_stable.max() < whole.beta_stable.min()


def test_costs_are_those_of_both_legs_in_and_out(walks: Walks) -> None:
    prices, symbols = walks(600, 4, 3, pairs=1)
    for log in (True, False):
        result = screen_pairs(prices, symbols, log=log)
        found = examine(result, prices, symbols, fee_bps=4.0, slippage_bps=1.0, entry=2.0, exit=0.0, limit=1)
        row = next(iter(result))
        y, x = prices[-1, symbols.index(row.y)], prices[-1, symbols.index(row.x)]
        hedge, unit = (abs(row.beta), 1.0) if log else (abs(row.beta) * x / y, y)
        assert found.cost_bps[0] == pytest.approx(10.0 * (1.0 + hedge))
        assert found.spread_bps[0] == pytest.approx(1e4 * row.spread_std / unit)
        assert found.edge_bps[0] == pytest.approx(2.0 * found.spread_bps[0] - found.cost_bps[0])
    assert list(found.to_pandas().columns) == list(found.columns)


def test_nothing_discovered_is_an_empty_table(walks: Walks) -> None:
    prices, symbols = walks(300, 4, 4)
    assert len(examine(screen_pairs(prices, symbols), prices, symbols, fdr=1e-9)) == 0


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"fdr": 0.0}, "fdr"),
        ({"exit": 3.0}, "exit"),
        ({"parts": 0}, "parts"),
        ({"fee_bps": -1.0}, "fee_bps"),
        ({"prices": np.ones((4, 2))}, "prices"),
        ({"symbols": ["S0USDT", "OTHER"], "fdr": 1.0}, "symbols"),
    ],
)
def test_what_cannot_be_examined_is_refused_by_its_name(walks: Walks, change: dict[str, Any], name: str) -> None:
    prices, symbols = walks(100, 2, 5)
    arguments = {"result": screen_pairs(prices, symbols), "prices": prices, "symbols": symbols, **change}
    with pytest.raises(ValueError, match=f"^{name}:"):
        examine(**arguments)
