"""The warm start of a replica: an engine that stands where the store ends, while others write into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, cast

import numpy as np

from pairscope.engine.data_processor import DataProcessor
from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.market.continuity import Continuity
from pairscope.market.ticks import B1, TickBatch
from pairscope.pipeline import warm_start
from pairscope.ports import SymbolSummary, TickStore

__all__ = ["start_engine"]

BEHIND_NS: Final = 30_000_000_000
"""The engine starts so far behind the store's watermark: of the shards that write, one is a little behind another.

A shard that has been away for longer makes the bars that were open then by itself when it is back.
"""


async def start_engine(engine: DataProcessor, store: TickStore) -> Continuity:
    """Bring an engine to where the store ends, and return the ledger of exactly those ids that it has had.

    What is stored while this reads is left out, by its ids; the stream brings it.
    """
    ledger = await store.continuity()
    await warm_start(engine, cast("TickStore", _Frozen(store, ledger)))
    return ledger


class _Frozen:
    """A store as it was when its ledger was read, with the watermark that all who write have passed."""

    def __init__(self, store: TickStore, ledger: Continuity) -> None:
        self._store = store
        self._ledger = ledger
        self._watermark_ns: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def watermark_ns(self) -> int:
        if self._watermark_ns is None:
            newest_ns = await self._store.watermark_ns()
            self._watermark_ns = max(0, newest_ns - BEHIND_NS)
        return self._watermark_ns

    async def symbols(self) -> list[SymbolSummary]:
        return await self._store.symbols()

    async def base_bars(self, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        """Bars that had closed at the watermark; the later ones are made of ticks."""
        length_ns = timeframe_ns(timeframe)
        closed_ns = await self.watermark_ns() // length_ns * length_ns
        return await self._store.base_bars(timeframe, start_ns, min(end_ns, closed_ns))

    async def ticks_since(self, start_ns: int) -> AsyncIterator[TickBatch]:
        async for batch in self._store.ticks_since(start_ns):
            if len(batch):
                yield batch.take(self._known(batch))

    async def ticks(self, symbol: str, start_ns: int, end_ns: int, **how: Any) -> TickBatch:
        batch = await self._store.ticks(symbol, start_ns, end_ns, **how)
        return batch.take(self._known(batch)) if len(batch) else batch

    def _known(self, batch: TickBatch) -> B1:
        """Which ticks the ledger has: below its next id, and in none of its holes."""
        first_and_next = self._ledger.bounds(batch.symbols)
        known: B1 = batch.trade_id < first_and_next[1][batch.symbol_id]
        for symbol_id in np.unique(batch.symbol_id).tolist():
            for _, ranges in self._ledger.unrepaired(batch.symbols[symbol_id]):
                for low, high in ranges:
                    known &= ~((batch.symbol_id == symbol_id) & (batch.trade_id >= low) & (batch.trade_id <= high))
        return known
