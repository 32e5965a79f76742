"""Phillips and Ouliaris' test of every pair of a tile: autocorrelation is taken off the t-ratio, not fitted by lags."""

from __future__ import annotations

import math

import numpy as np

from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8
from pairscope.research.screen_block import LANES, Block
from pairscope.research.screen_described import TileTests, describe
from pairscope.research.screen_products import cross_products
from pairscope.research.screen_refit import FACTS, LAST, REVERSION, SLOPE, SQUARES, STATISTIC
from pairscope.research.screen_tile import Rule, directed_pairs

__all__ = ["bandwidth_of", "phillips_tile"]


@kernel
def _statistics(
    rows: F8, lanes: F8, cross: F8, own_rows: F8, own_lanes: F8, bars: int, bandwidth: int, forward: int, out: F8
) -> None:  # pragma: no cover - compiled
    """Write the facts of each row's residuals on (``forward`` 1) or under (0) all lanes: (rows, facts, lanes)."""
    u = np.empty((bars, LANES))
    shock = np.empty((bars - 1, LANES))
    slope, mean, phi, before = np.empty(LANES), np.empty(LANES), np.empty(LANES), np.empty(LANES)
    variance, onesided = np.empty(LANES), np.empty(LANES)
    n = bars - 1.0
    for s in range(out.shape[0]):
        facts = out[s]
        for r in range(LANES):
            slope[r] = np.divide(cross[s, r], own_lanes[r] if forward == 1 else own_rows[s])
            mean[r] = phi[r] = before[r] = variance[r] = onesided[r] = 0.0
        for t in range(bars):
            level, lane, now = rows[s, t], lanes[t], u[t]
            for r in range(LANES):
                now[r] = level - slope[r] * lane[r] if forward == 1 else lane[r] - slope[r] * level
                mean[r] += now[r] / bars
        for t in range(bars):
            now = u[t]
            for r in range(LANES):
                now[r] -= mean[r]
        for t in range(bars - 1):
            now, then = u[t], u[t + 1]
            for r in range(LANES):
                before[r] += now[r] * now[r]
                phi[r] += now[r] * (then[r] - now[r])
        last, first = u[bars - 1], u[0]
        for r in range(LANES):
            # The AR(1) with constant, whose half-life is told, from the sums of the one without, which is tested.
            moved = phi[r] + last[r] * (last[r] - first[r]) / n
            facts[REVERSION, r] = np.divide(moved, before[r] - last[r] * last[r] / n)
            facts[SQUARES, r] = before[r] + last[r] * last[r]
            facts[LAST, r] = last[r]
            facts[SLOPE, r] = slope[r]
            phi[r] = np.divide(phi[r], before[r])
        for t in range(bars - 1):
            now, then, k = u[t], u[t + 1], shock[t]
            for r in range(LANES):
                k[r] = then[r] - now[r] - phi[r] * now[r]
                variance[r] += k[r] * k[r] / bars
        for lag in range(1, bandwidth + 1):
            weight = (1.0 - lag / (bandwidth + 1.0)) / bars
            for t in range(lag, bars - 1):
                k, past = shock[t], shock[t - lag]
                for r in range(LANES):
                    onesided[r] += weight * (k[r] * past[r])
        for r in range(LANES):
            long_run = variance[r] + 2.0 * onesided[r]
            corrected = phi[r] - np.divide(bars * onesided[r], before[r])
            facts[STATISTIC, r] = np.divide(corrected, np.sqrt(np.divide(long_run, before[r])))


def phillips_tile(left: Block, right: Block, place: tuple[int, int], rule: Rule) -> TileTests:
    r"""Test every pair of two blocks by Phillips and Ouliaris' :math:`Z_t`; ``rule.lags`` is the bandwidth.

    .. math:: Z_t = \frac{(\hat\phi - 1) - T \hat\lambda / \sum u_{t-1}^2}{\sqrt{\hat\omega^2 / \sum u_{t-1}^2}}, \qquad
        \hat\lambda = \sum_{j=1}^{q} \Bigl(1 - \frac{j}{q+1}\Bigr) \frac1T \sum_t k_t k_{t-j}, \qquad
        \hat\omega^2 = \frac1T \sum_t k_t^2 + 2 \hat\lambda

    for the residual u of y on x, :math:`\hat\phi` its AR(1) coefficient and k what that leaves. Its asymptotic law is
    that of the augmented t-ratio, and so are its p-values. O(T q) a pair.
    Reference: Phillips & Ouliaris (1990), Econometrica 58; Newey & West (1987) for the weights.
    """
    bars = left.values.shape[1]
    cross = cross_products(left.levels, right.levels_lanes)
    tests = directed_pairs(len(left), len(right), rule, diagonal=place[0] == place[1])
    found = np.zeros((2, len(left), FACTS, LANES))
    own_rows, own_lanes = left.own[:, -1].copy(), np.zeros(LANES)
    own_lanes[: len(right)] = right.own[:, -1]
    for forward in np.unique(tests[:, 0]):
        _statistics(
            left.levels, right.levels_lanes, cross, own_rows, own_lanes, bars, rule.lags, int(forward), found[forward]
        )
    facts = found[tests[:, 0], tests[:, 1], :, tests[:, 2]]
    table = describe(left, right, tests, np.full(len(tests), rule.lags), facts, place)
    own = np.where(tests[:, 0] == 1, own_rows[tests[:, 1]], own_lanes[tests[:, 2]])
    for i in np.flatnonzero(~(facts[:, SQUARES] > 1.5e-6 * own) | ~np.isfinite(facts[:, STATISTIC])):
        table.refuse(int(i), "x: is collinear with y, nothing is left to test")
    return table.finished(0)


def bandwidth_of(bars: int, bandwidth: int | None) -> int:
    """Return the number of autocovariances that count: as given, or :math:`4 (T / 100)^{2/9}`, rounded down.

    >>> bandwidth_of(1440, None)
    7
    """
    return math.floor(4.0 * (bars / 100.0) ** (2.0 / 9.0)) if bandwidth is None else bandwidth
