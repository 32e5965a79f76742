"""What desks write, one after the other: nothing once another is the desk, and each firing once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from secrets import token_hex
from typing import Any, Final, Protocol

import numpy as np
import structlog

from pairscope.errors import Superseded
from pairscope.market.bars import BarBatch
from pairscope.market.continuity import Admission
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document, Records

__all__ = ["CLAIMS", "DeskRecords", "DeskStore", "FencedRecords", "FirstRecords", "Term"]

CLAIMS: Final = "alert_claims"
"""A document for each firing, under its rule, symbol and tick: who puts it first has it.

It says number, term and when it was put, in milliseconds.
"""
_TERM: Final = ("desk", "term")

_log = structlog.get_logger(__name__)


class FirstRecords(Records, Protocol):
    """Records that store what must be new."""

    async def put_firsts(
        self, firsts: Sequence[Document], documents: Sequence[Document] = (), *, guard: Document | None = None
    ) -> list[Document]:
        """Store ``firsts``, whose keys must be new, and with them ``documents`` as ``put_many`` does, all or nothing.

        Where keys are there already nothing is stored, and what stands under them is returned. ``guard``: a document
        that must stand as it says; ``Superseded`` where it does not.
        """
        ...


class Term:
    """The time for which a replica is the desk: a word in the records that the next desk replaces by its own.

    Everything that a desk writes is written under its word, in one transaction with a look at whether that still
    stands. So whoever goes on behind a pause without knowing that another is the desk by now writes nothing.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._word = b""

    async def begin(self) -> None:
        """Be the desk: from now on nobody who was it before can write."""
        word = token_hex(12).encode()
        await self._records.put(*_TERM, word)
        self._word = word

    def end(self) -> None:
        """Be the desk no longer."""
        self._word = b""

    def document(self) -> Document:
        """Return what goes with everything that the desk writes; ``Superseded`` for who is not the desk."""
        if not self._word:
            raise Superseded("this replica is not the desk")
        return Document(*_TERM, self._word)

    async def holds(self) -> bool:
        """Ask the records whether nobody else has become the desk. One read."""
        word = self._word
        return bool(word) and await self._records.get(*_TERM) == word


class DeskRecords:
    """``Records`` that write under a term."""

    def __init__(self, records: Records, term: Term) -> None:
        self._records = records
        self._term = term

    async def put(self, collection: str, key: str, document: bytes, *, replace: bool = True) -> bool:
        """Store a document; with ``replace=False`` a key that is there already stays as it is. True if it was new."""
        known = await self._records.get(collection, key) is not None
        if replace or not known:
            await self.put_many([Document(collection, key, document)])
        return not known

    async def put_many(self, documents: Sequence[Document]) -> None:
        """Store documents, the last of each key, and remove the keys of those without a body, in one transaction.

        ``Superseded`` where the writer let them go, since another is the desk by now.
        """
        await self._records.put_many([*documents, self._term.document()])
        self._term.document()

    async def get(self, collection: str, key: str) -> bytes | None:
        """Return a document, None where there is none."""
        return await self._records.get(collection, key)

    async def delete(self, collection: str, key: str) -> bool:
        """Remove a document; False where there was none."""
        known = await self._records.get(collection, key) is not None
        if known:
            await self.put_many([Document(collection, key, None)])
        return known

    async def scan(self, collection: str, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """Every (key, document) with a key greater than ``after``, by key."""
        async for key, document in self._records.scan(collection, after):
            yield key, document


class FencedRecords(DeskRecords):
    """``DeskRecords`` that write at once, past every writer, and say so where they may not.

    ``superseded`` is called where the term is another's; ``Superseded`` is raised there, and for who is not the desk.
    """

    def __init__(self, records: FirstRecords, term: Term, *, superseded: Callable[[], None]) -> None:
        super().__init__(records, term)
        self._firsts = records
        self._superseded = superseded

    async def put(self, collection: str, key: str, document: bytes, *, replace: bool = True) -> bool:
        """Store a document; with ``replace=False`` a key that is there already stays as it is. True if it was new."""
        if replace:
            return await super().put(collection, key, document)
        return not await self._write([Document(collection, key, document)])

    async def put_many(self, documents: Sequence[Document]) -> None:
        """Store documents, the last of each key, and remove the keys of those without a body, in one transaction."""
        await self._write((), documents)

    async def _write(self, firsts: Sequence[Document], documents: Sequence[Document] = ()) -> list[Document]:
        guard = self._term.document()
        try:
            return await self._firsts.put_firsts(firsts, documents, guard=guard)
        except Superseded:
            self._superseded()
            raise


class DeskStore:
    """A store's face for the writer of a replica: no ticks, and documents under the term that goes with them.

    A firing whose claim another has is left out, with its messages: ``refused`` hears their numbers. ``kept`` hears of
    documents once they are in the store itself, never of what only the spool has. ``superseded`` is called where the
    term is another's, and has to end ours: what was to be written is let go, for that other has seen the same market.
    """

    def __init__(
        self,
        store: FirstRecords,
        *,
        kept: Callable[[Sequence[Document]], Awaitable[None]],
        refused: Callable[[Sequence[int]], None],
        superseded: Callable[[], None],
        belongs: Callable[[Document], int | None],
    ) -> None:
        self._store = store
        self._kept = kept
        self._refused = refused
        self._superseded = superseded
        self._belongs = belongs
        self._counters = {"refused_firings_total": 0, "superseded_documents_total": 0}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(
        self, batch: TickBatch, bars: Sequence[BarBatch] = (), documents: Sequence[Document] = ()
    ) -> Admission:
        """Store the documents of a batch alone; what is to be new as far as it is."""
        del bars
        if documents:
            await self._put(documents)
        return Admission(np.zeros(len(batch), np.bool_), 0, ())

    async def put_many(self, documents: Sequence[Document]) -> None:
        """Store documents as ``append`` does."""
        await self._put(documents)

    def desk_counters(self) -> Mapping[str, int]:
        """Return how many firings another had told already, and how many documents came too late."""
        return dict(self._counters)

    async def _put(self, documents: Sequence[Document]) -> None:
        guard = next((each for each in documents if each[:2] == _TERM), None)
        claims = [each for each in documents if _is_claim(each)]
        others = [each for each in documents if not _is_claim(each) and each[:2] != _TERM]
        gone: set[int] = set()
        try:
            while stands := await self._store.put_firsts(claims, others, guard=guard):
                bodies = {each.key: each.body for each in stands}
                # Under our own claim it was stored before, and we were not told: what goes with it is put once more.
                gone |= {_number(each) for each in claims if _others(each, bodies)}
                claims = [each for each in claims if each.key not in bodies]
                others = [each for each in others if self._belongs(each) not in gone]
        except Superseded as error:
            self._counters["superseded_documents_total"] += len(documents)
            _log.warning("another replica is the desk; what this one had to write is let go", reason=str(error))
            self._superseded()
            return
        if gone:
            self._counters["refused_firings_total"] += len(gone)
            self._refused(sorted(gone))
        await self._kept(others)


def _is_claim(document: Document) -> bool:
    """Whether a document claims a firing; one without a body lets go of what was claimed long ago."""
    return document.collection == CLAIMS and document.body is not None


def _others(claim: Document, stands: Mapping[str, bytes | None]) -> bool:
    return claim.key in stands and stands[claim.key] != claim.body


def _number(claim: Document) -> int:
    return int((claim.body or b"0").split()[0])
