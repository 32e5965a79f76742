"""From a batch to the store: which store a URL names, and the writer that queues, gathers, spools and rebuilds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from pairscope.durations import Durations
from pairscope.errors import ConfigError, StorageError, StoreUnavailable, WriterOverflow
from pairscope.market.bars import BarBatch
from pairscope.market.continuity import Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Clock, Document, Records, TickStore
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.parcel import Parcel
from pairscope.storage.pause import Pause
from pairscope.storage.rebuilds import Rebuild, Rebuilds
from pairscope.storage.refusals import Refusals
from pairscope.storage.spool import Spool
from pairscope.storage.waiting import Waiting

if TYPE_CHECKING:
    from pairscope.storage.postgres_store import PostgresStore

__all__ = ["Store", "StoreWriter", "open_store"]

_log = structlog.get_logger(__name__)
SLOW_MS: Final = 10_000.0


class Store(TickStore, Records, Protocol):
    """Ticks and records in one place."""


async def open_store(url: str, *, replica_url: str = "", pool: int = 10) -> DuckDBStore | PostgresStore:
    """Open the store of a URL: ``duckdb:///relative``, ``duckdb:////absolute``, ``postgresql://…``."""
    scheme, _, rest = url.partition("://")
    if scheme == "duckdb" and rest.startswith("/") and len(rest) > 1:
        return await DuckDBStore.open(Path(rest[1:]))
    if scheme in {"postgresql", "postgres"}:
        from pairscope.storage.postgres_store import PostgresStore

        return await PostgresStore.open(url, replica_url=replica_url, pool=pool)
    raise ConfigError(f"PAIRSCOPE_DATABASE_URL: {scheme or url!r} is no known kind of store", hint="use duckdb:///path")


class StoreWriter:
    """Takes batches from the feed's side and puts them into the store, gathered into few transactions.

    A flush is due at ``flush_rows`` ticks or when the oldest waiting batch is ``flush_seconds`` old. At most
    ``max_batches`` wait; then ``put`` blocks, which slows the feed (``blocked`` counts it). When the store refuses,
    flushes go to the spool and from there into the store, in order and before anything newer, as soon as it is back;
    when the spool refuses too, batches wait in the queue until it is full, and then the oldest are dropped and counted:
    their ids are a hole that a back-fill repairs. Documents go with their batch, in its transaction or its record of
    the spool, and stay where ticks are dropped; ``on_kept`` hears of them as soon as they are durable, in either place,
    and may hear of one twice. Ranges to rebuild are remembered in the store's records, so that a crash forgets none.
    An error that is none of the store's ends the writer; the next ``put`` raises it. ``clock`` is monotonic.
    """

    def __init__(
        self,
        store: Store,
        *,
        spool: Spool,
        clock: Clock = monotonic_ns,
        max_batches: int = 512,
        flush_rows: int = 20_000,
        flush_seconds: float = 0.5,
        on_revised: Callable[[Sequence[BarBatch]], None] | None = None,
        on_kept: Callable[[Sequence[Document]], None] | None = None,
    ) -> None:
        self._store = store
        self._spool = spool
        self._door = Refusals(store, spool.directory / "refused")
        self._clock = clock
        self._on_revised = on_revised
        self._on_kept = on_kept
        self._waiting = Waiting(
            clock=clock, max_batches=max_batches, flush_rows=flush_rows, flush_ns=int(flush_seconds * 1e9)
        )
        self._inherited_bytes = 0
        self._rebuilds = Rebuilds(store)
        self._stored_ns = 0
        self._symbols = Symbols()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._pause = Pause(clock=clock, shortest_s=0.25, longest_s=10.0)
        self._refusal: StorageError | None = None
        self._spool_refusal: WriterOverflow | OSError | None = None
        self._counters = dict.fromkeys(
            (
                "put_batches", "put_rows", "blocked", "max_depth", "flushes", "flushed_rows", "flushed_batches",
                "repeats", "spooled_rows", "unspooled_rows", "dropped_rows", "dropped_batches", "documents",
                "dropped_documents", "rebuilds", "revised_bars", "store_errors",
            ),
            0,
        )  # fmt: skip
        self._took = Durations()

    # -- the feed's side -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Store what an earlier run spooled, as far as the store takes it; take up its rebuilds; begin to write.

        Whoever reads the store to warm up, or to know where a feed resumes, does so behind this.
        """
        await self._rebuilds.load()
        self._stored_ns = await self._store.watermark_ns()
        if self._spool:
            _log.info("spool found", bytes=self._spool.size)
        while self._spool and self._pause.is_over:
            await self._unspool()
        self._inherited_bytes = self._spool.size
        self._task = asyncio.create_task(self._run(), name="store-writer")

    async def put(
        self,
        batch: TickBatch,
        bars: Sequence[BarBatch] = (),
        rebuild: Sequence[Rebuild] = (),
        *,
        documents: Sequence[Document] = (),
        hurry: bool = False,
    ) -> None:
        """Queue a batch, the base bars it closed or revised, what came of it for records and ranges to rebuild behind.

        Waits while the queue is full. ``hurry`` has it flushed at once, with all that waits before it.
        """
        self._symbols = batch.symbols
        await self._queued(Parcel(batch, tuple(bars), tuple(rebuild), documents=tuple(documents)), hurry=hurry)

    async def keep(self, documents: Sequence[Document], *, hurry: bool = False) -> None:
        """Queue documents that no batch brought, behind all that was put: a change of records in the order of time."""
        await self._queued(Parcel(TickBatch.empty(self._symbols, 0), documents=tuple(documents)), hurry=hurry)

    async def keep_now(self, documents: Sequence[Document]) -> None:
        """Do as ``keep`` and wait until they are durable; ``StoreUnavailable`` while they can only wait in memory."""
        await self.keep(documents, hurry=True)
        await self._waiting.promise()

    async def settle(self, gap: Gap) -> None:
        """Queue a verdict on a gap behind the ticks that revealed it; see ``TickStore.settle_gap``."""
        await self._queued(Parcel(TickBatch.empty(self._symbols, 0), verdicts=(gap,)))

    async def again(self, ranges: Sequence[Rebuild]) -> None:
        """Queue ranges whose bars are to be made anew behind all that was put, each minute once it is over."""
        await self._queued(Parcel(TickBatch.empty(self._symbols, 0), (), tuple(ranges)))

    async def _queued(self, parcel: Parcel, *, hurry: bool = False) -> None:
        if not self._room.is_set():
            self._counters["blocked"] += 1
            while not self._room.is_set():
                self._demand_running()
                await self._room.wait()
        self._demand_running()
        first = self._waiting.put(parcel, hurry=hurry)
        self._counters["put_batches"] += 1
        self._counters["put_rows"] += len(parcel.batch)
        self._measure()
        self._idle.clear()
        if first or self._due():
            self._wake.set()

    async def drain(self) -> None:
        """Wait until all that was put is in the store or in the spool."""
        self._waiting.hurry()
        self._wake.set()
        while not self._idle.is_set():
            self._demand_running()
            await self._idle.wait()
        self._demand_running()

    async def close(self) -> None:
        """Write what waits, then stop. The store stays open: it has other users."""
        if self._task is None or self._closing:
            return
        self._closing = True
        self._wake.set()
        await self._task

    def waiting(self) -> list[Parcel]:
        """Return what was put and is not in the store yet, oldest first, without what is in the spool."""
        return self._waiting.parcels()

    def documents(self) -> list[Document]:
        """Return the documents that are not in the store yet, oldest first, also those in the spool."""
        return [*self._spool.documents(), *(document for parcel in self.waiting() for document in parcel.documents)]

    def counters(self) -> Mapping[str, Any]:
        """Return counters for ``/api/stats`` and ``/metrics``; ``lag_ms`` is the age of the oldest waiting batch."""
        return {
            **self._counters,
            **self._door.counters(),
            "depth": len(self._waiting),
            "capacity": self._waiting.max_batches,
            "queued_rows": self._waiting.rows,
            "queued_documents": self._waiting.documents,
            "last_flush_ms": round(self._took.last_s * 1e3, 3),
            "max_flush_ms": round(self._took.longest_s * 1e3, 3),
            "flush_took": self._took.view(),
            "lag_ms": round(self._waiting.lag_ns() / 1e6, 3),
            "spool_bytes": self._spool.size,
            "spool_cut_bytes": self._spool.cut_bytes,
            "waiting_rebuilds": len(self._rebuilds),
        }

    def status(self) -> Mapping[str, Any]:
        """Return the health of the writer: down when it ended or loses ticks, degraded when it spools or lags."""
        answer: dict[str, Any] = {"status": "ok", "lag_ms": self.counters()["lag_ms"]}
        if self._task is not None and self._task.done() and not self._closing:
            answer |= {"status": "down", "reason": "the writer ended"}
        elif self._refusal is not None:
            lost = self._spool_refusal is not None or not self._refusal.retry
            answer |= {"status": "down" if lost else "degraded", "reason": str(self._refusal)}
            answer["spool_bytes"] = self._spool.size
        elif self._spool:
            answer |= {"status": "degraded", "reason": "catching up", "spool_bytes": self._spool.size}
        elif answer["lag_ms"] > SLOW_MS:
            answer |= {"status": "degraded", "reason": "the store is slow: what comes waits, and then the feed does"}
        else:
            answer |= self._door.status()
        return answer

    # -- the store's side ----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Flush when it is due, until closed and empty."""
        try:
            while not (self._closing and not self._waiting):
                await self._rest()
                if self._spool and self._pause.is_over:
                    await self._unspool()
                if self._due():
                    await self._flush()
                if self._pause.is_over and not self._closing:
                    await self._rebuild_first()
        finally:
            self._waiting.break_promises(StoreUnavailable("the store's writer ended"))
            self._room.set()
            self._idle.set()

    async def _rest(self) -> None:
        """Sleep until a flush is due, a try at the store is, or somebody puts, drains or closes."""
        if (wait_s := self._wait_s()) == 0:
            await asyncio.sleep(0)
            return
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._wake.wait()

    def _wait_s(self) -> float | None:
        """Seconds until there is something to do by itself; None where there is nothing."""
        if self._due():
            return 0.0
        now_ns = self._clock()
        waits = []
        if self._waiting.in_hand or self._spool or self._rebuilds.first(self._stored_ns):
            waits.append(self._pause.ends_ns - now_ns)
        if self._waiting and not self._waiting.in_hand:
            waits.append(self._waiting.ripens_ns() - now_ns)
        return max(min(waits), 0) / 1e9 if waits else None

    def _due(self) -> bool:
        if self._waiting and (self._closing or self._waiting.is_full):
            return True
        return self._pause.is_over if self._waiting.in_hand else self._waiting.is_ripe

    async def _flush(self) -> None:
        """Write a group of what waits, into the store or, when it refuses, into the spool."""
        parcel = self._waiting.take()
        if (not self._spool and self._pause.is_over and await self._stored(parcel)) or await self._spooled(parcel):
            self._counters["flushed_batches"] += self._waiting.let_go()
            self._kept(parcel)
        elif self._refusal is None:
            return  # the store is back and takes what the full spool holds: there will be room
        else:
            self._waiting.break_promises(StoreUnavailable("neither the store nor the spool takes what was changed"))
            if not self._dropped(parcel):
                return
        self._measure()
        if not self._waiting:
            self._idle.set()

    def _kept(self, parcel: Parcel) -> None:
        """Tell that the documents of a parcel are durable."""
        self._counters["documents"] += len(parcel.documents)
        if parcel.documents and self._on_kept is not None:
            self._on_kept(parcel.documents)

    async def _stored(self, parcel: Parcel) -> bool:
        """Put a parcel into the store; False where it refuses."""
        began_ns = self._clock()
        try:
            await self._rebuilds.announce(parcel.rebuild)
            admission = await self._door.append(parcel.batch, parcel.bars, parcel.documents)
            for gap in parcel.verdicts:
                await self._door.settle_gap(gap)
        except StorageError as error:
            self._refused(error)
            return False
        self._took.add((self._clock() - began_ns) / 1e9)
        self._accepted()
        self._counters["flushes"] += 1
        self._counters["flushed_rows"] += len(parcel.batch)
        self._counters["repeats"] += admission.repeats
        self._rebuilds.add(parcel.rebuild)
        self._stored_ns = max(self._stored_ns, parcel.batch.watermark_ns)
        return True

    async def _spooled(self, parcel: Parcel) -> bool:
        """Put a parcel into the spool; False where it refuses too."""
        try:
            await asyncio.to_thread(self._spool.append, parcel)
        except (OSError, WriterOverflow) as error:
            if self._spool_refusal is None:
                _log.error("spool refuses too, ticks wait in memory", error=str(error))
            self._spool_refusal = error
            return False
        self._spool_refusal = None
        self._counters["spooled_rows"] += len(parcel.batch)
        return True

    async def _unspool(self) -> None:
        """Put the oldest parcel of the spool into the store; tell of documents that an earlier run left."""
        parcel = await asyncio.to_thread(self._spool.first)
        if parcel is not None and await self._stored(parcel):
            left = self._spool.size
            await asyncio.to_thread(self._spool.drop_first)
            self._counters["unspooled_rows"] += len(parcel.batch)
            if self._inherited_bytes > 0:
                self._inherited_bytes -= left - self._spool.size
                self._kept(parcel)

    def _dropped(self, parcel: Parcel) -> bool:
        """Give up ticks in hand where nothing takes them and the queue is full, or no one will try again.

        Their documents stay, unless no one will try again.
        """
        if not (self._waiting.is_full or self._closing):
            return False
        lost = len(parcel.documents) if self._closing else 0
        self._counters["dropped_batches"] += self._waiting.drop(keep_documents=not self._closing)
        self._counters["dropped_rows"] += len(parcel.batch)
        self._counters["dropped_documents"] += lost
        _log.error("ticks dropped", rows=len(parcel.batch), documents=lost, reason=str(self._spool_refusal))
        return True

    async def _rebuild_first(self) -> None:
        """Rebuild the range that has waited longest; tell of the seconds that changed and of its minutes as stored."""
        try:
            made = await self._rebuilds.make_first(self._store, self._stored_ns)
        except StorageError as error:
            self._refused(error)
            return
        if made is None:
            return
        self._accepted()
        self._counters["rebuilds"] += 1
        self._counters["revised_bars"] += made.revised
        if made.told and self._on_revised is not None:
            self._on_revised(made.told)

    def _refused(self, error: StorageError) -> None:
        if self._refusal is None:
            _log.error("store refuses, ticks go to the spool", error=str(error))
        self._refusal = error
        self._counters["store_errors"] += 1
        self._pause.lengthen()

    def _accepted(self) -> None:
        if self._refusal is not None:
            _log.info("store takes ticks again", spool_bytes=self._spool.size)
        self._refusal = None
        self._pause.end()

    def _demand_running(self) -> None:
        """Raise what ended the writer, if anything did."""
        if self._task is None or self._closing:
            raise StoreUnavailable("the store's writer is not running", hint="a matter of order at start or end")
        if self._task.done():
            error = None if self._task.cancelled() else self._task.exception()
            raise error or StoreUnavailable("the store's writer was stopped")

    def _measure(self) -> None:
        """Note the queue's depth and open or shut the door to ``put``."""
        self._counters["max_depth"] = max(self._counters["max_depth"], len(self._waiting))
        (self._room.set if self._waiting.has_room else self._room.clear)()
