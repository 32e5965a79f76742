"""How sure a backtest is, in figures: against chance, against its own error, after all the rules that were tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, sqrt
from typing import Any, Final

import numpy as np

from pairscope.analytics.backtest import Backtest
from pairscope.analytics.performance import (
    ReturnShape,
    deflated_sharpe,
    effective_returns,
    expected_best_sharpe,
    probabilistic_sharpe,
    return_shape,
    sharpe_stderr,
)
from pairscope.market.ticks import F8
from pairscope.research.null_backtests import NullBacktests

__all__ = ["Honesty", "honesty_of"]

_MOST_LAGS: Final = 1000
_SURE: Final = 1.959963984540054
"""Standard errors each way of a 95 % interval."""
_STATISTIC: Final = "Sharpe ratio, a year, of the money made a bar"


@dataclass(frozen=True, slots=True)
class Honesty:
    """What there is to say for and against a result; None where it cannot be said.

    ``null_pvalue`` is (1 + surrogate pairs that did as well) / (1 + ``nulls_run``), ``nulls_asked`` how many were
    wanted; ``null_score`` and ``null_median`` are ``null_statistic`` of the run and of the middle surrogate.
    ``effective_returns`` says how many independent ones the ``returns`` count for: the Sharpe ratio's error, its 95 %
    interval and both probabilities are reckoned on them. ``deflated_sharpe`` is the probability of any skill after
    ``trials`` rules tried, whose ratios are taken to scatter as the error of one does; ``expected_best`` is the
    annual ratio that the best of so many shows without any. In basis points of what both legs were worth at the entry,
    a round trip: ``edge_bps`` (± ``edge_stderr_bps``) is earned by the prices, ``cost_bps`` paid in fees and slippage,
    ``funding_bps`` in funding; ``break_even_bps`` is the cost of each leg's traded value, one way, that would leave
    nothing.
    """

    null_statistic: str
    null_pvalue: float | None
    null_score: float
    null_median: float | None
    nulls_run: int
    nulls_asked: int
    trials: int
    returns: int
    effective_returns: float
    sharpe_stderr: float | None
    sharpe_interval: tuple[float, float] | None
    probabilistic_sharpe: float | None
    deflated_sharpe: float | None
    expected_best: float | None
    edge_bps: float | None
    edge_stderr_bps: float | None
    cost_bps: float | None
    funding_bps: float | None
    break_even_bps: float | None

    def document(self) -> dict[str, Any]:
        """Return the figures by name."""
        made = asdict(self)
        made["sharpe_interval"] = None if self.sharpe_interval is None else list(self.sharpe_interval)
        return made


def honesty_of(backtest: Backtest, nulls: NullBacktests, *, trials: int) -> Honesty:
    """Return how sure a backtest is, from its equity, its trades and its surrogates. O(n · the average holding)."""
    equity, per_year = backtest.equity["equity"], float(backtest.assumptions["bars_per_year"])
    year = sqrt(per_year)
    return Honesty(
        null_statistic=_STATISTIC,
        null_pvalue=nulls.pvalue,
        null_score=nulls.real * year,
        null_median=float(np.median(nulls.scores)) * year if nulls.scores.size else None,
        nulls_run=int(nulls.scores.size),
        nulls_asked=nulls.asked,
        trials=trials,
        **_of_returns(equity, backtest.metrics["average_holding"], trials, year),
        **_of_trades(backtest.trades.columns),
    )


def _of_returns(equity: F8, holding: float | int | None, trials: int, year: float) -> dict[str, Any]:
    """Return what the returns say of the Sharpe ratio; None where they do not vary or equity was lost."""
    made: dict[str, Any] = dict.fromkeys(
        ("sharpe_stderr", "sharpe_interval", "probabilistic_sharpe", "deflated_sharpe", "expected_best")
    )
    n = equity.size - 1
    made |= {"returns": n, "effective_returns": float(n)}
    if n < 3 or equity.min() <= 0.0:
        return made
    returns = equity[1:] / equity[:-1] - 1.0
    shape = return_shape(returns)
    lags = max(4.0 * (n / 100.0) ** (2.0 / 9.0), float(holding or 0.0))
    made["effective_returns"] = effective = effective_returns(returns, min(ceil(lags), n // 4, _MOST_LAGS))
    independent = max(int(effective), 2)
    law = _law(shape)
    if shape.sharpe is None or law is None:
        return made
    error = sharpe_stderr(shape.sharpe, independent, **law)
    chance = 1.0 / (independent - 1)
    best = expected_best_sharpe(trials, chance)
    low, high = ((shape.sharpe + side * _SURE * error) * year for side in (-1.0, 1.0))
    return made | {
        "sharpe_stderr": error * year,
        "sharpe_interval": (low, high),
        "probabilistic_sharpe": probabilistic_sharpe(shape.sharpe, independent, **law),
        "deflated_sharpe": deflated_sharpe(shape.sharpe, independent, trials=trials, variance=chance, **law),
        "expected_best": best * year,
    }


def _law(shape: ReturnShape) -> dict[str, float] | None:
    """Return skewness and kurtosis where they give the ratio an error."""
    if shape.sharpe is None or shape.skew is None or shape.kurtosis is None:
        return None
    inside = 1.0 - shape.skew * shape.sharpe + 0.25 * (shape.kurtosis - 1.0) * shape.sharpe**2
    return {"skew": shape.skew, "kurtosis": shape.kurtosis} if inside > 1e-12 else None


def _of_trades(trades: Mapping[str, Any]) -> dict[str, Any]:
    """Return edge and costs of a round trip, in basis points of the legs' value at the entry."""
    made: dict[str, Any] = dict.fromkeys(("edge_bps", "edge_stderr_bps", "cost_bps", "funding_bps", "break_even_bps"))
    value = trades["entry_value"]
    if not value.size:
        return made
    entered, turned = float(value.sum()), float(trades["turnover"].sum())
    earned = trades["spread_pnl"]
    edge = float(earned.sum()) / entered
    made["edge_bps"] = 1e4 * edge
    if value.size > 1:
        made["edge_stderr_bps"] = 1e4 * float((earned - edge * value).std(ddof=1)) * sqrt(value.size) / entered
    made["cost_bps"] = 1e4 * float(trades["fees"].sum() + trades["slippage"].sum()) / entered
    made["funding_bps"] = 1e4 * float(trades["funding"].sum()) / entered
    made["break_even_bps"] = 1e4 * (float(earned.sum()) - float(trades["funding"].sum())) / turned
    return made
