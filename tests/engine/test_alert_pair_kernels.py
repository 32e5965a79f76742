"""The quick look at a pair with one bar more: never further from the exact one than it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pairscope.engine.alert_pair_kernels import LAST, MOMENTS, ZSCORE, quick_values, scan_pairs
from pairscope.engine.pair_group import PairGroup
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols

from .alert_paths import X, Y, bars_like
from .conftest import MINUTE


@pytest.mark.parametrize("holes", [0.0, 0.3])
@pytest.mark.parametrize("space", ["log", "linear"])
@pytest.mark.parametrize("method", ["ols", "kalman"])
def test_quick_values_are_as_near_to_the_exact_ones_as_they_say(method: Any, space: Any, holes: float) -> None:
    rng = np.random.default_rng(11)
    n, symbols = 400, Symbols([Y, X])
    x = 60_000 * np.exp(np.cumsum(rng.standard_normal(n)) * 1e-3)
    y = 3_000 * (x / 60_000) ** 1.2 * np.exp(rng.standard_normal(n) * 1e-3)
    group = PairGroup("1m", n * MINUTE)
    place = group.add(PairSettings(Y, X, "1m", 90, 20, method, space), 0, 1)
    for name, closes in ((Y, y), (X, x)):
        there = np.flatnonzero(rng.random(n) >= holes)
        asked = group.begin(symbols.id_of(name))
        assert asked is not None
        bars = bars_like(symbols, name, "1m", (there * MINUTE).tolist(), closes[there].tolist())
        group.fill(symbols.id_of(name), asked[1], bars)
    group.settle(1 << 60)
    moments, state, out = np.zeros(1, MOMENTS), np.empty(group.fresh.size), np.empty((2, 2))
    compared = 0
    for slot in (n, n + 1, n + 5):
        learn(group, moments, slot)
        for _ in range(20):
            prices = y[-1] * np.exp(rng.standard_normal() * 3e-3), x[-1] * np.exp(rng.standard_normal() * 3e-3)
            exact = group.provisional(place, slot, *prices).record[0]
            spaced = np.log(prices) if space == "log" else prices
            one = group.pairs[place], moments[0], group.filters[place], group.fresh, state
            quick_values(*one, *map(float, spaced), out)
            assert abs(out[ZSCORE, 0] - exact["zscore"]) <= 1e-3 * out[ZSCORE, 1]
            assert abs(out[LAST, 0] - exact["last"]) <= 1e-3 * out[LAST, 1]
            compared += 1
    assert compared == 60


def test_where_digits_are_lost_the_quick_look_says_so() -> None:
    symbols, n = Symbols([Y, X]), 100
    x = 100.0 + np.arange(n) % 7
    group = PairGroup("1m", n * MINUTE)
    place = group.add(PairSettings(Y, X, "1m", 30, 10, "ols", "linear"), 0, 1)
    for name, closes in ((Y, 2.0 * x), (X, x)):
        asked = group.begin(symbols.id_of(name))
        assert asked is not None
        opens = (np.arange(n) * MINUTE).tolist()
        group.fill(symbols.id_of(name), asked[1], bars_like(symbols, name, "1m", opens, closes.tolist()))
    group.settle(1 << 60)
    moments, out = np.zeros(1, MOMENTS), np.empty((2, 2))
    learn(group, moments, n)
    one = group.pairs[place], moments[0], group.filters[place], group.fresh, np.empty(group.fresh.size)
    quick_values(*one, 204.0, 102.0, out)
    assert np.isinf(out[ZSCORE, 1])


def learn(group: PairGroup, moments: Any, slot: int) -> None:
    """Let the scan take the moments of the closed bars, as a tick in a slot makes it."""
    none, legs = np.empty(0, np.int64), np.array([[0, 1]])
    bounds = np.full((group.pairs.size, 2, 2), (-1e300, 1e300))
    moments["revision"] = -1
    scan_pairs(
        np.zeros(1, np.int32),
        np.array([slot * group.step_ns]),
        np.array([3_000.0]),
        np.ones(1, np.bool_),
        0,
        group.step_ns,
        np.array([0, 1]),
        np.zeros(1, np.int64),
        np.array([2_999.0, 60_000.0]),
        np.zeros(2, np.int64),
        legs,
        group.pairs,
        moments,
        group.filters,
        group.fresh,
        group.tape.logs,
        group.tape.closes,
        bounds,
        np.zeros(group.pairs.size, np.int64),
        np.empty((2, 500)),
        np.empty(1, np.int64),
        none.copy(),
        none.copy(),
        np.empty((1, 2)),
    )
