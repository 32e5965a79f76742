"""Bars as a store answers them: from base bars where they suffice, else from uploaded ones beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np

from pairscope.market.bars import BASE_TIMEFRAMES, BarBatch, Origin, concat_bars, resample, timeframe_ns
from pairscope.market.gaps import Gap
from pairscope.market.ticks import B1, I8
from pairscope.ports import UploadedSpan
from pairscope.storage.ledger import NEVER, LedgerView
from pairscope.storage.reading import windows

__all__ = ["BarSource", "OwnTime", "assembled", "bars", "base_of", "lengthen", "levels_of", "uploaded"]

_MINUTE_BASED: Final = timeframe_ns("1m")


class OwnTime:
    """From when to when a symbol has trades of its own, and the holes in them."""

    def __init__(self, first_ns: int = -1, last_ns: int = 0, holes: Sequence[Gap] = ()) -> None:
        self._first_ns = first_ns
        self._last_ns = last_ns
        self._holes = holes

    def sound(self, ts_open_ns: I8, timeframe: str) -> B1:
        """Which bars lack no trade, if own trades made them: none of the beginning, none that touches a hole."""
        ends = ts_open_ns + timeframe_ns(timeframe)
        found: B1 = ts_open_ns > self._first_ns
        for gap in self._holes:
            found &= (ends <= gap.after_ns) | (ts_open_ns > (gap.before_ns or NEVER))
        return found

    def covers(self, ts_open_ns: I8, timeframe: str) -> B1:
        """Which bars own trades cover wholly, also where there are none for a while."""
        ended: B1 = ts_open_ns + timeframe_ns(timeframe) <= self._last_ns
        return ended & self.sound(ts_open_ns, timeframe)


class BarSource(Protocol):
    """The tables of a store, as far as bars are read of them."""

    def symbol_bars(
        self, connection: Any, timeframe: str, symbol_id: int, start_ns: int, end_ns: int, *, uploads_only: bool
    ) -> BarBatch:
        """Return a symbol's bars of a range by time, all or those that were uploaded."""
        ...

    def base_bars(self, connection: Any, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        """Return the stored bars of every symbol in a range, by (symbol id, time)."""
        ...

    def uploads(self, connection: Any) -> list[tuple[int, str, int, int, int]]:
        """Return the symbol id, timeframe, number, oldest and newest open time of the bars that were uploaded."""
        ...

    def unrepaired(self, connection: Any, symbol_id: int) -> list[Gap]:
        """Return the gaps of a symbol that lack ids, by their first."""
        ...


def bars(
    connection: Any,
    view: LedgerView,
    tables: BarSource,
    symbol: str,
    timeframe: str,
    start_ns: int,
    end_ns: int,
    limit: int,
    *,
    newest: bool,
) -> BarBatch:
    """Return a symbol's closed bars, longer ones built from the bars under them."""
    length = timeframe_ns(timeframe)
    start_ns = -(-start_ns // length) * length
    symbol_id = view.find(symbol)
    if symbol_id is None or limit <= 0:
        return BarBatch.empty(view.symbols, timeframe)
    end_ns = min(-(-end_ns // length), view.horizon_ns(symbol_id) // length) * length
    uploaded_seconds = symbol_id in view.uploaded_seconds
    levels = levels_of(view.timeframes(symbol_id), timeframe, uploaded_seconds=uploaded_seconds)
    if not levels or end_ns <= start_ns:
        return BarBatch.empty(view.symbols, timeframe)
    spans = [view.bar_span(symbol_id, level) for level in levels]
    oldest, newest_ns = min(span[0] for span in spans), max(span[1] for span in spans)
    hint = (newest_ns // length + 1) * length if newest else oldest // length * length
    own_time = OwnTime()
    if len(levels) > 1:
        first_ns, last_ns, _ = view.tick_span(symbol_id)
        own_time = OwnTime(first_ns, last_ns, tables.unrepaired(connection, symbol_id))
    parts: list[BarBatch] = []
    left = limit
    for low, high in windows(start_ns, end_ns, hint, limit * length, newest=newest):
        kept = {}
        for level in levels:
            below = timeframe_ns(level) < timeframe_ns(base_of(timeframe))  # of those only what was uploaded counts
            kept[level] = tables.symbol_bars(connection, level, symbol_id, low, high, uploads_only=below)
        part = assembled(kept, timeframe, own_time)
        part = part.take(slice(max(len(part) - left, 0), None) if newest else slice(left))
        parts.append(part)
        left -= len(part)
        if left <= 0 or (newest and low <= oldest - length) or (not newest and high > newest_ns):
            break
    return concat_bars(parts[::-1] if newest else parts)


def assembled(kept: Mapping[str, BarBatch], timeframe: str, own_time: OwnTime) -> BarBatch:
    """Return bars of a timeframe from one symbol's bars of shorter ones and its own, from the shortest up.

    At each step a bar is made of those below it. A kept bar takes the place of one that they do not make wholly: that
    own ticks do not cover and that lacks parts. Minutes as the store has them stand against all that lies below.
    """
    order = sorted(kept, key=timeframe_ns)
    held = kept[order[0]]
    share = _share(held, own_time)
    for level in order[1:]:
        length = timeframe_ns(level)
        made = lengthen(held, level)
        _, place = np.unique(held.ts_open_ns // length, return_inverse=True)
        filled = np.bincount(place, share, len(made)).astype(np.int64)
        whole = (filled >= length) | own_time.covers(made.ts_open_ns, level)
        if level in BASE_TIMEFRAMES:
            whole[:] = False
        ours = kept[level]
        lost = ~whole & np.isin(made.ts_open_ns, ours.ts_open_ns)
        taken = ours.take(~np.isin(ours.ts_open_ns, made.ts_open_ns[whole]))
        both = concat_bars([made.take(~lost), taken])
        sizes = np.concatenate([np.where(whole, length, filled)[~lost], _share(taken, own_time)])
        by_time = np.argsort(both.ts_open_ns, kind="stable")
        held, share = both.take(by_time), sizes[by_time]
    return lengthen(held, timeframe)


def base_of(timeframe: str) -> str:
    """Return the stored timeframe that a timeframe follows from."""
    return "1s" if timeframe_ns(timeframe) < _MINUTE_BASED else "1m"


def lengthen(bars: BarBatch, timeframe: str) -> BarBatch:
    """Return bars of a timeframe from the shorter bars under them."""
    return bars if timeframe == bars.timeframe else resample(bars, timeframe)


def uploaded(connection: Any, view: LedgerView, tables: BarSource) -> list[UploadedSpan]:
    """Return what was uploaded, by (symbol, length of timeframe)."""
    found = [
        UploadedSpan(view.symbols[symbol_id], timeframe, count, oldest_ns, newest_ns)
        for symbol_id, timeframe, count, oldest_ns, newest_ns in tables.uploads(connection)
    ]
    return sorted(found, key=lambda span: (span.symbol, timeframe_ns(span.timeframe)))


def levels_of(kept: Sequence[str], timeframe: str, *, uploaded_seconds: bool) -> list[str]:
    """Return the timeframes, of those under which bars are kept, whose bars make those of another, the shortest first.

    3m bars do not fit into 5m ones; where both are there the 5m ones are used.
    """
    length, base = timeframe_ns(timeframe), base_of(timeframe)
    found = [t for t in kept if not length % timeframe_ns(t)]
    if base == "1m" and not uploaded_seconds:
        found = [t for t in found if t != "1s"]
    if "3m" in found and "5m" in found:
        found.remove("3m")
    return found


def _share(bars: BarBatch, own_time: OwnTime) -> I8:
    """Return for how long a time each bar stands: nothing where it is of own trades and lacks some."""
    lacking = (bars.origin == Origin.OWN) & ~own_time.sound(bars.ts_open_ns, bars.timeframe)
    share: I8 = np.where(lacking, 0, timeframe_ns(bars.timeframe))
    return share
