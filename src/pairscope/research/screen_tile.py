"""A tile of the screen: every pair of two blocks of symbols tested, as a pure function of their prices.

What the products of changes cannot settle to nine digits (nearly collinear legs, nearly equal criteria, a statistic
next to nought) is noticed and computed again from the series themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.cointegration import EngleGrangerResult, engle_granger
from pairscope.analytics.mean_reversion import half_life
from pairscope.errors import DegenerateSeries, NotEnoughData
from pairscope.market.ticks import F8
from pairscope.research.modified_criterion import modified_lags
from pairscope.research.screen_block import LANES, Block
from pairscope.research.screen_described import TileTests, describe
from pairscope.research.screen_products import cross_products, lag_products
from pairscope.research.screen_refit import DOUBT, FACTS, SQUARES, refit
from pairscope.research.screen_select import RULES, select_lags

__all__ = ["Rule", "ScreenLag", "directed_pairs", "judge_tile", "screen_tile"]

ScreenLag = Literal["aic", "bic", "t-stat", "maic"]
"""What chooses the number of lags: those of a single test, and Ng and Perron's modified criterion."""

_DOUBTFUL: Final = 2e-10
"""Estimated relative error of a statistic from which it is computed again; the true one was up to 4 times that here."""

_COLLINEAR: Final = 3e-6
"""1 - R² below which the direct test decides whether there is anything to test."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a screen tests: the most lags, what chooses among them, and whether x on y is tested as well as y on x."""

    lags: int
    autolag: ScreenLag | None
    both_directions: bool


def screen_tile(left: Block, right: Block, place: tuple[int, int], rule: Rule) -> TileTests:
    """Test every pair of a symbol of ``left`` and one of ``right``; ``place`` are the blocks' numbers."""
    return judge_tile(left, right, lag_products(left, right), place, rule)


def judge_tile(left: Block, right: Block, products: F8, place: tuple[int, int], rule: Rule) -> TileTests:
    """Test every pair of two blocks whose products of changes are known."""
    cross = cross_products(left.levels, right.levels_lanes)
    tests = directed_pairs(len(left), len(right), rule, diagonal=place[0] == place[1])
    taken, safe = _lags(left, right, products, cross, tests, rule)
    order = np.argsort(taken, kind="stable")
    tests, taken, safe = tests[order], taken[order], safe[order]
    facts = np.empty((taken.size, FACTS))
    bars = left.values.shape[1]
    refit(tests, taken, products, cross, left.edges, left.own, right.edges, right.own, bars, facts)
    table = describe(left, right, tests, taken, facts, place)
    own = np.where(tests[:, 0] == 1, left.own[tests[:, 1], -1], right.own[tests[:, 2], -1])
    # A comparison with NaN is false: what could not be computed is not safe either.
    safe &= (facts[:, DOUBT] <= _DOUBTFUL) & (facts[:, SQUARES] > _COLLINEAR * own)
    for i in np.flatnonzero(~safe):
        forward, s, r = tests[i]
        legs = left.values[s], right.values[r]
        try:
            test, deviation = _directly(*(legs if forward else legs[::-1]), rule)
        except (DegenerateSeries, NotEnoughData) as error:
            table.refuse(int(i), str(error))
            continue
        table.alpha[i], table.beta[i], table.statistic[i], table.lags[i] = (
            test.alpha, test.beta, test.statistic, test.lags,
        )  # fmt: skip
        table.spread_std[i] = np.sqrt(float(deviation @ deviation) / (bars - 1.0))
        table.zscore[i] = deviation[-1] / table.spread_std[i]
        if bars >= 8:
            table.half_life[i] = half_life(deviation)
    return table.finished(int((~safe).sum()))


def directed_pairs(rows: int, lanes: int, rule: Rule, *, diagonal: bool) -> NDArray[np.int64]:
    """Return the tests of a tile: 1 where the row is y and 0 where the lane is, the row, the lane."""
    s, r = (index.ravel() for index in np.indices((rows, lanes)))
    if diagonal:
        wanted = s != r if rule.both_directions else s < r
        s, r = s[wanted], r[wanted]
    tests = np.column_stack([np.ones_like(s), s, r])
    if diagonal or not rule.both_directions:
        return tests
    return np.concatenate([tests, np.column_stack([np.zeros_like(s), s, r])])


def _lags(
    left: Block, right: Block, products: F8, cross: F8, tests: NDArray[np.int64], rule: Rule
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the number of lags of each test, and whether it is beyond doubt."""
    if rule.autolag is None or rule.lags == 0:
        return np.full(len(tests), rule.lags), np.ones(len(tests), np.bool_)
    chosen = np.zeros((2, len(left), LANES), np.int64)
    safe = np.zeros((2, len(left), LANES), np.bool_)
    for forward in np.unique(tests[:, 0]):
        select_lags(
            products, cross, left.edges, left.own, right.edges_lanes, right.own_lanes,
            left.values.shape[1], rule.lags, int(forward), RULES.index(rule.autolag), chosen[forward], safe[forward],
        )  # fmt: skip
    at = tuple(tests.T)
    return chosen[at], safe[at]


def _directly(y: F8, x: F8, rule: Rule) -> tuple[EngleGrangerResult, F8]:
    """Test one pair from its series; return the test and its residual."""
    if rule.autolag == "maic":
        first = engle_granger(y, x, maxlag=0, autolag=None)
        lags = modified_lags(_residual(y, x, first.beta), rule.lags)
        test = engle_granger(y, x, maxlag=lags, autolag=None)
    else:
        test = engle_granger(y, x, maxlag=rule.lags, autolag=rule.autolag)
    return test, _residual(y, x, test.beta)


def _residual(y: F8, x: F8, beta: float) -> F8:
    """Return what x leaves of y, with a mean of nought."""
    left: F8 = (y - y[0]) - beta * (x - x[0])
    left -= left.mean()
    rest: F8 = left - left.mean()
    return rest
