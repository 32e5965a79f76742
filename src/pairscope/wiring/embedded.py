"""Everything in one process: store, writer, engine, cache, bus, feed and API, as ``pairscope run`` has them."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import structlog

from pairscope.alerts import AlertDesk
from pairscope.api_settings import api_options
from pairscope.backend_status import health_of, stats_of
from pairscope.backtester import Backtester
from pairscope.config import Settings, spool_name
from pairscope.delivery import Courier, secret_of
from pairscope.engine.alerts import AlertBook
from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.journal import PairTeller, Teller
from pairscope.engine.pairs import PairBook
from pairscope.engine.paper import PaperBook
from pairscope.errors import StorageError
from pairscope.feed.bulk_history import BulkLoader
from pairscope.feed.history import HistoryLoader
from pairscope.feed.rest import ExchangeRest
from pairscope.feed.websocket_client import WebSocketFeed
from pairscope.market.bars import BarBatch
from pairscope.market.continuity import Gap
from pairscope.market.symbols import Symbols
from pairscope.monitor import Machine, Monitor
from pairscope.paper import PaperTrader
from pairscope.pipeline import LiveJournal, Pipeline, Publisher, warm_start
from pairscope.ports import Services
from pairscope.process import configure_logs, loop_factory
from pairscope.research.alert_preview import AlertPreview
from pairscope.research.exchange_terms import ExchangeTerms
from pairscope.research.jobs import JobBoard
from pairscope.research.screen_line import settings_of
from pairscope.screener import Screener
from pairscope.storage.buffered_records import BufferedRecords
from pairscope.storage.buffered_store import BufferedStore
from pairscope.storage.keeping import Lifecycle, StoreKeeper
from pairscope.storage.memory_cache import MemoryBus, MemoryCache
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import Store, StoreWriter, open_store
from pairscope.telemetry import Telemetry
from pairscope.transfer.tick_file import tick_file
from pairscope.watchlist import Watchlist
from pairscope.wiring.following import whom_to_follow
from pairscope.wiring.verdict import report

__all__ = ["Backend", "run_backend"]

_log = structlog.get_logger(__name__)

RETRY_S: Final = 1.0
STOP_S: Final = 2.0


class Backend:
    """One process's parts: store, writer, engine, cache, bus, API and, once it is known whom to follow, the feed."""

    def __init__(self, settings: Settings, store: Store, *, clock: Callable[[], int] = time.time_ns) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock
        self.started_ns = clock()
        self.symbols = Symbols()
        self.engine = DataProcessor(self.symbols)
        self.cache = MemoryCache()
        self.bus = MemoryBus()
        self.book = PairBook(self.symbols, self.engine, timer=time.perf_counter_ns)
        self.positions = PaperBook(self.symbols)
        self.rules = AlertBook(self.symbols, self.engine)
        self.spool = Spool(settings.data_dir / spool_name(settings.store_url), max_bytes=settings.spool_mb << 20)
        self.writer = StoreWriter(
            store,
            spool=self.spool,
            max_batches=settings.queue_batches,
            on_revised=self._adopt,
            on_kept=lambda documents: self.courier.kept(documents),  # noqa: PLW0108 - it is made behind the writer
        )
        self.buffered = BufferedStore(store, self.writer)
        self.records = BufferedRecords(store, self.writer)
        secret = secret_of(settings.webhook_secret, settings.data_dir / "webhook.secret")
        self.courier = Courier(self.records, clock, secret=secret, private=settings.alert_private_targets)
        tellers: list[Teller] = [PairTeller(self.book), self.positions, self.rules]
        self.journal = LiveJournal(self.symbols, tellers, store, started_ns=self.started_ns)
        beside: dict[str, Any] = {"store": self.buffered, "records": store, "bus": self.bus, "live": self.engine}
        self.watchlist = Watchlist(self.book, **beside, note=self.journal.note)
        self.paper = PaperTrader(self.positions, **beside, clock=clock, note=self.journal.note)
        self.jobs = JobBoard(self.bus, clock=clock)
        self.screener = Screener(
            settings_of(settings.screen),
            **{**beside, "store": store},
            jobs=self.jobs,
            surrogates=settings.screen_surrogates,
        )
        self.rest = ExchangeRest(settings.exchange_rest_url, clock=clock)
        terms = ExchangeTerms(self.rest, clock=clock)
        self.backtests = Backtester(
            store=self.buffered,
            live=self.engine,
            records=store,
            jobs=self.jobs,
            clock=clock,
            source=lambda: settings.source,
            exchange=terms,
        )
        self.alerts = AlertDesk(
            self.rules,
            **{**beside, "records": self.records},
            cache=self.cache,
            pairs=self.watchlist,
            screens=self.screener,
            courier=self.courier,
            preview=AlertPreview(store=self.buffered, live=self.engine),
            funding=terms.funding,
            clock=clock,
            note=self.journal.note,
        )
        beside = {"records": store, "jobs": self.jobs, "imported": self._imported, "note": self.journal.note}
        beside |= {"again": self.writer.again, "clock": clock, "exported": tick_file}
        self.bulk = BulkLoader(rest=self.rest, store=self.buffered, **beside, directory=settings.data_dir / "incoming")
        rules = settings.archive_url, settings.archive_days, settings.retention_days, settings.retention_gb
        self.keeping = StoreKeeper(store, jobs=self.jobs, clock=clock, lifecycle=Lifecycle(*rules))
        self.publisher = Publisher(self.engine, self.cache, self.bus, self.book, self.positions, self.alerts)
        self.monitor = Monitor(
            self.stats,
            health=self.health,
            store=self.buffered,
            machine=Machine(settings.data_dir),
            clock=clock,
            stall_s=settings.stall_seconds,
        )
        self.feed: WebSocketFeed | None = None
        self.pipeline: Pipeline | None = None
        self.waiting_for = "starting"
        self._counted: dict[str, Any] = {"pairs": self.watchlist, "screens": self.screener, "jobs": self.jobs}
        self._counted |= {"backtests": self.backtests, "paper": self.paper, "journal": self.journal}
        self._counted |= {"alerts": self.alerts, "delivery": self.courier, "bulk": self.bulk}
        self._counted |= {"cache": self.cache, "bus": self.bus, "monitor": self.monitor, "keeping": self.keeping}
        self._verdicts: asyncio.Queue[Gap] = asyncio.Queue()

    # -- life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bring the engine to where the store ends, and let the writer run."""
        await self.writer.start()  # puts what an earlier run spooled into the store before anybody reads it
        await warm_start(self.engine, self.store)
        self.journal.note("start", "", "", self.engine.watermark_ns(), self.clock())
        await self.watchlist.restore(self.settings.pairs)
        await self.paper.restore()
        await self.courier.restore()
        await self.alerts.restore()
        await self.backtests.restore()

    async def ingest(self) -> None:
        """Find out whom to follow, then follow them until the feed is closed; live pairs and screens go on beside."""
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(self.watchlist.run(), name="pairs"),
                group.create_task(self.screener.run(), name="screens"),
                group.create_task(self.paper.run(), name="paper positions"),
                group.create_task(self.alerts.run(), name="alerts"),
                group.create_task(self.courier.run(), name="delivery"),
                group.create_task(self.backtests.run(), name="backtest kernels"),
                group.create_task(self.journal.run(), name="journal"),
                group.create_task(self.monitor.run(), name="monitor"),
                group.create_task(self.bulk.run(), name="bulk history"),
                group.create_task(self.keeping.run(), name="store keeping"),
            ]
            await self._follow(await whom_to_follow(self.settings, self.rest, self._wait_for))
            for task in beside:
                task.cancel()

    async def _follow(self, follow: Sequence[str]) -> None:
        """Follow symbols until the feed is closed."""
        for symbol in follow:
            self.symbols.id_of(symbol)
        settings = self.settings
        self.feed = WebSocketFeed(
            self.symbols,
            follow,
            ws_url=settings.exchange_ws_url,
            rest=self.rest,
            continuity=(ids := await self.store.continuity()),
            clock=self.clock,
            monotonic=time.monotonic_ns,
            flush_ms=settings.flush_ms,
            lateness_ms=settings.lateness_ms,
            stall_seconds=settings.stall_seconds,
            on_verdict=self._verdicts.put_nowait,
        )
        self.publisher.flag_by(ids)
        self.pipeline = Pipeline(
            self.feed,
            self.engine,
            self.writer,
            self.publisher,
            self.book,
            clock=self.clock,
            screen=self.screener.take,
            journal=self.journal.take,
            paper=self.positions,
            alerts=self.alerts,
        )
        self.waiting_for = ""
        async with asyncio.TaskGroup() as group:
            side = [
                group.create_task(self._settle_gaps(), name="gap verdicts"),
                group.create_task(self._load_history(follow), name="history"),
            ]
            await self.pipeline.run()
            for task in side:
                task.cancel()

    async def end_feed(self) -> None:
        """Hang up; what has come still takes its way, and then ``ingest`` ends."""
        if self.pipeline is not None:
            await self.pipeline.close()

    async def close(self) -> None:
        """End in order what comes behind the feed: jobs, screens, writer, exchange, store."""
        await self.jobs.close()
        await self.backtests.close()
        self.screener.close()
        await self.paper.close()
        await self.courier.close()
        self.alerts.close()
        await self.writer.close()
        await self.journal.close()
        await self.rest.close()
        await self.store.close()

    async def _load_history(self, follow: Sequence[str]) -> None:
        """Fetch closed bars from before our first ticks, busiest first."""
        loader = HistoryLoader(
            self.rest, self.symbols, store=self.store, clock=self.clock, minutes=self.settings.history_minutes
        )
        async for bars in loader.load(follow, first_tick_ns=self.engine.first_own_ns):
            await self._until_stored(partial(self.store.put_bars, bars))
            self._take_history(bars)

    def _take_history(self, bars: BarBatch) -> None:
        """Take stored minutes from before our ticks: engine and charts, then pairs, positions, alerts and screens."""
        self.journal.bars_came("history", bars)
        if self.engine.adopt_history(bars):
            self.publisher.publish_history(bars)
        names = [self.symbols[i] for i in set(bars.symbol_id.tolist())]
        self.watchlist.history_came(names)
        self.paper.history_came(names)
        self.alerts.reload(names)
        self.screener.bars_came(bars)

    def _imported(self, bars: BarBatch) -> None:
        """Take stored bars that people brought: those of followed symbols as history, of others for screens alone."""
        ours = np.array([self.symbols.find(name) is not None for name in bars.symbols], np.bool_)
        followed = ours[bars.symbol_id] if len(bars) and bars.timeframe == "1m" else np.zeros(len(bars), np.bool_)
        if followed.any():
            self._take_history(bars.take(followed).in_table(self.symbols))
        if not followed.all():
            self.screener.bars_came(bars.take(~followed))

    def _adopt(self, bars: Sequence[BarBatch]) -> None:
        """Take bars that the store rebuilt: engine and live pairs, then the screens, which read them again."""
        self.publisher.adopt(bars)
        for batch in bars:
            self.journal.bars_came("rebuilt", batch)
            self.screener.bars_came(batch)

    async def _settle_gaps(self) -> None:
        """Write the verdicts that no tick brings."""
        while True:
            gap = await self._verdicts.get()
            await self.writer.settle(gap)

    async def _until_stored(self, write: Callable[[], Awaitable[object]]) -> None:
        """Write what is not a tick, again while the store refuses for the moment."""
        while True:
            try:
                await write()
                return
            except StorageError as error:
                if not error.retry:
                    raise
                _log.warning("the store refuses for now", error=str(error), again_in_s=RETRY_S)
                await asyncio.sleep(RETRY_S)

    def _wait_for(self, what: str) -> None:
        self.waiting_for = what

    # -- what the API asks ---------------------------------------------------------------------------------------------

    def services(self) -> Services:
        """Return what the API needs."""
        return Services(
            store=self.buffered,
            records=self.store,
            cache=self.cache,
            bus=self.bus,
            live=self.engine,
            pairs=self.watchlist,
            screens=self.screener,
            jobs=self.jobs,
            backtests=self.backtests,
            paper=self.paper,
            alerts=self.alerts,
            bulk=self.bulk,
            keeping=self.keeping,
            monitor=self.monitor,
            imported=self._imported,
            clock=self.clock,
            source=lambda: self.settings.source,
            health=self.health,
            stats=self.stats,
            started_ns=self.started_ns,
        )

    def health(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the checks of ``/api/health``."""
        return health_of(self.feed, self.writer, self.waiting_for)

    def stats(self) -> Mapping[str, Any]:
        """Return the counters of ``/api/stats``."""
        return {
            **stats_of(self.feed, self.pipeline, self.writer, self.clock()),
            **{name: dict(part.counters()) for name, part in self._counted.items()},
            "exchange": {"url": self.settings.exchange_ws_url},
            "data_dir": str(self.settings.data_dir.resolve()),
        }


def run_backend(settings: Settings) -> int:
    """Run ingest, engine and API until asked to stop; return the exit code."""
    configure_logs(settings)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_backend(settings))


async def _backend(settings: Settings) -> int:
    from pairscope.api.app import create_app
    from pairscope.api.server import make_server

    store = await open_store(settings.store_url)
    backend = Backend(settings, store)
    await backend.start()
    telemetry = Telemetry(settings.otlp_endpoint, service="api") if settings.otlp_endpoint else None
    tracer = None if telemetry is None else telemetry.tracer
    app = create_app(backend.services(), options=api_options(settings), tracer=tracer)
    port = settings.port if isinstance(settings.port, int) else 0
    server = make_server(app, host=settings.host, port=port)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, server.handle_exit, name, None)
    gc.collect()
    gc.freeze()  # what a start leaves in memory stays; looking through it again would hold everything up for 0.1 s
    serving = asyncio.create_task(server.serve(), name="api")
    ingest = asyncio.create_task(backend.ingest(), name="ingest")
    code = 0
    try:
        done, _ = await asyncio.wait({serving, ingest}, return_when=asyncio.FIRST_COMPLETED)
        if ingest in done and not server.should_exit:
            code = report(ingest)
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)
        await backend.end_feed()
        await asyncio.wait({ingest}, timeout=STOP_S)
        ingest.cancel()
        await asyncio.gather(ingest, return_exceptions=True)
        await backend.close()
        if telemetry is not None:
            await asyncio.to_thread(telemetry.close)
        gc.unfreeze()
    return code
