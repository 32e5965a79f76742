"""Ids that did not come in the stream's order: what of them is new beside what is held, and what they leave out."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pairscope.market.gaps import Gap, HeldGap
from pairscope.market.id_ranges import Range, count, inside, less, runs_of
from pairscope.market.ticks import B1, I8

__all__ = ["Span", "Taken", "by_file", "filled", "take_older"]


class Span(NamedTuple):
    """What is held of a symbol: ids from ``first_id`` up to ``next_id``, and the event times of the outermost ticks."""

    first_id: int
    next_id: int
    first_ns: int
    last_ns: int


class Taken(NamedTuple):
    """What became of ids: which of the ticks are ``new``, the span now, gaps that are left and all that changed.

    Among those that changed a gap of files that is ``repaired`` is one that is no more.
    """

    new: B1
    span: Span
    gaps: list[HeldGap]
    changed: list[Gap]


def by_file(gap: Gap) -> bool:
    """Whether a gap is what files have left out: no tick of the stream revealed it, and none is asked for.

    >>> by_file(Gap("BTCUSDT", 1, 5, "unrepairable", 5))
    True
    """
    return gap.status == "unrepairable" and gap.seen_ns == 0 == gap.ended_ns


def filled(held: HeldGap, came: list[Range], ids: I8, times_ns: I8, *, ended_ns: int) -> list[HeldGap]:
    """Return what a gap is when some of its ids have come: of one of files the parts, with the times of their sides.

    One of the stream stays one gap, ``repaired`` by the last of its ids. ``ids`` are the ticks that came, ascending.
    O(ids + ranges).

    >>> gap = Gap("BTCUSDT", 1, 9, "open", 9, seen_ns=1)
    >>> [(after, left)] = filled((gap, [(1, 9)]), [(4, 4)], np.array([4]), np.array([40]), ended_ns=2)
    >>> after.missing, left
    (8, [(1, 3), (5, 9)])
    """
    gap, ranges = held
    left = less(ranges, came)
    if by_file(gap):
        return [(_part(gap, low, high, ids, times_ns), [(low, high)]) for low, high in left]
    if not left:
        return [(replace(gap, missing=0, status="repaired", ended_ns=ended_ns), [])]
    return [(replace(gap, missing=count(left)), left)]


def take_older(
    symbol: str,
    ids: I8,
    times_ns: I8,
    *,
    void: I8,
    span: Span | None,
    gaps: list[HeldGap],
    ended_ns: int,
) -> Taken:
    """Sort ids into new and known, ascending and each there once, with their event times and the void ones beside.

    New is what lies below the first that is held, above the last, or in a gap. What they leave out there is a gap of
    files, which stands where no gap was. Without a ``span`` nothing is held yet. O(ids + ranges).

    >>> taken = take_older("BTCUSDT", np.array([1, 2, 5]), np.array([10, 20, 50]), void=np.array([], np.int64),
    ...     span=Span(8, 20, 80, 190), gaps=[], ended_ns=0)
    >>> taken.span.first_id, [(gap.from_id, gap.to_id, gap.after_ns, gap.before_ns) for gap in taken.changed]
    (1, [(3, 4, 20, 50), (6, 7, 50, 80)])
    """
    arrived = np.union1d(ids, void)
    if span is None:
        first_ns = int(times_ns[0]) if ids.size else 0
        span = Span(int(arrived[0]), int(arrived[0]), first_ns, first_ns)
    missing = [range_ for _, ranges in gaps for range_ in ranges]
    fresh = arrived[_is_new(arrived, span, missing)]
    new = _is_new(ids, span, missing)
    if not fresh.size:
        return Taken(new, span, gaps, [])
    low, high = int(fresh[0]), int(fresh[-1])
    left_out: list[Gap] = []
    if low < span.first_id:
        left_out += _between(symbol, low, span.first_id - 1, fresh, ids, times_ns, before_ns=span.first_ns)
        first_ns = int(times_ns[0]) if ids.size and ids[0] < span.first_id else span.first_ns
        span = span._replace(first_id=low, first_ns=first_ns)
    if high >= span.next_id:
        left_out += _between(symbol, span.next_id, high, fresh, ids, times_ns, after_ns=span.last_ns)
        last_ns = int(times_ns[-1]) if ids.size and ids[-1] >= span.next_id else span.last_ns
        span = span._replace(next_id=high + 1, last_ns=last_ns)
    now: list[HeldGap] = []
    changed: dict[int, Gap] = {}
    for held in gaps:
        gap, ranges = held
        came = fresh[inside(fresh, ranges)] if gap.from_id <= high and gap.to_id >= low else fresh[:0]
        if not came.size:
            now.append(held)
            continue
        parts = filled(held, runs_of(came), ids, times_ns, ended_ns=ended_ns)
        if by_file(gap):
            changed[gap.from_id] = replace(gap, status="repaired", missing=0)
        changed |= {part.from_id: part for part, _ in parts}
        now += [part for part in parts if part[1]]
    now += [(gap, [(gap.from_id, gap.to_id)]) for gap in left_out]
    changed |= {gap.from_id: gap for gap in left_out}
    return Taken(new, span, now, list(changed.values()))


def _is_new(ids: I8, span: Span, missing: list[Range]) -> B1:
    new: B1 = (ids < span.first_id) | (ids >= span.next_id) | inside(ids, missing)
    return new


def _between(
    symbol: str, low: int, high: int, fresh: I8, ids: I8, times_ns: I8, *, after_ns: int = 0, before_ns: int = 0
) -> list[Gap]:
    """Return what of low to high did not come, as gaps between the ticks on either side."""
    came = fresh[(fresh >= low) & (fresh <= high)]
    whole = Gap(symbol, low, high, "unrepairable", high - low + 1, after_ns, before_ns)
    return [_part(whole, *range_, ids, times_ns) for range_ in less([(low, high)], runs_of(came))]


def _part(gap: Gap, low: int, high: int, ids: I8, times_ns: I8) -> Gap:
    """Return a part of a gap of files, with the times of the ticks on either side of it where those came just now."""
    at, behind = int(np.searchsorted(ids, low)), int(np.searchsorted(ids, high, side="right"))
    after_ns, before_ns = gap.after_ns, gap.before_ns
    if low > gap.from_id and at > 0:
        after_ns = max(after_ns, int(times_ns[at - 1]))
    if high < gap.to_id and behind < ids.size:
        before_ns = min(before_ns or int(times_ns[behind]), int(times_ns[behind]))
    return replace(gap, from_id=low, to_id=high, missing=high - low + 1, after_ns=after_ns, before_ns=before_ns)
