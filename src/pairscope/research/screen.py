"""Every pair of a market tested for cointegration, with the false discoveries that so many tests bring kept in check.

A pair costs microseconds, not the milliseconds of a test by itself: a residual is linear in its two series, so all
that the regressions need follows from sums of products which one matrix product gives for a whole tile of pairs
(docs/maths/screen.md). A tile is a pure function of its symbols' prices, whoever computes it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from pairscope.analytics.dickey_fuller import longest_lag
from pairscope.errors import InputError, NotEnoughData
from pairscope.market.ticks import F8, I8
from pairscope.research.executor import open_executor
from pairscope.research.phillips_ouliaris import bandwidth_of, phillips_tile
from pairscope.research.screen_block import LANES, Block, block_of
from pairscope.research.screen_described import TileTests
from pairscope.research.screen_table import Control, ScreenResult, tabulate
from pairscope.research.screen_tile import Rule, ScreenLag, screen_tile

__all__ = ["Market", "Statistic", "blocks_of", "compute_tiles", "market_of", "rule_of", "screen_pairs"]

Statistic = Literal["adf", "pp"]
"""What judges a residual: the augmented Dickey-Fuller t-ratio, or Phillips and Ouliaris' Z_t."""


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """The symbols that can be tested, a row each of (log) prices and of log prices, and those that cannot, and why."""

    symbols: tuple[str, ...]
    values: F8
    logs: F8
    excluded: Mapping[str, str]

    @property
    def bars(self) -> int:
        """How many bars each symbol has."""
        return int(self.values.shape[1])


def screen_pairs(
    prices: F8,
    symbols: Sequence[str],
    *,
    log: bool = True,
    maxlag: int | None = None,
    autolag: ScreenLag | None = "aic",
    both_directions: bool = True,
    executor: Executor | None = None,
    statistic: Statistic = "adf",
    control: Control = "bh",
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ScreenResult:
    r"""Test every pair of a market for cointegration, and say which are discoveries that hold among so many tests.

    .. math:: y_t = \alpha + \beta x_t + u_t, \qquad
        \Delta u_t = \gamma u_{t-1} + \sum_{i=1}^{k} \delta_i \Delta u_{t-i} + \varepsilon_t, \qquad
        H_0: \gamma = 0 \text{ (not cointegrated)}

    ``prices`` (T, N) has a column a symbol; logarithms are taken unless ``log`` is False. Each test equals
    :func:`~pairscope.analytics.cointegration.engle_granger` with a constant: statistic to 1e-8, the same lags.
    ``autolag`` is aic, bic, t-stat, None (``maxlag`` lags) or maic, Ng and Perron's criterion, which takes enough lags
    where prices bounce between bid and ask. ``statistic`` pp corrects for the residual's autocorrelation without lags,
    after Phillips and Ouliaris, with a bandwidth of ``maxlag``. ``both_directions`` False tests the earlier symbol on
    the later only. q-values are Benjamini and Hochberg's over all tests; ``control`` by makes them Benjamini and
    Yekutieli's.

    A column with NaN, without movement or, under ``log``, with a price that is not positive is left out and named in
    ``.excluded``. Infinities, fewer than two symbols, too few bars and names that do not fit raise ``ValueError`` that
    names the argument. ``executor`` computes the tiles, threads of all cores without it: the same bits from any.
    ``progress`` is told how many tiles of how many are done; once ``cancelled`` answers True,
    ``concurrent.futures.CancelledError`` is raised. O(N² T p) for p = ``maxlag``, some microseconds a test.
    Reference: Engle & Granger (1987), Econometrica 55; Benjamini & Hochberg (1995), JRSS B 57.

    >>> rng = np.random.default_rng(0)
    >>> walks = np.cumsum(rng.standard_normal((500, 3)), axis=0) * 0.01
    >>> walks[:, 2] = walks[:, 0] + 0.01 * rng.standard_normal(500)
    >>> result = screen_pairs(np.exp(walks), ["A", "B", "C"])
    >>> result.tests, sorted((row.y, row.x) for row in result.survivors(0.01))
    (6, [('A', 'C'), ('C', 'A')])
    """
    began = time.perf_counter()
    market = market_of(prices, symbols, log=log)
    if statistic not in get_args(Statistic):
        raise InputError(f"statistic: must be one of {', '.join(get_args(Statistic))}", loc="statistic")
    if control not in get_args(Control):
        raise InputError(f"control: must be one of {', '.join(get_args(Control))}", loc="control")
    if statistic == "pp":
        maxlag, autolag = bandwidth_of(market.bars, maxlag), None
    work = screen_tile if statistic == "adf" else phillips_tile
    rule = rule_of(market.bars, maxlag=maxlag, autolag=autolag, both_directions=both_directions)
    blocks = blocks_of(market, rule.lags)
    jobs = [(blocks[i], blocks[j], (i, j), rule) for i in range(len(blocks)) for j in range(i, len(blocks))]
    tiles = compute_tiles(work, jobs, executor=executor, progress=progress, cancelled=cancelled)
    table = tabulate(
        tiles,
        market.symbols,
        market.excluded,
        control=control,
        both_directions=both_directions,
        bars=market.bars,
        log=log,
        statistic=statistic,
    )
    return replace(table, elapsed_ms=1e3 * (time.perf_counter() - began))


def market_of(prices: F8, symbols: Sequence[str], *, log: bool) -> Market:
    """Check prices, take logarithms, and set aside the symbols that cannot be tested; errors as the screen's."""
    table = np.asarray(prices, np.float64)
    if table.ndim != 2:
        raise InputError(
            f"prices: must have a row a bar and a column a symbol, has {table.ndim} dimensions", loc="prices"
        )
    names = tuple(map(str, symbols))
    if len(names) != table.shape[1]:
        raise InputError(f"symbols: has {len(names)} names, prices has {table.shape[1]} columns", loc="symbols")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"symbols: {twice} stands there twice", loc="symbols")
    if len(names) < 2:
        raise NotEnoughData("symbols: a pair", need=2, have=len(names))
    if table.shape[0] < 5:
        raise NotEnoughData("prices:", need=5, have=table.shape[0])
    rows = np.ascontiguousarray(table.T)
    infinite = np.isinf(rows).any(axis=1)
    if infinite.any():
        raise InputError(f"prices: has infinite values in {names[int(infinite.argmax())]}", loc="prices")
    missing: I8 = np.isnan(rows).sum(axis=1)
    above = np.asarray(rows.min(axis=1) > 0.0)
    logs = np.log(rows, out=np.full(rows.shape, np.nan), where=above[:, None])
    values = logs if log else rows
    still = np.ptp(values, axis=1) == 0.0
    reasons = {}
    for i, name in enumerate(names):
        if missing[i]:
            reasons[name] = f"has no price in {missing[i]} of {rows.shape[1]} bars"
        elif log and not above[i]:
            reasons[name] = "has a price that is not positive, of which there is no logarithm"
        elif still[i]:
            reasons[name] = f"does not move in {rows.shape[1]} bars"
    kept = np.array([name not in reasons for name in names], np.bool_)
    values = values[kept]
    return Market(tuple(np.array(names)[kept].tolist()), values, values if log else logs[kept], reasons)


def rule_of(bars: int, *, maxlag: int | None, autolag: ScreenLag | None, both_directions: bool) -> Rule:
    """Return how series of a length are tested; ``ValueError`` names what cannot be."""
    if autolag is not None and autolag not in get_args(ScreenLag):
        raise InputError(f"autolag: must be {', '.join(get_args(ScreenLag))} or None", loc="autolag")
    lags = longest_lag(bars, 0, maxlag)
    if bars - 2 - 2 * lags == 0 and autolag != "t-stat":
        # The longest regression would fit perfectly, and a criterion would always choose it.
        raise NotEnoughData("prices:", need=bars + 1, have=bars)
    return Rule(lags, autolag, both_directions)


def blocks_of(market: Market, lags: int) -> list[Block]:
    """Cut a market into blocks, each made ready for products of changes up to ``lags`` bars apart."""
    return [
        block_of(market.values[i : i + LANES], market.logs[i : i + LANES], lags)
        for i in range(0, len(market.symbols), LANES)
    ]


def compute_tiles(
    work: Callable[..., TileTests],
    jobs: Sequence[tuple[Any, ...]],
    *,
    executor: Executor | None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[TileTests]:
    """Compute tiles wherever ``executor`` does, and return them in the order of the jobs."""
    done: dict[int, TileTests] = {}
    with _lent(executor, len(jobs)) as pool:
        futures = {pool.submit(work, *job): place for place, job in enumerate(jobs)}
        try:
            for future in _ended(futures, cancelled):
                done[futures[future]] = future.result()
                if progress is not None:
                    progress(len(done), len(jobs))
        finally:
            # After an error or a cancellation, what has not begun is not begun.
            for future in futures:
                future.cancel()
    return [done[place] for place in range(len(jobs))]


def _ended(futures: Iterable[Future[TileTests]], cancelled: Callable[[], bool] | None) -> Iterator[Future[TileTests]]:
    """Yield futures as they end, until somebody cancels."""
    open_ones = set(futures)
    while open_ones:
        if cancelled is not None and cancelled():
            raise CancelledError("the screen was cancelled")
        ended, open_ones = wait(open_ones, timeout=0.1, return_when=FIRST_COMPLETED)
        yield from ended


@contextmanager
def _lent(executor: Executor | None, jobs: int) -> Iterator[Executor]:
    """Lend the given executor, or threads for the time of a screen; they are not the caller's to shut down."""
    if executor is not None:
        yield executor
        return
    with open_executor(threads=min(jobs, os.cpu_count() or 1) or 1) as pool:
        yield pool
