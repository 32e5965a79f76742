"""Connections to PostgreSQL: a few of them lent for one transaction each, and every failure in the store's terms.

Nothing outlives a transaction on a connection (no prepared statement, no setting, no session lock), so that a pooler
in transaction mode may stand between.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg

from pairscope.errors import StoreUnavailable
from pairscope.storage.postgres_errors import translated

__all__ = ["Pool", "Transaction", "quoted"]

_CONNECT_S: Final = 3.0
"""How long a connection may take to come about: the writer spools what a server does not take by then."""
_STATEMENT_S: Final = 120.0
_CHUNK: Final = 1 << 19
_DRIVER: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
_Work = Callable[[bytes], Awaitable[None]]


def quoted(text: str) -> str:
    """Return a text as a literal of SQL, for statements that take no parameters.

    >>> quoted("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


class Transaction:
    """One transaction, or one statement outside of any, on a connection that is lent for it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def execute(self, sql: str, *parameters: Any) -> int:
        """Run a statement, or several without parameters; return how many rows it touched, where it says so."""
        said: str = await self._connection.execute(sql, *parameters)
        count = said.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        """Return the rows of a query; each is read by place or by name."""
        rows: Sequence[Any] = await self._connection.fetch(sql, *parameters)
        return rows

    async def row(self, sql: str, *parameters: Any) -> Any:
        """Return the first row of a query, None where there is none."""
        return await self._connection.fetchrow(sql, *parameters)

    async def value(self, sql: str, *parameters: Any) -> Any:
        """Return the first value of the first row of a query, None where there is none."""
        return await self._connection.fetchval(sql, *parameters)

    async def copy_in(self, table: str, columns: Sequence[str], rows: bytes) -> None:
        """Put rows into a table, encoded by PostgreSQL's binary format with its header and trailer."""

        async def pieces() -> AsyncIterator[memoryview]:
            view = memoryview(rows)
            for start in range(0, len(rows), _CHUNK):
                yield view[start : start + _CHUNK]

        await self._connection.copy_to_table(table, source=pieces(), columns=list(columns), format="binary")

    async def copy_out(self, sql: str) -> bytes:
        """Return the rows of a query in PostgreSQL's binary format, with its header and trailer."""
        parts: list[bytes] = []

        async def keep(part: bytes) -> None:
            parts.append(part)

        await self._connection.copy_from_query(sql, output=keep, format="binary")
        return b"".join(parts)


class Pool:
    """At most ``size`` connections to one server, made when they are needed; without a server it is idle.

    Errors are of the ``StorageError`` family. A server that does not answer is told within some seconds.
    """

    def __init__(self, url: str, *, size: int = 10, statement_s: float = _STATEMENT_S) -> None:
        self._url = url
        self._size = size
        self._statement_s = statement_s
        self._pool: Any = None
        self._closed = False
        parts = urlsplit(url)
        self.where = f"postgresql://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
        """Server and database, without a password."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Lend a connection for one transaction, which is committed where nothing is raised."""
        async with self._begun("read_committed", readonly=False) as transaction:
            yield transaction

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        """Lend a connection for reads that all see the same commits."""
        async with self._begun("repeatable_read", readonly=True) as transaction:
            yield transaction

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Transaction]:
        """Lend a connection for statements that must not be in a transaction (VACUUM, DETACH … CONCURRENTLY)."""
        with self._in_its_terms():
            connection = await self._acquired()
            try:
                yield Transaction(connection)
            finally:
                await self._released(connection)

    async def close(self) -> None:
        """Let go of every connection. Twice does nothing."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), _CONNECT_S)
            except (*_DRIVER, asyncio.CancelledError):
                pool.terminate()
                raise_cancelled = asyncio.current_task()
                if raise_cancelled is not None and raise_cancelled.cancelling():
                    raise

    @asynccontextmanager
    async def _begun(self, isolation: str, *, readonly: bool) -> AsyncIterator[Transaction]:
        with self._in_its_terms():
            connection, begun = await self._begin(isolation, readonly=readonly)
            try:
                try:
                    yield Transaction(connection)
                except BaseException:
                    with contextlib.suppress(*_DRIVER):
                        await begun.rollback()
                    raise
                await begun.commit()
            finally:
                await self._released(connection)

    async def _begin(self, isolation: str, *, readonly: bool) -> tuple[Any, Any]:
        """Begin a transaction; on another connection where one was lost while it lay idle."""
        for left in range(self._size, -1, -1):
            connection = await self._acquired()
            begun = connection.transaction(isolation=isolation, readonly=readonly)
            try:
                await begun.start()
            except BaseException as error:
                lost = connection.is_closed()
                await self._released(connection)
                if not (lost and left and isinstance(error, _DRIVER)):
                    raise
            else:
                return connection, begun
        raise AssertionError("unreachable")

    async def _acquired(self) -> Any:
        if self._closed:
            raise StoreUnavailable(f"{self.where} is closed")
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=self._size,
                max_inactive_connection_lifetime=60.0,
                reset=_nothing,
                timeout=_CONNECT_S,
                command_timeout=self._statement_s,
                statement_cache_size=0,
                server_settings={"application_name": "pairscope", "timezone": "UTC"},
            )
            await self._pool
        return await self._pool.acquire(timeout=self._statement_s)

    async def _released(self, connection: Any) -> None:
        if self._pool is None:
            connection.terminate()
            return
        with contextlib.suppress(*_DRIVER):
            await asyncio.shield(self._pool.release(connection))

    @contextlib.contextmanager
    def _in_its_terms(self) -> Any:
        try:
            yield
        except _DRIVER as error:
            raise translated(error, self.where) from error


async def _nothing(connection: Any) -> None:
    """Leave a connection as it is: nothing outlives a transaction on it."""
