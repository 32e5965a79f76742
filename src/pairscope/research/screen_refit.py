"""Each test's final regression: on the longer sample that its own number of lags leaves, sixty at once."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8
from pairscope.research.screen_block import LANES
from pairscope.research.screen_factor import factor

__all__ = ["DOUBT", "FACTS", "LAST", "REVERSION", "SLOPE", "SQUARES", "STATISTIC", "refit"]

SLOPE: Final = 0
STATISTIC: Final = 1
REVERSION: Final = 2
"""phi - 1 of the residual's AR(1) with constant."""
SQUARES: Final = 3
"""The residual's sum of squares over the whole lookback."""
LAST: Final = 4
DOUBT: Final = 5
"""A bound of the statistic's relative error from cancelled digits; NaN where it could not be computed."""
FACTS: Final = 6

_EPSILON: Final = 2.220446049250313e-16


@kernel
def _gather(
    tests: NDArray[np.int64],
    products: F8,
    cross: F8,
    edges: tuple[F8, F8],
    own: tuple[F8, F8],
    k: int,
    work: F8,
    c: F8,
    facts: F8,
    loss: F8,
) -> None:  # pragma: no cover - compiled
    """Write what each test's residual brings, a lane a test; lanes beyond the last repeat it."""
    lags = own[0].shape[1] - 2
    for q in range(LANES):
        i = min(q, tests.shape[0] - 1)
        forward, s, r = tests[i, 0], tests[i, 1], tests[i, 2]
        if forward == 1:
            y, x, own_y, own_x = edges[0][s], edges[1][r], own[0][s], own[1][r]
        else:
            y, x, own_y, own_x = edges[1][r], edges[0][s], own[1][r], own[0][s]
        both = cross[s, r]
        b = np.divide(both, own_x[lags + 1])
        facts[SLOPE, q] = b
        facts[SQUARES, q] = own_y[lags + 1] - b * both
        for e in range(y.size):
            work[e, q] = y[e] - b * x[e]
        facts[LAST, q] = work[lags + 1, q]
        for j in range(k + 1):
            c[j, q] = own_y[j] - b * products[s, j * LANES + r] + b * b * own_x[j]
        parts = own_y[0] + b * b * own_x[0] + np.abs(b * products[s, r])
        loss[q] = np.divide(parts, c[0, q]) + np.divide(own_y[lags + 1], facts[SQUARES, q])


@kernel
def _fit(
    work: F8, c: F8, facts: F8, loss: F8, bars: int, lags: int, k: int, m: F8, level: F8, growth: F8
) -> None:  # pragma: no cover - compiled
    """Fit sixty regressions with k lags and write the facts of each."""
    head, tail, size = lags + 2, 2 * lags + 2, k + 2
    last = work[lags + 1]
    squares, cross = facts[SQUARES], facts[REVERSION]
    # The rows that fewer lags give back …
    for t in range(k, lags):
        now = work[head + t]
        for j in range(k + 1):
            past, out = work[head + t - j], c[j]
            for q in range(LANES):
                out[q] += now[q] * past[q]
    now, start = c[0], work[k]
    for q in range(LANES):
        level[q] = squares[q] - last[q] * last[q]
    for t in range(k):
        u = work[t]
        for q in range(LANES):
            level[q] -= u[q] * u[q]
    # … and the matrix in the order lag 1 … k, level, target.
    row = size * (size + 1) // 2 - 3
    for q in range(LANES):
        cross[q] = 0.5 * (last[q] * last[q] - start[q] * start[q] - now[q])
        m[row, q] = level[q]
        m[row + 1, q] = cross[q]
        m[row + 2, q] = now[q]
        loss[q] += np.divide(last[q] * last[q] + start[q] * start[q], np.sqrt(now[q] * level[q]))
    row = 0
    for i in range(1, k + 1):
        f0, g0, now, out = work[head + k - i], work[tail + i - 1], c[i - 1], m[row + k + 1 - i]
        for q in range(LANES):
            cross[q] = cross[q] + now[q] + start[q] * f0[q] - last[q] * g0[q]
            out[q] = cross[q]
        now, out = c[i], m[row + k + 2 - i]
        for q in range(LANES):
            out[q] = now[q]
        before = row - (size - i + 2)
        for j in range(i, k + 1):
            f, g, out = work[head + k - j], work[tail + j - 1], m[row + j - i]
            old = c[j - 1] if i == 1 else m[before + j - i]
            for q in range(LANES):
                out[q] = old[q] + f0[q] * f[q] - g0[q] * g[q]
        row += size - i + 1
    change = growth.copy()
    now = c[0]
    for q in range(LANES):
        change[q] = now[q]
    for t in range(k):
        past = work[head + t]
        for q in range(LANES):
            change[q] += past[q] * past[q]
    factor(m, size, growth)
    n = float(bars - 1)
    free = n - k - k - 1.0
    row = size * (size + 1) // 2 - 2
    first = work[0]
    for q in range(LANES):
        t = m[row, q] * np.divide(np.sqrt(free), m[row + 1, q])
        facts[STATISTIC, q] = t
        moved = 0.5 * (last[q] * last[q] - first[q] * first[q] - change[q]) + last[q] * (last[q] - first[q]) / n
        facts[REVERSION, q] = np.divide(moved, squares[q] - last[q] * last[q] * (1.0 + 1.0 / n))
        facts[DOUBT, q] = _EPSILON * growth[q] * loss[q] * np.maximum(1.0, np.divide(np.sqrt(n), np.abs(t)))


@kernel
def refit(
    tests: NDArray[np.int64],
    taken: NDArray[np.int64],
    products: F8,
    cross: F8,
    row_edges: F8,
    row_own: F8,
    lane_edges: F8,
    lane_own: F8,
    bars: int,
    out: F8,
) -> None:  # pragma: no cover - compiled
    """Write the facts of each test: a row of ``tests`` (forward, row, lane), which takes ``taken`` lags; O(lags³) each.

    Tests must stand in the order of their lags. Edges and own products are given a row a symbol on both sides; columns
    of ``out`` are the constants of this module.
    """
    lags = row_own.shape[1] - 2
    size = lags + 2
    work = np.empty((row_edges.shape[1], LANES))
    c = np.empty((lags + 1, LANES))
    m = np.empty((size * (size + 1) // 2, LANES))
    facts = np.empty((FACTS, LANES))
    loss, level, growth = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    begin = 0
    while begin < taken.size:
        k = taken[begin]
        end = begin + 1
        while end < taken.size and end - begin < LANES and taken[end] == k:
            end += 1
        _gather(
            tests[begin:end], products, cross, (row_edges, lane_edges), (row_own, lane_own), k,
            work, c, facts, loss,
        )  # fmt: skip
        _fit(work, c, facts, loss, bars, lags, k, m, level, growth)
        for i in range(begin, end):
            for j in range(FACTS):
                out[i, j] = facts[j, i - begin]
        begin = end
