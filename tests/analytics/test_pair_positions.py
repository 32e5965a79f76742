"""A position stepped bar by bar is the batch's, to the bit: what is on paper today is the backtest of tomorrow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pairscope.analytics.backtest import backtest_pair
from pairscope.analytics.backtest_terms import traded_terms
from pairscope.analytics.pair_positions import (
    POSITION_BARS,
    POSITION_EQUITY,
    POSITION_OPEN,
    POSITION_ORDER,
    POSITION_ROW,
    position_state,
    position_step,
)
from pairscope.analytics.pair_terms import POSITION_FIELDS, PairBar
from pairscope.analytics.pair_window import fit_window, zscore_window
from pairscope.analytics.signals import SIGNAL_ENTER, signal_rule

TERMS: dict[str, Any] = {"notional": 5_000.0, "capital": 2_500.0, "maintenance": 0.01, "rehedge": 0.02}
RULE: dict[str, Any] = {"entry": 1.8, "exit": 0.3, "stop": 3.0, "max_holding": 40, "cooldown": 5}


@pytest.mark.parametrize("fill", ["next", "open", "same"])
def test_a_position_stepped_with_the_last_bars_alone_is_the_backtest_s_to_the_bit(fill: Any) -> None:
    rng = np.random.default_rng(1)
    y, x = np.exp(np.cumsum(rng.standard_normal((2, 900)) * 1e-3, axis=1)) * [[100.0], [7.0]]
    opens = np.array([y, x]) * (1 + rng.normal(0, 1e-4, (2, 900)))
    rates = rng.normal(0, 1e-5, (2, 900))
    made = backtest_pair(
        y, x, hedge="ols", lookback=120, window=30, **RULE, **TERMS, fill=fill, fee_bps=(4, 2), slippage_bps=1,
        open_y=opens[0], open_x=opens[1], funding_y=rates[0], funding_x=rates[1], step_y=0.001, step_x=0.01,
    )  # fmt: skip
    terms = traded_terms(
        **TERMS, fees=(4.0, 2.0), slippages=(1.0, 1.0), slippage_range=0.0, steps=(0.001, 0.01), fill=fill,
        price_space="log", sizing="beta",
    )  # fmt: skip
    rule, state = signal_rule(**RULE), position_state(2_500.0)
    rows, equity = [], []
    for t in range(900):
        # Only the last 120 bars are kept, as a live pair keeps them.
        ys, xs = (np.log(leg[max(0, t - 119) : t + 1]) for leg in (y, x))
        fit = fit_window(ys, xs, ys.size, 120)
        z = zscore_window(ys, xs, ys.size, 30, fit.alpha, fit.beta).zscore
        filled = (opens[0, t], opens[1, t]) if fill == "open" else (y[t], x[t])
        bar = PairBar(y[t], x[t], *filled, 0.0, 0.0, rates[0, t], rates[1, t], fit.alpha, fit.beta, z, allowed=True)
        if position_step(state, bar, ys, xs, ys.size, 30, rule, terms, False):
            rows.append(dict(zip(POSITION_FIELDS, state[POSITION_ROW:].tolist(), strict=True)))
        equity.append(state[POSITION_EQUITY])
    np.testing.assert_array_equal(equity[:-1], made.equity["equity"][:-1])
    finished = [t for t in made.trades if t.reason != "end"]
    assert len(finished) == len(rows) > 10
    assert made.metrics["rehedges"] > 5
    for row, trade in zip(rows, finished, strict=True):
        assert {name: row[name] for name in row if name not in ("side", "reason")} == {
            name: trade[name] for name in row if name not in ("side", "reason")
        }


def test_an_order_stands_until_a_bar_has_prices_for_it() -> None:
    flat, rule = np.full(2, 100.0), signal_rule(entry=1.5, exit=0.5)
    terms = traded_terms(
        notional=1000.0, capital=None, maintenance=0.0, fees=(0.0, 0.0), slippages=(0.0, 0.0), slippage_range=0.0,
        steps=(None, None), rehedge=None, fill="next", price_space="linear", sizing="beta",
    )  # fmt: skip
    state = position_state(1000.0)
    for t, (fill, held) in enumerate([(90.0, 0.0), (np.nan, 0.0), (np.nan, 0.0), (91.0, 1.0)]):
        bar = PairBar(90.0, 100.0, fill, fill, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -2.0, allowed=True)
        assert not position_step(state, bar, flat, flat, 2, 2, rule, terms, False)
        assert state[POSITION_BARS] == t + 1
        assert state[POSITION_OPEN] == held
        assert (state[POSITION_ORDER] == SIGNAL_ENTER) == (held == 0.0)
    row = dict(zip(POSITION_FIELDS, state[POSITION_ROW:].tolist(), strict=True))
    assert (row["entry_decided"], row["entry_bar"], row["entry_price_y"], row["exit_price_y"]) == (0, 3, 91.0, 90.0)
