"""The SQL of documents in PostgreSQL: one table with collection and key, in the order of their bytes."""

from __future__ import annotations

from collections.abc import Sequence

from pairscope.ports import Document
from pairscope.storage.postgres_pool import Session

__all__ = [
    "add_document", "document_at", "documents_at", "documents_behind", "guarded", "put_documents", "remove_documents",
]  # fmt: skip


def document_at(session: Session, collection: str, key: str) -> bytes | None:
    """Return one document."""
    rows = session.rows("SELECT body FROM document WHERE collection = $1 AND key = $2", collection, key)
    return bytes(rows[0]["body"]) if rows else None


def documents_at(session: Session, documents: Sequence[Document]) -> list[Document]:
    """Return what stands under the keys of documents, as far as something does."""
    rows = session.rows(
        "SELECT collection, key, body FROM document "
        "JOIN unnest($1::text[], $2::text[]) AS asked(c, k) ON collection = c AND key = k",
        [each.collection for each in documents],
        [each.key for each in documents],
    )
    return [Document(row["collection"], row["key"], bytes(row["body"])) for row in rows]


def documents_behind(session: Session, collection: str, after: str, *, limit: int) -> list[tuple[str, bytes]]:
    """Return the first documents of a collection with a key greater than ``after``, by key."""
    rows = session.rows(
        "SELECT key, body FROM document WHERE collection = $1 AND key > $2 ORDER BY key LIMIT $3",
        collection,
        after,
        limit,
    )
    return [(row["key"], bytes(row["body"])) for row in rows]


def add_document(session: Session, collection: str, key: str, body: bytes, *, replace: bool) -> bool:
    """Store a document; True if its key was new."""
    done = session.run("INSERT INTO document VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", _named(collection), key, body)
    new = done == "INSERT 0 1"
    if not new and replace:
        session.run("UPDATE document SET body = $3 WHERE collection = $1 AND key = $2", collection, key, body)
    return new


def put_documents(session: Session, documents: Sequence[Document]) -> None:
    """Store documents in place of what their keys hold; no key may come twice."""
    if documents:
        session.run(
            "INSERT INTO document SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[]) "
            "ON CONFLICT (collection, key) DO UPDATE SET body = excluded.body",
            *_columns(documents),
        )


def put_new_documents(session: Session, documents: Sequence[Document]) -> int:
    """Store documents whose keys are new; return how many were."""
    done = session.run(
        "INSERT INTO document SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[]) ON CONFLICT DO NOTHING",
        *_columns(documents),
    )
    return int(done.rpartition(" ")[2])


def remove_documents(session: Session, documents: Sequence[Document]) -> int:
    """Remove the keys of documents, as far as they are there; return how many were."""
    if not documents:
        return 0
    done = session.run(
        "DELETE FROM document USING unnest($1::text[], $2::text[]) AS gone(c, k) WHERE collection = c AND key = k",
        *_columns(documents)[:2],
    )
    return int(done.rpartition(" ")[2])


def guarded(session: Session, guard: Document) -> bool:
    """Whether a document stands as it is said to, and will until the transaction ends."""
    rows = session.rows(
        "SELECT body FROM document WHERE collection = $1 AND key = $2 FOR SHARE", guard.collection, guard.key
    )
    return (bytes(rows[0]["body"]) if rows else None) == guard.body


def _columns(documents: Sequence[Document]) -> tuple[list[str], list[str], list[bytes | None]]:
    """Return collections, keys and bodies, by key: two transactions that touch the same never wait for each other."""
    ordered = sorted(documents, key=lambda each: (each.collection, each.key))
    return [_named(each.collection) for each in ordered], [each.key for each in ordered], [e.body for e in ordered]


def _named(collection: str) -> str:
    if "/" in collection:
        raise ValueError(f"collection {collection!r}: its name may not have a slash")
    return collection
