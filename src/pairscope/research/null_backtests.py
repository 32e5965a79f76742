"""How often chance does as well: the same rule on pairs that are no pairs, each leg as volatile as the real one.

Each leg's moves are cut into blocks and laid out anew, each leg's in an order of its own. What a leg does by itself
stays: the moves, their size, the bounce between bid and ask, first and last price; what ties it to the other goes, and
with it every way back that takes longer than a few bars.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final

import numpy as np

from pairscope.analytics.backtest import backtest_pair
from pairscope.errors import InputError, NumericalError
from pairscope.market.ticks import F8
from pairscope.research.asked_backtest import backtest_keywords, gate_every
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.pair_bars import LegBars, PairBars
from pairscope.research.sliding_hedge import sliding_huber, sliding_ols

__all__ = [
    "BLOCK",
    "BUDGET_S",
    "FEWEST_NULLS",
    "NullBacktests",
    "null_backtests",
    "nulls_within",
    "score",
    "surrogate_pair",
]

BUDGET_S: Final = 10.0
"""Seconds of one core that surrogate pairs may take; a run over many bars gets fewer of them."""

FEWEST_NULLS: Final = 19
"""So many are tried whatever they cost: with fewer no p-value reaches 0.05."""

BLOCK: Final = 5
"""Bars that stay together in a surrogate leg, on average: enough for the bounce between bid and ask, too few for a way
back to the mean that a rule could trade."""

_LATEST: Final = 3.0
"""On a slow machine no more are begun after so many budgets."""

_BAR_S: Final = 0.5e-6
_ROW_S: Final[dict[str, float]] = {"huber": 3.6e-9}
_KALMAN_S: Final = 0.5e-6
_TESTED_ROW_S: Final = 1.4e-6
"""What a bar, a row of its fit, a step of the filter and a row of a cointegration test take, in seconds of one core."""


@dataclass(frozen=True, slots=True, eq=False)
class NullBacktests:
    """How a rule scored on surrogate pairs, beside the real one's ``real``; ``asked`` is how many were wanted."""

    real: float
    scores: F8
    asked: int
    seed: int

    @property
    def as_good(self) -> int:
        """How many surrogate pairs scored no less than the real one."""
        return int((self.scores >= self.real).sum())

    @property
    def pvalue(self) -> float | None:
        """(1 + as good) / (1 + run): how probable a score like the real one's is without a pair; None without any."""
        return (1 + self.as_good) / (1 + self.scores.size) if self.scores.size else None


def score(equity: F8) -> float:
    """Return the mean over the standard deviation of the money made a bar; 0 where none is made or lost. O(n).

    The Sharpe ratio of a bar, with money in place of returns: it is there when equity has been lost, too, and a pair
    that moves more does not score higher for it.

    >>> score(np.array([100.0, 101.0, 100.0, 102.0])).__round__(6), score(np.full(3, 100.0))
    (0.436436, 0.0)
    """
    made = np.diff(equity)
    spread = float(made.std(ddof=1)) if made.size > 1 else 0.0
    return float(made.mean()) / spread if spread > 0.0 else 0.0


def surrogate_pair(bars: PairBars, rng: np.random.Generator) -> PairBars:
    """Return bars whose legs have nothing to do with each other and each move as the real ones do. O(n).

    A leg's bar-to-bar moves of log price are begun at a random one, cut into blocks of ``BLOCK`` bars on average
    (geometric), and the blocks put in a random order; a bar's open, high and low keep their distance to its close.
    Times, funding and steps stay. Where a leg's moves are independent and of one law every order of them is as likely.
    Reference: Politis & Romano (1994), *Journal of the American Statistical Association* 89; Theiler et al. (1992),
    *Physica D* 58.

    >>> from pairscope.research.pair_bars import pair_bars_from_closes
    >>> close = np.exp(np.arange(5.0) ** 2 / 100)
    >>> bars = pair_bars_from_closes(np.arange(5), close, close, timeframe="1m")
    >>> made = surrogate_pair(bars, np.random.default_rng(0)).y.close
    >>> np.sort(np.diff(np.log(made))).round(2).tolist(), float(made[-1]).__round__(2)
    ([0.01, 0.03, 0.05, 0.07], 1.17)
    """
    return replace(bars, y=_reordered(bars.y, rng), x=_reordered(bars.x, rng))


def nulls_within(request: BacktestRequest, bars: int, asked: int) -> int:
    """Return how many surrogate pairs of so many bars are tried within the budget; the same wherever it is asked.

    >>> nulls_within(BacktestRequest("A", "B"), 10_080, 199), nulls_within(BacktestRequest("A", "B"), 10**6, 199)
    (199, 19)
    """
    each = bars * _BAR_S * (1.0 + request.window / 100.0)
    each += bars * request.lookback * _ROW_S.get(request.method, 0.0)
    each += bars * (_KALMAN_S if request.method == "kalman" else 0.0)
    if request.gate == "cointegration":
        each += bars / gate_every(request.lookback) * request.lookback * _TESTED_ROW_S
    return min(asked, max(FEWEST_NULLS, int(BUDGET_S / each)))


def null_backtests(
    request: BacktestRequest,
    bars: PairBars,
    first: int,
    real: float,
    *,
    nulls: int = 199,
    seed: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> NullBacktests:
    """Return how the rule of ``request`` scores on surrogate pairs of ``bars``, traded from row ``first`` on.

    Rule, costs, sizes and funding are the real ones; fills are those of bars where the real ones came from ticks, and
    hedge ratios by least squares and Huber those of ``sliding_hedge``. The same ``seed`` gives the same pairs, whatever
    the number of threads. ``nulls_within`` says how many are tried; on a machine so slow that they take three times
    their budget the rest are left out. A surrogate that cannot be traded scores 0. ``CancelledError`` soon after
    ``cancelled`` answers True.
    """
    if isinstance(nulls, bool) or int(nulls) != nulls or not 0 <= nulls <= 10_000:
        raise InputError("nulls: must be a whole number from 0 to 10000", loc="nulls")
    number = nulls_within(request, len(bars), int(nulls))
    terms = replace(request, latency_ms=None)
    scores = np.full(number, np.nan)
    latest = monotonic() + _LATEST * BUDGET_S

    def one(place: int) -> tuple[int, float]:
        late = place >= FEWEST_NULLS and monotonic() > latest
        if late or (cancelled is not None and cancelled()):
            return place, np.nan
        return place, _scored(terms, surrogate_pair(bars, np.random.default_rng((seed, place))), first)

    with ThreadPoolExecutor(threads or min(4, os.cpu_count() or 1), thread_name_prefix="nulls") as pool:
        for done, future in enumerate(as_completed([pool.submit(one, place) for place in range(number)]), 1):
            place, scores[place] = future.result()
            if progress is not None:
                progress(done, number)
    if cancelled is not None and cancelled():
        raise CancelledError("the backtest was cancelled")
    return NullBacktests(real, scores[np.isfinite(scores)], int(nulls), seed)


def _scored(request: BacktestRequest, bars: PairBars, first: int) -> float:
    """Return the score of a rule on one surrogate pair; 0 where it cannot be traded."""
    keywords = backtest_keywords(request, bars, first)
    if request.method in ("ols", "huber"):
        y, x = bars.y.close, bars.x.close
        spaced = (np.log(y), np.log(x)) if request.price_space == "log" else (y, x)
        slide = sliding_ols if request.method == "ols" else sliding_huber
        keywords["hedge"] = slide(spaced[0], spaced[1], request.lookback)
    try:
        made = backtest_pair(bars.y.close, bars.x.close, **keywords)
    except NumericalError:
        return 0.0
    return score(made.equity["equity"][first:])


def _reordered(leg: LegBars, rng: np.random.Generator) -> LegBars:
    """Return a leg whose moves come in another order, block by block."""
    size = leg.close.size - 1
    starts = np.flatnonzero(np.append(True, rng.random(size - 1) < 1.0 / BLOCK))
    chosen = rng.permutation(starts.size)
    lengths = np.diff(starts, append=size)[chosen]
    within = np.arange(size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    order = (np.repeat(starts[chosen], lengths) + within + rng.integers(size)) % size
    moves = np.diff(np.log(leg.close))[order]
    close = leg.close[0] * np.exp(np.concatenate(([0.0], np.cumsum(moves))))
    rows = np.concatenate(([0], order + 1))
    scale = close / leg.close[rows]
    return LegBars(leg.open[rows] * scale, leg.high[rows] * scale, leg.low[rows] * scale, close, leg.volume[rows])
