"""A screen that follows a market: it slides where a bar came, and begins anew where anything else changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Final

import numpy as np

from pairscope.market.bars import BarBatch
from pairscope.research.closes import Closes, aligned
from pairscope.research.market_tape import MarketTape
from pairscope.research.screen import screen_pairs
from pairscope.research.screen_examine import examine
from pairscope.research.screen_sliding import SlidingScreen
from pairscope.research.standing import Standing, standing_of

__all__ = ["MovingScreen", "load_kernels", "screen_closes"]

_MOST_SLID: Final = 16
"""Bars that a screen slides over at once; beyond that beginning anew costs less."""


class MovingScreen:
    """The screen of the newest ``lookback`` bars, again whenever the market has others.

    What is tested is ``aligned`` of the tape, whatever came in between: where that is the table of before moved on by
    some bars, the sums of products are moved on with it; where a symbol came or went, a bar was corrected or older ones
    came to be known, they are made anew. ``slides`` and ``rebuilds`` count both. Used from one thread at a time.
    """

    def __init__(self, timeframe: str, lookback: int) -> None:
        self.timeframe = timeframe
        self.lookback = lookback
        self.slides = 0
        self.rebuilds = 0
        self._tape = MarketTape(timeframe, lookback)
        self._tested: Closes | None = None
        self._sliding: SlidingScreen | None = None

    def take(self, bars: Iterable[BarBatch]) -> None:
        """Take closed bars, later versions after earlier ones."""
        for batch in bars:
            self._tape.write(batch)

    def screen(
        self,
        symbols: Sequence[str],
        *,
        number: int,
        left_out: Mapping[str, str] | None = None,
        executor: Executor | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Standing | None:
        """Return the screen of these symbols as the tape has them; None where it is the one of before.

        ``NotEnoughData`` where there are too few symbols or bars; after any error the next screen begins anew.
        """
        tested, sliding = self._tested, self._sliding
        self._tested = self._sliding = None
        closes = aligned(self._tape.closes(symbols, left_out), self.lookback)
        moved = None if tested is None or sliding is None else _moved(tested, closes)
        if moved is None or sliding is None:
            sliding = SlidingScreen(closes.prices, closes.symbols)
            self.rebuilds += 1
        elif moved == 0 and tested is not None and tested.excluded == closes.excluded:
            self._tested, self._sliding = tested, sliding
            return None
        else:
            for row in closes.prices[len(closes) - moved :]:
                sliding.push(row)
            self.slides += 1
        result = sliding.screen(executor=executor, cancelled=cancelled)
        standing = standing_of(result, closes, self.timeframe, self.lookback, number=number, continuous=True)
        self._tested, self._sliding = closes, sliding
        return standing


def screen_closes(
    closes: Closes,
    timeframe: str,
    lookback: int,
    *,
    number: int,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Standing:
    """Return the screen of a table of closes, once; ``NotEnoughData`` where too few symbols or bars can be tested."""
    table = aligned(closes, lookback)
    result = screen_pairs(table.prices, table.symbols, executor=executor, progress=progress, cancelled=cancelled)
    return standing_of(result, table, timeframe, lookback, number=number)


def load_kernels() -> None:
    """Run every kernel of a screen on a made-up market, so that they are compiled, or read from where they are kept."""
    rows = np.arange(240.0)
    prices = np.exp(np.column_stack([np.cumsum(np.sin(rows**2 + i)) / 100.0 for i in range(3)]))
    prices[:, 2] = prices[:, 0] * np.exp(np.sin(rows**1.5) / 1000.0)
    sliding = SlidingScreen(prices[:-1], ["A", "B", "C"])
    sliding.push(prices[-1])
    sliding.screen()
    examine(screen_pairs(prices, ["A", "B", "C"]), prices, ["A", "B", "C"], fdr=1.0)


def _moved(before: Closes, now: Closes) -> int | None:
    """Return by how many bars a table has moved on; None where that is not all that has happened to it."""
    if before.symbols != now.symbols or len(before) != len(now):
        return None
    bars = int(np.searchsorted(before.times_ns, now.times_ns[0]))
    kept = len(now) - bars
    if bars > _MOST_SLID or kept <= 0:
        return None
    same = np.array_equal(before.times_ns[bars:], now.times_ns[:kept]) and np.array_equal(
        before.prices[bars:], now.prices[:kept]
    )
    return bars if same else None
