"""A screen that moves with the market: at a new bar its sums of products change by one row, not by all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Final

import numpy as np

from pairscope.errors import InputError
from pairscope.market.ticks import F8
from pairscope.research.screen import Market, blocks_of, compute_tiles, market_of, rule_of
from pairscope.research.screen_block import LANES, Block, block_of
from pairscope.research.screen_products import lag_products, slide_products
from pairscope.research.screen_table import Control, ScreenResult, tabulate
from pairscope.research.screen_tile import ScreenLag, judge_tile

__all__ = ["SlidingScreen"]

_REFRESHED: Final = 64
"""Bars after which a tile's products are made from scratch again, where there are fewer tiles than that."""


class SlidingScreen:
    """The screen of the last T bars, for ever newer bars: equal to a fresh one to 1e-8.

    The products of changes at each lag, most of a fresh screen's arithmetic, gain the new bar's and lose the oldest
    one's; all else is computed anew. The tiles' products are made from scratch in turn, one a bar at most and each
    every 64 bars (or as many as there are tiles), so that rounding does not gather. Where the set of testable symbols
    changes (a hole came or went) all products are made anew, which costs as much as a fresh screen. An object is used
    from one thread at a time, and its ``executor`` must be one of threads.

    >>> prices = np.exp(np.cumsum(np.random.default_rng(0).standard_normal((120, 3)), axis=0) * 0.01)
    >>> sliding = SlidingScreen(prices[:100], ["A", "B", "C"])
    >>> for row in prices[100:]:
    ...     sliding.push(row)
    >>> len(sliding.screen()), sliding.bars
    (6, 100)
    """

    def __init__(
        self,
        prices: F8,
        symbols: Sequence[str],
        *,
        log: bool = True,
        maxlag: int | None = None,
        autolag: ScreenLag | None = "aic",
        both_directions: bool = True,
        control: Control = "bh",
    ) -> None:
        self._prices = np.array(prices, np.float64)
        self._symbols = tuple(map(str, symbols))
        self._log = log
        self._control = control
        self._market = market_of(self._prices, self._symbols, log=log)
        self._rule = rule_of(self._market.bars, maxlag=maxlag, autolag=autolag, both_directions=both_directions)
        self._blocks: list[Block] = []
        self._products: dict[tuple[int, int], F8] = {}
        self._bars_taken = 0
        self._rebuild()

    @property
    def bars(self) -> int:
        """How many bars are looked at."""
        return self._market.bars

    def push(self, row: F8) -> None:
        """Take in the prices of a new bar, a value a symbol, NaN where there is none; forget the oldest. O(N² p)."""
        newest = np.array(row, np.float64)
        if newest.shape != (len(self._symbols),):
            raise InputError(f"row: must have {len(self._symbols)} values", loc="row")
        prices = np.concatenate([self._prices[1:], newest[None, :]])
        market = market_of(prices, self._symbols, log=self._log)
        known = self._market.symbols
        self._prices, self._market = prices, market
        if market.symbols != known:
            self._rebuild()
            return
        old = self._blocks
        self._blocks = [_moved_on(block, market, i * LANES) for i, block in enumerate(old)]
        for (i, j), products in self._products.items():
            slide_products(products, (old[i], old[j]), (self._blocks[i], self._blocks[j]))
        turn = self._bars_taken % max(_REFRESHED, len(self._products))
        self._bars_taken += 1
        for place in list(self._products)[turn : turn + 1]:
            self._products[place] = lag_products(*(self._blocks[i] for i in place))

    def screen(
        self,
        *,
        executor: Executor | None = None,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> ScreenResult:
        """Test every pair on the bars as they are; arguments and answer as those of ``screen_pairs``."""
        began = time.perf_counter()
        jobs = [
            (self._blocks[i], self._blocks[j], products, (i, j), self._rule)
            for (i, j), products in self._products.items()
        ]
        tiles = compute_tiles(judge_tile, jobs, executor=executor, progress=progress, cancelled=cancelled)
        table = tabulate(
            tiles,
            self._market.symbols,
            self._market.excluded,
            control=self._control,
            both_directions=self._rule.both_directions,
            bars=self._market.bars,
            log=self._log,
            statistic="adf",
        )
        return replace(table, elapsed_ms=1e3 * (time.perf_counter() - began))

    def _rebuild(self) -> None:
        """Make all products anew."""
        self._blocks = blocks_of(self._market, self._rule.lags)
        size = len(self._blocks)
        self._products = {
            (i, j): lag_products(self._blocks[i], self._blocks[j]) for i in range(size) for j in range(i, size)
        }


def _moved_on(block: Block, market: Market, first: int) -> Block:
    """Return a block of newer bars, on the scale of the old one, whose products go on."""
    rows = slice(first, first + LANES)
    return block_of(market.values[rows], market.logs[rows], block.lags, block.power)
