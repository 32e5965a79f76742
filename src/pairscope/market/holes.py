"""Holes in time: where trades are missing that the exchange printed, and which bars and days they touch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pairscope.market.continuity import Gap
from pairscope.market.ticks import B1, I8

__all__ = ["DAY_NS", "HoleDays", "Holes", "days_of", "holes_of", "missing_in", "reaching", "span_of", "touches"]

DAY_NS = 86_400_000_000_000
"""A day, UTC, in nanoseconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Holes:
    """One symbol's holes, by ``after_ns``: trades are missing in [after_ns, before_ns], ``missing`` of them."""

    after_ns: I8
    before_ns: I8
    missing: I8


@dataclass(frozen=True, slots=True, eq=False)
class HoleDays:
    """Holes cut at midnight, UTC: ``row`` is the hole's place, ``day`` counts from 1970-01-01.

    ``span_ns`` is the hole's time within the day, ``missing`` its ids in proportion to that: nobody knows the true
    number. They add up to the hole's.
    """

    row: NDArray[np.intp]
    day: I8
    span_ns: I8
    missing: I8


def span_of(gap: Gap) -> tuple[int, int]:
    """Return the event times between which a gap's trades lie; both ends may hold some. O(1).

    Where nothing is known of a side, the time at which the gap was seen ends it, and a gap without a trade before it
    begins where it ends.

    >>> span_of(Gap("BTCUSDT", 4, 8, "open", 5, after_ns=10, before_ns=70))
    (10, 70)
    >>> span_of(Gap("BTCUSDT", 4, 8, "open", 5, after_ns=10, seen_ns=90)), span_of(Gap("BTCUSDT", 4, 8, "open", 5))
    ((10, 90), (0, 0))
    """
    before = gap.before_ns or gap.seen_ns or gap.after_ns
    after = gap.after_ns or before
    return after, max(after, before)


def holes_of(gaps: Iterable[Gap]) -> Holes:
    """Return the gaps of one symbol whose trades are still missing, open or given up, as columns. O(n log n).

    >>> healed = Gap("BTCUSDT", 1, 2, "repaired", 0, after_ns=5, before_ns=6)
    >>> lost = Gap("BTCUSDT", 4, 8, "unrepairable", 5, after_ns=10, before_ns=70)
    >>> holes = holes_of([healed, lost])
    >>> holes.after_ns.tolist(), holes.before_ns.tolist(), holes.missing.tolist()
    ([10], [70], [5])
    """
    rows = [(*span_of(gap), gap.missing) for gap in gaps if gap.status != "repaired" and gap.missing > 0]
    table = np.array(sorted(rows), np.int64).reshape(-1, 3)
    return Holes(*(np.ascontiguousarray(column) for column in table.T))


def touches(holes: Holes, ts_open_ns: I8, length_ns: int) -> B1:
    """Return which bars [open, open + length) touch a hole. O((bars + holes) log holes), the bars in any order.

    A bar that ends at the trade before a hole, or opens after the one behind it, touches nothing.

    >>> holes = holes_of([Gap("BTCUSDT", 4, 8, "open", 5, after_ns=15, before_ns=30)])
    >>> touches(holes, np.array([0, 10, 20, 30, 40]), 10).tolist()
    [False, True, True, True, False]
    """
    if not holes.after_ns.size:
        return np.zeros(ts_open_ns.size, np.bool_)
    furthest = np.maximum.accumulate(holes.before_ns)
    begun: NDArray[np.intp] = np.searchsorted(holes.after_ns, ts_open_ns + length_ns, side="left")
    found: B1 = (begun > 0) & (furthest[begun - 1] >= ts_open_ns)
    return found


def reaching(holes: Holes, ts_open_ns: I8, length_ns: int) -> B1:
    """Return which holes touch a bar of those that open at ``ts_open_ns``, which ascends. O(holes log bars).

    >>> holes = holes_of([Gap("BTCUSDT", 4, 8, "open", 5, after_ns=15, before_ns=30)])
    >>> reaching(holes, np.array([20]), 10).tolist(), reaching(holes, np.array([0, 40]), 10).tolist()
    ([True], [False])
    """
    behind = np.searchsorted(ts_open_ns, holes.before_ns, side="right")
    before = np.searchsorted(ts_open_ns, holes.after_ns - length_ns, side="right")
    found: B1 = behind > before
    return found


def missing_in(holes: Holes, ts_open_ns: I8, length_ns: int) -> int:
    """Return how many ids the holes lack that touch a bar of those that open at ``ts_open_ns``, which ascends.

    A hole counts whole, however little of it lies in the bars. O(holes log bars).

    >>> missing_in(holes_of([Gap("BTCUSDT", 4, 8, "open", 5, after_ns=15, before_ns=30)]), np.array([0, 20]), 10)
    5
    """
    return int(holes.missing[reaching(holes, ts_open_ns, length_ns)].sum())


def days_of(holes: Holes) -> HoleDays:
    """Cut holes at midnight, UTC, by (hole, day). O(days that they cover).

    A hole that ends at midnight has nothing of the day which begins then.

    >>> days = days_of(Holes(*(np.array([x]) for x in (DAY_NS - 60, DAY_NS + 180, 8))))
    >>> days.day.tolist(), days.span_ns.tolist(), days.missing.tolist()
    ([0, 1], [60, 180], [2, 6])
    """
    first = holes.after_ns // DAY_NS
    last = np.maximum(first, (holes.before_ns - 1) // DAY_NS)
    counts = last - first + 1
    row = np.repeat(np.arange(first.size), counts)
    begins = np.cumsum(counts) - counts
    day = first[row] + np.arange(row.size) - begins[row]
    low = np.maximum(holes.after_ns[row], day * DAY_NS)
    high = np.minimum(holes.before_ns[row], (day + 1) * DAY_NS)
    # Ids up to the end of each day, less those up to its beginning, so that a hole's days add up to it.
    length = np.maximum(holes.before_ns - holes.after_ns, 1)[row]
    until = np.where(day == last[row], 1.0, (high - holes.after_ns[row]) / length)
    passed = np.floor(until * holes.missing[row]).astype(np.int64)
    earlier = np.where(day == first[row], 0, np.concatenate([[0], passed[:-1]]) if row.size else passed)
    return HoleDays(row, day, high - low, passed - earlier)
