"""The synthetic market says which hedge ratios and half-lives it was made with: intervals hold them as they claim."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from pairscope.analytics.mean_reversion import half_life_interval
from pairscope.analytics.regression import ols_hedge
from pairscope.analytics.statistical_tests import engle_granger
from pairscope.feed.synthetic import PlantedPair, SyntheticMarket

DAY_NS = 86_400_000_000_000
END_NS = 1_723_118_400_000_000_000
BAR_S = 300


class Week(NamedTuple):
    """Log closes of a planted pair, a bar every five minutes."""

    pair: PlantedPair
    y: np.ndarray
    x: np.ndarray


@pytest.fixture(scope="module")
def weeks() -> list[Week]:
    """Two weeks of each planted pair on two markets that share nothing."""
    found = []
    for seed in (1, 2):
        market = SyntheticMarket(seed=seed, symbols=130, ticks_per_second=15.0)
        for end_ns in (END_NS, END_NS - 9 * DAY_NS):
            for pair in market.pairs:
                legs = [market.klines(symbol, "5m", end_ns - 7 * DAY_NS, end_ns) for symbol in (pair.y, pair.x)]
                _, *rows = np.intersect1d(legs[0].open_ms, legs[1].open_ms, return_indices=True)
                scale = [10.0 ** market.listings[market.row(symbol)].price_decimals for symbol in (pair.y, pair.x)]
                y, x = (np.log(leg.close[row] / unit) for leg, row, unit in zip(legs, rows, scale, strict=True))
                found.append(Week(pair, y, x))
    assert len(found) == 48
    return found


def held(hits: list[bool]) -> None:
    """Demand a share that an interval of 95 % would miss once in some ten thousand times."""
    print(f"{sum(hits)} of {len(hits)} intervals of 95 % hold what was planted")
    assert sum(hits) >= 39


def test_planted_hedge_ratios_lie_in_their_intervals_at_the_stated_rate(weeks: list[Week]) -> None:
    hits, naive = [], []
    for week in weeks:
        fit = ols_hedge(week.y, week.x)
        for found, persistent in ((hits, True), (naive, False)):
            low, high = fit.interval(persistent=persistent)
            found.append(low <= week.pair.beta <= high)
    held(hits)
    assert sum(naive) < 30  # the textbook's interval takes a spread for noise, and is far too sure


def test_planted_half_lives_lie_in_their_intervals_at_the_stated_rate(weeks: list[Week]) -> None:
    hits = []
    for week in weeks:
        fit = ols_hedge(week.y, week.x)
        found = half_life_interval(week.y - fit.alpha - fit.beta * week.x)
        hits.append(found.low <= week.pair.half_life_s / BAR_S <= found.high)
    held(hits)


def test_planted_pairs_are_found_cointegrated_and_strangers_are_not(weeks: list[Week]) -> None:
    rejected = [engle_granger(week.y, week.x).pvalue < 0.01 for week in weeks]
    strangers = [
        engle_granger(one.y, other.x[: one.y.size]).pvalue < 0.01
        for one, other in zip(weeks[:12], weeks[24:36], strict=True)
    ]
    print(f"{sum(rejected)} of {len(rejected)} planted pairs, {sum(strangers)} of {len(strangers)} strangers at 1 %")
    assert sum(rejected) >= 40
    assert sum(strangers) <= 2
