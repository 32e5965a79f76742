"""The SQL of documents in the embedded store: one table, found by the index of its only key."""

from __future__ import annotations

from collections.abc import Sequence

from pairscope.ports import Document
from pairscope.storage.tables import Connection

__all__ = ["add_document", "document_at", "documents_behind", "put_documents", "remove_documents"]


def document_at(connection: Connection, collection: str, key: str) -> bytes | None:
    """Return one document. O(log n)."""
    row = connection.execute("SELECT body FROM document WHERE path = ?", [_path(collection, key)]).fetchone()
    return None if row is None else bytes(row[0])


def documents_behind(connection: Connection, collection: str, after: str, *, limit: int) -> list[tuple[str, bytes]]:
    """Return the first documents of a collection with a key greater than ``after``, by key.

    Reads the keys of all documents: some 15 ms for a million, whatever the limit.
    """
    start = _path(collection, "")
    rows = connection.execute(
        f"SELECT path, body FROM document WHERE path > ? AND path < ? ORDER BY path LIMIT {limit}",
        [start + after, start[:-1] + chr(ord("/") + 1)],
    ).fetchall()
    return [(path[len(start) :], bytes(body)) for path, body in rows]


def add_document(connection: Connection, collection: str, key: str, body: bytes, *, replace: bool) -> bool:
    """Store a document; True if its key was new."""
    known = connection.execute("SELECT 1 FROM document WHERE path = ?", [_path(collection, key)]).fetchone()
    if known is None or replace:
        put_documents(connection, [Document(collection, key, body)])
    return known is None


def put_documents(connection: Connection, documents: Sequence[Document]) -> None:
    """Store documents in place of what their keys hold; no key may come twice.

    Some dozens of keys are looked up in the index one by one; for more of them the table is read through once.
    """
    if documents:
        connection.execute(
            "INSERT OR REPLACE INTO document SELECT unnest(?::VARCHAR[]), unnest(?::BLOB[])",
            [_paths(documents), [each.body for each in documents]],
        )


def remove_documents(connection: Connection, documents: Sequence[Document]) -> int:
    """Remove the keys of documents, as far as they are there; return how many were. Costs as ``put_documents``."""
    if not documents:
        return 0
    removed = connection.execute(
        "DELETE FROM document WHERE path IN (SELECT unnest(?::VARCHAR[])) RETURNING 1", [_paths(documents)]
    ).fetchall()
    return len(removed)


def _path(collection: str, key: str) -> str:
    if "/" in collection:
        raise ValueError(f"collection {collection!r}: its name may not have a slash")
    return f"{collection}/{key}"


def _paths(documents: Sequence[Document]) -> list[str]:
    return [_path(each.collection, each.key) for each in documents]
