"""What rules watch of a pair as bars close: how far its hedge ratio has drifted, how fast its spread comes back.

Each value is worked out from the bars that the tape holds, from scratch, so that it is the same after a restart.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.kalman import KALMAN_BETA, KALMAN_COUNT, kalman_step
from pairscope.analytics.mean_reversion import half_life
from pairscope.analytics.regression import huber_hedge
from pairscope.analytics.sentinel import STATUS, SentinelStatus
from pairscope.engine.pair_group import WAITING, PairGroup
from pairscope.engine.pair_kernels import HUBER, KALMAN, LINEAR, read
from pairscope.errors import InputError, NotConverged, NumericalError
from pairscope.market.anchors import anchor_of, epoch_of
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = ["Reading", "drift_history", "hedge_drift", "pair_half_life", "sentinel_level", "why_missing"]

_LEVELS: Final = MappingProxyType(
    {SentinelStatus.WATCHING: 0.0, SentinelStatus.WARNED: 1.0, SentinelStatus.TRIPPED: 2.0}
)
_SPARE: Final = 256
"""Slots that may have passed since a pair's newest bar, for a drift to be told."""


class Reading(NamedTuple):
    """A value, NaN where there is none, and then why."""

    value: float
    reason: str = ""


@kernel
def _filtered(
    state: F8,
    logs: NDArray[np.float64],
    closes: NDArray[np.float64],
    leg_y: int,
    leg_x: int,
    space: int,
    start: int,
    end: int,
) -> None:  # pragma: no cover - compiled
    """Take a filter through the slots of [start, end) in which both legs have a bar."""
    slots = closes.shape[1]
    for slot in range(start, end):
        at = slot % slots
        y, x = logs[leg_y, at], logs[leg_x, at]
        if np.isnan(y) or np.isnan(x):
            continue
        if space == LINEAR:
            y, x = closes[leg_y, at], closes[leg_x, at]
        kalman_step(state, y, x)


def drift_history(window: int) -> int:
    """Return how many slots of history a drift over a window needs beside those that the pair needs itself."""
    return window + _SPARE


def hedge_drift(group: PairGroup, place: int, window: int) -> Reading:
    r"""Return the hedge ratio over that of ``window`` bars in common ago, less one: :math:`\beta_t / \beta_{t-w} - 1`.

    Both are as the live pair said or would have said them at the close of their bars; those lie at most a window and
    a lookback of slots apart. The pair must have ``drift_history`` more than it needs itself. O(lookback + window).
    """
    pair, tape = group.pairs[place], group.tape
    now, lookback = float(pair["beta"]), int(pair["lookback"])
    if not math.isfinite(now):
        return Reading(math.nan, why_missing(group, place))
    newest = int(pair["slot"])
    if tape.top - newest >= _SPARE:
        return Reading(math.nan, "no bar in common lately")
    slots = tape.common(int(pair["leg_y"]), int(pair["leg_x"]), newest + 1)
    slots = slots[slots >= newest - lookback - window]
    if slots.size <= window:
        return Reading(math.nan, f"needs a hedge ratio of {window} bars ago, has {max(slots.size - 1, 0)} bars before")
    then = _beta_as_of(group, place, int(slots[-1 - window]))
    if not math.isfinite(then) or then == 0.0:
        return Reading(math.nan, f"there was no hedge ratio {window} bars ago")
    return Reading(now / then - 1.0)


def pair_half_life(group: PairGroup, place: int) -> Reading:
    """Return the half-life of the spread over the lookback under the present hedge ratio, in bars.

    Infinite where nothing comes back; no value where a deviation changes its sign from bar to bar. O(lookback).
    """
    pair = group.pairs[place]
    if not math.isfinite(float(pair["beta"])):
        return Reading(math.nan, why_missing(group, place))
    y, x = group.rows(place, int(pair["slot"]))
    try:
        value = half_life(y - (float(pair["alpha"]) + float(pair["beta"]) * x))
    except (InputError, NumericalError) as error:
        return Reading(math.nan, f"the spread has no half-life: {str(error).removeprefix('x: ')}")
    if math.isnan(value):
        return Reading(value, "the spread turns around from bar to bar: a deviation changes sign each time")
    return Reading(value)


def sentinel_level(group: PairGroup, place: int) -> Reading:
    """Return 0 where a pair's break sentinel is quiet, 1 where it warns, 2 where it calls the pair broken. O(1)."""
    status = int(group.sentinels[place, STATUS])
    level = _LEVELS.get(SentinelStatus(status))
    if level is not None:
        return Reading(level)
    return Reading(math.nan, f"the sentinel has no verdict: {group.untrained.get(place) or 'it is not trained'}")


def why_missing(group: PairGroup, place: int) -> str:
    """Say why a pair has no z-score, or no correlation where it has one."""
    pair: Any = group.pairs[place]
    if pair["state"] == WAITING:
        return "history is being read"
    if pair["slot"] < 0:
        return "no bar in common yet"
    n, least, window = int(pair["n"]), int(pair["least"]), int(pair["window"])
    if n < least:
        return f"needs {least} bars in common, has {n}"
    if pair["method"] == KALMAN and int(pair["kalman_n"]) < least:
        return f"the filter needs {least} bars in common, has {int(pair['kalman_n'])}"
    if math.isnan(float(pair["last"])):
        return "no hedge ratio: a leg does not vary, or no answer was found"
    if math.isnan(float(pair["zscore"])):
        return f"the spread is constant over {window} bars"
    if n <= window:
        return f"a correlation of {window} returns needs one bar more than the {n} in common"
    return f"no correlation: a leg's price has not moved for {window} bars"


def _beta_as_of(group: PairGroup, place: int, slot: int) -> float:
    """Return the hedge ratio that a pair had at the close of an earlier bar that both legs have; NaN for none."""
    pair, tape = group.pairs[place], group.tape
    least, lookback, offset = int(pair["least"]), int(pair["lookback"]), int(pair["offset"])
    if pair["method"] == KALMAN:
        state = group.fresh.copy()
        start = max(0, anchor_of(int(epoch_of(slot, lookback, offset)) - 1, lookback, offset))
        leg_y, leg_x, space = (int(pair[name]) for name in ("leg_y", "leg_x", "space"))
        _filtered(state, tape.logs, tape.closes, leg_y, leg_x, space, start, slot + 1)
        return float(state[KALMAN_BETA]) if state[KALMAN_COUNT] >= least else math.nan
    if pair["method"] == HUBER:
        y, x = group.rows(place, slot)
        try:
            return float(huber_hedge(y, x).beta) if y.size >= least else math.nan
        except (InputError, NumericalError, NotConverged):
            return math.nan
    copy = group.pairs[place : place + 1].copy()
    copy["slot"] = slot
    read(copy, 0, group.filters[place], tape.logs, tape.closes, np.full((4, lookback + 2), np.nan))
    return float(copy["ols_beta"][0])
