"""Paper against backtest: the same rule over the same stored bars has to make the same trades, to the last bit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from pairscope.analytics.backtest_terms import MAINTENANCE, legs_costs, traded_terms
from pairscope.analytics.pair_terms import PairTerms
from pairscope.analytics.signals import SignalRule, signal_rule
from pairscope.errors import InputError
from pairscope.market.bars import timeframe_ns
from pairscope.research.asked_backtest import backtest_keywords
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.pair_bars import PairBars

__all__ = ["COMPARED", "paper_check", "paper_request", "paper_terms"]

COMPARED: Final = (
    "side", "entry_zscore", "exit_zscore", "beta", "quantity_y", "quantity_x", "entry_value", "exit_value",
    "spread_pnl", "fees", "slippage", "funding", "pnl", "reason", "rehedges", "turnover", "entry_price_y",
    "entry_price_x", "exit_price_y", "exit_price_x",
)  # fmt: skip
"""The fields of a trade that are compared, beside the bars of both fills."""

_SIDES: Final = {1.0: "long", -1.0: "short"}


def paper_request(document: Any) -> BacktestRequest:
    """Return the checked request of a rule to be followed on paper; ``InputError`` names what cannot be, yet.

    >>> paper_request({"y": "ETHUSDT", "x": "BTCUSDT", "window": 30}).window
    30
    """
    request = BacktestRequest.from_document(document)
    refused = {
        "start": request.start_ns is not None,
        "end": request.end_ns is not None,
        "fill": request.fill == "same",
        "latency_ms": request.latency_ms is not None,
        "gate": request.gate is not None,
        "funding": request.funding,
    }
    why = {
        "start": "a paper position begins with the next bar",
        "end": "a paper position goes on until it is deleted",
        "fill": "nobody can have the price that decides; next and open can be followed",
        "latency_ms": "paper is filled from bars",
        "gate": "paper positions have no gate",
        "funding": "paper positions are not charged funding",
    }
    for name, is_refused in refused.items():
        if is_refused:
            raise InputError(f"{name}: {why[name]}", loc=name)
    return replace(request, round_steps=False)


def paper_terms(request: BacktestRequest) -> tuple[SignalRule, PairTerms]:
    """Return the rule and the terms that a backtest of a request has."""
    rule = signal_rule(
        entry=request.entry,
        exit=request.exit,
        stop=request.stop,
        max_holding=request.max_holding,
        cooldown=request.cooldown,
    )
    terms = traded_terms(
        notional=request.notional,
        capital=request.capital,
        maintenance=MAINTENANCE,
        fees=legs_costs(request.fee_bps, "fee_bps"),
        slippages=legs_costs(request.slippage_bps, "slippage_bps"),
        slippage_range=request.slippage_range,
        steps=(None, None),
        rehedge=request.rehedge,
        fill=request.fill,
        price_space=request.price_space,
        sizing=request.sizing,
    )
    return rule, terms


def paper_check(
    request: BacktestRequest,
    bars: PairBars,
    *,
    since_ns: int,
    trades: Sequence[Mapping[str, Any]],
    equity: float,
    opened_ns: int | None,
) -> dict[str, Any]:
    """Return how a paper position and a backtest over the same bars agree: what was compared, and what differs.

    ``bars`` begin where the rule's history does and end with the last bar that it has decided; ``trades`` are those
    that were recorded when they closed, ``opened_ns`` the bar in which what is open was filled. A bar that a late tick
    corrected after it was decided on, or that came later altogether, is a reason to differ, and no other is.
    """
    from pairscope.analytics.backtest import backtest_pair

    first = int(np.searchsorted(bars.times_ns, since_ns))
    if len(bars) - first < 1 or len(bars) < request.warmup_bars() + 2:
        return {
            "bars": max(len(bars) - first, 0),
            "trades": 0,
            "equal": None,
            "differences": [],
            "reason": "no bars yet",
        }
    made = backtest_pair(bars.y.close, bars.x.close, **backtest_keywords(request, bars, first))
    theirs = [trade for trade in made.trades if trade.reason != "end"]
    still = [trade for trade in made.trades if trade.reason == "end"]
    differences: list[str] = []
    for number, (mine, other) in enumerate(zip(trades, theirs, strict=False), 1):
        differences += [f"trade {number}: {said}" for said in _trade_differences(mine, other)]
    if len(trades) != len(theirs):
        differences.append(f"{len(trades)} trades on paper, {len(theirs)} in the backtest")
    opened = int(still[0].entry_timestamp) if still else None
    if opened != opened_ns:
        differences.append(f"open since {opened_ns} on paper, since {opened} in the backtest")
    worth = float(made.equity["equity"][-1])
    if worth != equity:
        differences.append(f"equity {equity!r} on paper, {worth!r} in the backtest")
    return {
        "bars": len(bars) - first,
        "trades": len(theirs),
        "equal": not differences,
        "differences": differences[:20],
        "from": int(bars.times_ns[first]) // 1_000_000,
        "to": (int(bars.times_ns[-1]) + timeframe_ns(bars.timeframe)) // 1_000_000,
    }


def _trade_differences(mine: Mapping[str, Any], other: Any) -> list[str]:
    """Return the fields of a trade that are not the same bits."""
    found = [
        f"{name} {mine[name]} on paper, {int(other[name])} in the backtest"
        for name in ("entry_timestamp", "exit_timestamp")
        if int(mine[name]) != int(other[name])
    ]
    for name in COMPARED:
        paper, tested = mine[name], other[name]
        if name == "side":
            paper = _SIDES[float(paper)]
        if isinstance(paper, float) and math.isnan(paper):
            paper = None
        if paper != tested:
            found.append(f"{name} {paper!r} on paper, {tested!r} in the backtest")
    return found
