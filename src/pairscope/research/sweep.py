"""Every combination of a grid traded over one pair's past, and how much of the best one is luck.

Combinations that share hedge ratio and window are traded by one compiled pass each (docs/maths/sweep.md); what that
pass does not know goes through ``backtest_pair``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

from pairscope.market.ticks import F8
from pairscope.research.asked_backtest import backtest_keywords, traded_bars
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.pair_bars import PairBars
from pairscope.research.sweep_asked import asked_grid, longest_warmup
from pairscope.research.sweep_plan import plan_sweep
from pairscope.research.sweep_run import trade_plan
from pairscope.research.sweep_table import SweepTable

__all__ = ["sweep", "sweep_request"]


def sweep(
    y: F8,
    x: F8,
    *,
    grid: Mapping[str, Sequence[Any]],
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    trials: int | None = None,
    **terms: Any,
) -> SweepTable:
    """Trade every combination of ``grid`` as ``backtest_pair`` would, and return a table with a row each.

    ``grid`` maps keywords of ``backtest_pair`` to lists of values; ``terms`` are its other keywords. Rows stand in the
    order of ``itertools.product``; combinations that make no sense (``entry`` not above ``exit``, ``stop`` not above
    ``entry``, ``window`` above ``lookback``, ``rehedge`` of dollar-neutral legs) are left out and counted. Every metric
    equals ``backtest_pair``'s, but for its ``tail_ratio``, ``sortino_stderr`` and ``rehedges``, which are not there.
    ``trials`` is how many rules were tried on this pair in all, for ``deflated_sharpe``: as many as there are rows
    where it is not given, and never fewer.

    ``executor`` computes the pieces, threads of all cores without it: the same table from any. ``progress`` is told how
    many combinations of how many are done, by the work that they take; once ``cancelled`` answers True,
    ``concurrent.futures.CancelledError`` is raised. What is wrong raises ``ValueError`` naming it. Combinations with
    ``rehedge``, with fills found elsewhere or with given hedge ratios take ``backtest_pair`` itself, which is some
    hundred times slower. O(bars held) a combination else, O(n · lookback) a hedge ratio, O(n · window) a window.

    >>> import numpy as np
    >>> x = 100.0 + np.arange(400.0) % 7
    >>> y = x * np.exp(0.02 * np.sin(np.arange(400.0) / 10.0))
    >>> table = sweep(y, x, grid={"entry": [1.0, 1.2], "exit": [0.0, 1.1]}, hedge=1.0, lookback=60, window=60)
    >>> len(table), table.skipped, table["trades"].tolist()
    (3, 1, [11, 11, 11])
    """
    plan = plan_sweep(y, x, grid, terms)
    return trade_plan(plan, executor=executor, progress=progress, cancelled=cancelled, trials=trials)


def sweep_request(
    request: BacktestRequest,
    grid: Mapping[str, Sequence[Any]],
    bars: PairBars,
    *,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    trials: int | None = None,
) -> SweepTable:
    """Trade every combination of ``grid`` over the bars of a request; its names are a request's fields.

    The bars before ``start`` that the longest hedge ratio takes are warm-up of all. ``method`` and ``beta`` vary the
    hedge ratio: ``fixed`` takes every ``beta``. Otherwise as ``sweep``.
    """
    asked = asked_grid(request, grid)
    used, first = traded_bars(longest_warmup(request, grid), bars)
    plan = plan_sweep(used.y.close, used.x.close, asked, backtest_keywords(request, used, first), first=first)
    table = trade_plan(plan, executor=executor, progress=progress, cancelled=cancelled, trials=trials)
    shown = {name: asked.shown_as(name) for name in table.grid}
    return replace(
        table,
        grid=dict(shown.values()),
        codes={shown[name][0]: code for name, code in table.codes.items()},
    )
