"""Which number of lags each test takes: one factorization gives the residual sum of squares of every order."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.dickey_fuller import SIGNIFICANT
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8
from pairscope.research.screen_block import LANES
from pairscope.research.screen_factor import factor

__all__ = ["RULES", "select_lags"]

RULES: Final = ("aic", "bic", "t-stat", "maic")
"""What may choose the lags, by the number that the kernel knows them by."""

_T_STAT: Final = 2
_MAIC: Final = 3
_EPSILON: Final = 2.220446049250313e-16


@kernel
def _residuals(
    products: F8,
    cross: F8,
    row_edges: F8,
    row_own: F8,
    lane_edges: F8,
    lane_own: F8,
    forward: int,
    lags: int,
    edges: F8,
    c: F8,
    squares: F8,
    loss: F8,
) -> None:  # pragma: no cover - compiled
    """Write what one row's residuals on (or under) all lanes bring: edges, autoproducts, squares, digits lost."""
    slope = np.empty(LANES)
    yy_row = row_own[lags + 1]
    yy_lane = lane_own[lags + 1]
    if forward == 1:
        for r in range(LANES):
            slope[r] = np.divide(cross[r], yy_lane[r])
            squares[r] = yy_row - slope[r] * cross[r]
            loss[r] = np.divide(yy_row, squares[r])
        for i in range(row_edges.size):
            one, many, out = row_edges[i], lane_edges[i], edges[i]
            for r in range(LANES):
                out[r] = one - slope[r] * many[r]
        for j in range(lags + 1):
            one, many, both, out = row_own[j], lane_own[j], products[j * LANES : (j + 1) * LANES], c[j]
            for r in range(LANES):
                out[r] = one - slope[r] * both[r] + slope[r] * slope[r] * many[r]
        one, many, both, out = row_own[0], lane_own[0], products[:LANES], c[0]
        for r in range(LANES):
            parts = one + slope[r] * slope[r] * many[r] + np.abs(slope[r] * both[r])
            loss[r] += np.divide(parts, out[r])
    else:
        for r in range(LANES):
            slope[r] = np.divide(cross[r], yy_row)
            squares[r] = yy_lane[r] - slope[r] * cross[r]
            loss[r] = np.divide(yy_lane[r], squares[r])
        for i in range(row_edges.size):
            one, many, out = row_edges[i], lane_edges[i], edges[i]
            for r in range(LANES):
                out[r] = many[r] - slope[r] * one
        for j in range(lags + 1):
            one, many, both, out = row_own[j], lane_own[j], products[j * LANES : (j + 1) * LANES], c[j]
            for r in range(LANES):
                out[r] = many[r] - slope[r] * both[r] + slope[r] * slope[r] * one
        one, many, both, out = row_own[0], lane_own[0], products[:LANES], c[0]
        for r in range(LANES):
            parts = many[r] + slope[r] * slope[r] * one + np.abs(slope[r] * both[r])
            loss[r] += np.divide(parts, out[r])


@kernel
def _moments(
    edges: F8, c: F8, squares: F8, lags: int, m: F8, level: F8, cross: F8, loss: F8
) -> None:  # pragma: no cover - compiled
    """Write the moment matrix of level, lags 1 … ``lags`` and target; add to ``loss`` what the level loses."""
    size = lags + 2
    start, last = edges[lags], edges[lags + 1]
    head, tail = lags + 2, 2 * lags + 2
    now = c[0]
    for r in range(LANES):
        level[r] = squares[r] - last[r] * last[r]
    for t in range(lags):
        u = edges[t]
        for r in range(LANES):
            level[r] -= u[r] * u[r]
    for r in range(LANES):
        m[0, r] = level[r]
        ends = last[r] * last[r] + start[r] * start[r]
        cross[r] = 0.5 * (last[r] * last[r] - start[r] * start[r] - now[r])
        loss[r] += np.divide(ends, np.sqrt(now[r] * level[r]))
        m[size - 1, r] = cross[r]
    for j in range(lags):
        now, f, g, out = c[j], edges[head + lags - 1 - j], edges[tail + j], m[1 + j]
        for r in range(LANES):
            cross[r] = cross[r] + now[r] + start[r] * f[r] - last[r] * g[r]
            out[r] = cross[r]
    row = size
    for i in range(1, lags + 1):
        f0, g0 = edges[head + lags - i], edges[tail + i - 1]
        before = row - (size - i + 1)
        for j in range(i, lags + 1):
            f, g, out = edges[head + lags - j], edges[tail + j - 1], m[row + j - i]
            old = c[j - 1] if i == 1 else m[before + j - i]
            for r in range(LANES):
                out[r] = old[r] + f0[r] * f[r] - g0[r] * g[r]
        now, out = c[i], m[row + size - 1 - i]
        for r in range(LANES):
            out[r] = now[r]
        row += size - i
    now, out = c[0], m[row]
    for r in range(LANES):
        out[r] = now[r]


@kernel
def _choose(
    m: F8, level: F8, loss: F8, nobs: int, lags: int, rule: int, chosen: NDArray[np.int64], safe: NDArray[np.bool_]
) -> None:  # pragma: no cover - compiled
    """Read each lane's number of lags off its factor, and whether rounding could have made it another."""
    size = lags + 2
    last = size * (size + 1) // 2 - 1
    rss = np.empty(size)
    share = np.empty(lags + 1)
    column = np.empty(lags + 1)
    step = 2.0 if rule != 1 else np.log(float(nobs))
    worth = np.exp(step * np.arange(lags + 1) / nobs)
    for r in range(LANES):
        rss[lags] = m[last, r] * m[last, r]
        cell = size - 1
        for k in range(lags + 1):
            share[k] = m[cell, r]
            cell += size - 1 - k
        for k in range(lags, 0, -1):
            rss[k - 1] = rss[k] + share[k] * share[k]
        best, second, pick = np.inf, np.inf, 0
        if rule == _T_STAT:
            best, second = 1.0, np.inf
            for k in range(lags, 0, -1):
                t = np.abs(share[k]) * np.sqrt(np.divide(nobs - k - 1.0, rss[k]))
                second = min(second, np.abs(t - SIGNIFICANT) + 1.0)
                if t >= SIGNIFICANT:
                    pick = k
                    break
        else:
            gamma = 0.0
            if rule == _MAIC:
                # The level's coefficient at each order, by the first column of the factor's inverse.
                for i in range(lags + 1):
                    total = 1.0 if i == 0 else 0.0
                    cell = i
                    for k in range(i):
                        total -= m[cell, r] * column[k]
                        cell += size - 1 - k
                    column[i] = np.divide(total, m[cell, r])
            for k in range(lags + 1):
                value = rss[k] * worth[k]
                if rule == _MAIC:
                    gamma += column[k] * share[k]
                    value *= np.exp(2.0 * np.divide(gamma * gamma * level[r], rss[k]))
                if value < best:
                    best, second, pick = value, best, k
                else:
                    second = min(second, value)
        chosen[r] = pick
        noise = 64.0 * _EPSILON * loss[r]
        if rule == _T_STAT:
            noise *= np.sqrt(float(nobs))
        # A comparison with NaN is false: what could not be computed is not safe either.
        safe[r] = second - best > noise * best


@kernel
def select_lags(
    products: F8,
    cross: F8,
    row_edges: F8,
    row_own: F8,
    lane_edges: F8,
    lane_own: F8,
    bars: int,
    lags: int,
    forward: int,
    rule: int,
    chosen: NDArray[np.int64],
    safe: NDArray[np.bool_],
) -> None:  # pragma: no cover - compiled
    """Write, for each row and lane, the lags that ``rule`` (by its place in ``RULES``) takes, and whether it is sure.

    ``forward`` 1 tests the row on the lane, 0 the lane on the row. The sample is the one that all ``lags`` leave.
    """
    size = lags + 2
    edges = np.empty((row_edges.shape[1], LANES))
    c = np.empty((lags + 1, LANES))
    squares = np.empty(LANES)
    loss = np.empty(LANES)
    level = np.empty(LANES)
    work = np.empty(LANES)
    m = np.empty((size * (size + 1) // 2, LANES))
    for s in range(row_edges.shape[0]):
        _residuals(
            products[s], cross[s], row_edges[s], row_own[s], lane_edges, lane_own, forward, lags,
            edges, c, squares, loss,
        )  # fmt: skip
        _moments(edges, c, squares, lags, m, level, work, loss)
        factor(m, size, work)
        for r in range(LANES):
            loss[r] *= work[r]
        _choose(m, level, loss, bars - 1 - lags, lags, rule, chosen[s], safe[s])
