"""The market as an API replica hears it: the shards' streams merged into one feed, what they lack from the store."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
import structlog

from pairscope.errors import StorageError
from pairscope.feed.stored_trades import StoredTrades
from pairscope.feed.supervision import TaskCrew
from pairscope.market.bars import BarBatch
from pairscope.market.continuity import Continuity
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I4, TickBatch
from pairscope.ports import Clock, TickStore
from pairscope.shard_merge import ShardEntry, ShardMerge

__all__ = ["Lost", "ReplicaFeed", "ShardSource"]

_log = structlog.get_logger(__name__)

QUEUE: Final = 256
"""Entries, and repairs, that wait for the engine; behind them the reader waits, and then Redis keeps them."""
QUIET_S: Final = 2.0
"""A stream that says nothing for so long is away: what was stored meanwhile is read of the store, each second."""
ASK_S: Final = 0.5
OVERLAP_NS: Final = 2_000_000_000
"""So far before what was heard last the store is asked: shards may be this much apart."""
STORED_WITHIN_NS: Final = 3_000_000_000
"""What a shard receives is stored so soon, as a rule; what comes later is late."""
FILL_AGAIN_S: Final = (0.0, 1.0, 3.0, 10.0)
"""When the store is asked after a loss: what a shard has just said is stored a moment later."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Entries of a shard were lost between two receive times, ns; ``from_ns`` 0 where nobody knows."""

    shard: int
    from_ns: int


class ShardSource(Protocol):
    """What the shards say, each in its own order, and where something of it was lost."""

    def entries(self) -> AsyncIterator[ShardEntry | Lost]:
        """Yield for as long as the process lives; waits while Redis is away."""
        ...


@dataclass(frozen=True, slots=True)
class _Repair:
    """Ticks of the store, to be taken as they come."""

    batch: TickBatch
    taken: asyncio.Future[None] | None = None


class ReplicaFeed:
    """``Feed`` of a replica: each tick once, whoever published it and however often (``ledger`` knows them).

    The shards' entries are put into one order by :class:`ShardMerge`. Ids that no shard has published (an entry that
    was lost, a stream that was trimmed before it was read, Redis away) are looked up in the store until they are there,
    and come as late ticks. Bars that are no batch's go to ``on_bars`` in their place of the stream, with their word.
    What arrives faster than it is taken waits in Redis, not here. ``known_ns`` is the receive time up to which the
    ledger has nearly everything: where the stream says nothing from the beginning on, the store is read from there.
    """

    def __init__(
        self,
        source: ShardSource,
        shards: Sequence[int],
        *,
        symbols: Symbols,
        ledger: Continuity,
        store: TickStore,
        on_bars: Callable[[str, BarBatch], None],
        known_ns: int = 0,
        clock: Clock = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._symbols = symbols
        self._ledger = ledger
        self._store = store
        self._on_bars = on_bars
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._merge = ShardMerge(shards)
        self._queue: asyncio.Queue[ShardEntry | Lost | _Repair | None] = asyncio.Queue(QUEUE)
        self._holes = StoredTrades(store, symbols, ledger, self._repair, sleep=sleep, monotonic=monotonic)
        self._crew = TaskCrew(sleep=sleep, rng=random.Random())
        self._tables: dict[int, tuple[tuple[str, ...], I4]] = {}
        self._owed: list[tuple[float, int]] = []
        self._heard_s = monotonic()
        self._newest_ns = known_ns
        self._closed = False
        self.losses = 0
        self.repeats = 0
        self.from_store = 0
        self.entries = 0
        self.lag_ns = 0
        """How old the newest entry was when it was taken, by the shard's clock and ours."""

    @property
    def watermark_ns(self) -> int:
        """The time up to which every shard that takes part has been heard."""
        return self._merge.watermark_ns

    async def batches(self) -> AsyncIterator[TickBatch]:
        """Yield until closed; raises what ended the reading for good."""
        self._crew.start([("reader", self._read), ("holes", self._holes.run), ("store", self._ask_store)])
        try:
            while not self._closed:
                if self._crew.failure is not None:
                    raise self._crew.failure
                try:
                    async with asyncio.timeout(1.0):
                        item = await self._queue.get()
                except TimeoutError:
                    continue
                for batch in self._taken(item):
                    yield batch
        finally:
            await self._crew.stop()

    async def close(self) -> None:
        """End the feed; what waits is let go, the stream has it still."""
        self._closed = True
        if not self._queue.full():
            self._queue.put_nowait(None)

    def counters(self) -> Mapping[str, Any]:
        """Return counters for ``/api/stats``; ``lag_ms`` is the age of what the stream said last."""
        return {
            "entries_total": self.entries,
            "lost": self.losses,
            "repeats_total": self.repeats,
            "from_store_total": self.from_store,
            "lag_ms": round(self.lag_ns / 1e6 + self.quiet_s() * 1e3, 3),
            "depth": self._queue.qsize(),
            "capacity": QUEUE,
            "merge": dict(self._merge.counters()),
            "left_out": list(self._merge.left_out()),
            "crashes_total": sum(self._crew.crashes.values()),
        }

    def quiet_s(self) -> float:
        """Return for how long no shard has said anything."""
        return self._monotonic() - self._heard_s

    def missing(self) -> int:
        """Return how many holes of ids wait to be filled."""
        return len(self._ledger.open_gaps())

    # -- from the stream -----------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        async for item in self._source.entries():
            self._heard_s = self._monotonic()
            await self._queue.put(item)

    def _taken(self, item: ShardEntry | Lost | _Repair | None) -> list[TickBatch]:
        """Return what becomes of an item: batches of ticks that are new, in their order."""
        if item is None:
            return []
        if isinstance(item, Lost):
            self._note_loss(item)
            return []
        if isinstance(item, _Repair):
            try:
                return self._admitted(item.batch, always=item.batch.watermark_ns > 0)
            finally:
                if item.taken is not None and not item.taken.done():
                    item.taken.set_result(None)
        self.entries += 1
        self.lag_ns = self._clock() - item.at_ns
        self._merge.put(item)
        found = []
        for entry in self._merge.ready():
            self._newest_ns = max(self._newest_ns, entry.at_ns)
            if entry.bars:
                for bars in entry.bars:
                    self._on_bars(entry.word, bars)
                continue
            found += self._admitted(self._own(entry), always=True)
            for verdict in entry.verdicts:
                self._ledger.settle(verdict)
        return found

    def _admitted(self, batch: TickBatch, *, always: bool = False) -> list[TickBatch]:
        """Return a batch without what was there before; nothing where nothing is left and time alone is not asked."""
        if not len(batch) and not batch.void:
            return [batch] if always else []
        admission = self._ledger.admit(batch)
        self.repeats += admission.repeats
        if admission.repeats:
            batch = batch.take(admission.new)
        return [batch] if len(batch) or always else []

    def _own(self, entry: ShardEntry) -> TickBatch:
        """Return an entry's batch under our table of symbols; the translation is kept until the shard has another."""
        batch = entry.batch
        names = tuple(batch.symbols)
        known = self._tables.get(entry.shard)
        if known is None or known[0] != names:
            known = names, np.array([self._symbols.id_of(name) for name in names], np.int32)
            self._tables[entry.shard] = known
        ids = known[1]
        void = tuple((int(ids[symbol_id]), trade_id) for symbol_id, trade_id in batch.void)
        return replace(batch, symbols=self._symbols, symbol_id=ids[batch.symbol_id], void=void)

    # -- from the store ------------------------------------------------------------------------------------------------

    def _note_loss(self, lost: Lost) -> None:
        """Have the store asked for what a shard said from a time on, now and again a little later."""
        self.losses += 1
        from_ns = max(0, (lost.from_ns or self._newest_ns) - OVERLAP_NS)
        _log.warning("part of the market stream was lost; the store has it", shard=lost.shard)
        now_s = self._monotonic()
        self._owed += [(now_s + wait_s, from_ns) for wait_s in FILL_AGAIN_S]

    async def _ask_store(self) -> None:
        """Read of the store what the stream lost, and, while the stream is away, what is stored meanwhile."""
        while True:
            await self._sleep(ASK_S)
            now_s = self._monotonic()
            due = [from_ns for due_s, from_ns in self._owed if due_s <= now_s]
            away = self.quiet_s() > QUIET_S
            if away:
                due.append(max(0, self._newest_ns - OVERLAP_NS))
            if not due:
                continue
            try:
                await self._fill(min(due), alone=away)
            except StorageError as error:
                _log.info("what the stream lacks waits for the store", error=str(error))
                continue
            self._owed = [(due_s, from_ns) for due_s, from_ns in self._owed if due_s > now_s]

    async def _fill(self, from_ns: int, *, alone: bool) -> None:
        """Take what the store received from a time on, in their order; what is known is left out on the way.

        While nothing but the store speaks, time goes on a little behind its newest tick.
        """
        newest_ns = 0
        async for batch in self._store.ticks_received(from_ns, self._clock() + OVERLAP_NS):
            if len(batch):
                await self._repair(batch)
                self._newest_ns = max(self._newest_ns, int(batch.ts_recv_ns[-1]))
                newest_ns = max(newest_ns, int(batch.ts_event_ns.max()))
        if alone and newest_ns:
            await self._repair(TickBatch.empty(self._symbols, 0), watermark_ns=newest_ns - STORED_WITHIN_NS)

    async def _repair(self, batch: TickBatch, *, watermark_ns: int = 0) -> None:
        """Hand ticks of the store on and wait until they are taken: what comes next is judged behind them."""
        taken = asyncio.get_running_loop().create_future()
        ids = np.array([self._symbols.id_of(name) for name in batch.symbols], np.int32)
        void = tuple((int(ids[symbol_id]), trade_id) for symbol_id, trade_id in batch.void)
        own = replace(
            batch, symbols=self._symbols, symbol_id=ids[batch.symbol_id], void=void, watermark_ns=watermark_ns
        )
        self.from_store += len(batch)
        await self._queue.put(_Repair(own, taken))
        await taken
