"""The embedded store: ticks, bars, gaps and records in one DuckDB file, one writer and many readers at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

from pairscope.errors import InputError
from pairscope.market.bars import BASE_TIMEFRAMES, BarBatch
from pairscope.market.continuity import Admission, Continuity, Gap
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document, StoreStats, SymbolSummary
from pairscope.storage import bar_reading, reading
from pairscope.storage.archive import Upkeep
from pairscope.storage.documents import document_at, documents_behind
from pairscope.storage.imports import Imports, demand_timeframe
from pairscope.storage.reading import tables_of

__all__ = ["DuckDBStore"]

_PAGE: Final = (256, 4096)
"""Documents that the first page of a scan has, and at most the later ones."""
_PAGE_BYTES: Final = 1 << 20
"""The bytes of a page behind which the next one is no longer."""


class DuckDBStore(Imports):
    """``TickStore`` and ``Records`` on one file. Made by :meth:`open`; every call runs in a thread of its own.

    What was moved to the archive is read in place; ``upkeep`` moves it, deletes what is old, and looks after both.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        self.upkeep = Upkeep(self)

    # -- TickStore -----------------------------------------------------------------------------------------------------

    async def append(
        self, batch: TickBatch, bars: Sequence[BarBatch] = (), documents: Sequence[Document] = ()
    ) -> Admission:
        """Store a batch, the base bars it closed or revised, its gaps and its documents, in one transaction."""
        for each in bars:
            _demand_base(each.timeframe)

        def work() -> Admission:
            with self._transaction() as writing:
                return writing.append(batch, bars, documents)

        return await self._write(work)

    async def rebuild_bars(self, symbol: str, start_ns: int, end_ns: int) -> list[BarBatch]:
        """Recompute a symbol's closed base bars from its stored ticks; store and return those that differ.

        Days of ticks are taken in portions of some hundred thousand, each a transaction of its own.
        """
        view = self._view
        symbol_id = view.find(symbol)
        if symbol_id is None:
            return []
        low, high = max(start_ns, view.tick_span(symbol_id)[0]), min(end_ns, view.watermark_ns)
        revised: list[BarBatch] = []
        for part in await self._read(lambda con, view: reading.symbol_portions(con, view, symbol_id, low, high)):

            def work(part: tuple[int, int] = part) -> list[BarBatch]:
                with self._transaction() as writing:
                    return writing.rebuild(symbol, *part)

            revised += await self._write(work)
        return revised

    async def ticks(
        self, symbol: str, start_ns: int, end_ns: int, *, limit: int, after_id: int | None = None, newest: bool = False
    ) -> TickBatch:
        """Ticks of one symbol by (event time, trade id); ``after_id`` continues behind that trade id."""
        return await self._read(
            lambda con, view: reading.ticks(
                con, view, symbol, start_ns, end_ns, limit, after_id=after_id, newest=newest
            )
        )

    async def bars(
        self, symbol: str, timeframe: str, start_ns: int, end_ns: int, *, limit: int, newest: bool = False
    ) -> BarBatch:
        """Closed bars of any timeframe, oldest first."""
        demand_timeframe(timeframe)
        return await self._read(
            lambda con, view: bar_reading.bars(
                con, view, tables_of(view), symbol, timeframe, start_ns, end_ns, limit, newest=newest
            )
        )

    async def base_bars(self, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        """Closed base bars of every symbol in a range, by (symbol id, time)."""
        _demand_base(timeframe)
        return await self._read(lambda con, view: tables_of(view).base_bars(con, timeframe, start_ns, end_ns))

    async def ticks_since(self, start_ns: int) -> AsyncIterator[TickBatch]:
        """Every symbol's ticks from an event time on, by (event time, trade id), in batches."""
        for low, high in await self._read(lambda con, view: reading.portions(con, view, start_ns)):
            part = await self._read(
                lambda con, view, low=low, high=high: reading.ticks_between(con, view, low, high)  # type: ignore[misc]
            )
            if len(part):
                yield part

    async def ticks_received(self, start_ns: int, end_ns: int) -> AsyncIterator[TickBatch]:
        """Every symbol's ticks that were received in a range, by receive time, in batches."""
        for low, high in await self._read(lambda con, view: reading.received_portions(con, view, start_ns, end_ns)):
            yield await self._read(
                lambda con, view, low=low, high=high: reading.received_between(con, view, low, high)  # type: ignore[misc]
            )

    async def symbols(self) -> list[SymbolSummary]:
        """Every symbol that has ticks or bars, by name. Reads no table."""
        return self._view.summaries()

    async def continuity(self) -> Continuity:
        """A fresh ledger that stands where the stored ticks end."""
        return await self._write(lambda: self._current().fresh_continuity())

    async def gaps(self, symbol: str | None = None, *, unrepaired: bool = False) -> list[Gap]:
        """The gap ledger, by (symbol, from_id): all of it, or what still lacks ids, from memory where none does."""
        if unrepaired and self._connection is not None and not self._view.lacks_ids(symbol):
            return []
        return await self._read(lambda con, view: reading.gaps(con, view, symbol, unrepaired=unrepaired))

    async def settle_gap(self, gap: Gap) -> None:
        """Write a gap's verdict that no tick brought."""

        def work() -> None:
            with self._transaction() as writing:
                writing.settle(gap)

        await self._write(work)

    async def watermark_ns(self) -> int:
        """The watermark of the last batch appended; 0 in a new store."""
        return self._view.watermark_ns

    async def stats(self) -> StoreStats:
        """Rows and bytes, from counters and the file's size."""
        return StoreStats("DuckDB", self._view.tick_count, self._bars, self.size(), str(self._path))

    # -- Records -------------------------------------------------------------------------------------------------------

    async def put(self, collection: str, key: str, document: bytes, *, replace: bool = True) -> bool:
        """Store a document; True if its key was new."""

        def work() -> bool:
            with self._transaction() as writing:
                return writing.add_document(collection, key, document, replace=replace)

        return await self._write(work)

    async def put_many(self, documents: Sequence[Document]) -> None:
        """Store documents, the last of each key, and remove the keys of those without a body, in one transaction."""

        def work() -> None:
            with self._transaction() as writing:
                writing.put_documents(documents)

        await self._write(work)

    async def put_firsts(
        self, firsts: Sequence[Document], documents: Sequence[Document] = (), *, guard: Document | None = None
    ) -> list[Document]:
        """Store ``firsts``, whose keys must be new, and with them ``documents`` as ``put_many`` does, all or nothing.

        Where keys are there already nothing is stored, and what stands under them is returned. ``guard``: a document
        that must stand as it says; ``Superseded`` where it does not.
        """

        def work() -> list[Document]:
            with self._transaction() as writing:
                return writing.put_firsts(firsts, documents, guard)

        return await self._write(work)

    async def get(self, collection: str, key: str) -> bytes | None:
        """Return a document, None where there is none."""
        return await self._read(lambda con, _: document_at(con, collection, key))

    async def delete(self, collection: str, key: str) -> bool:
        """Remove a document; False where there was none."""

        def work() -> bool:
            with self._transaction() as writing:
                return bool(writing.put_documents([Document(collection, key, None)]))

        return await self._write(work)

    async def scan(self, collection: str, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """Every (key, document) with a key greater than ``after``, by key; a page of them in memory at a time.

        Pages grow while they are small in bytes: each costs a look at all keys.
        """
        limit = _PAGE[0]
        while page := await self._read(
            lambda con, _, after=after, limit=limit: documents_behind(con, collection, after, limit=limit)  # type: ignore[misc]
        ):
            for entry in page:
                yield entry
            after = page[-1][0]
            if sum(len(body) for _, body in page) < _PAGE_BYTES:
                limit = min(4 * limit, _PAGE[1])


def _demand_base(timeframe: str) -> None:
    if timeframe not in BASE_TIMEFRAMES:
        raise InputError(f"bars of {timeframe} are not stored, only {' and '.join(BASE_TIMEFRAMES)}", loc="timeframe")
