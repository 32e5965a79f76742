"""Everything in one process: store, writer, engine, cache, bus, feed and API, as ``pairscope run`` has them."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from pairscope.api_settings import api_options
from pairscope.backend_status import health_of, stats_of
from pairscope.config import Settings, spool_name
from pairscope.feed.history import HistoryLoader
from pairscope.feed.websocket_client import WebSocketFeed
from pairscope.market.bars import BarBatch
from pairscope.market.continuity import Gap
from pairscope.pipeline import LiveJournal, Pipeline, warm_start
from pairscope.ports import Document
from pairscope.process import configure_logs, loop_factory
from pairscope.storage.buffered_records import BufferedRecords
from pairscope.storage.buffered_store import BufferedStore
from pairscope.storage.memory_cache import MemoryBus, MemoryCache
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import Store, StoreWriter, open_store
from pairscope.telemetry import Telemetry
from pairscope.wiring.following import whom_to_follow
from pairscope.wiring.instance import Instance, Writing
from pairscope.wiring.patience import until_stored
from pairscope.wiring.verdict import report

__all__ = ["Backend", "run_backend"]

STOP_S: Final = 2.0


class Backend(Instance):
    """One process's parts: an instance, its writer and, once it is known whom to follow, the feed."""

    def __init__(self, settings: Settings, store: Store, *, clock: Callable[[], int] = time.time_ns) -> None:
        self.feed: WebSocketFeed | None = None
        self._verdicts: asyncio.Queue[Gap] = asyncio.Queue()
        spool = Spool(settings.data_dir / spool_name(settings.store_url), max_bytes=settings.spool_mb << 20)

        def writing(adopt: Callable[[Sequence[BarBatch]], None], kept: Callable[[Sequence[Document]], None]) -> Writing:
            writer = StoreWriter(store, spool=spool, max_batches=settings.queue_batches, on_revised=adopt, on_kept=kept)
            return Writing(writer, BufferedStore(store, writer), BufferedRecords(store, writer))

        super().__init__(settings, store, cache=MemoryCache(), bus=MemoryBus(), writing=writing, clock=clock)

    # -- life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bring the engine to where the store ends, and let the writer run."""
        await self.writer.start()  # puts what an earlier run spooled into the store before anybody reads it
        await warm_start(self.engine, self.store)
        self.journal.note("start", "", "", self.engine.watermark_ns(), self.clock())
        await self.watchlist.restore(self.settings.pairs)
        await self.restore_desk()

    async def ingest(self) -> None:
        """Find out whom to follow, then follow them until the feed is closed; live pairs and screens go on beside."""
        async with asyncio.TaskGroup() as group:
            work = {**self.live_work(), **self.desk_work()}
            beside = [group.create_task(run(), name=name) for name, run in work.items()]
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
            journal=self.journal.take if isinstance(self.journal, LiveJournal) else None,
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

    async def _load_history(self, follow: Sequence[str]) -> None:
        """Fetch closed bars from before our first ticks, busiest first."""
        loader = HistoryLoader(
            self.rest, self.symbols, store=self.store, clock=self.clock, minutes=self.settings.history_minutes
        )
        async for bars in loader.load(follow, first_tick_ns=self.engine.first_own_ns):
            await until_stored(partial(self.store.put_bars, bars))
            self.take_history(bars)

    async def _settle_gaps(self) -> None:
        """Write the verdicts that no tick brings."""
        while True:
            gap = await self._verdicts.get()
            await self.writer.settle(gap)

    def waits_for(self) -> str:
        """Return nothing: who answers at all has made its warm start."""
        return ""

    def _wait_for(self, what: str) -> None:
        self.waiting_for = what

    # -- what the API asks ---------------------------------------------------------------------------------------------

    def health(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the checks of ``/api/health``."""
        return health_of(self.feed, self.writer, self.waiting_for)

    def stats(self) -> Mapping[str, Any]:
        """Return the counters of ``/api/stats``."""
        return {**stats_of(self.feed, self.pipeline, self.writer, self.clock()), **super().stats()}


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
        if not server.should_exit:
            code = report(ingest) if ingest in done else report(serving, "the server ended")
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
