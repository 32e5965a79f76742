"""No look-ahead: the declarations of the backtest, whose equity may not know what comes after a bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pairscope.analytics import backtest, gates, performance, signals

from .declaring import Declaration, PerBar, Series, Whole

_RULE = signals.signal_rule(entry=1.2, exit=0.3, stop=2.0, max_holding=6, cooldown=2)


def _each_way(s: Series) -> list[np.ndarray]:
    """Equity and drawdown with every hedge ratio, space and fill, all costs charged."""
    found = []
    for hedge, fill, space in [
        ("ols", "next", "log"),
        ("huber", "same", "linear"),
        ("kalman", "next", "linear"),
        (0.5, "next", "log"),
        (0.5, "same", "linear"),
    ]:
        terms: dict[str, Any] = {"hedge": hedge, "fill": fill, "price_space": space}
        made = backtest.backtest_pair(
            s.y,
            s.x,
            lookback=12,
            window=8,
            entry=1.2,
            exit=0.3,
            stop=2.0,
            max_holding=6,
            cooldown=2,
            fee_bps=4,
            slippage_bps=1,
            funding_y=s.volume * 1e-4,
            **terms,
        )
        found += [made.equity["equity"], made.equity["drawdown"]]
    return found


def _hedges(s: Series) -> list[np.ndarray]:
    return [column for hedge in ("ols", "huber", "kalman") for column in backtest.causal_hedge(s.y, s.x, hedge, 12)]


def _steps(s: Series, k: int) -> list[np.ndarray]:
    """Decisions by a state that is copied after ``k`` rows."""
    state, made = signals.signal_state(), []
    for t, z in enumerate(s.y - s.x / 2 - 3):
        if t == k:
            state = state.copy()
        made.append(signals.signal_step(state, _RULE, float(z), float(z), bool(t % 5)))
    return [np.array(made)]


_ONE = Whole("one figure of all returns given")

BACKTEST: Mapping[str, Declaration] = {
    "pairscope.analytics.backtest.backtest_pair": PerBar(_each_way, 12),
    "pairscope.analytics.backtest.causal_hedge": PerBar(_hedges, 12),
    "pairscope.analytics.signals.signal_step": PerBar(lambda s: _steps(s, 0), resumed=_steps),
    "pairscope.analytics.signals.signal_state": Whole("the state before the first bar"),
    "pairscope.analytics.signals.signal_rule": Whole("thresholds"),
    "pairscope.analytics.pair_positions.trade_pair": Whole("writes what backtest_pair returns, which is checked"),
    "pairscope.analytics.pair_positions.position_step": Whole("the step of trade_pair"),
    "pairscope.analytics.pair_positions.position_state": Whole("the state before the first bar"),
    **{
        f"pairscope.analytics.backtest_terms.{name}": Whole("checks arguments; what is made of them is checked")
        for name in (
            "bar_times",
            "checked_count",
            "checked_mask",
            "checked_rates",
            "fill_prices",
            "leg_ranges",
            "legs_costs",
            "traded_terms",
        )
    },
    "pairscope.analytics.gates.cointegration_gate": PerBar(
        lambda s: gates.cointegration_gate(s.y, s.x, lookback=30, every=3), 30
    ),
    "pairscope.analytics.gates.sentinel_gate": PerBar(lambda s: gates.sentinel_gate(s.y, s.x, training=50), 50),
    "pairscope.analytics.tick_fills.tick_fills": Whole("a fill is in trades after its bar; its test cuts those off"),
    "pairscope.analytics.tick_fills.tick_slippage": Whole("one figure a finished trade"),
    "pairscope.analytics.trades.tabulate_trades": Whole("names columns, computes nothing"),
    "pairscope.analytics.performance.drawdowns": PerBar(lambda s: performance.drawdowns(s.x)),
    **{
        f"pairscope.analytics.performance.{name}": _ONE
        for name in (
            "deflated_sharpe",
            "expected_best_sharpe",
            "longest_drawdown",
            "performance",
            "probabilistic_sharpe",
            "return_shape",
            "sharpe_stderr",
            "sortino",
            "tail_ratio",
        )
    },
}
