"""A shard's share of a store that holds the whole market: its symbols, bars, ledger and what it left to be rebuilt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, cast

import numpy as np

from pairscope.market.bars import BarBatch
from pairscope.market.continuity import Continuity
from pairscope.market.ticks import TickBatch
from pairscope.ports import SymbolSummary
from pairscope.sharding import Shard, shard_of
from pairscope.storage.rebuilds import COLLECTION
from pairscope.storage.tick_storage import Store

__all__ = ["share_of"]

LATENESS_NS: Final = 60_000_000_000
"""The watermark of a share stands so far behind its newest tick at least: bars of that time are made anew."""


def share_of(store: Store, shard: Shard) -> Store:
    """Return a store that shows of what the whole market has only a shard's symbols; it writes as it is told.

    What other shards write must not be taken up by a warm start, repaired or rebuilt a second time here. The
    watermark is that of the shard's own ticks: another shard's may have gone on while this one stood still, and bars
    that were open then are made by nobody else.
    """
    return store if shard.count == 1 else cast("Store", _Share(store, shard))


class _Share:
    def __init__(self, store: Store, shard: Shard) -> None:
        self._store = store
        self._shard = shard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _mine(self, symbol: str) -> bool:
        return shard_of(symbol, self._shard.count) == self._shard.index

    async def symbols(self) -> list[SymbolSummary]:
        return [summary for summary in await self._store.symbols() if self._mine(summary.symbol)]

    async def base_bars(self, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        bars = await self._store.base_bars(timeframe, start_ns, end_ns)
        mine = np.array([self._mine(symbol) for symbol in bars.symbols], np.bool_)
        return bars.take(mine[bars.symbol_id]) if len(bars) else bars

    async def ticks_since(self, start_ns: int) -> AsyncIterator[TickBatch]:
        async for batch in self._store.ticks_since(start_ns):
            mine = np.array([self._mine(symbol) for symbol in batch.symbols], np.bool_)
            if len(batch):
                yield batch.take(mine[batch.symbol_id])

    async def continuity(self) -> Continuity:
        ledger = await self._store.continuity()
        for summary in await self._store.symbols():
            if not self._mine(summary.symbol):
                ledger.forget(summary.symbol)
        return ledger

    async def watermark_ns(self) -> int:
        newest_ns = max((summary.last_ns for summary in await self.symbols() if summary.tick_count), default=0)
        return min(await self._store.watermark_ns(), max(0, newest_ns - LATENESS_NS))

    async def scan(self, collection: str, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        async for key, document in self._store.scan(collection, after):
            if collection != COLLECTION or self._mine(key):
                yield key, document
