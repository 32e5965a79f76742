"""What a position is worth at each of its bars, worked out once for all rules that enter it.

A position is known by the bar that decides it and by what is traded and charged; thresholds and money only say how far
its path is followed, and what was there before. So rules that enter together share one path, as long as the longest of
them needs it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.pair_sizes import leg_quantities
from pairscope.analytics.pair_window import zscore_window
from pairscope.analytics.sweep_moments import SweepLegs, WindowMoments, spread_std
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = [
    "PATH_ROWS",
    "PathEnd",
    "SweepEntry",
    "SweepRule",
    "bar_lines",
    "close_path",
    "enter_path",
    "extend_path",
    "extend_scores",
    "first_crossing",
]

PATH_ROWS: Final = 11
"""P&L if closed at a bar; what it changed by; what it was before; its most and least so far; wealth that liquidates by
that bar; funding paid; side · z; its most so far; that of its opposite; and a row for returns."""

_PNL, _STEP, _BASE, _MOST, _LEAST, _NEED, _PAID, _GAINED, _BACK, _AWAY = range(PATH_ROWS - 1)
_Y, _X, _MEAN_Y, _MEAN_X, _VAR_Y, _VAR_X, _COV, _FUNDING_Y = range(8)
_FUNDING_X, _FILL_Y, _FILL_X, _RANGE_Y, _RANGE_X = range(8, 13)
_LINE: Final = 16
_NEAR: Final = 1e-6
_DIGITS: Final = 1e-12


class SweepRule(NamedTuple):
    """A rule and its terms, all numbers: costs as shares of traded value, ``dollar`` 1 for legs of equal value.

    A table of rules has these columns; ``stop`` and ``max_holding`` are infinite and steps 0 where there is none.
    """

    entry: float
    exit: float
    stop: float
    max_holding: float
    cooldown: float
    capital: float
    fee_y: float
    fee_x: float
    slippage_y: float
    slippage_x: float
    slippage_range: float
    notional: float
    maintenance: float
    step_y: float
    step_x: float
    dollar: float


class SweepEntry(NamedTuple):
    """A position: the bar that decided it, the one that filled it, its side, legs, prices, costs, and what it paid."""

    decided: int
    start: int
    side: float
    ratio: float
    quantity_y: float
    quantity_x: float
    price_y: float
    price_x: float
    fee_y: float
    fee_x: float
    slippage_y: float
    slippage_x: float
    slippage_range: float
    value: float
    fee: float
    slippage: float


class PathEnd(NamedTuple):
    """What a position is worth when closed: P&L, what its legs moved, fees, slippage, and the value traded then."""

    pnl: float
    moved: float
    fee: float
    slippage: float
    value: float


@kernel
def bar_lines(legs: SweepLegs, moments: WindowMoments) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """Return what each bar of a position needs in a row of its own: two lines of the processor's cache.

    NaN stays where it is. O(n).

    >>> from pairscope.analytics.sweep_moments import window_moments
    >>> y, x = np.array([4.0, 5.0]), np.array([2.0, 3.0])
    >>> legs = SweepLegs(y, x, y, x, y, x, *[np.zeros(2)] * 4, False, False, False, 0)
    >>> bar_lines(legs, window_moments(y, x, 2))[1, :3].tolist()
    [5.0, 3.0, -0.5]
    """
    y, x, fill_y, fill_x = legs.y, legs.x, legs.fill_y, legs.fill_x
    range_y, range_x, funding_y, funding_x = legs.range_y, legs.range_x, legs.funding_y, legs.funding_x
    mean_y, mean_x, var_y, var_x, cov = moments.mean_y, moments.mean_x, moments.var_y, moments.var_x, moments.cov
    lines = np.empty((y.size, _LINE))
    for t in range(y.size):
        lines[t, _Y], lines[t, _X], lines[t, _FILL_Y], lines[t, _FILL_X] = y[t], x[t], fill_y[t], fill_x[t]
        lines[t, _MEAN_Y], lines[t, _MEAN_X], lines[t, _COV] = mean_y[t], mean_x[t], cov[t]
        lines[t, _VAR_Y], lines[t, _VAR_X] = var_y[t], var_x[t]
        lines[t, _RANGE_Y], lines[t, _RANGE_X] = range_y[t], range_x[t]
        lines[t, _FUNDING_Y], lines[t, _FUNDING_X] = funding_y[t], funding_x[t]
    return lines


@kernel
def close_path(
    entry: SweepEntry, y: float, x: float, range_y: float, range_x: float, paid: float
) -> PathEnd:  # pragma: no cover - compiled
    """Return what a position is worth that is closed at prices y and x in a bar of such ranges. NaN spreads. O(1).

    >>> entry = SweepEntry(0, 0, 1.0, 0.0, 10.0, 0.0, 10.0, 5.0, 1e-3, 0.0, 0.0, 0.0, 0.0, 100.0, 0.1, 0.0)
    >>> close_path(entry, 11.0, 5.0, 0.0, 0.0, 0.0).pnl
    9.79
    """
    size_y, size_x = abs(entry.quantity_y), abs(entry.quantity_x)
    value_y, value_x = size_y * y, size_x * x
    moved = entry.quantity_y * (y - entry.price_y) + entry.quantity_x * (x - entry.price_x)
    fee = entry.fee + (entry.fee_y * value_y + entry.fee_x * value_x)
    slippage = entry.slippage_y * value_y + entry.slippage_x * value_x
    slippage += entry.slippage_range * (size_y * range_y + size_x * range_x)
    slippage += entry.slippage
    return PathEnd(moved - fee - slippage - paid, moved, fee, slippage, value_y + value_x)


@kernel
def enter_path(
    lines: NDArray[np.float64],
    decided: int,
    start: int,
    side: float,
    ratio: float,
    log: bool,  # noqa: FBT001 - compiled functions take arguments by position
    rule: F8,
) -> SweepEntry:  # pragma: no cover - compiled
    """Return the position that a rule's terms make of an entry, with NaN quantities where a leg is less than a step.

    O(1).

    >>> line, rule = np.zeros((1, 16)), SweepRule(*[0.0] * 6, 1e-3, *[0.0] * 4, 100.0, *[0.0] * 4)
    >>> line[0, 9:11] = 10.0, 5.0
    >>> made = enter_path(line, 0, 0, -1.0, 0.0, True, np.array(rule))
    >>> made.quantity_y, made.quantity_x, made.fee
    (-10.0, 0.0, 0.1)
    """
    y, x = lines[start, _FILL_Y], lines[start, _FILL_X]
    quantity_y, quantity_x = leg_quantities(side, ratio, y, x, rule[11], rule[15] > 0.0, log, rule[13], rule[14])
    rates = rule[6], rule[7], rule[8], rule[9], rule[10]
    bare = SweepEntry(decided, start, side, ratio, quantity_y, quantity_x, y, x, *rates, 0.0, 0.0, 0.0)
    paid = close_path(bare, y, x, lines[start, _RANGE_Y], lines[start, _RANGE_X], 0.0)
    return SweepEntry(
        decided, start, side, ratio, quantity_y, quantity_x, y, x, *rates, paid.value, paid.fee, paid.slippage
    )


@kernel
def extend_scores(
    path: NDArray[np.float64],
    made: int,
    until: int,
    entry: SweepEntry,
    lines: NDArray[np.float64],
    spaced_y: F8,
    spaced_x: F8,
    window: int,
) -> None:  # pragma: no cover - compiled
    """Work out side · z at bars ``made`` to ``until`` of a position's path, and its extremes so far.

    Right to 1e-6: where digits cancel it is ``zscore_window``'s. NaN is no extreme. O(until - made), O(window) for a
    bar whose digits cancel.

    >>> line, path = np.zeros((2, 16)), np.zeros((PATH_ROWS, 2))
    >>> line[:, 2], line[:, 4] = [3.0, 1.0], 4.0
    >>> entry = SweepEntry(0, 0, 1.0, 0.0, 10.0, 0.0, 10.0, 5.0, *[0.0] * 5, 100.0, 0.0, 0.0)
    >>> extend_scores(path, 0, 2, entry, line, line[:, 0].copy(), line[:, 1].copy(), 2)
    >>> path[7:10].tolist()
    [[-1.5, -0.5], [-1.5, -0.5], [1.5, 1.5]]
    """
    back = away = -np.inf
    if made > 0:
        back, away = path[_BACK, made - 1], path[_AWAY, made - 1]
    ratio, side = entry.ratio, entry.side
    for j in range(made, until):
        u = entry.start + j
        std = spread_std(lines[u, _VAR_Y], lines[u, _VAR_X], lines[u, _COV], ratio)
        if std > 0.0:
            gained = side * np.divide(ratio * lines[u, _MEAN_X] - lines[u, _MEAN_Y], std)
        else:
            gained = side * zscore_window(spaced_y, spaced_x, u + 1, window, 0.0, ratio).zscore
        back = gained if gained > back else back  # which NaN leaves
        away = -gained if -gained > away else away
        path[_GAINED, j], path[_BACK, j], path[_AWAY, j] = gained, back, away


@kernel
def extend_path(
    path: NDArray[np.float64],
    made: int,
    until: int,
    entry: SweepEntry,
    lines: NDArray[np.float64],
    opens: bool,  # noqa: FBT001 - compiled functions take arguments by position
    maintenance: float,
) -> None:  # pragma: no cover - compiled
    """Work out what a position is worth at bars ``made`` to ``until`` of its path. NaN spreads. O(until - made).

    >>> line, path = np.zeros((3, 16)), np.zeros((PATH_ROWS, 3))
    >>> line[:, 0] = 10.0, 11.0, 9.0
    >>> entry = SweepEntry(0, 0, 1.0, 0.0, 10.0, 0.0, 10.0, 5.0, *[0.0] * 5, 100.0, 0.0, 0.0)
    >>> extend_path(path, 0, 3, entry, line, False, 0.0)
    >>> path[:2].tolist()
    [[0.0, 10.0, -10.0], [0.0, 10.0, -20.0]]
    """
    paid = before = 0.0
    most = need = -np.inf
    least = np.inf
    if made > 0:
        most, least, need = path[_MOST, made - 1], path[_LEAST, made - 1], path[_NEED, made - 1]
        paid, before = path[_PAID, made - 1], path[_PNL, made - 1]
    for j in range(made, until):
        u = entry.start + j
        y, x = lines[u, _Y], lines[u, _X]
        if j > 0 or opens:
            paid += lines[u, _FUNDING_Y] * (entry.quantity_y * y) + lines[u, _FUNDING_X] * (entry.quantity_x * x)
        worth = close_path(entry, y, x, lines[u, _RANGE_Y], lines[u, _RANGE_X], paid)
        pnl = worth.pnl
        gross = maintenance * worth.value
        most, least = max(most, pnl), min(least, pnl)
        need = max(need, gross - pnl + _DIGITS * (gross + abs(pnl)))
        path[_PNL, j], path[_STEP, j], path[_BASE, j] = pnl, pnl - before, before
        path[_MOST, j], path[_LEAST, j], path[_NEED, j], path[_PAID, j] = most, least, need, paid
        before = pnl


@kernel
def first_crossing(
    path: NDArray[np.float64], start: int, until: int, exit_z: float, stop_z: float
) -> tuple[int, int]:  # pragma: no cover - compiled
    """Return the first bar of a path from ``start`` on that a rule leaves at, and why: 1 come back, 2 gone too far.

    0, and ``until``, where there is none; 3 where side · z is too near to a threshold to tell. NaN leaves nothing.
    O(log(until - start)), and O(bars) after one that was too near.

    >>> path = np.zeros((PATH_ROWS, 4))
    >>> path[7], path[8], path[9] = [-2.0, -2.5, -1.0, 0.5], [-2.0, -2.0, -1.0, 0.5], [2.0, 2.5, 2.5, 2.5]
    >>> [first_crossing(path, 1, 4, exit_z, stop_z) for exit_z, stop_z in ((1.5, 3.0), (0.0, 2.2), (1.0, 3.0))]
    [(2, 1), (1, 2), (2, 3)]
    """
    near = _NEAR * (1.0 + exit_z)
    low, size = start, until - start
    while size > 1:
        half = size // 2
        low += half if path[_BACK, low + half - 1] < -exit_z - near else 0
        size -= half
    while low < until and not path[_GAINED, low] >= -exit_z - near:
        low += 1
    back = low
    if stop_z < np.inf and back > start:
        far = _NEAR * (1.0 + stop_z)
        if path[_AWAY, back - 1] >= stop_z - far:
            for j in range(start, back):
                gained = -path[_GAINED, j]
                if gained >= stop_z - far:
                    return j, 2 if gained > stop_z + far else 3
    if back == until:
        return until, 0
    return back, 1 if path[_GAINED, back] > -exit_z + near else 3
