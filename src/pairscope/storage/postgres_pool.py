"""Connections to PostgreSQL: work in a thread inside a transaction, rows as columns. Alone in knowing the driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import asyncpg
import numpy as np
from numpy.typing import NDArray

from pairscope.errors import StoreUnavailable
from pairscope.storage.postgres_errors import translated

__all__ = ["PostgresPool", "Session"]

T = TypeVar("T")

CONNECT_S: Final = 3.0
"""A server that does not answer for so long is away: ticks go to the spool."""
COMMAND_S: Final = 60.0
_PATIENCE_S: Final = 20.0
"""So long one waits for a connection while all are lent, and for one whose statement was broken off."""
_FOREVER_S: Final = 24 * 3600.0
_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
_TAIL: Final = b"\xff\xff"
_PART: Final = 1 << 19

_DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
)
"""What was acknowledged must survive the server's fall; a server that is set to promise more keeps to that."""

Columns = dict[str, NDArray[Any]]


class Session:
    """One connection, to be used from a thread: each call waits for the server."""

    def __init__(self, connection: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """Return the rows of a query."""
        return self._wait(self._connection.fetch(sql, *values))  # type: ignore[no-any-return]

    def run(self, sql: str, *values: Any) -> str:
        """Run a statement; return what the server says of it, like ``DELETE 3``."""
        return str(self._wait(self._connection.execute(sql, *values)))

    def run_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each of several rows of values, in one go."""
        if rows:
            self._wait(self._connection.executemany(sql, rows))

    def copy_in(self, table: str, columns: Sequence[str], rows: bytes) -> None:
        """Append rows in the binary form of COPY, without its head and tail."""
        source = _in_parts(_HEAD + rows + _TAIL)
        self._wait(self._connection.copy_to_table(table, source=source, columns=columns, format="binary"))

    def columns(self, sql: str, kinds: Sequence[tuple[str, str]], *values: Any) -> Columns:
        """Return a query whose every column has a fixed width and no NULL as arrays, by (name, NumPy kind).

        Kinds are ``i2``, ``i4``, ``i8``, ``f8`` and ``?``, as the columns are in the answer.
        """
        found = bytearray()

        async def take(part: bytes) -> None:
            # A file would be written by a thread of the pool whose threads wait here: enough reads at once never end.
            found.extend(part)

        self._wait(self._connection.copy_from_query(sql, *values, output=take, format="binary"))
        fields: list[tuple[str, str]] = [("#", ">i2")]
        for name, kind in kinds:
            fields += [(f"#{name}", ">i4"), (name, kind if kind == "?" else f">{kind}")]
        layout = np.dtype(fields)
        raw = bytes(found[len(_HEAD) : -len(_TAIL)])
        table = np.frombuffer(raw, layout, len(raw) // layout.itemsize)
        return {name: table[name].astype(kind if kind == "?" else f"={kind}") for name, kind in kinds}

    def _wait(self, work: Awaitable[Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(_awaited(work), self._loop).result()


class PostgresPool:
    """Connections to one server, also behind pgbouncer in transaction mode: nothing outlives a transaction."""

    def __init__(self, url: str, *, size: int, name: str = "PAIRSCOPE_DATABASE_URL") -> None:
        self._url = url
        self._size = size
        self._name = name
        self._pool: Any = None
        self._threads = ThreadPoolExecutor(size, "postgres")
        self._opening = asyncio.Lock()
        self._closed = False

    async def read(self, work: Callable[[Session], T], *, snapshot: bool = False) -> T:
        """Do work that changes nothing; ``snapshot``: all of it sees one moment."""
        return await self._with(work, isolation="repeatable_read" if snapshot else "read_committed", readonly=True)

    async def write(self, work: Callable[[Session], T]) -> T:
        """Do work in one transaction: all of it or nothing, and on the server's disk when this returns."""

        def durable(session: Session) -> T:
            session.rows(_DURABLE)
            return work(session)

        return await self._with(durable, isolation="read_committed", readonly=False)

    async def outside(self, sql: str) -> None:
        """Run a statement that no transaction may hold, like VACUUM."""
        try:
            pool = await self._open()
            async with self._lent(pool) as connection:
                await connection.execute(sql, timeout=_FOREVER_S)
        except _FAILURES as error:
            raise translated(error, self._name) from error

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            with suppress(*_FAILURES):
                async with asyncio.timeout(3.0):
                    await pool.close()
            pool.terminate()
        self._threads.shutdown(wait=False)

    async def _with(self, work: Callable[[Session], T], *, isolation: str, readonly: bool) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with self._begun(isolation, readonly=readonly) as connection:
                # Threads of its own: a server that answers slowly must not take those with which ticks are spooled.
                return await _finished(loop.run_in_executor(self._threads, work, Session(connection, loop)))
        except _FAILURES as error:
            raise translated(error, self._name) from error

    @asynccontextmanager
    async def _begun(self, isolation: str, *, readonly: bool) -> AsyncIterator[Any]:
        """Lend a connection with a transaction; another one where the first was lost while it lay idle."""
        pool = await self._open()
        for left in reversed(range(self._size + 1)):
            async with self._lent(pool) as connection:
                transaction = connection.transaction(isolation=isolation, readonly=readonly)
                try:
                    await transaction.start()
                except _FAILURES as error:
                    if left and _is_lost(connection, error):
                        continue
                    raise
                try:
                    yield connection
                except BaseException:
                    with suppress(*_FAILURES):
                        await transaction.rollback()
                    raise
                await transaction.commit()
                return

    @asynccontextmanager
    async def _lent(self, pool: Any) -> AsyncIterator[Any]:
        """Lend a connection. What giving it back fails of is not the borrower's: the pool makes another then."""
        connection = await pool.acquire(timeout=_PATIENCE_S)
        try:
            yield connection
        finally:
            with suppress(*_FAILURES):
                await pool.release(connection, timeout=_PATIENCE_S)

    async def _open(self) -> Any:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=self._size,
                    timeout=CONNECT_S,
                    command_timeout=COMMAND_S,
                    statement_cache_size=0,
                    max_inactive_connection_lifetime=60.0,
                    server_settings={"application_name": "pairscope"},
                    reset=_leave_as_it_is,
                )
        return self._pool


def _is_lost(connection: Any, error: Exception) -> bool:
    """Whether a lent connection was cut: the driver notices it before, while or after it sends, and says so its way."""
    try:
        if isinstance(error, asyncpg.InternalClientError | asyncpg.OperatorInterventionError):
            connection.terminate()
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool has it back already
        return True


async def _leave_as_it_is(_: Any) -> None:
    """Reset nothing: no session state is ever set, and pgbouncer shares connections between transactions."""


async def _finished(work: Awaitable[T]) -> T:
    """Wait for a thread's work to its end also where nobody waits for it any more: it is using the connection."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # nobody asks for it any more
        raise


async def _in_parts(rows: bytes) -> AsyncIterator[bytes]:
    """Give bytes as COPY takes them, without a thread for each part."""
    for start in range(0, len(rows), _PART):
        yield rows[start : start + _PART]


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


_FAILURES: Final = (
    asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError, ValueError,
)  # fmt: skip
