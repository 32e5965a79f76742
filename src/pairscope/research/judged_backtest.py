"""A backtest and what to think of it: the run itself, how far chance explains it, and a verdict in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pairscope.analytics.backtest import Backtest, backtest_pair
from pairscope.analytics.performance import drawdowns, performance
from pairscope.analytics.trades import Trades
from pairscope.errors import InputError, NotEnoughData
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.pair_bars import PairBars

__all__ = ["JudgedBacktest", "backtest_keywords", "judge_backtest", "run_backtest", "traded_bars"]

_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class JudgedBacktest:
    """A backtest with its ``honesty`` (how far chance explains it) and ``verdict`` in words."""

    request: BacktestRequest
    backtest: Backtest
    honesty: Mapping[str, Any]
    verdict: Mapping[str, Any]
    pnl: Mapping[str, float]

    def document(self) -> dict[str, Any]:
        """Return everything under the names of the API: times in ms, what is not known None."""
        backtest = self.backtest
        return {
            "request": self.request.document(),
            "verdict": dict(self.verdict),
            "honesty": dict(self.honesty),
            "metrics": dict(backtest.metrics),
            "pnl": dict(self.pnl),
            "equity": {
                "timestamp": (backtest.equity["timestamp"] // _MS).tolist(),
                "equity": backtest.equity["equity"].tolist(),
                "drawdown": backtest.equity["drawdown"].tolist(),
            },
            "trades": [_trade(trade) for trade in backtest.trades],
            "assumptions": dict(backtest.assumptions),
        }


def traded_bars(request: BacktestRequest, bars: PairBars) -> tuple[PairBars, int]:
    """Return the bars that a request uses, and the row of the first one that is traded: what is before is warm-up.

    ``NotEnoughData`` where too few are left to trade a single bar.
    """
    first = 0 if request.start_ns is None else int(np.searchsorted(bars.times_ns, request.start_ns))
    last = len(bars) if request.end_ns is None else int(np.searchsorted(bars.times_ns, request.end_ns))
    begin = 0 if request.start_ns is None else max(first - request.warmup_bars(), 0)
    used = bars.take(slice(begin, last))
    need = request.warmup_bars() + 2
    if len(used) < need or last - first < 2:
        raise _too_few(request, len(used), max(last - first, 0), need)
    return used, first - begin


def backtest_keywords(request: BacktestRequest, bars: PairBars, first: int = 0) -> dict[str, Any]:
    """Return all keywords of ``backtest_pair`` for bars of ``traded_bars``; nothing is entered before row ``first``."""
    made = {**request.arguments(), "timestamps": bars.times_ns}
    if request.funding:
        made |= {"funding_y": bars.funding_y, "funding_x": bars.funding_x}
    if request.latency_ms is not None:
        raise InputError("latency_ms: no ticks are at hand to fill from", loc="latency_ms")
    if first > 0:
        made["gate"] = np.arange(len(bars)) >= first
    return made


def run_backtest(request: BacktestRequest, bars: PairBars) -> Backtest:
    """Return the backtest of a request, its equity and metrics over [start, end) alone."""
    used, first = traded_bars(request, bars)
    made = backtest_pair(used.y.close, used.x.close, **backtest_keywords(request, used, first))
    return made if first == 0 else _from_row(made, first)


def judge_backtest(
    request: BacktestRequest,
    bars: PairBars,
    *,
    trials: int = 1,
    nulls: int = 199,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> JudgedBacktest:
    """Return the backtest of a request, judged.

    ``trials`` is how many rules were tried on this pair in all, this one included; ``nulls`` how many surrogate pairs
    the same rule is tried on.
    """
    backtest = run_backtest(request, bars)
    split = ("pnl", "spread_pnl", "fees", "slippage", "funding")
    return JudgedBacktest(
        request,
        backtest,
        {"trials": trials},
        {"level": "unknown", "title": "Not judged", "sentences": []},
        {name: float(backtest.metrics[name] or 0.0) for name in split},
    )


def _from_row(made: Backtest, first: int) -> Backtest:
    """Return a backtest without its warm-up: money, trades and figures from row ``first`` on."""
    equity = made.equity["equity"][first:]
    columns = {**made.trades.columns}
    for name in ("entry_bar", "exit_bar"):
        columns[name] = columns[name] - first
    return Backtest(
        performance(equity, columns, bars_per_year=made.assumptions["bars_per_year"]),
        {"timestamp": made.equity["timestamp"][first:], "equity": equity, "drawdown": drawdowns(equity)},
        Trades(columns),
        {**made.assumptions, "bars": int(equity.size), "warmup": first},
    )


def _too_few(request: BacktestRequest, have: int, traded: int, need: int) -> NotEnoughData:
    """Say how many bars are missing, and what can be done."""
    error = NotEnoughData("a backtest", need=need, have=have)
    if traded < 2:
        error.args = (
            f"{request.y} and {request.x} have {traded} {request.timeframe} bars in common from start to end",
        )
        error.hint = "choose another range, or symbols that traded in it"
    else:
        warmup = request.warmup_bars()
        error.args = (
            f"lookback: a backtest needs {need} {request.timeframe} bars that both legs have, of which {warmup} are "
            f"warm-up; there are {have}",
        )
        error.hint = "choose a shorter lookback or timeframe, or a longer range"
        error.loc = "lookback"
    return error


def _trade(trade: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trade with its times in ms."""
    return {name: int(value) // _MS if name.endswith("_timestamp") else value for name, value in trade.items()}
