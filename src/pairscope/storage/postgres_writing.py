"""A transaction of the server store: the steps of the embedded one, on its own tables and documents."""

from __future__ import annotations

from collections.abc import Sequence

from pairscope.errors import Superseded
from pairscope.ports import Document
from pairscope.storage.ledger import Ledger
from pairscope.storage.parcel import last_of_each
from pairscope.storage.postgres_documents import (
    add_document,
    documents_at,
    guarded,
    put_documents,
    put_new_documents,
    remove_documents,
)  # fmt: skip
from pairscope.storage.postgres_pool import Session
from pairscope.storage.postgres_tables import PostgresTables
from pairscope.storage.writing import Writing

__all__ = ["PostgresWriting"]


class PostgresWriting(Writing):
    """The steps of one transaction on a session, whose symbols' rows are held."""

    def __init__(self, session: Session, ledger: Ledger, tables: PostgresTables) -> None:
        super().__init__(session, ledger, tables=tables)
        self._session = session

    def add_document(self, collection: str, key: str, body: bytes, *, replace: bool) -> bool:
        """Store a document; True if its key was new."""
        return add_document(self._session, collection, key, body, replace=replace)

    def put_documents(self, documents: Sequence[Document]) -> int:
        """Store documents, the last of each key, and remove the keys of those without a body; return how many went."""
        final = last_of_each(documents)
        put_documents(self._session, [document for document in final if document.body is not None])
        return remove_documents(self._session, [document for document in final if document.body is None])

    def put_firsts(
        self, firsts: Sequence[Document], documents: Sequence[Document], guard: Document | None
    ) -> list[Document]:
        """Store documents where all ``firsts`` are new, else return what stands there; ``Superseded`` by the guard."""
        if guard is not None and not guarded(self._session, guard):
            raise Superseded(f"{guard.collection}/{guard.key} is another's by now")
        known = documents_at(self._session, firsts)
        if not known:
            if put_new_documents(self._session, firsts) != len(firsts):
                raise Superseded("another process has stored the same meanwhile")
            self.put_documents(documents)
        return known

    def finish(self) -> None:
        """Do nothing: rows of the ledger are saved by who took them."""
