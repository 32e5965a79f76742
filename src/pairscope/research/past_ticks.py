"""The past as ticks: the trades that are stored of some symbols, bars in their place where there are none, by time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Final

import numpy as np

from pairscope.market.bars import BarBatch, Origin, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I8, TickBatch, concat_ticks
from pairscope.ports import TickStore

__all__ = ["Past", "past_of", "past_ticks", "ticks_of_bars"]

_MINUTE_NS: Final = 60_000_000_000
_MS: Final = 1_000_000
_PORTION: Final = 60_000
"""About so many ticks are read at once."""
_LEAST_SIZE: Final = 1e-6
"""A tick has a size; this stands for that of a bar which says of none."""


@dataclass(frozen=True, slots=True)
class Past:
    """What there is of some symbols in [start, end): their bars, and from which time on their ticks are taken.

    ``bars`` are of ``timeframe`` 1m, or 1s. Before ``ticks_from_ns``, and where a bar is not made of own ticks, a
    bar's four prices stand for what was traded in it. ``ticks`` counts those that are stored and will be read.
    """

    symbols: tuple[str, ...]
    bars: Mapping[str, BarBatch]
    start_ns: int
    end_ns: int
    ticks_from_ns: int
    ticks: int

    @property
    def from_bars(self) -> int:
        """How many bars stand for their ticks."""
        return sum(int((~_of_ticks(bars, self.ticks_from_ns)).sum()) for bars in self.bars.values())

    @property
    def bars_until_ns(self) -> int | None:
        """When the last of those bars ends; None where there is none."""
        made = [bars.take(~_of_ticks(bars, self.ticks_from_ns)) for bars in self.bars.values()]
        return max((int(b.ts_open_ns[-1]) + timeframe_ns(b.timeframe) for b in made if len(b)), default=None)

    @property
    def first_ns(self) -> int | None:
        """When the first of the bars opened; None where there is none."""
        return min((int(bars.ts_open_ns[0]) for bars in self.bars.values() if len(bars)), default=None)


async def past_of(
    store: TickStore,
    symbols: Sequence[str],
    *,
    timeframe: str,
    start_ns: int,
    end_ns: int,
    most_ticks: int,
) -> Past:
    """Return what there is of symbols in a range; the newest ticks, about ``most_ticks`` of them, bars before those.

    With none of them, ``most_ticks`` 0, bars alone.
    """
    step_ns = timeframe_ns(timeframe)
    limit = (end_ns - start_ns) // step_ns + 1
    found = {name: await store.bars(name, timeframe, start_ns, end_ns, limit=limit) for name in symbols}
    times = np.concatenate([_own(bars).ts_open_ns for bars in found.values()])
    trades = np.concatenate([_own(bars).trades for bars in found.values()])
    order = np.argsort(times, kind="stable")[::-1]
    total = np.cumsum(trades[order])
    ticks_from_ns = start_ns if most_ticks else end_ns
    if most_ticks and total.size and total[-1] > most_ticks:
        over = int(np.searchsorted(total, most_ticks, side="right"))
        ticks_from_ns = (int(times[order[over]]) // _MINUTE_NS + 1) * _MINUTE_NS
    count = int(trades[times >= ticks_from_ns].sum())
    return Past(tuple(symbols), found, start_ns, end_ns, ticks_from_ns, count)


async def past_ticks(
    store: TickStore, past: Past, symbols: Symbols, *, last_ids: Mapping[str, int] = MappingProxyType({})
) -> AsyncIterator[TickBatch]:
    """Yield the past in portions of whole minutes, in order of time; a symbol's ids are consecutive numbers.

    They go on behind ``last_ids``. A portion's watermark is its end. Memory: a portion.
    """
    reached = dict(last_ids)
    for start_ns, end_ns in _portions(past):
        parts = []
        for name in past.symbols:
            bars = past.bars[name]
            bars = bars.take((bars.ts_open_ns >= start_ns) & (bars.ts_open_ns < end_ns))
            made = bars.take(~_of_ticks(bars, past.ticks_from_ns))
            mine = _under(ticks_of_bars(made), name, symbols)
            if end_ns > past.ticks_from_ns:
                ticks = await store.ticks(name, max(start_ns, past.ticks_from_ns), end_ns, limit=1 << 40)
                if len(made):
                    step_ns = timeframe_ns(made.timeframe)
                    ticks = ticks.take(~np.isin(ticks.ts_event_ns // step_ns * step_ns, made.ts_open_ns))
                mine = concat_ticks([mine, _under(ticks, name, symbols)])
                mine = mine.take(np.argsort(mine.ts_event_ns, kind="stable"))
            first = reached.get(name, 0) + 1
            reached[name] = first + len(mine) - 1
            parts.append(replace(mine, trade_id=np.arange(first, first + len(mine), dtype=np.int64)))
        portion = concat_ticks(parts)
        portion = portion.take(np.argsort(portion.ts_event_ns, kind="stable"))
        yield replace(portion, ts_recv_ns=portion.ts_event_ns, watermark_ns=end_ns, void=())


def ticks_of_bars(bars: BarBatch) -> TickBatch:
    """Return four ticks a bar that make it again: its open, its low and its high (falling: high and low), its close.

    They come at its beginning, after one and two thirds of it, and a millisecond before its end; each has a quarter
    of its volume. O(bars).
    """
    n, step_ns = len(bars), timeframe_ns(bars.timeframe)
    rising = bars.close >= bars.open
    first, second = np.where(rising, bars.low, bars.high), np.where(rising, bars.high, bars.low)
    prices = np.column_stack([bars.open, first, second, bars.close])
    after = np.array([0, step_ns // 3, 2 * step_ns // 3, step_ns - _MS], np.int64)
    times = (bars.ts_open_ns[:, None] + after).ravel()
    sizes = np.repeat(np.maximum(np.nan_to_num(bars.volume) / 4.0, _LEAST_SIZE), 4)
    return TickBatch(
        bars.symbols,
        np.repeat(bars.symbol_id, 4),
        times,
        times,
        np.arange(4 * n, dtype=np.int64),
        prices.ravel(),
        sizes,
        np.zeros(4 * n, np.bool_),
        0,
    )


def _portions(past: Past) -> list[tuple[int, int]]:
    """Cut the range at whole minutes so that each part has about as many ticks as are read at once."""
    minutes: I8 = np.arange(past.start_ns // _MINUTE_NS, -(-past.end_ns // _MINUTE_NS) + 1) * _MINUTE_NS
    weight = np.zeros(minutes.size - 1)
    for bars in past.bars.values():
        of_ticks = _of_ticks(bars, past.ticks_from_ns)
        at = bars.ts_open_ns // _MINUTE_NS - past.start_ns // _MINUTE_NS
        inside = (at >= 0) & (at < weight.size)
        weight += np.bincount(at[inside], np.where(of_ticks, bars.trades, 4)[inside], weight.size)
    part = (np.cumsum(weight) // _PORTION).astype(np.int64)
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(part)) + 1, [minutes.size - 1]])
    edges = np.clip(minutes[cuts], past.start_ns, past.end_ns)
    return [(a, b) for a, b in pairwise(edges.tolist()) if b > a]


def _of_ticks(bars: BarBatch, ticks_from_ns: int) -> I8:
    """Return which bars' ticks are stored and taken."""
    found: I8 = (bars.origin == Origin.OWN) & (bars.ts_open_ns >= ticks_from_ns)
    return found


def _own(bars: BarBatch) -> BarBatch:
    return bars.take(bars.origin == Origin.OWN)


def _under(ticks: TickBatch, name: str, symbols: Symbols) -> TickBatch:
    """Return one symbol's ticks under a table of symbols."""
    return replace(ticks, symbols=symbols, symbol_id=np.full(len(ticks), symbols.id_of(name), np.int32), void=())
