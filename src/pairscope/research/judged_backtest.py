"""A backtest and what to think of it: the run itself, how far chance explains it, and a verdict in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pairscope.analytics.backtest import Backtest
from pairscope.research.asked_backtest import backtest_keywords, run_backtest, traded_bars
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


def _trade(trade: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trade with its times in ms."""
    return {name: int(value) // _MS if name.endswith("_timestamp") else value for name, value in trade.items()}
