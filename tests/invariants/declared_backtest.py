"""No look-ahead: the declarations of the backtest, whose equity may not know what comes after a bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pairscope.analytics import (
    backtest,
    backtest_terms,
    gates,
    pair_positions,
    pair_terms,
    pair_window,
    performance,
    signals,
)

from .declaring import Declaration, PerBar, Series, Whole

_TERMS = backtest_terms.traded_terms(
    notional=1e4,
    capital=None,
    maintenance=0.005,
    fees=(4.0, 4.0),
    slippages=(1.0, 1.0),
    slippage_range=0.1,
    steps=(0.01, None),
    rehedge=0.05,
    fill="next",
    price_space="linear",
    sizing="beta",
)
_RULE = signals.signal_rule(entry=1.2, exit=0.3, stop=2.0, max_holding=6, cooldown=2)


def _each_way(s: Series) -> list[np.ndarray]:
    """Equity and drawdown with every hedge ratio, space, fill, size and way of holding, all costs charged."""
    found = []
    after = np.arange(1, s.x.size + 1)
    late, known = after + after % 3, np.append(s.x, np.full(3, np.nan))
    given = {"fill_y": np.append(s.y, np.full(3, np.nan))[late], "fill_x": known[late], "fill_bar": late}
    ways: list[dict[str, Any]] = [
        {"hedge": "ols"},
        {"hedge": "huber", "fill": "same", "price_space": "linear"},
        {"hedge": "kalman", "price_space": "linear"},
        {"hedge": 0.5},
        {"hedge": 0.5, "fill": "same", "price_space": "linear"},
        {"hedge": "ols", "fill": "open", "rehedge": 0.05, "step_y": 0.5, "step_x": 2.0},
        {"hedge": "huber", "fill": "same", "rehedge": 0.1, "capital": 700.0, "maintenance": 0.05},
        {"hedge": "kalman", "sizing": "dollar", **given},
        {"hedge": "ols", "rehedge": 0.1, "price_space": "linear", **given},
        {"hedge": 0.5, "gate": after % 7 > 1, "fill": "open", "sizing": "dollar"},
    ]
    for way in ways:
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
            fee_bps=(4, 2),
            slippage_bps=1,
            slippage_range=0.1,
            funding_y=s.volume * 1e-4,
            open_y=s.y * (1 + s.volume * 1e-3),
            open_x=s.bars.open,
            high_y=s.y + s.volume,
            low_y=s.y,
            high_x=s.bars.high,
            low_x=s.bars.low,
            **way,
        )
        found += [made.equity["equity"], made.equity["drawdown"], *made.series.values()]
    return found


def _positions(s: Series, k: int) -> list[np.ndarray]:
    """Equity by a state that is copied after ``k`` bars; nothing is closed at the end."""
    hedge = backtest.causal_hedge(s.y, s.x, "ols", 12)
    zscore = pair_window.spread_windows(s.y, s.x, 8, alpha=hedge.alpha, beta=hedge.beta).zscore
    fills = backtest_terms.fill_prices(s.y, s.x, "next")
    paid, allowed = s.volume * 1e-4, np.full(s.y.size, True)
    columns = pair_terms.PairColumns(s.y, s.x, s.y, s.x, *fills, *[paid] * 4, *hedge, zscore, allowed)
    state, equity = pair_positions.position_state(1e4), np.empty(s.y.size)
    rows = np.empty((s.y.size, len(pair_terms.POSITION_FIELDS)))
    for end in (k, s.y.size):
        part = pair_terms.PairColumns._make(column[:end] for column in columns)
        state = state.copy()
        pair_positions.trade_pair(part, 8, _RULE, _TERMS, False, state, rows, equity[:end])
    return [equity]


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
    "pairscope.analytics.pair_positions.trade_pair": PerBar(lambda s: _positions(s, 0), 12, resumed=_positions),
    "pairscope.analytics.pair_positions.position_step": Whole("the step of trade_pair"),
    "pairscope.analytics.pair_positions.position_state": Whole("the state before the first bar"),
    **{
        f"pairscope.analytics.backtest_terms.{name}": Whole("checks arguments; what is made of them is checked")
        for name in (
            "bar_numbers",
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
            "effective_returns",
            "expected_best_sharpe",
            "longest_drawdown",
            "performance",
            "probabilistic_sharpe",
            "return_shape",
            "sharpe_stderr",
            "sortino",
            "sortino_stderr",
            "tail_ratio",
        )
    },
}
