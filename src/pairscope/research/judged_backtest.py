"""A backtest and what to think of it: the run itself, how far chance explains it, and a verdict in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from pairscope.analytics.backtest import Backtest
from pairscope.errors import InputError
from pairscope.market.bars import timeframe_ns
from pairscope.market.ticks import B1, F8
from pairscope.research.asked_backtest import backtest_keywords, run_backtest, traded_bars
from pairscope.research.backtest_honesty import honesty_of
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.backtest_verdict import Conditions, verdict_of
from pairscope.research.calendar_returns import calendar_returns
from pairscope.research.null_backtests import BLOCK, null_backtests, score
from pairscope.research.pair_bars import PairBars
from pairscope.research.pair_gaps import gap_head, gap_words, touched_trades

__all__ = ["JudgedBacktest", "backtest_keywords", "judge_backtest", "run_backtest", "traded_bars"]

_MS: Final = 1_000_000
_SPLIT: Final = ("spread_pnl", "fees", "slippage", "funding", "pnl")
_NULL: Final = (
    f"the same rule, costs and sizes on surrogate pairs: each leg's own moves in blocks of {BLOCK} bars on average, "
    "put into an order of its own"
)
_SERIES: Final = ("zscore", "spread", "beta")


@dataclass(frozen=True, slots=True, eq=False)
class JudgedBacktest:
    """A backtest with its ``honesty`` (how far chance explains it) and ``verdict`` in words.

    ``pnl`` is the money split into what prices earned, fees, slippage and funding; ``returns`` the days and months.
    """

    request: BacktestRequest
    backtest: Backtest
    honesty: Mapping[str, Any]
    verdict: Mapping[str, Any]
    pnl: Mapping[str, float]
    returns: Mapping[str, Any]
    met_gaps: B1 | None = None
    """Which trades met a bar that lacks trades of a leg; None where no bar used does."""

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
            "series": {name: _or_none(backtest.series[name]) for name in _SERIES},
            "trades": [{**_trade(trade), **met} for trade, met in zip(backtest.trades, self._met(), strict=True)],
            "returns": dict(self.returns),
            "assumptions": dict(backtest.assumptions),
        }

    def _met(self) -> list[dict[str, bool]]:
        """Return of each trade if it met a gap, where any did."""
        if self.met_gaps is None:
            return [{} for _ in self.backtest.trades]
        return [{"gap": met} for met in self.met_gaps.tolist()]


def judge_backtest(
    request: BacktestRequest,
    bars: PairBars,
    *,
    trials: int = 1,
    nulls: int = 199,
    seed: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> JudgedBacktest:
    """Return the backtest of a request, judged: the same request and bars get the same judgement.

    ``trials`` is how many rules were tried on this pair in all, this one included; ``nulls`` how many surrogate pairs
    the same rule is tried on (fewer where it takes long, ``nulls_within``). ``progress`` is told how many runs of how
    many are done; ``CancelledError`` soon after ``cancelled`` answers True. ``InputError`` names what cannot be.
    """
    if isinstance(trials, bool) or int(trials) != trials or trials < 1:
        raise InputError("trials: must be a whole number of at least 1", loc="trials")
    used, first = traded_bars(request, bars)
    backtest = run_backtest(request, bars, threads=threads, cancelled=cancelled)
    if cancelled is not None and cancelled():
        raise CancelledError("the backtest was cancelled")
    chance = null_backtests(
        request,
        used,
        first,
        score(backtest.equity["equity"]),
        nulls=nulls,
        seed=seed,
        threads=threads,
        progress=progress and (lambda done, total: progress(done + 1, total + 1)),
        cancelled=cancelled,
    )
    honesty = honesty_of(backtest, chance, trials=int(trials))
    lacking = gap_words(gap_head(used), request.y, request.x)
    met = touched_trades(used, first, backtest.trades) if lacking else None
    verdict = verdict_of(request, backtest, honesty, _conditions(request, used, first, lacking, met))
    capital = request.notional if request.capital is None else request.capital
    told = {"null": _NULL, **({"gaps": lacking} if lacking else {})}
    return JudgedBacktest(
        request,
        replace(backtest, assumptions={**backtest.assumptions, **told}),
        honesty.document(),
        verdict.document(),
        {name: float(backtest.metrics[name] or 0.0) for name in _SPLIT},
        calendar_returns(backtest.equity["timestamp"], backtest.equity["equity"], capital),
        met,
    )


def _conditions(request: BacktestRequest, used: PairBars, first: int, lacking: str, met: B1 | None) -> Conditions:
    """Return what the traded bars met with.

    A hole in the recorded trades that every bar is whole in spite of, by the exchange's word, is no gap of prices; it
    is one where trades fill orders.
    """
    times = used.times_ns[first:]
    whole = int(times[-1] - times[0]) // timeframe_ns(used.timeframe) + 1
    known = used.funding_y is not None or used.funding_x is not None
    matter = bool(lacking) or used.gap_y is None or request.latency_ms is not None
    return Conditions(
        open_gaps=max(used.open_gaps, bool(lacking)) if matter else 0,
        missing=1.0 - times.size / max(whole, 1),
        funding_known=known,
        lacking=lacking,
        met=0 if met is None else int(met.sum()),
    )


def _or_none(column: F8) -> list[float | None]:
    """Return a column as a list, None where it is not finite."""
    return [value if there else None for value, there in zip(column.tolist(), np.isfinite(column), strict=True)]


def _trade(trade: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trade with its times in ms."""
    return {name: int(value) // _MS if name.endswith("_timestamp") else value for name, value in trade.items()}
