"""How a sweep is computed: in pieces short enough to be cancelled at once, by whichever executor there is.

What several combinations need comes first, in stretches of bars; then the combinations, some at a time. A piece is a
pure function of arrays, whoever computes it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np

from pairscope.analytics.backtest import CausalHedge
from pairscope.analytics.sweep_kernel import SWEEP_METRICS
from pairscope.market.ticks import F8, I8
from pairscope.research.executor import open_executor
from pairscope.research.sweep_plan import SweepGroup, SweepPlan, plan_sweep
from pairscope.research.sweep_table import SweepTable
from pairscope.research.sweep_work import hedges_part, kalman_hedges, moments_part, slow_row, swept_rows

__all__ = ["lent_executor", "load_sweep_kernels", "trade_plan"]

_PIECE: Final = 4_000_000.0
"""What a piece of work should cost, in operations of about a nanosecond."""
_UNDER_WAY: Final = 48
"""Pieces that are handed to the executor at a time."""
_HUBER_STEPS: Final = 20.0
_ROW: Final = 2.0


class _Piece(NamedTuple):
    key: Any
    cost: float
    work: Callable[..., Any]
    arguments: tuple[Any, ...]


def trade_plan(
    plan: SweepPlan,
    *,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    trials: int | None = None,
) -> SweepTable:
    """Trade what is planned, wherever ``executor`` computes; ``CancelledError`` once ``cancelled`` answers True."""
    metrics = np.full((len(plan), len(SWEEP_METRICS)), np.nan)
    blocks = np.zeros((len(plan), 2, plan.edges.size - 1))
    shared = list(_shared(plan))
    later = [_cost(plan, group) for group in plan.groups]
    total, spent = sum(piece.cost for piece in shared) + sum(later), 0.0
    with lent_executor(executor) as pool:

        def done(pieces: Iterator[_Piece]) -> Iterator[tuple[Any, Any]]:
            nonlocal spent
            for piece, result in _computed(pool, pieces, cancelled):
                spent += piece.cost
                yield piece.key, result
                if progress is not None:
                    progress(int(len(plan) * min(1.0, spent / total)), len(plan))

        parts: dict[Any, dict[int, F8]] = {}
        for (what, start), result in done(iter(shared)):
            parts.setdefault(what, {})[start] = result
        whole = {
            what: np.concatenate([found[start] for start in sorted(found)], axis=-1) for what, found in parts.items()
        }
        for places, (rows, sums) in done(_rows(plan, whole)):
            metrics[places], blocks[places] = rows, sums
        unsure = np.flatnonzero(metrics[:, SWEEP_METRICS.index("unsure")] > 0.0)
        for places, (rows, sums) in done(_again(plan, unsure, whole)):
            metrics[places], blocks[places] = rows, sums
    if progress is not None:
        progress(len(plan), len(plan))
    return SweepTable(
        grid=plan.axes,
        codes=plan.codes,
        metrics=metrics,
        blocks=blocks,
        block_bars=int(plan.edges[1] - plan.edges[0]) if plan.edges.size > 1 else 0,
        skipped=plan.skipped,
        trials=max(len(plan), trials or 0),
        observations=plan.y.size - 1 - plan.first,
        bars_per_year=plan.bars_per_year,
    )


def load_sweep_kernels() -> None:
    """Compile what a sweep needs, or read it from the disk, by a small one of every kind.

    >>> load_sweep_kernels()
    """
    x = 100.0 + np.arange(200.0) % 7
    y = x * np.exp(0.02 * np.sin(np.arange(200.0) / 5.0))
    grid: dict[str, list[Any]] = {"hedge": ["ols", "huber", "kalman"], "entry": [1.0, 1.2], "rehedge": [None, 0.5]}
    plan = plan_sweep(y, x, grid, {"lookback": 40, "window": 20, "exit": 0.0})
    with lent_executor(None) as pool:
        trade_plan(plan, executor=pool).overfitting()


def _shared(plan: SweepPlan) -> Iterator[_Piece]:
    """Yield what several combinations need: hedge ratios a bar, and the moments of windows, in stretches of bars."""
    seen = set()
    for group in plan.groups:
        y, x = group.legs.spaced_y, group.legs.spaced_x
        for what in (_hedge_of(group), _window_of(group)):
            kind, _, length = what
            if what in seen or kind == "given" or (kind == "window" and group.slow):
                continue
            seen.add(what)
            if kind == "kalman":
                yield _Piece((what, 0), 100.0 * y.size, kalman_hedges, (y, x, length))
                continue
            each = length * (_HUBER_STEPS if kind == "huber" else 1.5)
            for start, end in _stretches(y.size, each):
                before = min(start, length - 1)
                legs = y[start - before : end], x[start - before : end]
                if kind == "window":
                    yield _Piece((what, start), each * (end - start), moments_part, (*legs, length, before))
                else:
                    more = (*legs, length, kind == "huber", before)
                    yield _Piece((what, start), each * (end - start), hedges_part, more)


def _rows(plan: SweepPlan, shared: Mapping[Any, F8]) -> Iterator[_Piece]:
    """Yield the combinations themselves, some of a group at a time."""
    for group in plan.groups:
        size = plan.y.size
        if group.slow:
            yield from _one_by_one(plan, group, group.places, shared)
            continue
        beta = shared[_hedge_of(group)][1] if isinstance(group.hedge, str) else np.full(size, float(group.hedge))
        moments = shared[_window_of(group)]
        pieces = max(1, math.ceil(len(group.rules) * size * _ROW / _PIECE))
        step = max(4, math.ceil(len(group.rules) / pieces))
        for start in range(0, len(group.rules), step):
            rules, places = group.rules[start : start + step], group.places[start : start + step]
            terms = (group.legs, beta, moments, group.window, plan.bars_per_year, plan.gate, rules, plan.edges)
            yield _Piece(places, size * _ROW * len(rules), swept_rows, terms)


def _again(plan: SweepPlan, places: I8, shared: Mapping[Any, F8]) -> Iterator[_Piece]:
    """Yield the combinations of a compiled pass whose metrics lost digits, for ``backtest_pair``."""
    for group in plan.groups:
        yield from _one_by_one(plan, group, np.intersect1d(group.places, places), shared)


def _one_by_one(plan: SweepPlan, group: SweepGroup, places: I8, shared: Mapping[Any, F8]) -> Iterator[_Piece]:
    """Yield combinations for ``backtest_pair``, which is given the hedge ratios."""
    hedge = CausalHedge(*shared[_hedge_of(group)]) if isinstance(group.hedge, str) else group.hedge
    for place in places.tolist():
        terms = {**plan.keywords(place), "hedge": hedge}
        arguments = (plan.y, plan.x, terms, plan.first, plan.edges)
        yield _Piece([place], _slow_cost(plan, group), slow_row, arguments)


def _hedge_of(group: SweepGroup) -> tuple[str, bool, int]:
    kind = group.hedge if isinstance(group.hedge, str) else "given"
    return kind, group.legs.log, group.lookback


def _window_of(group: SweepGroup) -> tuple[str, bool, int]:
    return "window", group.legs.log, group.window


def _cost(plan: SweepPlan, group: SweepGroup) -> float:
    return len(group.rules) * (_slow_cost(plan, group) if group.slow else plan.y.size * _ROW)


def _slow_cost(plan: SweepPlan, group: SweepGroup) -> float:
    return plan.y.size * (100.0 + 3.0 * group.window)


def _stretches(size: int, each: float) -> Iterator[tuple[int, int]]:
    """Yield stretches of bars that cost about a piece, and are two at least where they are not short."""
    step = max(64, min(int(_PIECE / each), (size + 1) // 2))
    for start in range(0, size, step):
        yield start, min(start + step, size)


def _computed(
    pool: Executor, pieces: Iterator[_Piece], cancelled: Callable[[], bool] | None
) -> Iterator[tuple[_Piece, Any]]:
    """Compute pieces, some at a time, and yield them as they end, until somebody cancels."""
    under_way: dict[Future[Any], _Piece] = {}
    try:
        while True:
            while len(under_way) < _UNDER_WAY and (piece := next(pieces, None)) is not None:
                under_way[pool.submit(piece.work, *piece.arguments)] = piece
            if not under_way:
                return
            if cancelled is not None and cancelled():
                raise CancelledError("the sweep was cancelled")
            ended, _ = wait(under_way, timeout=0.1, return_when=FIRST_COMPLETED)
            for future in ended:
                yield under_way.pop(future), future.result()
    finally:
        # After an error or a cancellation, what has not begun is not begun.
        for future in under_way:
            future.cancel()


@contextmanager
def lent_executor(executor: Executor | None) -> Iterator[Executor]:
    """Lend the given executor, or threads for the time of a sweep; they are not the caller's to shut down."""
    if executor is not None:
        yield executor
        return
    with open_executor(threads=os.cpu_count() or 1) as pool:
        yield pool
