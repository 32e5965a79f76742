"""The market's own null: each symbol as it moves by itself, all ties between symbols destroyed.

Theory's p-values hold for a textbook market. Real bars bounce between bid and ask, have fat tails and volatility that
comes in clusters; a screen of surrogates, which have all of that and no pair among them, shows how many discoveries
such a market offers by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.errors import InputError
from pairscope.market.ticks import F8, I8
from pairscope.research.screen import screen_pairs
from pairscope.research.screen_table import ScreenResult

__all__ = ["THRESHOLDS", "EmpiricalNull", "empirical_null", "surrogate_market"]

THRESHOLDS: Final = (0.05, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)
"""p-values at which the false discoveries of theory and of surrogates are compared."""


@dataclass(frozen=True, slots=True, eq=False)
class EmpiricalNull:
    """How many false discoveries a market without a pair offers, beside how many theory expects.

    A column a threshold on the p-value: ``discoveries`` of the screen, ``theory`` false ones expected of that many
    tests (tests times threshold), ``surrogate`` false ones in each surrogate market (a row a market). ``qvalue`` is,
    for each row of ``screen``, the surrogates' mean number of p-values as small, over the row's rank.
    """

    screen: ScreenResult
    thresholds: F8
    discoveries: I8
    theory: F8
    surrogate: I8
    qvalue: F8

    @property
    def false(self) -> F8:
        """False discoveries a surrogate market offers, on average."""
        mean: F8 = self.surrogate.mean(axis=0)
        return mean

    @property
    def fdr(self) -> F8:
        """The share of the screen's discoveries that this market offers without a pair, at most 1; NaN without any."""
        return _share(self.false, self.discoveries)

    @property
    def fdr_of_theory(self) -> F8:
        """The same share if p-values were exact."""
        return _share(self.theory, self.discoveries)


def surrogate_market(prices: F8, seed: int, *, log: bool = True) -> F8:
    """Return prices (T, N) in which each symbol's returns are rotated in time by a random amount of its own.

    What a symbol does by itself (its distribution, bounce, volatility clusters, first and last price) stays; what ties
    it to others goes. The cut, where the last return meets the first, is the one place where its dynamics change.
    Returns are changes of log prices, or of prices where ``log`` is False. A column with NaN, infinities or, under
    ``log``, prices that are not positive is returned as it is. O(T N).
    Reference: Theiler et al. (1992), *Testing for nonlinearity in time series: the method of surrogate data*.

    >>> prices = np.exp(np.cumsum(np.random.default_rng(0).standard_normal((50, 2)), axis=0))
    >>> returns, rotated = (np.diff(np.log(p), axis=0) for p in (prices, surrogate_market(prices, 1)))
    >>> bool(np.allclose(np.sort(rotated, axis=0), np.sort(returns, axis=0))), bool(np.allclose(rotated, returns))
    (True, False)
    """
    out = np.array(prices, np.float64)
    if out.ndim != 2 or out.shape[0] < 3:
        raise InputError("prices: must have a row a bar, three at least, and a column a symbol", loc="prices")
    amounts = np.random.default_rng(seed).integers(0, out.shape[0] - 1, out.shape[1])
    for i, amount in enumerate(amounts):
        series = out[:, i]
        if not np.isfinite(series).all() or (log and series.min() <= 0.0):
            continue
        level = np.log(series) if log else series
        moved = level[0] + np.cumsum(np.roll(np.diff(level), amount))
        out[1:, i] = np.exp(moved) if log else moved
    return out


def empirical_null(
    prices: F8,
    symbols: Sequence[str],
    *,
    markets: int = 10,
    seed: int = 0,
    log: bool = True,
    thresholds: Sequence[float] = THRESHOLDS,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **how: Any,
) -> EmpiricalNull:
    """Screen a market and ``markets`` surrogates of it, and say how many discoveries each threshold owes to chance.

    ``how`` are further arguments of ``screen_pairs``, of all the screens alike. The false-discovery rates are an upper
    bound, as the surrogates take every pair for a false one. ``progress`` counts screens. O(markets) screens.
    Reference: Storey & Tibshirani (2003), *Statistical significance for genomewide studies*, for the estimate.

    >>> prices = np.exp(np.cumsum(np.random.default_rng(0).standard_normal((200, 6)), axis=0) * 0.01)
    >>> null = empirical_null(prices, list("ABCDEF"), markets=3, thresholds=[0.05])
    >>> null.surrogate.shape, float(null.theory[0])
    ((3, 1), 1.5)
    """
    if isinstance(markets, bool) or int(markets) != markets or markets < 1:
        raise InputError("markets: must be a whole number of at least 1", loc="markets")
    levels = np.array(thresholds, np.float64)
    if levels.ndim != 1 or not levels.size or not (levels > 0.0).all() or not (levels <= 1.0).all():
        raise InputError("thresholds: must be p-values above 0 and at most 1", loc="thresholds")
    seeds = np.random.default_rng(seed).integers(0, 2**63 - 1, markets)
    screens = []
    for place in range(markets + 1):
        world = prices if place == 0 else surrogate_market(prices, int(seeds[place - 1]), log=log)
        screens.append(screen_pairs(world, symbols, log=log, executor=executor, cancelled=cancelled, **how))
        if progress is not None:
            progress(place + 1, markets + 1)
    real, nulls = screens[0], screens[1:]
    chance = np.sort(np.concatenate([null.pvalue for null in nulls]))
    rank = np.arange(1, len(real) + 1)
    raw = np.searchsorted(chance, real.pvalue, side="right") / (markets * np.maximum(rank, 1))
    return EmpiricalNull(
        screen=real,
        thresholds=levels,
        discoveries=_counts(real.pvalue, levels),
        theory=levels * real.tests,
        surrogate=np.array([_counts(null.pvalue, levels) for null in nulls]),
        qvalue=np.minimum(1.0, np.minimum.accumulate(raw[::-1])[::-1]),
    )


def _counts(pvalue: F8, levels: F8) -> NDArray[np.int64]:
    """Return how many of the p-values, which ascend, are at most each level."""
    return np.searchsorted(pvalue, levels, side="right").astype(np.int64)


def _share(false: F8, discoveries: I8) -> F8:
    """Return the share of false ones, at most 1; NaN where nothing was discovered."""
    known = discoveries > 0
    share: F8 = np.where(known, np.minimum(1.0, false / np.maximum(discoveries, 1)), np.nan)
    return share
