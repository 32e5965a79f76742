"""What the store refuses for good, however often it is asked: taken apart, and the pieces at fault kept aside."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog

from pairscope.errors import StoreRefused
from pairscope.market.bars import BarBatch
from pairscope.market.continuity import Admission, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document, TickStore
from pairscope.storage.parcel import Parcel
from pairscope.storage.spool import record_of

__all__ = ["Refusals"]

_log = structlog.get_logger(__name__)

TRIES: Final = 3
"""So often in a row a batch is refused before it is taken apart: another writer may have been in the way."""


class Refusals:
    """The way into a store, which one batch that it will never take does not block.

    What was refused ``TRIES`` times in a row goes in by its pieces: the ticks of each symbol, the bars of each
    timeframe, each document. The pieces that are refused again become files of ``directory``, in the spool's form and
    of at most ``max_bytes`` together; beyond that they are given up. Both are counted and logged. The ids of ticks that
    lie there are a hole, which a back-fill repairs where it can.
    """

    def __init__(self, store: TickStore, directory: Path, *, max_bytes: int = 64 << 20) -> None:
        self._store = store
        self._directory = directory
        self._max_bytes = max_bytes
        self._in_a_row = 0
        self._counters = dict.fromkeys(("refused_parcels", "refused_rows", "refused_lost"), 0)

    async def append(self, batch: TickBatch, bars: Sequence[BarBatch], documents: Sequence[Document]) -> Admission:
        """Do as ``TickStore.append``; raises ``StoreRefused`` as long as another try may help."""
        try:
            admission = await self._store.append(batch, bars, documents)
        except StoreRefused:
            if not self._is_final():
                raise
        else:
            self._in_a_row = 0
            return admission
        for piece in _pieces(batch, bars, documents):
            try:
                await self._store.append(piece.batch, piece.bars, piece.documents)
            except StoreRefused as error:
                await self._keep(piece, error)
        self._in_a_row = 0
        return Admission(np.zeros(len(batch), np.bool_), 0, ())

    async def settle_gap(self, gap: Gap) -> None:
        """Do as ``TickStore.settle_gap``; raises ``StoreRefused`` as long as another try may help."""
        try:
            await self._store.settle_gap(gap)
        except StoreRefused as error:
            if not self._is_final():
                raise
            await self._keep(Parcel(TickBatch.empty(Symbols(), 0), verdicts=(gap,)), error)
        self._in_a_row = 0

    def counters(self) -> Mapping[str, int]:
        """Return how many pieces were refused for good, how many ticks they had, and how many of them were given up."""
        return self._counters

    def status(self) -> Mapping[str, Any]:
        """Return the check of health: degraded as long as there is something that a person should look at."""
        count = len(self._files())
        if not count:
            return {"status": "ok"}
        return {"status": "degraded", "reason": f"{count} refused for good: see the log, and {self._directory}"}

    def _is_final(self) -> bool:
        self._in_a_row += 1
        return self._in_a_row >= TRIES

    async def _keep(self, piece: Parcel, error: StoreRefused) -> None:
        """Keep a piece on the disk, or give it up where there is no room for it."""
        self._counters["refused_parcels"] += 1
        self._counters["refused_rows"] += len(piece.batch)
        told = {
            "symbols": sorted({piece.batch.symbols[k] for k in np.unique(piece.batch.symbol_id).tolist()}),
            "rows": len(piece.batch),
            "bars": sum(len(bars) for bars in piece.bars),
            "documents": [f"{each.collection}/{each.key}" for each in piece.documents],
        }
        try:
            path = await asyncio.to_thread(self._written, record_of(piece))
        except OSError as failure:
            self._counters["refused_lost"] += 1
            _log.error("the store refuses this for good, and it is lost", error=str(error), why=str(failure), **told)
        else:
            _log.error("the store refuses this for good, and it is kept aside", error=str(error), path=path, **told)

    def _written(self, record: bytes) -> str:
        files = self._files()
        size = sum(path.stat().st_size for path in files)
        if size + len(record) > self._max_bytes:
            raise OSError(f"{self._directory} holds {size} bytes, at most {self._max_bytes}")
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"{max((int(each.stem) for each in files), default=0) + 1:010d}.spool"
        with path.open("wb") as file:
            file.write(record)
            file.flush()
            os.fsync(file.fileno())
        return str(path)

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.spool"))


def _pieces(batch: TickBatch, bars: Sequence[BarBatch], documents: Sequence[Document]) -> Iterator[Parcel]:
    """Take a parcel apart; the time that it brings comes last, when its ticks have had their turn."""
    for symbol_id in np.unique(np.r_[batch.symbol_id, [pair[0] for pair in batch.void]]).astype(np.int32).tolist():
        void = tuple(pair for pair in batch.void if pair[0] == symbol_id)
        yield Parcel(replace(batch.take(batch.symbol_id == symbol_id), void=void).with_watermark(0))
    nothing = TickBatch.empty(batch.symbols, 0)
    for each in bars:
        yield Parcel(nothing, (each,))
    for document in documents:
        yield Parcel(nothing, documents=(document,))
    yield Parcel(nothing.with_watermark(batch.watermark_ns))
