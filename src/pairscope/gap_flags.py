"""Which bars lack trades: the gap ledger of a store, laid over bars that were read from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.bars import BarBatch, Origin, resample, timeframe_ns
from pairscope.market.continuity import Gap
from pairscope.market.holes import Holes, holes_of, missing_in, touches
from pairscope.market.ticks import B1, I8
from pairscope.ports import TickStore

__all__ = ["Touched", "gap_flags", "read_holes", "touched_at", "touched_bars", "touched_market"]

_MINUTE_NS: Final = 60_000_000_000
_FEW: Final = 8
_MOST_ROWS: Final = 2_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Touched:
    """Which of some bars touch a hole that nothing repaired, and how many ids those holes lack."""

    flags: B1
    missing: int
    times_ns: I8 = field(repr=False)
    """Open times of the bars that are touched."""

    @property
    def bars(self) -> int:
        """How many bars are touched."""
        return int(self.times_ns.size)


async def gap_flags(store: TickStore, symbol: str, bars: BarBatch) -> B1:
    """Return which of a symbol's bars touch a hole in its trades; one look into the ledger where there is none.

    A bar of the exchange's or an uploaded one is whole, whatever own trades are missing; a longer bar is, where those
    under it are that a hole touches. ``bars`` are of one symbol and any timeframe, by time.
    """
    return (await touched_bars(store, symbol, bars)).flags


async def touched_bars(store: TickStore, symbol: str, bars: BarBatch, holes: Holes | None = None) -> Touched:
    """Return what ``gap_flags`` says with how many ids are missing; ``holes`` are the symbol's where they are known."""
    none = Touched(np.zeros(len(bars), np.bool_), 0, np.empty(0, np.int64))
    if not len(bars):
        return none
    known = holes_of(await store.gaps(symbol, unrepaired=True)) if holes is None else holes
    length = timeframe_ns(bars.timeframe)
    flags = touches(known, bars.ts_open_ns, length)
    if not flags.any():
        return none
    foreign = flags & (bars.origin != Origin.OWN)
    if foreign.any():
        flags = flags & ~foreign
        if bars.timeframe != _base_of(bars.timeframe):
            flags[np.flatnonzero(foreign)] = await _parts_touched(store, symbol, bars.take(foreign), known)
    times = bars.ts_open_ns[flags]
    return Touched(flags, missing_in(known, times, length), times)


async def touched_at(store: TickStore, symbol: str, timeframe: str, ts_open_ns: I8, holes: Holes) -> Touched:
    """Return what ``touched_bars`` says of bars of which only the open times are known, ascending.

    Those that a hole touches are read; one that is not stored yet is an own one.
    """
    length = timeframe_ns(timeframe)
    flags = touches(holes, ts_open_ns, length)
    for rows in _runs(ts_open_ns, np.flatnonzero(flags), length):
        start_ns, end_ns = int(ts_open_ns[rows[0]]), int(ts_open_ns[rows[-1]]) + length
        bars = await store.bars(symbol, timeframe, start_ns, end_ns, limit=rows.size)
        whole = bars.ts_open_ns[~(await touched_bars(store, symbol, bars, holes)).flags]
        flags[rows] = ~np.isin(ts_open_ns[rows], whole)
    times = ts_open_ns[flags]
    return Touched(flags, missing_in(holes, times, length), times)


async def touched_market(
    store: TickStore, timeframe: str, ts_open_ns: I8, holes: Mapping[str, Holes]
) -> dict[str, Touched]:
    """Return what ``touched_at`` says of many symbols' bars, of those that lack trades in any.

    Where many do, as after a connection was lost, they are looked at together, by base bars alone: an uploaded longer
    bar that stands for them then counts as what it stands for.
    """
    length, base = timeframe_ns(timeframe), _base_of(timeframe)
    suspects = {name: ts_open_ns[touches(known, ts_open_ns, length)] for name, known in holes.items()}
    suspects = {name: times for name, times in suspects.items() if times.size}
    spans = [*suspects.values()]
    all_times: I8 = np.unique(np.concatenate(spans)) if spans else np.empty(0, np.int64)
    runs = _runs(all_times, np.arange(all_times.size), length)
    if len(suspects) <= _FEW or all_times.size * (length // timeframe_ns(base)) * len(suspects) > _MOST_ROWS:
        each = {name: await touched_at(store, name, timeframe, ts_open_ns, holes[name]) for name in suspects}
        return {name: touched for name, touched in each.items() if touched.bars}
    whole: dict[str, list[I8]] = {name: [] for name in suspects}
    for rows in runs:
        parts = await store.base_bars(base, int(all_times[rows[0]]), int(all_times[rows[-1]]) + length)
        for name in suspects:
            own = parts.of_symbol(name)
            lacks = (own.origin == Origin.OWN) & touches(holes[name], own.ts_open_ns, timeframe_ns(base))
            slots = own.ts_open_ns // length * length
            whole[name].append(np.setdiff1d(slots, slots[lacks]))
    found = {}
    for name, times in suspects.items():
        lacking = np.setdiff1d(times, np.concatenate(whole[name]))
        if lacking.size:
            missing = missing_in(holes[name], lacking, length)
            found[name] = Touched(np.isin(ts_open_ns, lacking), missing, lacking)
    return found


async def read_holes(store: TickStore, symbols: Iterable[str] | None = None) -> Mapping[str, Holes]:
    """Return the holes of every symbol that has any, or of those named, from one look into the ledger."""
    wanted = None if symbols is None else {*symbols}
    found: dict[str, list[Gap]] = {}
    for gap in await store.gaps(unrepaired=True):
        if gap.status != "repaired" and gap.missing > 0 and (wanted is None or gap.symbol in wanted):
            found.setdefault(gap.symbol, []).append(gap)
    return {symbol: holes_of(gaps) for symbol, gaps in found.items()}


async def _parts_touched(store: TickStore, symbol: str, bars: BarBatch, holes: Holes) -> B1:
    """Return which longer bars are made of one that lacks trades, of the longest that are kept below them.

    One that those below it do not make came in as it is, and is whole. One that is still open is made of them, and of
    own trades behind them.
    """
    length = timeframe_ns(bars.timeframe)
    watermark_ns = await store.watermark_ns()
    below = [
        t for t in await store.kept_timeframes(symbol) if timeframe_ns(t) < length and not length % timeframe_ns(t)
    ]
    lower = max([_base_of(bars.timeframe), *below], key=timeframe_ns)
    found = np.zeros(len(bars), np.bool_)
    for rows in _runs(bars.ts_open_ns, np.arange(len(bars)), length):
        start_ns, end_ns = int(bars.ts_open_ns[rows[0]]), int(bars.ts_open_ns[rows[-1]]) + length
        parts = await store.bars(symbol, lower, start_ns, end_ns, limit=(end_ns - start_ns) // timeframe_ns(lower))
        is_open = bars.ts_open_ns[rows] + length > watermark_ns
        if len(parts):
            touched = await touched_bars(store, symbol, parts, holes)
            lacking = touched.times_ns // length * length
            found[rows] = np.isin(bars.ts_open_ns[rows], lacking) & (is_open | _made_of(bars.take(rows), parts))
        if is_open[-1]:
            tail_ns = int(parts.ts_open_ns[-1]) + timeframe_ns(lower) if len(parts) else start_ns
            tail_ns = max(tail_ns, int(bars.ts_open_ns[rows[-1]]))
            found[rows[-1]] |= touches(holes, np.array([tail_ns]), end_ns - tail_ns)[0]
    return found


def _runs(ts_open_ns: I8, rows: NDArray[np.intp], length_ns: int) -> list[NDArray[np.intp]]:
    """Cut rows where time does not go on from bar to bar."""
    if not rows.size:
        return []
    return np.split(rows, np.flatnonzero(np.diff(ts_open_ns[rows]) > length_ns) + 1)


def _made_of(bars: BarBatch, parts: BarBatch) -> B1:
    """Return which bars are what shorter ones make."""
    made = resample(parts, bars.timeframe)
    at = np.minimum(np.searchsorted(made.ts_open_ns, bars.ts_open_ns), len(made) - 1)
    same: B1 = made.ts_open_ns[at] == bars.ts_open_ns
    for name in ("high", "low", "close", "volume", "trades"):
        same = same & (getattr(made, name)[at] == getattr(bars, name))
    return same


def _base_of(timeframe: str) -> str:
    """Return the stored timeframe that a timeframe follows from."""
    return "1s" if timeframe_ns(timeframe) < _MINUTE_NS else "1m"
