"""Records in a dictionary."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from pairscope.ports import Document


class Notebook:
    """What ``Records`` must do, in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    async def put(self, collection: str, key: str, document: bytes, *, replace: bool = True) -> bool:
        new = (collection, key) not in self.kept
        if new or replace:
            self.kept[collection, key] = document
        return new

    async def put_many(self, documents: Sequence[Document]) -> None:
        for collection, key, body in documents:
            if body is None:
                self.kept.pop((collection, key), None)
            else:
                self.kept[collection, key] = body

    async def get(self, collection: str, key: str) -> bytes | None:
        return self.kept.get((collection, key))

    async def delete(self, collection: str, key: str) -> bool:
        return self.kept.pop((collection, key), None) is not None

    async def scan(self, collection: str, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        for (kind, key), document in sorted(self.kept.items()):
            if kind == collection and key > after:
                yield key, document
