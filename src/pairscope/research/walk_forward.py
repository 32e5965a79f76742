"""Parameters chosen on one stretch of the past and traded on the next, again and again: what choosing them is worth.

Each fold sweeps its training stretch, takes the combination that did best there, and trades it on the test stretch
that follows after a gap. The tests' money, joined, is what somebody would have earned who chose like that at the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Executor
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.backtest import Backtest, backtest_pair
from pairscope.analytics.performance import drawdowns, performance
from pairscope.analytics.trades import TRADE_FIELDS, Trades
from pairscope.errors import InputError, NotEnoughData
from pairscope.market.bars import timeframe_ns
from pairscope.research.asked_backtest import backtest_keywords, traded_bars
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.pair_bars import PairBars
from pairscope.research.sweep_asked import AskedGrid, asked_grid, longest_warmup
from pairscope.research.sweep_plan import plan_sweep
from pairscope.research.sweep_run import lent_executor, trade_plan
from pairscope.research.sweep_table import SWEPT
from pairscope.research.sweep_work import counted_equity

__all__ = ["WalkFold", "WalkForward", "walk_forward"]

_MS: Final = 1_000_000
_MOST_FOLDS: Final = 1000
_BARS_OF_TRADES: Final = ("entry_bar", "exit_bar", "entry_decided", "exit_decided")


@dataclass(frozen=True, slots=True, eq=False)
class WalkFold:
    """One choice and what became of it: stretches in ns from their first bar's open to their last one's close.

    ``chosen`` are the grid's values; None where no combination had the metric: then nothing was traded.
    """

    train_ns: tuple[int, int]
    test_ns: tuple[int, int]
    chosen: Mapping[str, Any] | None
    in_sample: Mapping[str, Any]
    out_of_sample: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class WalkForward:
    """All folds, and their test stretches joined: ``equity`` out of sample, its ``metrics`` and ``trades``.

    ``equity`` has the columns ``timestamp`` (ns), ``equity`` and ``drawdown``; each fold's money is added to what the
    ones before it left, because what is traded does not grow. ``purge`` bars lie between training and test.
    """

    request: BacktestRequest
    grid: Mapping[str, tuple[Any, ...]]
    folds: tuple[WalkFold, ...]
    equity: Mapping[str, NDArray[Any]]
    trades: Trades
    metrics: Mapping[str, Any]
    metric: str
    purge: int

    def document(self) -> dict[str, Any]:
        """Return everything under the names of the API: times in ms, what is not known None."""
        return {
            "grid": {name: list(values) for name, values in self.grid.items()},
            "metric": self.metric,
            "purge": self.purge,
            "folds": [
                {
                    "train_start": fold.train_ns[0] // _MS,
                    "train_end": fold.train_ns[1] // _MS,
                    "test_start": fold.test_ns[0] // _MS,
                    "test_end": fold.test_ns[1] // _MS,
                    **(fold.chosen or dict.fromkeys(self.grid)),
                    "in_sample": dict(fold.in_sample),
                    "out_of_sample": dict(fold.out_of_sample),
                }
                for fold in self.folds
            ],
            "equity": {
                "timestamp": (self.equity["timestamp"] // _MS).tolist(),
                "equity": self.equity["equity"].tolist(),
                "drawdown": self.equity["drawdown"].tolist(),
            },
            "trades": [
                {name: int(value) // _MS if name.endswith("_timestamp") else value for name, value in trade.items()}
                for trade in self.trades
            ],
            "metrics": dict(self.metrics),
        }


def walk_forward(
    request: BacktestRequest,
    grid: Mapping[str, Sequence[Any]],
    bars: PairBars,
    *,
    folds: int = 5,
    train: int | None = None,
    test: int | None = None,
    purge: int | None = None,
    metric: str = "sharpe",
    anchored: bool = False,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> WalkForward:
    """Choose parameters in training stretches, trade them in the test stretches after, and join what those earned.

    The test stretches, ``test`` bars each, follow each other without a hole up to the last bar. A training stretch is
    the ``train`` bars that end ``purge`` bars before its test begins, with ``anchored`` all bars from the first on.
    By default ``train`` is twice ``test``, which is as long as the bars allow, and ``purge`` the longest of all
    ``lookback``, ``window`` and ``max_holding``, so that no bar that was trained on is in a test's first window. The
    best ``metric`` is chosen, by its sign as ``SweepTable.best``. A test begins without a position, its hedge ratios
    and z-scores warmed up on the bars before it, which were known then; what is open at its end is closed and charged.

    ``grid`` is in the request's names, as ``sweep_request``'s. ``progress`` counts combinations of all folds; once
    ``cancelled`` answers True, ``CancelledError`` is raised. Too few bars and what a sweep refuses raise
    ``ValueError`` naming it. O(folds) sweeps.
    """
    if metric not in SWEPT:
        raise InputError(f"metric: there is no {metric}; there are {', '.join(SWEPT)}", loc="metric")
    asked, longest = asked_grid(request, grid), longest_warmup(request, grid)
    used, first = traded_bars(longest, bars)
    gap = _whole(_longest_gap(request, asked, longest) if purge is None else purge, "purge", 0)
    stretches = _stretches(first, len(used), _whole(folds, "folds", 1), train, test, gap, anchored=anchored)
    warmup = longest.warmup_bars()
    made, found = [], []
    with lent_executor(executor) as pool:
        for number, (training, testing) in enumerate(stretches):
            if cancelled is not None and cancelled():
                raise CancelledError("the walk-forward was cancelled")
            fold, backtest = _fold(
                request,
                asked,
                used,
                training,
                testing,
                warmup,
                metric,
                executor=pool,
                progress=_part(progress, number, len(stretches)),
                cancelled=cancelled,
            )
            made.append(fold)
            found.append(backtest)
    rows = slice(stretches[0][1][0], stretches[-1][1][1])
    return _joined(request, asked, tuple(made), found, used.take(rows), metric, gap)


def _fold(
    request: BacktestRequest,
    asked: AskedGrid,
    used: PairBars,
    training: tuple[int, int],
    testing: tuple[int, int],
    warmup: int,
    metric: str,
    *,
    executor: Executor,
    progress: Callable[[int, int], None] | None,
    cancelled: Callable[[], bool] | None,
) -> tuple[WalkFold, tuple[Backtest, int] | None]:
    """Return one fold, and the backtest of its test with the row at which it begins to count."""
    learnt, begin = _with_warmup(used, training, warmup)
    plan = plan_sweep(learnt.y.close, learnt.x.close, asked, backtest_keywords(request, learnt, begin), first=begin)
    table = trade_plan(plan, executor=executor, progress=progress, cancelled=cancelled)
    best = table.best(metric)
    length = timeframe_ns(used.timeframe)
    times = tuple(
        (int(used.times_ns[start]), int(used.times_ns[end - 1]) + length) for start, end in (training, testing)
    )
    if best is None:
        return WalkFold(times[0], times[1], None, {}, {}), None
    chosen = {name: best[name] for name in asked}
    traded, start = _with_warmup(used, testing, warmup)
    terms = {**backtest_keywords(request, traded, start), **chosen}
    backtest = backtest_pair(traded.y.close, traded.x.close, **terms)
    outside = performance(
        counted_equity(backtest, start),
        backtest.trades.columns,
        bars_per_year=backtest.assumptions["bars_per_year"],
    )
    shown = {asked.shown_as(name)[0]: asked.shown_value(name, value) for name, value in chosen.items()}
    inside = {name: best[name] for name in SWEPT}
    return WalkFold(times[0], times[1], shown, inside, outside), (backtest, start)


def _joined(
    request: BacktestRequest,
    asked: AskedGrid,
    folds: tuple[WalkFold, ...],
    found: Sequence[tuple[Backtest, int] | None],
    tested: PairBars,
    metric: str,
    purge: int,
) -> WalkForward:
    """Return the folds' tests as one account."""
    capital = float(request.notional if request.capital is None else request.capital)
    size = len(tested) // len(folds)
    equity, wealth = np.empty(len(tested)), capital
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in TRADE_FIELDS}
    for number, one in enumerate(found):
        rows = slice(number * size, (number + 1) * size)
        if one is None:
            equity[rows] = wealth
            continue
        backtest, start = one
        money = backtest.equity["equity"]
        equity[rows] = wealth + (money[start:] - money[0])
        wealth = float(equity[rows][-1])
        for name in TRADE_FIELDS:
            shift = rows.start - start if name in _BARS_OF_TRADES else 0
            column = backtest.trades[name]
            columns[name].append(column + shift if shift else column)
    trades = Trades({name: np.concatenate(parts) if parts else np.empty(0) for name, parts in columns.items()})
    per_year = 365 * 86_400 * 1_000_000_000 * (len(tested) - 1) / float(tested.times_ns[-1] - tested.times_ns[0])
    grid = dict(asked.shown_as(name) for name in asked)
    return WalkForward(
        request,
        grid,
        folds,
        {"timestamp": tested.times_ns, "equity": equity, "drawdown": drawdowns(equity)},
        trades,
        performance(equity, trades.columns, bars_per_year=per_year),
        metric,
        purge,
    )


def _stretches(
    first: int, last: int, folds: int, train: int | None, test: int | None, purge: int, *, anchored: bool
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return training and test of each fold, as rows from and to, of the rows from ``first`` to ``last``."""
    if folds > _MOST_FOLDS:
        raise InputError(f"folds: must be at most {_MOST_FOLDS}", loc="folds")
    bars = last - first
    if test is None:
        share = folds + 2 if train is None else folds
        test = max(0, bars - purge - (0 if train is None else _whole(train, "train", 2))) // share
    else:
        test = _whole(test, "test", 2)
    train = min(2 * test, bars - purge - folds * test) if train is None else _whole(train, "train", 2)
    need = purge + max(train, 2) + folds * max(test, 2)
    if need > bars:
        raise NotEnoughData(f"folds: a walk-forward of {folds} folds", need=need, have=bars)
    made = []
    for number in range(folds):
        start = last - (folds - number) * test
        end = start - purge
        made.append(((first if anchored else end - train, end), (start, start + test)))
    return made


def _with_warmup(used: PairBars, stretch: tuple[int, int], warmup: int) -> tuple[PairBars, int]:
    """Return a stretch with the bars before it that its first decision takes, and the row at which it begins."""
    begin = max(stretch[0] - warmup, 0)
    return used.take(slice(begin, stretch[1])), stretch[0] - begin


def _longest_gap(request: BacktestRequest, asked: AskedGrid, longest: BacktestRequest) -> int:
    """Return the bars that a window or a holding could reach over."""
    held = [value for value in asked.get("max_holding", (request.max_holding,)) if value is not None]
    return max(longest.warmup_bars() + 1, *held) if held else longest.warmup_bars() + 1


def _part(progress: Callable[[int, int], None] | None, number: int, folds: int) -> Callable[[int, int], None] | None:
    """Return what counts a fold's combinations among those of all."""
    if progress is None:
        return None
    tell = progress

    def told(done: int, total: int) -> None:
        tell(number * total + done, folds * total)

    return told


def _whole(value: Any, name: str, least: int) -> int:
    """Return a count; ``InputError`` where it is not a whole number from ``least`` on."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not good or int(value) != value or value < least:
        raise InputError(f"{name}: must be a whole number of at least {least}", loc=name)
    return int(value)
