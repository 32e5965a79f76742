"""What the market said in the last seconds, kept where another process stores it: the store has it a moment later."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from time import monotonic_ns
from typing import Any, Final, cast

import numpy as np

from pairscope.market.bars import BarBatch
from pairscope.market.continuity import Admission, Gap
from pairscope.market.ticks import TickBatch
from pairscope.ports import Clock, Document, StoreStats, SymbolSummary
from pairscope.storage.buffered_store import BufferedStore, laid_over
from pairscope.storage.parcel import Parcel
from pairscope.storage.rebuilds import COLLECTION, Rebuild
from pairscope.storage.tick_storage import Store, StoreWriter

__all__ = ["RecentParcels", "RecentStore", "documents_only"]

KEPT_NS: Final = 5_000_000_000
MOST_ROWS: Final = 250_000
"""Ticks that are kept at most: five seconds of the whole market at its liveliest."""
BEHIND_NS: Final = 10_000_000_000
"""So far behind the market a shard's store is at most, as a rule; ranges are made anew behind that."""


class RecentParcels:
    """Takes batches as a store's writer does, and stores none of them: a shard's process does that.

    What came of them for records goes to ``documents``, in order; ticks and bars of the last ``kept_ns`` stay in sight
    for readers of a store that is a moment behind. At most ``most_rows`` ticks are kept; more push out the oldest.
    """

    def __init__(
        self,
        documents: StoreWriter,
        settle: Callable[[Gap], Awaitable[None]],
        *,
        kept_ns: int = KEPT_NS,
        most_rows: int = MOST_ROWS,
        clock: Clock = monotonic_ns,
    ) -> None:
        self._documents = documents
        self._settle = settle
        self._kept_ns = kept_ns
        self._most_rows = most_rows
        self._clock = clock
        self._parcels: deque[tuple[int, Parcel]] = deque()
        self._rows = 0
        self._told_ns = 0
        self._pushed_out = 0

    async def put(
        self,
        batch: TickBatch,
        bars: Sequence[BarBatch] = (),
        rebuild: Sequence[Rebuild] = (),
        *,
        documents: Sequence[Document] = (),
        hurry: bool = False,
    ) -> None:
        """Keep a batch in sight and hand its documents on; what is to be rebuilt is the shard's to do."""
        del rebuild
        now_ns = self._clock()
        if len(batch) or bars:
            self._parcels.append((now_ns, Parcel(batch, tuple(bars))))
            self._rows += len(batch)
        while self._parcels and (self._parcels[0][0] < now_ns - self._kept_ns or self._rows > self._most_rows):
            came_ns, parcel = self._parcels.popleft()
            self._rows -= len(parcel.batch)
            self._pushed_out += came_ns >= now_ns - self._kept_ns
        if documents or now_ns - self._told_ns > 1_000_000_000:
            self._told_ns = now_ns
            time_alone = TickBatch.empty(batch.symbols, max(0, batch.watermark_ns - BEHIND_NS))
            await self._documents.put(time_alone, documents=documents, hurry=hurry)

    def waiting(self) -> list[Parcel]:
        """Return what came lately, oldest first."""
        oldest_ns = self._clock() - self._kept_ns
        return [parcel for came_ns, parcel in self._parcels if came_ns >= oldest_ns]

    async def settle(self, gap: Gap) -> None:
        """Write a verdict on a gap straight into the store."""
        await self._settle(gap)

    async def close(self) -> None:
        """Write the documents that wait."""
        await self._documents.close()

    def counters(self) -> Mapping[str, int]:
        """Return how much is in sight, and how many batches were pushed out before their time."""
        return {"batches": len(self._parcels), "rows": self._rows, "pushed_out_total": self._pushed_out}


class RecentStore(BufferedStore):
    """``TickStore`` for readers over :class:`RecentParcels`: what is in sight may be in the store as well."""

    def __init__(self, store: Store, recent: RecentParcels) -> None:
        super().__init__(store, recent)
        self._recent = recent

    async def symbols(self) -> list[SymbolSummary]:
        """Every symbol that has ticks or bars, by name; counted are stored ticks, of a new symbol those in sight."""
        waiting = self._recent.waiting()
        return laid_over(await self._store.symbols(), waiting, counted=False)

    async def stats(self) -> StoreStats:
        """The store's size."""
        return await self._store.stats()


def documents_only(store: Store) -> Store:
    """Return a store's face for the writer of a process that stores no ticks: documents, and bars made anew.

    What the shards have left to be made anew is theirs.
    """
    return cast("Store", _DocumentsOnly(store))


class _DocumentsOnly:
    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(
        self, batch: TickBatch, bars: Sequence[BarBatch] = (), documents: Sequence[Document] = ()
    ) -> Admission:
        del bars
        if documents:
            await self._store.put_many(documents)
        return Admission(np.zeros(len(batch), np.bool_), 0, ())

    async def scan(self, collection: str, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        if collection != COLLECTION:
            async for key, document in self._store.scan(collection, after):
                yield key, document
