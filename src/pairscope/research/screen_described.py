"""A tile's tests in the units that people read: hedge ratio, spread, z-score and half-life, a column each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.market.ticks import F8, I8
from pairscope.research.screen_block import LANES, Block
from pairscope.research.screen_products import cross_products
from pairscope.research.screen_refit import LAST, REVERSION, SLOPE, SQUARES, STATISTIC

__all__ = ["Description", "TileTests", "describe"]


class TileTests(NamedTuple):
    """A tile's tests as columns, ``y`` and ``x`` by their place among all symbols, and pairs that cannot be tested.

    ``recomputed`` counts the tests that were computed from the series themselves.
    """

    y: I8
    x: I8
    alpha: F8
    beta: F8
    statistic: F8
    lags: I8
    half_life: F8
    zscore: F8
    spread_std: F8
    correlation: F8
    untested: tuple[tuple[int, int, str], ...]
    recomputed: int


@dataclass(slots=True)
class Description:
    """The columns of a tile while some of its tests may still be corrected or refused."""

    y: I8
    x: I8
    alpha: F8
    beta: F8
    statistic: F8
    lags: I8
    half_life: F8
    zscore: F8
    spread_std: F8
    correlation: F8
    untested: list[tuple[int, int, str]] = field(default_factory=list)

    def refuse(self, i: int, reason: str) -> None:
        """Say why a test cannot be made."""
        self.untested.append((int(self.y[i]), int(self.x[i]), reason))
        self.statistic[i] = np.nan

    def finished(self, recomputed: int) -> TileTests:
        """Return the tests that could be made, and what is known of the others."""
        with np.errstate(invalid="ignore"):
            beyond = ~np.isfinite(self.alpha + self.beta + self.spread_std + self.zscore)
        for i in np.flatnonzero(beyond & ~np.isnan(self.statistic)):
            self.refuse(int(i), "their scales are too far apart for float64")
        kept = ~np.isnan(self.statistic)
        columns = {name: getattr(self, name)[kept] for name in TileTests._fields[:10]}
        return TileTests(**columns, untested=tuple(self.untested), recomputed=recomputed)


def describe(
    left: Block, right: Block, tests: NDArray[np.int64], lags: I8, facts: F8, place: tuple[int, int]
) -> Description:
    """Return what is known of each test (1 where the row is y, the row, the lane) from the facts of its residual."""
    bars = left.values.shape[1]
    correlation = np.clip(cross_products(left.returns, right.returns_lanes), -1.0, 1.0)
    forward, s, r = tests[:, 0] == 1, tests[:, 1], tests[:, 2]
    power_y = np.where(forward, left.power[s], right.power[r])
    power_x = np.where(forward, right.power[r], left.power[s])
    origin_y = np.where(forward, left.origin[s], right.origin[r])
    origin_x = np.where(forward, right.origin[r], left.origin[s])
    reversion = facts[:, REVERSION]
    # What cannot be computed here is computed from its series afterwards, or refused.
    with np.errstate(all="ignore"):
        std = np.sqrt(facts[:, SQUARES] / (bars - 1.0))
        beta = np.ldexp(facts[:, SLOPE], power_y - power_x)
        half_life = np.where(reversion >= -1e-12, np.inf, -np.log(2.0) / np.log1p(reversion))
        half_life[reversion <= -1.0] = np.nan
        zscore = facts[:, LAST] / std
        alpha = origin_y - beta * origin_x
        spread_std = np.ldexp(std, power_y)
    first, second = place[0] * LANES + s, place[1] * LANES + r
    return Description(
        y=np.where(forward, first, second),
        x=np.where(forward, second, first),
        alpha=alpha,
        beta=beta,
        statistic=facts[:, STATISTIC].copy(),
        lags=lags,
        half_life=half_life,
        zscore=zscore,
        spread_std=spread_std,
        correlation=correlation[s, r],
    )
