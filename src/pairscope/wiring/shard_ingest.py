"""A shard's process: it follows its symbols all the time, and writes and publishes what it sees while it is active."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from pairscope.backend_status import stats_of
from pairscope.config import Settings
from pairscope.engine.data_processor import DataProcessor, Updates
from pairscope.engine.pairs import PairBook
from pairscope.errors import StorageError
from pairscope.feed.history import HistoryLoader
from pairscope.feed.lost_trades import LostTrades
from pairscope.feed.rest import ExchangeRest
from pairscope.feed.stored_trades import StoredTrades
from pairscope.feed.supervision import TaskCrew
from pairscope.feed.websocket_client import WebSocketFeed
from pairscope.market.bars import BarBatch
from pairscope.market.continuity import Continuity, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.pipeline import Pipeline, Publisher, warm_start
from pairscope.sharding import Shard
from pairscope.standby import CacheWhileActive, Standby
from pairscope.storage.leadership import Leadership
from pairscope.storage.market_stream import MarketStreamWriter
from pairscope.storage.memory_cache import MemoryBus
from pairscope.storage.redis_cache import RedisCache
from pairscope.storage.redis_client import RedisClient
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import Store, StoreWriter
from pairscope.wiring.following import whom_to_follow
from pairscope.wiring.patience import until_stored
from pairscope.wiring.shard_voice import ShardVoice
from pairscope.wiring.share import share_of

__all__ = ["ShardIngest"]

_log = structlog.get_logger(__name__)

RETRY_S: Final = 2.0
HEARTBEAT_S: Final = 1.0
HEARTBEAT_TTL_S: Final = 10.0
FLUSH_S: Final = 3.0
ASK_S: Final = 1.5
"""How long a take-over waits for the store's ledger; without it, what is remembered is sent whole."""
MAX_TOLD: Final = 1024
"""Verdicts, and rebuilt bars, that may wait to be handed on; the store holds them, so more are dropped and counted."""
NEW_NS: Final = 3600 * 1_000_000_000
"""The first minute of a symbol is corrected by the exchange's bar while it is as young as this."""


class ShardIngest:
    """The parts of an ingest process and how they run; begins by standing by, becomes active with the shard's lock."""

    def __init__(
        self,
        settings: Settings,
        shard: Shard,
        store: Store,
        redis: RedisClient,
        *,
        spool: Path,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.settings = settings
        self.shard = shard
        self.clock = clock
        self.whole_store = store
        self.store = share_of(store, shard)
        self.redis = redis
        self.cache = RedisCache(redis)
        self.stream = MarketStreamWriter(redis, shard.index)
        self.voice = ShardVoice(self.stream, self.cache, heartbeat=self._heartbeat)
        self.leadership = Leadership(redis, f"shard:{shard}")
        self.symbols = Symbols()
        self.engine = DataProcessor(self.symbols)
        self.book = PairBook(self.symbols, self.engine, timer=time.perf_counter_ns)
        self.writer = StoreWriter(
            self.store,
            spool=Spool(spool, max_bytes=settings.spool_mb << 20),
            max_batches=settings.queue_batches,
            on_revised=self._rebuilt,
        )
        self.standby = Standby(self.writer, self.voice.publish, keep_s=settings.standby_seconds)
        beside = CacheWhileActive(self.cache, lambda: self.standby.active)
        self.publisher = Publisher(self.engine, beside, MemoryBus(), self.book)
        self.rest = ExchangeRest(settings.exchange_rest_url, clock=clock)
        self.feed: WebSocketFeed | None = None
        self.pipeline: Pipeline | None = None
        self.follow: Sequence[str] = ()
        self.waiting_for = "the start"
        self.since_ns = clock()
        self.told_too_much = 0
        self._holes: StoredTrades | None = None
        self._lost: LostTrades | None = None
        self._verdicts: asyncio.Queue[Gap] = asyncio.Queue(MAX_TOLD)
        self._beside = TaskCrew(sleep=asyncio.sleep, rng=random.Random())
        self._while_active: TaskCrew | None = None
        self._leading: asyncio.Task[None] | None = None
        self._closing = False

    # -- life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the shard's symbols until the feed is closed; raises what ends the process."""
        self.waiting_for = "the store"
        await until_stored(self.writer.start)
        follow = await self._whom()
        self.waiting_for = "the store"
        await until_stored(partial(warm_start, self.engine, self.store))
        pipeline = self._make_pipeline(follow, await until_stored(self.store.continuity))
        self.waiting_for = ""
        self._beside.start(
            [
                ("verdicts", self._settle_gaps),
                ("told bars", self.voice.tell_bars),
                ("heartbeat", self.voice.beat),
                ("statistics", self.voice.keep_statistics),
                ("holes from the store", self._fill_holes),
            ]
        )
        leading = asyncio.create_task(self.leadership.run(self._gain, self._lose), name="leadership")
        self._leading = leading
        following = asyncio.create_task(pipeline.run(), name="pipeline")
        try:
            while not following.done():
                await asyncio.wait({leading, following}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                failure = self._beside.failure or (self._while_active and self._while_active.failure)
                if failure:
                    raise failure
                if leading.done() and not self._closing:
                    leading.result()
                    raise RuntimeError("nobody looks after the shard's lock any more")
            following.result()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await self._beside.stop()
            await self._stop_active_work()

    async def hang_up(self) -> None:
        """Close the feed; what has come still takes its way, and then ``run`` ends."""
        self._closing = True
        if self.pipeline is not None:
            await self.pipeline.close()

    async def close(self) -> None:
        """Write and publish what waits, then let go of the lock: the one that stands by takes over at once."""
        writing = asyncio.create_task(self.writer.close(), name="last flush")
        done, _ = await asyncio.wait({writing}, timeout=FLUSH_S)
        if not done:
            _log.error("the last flush takes too long; who takes over has it too", waited_s=FLUSH_S)
        await self.stream.close()
        await self.leadership.close()
        if self._leading is not None:
            self._leading.cancel()
            await asyncio.gather(self._leading, return_exceptions=True)
        await self.cache.close()
        await self.rest.close()

    def _make_pipeline(self, follow: Sequence[str], ledger: Continuity) -> Pipeline:
        settings = self.settings
        self.follow = follow
        for symbol in follow:
            self.symbols.id_of(symbol)
        self.feed = WebSocketFeed(
            self.symbols,
            follow,
            ws_url=settings.exchange_ws_url,
            rest=self.rest,
            continuity=ledger,
            clock=self.clock,
            monotonic=time.monotonic_ns,
            flush_ms=settings.flush_ms,
            lateness_ms=settings.lateness_ms,
            stall_seconds=settings.stall_seconds,
            on_verdict=self._note_verdict,
        )
        self.feed.stand_by(waits=True)
        self.publisher.flag_by(ledger)
        self._holes = StoredTrades(self.store, self.symbols, ledger, self.feed.deliver)
        self._lost = LostTrades(self.store, self.rest, self.symbols, ledger, self._hand_on, clock=self.clock)
        self.pipeline = Pipeline(
            self.feed,
            self.engine,
            self.standby,
            self.publisher,
            self.book,
            clock=self.clock,
            screen=self._note_statistics,
        )
        return self.pipeline

    async def _whom(self) -> list[str]:
        """Return whom to follow: those that the active one follows where there is one, so that both have the same."""
        if self.settings.symbols:
            return self.shard.share(await whom_to_follow(self.settings, self.rest, self._wait_for))
        beat = await self.cache.get(self._key)
        if beat is not None:
            heard = msgspec.json.decode(beat, type=dict[str, Any])
            if heard.get("shard") == str(self.shard) and heard.get("symbols"):
                return [str(symbol) for symbol in heard["symbols"]]
        return self.shard.share(await whom_to_follow(self.settings, self.rest, self._wait_for))

    def _wait_for(self, what: str) -> None:
        self.waiting_for = what

    # -- active or not -------------------------------------------------------------------------------------------------

    async def _gain(self) -> None:
        """Take over: what is remembered first, then holes are the exchange's business, and history is loaded."""
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(ASK_S):
                held = await self.store.continuity()
        except (StorageError, TimeoutError) as error:
            _log.warning("the store does not say what it holds; everything goes to it", error=str(error))
            held = None
        rows = await self.standby.take_over(held)
        self.since_ns = self.clock()
        if self.feed is not None:
            self.feed.stand_by(waits=False)
        await self._stop_active_work()
        crew = self._while_active = TaskCrew(sleep=asyncio.sleep, rng=random.Random())
        crew.start([("history", self._history), ("lost trades", self._fetch_lost)])
        await self.cache.add("symbols", list(self.follow))
        await self.voice.beat_once()
        _log.info("active", shard=str(self.shard), rows=rows, took_s=round(time.monotonic() - began_s, 3))

    async def _lose(self) -> None:
        """Stand by: pass nothing on, ask the exchange for nothing; what is on its way to the store gets there."""
        await self.standby.stand_by()
        self.since_ns = self.clock()
        if self.feed is not None:
            self.feed.stand_by(waits=True)
        await self._stop_active_work()

    async def _stop_active_work(self) -> None:
        crew, self._while_active = self._while_active, None
        if crew is not None:
            await crew.stop()

    async def _fill_holes(self) -> None:
        """While standing by, fill holes from the store."""
        while True:
            if not self.standby.active and self._holes is not None:
                try:
                    await self._holes.fill()
                except StorageError as error:
                    _log.info("holes wait for the store", error=str(error))
            await asyncio.sleep(0.5)

    async def _fetch_lost(self) -> None:
        if self._lost is not None:
            await self._lost.run()

    async def _load_history(self) -> None:
        """Fetch closed bars from before our first ticks, busiest first."""
        loader = HistoryLoader(
            self.rest, self.symbols, store=self.store, clock=self.clock, minutes=self.settings.history_minutes
        )
        async for bars in loader.load(self.follow, first_tick_ns=self._begun_lately):
            await until_stored(partial(self.whole_store.put_bars, bars))
            self.engine.adopt_history(bars)
            self.voice.tell("history", bars)

    async def _history(self) -> None:
        """Load history, from the beginning where the store refused meanwhile."""
        while True:
            try:
                await self._load_history()
                return
            except StorageError as error:
                if not error.retry:
                    raise
                _log.info("history waits for the store", error=str(error))
                await asyncio.sleep(RETRY_S)

    def _begun_lately(self, symbol: str) -> int | None:
        first_ns = self.engine.first_own_ns(symbol)
        return first_ns if first_ns and self.clock() - first_ns < NEW_NS else None

    # -- what goes out -------------------------------------------------------------------------------------------------

    async def _hand_on(self, batch: TickBatch, rebuild: tuple[tuple[str, int, int], ...]) -> None:
        """Give the store trades that the engine has had, and have their bars made of what is stored."""
        await self.standby.put(batch.with_watermark(self.engine.watermark_ns()), (), rebuild)

    def _note_verdict(self, gap: Gap) -> None:
        if self._verdicts.full():
            self.told_too_much += 1
            self._verdicts.get_nowait()
        self._verdicts.put_nowait(gap)

    async def _settle_gaps(self) -> None:
        while True:
            gap = await self._verdicts.get()
            await self.standby.settle(gap, TickBatch.empty(self.symbols, self.engine.watermark_ns()))

    def _rebuilt(self, bars: Sequence[BarBatch]) -> None:
        """Take bars that the store rebuilt."""
        self.publisher.adopt(bars)
        for batch in bars:
            self.voice.tell("rebuilt", batch)

    # -- what is said of it --------------------------------------------------------------------------------------------

    def _note_statistics(self, updates: Updates) -> None:
        if self.standby.active:
            self.voice.note_statistics(updates.stats)

    @property
    def _key(self) -> str:
        return f"shard:{self.shard.index}"

    def _heartbeat(self) -> tuple[str, dict[str, Any]]:
        stats, feed = stats_of(self.feed, self.pipeline, self.writer, self.clock()), self.feed
        said = {
            "shard": str(self.shard),
            "role": "active" if self.standby.active else "standby",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since_ms": self.since_ns // 1_000_000,
            "at_ms": self.clock() // 1_000_000,
            "symbols": list(self.follow),
            "feed": feed.status() if feed is not None else {"status": "degraded", "reason": self.waiting_for},
            "store": dict(self.writer.status()),
            "ticks": self.pipeline.rate.total if self.pipeline else 0,
            "ticks_per_second": stats["rates"]["ticks_per_second"],
            "reconnects": stats["reconnects"],
            "open_gaps": stats["feed"].get("gaps_pending", 0),
            "feed_lag_ms": stats["feed_lag_ms"],
            "last_tick_ms": self.pipeline.last_tick_ns // 1_000_000 if self.pipeline else 0,
            "watermark_ns": self.engine.watermark_ns(),
            "stream": dict(self.stream.counters()),
        }
        return (self._key if self.standby.active else f"{self._key}:standby"), said

    def health(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the checks of ``/api/health``."""
        waits = {"status": "degraded", "reason": f"waiting for {self.waiting_for}"}
        role = "active" if self.standby.active else "standby"
        return {
            "feed": waits if self.feed is None else self.feed.status(),
            "store": self.writer.status(),
            "cache": self.redis.status(),
            "shard": {"status": "ok", "shard": str(self.shard), "role": role, "since_ms": self.since_ns // 1_000_000},
        }

    def stats(self) -> Mapping[str, Any]:
        """Return the counters of ``/api/stats``."""
        lost, holes = self._lost, self._holes
        told = dict(stats_of(self.feed, self.pipeline, self.writer, self.clock()))
        kept = self.standby.counters()
        queues = {**told["queues"], "standby": {"depth": kept["kept_rows"], "capacity": kept["capacity_rows"]}}
        return {
            **told,
            "queues": queues,
            "leadership": {f"shard:{self.shard}": {"leads": self.standby.active}},
            "shard": {
                "name": str(self.shard),
                "active": self.standby.active,
                "index": self.shard.index,
                "count": self.shard.count,
                "lost_trades_fetched": lost.fetched if lost else 0,
                "lost_trades_given_up": lost.given_up if lost else 0,
                "holes_from_store": holes.delivered if holes else 0,
                "told_too_much": self.told_too_much + self.voice.dropped,
            },
            "standby": kept,
            "published": dict(self.stream.counters()),
            "cache": dict(self.cache.counters()),
        }
