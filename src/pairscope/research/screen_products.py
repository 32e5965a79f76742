r"""Sums of products of every row with every lane at each lag: a matrix product that always adds in the same order.

A residual's autocovariances need the products of two symbols' changes in both orders of time, but only their sum:
:math:`S_j = \sum_t d_s[t]\,(d_r[t-j] + d_r[t+j])`, one product where two would be expected, and it serves both
directions of a pair. The kernel is our own, not BLAS's: each sum is made in the order of time, without fused or
reordered additions, so that any number of threads, any process and any machine give the same bits, and no thread
setting of a library that others use has to be touched.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8
from pairscope.research.screen_block import LANES, STRIDE, Block

__all__ = ["cross_products", "lag_products", "slide_products"]

_GROUP: Final = 4
"""Lags that are multiplied in one pass: their lanes together fill the first cache, not more."""


@kernel
def _multiply(rows: F8, lanes: F8, lags: int, out: F8) -> None:  # pragma: no cover - compiled
    """Add to ``out[s, lag * LANES + r]`` the symmetric products of row s and lane r at each lag from 0 to ``lags``."""
    past = np.empty((STRIDE, _GROUP * LANES))
    for lag in range(0, lags + 1, _GROUP):
        group = min(_GROUP, lags + 1 - lag)
        width = group * LANES
        base = lag * LANES
        for t in range(0, rows.shape[1], STRIDE):
            for q in range(STRIDE):
                now = t + q
                for g in range(group):
                    j = lag + g
                    cells = past[q, g * LANES : (g + 1) * LANES]
                    after = lanes[now + j]
                    if now >= lags:
                        before = lanes[now - j]
                        for r in range(LANES):
                            cells[r] = before[r] + after[r]
                    elif now + j >= lags:
                        for r in range(LANES):
                            cells[r] = after[r]
                    else:
                        for r in range(LANES):
                            cells[r] = 0.0
            p0, p1, p2, p3 = past[0], past[1], past[2], past[3]
            p4, p5, p6, p7 = past[4], past[5], past[6], past[7]
            for s in range(0, rows.shape[0], 2):
                a = rows[s, t : t + STRIDE]
                b = rows[s + 1, t : t + STRIDE]
                a0, a1, a2, a3, a4, a5, a6, a7 = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
                b0, b1, b2, b3, b4, b5, b6, b7 = b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]
                top = out[s, base : base + width]
                bottom = out[s + 1, base : base + width]
                for c in range(width):
                    v0, v1, v2, v3 = p0[c], p1[c], p2[c], p3[c]
                    v4, v5, v6, v7 = p4[c], p5[c], p6[c], p7[c]
                    top[c] = top[c] + a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3 + a4 * v4 + a5 * v5 + a6 * v6 + a7 * v7
                    bottom[c] = (
                        bottom[c] + b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3 + b4 * v4 + b5 * v5 + b6 * v6 + b7 * v7
                    )


@kernel
def _exchange(new_row: F8, new_past: F8, old_row: F8, old_past: F8, out: F8) -> None:  # pragma: no cover - compiled
    """Add the products of the bar that came in, take off those of the bar that left.

    ``_row`` (symbols, lags + 1) and ``_past`` (lags + 1, lanes) hold the bar's change, then those before it.
    """
    lags = new_past.shape[0] - 1
    for s in range(new_row.shape[0]):
        for j in range(lags + 1):
            cells = out[s, j * LANES : (j + 1) * LANES]
            new_now, new_before, old_now, old_before = new_row[s, 0], new_row[s, j], old_row[s, 0], old_row[s, j]
            entered, left, entered_past, left_past = new_past[0], old_past[0], new_past[j], old_past[j]
            for r in range(LANES):
                came = new_now * entered_past[r] + new_before * entered[r]
                went = old_now * left_past[r] + old_before * left[r]
                cells[r] += came - went


def lag_products(rows: Block, lanes: Block) -> F8:
    r"""Return :math:`\sum_{t \ge p} d_s[t] d_r[t-j] + d_r[t] d_s[t-j]` at ``[s, j * LANES + r]``, j = 0 … p.

    d are the changes of two blocks' symbols, p their largest lag. O(n lags) for each s and r.
    """
    out = np.zeros((rows.changes.shape[0], (rows.lags + 1) * LANES))
    _multiply(rows.changes, lanes.changes_lanes, rows.lags, out)
    return out


def cross_products(rows: F8, lanes: F8) -> F8:
    """Return the sum of the products of each row with each lane. O(n) for each of them."""
    out = np.zeros((rows.shape[0], LANES))
    _multiply(rows, lanes, 0, out)
    return 0.5 * out


def slide_products(products: F8, old: tuple[Block, Block], new: tuple[Block, Block]) -> None:
    """Move :func:`lag_products` on by one bar, in place: from those of ``old`` blocks to those of ``new`` ones.

    The new blocks are the old ones without their first bar and with one more, on the same scale. O(lags) a pair.
    """
    lags = old[0].lags
    bars = old[0].values.shape[1]
    # The first change that the products count is the one at ``lags``; the newest of the new ones is at ``bars - 2``.
    left, came = lags - np.arange(lags + 1), bars - 2 - np.arange(lags + 1)
    _exchange(
        np.ascontiguousarray(new[0].changes[:, came]),
        np.ascontiguousarray(new[1].changes_lanes[came]),
        np.ascontiguousarray(old[0].changes[:, left]),
        np.ascontiguousarray(old[1].changes_lanes[left]),
        products,
    )
