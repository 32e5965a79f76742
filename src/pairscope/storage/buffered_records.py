"""Records in the writer's order: what waits is seen at once, and what is changed goes behind all that was put."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from pairscope.ports import Document, Records
from pairscope.storage.tick_storage import StoreWriter

__all__ = ["BufferedRecords"]


class BufferedRecords:
    """``Records`` for collections whose documents come with ticks.

    A change that went past the writer could be overtaken by an older document that waits or lies in the spool; here it
    goes through the writer, is durable when the call returns, and shares its transaction with what else is due.
    ``StoreUnavailable`` where neither store nor spool takes it: it waits in memory and is kept as soon as one does.
    What lies in the spool is seen as what waits is.
    """

    def __init__(self, records: Records, writer: StoreWriter) -> None:
        self._records = records
        self._writer = writer

    async def put(self, collection: str, key: str, document: bytes, *, replace: bool = True) -> bool:
        """Store a document; with ``replace=False`` a key that is there already stays as it is. True if it was new."""
        known = await self.get(collection, key) is not None
        if replace or not known:
            await self._writer.keep_now([Document(collection, key, document)])
        return not known

    async def put_many(self, documents: Sequence[Document]) -> None:
        """Store documents, the last of each key, and remove the keys of those without a body, in one transaction."""
        await self._writer.keep_now(documents)

    async def get(self, collection: str, key: str) -> bytes | None:
        """Return a document, None where there is none."""
        waiting = self._waiting(collection)
        return waiting[key] if key in waiting else await self._records.get(collection, key)

    async def delete(self, collection: str, key: str) -> bool:
        """Remove a document; False where there was none."""
        known = await self.get(collection, key) is not None
        if known:
            await self._writer.keep_now([Document(collection, key, None)])
        return known

    async def scan(self, collection: str, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """Every (key, document) with a key greater than ``after``, by key; what waits when it begins is seen."""
        found = self._waiting(collection)
        waiting = sorted((key, body) for key, body in found.items() if key > after and body is not None)
        gone = {key for key, body in found.items() if body is None}
        at = 0
        async for key, body in self._records.scan(collection, after):
            while at < len(waiting) and waiting[at][0] < key:
                yield waiting[at]
                at += 1
            if key not in gone and (at == len(waiting) or waiting[at][0] != key):
                yield key, body
        for entry in waiting[at:]:
            yield entry

    def _waiting(self, collection: str) -> dict[str, bytes | None]:
        """Return the last body that waits for each key."""
        return {each.key: each.body for each in self._writer.documents() if each.collection == collection}
