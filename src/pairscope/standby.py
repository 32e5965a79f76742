"""In front of a shard's writer and stream: what comes is passed on while active, and remembered while not."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import structlog

from pairscope.market.bars import BarBatch
from pairscope.market.continuity import Continuity, Gap
from pairscope.market.ticks import TickBatch
from pairscope.ports import Cache, Document
from pairscope.storage.parcel import BatchWriter, Parcel
from pairscope.storage.rebuilds import Rebuild

__all__ = ["CacheWhileActive", "Standby", "Writer"]

_log = structlog.get_logger(__name__)

MAX_ROWS: Final = 2_000_000
"""Ticks that are remembered at most, 120 MB of them; the oldest go first."""


class Writer(BatchWriter, Protocol):
    """Who brings batches and verdicts into the store."""

    async def settle(self, gap: Gap) -> None:
        """Queue a verdict on a gap behind the ticks that revealed it."""
        ...


class Standby:
    """Takes a shard's batches like a writer; begins by standing by.

    While active, a batch goes to the writer and then to ``publish``. Else it is remembered, ``keep_s`` seconds long and
    ``max_rows`` ticks at most, the oldest forgotten first (``forgotten_rows`` counts what the bound took, not what was
    old enough). ``take_over`` passes on what is remembered, in order, and then whatever comes. What the store holds
    already is left out where its ledger is given; without it everything goes, which changes nothing either: a trade is
    stored once, whoever sends it. Order is that of the calls. ``clock`` is monotonic seconds.
    """

    def __init__(
        self,
        writer: Writer,
        publish: Callable[[Parcel], Awaitable[None]],
        *,
        keep_s: float = 60.0,
        max_rows: int = MAX_ROWS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._publish = publish
        self._keep_s = keep_s
        self._max_rows = max_rows
        self._clock = clock
        self._kept: deque[tuple[float, Parcel]] = deque()
        self._rows = 0
        self._order = asyncio.Lock()
        self._counters = dict.fromkeys(("passed_rows", "forgotten_rows", "promotions", "demotions", "taken_rows"), 0)
        self.active = False

    async def put(
        self,
        batch: TickBatch,
        bars: Sequence[BarBatch] = (),
        rebuild: Sequence[Rebuild] = (),
        *,
        documents: Sequence[Document] = (),
        hurry: bool = False,
    ) -> None:
        """Pass a batch on, or remember it."""
        await self._take(Parcel(batch, tuple(bars), tuple(rebuild), documents=tuple(documents)), hurry=hurry)

    async def settle(self, gap: Gap, batch: TickBatch) -> None:
        """Pass a verdict on a gap on, or remember it; ``batch`` is an empty one of the stream."""
        await self._take(Parcel(batch, verdicts=(gap,)))

    async def take_over(self, held: Continuity | None = None) -> int:
        """Become active: pass on what is remembered; return how many ticks of it the store did not hold.

        ``held`` is the store's ledger, which is used up; None where the store does not say.
        """
        async with self._order:
            rows = 0
            while self._kept:
                _, parcel = self._kept.popleft()
                parcel = _lacking(parcel, held)
                if len(parcel.batch) or parcel.bars or parcel.rebuild or parcel.verdicts or parcel.documents:
                    rows += len(parcel.batch)
                    await self._pass_on(parcel)
            self._rows = 0
            self.active = True
            self._counters["promotions"] += 1
            self._counters["taken_rows"] += rows
        _log.info("became_active", rows=rows)
        return rows

    async def stand_by(self) -> None:
        """Pass nothing on any more; what was passed on before takes its way."""
        async with self._order:
            if self.active:
                self.active = False
                self._counters["demotions"] += 1
                _log.warning("stands_by")

    def counters(self) -> Mapping[str, Any]:
        """Return what is remembered now, and what has been passed on, forgotten and taken over since the start."""
        first_s = self._kept[0][0] if self._kept else self._clock()
        remembered = {"kept_rows": self._rows, "kept_batches": len(self._kept), "capacity_rows": self._max_rows}
        return {**self._counters, **remembered, "kept_seconds": round(self._clock() - first_s, 3)}

    async def _take(self, parcel: Parcel, *, hurry: bool = False) -> None:
        async with self._order:
            if self.active:
                await self._pass_on(parcel, hurry=hurry)
            else:
                self._keep(parcel)

    async def _pass_on(self, parcel: Parcel, *, hurry: bool = False) -> None:
        writer = self._writer
        if len(parcel.batch) or not parcel.verdicts:
            await writer.put(parcel.batch, parcel.bars, parcel.rebuild, documents=parcel.documents, hurry=hurry)
        for gap in parcel.verdicts:
            await writer.settle(gap)
        self._counters["passed_rows"] += len(parcel.batch)
        await self._publish(parcel)

    def _keep(self, parcel: Parcel) -> None:
        """Remember a parcel, and forget what is too old or too much."""
        now_s = self._clock()
        self._kept.append((now_s, parcel))
        self._rows += len(parcel.batch)
        while self._kept and (self._rows > self._max_rows or self._kept[0][0] < now_s - self._keep_s):
            kept_s, oldest = self._kept.popleft()
            self._rows -= len(oldest.batch)
            if kept_s >= now_s - self._keep_s:
                self._counters["forgotten_rows"] += len(oldest.batch)


def _lacking(parcel: Parcel, held: Continuity | None) -> Parcel:
    """Return a parcel without the ticks that a ledger has; the ledger takes the others up."""
    if held is None or not len(parcel.batch):
        return parcel
    admission = held.admit(parcel.batch)
    if not admission.repeats:
        return parcel
    batch = parcel.batch.take(np.asarray(admission.new, np.bool_))
    return Parcel(batch, parcel.bars, parcel.rebuild, parcel.verdicts, parcel.documents)


class CacheWhileActive:
    """A cache that only the active process of a shard writes to (port ``Cache``)."""

    def __init__(self, cache: Cache, active: Callable[[], bool]) -> None:
        self._cache = cache
        self._active = active

    async def put_many(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        """Keep values, where active."""
        if self._active():
            await self._cache.put_many(values, ttl_s)

    async def get(self, key: str) -> bytes | None:
        """Return a key's value."""
        return await self._cache.get(key)

    async def push(self, key: str, value: bytes, keep: int) -> None:
        """Put a value at the head of a list, where active."""
        if self._active():
            await self._cache.push(key, value, keep)

    async def add(self, key: str, members: Sequence[str]) -> None:
        """Put members into a set, where active."""
        if self._active():
            await self._cache.add(key, members)
