"""The journal of what was told live, kept in the records: written behind the ticks that it is about, and bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from pairscope.errors import StorageError
from pairscope.ports import Records
from pairscope.schemas.journal import Entry, Note, pack_entries, unpack_entries

__all__ = ["COLLECTION", "JournalKeeper", "read_journal"]

_log = structlog.get_logger(__name__)

COLLECTION: Final = "journal"
KEPT_NS: Final = 7 * 86_400 * 1_000_000_000
"""How much of the journal is kept, by the market's time."""
MOST_WAITING: Final = 50_000
"""Entries that wait for a store that refuses; beyond that the oldest are dropped, counted, and named as a hole."""
CHUNK_NS: Final = 15_000_000_000
CHUNK_ENTRIES: Final = 256
LOOK_S: Final = 1.0
_FORGOTTEN_AT_ONCE: Final = 8
_PAGE: Final = 200


class JournalKeeper:
    """Writes entries in chunks once the store holds their ticks, so that a crash leaves none without them.

    ``stored_ns`` tells up to which watermark the store has everything, ``started_ns`` when this process began: a
    run's chunks come behind those of the runs before it. ``run`` writes for ever; ``close`` writes what waits, when all
    ticks are stored.
    """

    def __init__(
        self, records: Records, *, stored_ns: Callable[[], Awaitable[int]], started_ns: int, kept_ns: int = KEPT_NS
    ) -> None:
        self._records = records
        self._stored_ns = stored_ns
        self._started_ns = started_ns
        self._kept_ns = kept_ns
        self._waiting: deque[Entry] = deque()
        self._number = 0
        self._oldest: deque[str] = deque()
        self._hole = False
        self._counters = dict.fromkeys(("entries", "chunks", "bytes", "dropped", "forgotten", "refused"), 0)

    def add(self, *entries: Entry) -> None:
        """Take entries; where too many wait, the oldest goes."""
        for entry in entries:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self._counters["dropped"] += 1
                self._hole = True
            self._waiting.append(entry)

    async def run(self) -> None:
        """Write what may be written, every second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.flush()
            except StorageError as error:
                self._counters["refused"] += 1
                _log.warning("the journal waits for the store", error=str(error))

    async def flush(self, *, all_stored: bool = False) -> None:
        """Write the entries whose ticks the store has; only whole chunks, unless ``all_stored``."""
        stored_ns = await self._stored_ns()
        while self._waiting:
            chunk: list[Entry] = []
            for entry in self._waiting:
                if not all_stored and entry.watermark_ns >= stored_ns:
                    break
                chunk.append(entry)
                if len(chunk) >= CHUNK_ENTRIES or entry.watermark_ns - chunk[0].watermark_ns >= CHUNK_NS:
                    break
            else:
                if not all_stored:
                    return
            span_ns = chunk[-1].watermark_ns - chunk[0].watermark_ns if chunk else 0
            if not chunk or not (all_stored or len(chunk) >= CHUNK_ENTRIES or span_ns >= CHUNK_NS):
                return
            await self._write(chunk)

    async def close(self) -> None:
        """Write what waits; all ticks are stored."""
        try:
            await self.flush(all_stored=True)
        except StorageError as error:
            _log.warning("the end of the journal is lost: the store refuses it", error=str(error))

    def counters(self) -> Mapping[str, Any]:
        """Return counters for ``/api/stats``."""
        return {**self._counters, "waiting": len(self._waiting)}

    async def _write(self, chunk: list[Entry]) -> None:
        first = chunk[0]
        if self._hole:
            notes = [Note("hole"), *first.notes]
            first = Entry(
                first.watermark_ns, first.recv_ns, first.ticks, first.stragglers, notes, first.bars, first.values
            )
        document = pack_entries([first, *chunk[1:]])
        key = f"{self._started_ns:020d}-{self._number:09d}-{chunk[-1].watermark_ns:020d}"
        dropped = self._counters["dropped"]
        await self._records.put(COLLECTION, key, document)
        written = {id(entry) for entry in chunk}
        while self._waiting and id(self._waiting[0]) in written:
            written.remove(id(self._waiting.popleft()))
        self._counters["dropped"] -= len(written)  # these had to go while they were written: they are not lost
        self._number += 1
        self._hole = self._counters["dropped"] > dropped
        self._counters["entries"] += len(chunk)
        self._counters["chunks"] += 1
        self._counters["bytes"] += len(document)
        await self._forget(chunk[-1].watermark_ns)

    async def _forget(self, now_ns: int) -> None:
        """Remove chunks that are too old, a few at a time; the keys of the oldest are read some hundreds at once."""
        if not self._oldest:
            async for key, _ in self._records.scan(COLLECTION):
                self._oldest.append(key)
                if len(self._oldest) >= _PAGE:
                    break
        for _ in range(_FORGOTTEN_AT_ONCE):
            if not self._oldest or _time_of(self._oldest[0]) >= now_ns - self._kept_ns:
                return
            await self._records.delete(COLLECTION, self._oldest.popleft())
            self._counters["forgotten"] += 1


async def read_journal(records: Records, after: str = "") -> AsyncIterator[tuple[str, list[Entry]]]:
    """Yield the chunks of a journal in the order they were written, each with its key."""
    async for key, document in records.scan(COLLECTION, after):
        yield key, unpack_entries(document)


def _time_of(key: str) -> int:
    return int(key.rpartition("-")[2])
