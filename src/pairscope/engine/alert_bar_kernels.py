"""What rules read of closed bars: volumes of windows as exact integers, volatilities of all windows in one walk back.

Volumes are counted in units of a row's last decimal, so that a sum neither drifts nor depends on the order of its
parts, and a threshold that a person would call reached is reached. A window moves on by the slot that comes and the one
that goes; where a bar of it was corrected, it is summed up again.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.exact import plus, units_of, value_of
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8, I8

__all__ = [
    "VOLATILITY",
    "VOLUME",
    "add_units",
    "put_units",
    "read_volatilities",
    "read_volumes",
    "recount",
    "sum_units",
]

Cells = NDArray[np.float64]
Table = NDArray[Any]
Units = NDArray[np.int64]

_MOST_UNITS: Final = 1_000_000_000_000_000
"""A bar's volume is told in finer decimals as long as it has fewer units than this."""
_STEPS: Final = np.array([10**k for k in range(19)], np.int64)

VOLUME: Final = np.dtype(
    [
        ("row", "i8"),
        ("window", "i8"),
        ("baseline", "i8"),  # 0: the volume itself is the value
        ("as_of", "i8"),  # the open slot before which the sums end, -1: to be summed up again
        ("decimals", "i8"),  # of the sums
        ("closed", "i8"),  # units in the window's closed slots
        ("before", "i8"),  # units in the baseline's
        ("closes", "i8"),  # 1: only its values at closes of bars are wanted
        ("low", "f8"),
        ("high", "f8"),
        ("value", "f8"),
    ],
    align=True,
)
"""A volume that rules watch; strictly between ``low`` and ``high`` nothing changes."""

VOLATILITY: Final = np.dtype(
    [
        ("row", "i8"),
        ("window", "i8"),
        ("low", "f8"),
        ("high", "f8"),
        ("value", "f8"),
        ("seen", "i8"),  # how many bars there were
    ],
    align=True,
)
"""A volatility that rules watch; the gauges of a row lie together, by window."""


@kernel
def put_units(units: Units, decimals: I8, rows: I8, at: I8, volumes: F8) -> None:  # pragma: no cover - compiled
    """Take the volumes of bars; a row that has finer ones than before is told in their decimals from then on."""
    for k in range(rows.size):
        r = rows[k]
        have = decimals[r]
        got, places = units_of(volumes[k], have)
        if places > have:
            widest = max(np.max(units[r]), got // _STEPS[min(places - have, 18)])
            while places > have and (places - have > 18 or widest > _MOST_UNITS // _STEPS[places - have]):
                got = (got + 5) // 10
                places -= 1
            units[r] *= _STEPS[places - have]
            decimals[r] = places
        elif places < have:
            got = got * _STEPS[min(have - places, 18)]
        units[r, at[k]] = got


@kernel
def sum_units(units: Units, row: int, start: int, end: int) -> int:  # pragma: no cover - compiled
    """Return the units in the slots of [start, end)."""
    slots = units.shape[1]
    total = 0
    for slot in range(start, end):
        total += units[row, slot % slots]
    return total


@kernel
def add_units(
    sums: I8, decimals: I8, rows: I8, units: Units, of: I8, theirs: I8, slot: int
) -> None:  # pragma: no cover - compiled
    """Add a slot's units of the rows ``theirs``, in the decimals ``of``, to the sums of the rows beside them."""
    at = slot % units.shape[1]
    for k in range(rows.size):
        r, t = rows[k], theirs[k]
        sums[r], decimals[r], _ = plus(sums[r], decimals[r], units[t, at], of[t])


@kernel
def read_volumes(
    table: Table,
    ids: I8,
    slot: int,
    units: Units,
    decimals: I8,
    since: I8,
    open_units: I8,
    open_decimals: I8,
    open_traded: I8,
    at_close: int,
    found: I8,
) -> int:  # pragma: no cover - compiled
    """Compute the volumes ``ids`` with ``slot`` open; return how many of them may change something, named in ``found``.

    ``open_units`` are those of the open slot by row, ``open_traded`` whether anything was, ``since`` the first slot of
    which a bar is known: NaN where it lies behind the window's beginning, and where a baseline has no volume at all.
    """
    slots = units.shape[1]
    count = 0
    for k in range(ids.size):
        g = table[ids[k]]
        if g.closes > at_close:
            continue
        r, w, n = g.row, g.window, g.baseline
        if g.as_of != slot or g.decimals != decimals[r]:
            if g.as_of == slot - 1 and g.decimals == decimals[r]:
                went = units[r, (slot - w) % slots]
                g.closed += units[r, (slot - 1) % slots] - went
                if n > 0:
                    g.before += went - units[r, (slot - w - n) % slots]
            else:
                g.closed = sum_units(units, r, slot - w + 1, slot)
                g.before = sum_units(units, r, slot - w + 1 - n, slot - w + 1)
            g.as_of = slot
            g.decimals = decimals[r]
        start = slot - w + 1 - n
        known = since[r] <= start or (start == slot and open_traded[r] != 0)
        total, places, _ = plus(g.closed, g.decimals, open_units[r], open_decimals[r])
        value = np.nan
        if known and n == 0:
            value = value_of(total, places)
        elif known and g.before > 0:
            value = value_of(total, places) * n / (w * value_of(g.before, g.decimals))
        g.value = value
        if not np.isnan(value) and not g.low < value < g.high:
            found[count] = ids[k]
            count += 1
    return count


@kernel
def read_volatilities(
    table: Table, first: I8, rows: I8, slot: int, slots: int, logs: Cells, a_year: float, found: I8
) -> int:  # pragma: no cover - compiled
    """Compute the volatilities of some rows as of a closed slot; return how many may change something, in ``found``.

    The root mean square of the newest ``window`` log returns from bar to bar, times the root of the bars in a year;
    slots without a bar are passed over, twice the window and 16 of them are looked through. NaN where there are fewer
    bars. ``table[first[r] : first[r + 1]]`` are the gauges of row r, by window. O(longest window) a row.
    """
    count = 0
    for k in range(rows.size):
        r = rows[k]
        g, end = first[r], first[r + 1]
        for i in range(g, end):
            table[i].value = np.nan
        bars = 0
        squares = newer = 0.0
        back = slot
        while g < end and back >= 0 and slot - back < 2 * table[end - 1].window + 16 and slot - back < slots:
            now = logs[r, back % slots]
            back -= 1
            if np.isnan(now):
                continue
            if bars > 0:
                squares += (newer - now) ** 2
            newer = now
            bars += 1
            while g < end and table[g].window + 1 <= bars:
                if slot - back <= 2 * table[g].window + 16:
                    table[g].value = np.sqrt(squares / table[g].window) * np.sqrt(a_year)
                g += 1
        for i in range(first[r], end):
            table[i].seen = min(bars, table[i].window + 1)
            value = table[i].value
            if not np.isnan(value) and not table[i].low < value < table[i].high:
                found[count] = i
                count += 1
    return count


@kernel
def recount(
    units: I8,
    decimals: int,
    closes: F8,
    minute_units: I8,
    minute_decimals: int,
    minute_closes: F8,
    start_s: int,
    until_s: int,
) -> tuple[int, int, int]:  # pragma: no cover - compiled
    """Return what was traded in the seconds of [start_s, until_s), as (units, decimals, whether anything was).

    Of whole minutes from the rings of a symbol's minutes, of the rest from that of its seconds.
    """
    total, places, traded = 0, 0, 0
    second = start_s
    if start_s % 60 == 0:
        for minute in range(start_s // 60, until_s // 60):
            at = minute % minute_units.size
            if not np.isnan(minute_closes[at]):
                total, places, _ = plus(total, places, minute_units[at], minute_decimals)
                traded = 1
        second = max(start_s, until_s // 60 * 60)
    for s in range(second, until_s):
        at = s % units.size
        if not np.isnan(closes[at]):
            total, places, _ = plus(total, places, units[at], decimals)
            traded = 1
    return total, places, traded
