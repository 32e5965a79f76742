"""What a market offers without a pair: how many small p-values its surrogates give, kept small and looked up for any.

Theory promises that of D discoveries at a false-discovery rate f no more than f D are false. Surrogates of the same
market, which have no pair at all, say how many p-values as small as those of the discoveries come by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pairscope.errors import InputError
from pairscope.market.ticks import F8, I8
from pairscope.research.closes import Closes
from pairscope.research.screen import screen_pairs
from pairscope.research.surrogates import surrogate_market

__all__ = ["MOST_SURROGATES", "MarketNull", "market_null", "null_from"]

MOST_SURROGATES: Final = 200

_DECADES: Final = 12
_A_DECADE: Final = 16
_EDGES: Final = 10.0 ** (np.arange(-_DECADES * _A_DECADE, 1) / _A_DECADE)
"""p-values at which surrogates' are counted: sixteen a decade, from 1e-12 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class MarketNull:
    """How many of a surrogate market's tests have a p-value of at most each edge: a row of ``counts`` a market.

    ``as_of_ms`` is the open of the newest bar that the surrogates were made of; ``tests`` are those of one market.
    """

    timeframe: str
    lookback: int
    as_of_ms: int
    tests: int
    counts: I8

    @property
    def surrogates(self) -> int:
        """How many surrogate markets were screened."""
        return int(self.counts.shape[0])

    @property
    def key(self) -> tuple[int, int]:
        """Return what tells this null from others of the same screen."""
        return (self.as_of_ms, self.surrogates)

    def false(self, pvalue: float, tests: int) -> F8:
        """Return, for each surrogate market, how many of so many tests had a p-value of at most this one.

        Between edges counts grow in proportion to the logarithm of p; below the first edge there are none to speak of.
        """
        if not pvalue > 0.0 or not self.tests:
            return np.zeros(self.surrogates)
        at = float(np.clip((np.log10(pvalue) + _DECADES) * _A_DECADE, 0.0, _EDGES.size - 1.0))
        low = int(at)
        high = min(low + 1, _EDGES.size - 1)
        counted = self.counts[:, low] + (at - low) * (self.counts[:, high] - self.counts[:, low])
        found: F8 = counted * (tests / self.tests)
        return found

    def expected(self, pvalue: F8, tests: int) -> F8:
        """Return, for each p-value, how many of so many tests of a surrogate market have one as small, on average."""
        at = (np.log10(np.maximum(pvalue, 1e-300)) + _DECADES) * _A_DECADE
        mean = np.interp(at, np.arange(_EDGES.size), self.counts.mean(axis=0))
        found: F8 = np.where(pvalue > 0.0, mean * (tests / max(1, self.tests)), 0.0)
        return found

    def told(self, pvalue: F8, *, discoveries: int, fdr: float) -> Mapping[str, Any]:
        """Return what this null says of a screen's p-values, which ascend, and of how many discoveries it has."""
        tests = int(pvalue.size)
        # Without a discovery: the largest p-value that could have been one all alone.
        limit = float(pvalue[discoveries - 1]) if discoveries else fdr / max(1, tests)
        false = self.false(limit, tests)
        expected = float(false.mean())
        return {
            "surrogates": self.surrogates,
            "as_of": self.as_of_ms,
            "tests": self.tests,
            "pvalue": limit,
            "discoveries": discoveries,
            "fdr_promised": fdr,
            "false_promised": fdr * discoveries,
            "fdr_empirical": min(1.0, expected / discoveries) if discoveries else None,
            "false_expected": expected,
            "false_least": float(false.min()),
            "false_most": float(false.max()),
        }

    def document(self) -> Mapping[str, Any]:
        """Return all of it, to be kept: the counts from the first edge on at which there are any."""
        first = int(np.argmax(self.counts.any(axis=0))) if self.counts.any() else _EDGES.size
        return {
            "timeframe": self.timeframe,
            "lookback": self.lookback,
            "as_of": self.as_of_ms,
            "tests": self.tests,
            "first": first,
            "counts": self.counts[:, first:].tolist(),
        }


def null_from(document: Mapping[str, Any]) -> MarketNull:
    """Return what a kept document holds; ``ValueError``, ``KeyError`` or ``TypeError`` of one that is none."""
    kept = np.array(document["counts"], np.int64)
    first = int(document["first"])
    if kept.ndim != 2 or not kept.shape[0] or first + kept.shape[1] != _EDGES.size:
        raise ValueError("not the counts of a null")
    counts = np.zeros((kept.shape[0], _EDGES.size), np.int64)
    counts[:, first:] = kept
    return MarketNull(
        str(document["timeframe"]), int(document["lookback"]), int(document["as_of"]), int(document["tests"]), counts
    )


def market_null(
    closes: Closes,
    timeframe: str,
    lookback: int,
    *,
    surrogates: int,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> MarketNull:
    """Screen surrogates of a table of closes; the same table gives the same bits. ``progress`` counts their tiles.

    O(surrogates) screens. Reference: see :func:`~pairscope.research.surrogates.surrogate_market`.
    """
    if not 1 <= surrogates <= MOST_SURROGATES:
        raise InputError(f"empirical_null: must be 1 to {MOST_SURROGATES} surrogate markets", loc="empirical_null")
    as_of_ms = int(closes.times_ns[-1]) // 1_000_000
    seeds = np.random.default_rng(as_of_ms).integers(0, 2**63 - 1, surrogates)
    counts = np.zeros((surrogates, _EDGES.size), np.int64)
    tests = 0
    for place, seed in enumerate(seeds.tolist()):

        def step(done: int, total: int, before: int = place) -> None:
            if progress is not None:
                progress(before * total + done, surrogates * total)

        world = surrogate_market(closes.prices, seed)
        screen = screen_pairs(world, closes.symbols, executor=executor, progress=step, cancelled=cancelled)
        tests = screen.tests
        counts[place] = np.searchsorted(screen.pvalue, _EDGES, side="right")
    return MarketNull(timeframe, lookback, as_of_ms, tests, counts)
