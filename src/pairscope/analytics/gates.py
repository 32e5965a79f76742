"""When a pair may be entered: only while a test of its last bars says that it is one, known at each bar's close."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.backtest_terms import checked_count
from pairscope.analytics.cointegration import engle_granger
from pairscope.analytics.pair_window import checked_pair
from pairscope.analytics.sentinel import SentinelStatus, break_sentinel
from pairscope.analytics.sentinel_table import LEAST_TRAIN, MOST_TRAIN
from pairscope.errors import DegenerateSeries, InputError
from pairscope.market.ticks import F8

__all__ = ["LEAST_TESTED", "cointegration_gate", "sentinel_gate"]

LEAST_TESTED: Final = 20
"""Bars below which an Engle-Granger test says nothing."""


def cointegration_gate(y: F8, x: F8, *, lookback: int, pvalue: float = 0.05, every: int = 1) -> NDArray[np.bool_]:
    r"""Return at each bar whether Engle and Granger's test of its last ``lookback`` bars rejects "not cointegrated".

    .. math:: g_t = \left[ p(y_{s-L+1 \ldots s},\, x_{s-L+1 \ldots s}) < \mathrm{pvalue} \right], \qquad
        s = L - 1 + k \lfloor (t - L + 1) / k \rfloor

    The test is ``engle_granger`` of y on x with a constant and Akaike's lags, made at the first full window and then
    ``every`` k bars; between tests its answer stands. Pass logs of prices where the hedge ratio relates logs. False in
    warm-up (``lookback`` - 1 bars) and where a window cannot be tested because a leg is constant in it or both are
    collinear. A test a bar at 5 % opens now and then for a pair that is none. NaN, infinities, a constant series,
    unequal lengths, fewer bars than ``lookback``, a ``lookback`` below 20 and a ``pvalue`` outside (0, 1) raise
    ``ValueError`` naming the argument. O(n / every) tests, about 1 ms each for 1,440 bars.
    Reference: Engle & Granger (1987), *Econometrica* 55.

    >>> rng = np.random.default_rng(0)
    >>> x = np.cumsum(rng.standard_normal(300))
    >>> walk = np.cumsum(rng.standard_normal(300))
    >>> y = x + np.r_[rng.standard_normal(150), 3.0 * walk[150:]]
    >>> gate = cointegration_gate(y, x, lookback=100, every=10)
    >>> gate[98].item(), gate[99].item(), gate[290].item()
    (False, True, False)
    """
    size, step = checked_count(lookback, "lookback", LEAST_TESTED), checked_count(every, "every", 1)
    if not 0.0 < pvalue < 1.0:
        raise InputError("pvalue: must lie between 0 and 1", loc="pvalue")
    ys, xs = checked_pair(y, x, need=size)
    gate = np.zeros(ys.size, np.bool_)
    for t in range(size - 1, ys.size, step):
        rows = slice(t + 1 - size, t + 1)
        try:
            gate[t : t + step] = engle_granger(ys[rows], xs[rows]).pvalue < pvalue
        except DegenerateSeries:
            continue  # nothing can be said of these bars: closed
    return gate


def sentinel_gate(y: F8, x: F8, *, training: int, rate: float = 0.01, warn_rate: float = 0.05) -> NDArray[np.bool_]:
    """Return at each bar whether the break sentinel, trained on bars before it, is watching and quiet.

    ``break_sentinel`` is trained on ``training`` bars and watches as many that follow, then it is trained anew on
    those. It is quiet where it neither warns (``warn_rate``) nor has tripped (``rate``). After an alarm, and where the
    spread reverted too weakly in training for a verdict, the gate is closed: after an alarm until ``training`` bars
    have passed since, on which the next one is trained, so that no bar before the break speaks for the pair; without a
    verdict, or where a training span is constant or without noise, for ``training`` bars. Pass logs of prices where
    the hedge ratio relates logs. False in warm-up (``training`` bars). NaN, infinities, a constant series, unequal
    lengths, fewer bars than ``training`` and a ``training`` outside 50 to 10,000 raise ``ValueError`` naming the
    argument. O(n).

    >>> rng = np.random.default_rng(2)
    >>> x = np.cumsum(rng.standard_normal(900))
    >>> spread = np.zeros(900)
    >>> for t in range(1, 900):
    ...     spread[t] = (0.8 if t < 600 else 1.0) * spread[t - 1] + rng.standard_normal()
    >>> gate = sentinel_gate(x + spread, x, training=300)
    >>> gate[299].item(), round(gate[300:600].mean().item()), gate[-1].item()
    (False, 1, False)
    """
    size = checked_count(training, "training", LEAST_TRAIN)
    if size > MOST_TRAIN:
        raise InputError(f"training: must be at most {MOST_TRAIN}", loc="training")
    ys, xs = checked_pair(y, x, need=size)
    gate = np.zeros(ys.size, np.bool_)
    trained = size - 1
    while trained < ys.size - 1:
        first, end = trained + 1, trained + 1 + size
        rows = slice(first - size, end)
        trained += size
        try:
            seen = break_sentinel(ys[rows], xs[rows], train=size, rate=rate, warn_rate=warn_rate)
        except DegenerateSeries:
            continue  # nothing to watch by: closed
        gate[first:end] = seen.status[size:] == SentinelStatus.WATCHING
        if seen.tripped_at is not None:
            trained = first - size + seen.tripped_at + size
    return gate
