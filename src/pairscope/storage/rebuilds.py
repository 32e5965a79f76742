"""Ranges whose bars are to be made anew from stored ticks: merged, bounded, and remembered across a crash."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from pairscope.market.bars import BarBatch
from pairscope.ports import Records, TickStore

__all__ = ["Made", "Rebuild", "Rebuilds"]

Rebuild = tuple[str, int, int]
"""A symbol and the range [start_ns, end_ns) whose bars are to be made anew."""

COLLECTION: Final = "rebuilds"
MINUTE_NS: Final = 60_000_000_000
MAX_RANGES: Final = 64
"""Ranges of one symbol that are kept apart; more become one, which costs time and never a bar."""

_Ranges = list[tuple[int, int]]


class Made(NamedTuple):
    """What a rebuild came to: how many stored bars changed, and what is to be told of them."""

    revised: int
    told: list[BarBatch]


class Rebuilds:
    """A queue of ranges, in order of first mention, beside a record for each symbol that has any.

    The record is written before the ticks that it is about and removed after the bars: a crash in between repeats a
    rebuild, which changes nothing, and forgets none.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._ranges: dict[str, _Ranges] = {}

    def __len__(self) -> int:
        return sum(len(ranges) for ranges in self._ranges.values())

    async def load(self) -> None:
        """Take up what an earlier run left."""
        async for symbol, document in self._records.scan(COLLECTION):
            self._ranges[symbol] = msgspec.msgpack.decode(document, type=_Ranges)

    async def announce(self, ranges: Iterable[Rebuild]) -> None:
        """Remember ranges whose ticks are about to be stored."""
        for symbol, merged in self._with(ranges).items():
            await self._records.put(COLLECTION, symbol, msgspec.msgpack.encode(merged))

    def add(self, ranges: Iterable[Rebuild]) -> None:
        """Queue ranges whose ticks are stored now."""
        self._ranges.update(self._with(ranges))

    def first(self, until_ns: int) -> Rebuild | None:
        """Return the range to rebuild next; only minutes that end by ``until_ns``, the others are still open."""
        closed_ns = until_ns // MINUTE_NS * MINUTE_NS
        for symbol, ranges in self._ranges.items():
            start, end = ranges[0]
            if start < closed_ns:
                return symbol, start, min(end, closed_ns)
        return None

    async def make_first(self, store: TickStore, until_ns: int) -> Made | None:
        """Rebuild the range that has waited longest and forget it; None where none is to be rebuilt yet.

        Its minutes are told even where they did not change, because the store may have kept the exchange's bars.
        """
        if (range_ := self.first(until_ns)) is None:
            return None
        symbol, start_ns, end_ns = range_
        low, high = start_ns // MINUTE_NS * MINUTE_NS, -(-end_ns // MINUTE_NS) * MINUTE_NS
        revised = await store.rebuild_bars(*range_)
        minutes = await store.bars(symbol, "1m", low, high, limit=max((high - low) // MINUTE_NS, 1))
        await self.done(range_)
        told = [bars for bars in (*revised, minutes) if len(bars) and (bars is minutes or bars.timeframe != "1m")]
        return Made(sum(len(bars) for bars in revised), told)

    async def done(self, rebuilt: Rebuild) -> None:
        """Forget a range that was rebuilt."""
        symbol, first, last = rebuilt
        parts = (
            part for low, high in self._ranges[symbol] for part in ((low, min(high, first)), (max(low, last), high))
        )
        left = [part for part in parts if part[0] < part[1]]
        del self._ranges[symbol]
        if left:
            self._ranges[symbol] = left
            await self._records.put(COLLECTION, symbol, msgspec.msgpack.encode(left))
        else:
            await self._records.delete(COLLECTION, symbol)

    def _with(self, ranges: Iterable[Rebuild]) -> dict[str, _Ranges]:
        """Return the ranges of the symbols that are mentioned, old and new together."""
        grown: dict[str, _Ranges] = {}
        for symbol, start, end in ranges:
            grown.setdefault(symbol, list(self._ranges.get(symbol, ()))).append((start, end))
        return {symbol: _merged(held) for symbol, held in grown.items()}


def _merged(ranges: _Ranges) -> _Ranges:
    """Join ranges that touch; where too many are left, all of them."""
    merged: _Ranges = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged if len(merged) <= MAX_RANGES else [(merged[0][0], merged[-1][1])]
