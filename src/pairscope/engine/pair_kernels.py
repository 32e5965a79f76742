"""The step of live pairs: what a bar that both legs have does to a pair's recursions, and what is read off afterwards.

Two kinds of figures. Least squares, z-score and correlation are those of a window and are computed from scratch out of
the tape. The Kalman filter and the break sentinel are recursions; they begin at an anchor, a slot that follows from the
pair's name and its lookback alone, so that whoever holds the bars since then finds the same bits (ADR 0021).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.kalman import KALMAN_ALPHA, KALMAN_BETA, KALMAN_COUNT, KALMAN_VARIANCE, kalman_step
from pairscope.analytics.pair_window import correlation_window, fit_window, zscore_window
from pairscope.analytics.sentinel import sentinel_step
from pairscope.market.anchors import epoch_of
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8, I8

__all__ = ["HUBER", "KALMAN", "LINEAR", "LOG", "OLS", "PAIR", "READY", "peek", "read", "relearn", "step"]

Cells = NDArray[np.float64]
Pairs = NDArray[Any]

OLS: Final = 0
HUBER: Final = 1
KALMAN: Final = 2
LOG: Final = 0
LINEAR: Final = 1
READY: Final = 3
"""The state of a pair that is stepped; the others wait for history or to be recomputed."""

PAIR = np.dtype(
    [
        ("state", "i8"),
        ("leg_y", "i8"),  # rows of the tape
        ("leg_x", "i8"),
        ("lookback", "i8"),
        ("window", "i8"),
        ("least", "i8"),  # bars in common from which on a hedge ratio is told
        ("method", "i8"),
        ("space", "i8"),
        ("offset", "i8"),  # anchors are the slots of which this is the remainder by lookback
        ("epoch", "i8"),  # which anchor the newest bar lies behind
        ("slot", "i8"),  # of the newest bar in common, -1 before the first
        ("since", "i8"),  # the slots at which the filter in use and the one that warms up have begun, -1: not yet
        ("since_next", "i8"),
        ("revision", "i8"),  # counts how often the pair was computed anew
        ("n", "i8"),
        ("kalman_n", "i8"),
        ("close_y", "f8"),
        ("close_x", "f8"),
        ("ols_alpha", "f8"),
        ("ols_beta", "f8"),
        ("ols_stderr", "f8"),
        ("ols_r_squared", "f8"),
        ("kalman_alpha", "f8"),
        ("kalman_beta", "f8"),
        ("kalman_stderr", "f8"),
        ("alpha", "f8"),  # the hedge ratio of the pair's method, which makes its spread
        ("beta", "f8"),
        ("stderr", "f8"),
        ("last", "f8"),
        ("mean", "f8"),
        ("std", "f8"),
        ("zscore", "f8"),
        ("correlation", "f8"),
    ],
    align=True,
)
"""A pair as a record: how it is computed, where its recursions stand, and what its newest bar says."""

_epoch_of = kernel(epoch_of)


@kernel
def _filter(
    pairs: Pairs, p: int, filters: Cells, fresh: F8, slot: int, y: float, x: float
) -> None:  # pragma: no cover - compiled
    """Step both filters of a pair; at an anchor the one that has warmed up takes over."""
    pair = pairs[p]
    epoch = _epoch_of(slot, pair.lookback, pair.offset)
    if epoch != pair.epoch:
        if epoch == pair.epoch + 1:
            filters[0, :] = filters[1, :]
            pair.since = pair.since_next
        else:
            filters[0, :] = fresh
            pair.since = -1
        filters[1, :] = fresh
        pair.since_next = -1
        pair.epoch = epoch
    if pair.since < 0:
        pair.since = slot
    if pair.since_next < 0:
        pair.since_next = slot
    kalman_step(filters[0], y, x)
    kalman_step(filters[1], y, x)
    pair.slot = slot


@kernel
def _gather(
    pair: Any, logs: Cells, closes: Cells, end: int, rows: Cells, last: int, gap: int
) -> int:  # pragma: no cover - compiled
    """Lay the newest bars in common before ``end`` in ``rows``, up to ``last``; return how many there are.

    Two lookbacks of slots, up to ``gap`` slots after the newest of them, are looked through for a lookback of bars and
    one more: returns need it.
    """
    slots = closes.shape[1]
    wanted = last - (pair.lookback + 1)
    y, x = logs[pair.leg_y], logs[pair.leg_x]
    k = last
    for i in range(end - 1, end - 1 + gap - 2 * pair.lookback, -1):
        if np.isnan(y[i]) or np.isnan(x[i]):
            continue
        k -= 1
        rows[2, k] = y[i]
        rows[3, k] = x[i]
        at = i if i < slots else i - slots
        rows[0, k] = y[i] if pair.space == LOG else closes[pair.leg_y, at]
        rows[1, k] = x[i] if pair.space == LOG else closes[pair.leg_x, at]
        if k == wanted:
            break
    return last - k


@kernel
def _tell(
    pair: Any, state: F8, y: F8, x: F8, log_y: F8, log_x: F8, end: int, n: int
) -> None:  # pragma: no cover - compiled
    """Write what ``n`` rows before ``end`` and the filter's state say."""
    pair.n = min(n, pair.lookback)
    pair.ols_alpha = pair.ols_beta = pair.ols_stderr = pair.ols_r_squared = np.nan
    pair.kalman_alpha = pair.kalman_beta = pair.kalman_stderr = np.nan
    pair.last = pair.mean = pair.std = pair.zscore = pair.correlation = np.nan
    pair.alpha = pair.beta = pair.stderr = np.nan
    pair.kalman_n = int(state[KALMAN_COUNT])
    if pair.n >= pair.least:
        fit = fit_window(y, x, end, pair.n)
        pair.ols_alpha, pair.ols_beta = fit.alpha, fit.beta
        pair.ols_stderr, pair.ols_r_squared = fit.stderr, fit.r_squared
    if pair.kalman_n >= pair.least:
        pair.kalman_alpha, pair.kalman_beta = state[KALMAN_ALPHA], state[KALMAN_BETA]
        pair.kalman_stderr = np.sqrt(state[KALMAN_VARIANCE])
    if pair.method == OLS:
        pair.alpha, pair.beta, pair.stderr = pair.ols_alpha, pair.ols_beta, pair.ols_stderr
    elif pair.method == KALMAN:
        pair.alpha, pair.beta, pair.stderr = pair.kalman_alpha, pair.kalman_beta, pair.kalman_stderr
    if n >= pair.window and not np.isnan(pair.beta):
        spread = zscore_window(y, x, end, pair.window, pair.alpha, pair.beta)
        pair.last, pair.mean, pair.std, pair.zscore = spread.last, spread.mean, spread.std, spread.zscore
    if n > pair.window:
        pair.correlation = correlation_window(log_y, log_x, end, pair.window)


@kernel
def step(
    pairs: Pairs,
    filters: NDArray[np.float64],
    sentinels: Cells,
    fresh: F8,
    logs: Cells,
    closes: Cells,
    slot: int,
    most: int,
    runs: I8,
    rows: Cells,
    stepped: I8,
) -> int:  # pragma: no cover - compiled
    """Step every pair that is ready and of which both legs have a bar in a slot; return how many, named in ``stepped``.

    ``runs`` and ``rows`` are room to work in: a place a row of the tape, and four rows of bars.
    """
    slots = closes.shape[1]
    at = slot % slots
    end = at + slots + 1
    for r in range(runs.size):
        # How many slots without a hole end here: where they fill a window, it is read where it lies.
        i = end - 1
        while i >= end - 1 - most and not np.isnan(logs[r, i]):
            i -= 1
        runs[r] = end - 1 - i
    found = 0
    for p in range(pairs.size):
        pair = pairs[p]
        if pair.state != READY or runs[pair.leg_y] == 0 or runs[pair.leg_x] == 0:
            continue
        y, x = logs[pair.leg_y], logs[pair.leg_x]
        pair.close_y, pair.close_x = closes[pair.leg_y, at], closes[pair.leg_x, at]
        linear = pair.space == LINEAR
        now_y = pair.close_y if linear else y[end - 1]
        now_x = pair.close_x if linear else x[end - 1]
        _filter(pairs, p, filters[p], fresh, slot, now_y, now_x)
        sentinel_step(sentinels[p], now_y, now_x)
        whole = pair.lookback + 1
        if not linear and runs[pair.leg_y] >= whole and runs[pair.leg_x] >= whole:
            _tell(pair, filters[p, 0], y, x, y, x, end, whole)
        else:
            n = _gather(pair, logs, closes, end, rows, rows.shape[1], 0)
            _tell(pair, filters[p, 0], rows[0], rows[1], rows[2], rows[3], rows.shape[1], n)
        stepped[found] = p
        found += 1
    return found


@kernel
def relearn(
    pairs: Pairs,
    p: int,
    filters: Cells,
    sentinel: F8,
    fresh: F8,
    logs: Cells,
    closes: Cells,
    before: I8,
    since: I8,
) -> None:  # pragma: no cover - compiled
    """Take a pair's recursions through slots in which both legs have a bar: those before its anchor, those since.

    Before the anchor only one filter runs, which is the one in use afterwards; the sentinel was trained meanwhile.
    """
    pair = pairs[p]
    for slot in before:
        at = slot % closes.shape[1]
        y, x = logs[pair.leg_y, at], logs[pair.leg_x, at]
        if pair.space == LINEAR:
            y, x = closes[pair.leg_y, at], closes[pair.leg_x, at]
        if pair.since_next < 0:
            pair.since_next = slot
        pair.epoch = _epoch_of(slot, pair.lookback, pair.offset)
        kalman_step(filters[1], y, x)
        pair.slot = slot
    for slot in since:
        at = slot % closes.shape[1]
        y, x = logs[pair.leg_y, at], logs[pair.leg_x, at]
        if pair.space == LINEAR:
            y, x = closes[pair.leg_y, at], closes[pair.leg_x, at]
        _filter(pairs, p, filters, fresh, slot, y, x)
        sentinel_step(sentinel, y, x)


@kernel
def read(
    pairs: Pairs, p: int, filters: Cells, logs: Cells, closes: Cells, rows: Cells
) -> int:  # pragma: no cover - compiled
    """Write what a pair's newest bar says; its window is left at the end of ``rows``. Return how many bars that has."""
    pair = pairs[p]
    slots = closes.shape[1]
    at = pair.slot % slots
    last = rows.shape[1]
    n = _gather(pair, logs, closes, at + slots + 1, rows, last, 0)
    pair.close_y, pair.close_x = closes[pair.leg_y, at], closes[pair.leg_x, at]
    _tell(pair, filters[0], rows[0], rows[1], rows[2], rows[3], last, n)
    return int(n)


@kernel
def peek(
    pairs: Pairs, filters: Cells, fresh: F8, logs: Cells, closes: Cells, slot: int, rows: Cells, prices: Cells
) -> int:  # pragma: no cover - compiled
    """Say what a pair would say if a slot closed at these prices; ``pairs`` and ``filters`` are copies, to be changed.

    ``prices`` has the legs' prices and their logs. Returns how many bars the window at the end of ``rows`` has.
    """
    pair = pairs[0]
    slots = closes.shape[1]
    last = rows.shape[1]
    n = _gather(pair, logs, closes, pair.slot % slots + slots + 1, rows, last - 1, slot - pair.slot)
    rows[0, last - 1] = prices[0, 0] if pair.space == LINEAR else prices[1, 0]
    rows[1, last - 1] = prices[0, 1] if pair.space == LINEAR else prices[1, 1]
    rows[2, last - 1], rows[3, last - 1] = prices[1, 0], prices[1, 1]
    _filter(pairs, 0, filters, fresh, slot, rows[0, last - 1], rows[1, last - 1])
    pair.close_y, pair.close_x = prices[0, 0], prices[0, 1]
    n = min(n + 1, pair.lookback + 1)
    _tell(pair, filters[0], rows[0], rows[1], rows[2], rows[3], last, n)
    return int(n)
