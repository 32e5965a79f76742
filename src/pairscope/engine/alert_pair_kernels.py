"""Which ticks move a pair's spread past a boundary: judged from moments in O(1), so that few are computed exactly.

What a pair would say if its open bar closed at the last two prices is a function of its closed bars, which stand still
within a batch, and of two numbers. Least squares and the z-score of "closed bars and one more" follow from the moments
of the closed bars; that is good to about ten digits. Where it lies within a millionth of a boundary, or where digits
are lost, the tick is named, and looked at exactly by who asked (:meth:`PairGroup.provisional`).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.kalman import KALMAN_ALPHA, KALMAN_BETA, KALMAN_COUNT, kalman_step
from pairscope.engine.pair_kernels import HUBER, KALMAN, LINEAR, READY
from pairscope.market.anchors import epoch_of
from pairscope.market.kernel import kernel
from pairscope.market.ticks import B1, F8, I4, I8

__all__ = ["AROUND", "LAST", "MOMENTS", "ZSCORE", "quick_values", "scan_pairs"]

Cells = NDArray[np.float64]
Numbers = NDArray[np.int64]
Pairs = NDArray[Any]

LAST: Final = 0
"""The row of a pair's boundaries, and of its quick values, that is about its spread."""
ZSCORE: Final = 1
"""The row that is about its z-score."""
AROUND: Final = 1e-6
"""How far a quick z-score may be off, plus as much of itself; a spread is off by a thousandth of that of its legs."""
_LOST: Final = 1e-7
"""Share of the variance of the legs below which that of the spread has lost too many digits."""

MOMENTS: Final = np.dtype(
    [
        ("revision", "i8"),  # of which state of the pair, and with which slot open, these are the moments
        ("closed", "i8"),
        ("slot", "i8"),
        ("rows", "i8"),  # closed bars that were found, a lookback and one at most
        ("mean_x", "f8"),
        ("mean_y", "f8"),
        ("xx", "f8"),
        ("xy", "f8"),
        ("window_x", "f8"),
        ("window_y", "f8"),
        ("window_xx", "f8"),
        ("window_xy", "f8"),
        ("window_yy", "f8"),
    ],
    align=True,
)
"""What closed bars say of a pair, a record a place: moments of those that go into a fit, and into a window."""

_epoch_of = kernel(epoch_of)


@kernel
def _learn(
    pair: Any, moments: Any, logs: Cells, closes: Cells, slot: int, rows: Cells
) -> None:  # pragma: no cover - compiled
    """Take the moments of the closed bars that lie before an open slot; ``rows`` is room for two rows of bars."""
    slots = closes.shape[1]
    linear = pair.space == LINEAR
    end = pair.slot % slots + slots + 1
    most = pair.lookback + 1
    n = 0
    # The same bars as those of a closed bar in that slot: two lookbacks of slots are looked through.
    for i in range(end - 1, end - 1 + (slot - pair.slot) - 2 * pair.lookback, -1):
        y, x = logs[pair.leg_y, i], logs[pair.leg_x, i]
        if np.isnan(y) or np.isnan(x):
            continue
        if linear:
            at = i if i < slots else i - slots
            y, x = closes[pair.leg_y, at], closes[pair.leg_x, at]
        rows[0, n] = y
        rows[1, n] = x
        n += 1
        if n == most:
            break
    moments.revision, moments.closed, moments.slot, moments.rows = pair.revision, pair.slot, slot, n
    for part in range(2):
        size = min(n, pair.lookback - 1) if part == 0 else min(n, pair.window - 1)
        mean_y = mean_x = 0.0
        for k in range(size):
            mean_y += rows[0, k] - rows[0, 0]
            mean_x += rows[1, k] - rows[1, 0]
        mean_y = rows[0, 0] + mean_y / max(size, 1)
        mean_x = rows[1, 0] + mean_x / max(size, 1)
        xx = xy = yy = 0.0
        for k in range(size):
            u = rows[1, k] - mean_x
            v = rows[0, k] - mean_y
            xx += u * u
            xy += u * v
            yy += v * v
        if part == 0:
            moments.mean_x, moments.mean_y, moments.xx, moments.xy = mean_x, mean_y, xx, xy
        else:
            moments.window_x, moments.window_y = mean_x, mean_y
            moments.window_xx, moments.window_xy, moments.window_yy = xx, xy, yy


@kernel
def _hedge(
    pair: Any, moments: Any, filters: Cells, fresh: F8, state: F8, y: float, x: float, n: int
) -> tuple[float, float]:  # pragma: no cover - compiled
    """Return alpha and beta with one bar more; NaN where there are none yet."""
    if pair.method == KALMAN:
        ahead = _epoch_of(moments.slot, pair.lookback, pair.offset) - pair.epoch
        if ahead == 0:
            state[:] = filters[0]
        elif ahead == 1:
            state[:] = filters[1]
        else:
            state[:] = fresh
        kalman_step(state, y, x)
        if int(state[KALMAN_COUNT]) < pair.least:
            return np.nan, np.nan
        return state[KALMAN_ALPHA], state[KALMAN_BETA]
    if n < pair.least:
        return np.nan, np.nan
    share = (n - 1.0) / n
    u, v = x - moments.mean_x, y - moments.mean_y
    xx = moments.xx + u * u * share
    if not 0.0 < xx < np.inf:
        return np.nan, np.nan
    beta = (moments.xy + u * v * share) / xx
    return (moments.mean_y + v / n) - beta * (moments.mean_x + u / n), beta


@kernel
def quick_values(
    pair: Any, moments: Any, filters: Cells, fresh: F8, state: F8, y: float, x: float, out: Cells
) -> None:  # pragma: no cover - compiled
    """Write spread and z-score with one bar more, each with how far it may be off; NaN where a pair says nothing.

    ``y`` and ``x`` are in the pair's price space. A doubt that is infinite says that digits were lost.
    """
    out[:, :] = np.nan
    n = min(moments.rows + 1, pair.lookback)
    alpha, beta = _hedge(pair, moments, filters, fresh, state, y, x, n)
    if np.isnan(beta) or moments.rows + 1 < pair.window:
        return
    last = y - (alpha + beta * x)
    out[LAST, 0] = last
    out[LAST, 1] = 1e-3 * AROUND * (abs(y) + abs(alpha) + abs(beta * x))
    w = float(pair.window)
    share = (w - 1.0) / w
    u, v = x - moments.window_x, y - moments.window_y
    xx = moments.window_xx + u * u * share
    xy = moments.window_xy + u * v * share
    yy = moments.window_yy + v * v * share
    legs = yy + beta * beta * xx
    squares = yy - 2.0 * beta * xy + beta * beta * xx
    if not squares > _LOST * legs:
        out[ZSCORE, 0], out[ZSCORE, 1] = 0.0, np.inf
        return
    zscore = (v - beta * u) * share / np.sqrt(squares / (w - 1.0))
    out[ZSCORE, 0] = zscore
    out[ZSCORE, 1] = AROUND * (1.0 + abs(zscore))


@kernel
def scan_pairs(
    symbol_id: I4,
    ts_event_ns: I8,
    price: F8,
    in_order: B1,
    begin: int,
    step_ns: int,
    first: Numbers,
    places: Numbers,
    last_price: F8,
    last_ns: Numbers,
    leg_ids: Numbers,
    pairs: Pairs,
    moments: Pairs,
    filters: NDArray[np.float64],
    fresh: F8,
    logs: Cells,
    closes: Cells,
    bounds: NDArray[np.float64],
    hot: Numbers,
    rows: Cells,
    tick: Numbers,
    place: Numbers,
    slots: Numbers,
    prices: Cells,
) -> tuple[int, int]:  # pragma: no cover - compiled
    """Go through ticks in the order of their arrival; note those at which a pair may have passed a boundary.

    ``places[first[s] : first[s + 1]]`` are the pairs of which symbol ``s`` is a leg, ``leg_ids`` both symbols of each
    place, ``last_price`` and ``last_ns`` the last trade of each symbol (0: none yet), which move on with the ticks.
    ``bounds[place, LAST or ZSCORE]`` are the numbers strictly between which nothing changes. A place that was noted is
    noted at each later tick too, until ``hot`` is cleared: its boundaries may be others then. Notes go to ``tick``,
    ``place``, ``slots`` and ``prices`` (of y and x). Returns how many there are, and the first tick that did not fit.
    """
    found = 0
    out = np.empty((2, 2))
    state = np.empty(fresh.size)
    for i in range(begin, symbol_id.size):
        s = symbol_id[i]
        if not in_order[i] or s + 1 >= first.size or first[s] == first[s + 1]:
            continue
        if found + first[s + 1] - first[s] > tick.size:
            return found, i
        moved = price[i] != last_price[s]
        last_price[s] = price[i]
        last_ns[s] = max(last_ns[s], ts_event_ns[i])
        if not moved:
            continue
        for k in range(first[s], first[s + 1]):
            p = places[k]
            pair = pairs[p]
            a, b = leg_ids[p, 0], leg_ids[p, 1]
            if pair.state != READY or pair.slot < 0 or pair.method == HUBER:
                continue
            if not (last_price[a] > 0.0 and last_price[b] > 0.0):
                continue
            slot = max(last_ns[a], last_ns[b]) // step_ns
            if slot <= pair.slot or slot - pair.slot > pair.lookback:
                continue
            if not hot[p]:
                own = moments[p]
                if own.revision != pair.revision or own.closed != pair.slot or own.slot != slot:
                    _learn(pair, own, logs, closes, slot, rows)
                if pair.space == LINEAR:
                    quick_values(pair, own, filters[p], fresh, state, last_price[a], last_price[b], out)
                else:
                    y, x = np.log(last_price[a]), np.log(last_price[b])
                    quick_values(pair, own, filters[p], fresh, state, y, x, out)
                for kind in range(2):
                    if np.isnan(out[kind, 0]):
                        continue
                    low, high = bounds[p, kind, 0], bounds[p, kind, 1]
                    # Where nothing can change at all, no doubt matters.
                    if low == -np.inf and high == np.inf:
                        continue
                    if not low + out[kind, 1] < out[kind, 0] < high - out[kind, 1]:
                        hot[p] = 1
            if hot[p]:
                tick[found] = i
                place[found] = p
                slots[found] = slot
                prices[found, 0], prices[found, 1] = last_price[a], last_price[b]
                found += 1
    return found, symbol_id.size
