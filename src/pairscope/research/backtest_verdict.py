"""What to think of a backtest, in sentences that a trader reads once: the rules are few, stated, and use no taste."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from pairscope.analytics.backtest import Backtest
from pairscope.market.bars import timeframe_ns
from pairscope.market.pairs import span_in_words
from pairscope.research.backtest_honesty import Honesty
from pairscope.research.backtest_request import BacktestRequest

__all__ = ["ENOUGH_TRADES", "LEAST_TRADES", "Conditions", "Verdict", "verdict_of"]

LEAST_TRADES: Final = 10
"""With fewer trades nothing is said for or against a rule."""

ENOUGH_TRADES: Final = 30
"""With fewer trades no result is good."""

_CHANCE: Final = 0.05
_SKILL: Final = 0.95
_ROOM: Final = 1.5
"""A good edge is at least so many times the costs."""
_HOLES: Final = 0.01
_FUNDING_NS: Final = 8 * 3_600_000_000_000

Level = Literal["good", "weak", "bad", "unknown"]


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a run met with: holes in the recorded trades, the share of bars that is missing, if funding is known.

    ``lacking`` says in words which bars lack trades by those holes, where it is known; ``met`` is how many trades of
    the run met one.
    """

    open_gaps: int = 0
    missing: float = 0.0
    funding_known: bool = False
    lacking: str = ""
    met: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A level, a title and sentences with numbers.

    ``unknown``: fewer than ``LEAST_TRADES`` trades. ``bad``: liquidated, or no profit after all costs. ``good``: a
    profit after ``ENOUGH_TRADES`` trades or more, at most 5 % of surrogate pairs as good, a deflated Sharpe ratio of
    0.95 or more, an edge of half as much again as the costs, costs that are not 0, fills that could be had, no open gap
    touched, and less than half of the profit from one trade. ``weak``: everything between.
    """

    level: Level
    title: str
    sentences: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the verdict as the API gives it."""
        return {"level": self.level, "title": self.title, "sentences": list(self.sentences)}


def verdict_of(
    request: BacktestRequest, backtest: Backtest, honesty: Honesty, conditions: Conditions | None = None
) -> Verdict:
    """Return what to think of a backtest. The same figures always give the same words."""
    met = conditions or Conditions()
    doubts = list(_doubts(request, backtest, honesty, met))
    level, title = _level(backtest, honesty, doubts)
    sentences = [
        *_about_trades(request, backtest),
        *_about_money(honesty),
        *(_about_chance(honesty) if len(backtest.trades) else ()),
        *_about_sharpe(backtest, honesty),
        *_about_risk(request, backtest),
        *_about_conditions(request, backtest, honesty, met),
    ]
    return Verdict(level, title, tuple(sentences))


def _level(backtest: Backtest, honesty: Honesty, doubts: list[str]) -> tuple[Level, str]:
    """Return level and title; a doubt is the title of what keeps a profit from being good."""
    count, profit = len(backtest.trades), float(backtest.metrics["pnl"] or 0.0)
    if count == 0:
        return "unknown", "No trade was made"
    if (backtest.trades["reason"] == "liquidation").any():
        return "bad", "The position was liquidated"
    if count < LEAST_TRADES:
        return "unknown", "Too few trades to tell"
    if profit <= 0.0:
        return "bad", "Loses before costs" if (honesty.edge_bps or 0.0) <= 0.0 else "Costs exceed the edge"
    return ("weak", doubts[0]) if doubts else ("good", "Earns more than chance and costs explain")


def _doubts(request: BacktestRequest, backtest: Backtest, honesty: Honesty, met: Conditions) -> Iterator[str]:
    """Yield what keeps a profit from being good, the gravest first."""
    if request.fill == "same":
        yield "Filled at prices that nobody can have"
    if not honesty.cost_bps:
        yield "Earns before costs, and none are charged"
    if honesty.null_pvalue is None:
        yield "Not compared with chance"
    elif honesty.null_pvalue > _CHANCE:
        yield "No better than chance"
    if (honesty.deflated_sharpe or 0.0) < _SKILL:
        yield "Too little to show skill" if honesty.trials == 1 else f"The best of {honesty.trials:,} trials, no more"
    if (honesty.edge_bps or 0.0) < _ROOM * (honesty.cost_bps or 0.0):
        yield "A thin edge over the costs"
    if len(backtest.trades) < ENOUGH_TRADES:
        yield "Few trades"
    if _largest_share(backtest) > 0.5:
        yield "One trade made most of it"
    if met.open_gaps:
        yield "The recording has gaps"


def _about_trades(request: BacktestRequest, backtest: Backtest) -> Iterator[str]:
    """Say where there are too few trades, and why there are none."""
    count = len(backtest.trades)
    if count == 0:
        z = backtest.series["zscore"]
        largest = float(np.nanmax(np.abs(z))) if np.isfinite(z).any() else 0.0
        yield f"The z-score went as far as {largest:.2f}; the entry asks for {request.entry:g}."
        if largest >= request.entry and request.gate is not None:
            yield f"The gate ({request.gate}) was closed, or the entry came at the last bar."
    elif count < LEAST_TRADES:
        yield f"{_trades(count)} too few to tell: {ENOUGH_TRADES} are a start."
    elif count < ENOUGH_TRADES:
        yield f"{_trades(count)} few: a handful of others would change the picture; {ENOUGH_TRADES} are a start."
    if (backtest.trades["reason"] == "liquidation").any():
        yield "The exchange would have closed the position, because hardly any of the capital was left."
    skipped = int(backtest.metrics.get("skipped") or 0)
    if skipped:
        entries = "1 entry was" if skipped == 1 else f"{skipped:,} entries were"
        yield f"{entries} smaller than the exchange's quantity step, and not made."


def _about_money(honesty: Honesty) -> Iterator[str]:
    """Set the edge against the costs."""
    edge, cost = honesty.edge_bps, honesty.cost_bps
    if edge is None or cost is None:
        return
    paid, funding = _bps(cost), honesty.funding_bps or 0.0
    if edge <= 0.0:
        yield f"The prices lose {_bps(-edge)} a round trip before any cost; costs of {paid} come on top."
    elif edge <= cost:
        yield f"Costs of {paid} a round trip exceed the edge of {_bps(edge)}."
    else:
        error = "" if honesty.edge_stderr_bps is None else f" (± {_bps(honesty.edge_stderr_bps)})"
        yield f"The edge of {_bps(edge)}{error} a round trip is above the costs of {paid}."
    if edge > 0.0 and (honesty.break_even_bps or 0.0) > 0.0:
        yield f"It would break even at {_bps(honesty.break_even_bps)} of fee and slippage a side."
    if abs(funding) >= 0.05:
        yield f"Funding {'takes' if funding > 0 else 'brings'} {_bps(abs(funding))} a round trip."


def _about_chance(honesty: Honesty) -> Iterator[str]:
    """Compare with pairs that are none."""
    p, run = honesty.null_pvalue, honesty.nulls_run
    if p is None:
        yield "It was not compared with random pairs."
        return
    as_good = round(p * (run + 1)) - 1
    if p > _CHANCE:
        yield f"No better than chance: {_percent(as_good / run)} of random pairs did as well (p = {_p(p)})."
    else:
        some = "none" if as_good == 0 else f"{as_good:,}"
        yield f"Better than chance: {some} of {run:,} random pairs did as well (p = {_p(p)})."
    if run < honesty.nulls_asked:
        yield f"Only {run:,} random pairs were tried instead of {honesty.nulls_asked:,}, as each takes long."


def _about_sharpe(backtest: Backtest, honesty: Honesty) -> Iterator[str]:
    """Say how uncertain the Sharpe ratio is, and what the number of tries does to it."""
    sharpe, interval = backtest.metrics["sharpe"], honesty.sharpe_interval
    if sharpe is not None and interval is not None and len(backtest.trades):
        low, high = interval
        open_end = "; so short a test does not tell if it is above 0" if low < 0.0 < high else ""
        yield (
            f"The Sharpe ratio (return for its risk, a year) is {_signed(sharpe)}, and 95 % sure only to lie between "
            f"{_signed(low)} and {_signed(high)}{open_end}."
        )
    skill = honesty.deflated_sharpe
    if skill is not None and honesty.trials > 1 and float(backtest.metrics["pnl"] or 0.0) > 0.0:
        enough = f"{_SKILL:g} is enough" if skill >= _SKILL else f"{_SKILL:g} would be enough"
        yield (
            f"The best of {honesty.trials:,} trials on this pair: deflated Sharpe {skill:.2f}, the probability that it "
            f"has any skill after so many tries; {enough}."
        )


def _about_risk(request: BacktestRequest, backtest: Backtest) -> Iterator[str]:
    """Say how deep and how long equity fell, and on how few trades the profit rests."""
    deepest, longest = float(backtest.metrics["max_drawdown"] or 0.0), int(backtest.metrics["longest_drawdown"] or 0)
    if deepest < 0.0:
        span = span_in_words(longest * timeframe_ns(request.timeframe) // 1_000_000)
        yield f"Equity fell by up to {_percent(-deepest, 2)} and stayed below an earlier peak for up to {span}."
    share = _largest_share(backtest)
    if share > 0.5 and len(backtest.trades) > 1:
        yield (
            f"One trade made {_percent(share)} of the profit."
            if share < 1.0
            else "Without its best trade it would lose."
        )
    stopped = int((backtest.trades["reason"] == "stop").sum())
    if 3 * stopped >= len(backtest.trades) > 0:
        yield f"{stopped:,} of {len(backtest.trades):,} trades ended at the stop."


def _about_conditions(request: BacktestRequest, backtest: Backtest, honesty: Honesty, met: Conditions) -> Iterator[str]:
    """Say what the run could not know or did not charge."""
    if met.open_gaps:
        gaps = "1 open gap" if met.open_gaps == 1 else f"{met.open_gaps:,} open gaps"
        yield f"Touches {gaps} in the recorded trades: {met.lacking or 'prices there may be wrong'}."
    if met.lacking and len(backtest.trades):
        trades = "1 trade" if len(backtest.trades) == 1 else f"{len(backtest.trades):,} trades"
        yield f"{met.met or 'None'} of its {trades} met such a bar: prices there may be wrong."
    if met.missing > _HOLES:
        yield f"{_percent(met.missing)} of the bars are missing in one leg or both; nothing is traded in them."
    if request.fill == "same":
        yield "Every order is filled at the very price that it was decided on, which nobody can have."
    if honesty.cost_bps == 0.0:
        yield "Neither fees nor slippage are charged."
    holding = float(backtest.metrics["average_holding"] or 0.0) * timeframe_ns(request.timeframe)
    if request.funding and not met.funding_known:
        yield "Funding was asked for and none is known of these bars, so that none is charged."
    elif not request.funding and holding > _FUNDING_NS:
        yield f"Positions last {span_in_words(int(holding) // 1_000_000)} on average, and funding is not charged."
    if len(backtest.trades) and backtest.trades[-1]["reason"] == "end":
        yield "The last trade was still open at the end; it is closed and counted at the last price."


def _largest_share(backtest: Backtest) -> float:
    """Return the best trade's part of the profit; 0 where there is none."""
    made = backtest.trades["pnl"]
    profit = float(made.sum())
    return float(made.max()) / profit if made.size and profit > 0.0 else 0.0


def _trades(count: int) -> str:
    return "1 trade is" if count == 1 else f"{count:,} trades are"


def _bps(value: float | None) -> str:
    """Return basis points with a decimal where there is one.

    >>> _bps(14.04), _bps(9.26)
    ('14 bps', '9.3 bps')
    """
    return f"{0.0 if value is None else value:,.1f}".removesuffix(".0") + " bps"


def _percent(share: float, decimals: int = 0) -> str:
    return f"{100.0 * share:.{decimals}f} %"


def _p(value: float) -> str:
    return f"{value:.2f}" if value >= 0.095 else f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:,.1f}".replace("-", "−")
