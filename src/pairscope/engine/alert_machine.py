"""The machine of one condition: a phase and a value in, the next phase out, and whether it has just come true.

A condition is two sets of values: those that make it true, and those that count as its other side, from where it may
come true again. Between them nothing changes; so a phase also says between which two values a gauge may move without
anybody having to look.
"""

from __future__ import annotations

from math import inf, isnan, nextafter
from typing import Final, NamedTuple

from pairscope.market.alert_conditions import AlertCondition

__all__ = ["BEYOND", "FAR", "NEAR", "UNSEEN", "Sides", "bounds_of", "distance_of", "holds", "sides_of", "step_of"]

UNSEEN: Final = 0
"""No value has been seen that says anything."""
NEAR: Final = 1
"""It is not true; of a crossing: the other side has been seen."""
FAR: Final = 2
"""It has come true and has not been on its other side since."""
BEYOND: Final = 3
"""Of a crossing: the first values lay on the far side already, nothing has crossed."""

Ranges = tuple[tuple[float, float], ...]


class Sides(NamedTuple):
    """A condition as sets of values, each of closed ranges.

    ``true`` make it true, ``back`` are its other side once it has come true, ``other`` its other side before that.
    ``crossing``: the other side must have been seen first. ``event``: each true value comes true anew.
    """

    true: Ranges
    back: Ranges
    other: Ranges
    crossing: bool
    event: bool


def sides_of(condition: AlertCondition) -> Sides:
    """Return the sets of values that a condition is made of; strict comparisons become the next float.

    >>> sides = sides_of(AlertCondition("zscore", "above", 2.0, hysteresis=0.5))
    >>> sides.back, sides.true[0][0] > 2.0
    (((-inf, 1.5),), True)
    """
    kind, level, h = condition.condition, condition.threshold or 0.0, condition.hysteresis
    lower, upper = condition.lower or 0.0, condition.upper or 0.0
    back: Ranges
    other: Ranges
    if kind == "above":
        return Sides(((_up(level), inf),), ((-inf, level - h),), ((-inf, level),), crossing=False, event=False)
    if kind == "below":
        return Sides(((-inf, _down(level)),), ((level + h, inf),), ((level, inf),), crossing=False, event=False)
    if kind == "moves":
        back, other = ((_up(h - level), _down(level - h)),), ((_up(-level), _down(level)),)
        return Sides(((-inf, -level), (level, inf)), back, other, crossing=False, event=False)
    if kind == "crosses_above":
        back, other = ((-inf, _down(level - h)),), ((-inf, _down(level)),)
        return Sides(((_up(level), inf),), back, other, crossing=True, event=False)
    if kind == "crosses_below":
        back, other = ((_up(level + h), inf),), ((_up(level), inf),)
        return Sides(((-inf, _down(level)),), back, other, crossing=True, event=False)
    inside = ((lower, upper),)
    outside = ((-inf, _down(lower)), (_up(upper), inf))
    if kind == "enters":
        back = ((-inf, _down(lower - h)), (_up(upper + h), inf))
        return Sides(inside, back, outside, crossing=True, event=False)
    if kind == "leaves":
        return Sides(outside, ((lower + h, upper - h),), inside, crossing=True, event=False)
    found, lost = ((0.5, inf),), ((-inf, _down(0.5)),)
    true, back = (found, lost) if kind == "found" else (lost, found)
    return Sides(true, back, back, crossing=True, event=True)


def step_of(sides: Sides, phase: int, value: float) -> tuple[int, bool]:
    """Return the phase after a value, and whether the condition has come true by it. O(1).

    >>> sides = sides_of(AlertCondition("price", "crosses_above", 100.0))
    >>> phase, came_true = UNSEEN, []
    >>> for price in (101.0, 100.0, 99.0, 100.0, 101.0, 102.0):
    ...     phase, edge = step_of(sides, phase, price)
    ...     came_true.append(edge)
    >>> came_true
    [False, False, False, False, True, False]
    """
    if sides.event:
        true = _within(sides.true, value)
        return (FAR, True) if true else (NEAR, False)
    if not sides.crossing:
        if phase == FAR:
            return (NEAR if _within(sides.back, value) else FAR), False
        return (FAR, True) if _within(sides.true, value) else (NEAR, False)
    if phase == NEAR:
        return (FAR, True) if _within(sides.true, value) else (NEAR, False)
    if _within(sides.back if phase == FAR else sides.other, value):
        return NEAR, False
    if phase == UNSEEN and _within(sides.true, value):
        return BEYOND, False
    return phase, False


def bounds_of(sides: Sides, phase: int, value: float) -> tuple[float, float]:
    """Return (low, high): as long as values stay strictly between, a phase that has seen ``value`` does not change.

    Where the value is NaN, or where each value counts, there is nothing between them. O(1).

    >>> bounds_of(sides_of(AlertCondition("price", "below", 100.0, hysteresis=5.0)), FAR, 99.0)
    (-inf, 105.0)
    """
    if isnan(value) or sides.event:
        return inf, -inf
    if phase == UNSEEN:
        watched: Ranges = (*sides.true, *sides.other) if sides.crossing else ((-inf, inf),)
    elif phase == NEAR:
        watched = sides.true
    else:
        watched = sides.back if phase == FAR else sides.other
    low, high = -inf, inf
    for begin, end in watched:
        if end < value:
            low = max(low, end)
        elif begin > value:
            high = min(high, begin)
        else:
            return inf, -inf
    return low, high


def holds(phase: int) -> bool:
    """Return whether a condition is true, or a crossing on its far side."""
    return phase >= FAR


def distance_of(sides: Sides, phase: int, value: float) -> float:
    """Return how far a value is from where the condition comes true next, in its own unit; 0 where it is true now.

    Where a crossing has to see its other side first: how far it is to there. NaN where the value is.
    """
    if isnan(value) or sides.event:
        return float("nan")
    wanted = sides.back if phase == FAR else sides.other
    if not sides.crossing or phase == NEAR:
        wanted = sides.true
    return min(max(begin - value, value - end, 0.0) for begin, end in wanted)


def _within(ranges: Ranges, value: float) -> bool:
    return any(begin <= value <= end for begin, end in ranges)


def _up(value: float) -> float:
    return nextafter(value, inf)


def _down(value: float) -> float:
    return nextafter(value, -inf)
