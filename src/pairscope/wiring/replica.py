"""``pairscope api``: one of any number of processes that answer, each with an engine that steps the shards' streams."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast
from urllib.parse import urlsplit

import structlog

from pairscope.alerts import SharedFirings, number_of
from pairscope.api.options import ApiOptions
from pairscope.api_settings import api_options
from pairscope.config import Settings, spool_name
from pairscope.desk import Desk, shared_topic
from pairscope.engine.alert_prices import TradeView
from pairscope.engine.alerts import AlertBook
from pairscope.engine.journal import Teller
from pairscope.market.bars import BarBatch
from pairscope.market.continuity import Continuity
from pairscope.pipeline import LiveJournal, Pipeline
from pairscope.ports import Document, Services
from pairscope.process import configure_logs, guard_host, loop_factory, stop_event
from pairscope.replica_feed import ReplicaFeed
from pairscope.replica_status import Heartbeats, StorePulse, replica_health, replica_stats
from pairscope.storage.buffered_records import BufferedRecords
from pairscope.storage.desk_store import DeskRecords, DeskStore, FencedRecords, FirstRecords, Term
from pairscope.storage.leadership import Leadership
from pairscope.storage.memory_cache import MemoryBus
from pairscope.storage.recent_parcels import RecentParcels, RecentStore, documents_only
from pairscope.storage.redis_bus import RedisBus
from pairscope.storage.redis_cache import RedisCache
from pairscope.storage.redis_client import RedisClient
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import Store, StoreWriter, open_store
from pairscope.supervisor import take_port
from pairscope.telemetry import Telemetry
from pairscope.wiring.desk_parts import DeskParts, TradesBefore
from pairscope.wiring.instance import Instance, NoJournal, Writing
from pairscope.wiring.near_cache import NearCache
from pairscope.wiring.notices import Notices
from pairscope.wiring.patience import until_stored
from pairscope.wiring.replica_start import start_engine
from pairscope.wiring.server_mode import demand_servers
from pairscope.wiring.shard_source import StreamSource
from pairscope.wiring.verdict import until_one_ends

__all__ = ["Replica", "run_api"]

_log = structlog.get_logger(__name__)

LOOK_S: Final = 0.5
HEARD_WITHIN_S: Final = 3.0
CHANGED_FOR_S: Final = 5.0
"""So long another number of shards has to be heard of before the streams are chosen anew."""
BEFORE_NS: Final = 60_000_000_000
"""The streams are read from so long before the store's end on: what is stored already is known by its ids."""
NOT_READY_S: Final = 1.0
"""A process that stops says so for a moment before it refuses, so that whoever shares out requests looks elsewhere."""
STOP_S: Final = 5.0


class Replica(Instance):
    """An instance whose feed is what the shards publish, and which stores documents alone."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        redis: RedisClient,
        *,
        name: str = "replica",
        address: str = "",
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.redis = redis
        self.feed: ReplicaFeed | None = None
        self.recent: RecentParcels
        self.pulse = StorePulse(store.watermark_ns)
        self.ledger = Continuity()
        self.stopping = False
        self.term = Term(store)
        self.shared_firings = SharedFirings(self.term.document)
        spool = Spool(settings.data_dir / f"{spool_name(settings.store_url)}-{name}", max_bytes=settings.spool_mb << 20)

        def writing(adopt: Callable[[Sequence[BarBatch]], None], kept: Callable[[Sequence[Document]], None]) -> Writing:
            del kept  # what is spooled is told and sent by nobody: another replica may have done it
            self.desk_store = DeskStore(
                cast("FirstRecords", store),
                kept=self._told_of,
                refused=self._refused,
                superseded=self._superseded,
                belongs=number_of,
            )
            face = documents_only(cast("Store", self.desk_store))
            writer = StoreWriter(face, spool=spool, max_batches=settings.queue_batches, on_revised=adopt)
            self.recent = RecentParcels(writer, store.settle_gap)
            return Writing(
                writer,
                RecentStore(store, self.recent),
                DeskRecords(BufferedRecords(store, writer), self.term),
                shared=self.shared_firings,
                may_send=self.term.holds,
                desks=FencedRecords(cast("FirstRecords", store), self.term, superseded=self._superseded),
            )

        self.shared_cache = RedisCache(redis)
        self.shared_bus = RedisBus(MemoryBus(), redis, shared_topic)
        self.beats = Heartbeats(self.shared_cache, clock=clock)
        near = NearCache(self.shared_cache)
        super().__init__(settings, store, cache=near, bus=self.shared_bus, writing=writing, clock=clock)
        self.desk_parts = DeskParts(self, self.trades, self.shared_firings)
        leadership = Leadership(redis, "desk")
        self.desk = Desk(leadership, self.desk_parts, self.term, self.shared_cache, address=address)
        self.notices = Notices(
            self.shared_bus,
            lambda: self.watchlist,
            store=store,
            records=store,
            live=self.engine,
            take=self._brought_elsewhere,
            clock=clock,
        )
        self._counted |= {"recent": self.recent, "shared_cache": self.shared_cache, "notices": self.notices}

    def make_rules(self) -> AlertBook:
        """Return a book of rules that can judge what came before it was told of any."""
        self.trades = TradesBefore(self.engine)
        return AlertBook(self.symbols, cast("TradeView", self.trades))

    read_again_s = 30.0

    def pair_changed(self, key: str) -> None:
        """Tell the other replicas of a pair that was changed here."""
        self.notices.pair_changed(key)

    def imported(self, bars: BarBatch) -> None:
        """Take bars that people brought, and tell the other replicas of them."""
        super().imported(bars)
        self.notices.imported(bars)

    def make_journal(self, tellers: Sequence[Teller]) -> LiveJournal | NoJournal:
        """Return none: each replica is told of the market by itself."""
        return NoJournal()

    # -- life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start where the store ends, then follow the shards until cancelled."""
        self.waiting_for = "the store"
        await self.shared_bus.start()
        await until_stored(self.writer.start)
        self.ledger = await until_stored(partial(start_engine, self.engine, self.store))
        await until_stored(partial(self.watchlist.restore, self.settings.pairs))
        self.publisher.flag_by(self.ledger)
        self.waiting_for = ""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.beats.run(), name="heartbeats")
            group.create_task(self.pulse.run(), name="pulse of the store")
            for name, run in self.live_work().items():
                group.create_task(run(), name=name)
            group.create_task(self.notices.run(), name="notices")
            group.create_task(self._follow(), name="market")
            group.create_task(self.desk.run(), name="desk")

    async def _follow(self) -> None:
        """Follow as many shards as there are; choose the streams anew where that changes."""
        while True:
            with suppress(TimeoutError):  # where nobody says how many there are, the store is followed meanwhile
                async with asyncio.timeout(HEARD_WITHIN_S):
                    await self.beats.heard.wait()
            shards = self.beats.count or 1
            self.feed = ReplicaFeed(
                StreamSource(self.redis, range(shards), since_ns=self._position_ns()),
                range(shards),
                symbols=self.symbols,
                ledger=self.ledger,
                store=self.store,
                on_bars=self._bars_came,
                known_ns=self.engine.watermark_ns(),
                clock=self.clock,
            )
            self.pipeline = Pipeline(
                self.feed,
                self.engine,
                self.recent,
                self.publisher,
                self.book,
                clock=self.clock,
                screen=self.desk_parts.screen,
                alerts=self.desk_parts,
            )
            _log.info("following the shards", shards=shards)
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._until_others(shards), name="number of shards")
                await self.pipeline.run()
                watching.cancel()

    async def _until_others(self, shards: int) -> None:
        """Close the feed once another number of shards has been heard of for a while."""
        since_s: float | None = None
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = time.monotonic()
            since_s = None if self.beats.count in {0, shards} else since_s or now_s
            if since_s is not None and now_s - since_s > CHANGED_FOR_S and self.feed is not None:
                _log.info("there are other shards now", before=shards, now=self.beats.count)
                await self.feed.close()
                return

    def _position_ns(self) -> int:
        return max(0, self.engine.watermark_ns() - BEFORE_NS)

    def _bars_came(self, word: str, bars: BarBatch) -> None:
        """Take bars that a shard stored beside its ticks."""
        if word == "rebuilt":
            self.adopt([bars])
        else:
            self.take_history(bars.in_table(self.symbols))

    def _brought_elsewhere(self, bars: BarBatch) -> None:
        """Take minutes that people brought to another replica."""
        self.take_history(bars.in_table(self.symbols))

    async def _told_of(self, documents: Sequence[Document]) -> None:
        await self.alerts.kept(documents)

    def _refused(self, seqs: Sequence[int]) -> None:
        self.alerts.refused(seqs)

    def _superseded(self) -> None:
        self.term.end()  # first: who waits for what was let go hears of it
        self.desk.superseded()

    # -- what is said of it --------------------------------------------------------------------------------------------

    def waits_for(self) -> str:
        """Return what keeps requests away: the start, a stop, or a store that is away while nothing is live."""
        if self.stopping:
            return "nothing more: it stops"
        if self.waiting_for:
            return self.waiting_for
        live = self.feed is not None and self.feed.quiet_s() < STOP_S
        return "" if self.pulse.answers or live else "the store"

    def health(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the checks of ``/api/health``."""
        store: dict[str, Any] = self.pulse.status()
        if self.waiting_for:
            store = {"status": "degraded", "reason": f"waiting for {self.waiting_for}"}
        elif store["status"] == "ok":
            store = dict(self.writer.status())
        told = getattr(self.store, "replica_status", None)  # of a server with a read replica
        if told is not None and (standing := told()) is not None:
            store["replica"] = dict(standing)
            if store["status"] == "ok" and "reason" in standing:
                store |= {"status": "degraded", "reason": standing["reason"]}
        return replica_health(self.beats, self.feed, store, self.redis.status())

    def stats(self) -> Mapping[str, Any]:
        """Return the counters of ``/api/stats``."""
        own = replica_stats(self.beats, self.feed, self.pipeline, self.writer, self.clock())
        desk = {"leadership": {"desk": self.desk.counters()}, "desk": self.desk_store.desk_counters()}
        return {**own, **super().stats(), **desk}

    def services(self) -> Services:
        """Return what the API needs, and where the desk is."""
        return replace(super().services(), desk=self.desk)

    async def close(self) -> None:
        """End in order what comes behind the feed, the desk first, so that another replica takes it up."""
        await self.desk.close()
        await super().close()
        await self.shared_bus.close()
        await self.shared_cache.close()
        await self.redis.close()


def run_api(settings: Settings) -> int:
    """Answer requests until asked to stop; return the exit code.

    ``ConfigError`` where a server is not named, keys are asked for without a secret that the replicas share, the port
    is taken or anybody could reach it.
    """
    demand_servers(settings, "api")
    guard_host(settings, settings.host, "--host")
    options = api_options(settings, shared=True)
    port = take_port(settings.host, settings.port, 8000, "--port")
    configure_logs(settings)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_run(settings, port, options))


def advertised(settings: Settings, port: int) -> str:
    """Return the address at which other replicas reach this one."""
    if settings.advertise_url:
        return settings.advertise_url.rstrip("/")
    loopback = settings.host in {"127.0.0.1", "localhost", "::1"}
    return f"http://{'127.0.0.1' if loopback else socket.gethostname()}:{port}"


async def _run(settings: Settings, port: int, options: ApiOptions) -> int:
    from pairscope.api.app import create_app
    from pairscope.api.server import make_server

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    stop = stop_event()
    redis = RedisClient(settings.redis_url, replica_url=settings.redis_replica_url)
    await redis.start()
    store = await _opened(settings, stop)
    if store is None:
        await redis.close()
        return 0
    address = advertised(settings, port)
    replica = Replica(settings, store, redis, name=urlsplit(address).netloc.replace(":", "-"), address=address)
    telemetry = Telemetry(settings.otlp_endpoint, service="api") if settings.otlp_endpoint else None
    app = create_app(replica.services(), options=options, tracer=None if telemetry is None else telemetry.tracer)
    server = make_server(app, host=settings.host, port=port, grace_s=int(STOP_S))
    gc.collect()
    gc.freeze()  # what a start leaves in memory stays; looking through it again would hold everything up
    serving = asyncio.create_task(server.serve(), name="api")
    working = asyncio.create_task(replica.run(), name="replica")
    asked = asyncio.create_task(stop.wait(), name="stop")
    code = 0
    try:
        code = await until_one_ends(working, serving, asked)
        replica.stopping = True
        await asyncio.sleep(NOT_READY_S if asked.done() else 0)
        await replica.desk.close()  # another takes it up while what is under way here ends
        await app.state.part()
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)
        for task in (working, asked):
            task.cancel()
        await asyncio.gather(working, asked, return_exceptions=True)
        await replica.close()
        if telemetry is not None:
            await asyncio.to_thread(telemetry.close)
        gc.unfreeze()
    return code


async def _opened(settings: Settings, stop: asyncio.Event) -> Store | None:
    """Open the store, again while it is away; None where the process is asked to stop meanwhile."""
    pool, replica_url = settings.database_pool, settings.database_replica_url
    ask = partial(open_store, settings.store_url, replica_url=replica_url, pool=pool)
    opening = asyncio.create_task(until_stored(ask), name="open the store")
    asked = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({opening, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not opening.done():
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        return None
    return opening.result()
