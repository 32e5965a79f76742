"""The embedded store: ticks, bars, gaps and records in one DuckDB file, one writer and many readers at a time."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import duckdb
import structlog

from pairscope.errors import InputError, StoreUnavailable
from pairscope.market.bars import BASE_TIMEFRAMES, TIMEFRAMES, BarBatch
from pairscope.market.continuity import Admission, Continuity, Gap
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document, StoreStats, SymbolSummary
from pairscope.storage import reading
from pairscope.storage.acknowledged import Acknowledged
from pairscope.storage.documents import document_at, documents_behind
from pairscope.storage.duckdb_errors import translated
from pairscope.storage.ledger import Ledger, LedgerView
from pairscope.storage.recovery import check_whole, migrate, read_ledger
from pairscope.storage.tables import Connection, Tables
from pairscope.storage.writing import Writing

__all__ = ["DuckDBStore"]

_log = structlog.get_logger(__name__)
T = TypeVar("T")

_READERS: Final = 4
_PAGE: Final = (256, 4096)
"""Documents that the first page of a scan has, and at most the later ones."""
_PAGE_BYTES: Final = 1 << 20
"""The bytes of a page behind which the next one is no longer."""
_LEAVE_S: Final = 5.0
"""How long reads may take to end before a broken connection is closed under them."""


class DuckDBStore:
    """``TickStore`` and ``Records`` on one file. Made by :meth:`open`; every call runs in a thread of its own.

    Writes queue behind one thread and are each one transaction; reads run on up to four cursors beside it and see the
    last commit. Nothing that is read waits for a write, nor a write for a read.
    """

    def __init__(self, path: Path, *, memory_limit_mb: int, threads: int | None) -> None:
        self._path = path
        self._config: dict[str, Any] = {
            "memory_limit": f"{memory_limit_mb}MiB",
            "wal_autocheckpoint": "64MiB",
            "autoinstall_known_extensions": False,
            "custom_user_agent": f"pairscope-{uuid.uuid4().hex}",
        }
        if threads is not None:
            self._config["threads"] = threads
        self._writer = ThreadPoolExecutor(1, "store-write")
        self._readers = ThreadPoolExecutor(_READERS, "store-read")
        self._reading = threading.Condition()
        self._active_reads = 0
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._ledger: Ledger | None = None
        self._view = Ledger().view()
        self._acknowledged: Acknowledged | None = None
        self._bars = 0
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, memory_limit_mb: int = 512, threads: int | None = None) -> Self:
        """Open a file, or make it with its tables.

        Raises ``StoreUnavailable`` where the directory cannot be written, ``StoreLocked`` where another process has the
        file, ``StoreDamaged`` where it cannot be read, ``SchemaMismatch`` where another version made it.
        """
        store = cls(path, memory_limit_mb=memory_limit_mb, threads=threads)
        try:
            await store._write(store._connect)
        except BaseException:
            await store.close()
            raise
        return store

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

    async def put_bars(self, bars: BarBatch) -> int:
        """Store base bars that no own tick made; return how many rows changed."""
        _demand_base(bars.timeframe)

        def work() -> int:
            with self._transaction() as writing:
                return len(writing.merge_bars(bars))

        return await self._write(work)

    async def rebuild_bars(self, symbol: str, start_ns: int, end_ns: int) -> list[BarBatch]:
        """Recompute a symbol's closed base bars from its stored ticks; store and return those that differ."""
        view = self._view
        symbol_id = view.find(symbol)
        if symbol_id is None:
            return []
        first_ns, _, _ = view.tick_span(symbol_id)
        revised: list[BarBatch] = []
        for low, high in reading.quarter_hours(max(start_ns, first_ns), min(end_ns, view.watermark_ns)):

            def work(low: int = low, high: int = high) -> list[BarBatch]:
                with self._transaction() as writing:
                    return writing.rebuild(symbol, low, high)

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
        if timeframe not in TIMEFRAMES:
            raise InputError(f"timeframe {timeframe!r} is none of {', '.join(TIMEFRAMES)}", loc="timeframe")
        return await self._read(
            lambda con, view: reading.bars(con, view, symbol, timeframe, start_ns, end_ns, limit, newest=newest)
        )

    async def base_bars(self, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        """Closed base bars of every symbol in a range, by (symbol id, time)."""
        _demand_base(timeframe)
        return await self._read(lambda con, view: reading.base_bars(con, view, timeframe, start_ns, end_ns))

    async def ticks_since(self, start_ns: int) -> AsyncIterator[TickBatch]:
        """Every symbol's ticks from an event time on, by (event time, trade id), in batches."""
        for low, high in await self._read(lambda con, view: reading.portions(con, start_ns)):
            part = await self._read(
                lambda con, view, low=low, high=high: reading.ticks_between(con, view, low, high)  # type: ignore[misc]
            )
            if len(part):
                yield part

    async def ticks_received(self, start_ns: int, end_ns: int) -> AsyncIterator[TickBatch]:
        """Every symbol's ticks that were received in a range, by receive time, in batches."""
        for low, high in await self._read(lambda con, view: reading.received_portions(con, start_ns, end_ns)):
            yield await self._read(
                lambda con, view, low=low, high=high: reading.received_between(con, view, low, high)  # type: ignore[misc]
            )

    async def symbols(self) -> list[SymbolSummary]:
        """Every symbol that has ticks or bars, by name. Reads no table."""
        return self._view.summaries()

    async def continuity(self) -> Continuity:
        """A fresh ledger that stands where the stored ticks end."""
        return await self._write(lambda: self._current().fresh_continuity())

    async def gaps(self, symbol: str | None = None) -> list[Gap]:
        """The gap ledger, by (symbol, from_id)."""
        return await self._read(lambda con, view: reading.gaps(con, view, symbol))

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
        size = sum(p.stat().st_size for p in (self._path, _wal_of(self._path)) if p.exists())
        return StoreStats("DuckDB", self._view.tick_count, self._bars, size, str(self._path))

    async def checkpoint(self) -> None:
        """Move what the log holds into the file."""
        await self._write(lambda: self._open().execute("CHECKPOINT"))

    async def close(self) -> None:
        """Save the ledger, write the log into the file, let go of it. Twice does nothing."""
        if self._closed:
            return
        self._closed = True

        def work() -> None:
            try:
                if self._connection is not None and self._ledger is not None:
                    with self._transaction() as writing:
                        writing.save()
            finally:
                connection, self._connection = self._connection, None
                if connection is not None:
                    connection.close()
                if self._acknowledged is not None:
                    self._acknowledged.close()

        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._writer, work)
        except duckdb.Error as error:
            _log.warning("store closed without a checkpoint", error=str(error))
        finally:
            self._writer.shutdown(wait=False)
            self._readers.shutdown(wait=False)

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

    # -- threads, transactions, errors ---------------------------------------------------------------------------------

    async def _write(self, work: Callable[[], T]) -> T:
        """Run in the writer's thread."""
        return await self._run(self._writer, work)

    async def _read(self, work: Callable[[Connection, LedgerView], T]) -> T:
        """Run on a cursor of its own, beside the writer."""

        def on_cursor() -> T:
            with self._reading:
                self._active_reads += 1
            try:
                with self._open().cursor() as cursor:
                    return work(cursor, self._view)
            finally:
                with self._reading:
                    self._active_reads -= 1
                    self._reading.notify_all()

        if self._connection is None:
            await self._write(self._current)
        return await self._run(self._readers, on_cursor)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, work)
        except (duckdb.Error, OSError) as error:
            raise translated(error, self._path) from error
        except RuntimeError as error:
            if self._closed:
                raise StoreUnavailable(f"{self._path} is closed") from error
            raise

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            raise StoreUnavailable(f"{self._path} is not open")
        return self._connection

    def _current(self) -> Ledger:
        """Return the ledger; read again, or the file opened again, where a transaction failed."""
        if self._connection is None:
            self._connect()
        if self._ledger is None:
            self._ledger = read_ledger(self._open())
        return self._ledger

    def _connect(self) -> None:
        """Open the file, bring its schema up to date and read the ledger."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = duckdb.connect(str(self._path), config=self._config)
        except OSError as error:
            raise StoreUnavailable(
                f"{self._path.parent} cannot be written: {error.strerror}", hint="choose another with --data-dir"
            ) from error
        try:
            check_whole(connection, self._path)
            migrate(connection, self._path)
            self._ledger = read_ledger(connection)
            self._view = self._ledger.view()
            self._bars = Tables(self._ledger.symbols).bar_count(connection)
            if self._acknowledged is None:
                self._acknowledged = Acknowledged(self._path.with_name(self._path.name + ".ack"))
            self._acknowledged.compare(self._ledger.flush, self._view.tick_count)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    @contextmanager
    def _transaction(self) -> Iterator[Writing]:
        """One transaction with the ledger beside it; when it fails, the ledger is read again from what is stored."""
        ledger = self._current()
        connection = self._open()
        writing = Writing(connection, ledger)
        try:
            connection.execute("BEGIN")
            yield writing
            writing.finish()
            connection.execute("COMMIT")
        except BaseException:
            self._ledger = None
            self._roll_back(connection)
            raise
        self._bars += writing.added_bars
        ledger.saved_symbols = len(ledger.symbols)
        self._view = ledger.view()
        if self._acknowledged is not None:
            self._acknowledged.write(ledger.flush, self._view.tick_count)

    def _roll_back(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Undo a transaction; where its commit failed, give the connection up, and let the next call open the file."""
        try:
            connection.execute("ROLLBACK")
        except duckdb.Error as error:
            _log.warning("store will be opened again", path=str(self._path), error=str(error))
            self._connection = None
            with self._reading:
                self._reading.wait_for(lambda: not self._active_reads, _LEAVE_S)
            connection.close()


def _wal_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _demand_base(timeframe: str) -> None:
    if timeframe not in BASE_TIMEFRAMES:
        raise InputError(f"bars of {timeframe} are not stored, only {' and '.join(BASE_TIMEFRAMES)}", loc="timeframe")
