"""What leaves: the stored trades or bars of some symbols, read a page at a time, wherever one begins.

A page holds ``PAGE`` rows, the last one fewer, so that where it begins and ends follows from the rows alone. A mark
says where a page begins. A fingerprint changes when the rows do; it is found without writing them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from pairscope.gap_flags import gap_flags
from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.market.ticks import TickBatch
from pairscope.ports import TickStore
from pairscope.transfer.export_table import Table, bar_table, joined, tick_table

__all__ = ["PAGE", "BarSource", "Mark", "Page", "Size", "Source", "TickSource", "digest_of_pages"]

PAGE: Final = 131_072
"""Rows of a page."""

MOST_DIGESTED: Final = 4_000_000
"""Rows that are read for a fingerprint; of more there is none."""

_MS: Final = 1_000_000
_SAMPLE: Final = 1_000

Mark = tuple[int | str, ...]
"""Where a page begins: what only the source understands."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, and where the next page begins; None behind the last."""

    table: Table
    following: Mark | None


@dataclass(frozen=True, slots=True)
class Size:
    """How many rows there are, and from when to when (ms; None where there is none). ``exact``: they were counted."""

    rows: int
    first_ms: int | None
    last_ms: int | None
    exact: bool


class Source(Protocol):
    """Rows that can be read page by page, from any mark on."""

    @property
    def asked(self) -> tuple[Hashable, ...]:
        """All that the rows depend on besides what is stored."""
        ...

    async def page(self, mark: Mark | None, *, most: int | None = None) -> Page:
        """Return the first page, or the one at a mark; of ``most`` rows where that is given."""
        ...

    async def fingerprint(self) -> str | None:
        """Return what changes when the rows do; None where that would take too long to say."""
        ...

    async def size(self) -> Size:
        """Return how many rows there are, or about how many."""
        ...


async def digest_of_pages(source: Source) -> str | None:
    """Return a digest of every row; None where there are more than ``MOST_DIGESTED``."""
    digest = hashlib.blake2b(digest_size=16)
    mark: Mark | None = None
    rows = 0
    while rows <= MOST_DIGESTED:
        page = await source.page(mark)
        rows += len(page.table)
        for column in page.table.columns:
            digest.update(np.ascontiguousarray(column.values).tobytes())
            digest.update("\0".join(column.words).encode())
        if page.following is None:
            return digest.hexdigest()
        mark = page.following
    return None


class TickSource:
    """The trades of some symbols in [start, end), symbol by symbol, each by (event time, id)."""

    def __init__(
        self,
        store: TickStore,
        symbols: Sequence[str],
        start_ns: int,
        end_ns: int,
        *,
        everything: bool = False,
        rows: int = PAGE,
    ) -> None:
        self._store = store
        self._symbols = tuple(symbols)
        self._start_ns = start_ns
        self._ends = [end_ns] * len(self._symbols)
        self._everything = everything
        self._rows = rows
        self.asked = ("ticks", self._symbols, start_ns, end_ns, everything)

    async def page(self, mark: Mark | None, *, most: int | None = None) -> Page:
        """Return the first page, or the one at a mark: which symbol, and the time and id of its trade before."""
        at, begin_ns, after_id = map(int, mark or (0, self._start_ns, -1))
        parts: list[Table] = []
        left = self._rows if most is None else most
        while at < len(self._symbols) and left:
            ticks = await self._ticks(at, begin_ns, left, after_id)
            if len(ticks):
                parts.append(self._table(at, ticks))
            left -= len(ticks)
            if left:
                at, begin_ns, after_id = at + 1, self._start_ns, -1
            else:
                begin_ns, after_id = int(ticks.ts_event_ns[-1]), int(ticks.trade_id[-1])
        following = (at, begin_ns, after_id) if at < len(self._symbols) else None
        return Page(joined(parts) if parts else self._table(0, await self._ticks(0, 0, 0, -1)), following)

    async def fingerprint(self) -> str:
        """Return a digest of each symbol's first and last trade and of the holes between them.

        Ids are consecutive where the gap ledger names no hole, and a trade never changes: that is all there is to know.
        From then on what comes behind the last trade is left out.
        """
        known = [str(await self._span(at)) for at in range(len(self._symbols))]
        return hashlib.blake2b("\n".join(known).encode(), digest_size=16).hexdigest()

    async def size(self) -> Size:
        """Return how many trades there are, by their ids and the holes in them; some ids are of no trade."""
        rows, firsts, lasts = 0, [], []
        for at in range(len(self._symbols)):
            span = await self._span(at)
            if span is not None:
                first_ns, last_ns, low, high, holes = span
                rows += high - low + 1 - sum(missing for *_, missing in holes)
                firsts.append(first_ns // _MS)
                lasts.append(last_ns // _MS)
        return Size(rows, min(firsts, default=None), max(lasts, default=None), exact=False)

    async def _span(self, at: int) -> tuple[int, int, int, int, tuple[tuple[int, int, int], ...]] | None:
        """Return a symbol's first and last time, lowest and highest id, and the holes between those."""
        symbol, end_ns = self._symbols[at], self._ends[at]
        first = await self._store.ticks(symbol, self._start_ns, end_ns, limit=_SAMPLE)
        if not len(first):
            return None
        last = await self._store.ticks(symbol, self._start_ns, end_ns, limit=_SAMPLE, newest=True)
        # Neighbours by time may lie the other way round by id, never far apart.
        low, high = int(first.trade_id.min()), int(last.trade_id.max())
        first_ns, last_ns = int(first.ts_event_ns[0]), int(last.ts_event_ns[-1])
        self._ends[at] = min(end_ns, last_ns + 1)
        holes = tuple(
            (gap.from_id, gap.to_id, gap.missing)
            for gap in await self._store.gaps(symbol)
            if gap.status != "repaired" and gap.missing and gap.from_id <= high and gap.to_id >= low
        )
        return first_ns, last_ns, low, high, holes

    async def _ticks(self, at: int, start_ns: int, limit: int, after_id: int) -> TickBatch:
        behind = None if after_id < 0 else after_id
        return await self._store.ticks(self._symbols[at], start_ns, self._ends[at], limit=limit, after_id=behind)

    def _table(self, at: int, ticks: TickBatch) -> Table:
        name = self._symbols[at] if len(self._symbols) > 1 else None
        return tick_table(ticks, name, everything=self._everything)


class BarSource:
    """The closed bars of some symbols that open in [start, end), symbol by symbol, each by time."""

    def __init__(
        self,
        store: TickStore,
        symbols: Sequence[str],
        timeframe: str,
        start_ns: int,
        end_ns: int,
        *,
        everything: bool = False,
        rows: int = PAGE,
    ) -> None:
        self._store = store
        self._symbols = tuple(symbols)
        self._timeframe = timeframe
        self._length = timeframe_ns(timeframe)
        self._start_ns = start_ns
        self._end_ns = end_ns
        self._everything = everything
        self._rows = rows
        self.asked = ("bars", self._symbols, timeframe, start_ns, end_ns, everything)

    async def page(self, mark: Mark | None, *, most: int | None = None) -> Page:
        """Return the first page, or the one at a mark: which symbol, and where its next bar may open."""
        at, begin_ns = map(int, mark or (0, self._start_ns))
        parts: list[Table] = []
        left = self._rows if most is None else most
        while at < len(self._symbols) and left:
            bars = await self._bars(at, begin_ns, left)
            if len(bars):
                parts.append(await self._table(at, bars))
            left -= len(bars)
            at, begin_ns = (at + 1, self._start_ns) if left else (at, int(bars.ts_open_ns[-1]) + self._length)
        following = (at, begin_ns) if at < len(self._symbols) else None
        return Page(joined(parts) if parts else await self._table(0, await self._bars(0, 0, 0)), following)

    async def fingerprint(self) -> str | None:
        """Return a digest of every bar: uploads, back-fills and late trades change bars long closed."""
        newest = [await self._bars(at, self._start_ns, 1, newest=True) for at in range(len(self._symbols))]
        ends = [int(bars.ts_open_ns[-1]) + self._length for bars in newest if len(bars)]
        self._end_ns = min(self._end_ns, max(ends, default=self._end_ns))
        return await digest_of_pages(self)

    async def size(self) -> Size:
        """Return how many bars there are: few are counted, of many as if all were as dense as the first and last."""
        rows, firsts, lasts, exact = 0, [], [], True
        for at in range(len(self._symbols)):
            first = await self._bars(at, self._start_ns, _SAMPLE + 1)
            if not len(first):
                continue
            last = first
            if len(first) > _SAMPLE:
                exact = False
                last = await self._bars(at, self._start_ns, _SAMPLE + 1, newest=True)
                slots = (int(last.ts_open_ns[-1]) - int(first.ts_open_ns[0])) // self._length + 1
                share = 2 * _SAMPLE / (self._slots(first) + self._slots(last))
                rows += max(_SAMPLE + 1, round(slots * min(1.0, share)))
            else:
                rows += len(first)
            firsts.append(int(first.ts_open_ns[0]) // _MS)
            lasts.append(int(last.ts_open_ns[-1]) // _MS)
        return Size(rows, min(firsts, default=None), max(lasts, default=None), exact)

    def _slots(self, bars: BarBatch) -> int:
        return int(bars.ts_open_ns[-1] - bars.ts_open_ns[0]) // self._length

    async def _bars(self, at: int, start_ns: int, limit: int, *, newest: bool = False) -> BarBatch:
        if start_ns >= self._end_ns or not limit:
            return await self._store.bars(self._symbols[at], self._timeframe, 0, 0, limit=1)
        return await self._store.bars(
            self._symbols[at], self._timeframe, start_ns, self._end_ns, limit=limit, newest=newest
        )

    async def _table(self, at: int, bars: BarBatch) -> Table:
        gaps = await gap_flags(self._store, self._symbols[at], bars) if self._everything else None
        return bar_table(bars, self._symbols[at] if len(self._symbols) > 1 else None, gaps=gaps)
