"""Gates open where a test of the bars before says so, and the test is the one that anybody can make of those bars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from statsmodels.tsa.stattools import coint

from pairscope.analytics.backtest import backtest_pair
from pairscope.analytics.gates import cointegration_gate, sentinel_gate
from pairscope.analytics.sentinel import SentinelStatus, break_sentinel


def breaking(n: int, seed: int, *, until: int, phi: float = 0.85) -> tuple[np.ndarray, np.ndarray]:
    """Logs of a pair whose spread reverts until a bar and wanders from there on."""
    rng = np.random.default_rng(seed)
    x = 3 + np.cumsum(rng.standard_normal(n)) * 1e-3
    spread, noise = np.zeros(n), rng.standard_normal(n) * 1e-3
    for t in range(1, n):
        spread[t] = (phi if t < until else 1.0) * spread[t - 1] + noise[t]
    return 1 + 0.8 * x + spread, x


@pytest.mark.parametrize("every", [1, 7])
def test_the_cointegration_gate_is_statsmodels_test_of_the_bars_before(every: int) -> None:
    y, x = breaking(420, 1, until=300)
    gate = cointegration_gate(y, x, lookback=120, pvalue=0.1, every=every)
    assert not gate[:119].any()
    assert 0.1 < gate[119:].mean() < 0.9
    for t in np.random.default_rng(2).integers(119, 420, 25):
        tested = 119 + (t - 119) // every * every
        rows = slice(tested - 119, tested + 1)
        assert gate[t] == (coint(y[rows], x[rows], trend="c", autolag="aic")[1] < 0.1)


def test_a_gate_is_closed_where_nothing_can_be_tested() -> None:
    y, x = breaking(300, 3, until=300)
    y[100:200] = 2.0 * x[100:200]
    assert not cointegration_gate(y, x, lookback=60)[159:200].any()
    x[220:280] = 3.0
    assert not cointegration_gate(y, x, lookback=40)[259:280].any()


def test_the_sentinel_gate_is_open_while_a_sentinel_of_the_bars_before_is_quiet() -> None:
    y, x = breaking(900, 4, until=10_000)
    gate = sentinel_gate(y, x, training=250)
    seen = break_sentinel(y[:500], x[:500], train=250)
    assert seen.tripped_at is None
    assert not gate[:250].any()
    np.testing.assert_array_equal(gate[250:500], seen.status[250:] == SentinelStatus.WATCHING)
    again = break_sentinel(y[250:750], x[250:750], train=250)
    np.testing.assert_array_equal(gate[500:750], again.status[250:] == SentinelStatus.WATCHING)
    assert gate[250:750].mean() > 0.8


def test_an_alarm_closes_the_gate_until_a_sentinel_was_trained_on_bars_after_it() -> None:
    closed = 0
    for seed in range(12):
        y, x = breaking(1500, seed, until=700)
        gate = sentinel_gate(y, x, training=300, rate=0.05)
        seen = break_sentinel(y[300:900], x[300:900], train=300, rate=0.05)
        first = break_sentinel(y[:600], x[:600], train=300, rate=0.05)
        if first.tripped_at is None and seen.tripped_at is not None:
            alarm = 300 + seen.tripped_at
            assert not gate[alarm : alarm + 301].any()
            closed += 1
    assert closed > 3


def test_a_flat_stretch_and_a_spread_without_noise_leave_the_gate_closed() -> None:
    y, x = breaking(400, 5, until=400)
    y[:150] = 2.0 * x[:150]
    assert not sentinel_gate(y, x, training=100)[:200].any()


def test_gates_keep_a_backtest_out_of_a_pair_that_broke() -> None:
    y, x = breaking(3000, 6, until=1500)
    rule: dict[str, Any] = {"hedge": 0.8, "lookback": 300, "window": 60, "entry": 2.0, "exit": 0.5}
    for gate in (cointegration_gate(y, x, lookback=300, every=20), sentinel_gate(y, x, training=300)):
        trades = backtest_pair(np.exp(y), np.exp(x), gate=gate, **rule).trades
        assert gate[trades["entry_decided"]].all()
        assert (trades["entry_bar"] < 1800).sum() > 3 * (trades["entry_bar"] >= 1800).sum()
    free = backtest_pair(np.exp(y), np.exp(x), **rule).trades
    assert (free["entry_bar"] >= 1800).sum() > 10


Y, X = breaking(200, 7, until=200)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("lookback", lambda: cointegration_gate(Y, X, lookback=19)),
        ("every", lambda: cointegration_gate(Y, X, lookback=50, every=0)),
        ("pvalue", lambda: cointegration_gate(Y, X, lookback=50, pvalue=float("nan"))),
        ("y", lambda: cointegration_gate(Y, X, lookback=201)),
        ("x", lambda: cointegration_gate(Y, X[:-1], lookback=50)),
        ("x", lambda: cointegration_gate(Y, np.r_[X[:-1], np.nan], lookback=50)),
        ("training", lambda: sentinel_gate(Y, X, training=49)),
        ("training", lambda: sentinel_gate(Y, X, training=10_001)),
        ("rate", lambda: sentinel_gate(Y, X, training=50, rate=0.5)),
        ("y", lambda: sentinel_gate(np.full(200, 1.0), X, training=50)),
    ],
)
def test_what_no_gate_can_be_made_of_is_refused_by_name(name: str, call: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}:"):
        call()
