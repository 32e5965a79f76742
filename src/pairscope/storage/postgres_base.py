"""What the server store stands on: its pools, its ledgers, and how a transaction and a read go about."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Self, TypeVar

import numpy as np

from pairscope.errors import StorageError
from pairscope.market.symbols import normalize_symbol
from pairscope.market.ticks import TickBatch
from pairscope.ports import Clock
from pairscope.storage.ledger import LedgerView
from pairscope.storage.postgres_archive_reading import ColdFiles, tables_of
from pairscope.storage.postgres_errors import lacks_partition, of_settings
from pairscope.storage.postgres_ledger import SharedLedger
from pairscope.storage.postgres_pool import PostgresPool, Session
from pairscope.storage.postgres_replica import PostgresReplica
from pairscope.storage.postgres_schema import DAY_NS, Partitions, migrate
from pairscope.storage.postgres_tables import PostgresTables
from pairscope.storage.postgres_upkeep import PostgresUpkeep
from pairscope.storage.postgres_writing import PostgresWriting

__all__ = ["PostgresBase"]

T = TypeVar("T")
Reading = Callable[[Session, LedgerView, PostgresTables], T]


class PostgresBase:
    """A database that is open. One transaction of a process writes at a time; reads run beside it."""

    def __init__(self, pool: PostgresPool, replica: PostgresPool | None, *, clock: Clock) -> None:
        self._pool = pool
        self._replica = None if replica is None else PostgresReplica(replica, pool)
        self._clock = clock
        self._partitions = Partitions(pool)
        self._cold = ColdFiles()
        self._writing = asyncio.Lock()
        self._shared = SharedLedger()
        self._seen = SharedLedger()
        self._looking = threading.Lock()
        self.upkeep = PostgresUpkeep(
            pool,
            self._cold,
            catalogue=lambda: self._seen.ledger.archive,
            look=self._look,
            on_dropped=self._partitions.forget,
        )

    @classmethod
    async def open(
        cls, url: str, *, replica_url: str = "", pool: int = 10, clock: Callable[[], int] = time.time_ns
    ) -> Self:
        """Open the database at a URL, and make its tables where there are none.

        Raises ``StoreUnavailable`` where it does not answer, ``ConfigError`` where it refuses user, password or
        database, ``SchemaMismatch`` where another version made it.
        """
        replica = PostgresPool(replica_url, size=pool, name="PAIRSCOPE_DATABASE_REPLICA_URL") if replica_url else None
        store = cls(PostgresPool(url, size=pool), replica, clock=clock)
        try:
            await migrate(store._pool)
            await store._partitions.make(set(), now_ns=clock())
            await store.upkeep.look()
        except StorageError as error:
            await store.close()
            raise of_settings(error, "PAIRSCOPE_DATABASE_URL") from error.__cause__
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Close every connection. Twice does nothing."""
        if self._replica is not None:
            await self._replica.close()
        await self._pool.close()
        self._cold.close()

    def replica_status(self) -> Mapping[str, Any] | None:
        """How the read replica does, see :meth:`PostgresReplica.status`; None where there is none."""
        return None if self._replica is None else self._replica.status()

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _transact(
        self, names: Iterable[str], work: Callable[[PostgresWriting], T], batch: TickBatch | None = None
    ) -> T:
        """Do work in one transaction that holds the rows of symbols; when it fails, the ledger is read again."""
        held = sorted({normalize_symbol(name) for name in names})

        def transaction(session: Session) -> T:
            shared = self._shared
            shared.take(session, held)
            ledger = shared.ledger
            writing = PostgresWriting(session, ledger, tables_of(ledger.symbols, ledger.archive, self._cold))
            result = work(writing)
            writing.finish()
            shared.save(session, held, added_bars=writing.added_bars)
            if batch is not None:
                shared.raise_watermark(session, batch.watermark_ns)
            return result

        async with self._writing:
            try:
                return await self._pool.write(transaction)
            except BaseException:
                self._shared = self._shared.again()
                raise

    async def _with_days(self, batch: TickBatch, write: Callable[[], Awaitable[T]]) -> T:
        """Write ticks for whose days there are partitions; once more where one was dropped meanwhile."""
        days = {int(day) for day in np.unique(batch.ts_event_ns // DAY_NS)}
        await self._partitions.make(days, now_ns=self._clock())
        try:
            return await write()
        except StorageError as error:
            if not lacks_partition(error):
                raise
        self._partitions.forget()
        await self._partitions.make(days, now_ns=self._clock())
        return await write()

    async def _read(self, work: Reading[T], names: Sequence[str] | None = None, *, newest: bool = False) -> T:
        """Read behind a look at the rows of symbols, or of all; not of the replica where it must be the ``newest``."""

        wanted = None if names is None else [normalize_symbol(name) for name in names]

        def reading(session: Session) -> T:
            with self._looking:
                self._seen.look(session, wanted)
                view = self._seen.ledger.view(self._clock())
            return work(session, view, tables_of(view.symbols, view.archive, self._cold))

        if newest or self._replica is None:
            return await self._pool.read(reading)
        return await self._replica.read(reading)

    async def _look(self) -> None:
        """Take note of what other processes have moved to the archive or deleted."""
        await self._read(lambda *_: None, [], newest=True)

    async def _is_stored(self, symbol: str) -> bool:
        return await self._read(lambda _, view, __: view.find(symbol) is not None, [symbol], newest=True)
