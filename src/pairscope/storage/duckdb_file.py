"""The file of the embedded store: one writer's thread, readers beside it, transactions that the ledger goes with."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import duckdb
import structlog

from pairscope.errors import ConfigError, StoreUnavailable
from pairscope.storage.acknowledged import Acknowledged
from pairscope.storage.archive_place import archive_beside, register_places
from pairscope.storage.archive_tables import read_catalogue
from pairscope.storage.compacting import copy_whole, put_in_place
from pairscope.storage.duckdb_errors import translated
from pairscope.storage.ledger import Ledger, LedgerView
from pairscope.storage.readers import LEAVE_S, Readers
from pairscope.storage.recovery import check_whole, migrate, read_ledger
from pairscope.storage.tables import Connection, Tables
from pairscope.storage.writing import Writing

__all__ = ["DuckDBFile", "empty_store", "telling"]

_log = structlog.get_logger(__name__)
T = TypeVar("T")

_READERS: Final = 4
_PATIENCE_S: Final = 60.0
"""How long a change of the file waits for reads that have begun before it."""


class DuckDBFile:
    """One open file with its ledger. Made by :meth:`open`; every call runs in a thread of its own.

    Writes queue behind one thread and are each one transaction; reads run on up to four cursors beside it and see the
    last commit. Nothing that is read waits for a write, nor a write for a read.
    """

    def __init__(
        self, path: Path, *, memory_limit_mb: int, threads: int | None, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._path = path
        self._clock = clock
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
        self._at_work = Readers()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._ledger: Ledger | None = None
        self._view = Ledger().view()
        self._acknowledged: Acknowledged | None = None
        self._bars = 0
        self._closed = False
        self._busy_with = ""

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        memory_limit_mb: int = 512,
        threads: int | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> Self:
        """Open a file, or make it with its tables. ``clock`` says which bars are over of symbols without a stream.

        Raises ``StoreUnavailable`` where the directory cannot be written, ``StoreLocked`` where another process has the
        file, ``StoreDamaged`` where it cannot be read, ``SchemaMismatch`` where another version made it.
        """
        store = cls(path, memory_limit_mb=memory_limit_mb, threads=threads, clock=clock)
        try:
            await store._write(store._connect)
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def view(self) -> LedgerView:
        """What readers may know now without a table."""
        return self._view

    def size(self) -> int:
        """The bytes of the file and its log."""
        return sum(p.stat().st_size for p in (self._path, _wal_of(self._path)) if p.exists())

    async def aside(self, work: Callable[[Connection, LedgerView], T]) -> T:
        """Read on a cursor of its own, for as long as it takes, without keeping other reads waiting for a thread."""
        return await self._read_in(None, work)

    async def within(self, work: Callable[[Writing], T]) -> T:
        """Do work in one transaction."""

        def transaction() -> T:
            with self._transaction() as writing:
                return work(writing)

        return await self._write(transaction)

    async def earlier_reads_end(self) -> bool:
        """Wait until every read that has begun by now is over; False where one takes longer than a minute."""
        return await asyncio.to_thread(self._at_work.wait_for_earlier, _PATIENCE_S)

    async def read_ledger_again(self) -> None:
        """Throw the ledger away and read it from what is stored, for what changed otherwise than by an append."""

        def work() -> None:
            self._ledger = None
            self._view = self._current().view(self._clock())

        await self._write(work)

    async def compact(self) -> float:
        """Write the file anew without the room that deleted rows left; return for how many seconds reads waited.

        Needs as much room on the disk again. Writes are refused meanwhile (``StoreUnavailable``: ticks go to the
        spool); reads wait only while the one file takes the other's place, after those under way have ended.
        """
        return await self._write(self._compact, alone="compacted")

    def _compact(self) -> float:
        with self._transaction() as writing:
            writing.save()
        copy = self._path.with_name(self._path.name + ".compacting")
        self._open().execute("CHECKPOINT")
        copy_whole(self._open(), copy)
        began = time.monotonic()
        with self._at_work.nobody(_PATIENCE_S) as nobody:
            if not nobody:
                copy.unlink(missing_ok=True)
                raise StoreUnavailable(
                    f"{self._path} is being read all the time; it stays as it is", hint="again later"
                )
            try:
                self._let_go()
                put_in_place(copy, self._path)
            finally:
                copy.unlink(missing_ok=True)
                self._connect()
        return time.monotonic() - began

    def _let_go(self) -> None:
        connection, self._connection, self._ledger = self._connection, None, None
        if connection is not None:
            connection.close()

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

    # -- threads, transactions, errors ---------------------------------------------------------------------------------

    async def _write(self, work: Callable[[], T], *, alone: str = "") -> T:
        """Run in the writer's thread; ``StoreUnavailable`` while something long is done there, named by ``alone``."""
        if self._busy_with:
            raise StoreUnavailable(f"{self._path} is being {self._busy_with}", hint="it takes writes again when done")
        self._busy_with = alone
        try:
            return await self._run(self._writer, work)
        finally:
            self._busy_with = self._busy_with if not alone else ""

    async def _read(self, work: Callable[[Connection, LedgerView], T]) -> T:
        """Run on a cursor of its own, beside the writer."""
        return await self._read_in(self._readers, work)

    async def _read_in(self, pool: ThreadPoolExecutor | None, work: Callable[[Connection, LedgerView], T]) -> T:
        def on_cursor() -> T:
            with self._at_work.one(), self._open().cursor() as cursor:
                return work(cursor, self._view)

        if self._connection is None and not self._busy_with:
            await self._write(self._current)
        return await self._run(pool, on_cursor)

    async def _run(self, pool: ThreadPoolExecutor | None, work: Callable[[], T]) -> T:
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
            if self._closed:  # who asked while it was being closed comes behind that, in the same thread
                raise StoreUnavailable(f"{self._path} is closed")
            self._connect()
        if self._ledger is None:
            self._ledger = self._read_ledger(self._open())
        return self._ledger

    def _read_ledger(self, connection: duckdb.DuckDBPyConnection) -> Ledger:
        ledger = read_ledger(connection)
        ledger.archive = read_catalogue(connection, archive_beside(self._path))
        try:
            register_places(connection, {file.place for file in ledger.archive})
        except ConfigError as error:
            _log.error("a part of the archive cannot be read", error=error.line())
        return ledger

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
            self._ledger = self._read_ledger(connection)
            self._view = self._ledger.view(self._clock())
            self._bars = Tables(self._ledger.symbols, self._ledger.archive).bar_count(connection)
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
        self._view = ledger.view(self._clock())
        if writing.stale:
            self._ledger = None
        if self._acknowledged is not None:
            self._acknowledged.write(ledger.flush, self._view.tick_count)

    def _roll_back(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Undo a transaction; where its commit failed, give the connection up, and let the next call open the file."""
        try:
            connection.execute("ROLLBACK")
        except duckdb.Error as error:
            _log.warning("store will be opened again", path=str(self._path), error=str(error))
            self._connection = None
            self._at_work.wait_until_none(LEAVE_S)
            connection.close()


def empty_store(path: Path | None, *, memory_limit_mb: int) -> duckdb.DuckDBPyConnection:
    """Open a new store without a ledger, in a file or in memory, for rows that are kept elsewhere to pass through."""
    config: dict[str, Any] = {"memory_limit": f"{memory_limit_mb}MiB", "autoinstall_known_extensions": False}
    connection = duckdb.connect(":memory:" if path is None else str(path), config=config)
    migrate(connection, path or Path("memory"))
    return connection


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Hold for work whose errors, DuckDB's or the system's, are told as those of a file or a folder."""
    try:
        yield
    except (duckdb.Error, OSError) as error:
        raise translated(error, path) from error


def _wal_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
