"""A store as its readers want it: what waits in the writer laid over what is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from pairscope.market.bars import BASE_TIMEFRAMES, BarBatch, BarOutcomes, Origin, concat_bars, timeframe_ns
from pairscope.market.continuity import Admission, Continuity, Gap, HeldIds
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1, TickBatch, concat_ticks
from pairscope.ports import Document, StoreStats, SymbolSummary, TickStore, UploadedSpan
from pairscope.storage.bar_reading import OwnTime, assembled, base_of, lengthen
from pairscope.storage.parcel import Parcel

__all__ = ["BufferedStore", "Holding", "laid_over"]


class Holding(Protocol):
    """Who holds what the store does not have yet."""

    def waiting(self) -> list[Parcel]:
        """Return it, oldest first."""
        ...

    async def settle(self, gap: Gap) -> None:
        """Take a verdict on a gap."""
        ...

    async def close(self) -> None:
        """Let go of it in order."""
        ...


class BufferedStore:
    """``TickStore`` for readers: every tick and closed bar that the writer was given is seen at once.

    What waits is about a second of data, so laying it over costs little. Gaps, ``base_bars``, ``ticks_since``,
    ``ticks_received`` and ``continuity`` are the store's own: they are for a start, when nothing waits, and for what is
    looked at again later.
    """

    def __init__(self, store: TickStore, writer: Holding) -> None:
        self._store = store
        self._writer = writer

    async def ticks(
        self, symbol: str, start_ns: int, end_ns: int, *, limit: int, after_id: int | None = None, newest: bool = False
    ) -> TickBatch:
        """Ticks of one symbol by (event time, trade id); ``after_id`` continues behind that trade id."""
        waiting = [parcel.batch.of_symbol(symbol) for parcel in self._writer.waiting()]
        stored = await self._store.ticks(symbol, start_ns, end_ns, limit=limit, after_id=after_id, newest=newest)
        parts = [part for part in waiting if len(part)]
        if not parts:
            return stored
        symbols = Symbols([symbol])
        both = concat_ticks(
            [replace(p, symbols=symbols, symbol_id=np.zeros(len(p), np.int32), void=()) for p in (stored, *parts)]
        )
        inside = (both.ts_event_ns >= start_ns) & (both.ts_event_ns < end_ns)
        if after_id is not None:
            inside &= _behind(both, after_id)
        both = both.take(inside)
        _, once = np.unique(both.trade_id, return_index=True)
        both = both.take(once)
        both = both.take(np.lexsort((both.trade_id, both.ts_event_ns)))
        return both.take(slice(max(len(both) - limit, 0), None) if newest else slice(limit))

    async def bars(
        self, symbol: str, timeframe: str, start_ns: int, end_ns: int, *, limit: int, newest: bool = False
    ) -> BarBatch:
        """Closed bars of any timeframe, oldest first."""
        base, length = base_of(timeframe), timeframe_ns(timeframe)
        waiting, watermark_ns = self._waiting_bars(symbol, base)
        stored_ns = await self._store.watermark_ns()
        if not len(waiting) and watermark_ns // length <= stored_ns // length:
            return await self._store.bars(symbol, timeframe, start_ns, end_ns, limit=limit, newest=newest)
        oldest = int(waiting.ts_open_ns.min()) if len(waiting) else stored_ns
        cut = min(oldest, stored_ns) // length * length
        first, last = -(-start_ns // length) * length, -(-end_ns // length) * length
        cut = min(max(cut, first), last)
        tail = await self._tail(symbol, timeframe, cut, last, waiting, max(watermark_ns, stored_ns))
        if newest and len(tail) >= limit:
            return tail.take(slice(len(tail) - limit, None))
        left = limit - len(tail) if newest else limit
        head = await self._store.bars(symbol, timeframe, first, cut, limit=left, newest=newest)
        joined = concat_bars([head.in_table(tail.symbols), tail])
        return joined if newest else joined.take(slice(limit))

    def _waiting_bars(self, symbol: str, base: str) -> tuple[BarBatch, int]:
        """Return a symbol's waiting base bars, the last version of each, and the newest waiting watermark."""
        table = Symbols([symbol])
        found = [BarBatch.empty(table, base)]
        watermark_ns = 0
        for parcel in self._writer.waiting():
            watermark_ns = max(watermark_ns, parcel.batch.watermark_ns)
            found += [bars.of_symbol(symbol).in_table(table) for bars in parcel.bars if bars.timeframe == base]
        return _last_of_each(concat_bars(found)), watermark_ns

    async def _tail(
        self, symbol: str, timeframe: str, start_ns: int, end_ns: int, waiting: BarBatch, watermark_ns: int
    ) -> BarBatch:
        """Return the closed bars of a range that waiting base bars may change, made anew from base bars."""
        base, length = base_of(timeframe), timeframe_ns(timeframe)
        count = max((end_ns - start_ns) // timeframe_ns(base), 1)
        stored = await self._store.bars(symbol, base, start_ns, end_ns, limit=count)
        inside = (waiting.ts_open_ns >= start_ns) & (waiting.ts_open_ns < end_ns)
        both = concat_bars([stored.in_table(waiting.symbols), waiting.take(inside)])
        both = _last_of_each(both)
        made = lengthen(both, timeframe)
        newest_end = int(both.ts_open_ns.max(initial=-length)) + timeframe_ns(base)
        if timeframe != base and not set(await self._store.kept_timeframes(symbol)) <= set(BASE_TIMEFRAMES):
            kept = await self._store.bars(symbol, timeframe, start_ns, end_ns, limit=count)
            longer = _longer_uploads(kept.in_table(made.symbols), made)
            made = assembled({base: both, timeframe: longer}, timeframe, OwnTime())
        return made.take(made.ts_open_ns + length <= max(watermark_ns, newest_end))

    async def symbols(self) -> list[SymbolSummary]:
        """Every symbol that has ticks or bars, by name."""
        waiting = self._writer.waiting()
        return laid_over(await self._store.symbols(), waiting)

    async def watermark_ns(self) -> int:
        """The watermark of the last batch that the writer was given."""
        waiting = [parcel.batch.watermark_ns for parcel in self._writer.waiting()]
        return max([await self._store.watermark_ns(), *waiting])

    async def stats(self) -> StoreStats:
        """The store's size, what waits included."""
        waiting = self._writer.waiting()
        stats = await self._store.stats()
        ticks = sum(len(parcel.batch) for parcel in waiting)
        bars = sum(len(bars) for parcel in waiting for bars in parcel.bars)
        return replace(stats, ticks=stats.ticks + ticks, bars=stats.bars + bars)

    async def append(
        self, batch: TickBatch, bars: Sequence[BarBatch] = (), documents: Sequence[Document] = ()
    ) -> Admission:
        """Store a batch past the writer; see ``TickStore.append``."""
        return await self._store.append(batch, bars, documents)

    async def add_older(self, batch: TickBatch) -> Admission:
        """Store trades that the live stream did not bring, past the writer; see ``TickStore.add_older``."""
        return await self._store.add_older(batch)

    async def put_bars(self, bars: BarBatch) -> int:
        """Store bars that no own tick made; return how many rows changed."""
        return await self._store.put_bars(bars)

    async def put_bars_all(self, batches: Sequence[BarBatch], documents: Sequence[Document] = ()) -> list[BarOutcomes]:
        """Store several batches of bars, and documents, in one transaction; return what came of each bar."""
        return await self._store.put_bars_all(batches, documents)

    async def covered(self, bars: BarBatch) -> B1:
        """Which bars stored own ticks cover wholly."""
        return await self._store.covered(bars)

    async def remove_bars(self, symbol: str, timeframe: str | None, origin: Origin) -> int:
        """Remove a symbol's bars of one origin, of one timeframe or of all; return how many."""
        return await self._store.remove_bars(symbol, timeframe, origin)

    async def uploaded(self) -> list[UploadedSpan]:
        """What was uploaded, by (symbol, length of timeframe)."""
        return await self._store.uploaded()

    async def kept_timeframes(self, symbol: str) -> tuple[str, ...]:
        """The timeframes under which bars of a symbol are stored, the shortest first."""
        return await self._store.kept_timeframes(symbol)

    async def rebuild_bars(self, symbol: str, start_ns: int, end_ns: int) -> list[BarBatch]:
        """Recompute a symbol's closed base bars from its stored ticks; store and return those that differ."""
        return await self._store.rebuild_bars(symbol, start_ns, end_ns)

    async def base_bars(self, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        """Stored base bars of every symbol in a range."""
        return await self._store.base_bars(timeframe, start_ns, end_ns)

    def ticks_since(self, start_ns: int) -> AsyncIterator[TickBatch]:
        """Every symbol's stored ticks from an event time on."""
        return self._store.ticks_since(start_ns)

    def ticks_received(self, start_ns: int, end_ns: int) -> AsyncIterator[TickBatch]:
        """Every symbol's stored ticks that were received in a range."""
        return self._store.ticks_received(start_ns, end_ns)

    async def continuity(self) -> Continuity:
        """A fresh ledger that stands where the stored ticks end."""
        return await self._store.continuity()

    async def gaps(self, symbol: str | None = None, *, unrepaired: bool = False) -> list[Gap]:
        """The gap ledger, by (symbol, from_id); all of it, or what still lacks ids."""
        return await self._store.gaps(symbol, unrepaired=unrepaired)

    async def held(self, symbol: str | None = None) -> list[HeldIds]:
        """The intervals of consecutive trade ids that are stored, by (symbol, from_id)."""
        return await self._store.held(symbol)

    async def settle_gap(self, gap: Gap) -> None:
        """Queue a gap's verdict behind the ticks that revealed it."""
        await self._writer.settle(gap)

    async def close(self) -> None:
        """Write what waits and close the store."""
        await self._writer.close()
        await self._store.close()


def _longer_uploads(kept: BarBatch, made: BarBatch) -> BarBatch:
    """Return those of a store's bars that come of longer uploads: no upload went into those made of base bars."""
    longer = kept.take(kept.origin == Origin.UPLOAD)
    return longer.take(~np.isin(longer.ts_open_ns, made.ts_open_ns[made.origin == Origin.UPLOAD]))


def _behind(batch: TickBatch, after_id: int) -> B1:
    """Which ticks come after a trade id in the order of (event time, trade id)."""
    at = batch.ts_event_ns[batch.trade_id == after_id]
    if not at.size:
        return np.asarray(batch.trade_id > after_id)
    return np.asarray((batch.ts_event_ns > at[0]) | ((batch.ts_event_ns == at[0]) & (batch.trade_id > after_id)))


def laid_over(
    stored: Sequence[SymbolSummary], waiting: Sequence[Parcel], *, counted: bool = True
) -> list[SymbolSummary]:
    """Return summaries, by name, with the ticks that wait; ``counted=False`` where those may be stored already."""
    found = {summary.symbol: summary for summary in stored}
    for name, count, first, last in _spans([parcel.batch for parcel in waiting]):
        known = found.get(name)
        total = count if known is None else known.tick_count + count * counted
        since, until = (first, last) if known is None else (min(known.first_ns, first), max(known.last_ns, last))
        found[name] = SymbolSummary(name, total, since, until)
    return [found[name] for name in sorted(found)]


def _spans(batches: Sequence[TickBatch]) -> Iterator[tuple[str, int, int, int]]:
    """Yield name, count, first and last time of each symbol, once for each table of symbols. O(ticks)."""
    tables: dict[int, list[TickBatch]] = {}
    for batch in batches:
        if len(batch):
            tables.setdefault(id(batch.symbols), []).append(batch)
    for of_table in tables.values():
        ids = np.concatenate([batch.symbol_id for batch in of_table])
        times = np.concatenate([batch.ts_event_ns for batch in of_table])
        counts = np.bincount(ids)
        first = np.full(len(counts), np.iinfo(np.int64).max)
        last = np.full(len(counts), np.iinfo(np.int64).min)
        np.minimum.at(first, ids, times)
        np.maximum.at(last, ids, times)
        for symbol_id in np.flatnonzero(counts).tolist():
            name = of_table[0].symbols[symbol_id]
            yield name, int(counts[symbol_id]), int(first[symbol_id]), int(last[symbol_id])


def _last_of_each(bars: BarBatch) -> BarBatch:
    """Return a symbol's bars by time, of several versions the one of most ticks and highest revision."""
    order = np.lexsort((bars.revision, bars.trades, bars.ts_open_ns))
    times = bars.ts_open_ns[order]
    last = np.ones(order.size, np.bool_)
    last[:-1] = times[1:] != times[:-1]
    return bars.take(order[last])
