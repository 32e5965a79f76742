"""What every process that answers the API is made of, whatever its feed: all between the market and a request."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pairscope.alerts import AlertDesk, SharedFirings
from pairscope.backtester import Backtester
from pairscope.config import Settings
from pairscope.delivery import Courier, secret_of
from pairscope.engine.alerts import AlertBook
from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.journal import PairTeller, Teller
from pairscope.engine.pairs import PairBook
from pairscope.engine.paper import PaperBook
from pairscope.feed.bulk_history import BulkLoader
from pairscope.feed.rest import ExchangeRest
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.monitor import Machine, Monitor
from pairscope.paper import PaperTrader
from pairscope.pipeline import LiveJournal, Pipeline, Publisher
from pairscope.ports import Bus, Cache, Document, Records, Services
from pairscope.research.alert_preview import AlertPreview
from pairscope.research.exchange_terms import ExchangeTerms
from pairscope.research.jobs import JobBoard
from pairscope.research.screen_line import settings_of
from pairscope.screener import Screener
from pairscope.storage.buffered_store import BufferedStore
from pairscope.storage.keeping import Lifecycle, StoreKeeper
from pairscope.storage.tick_storage import Store, StoreWriter
from pairscope.transfer.tick_file import tick_file
from pairscope.watchlist import Watchlist

__all__ = ["Instance", "NoJournal", "Writing"]


@dataclass(frozen=True, slots=True)
class Writing:
    """How an instance writes: its writer, and the store and records as they are with what still waits in it.

    Of several replicas, also what firings need to be told once, who is asked before a message is sent, and records
    that take what the desk writes beside its writer from the desk alone.
    """

    writer: StoreWriter
    store: BufferedStore
    records: Records
    shared: SharedFirings | None = None
    may_send: Callable[[], Awaitable[bool]] | None = None
    desks: Records | None = None


class NoJournal:
    """The journal of who keeps none: of several replicas, none sees the whole of what is told."""

    def note(self, *_: object) -> None:
        """Write nothing down."""

    def bars_came(self, kind: str, bars: BarBatch) -> None:
        """Write nothing down."""

    async def run(self) -> None:
        """Have nothing to do."""

    async def close(self) -> None:
        """Have nothing to end."""

    def counters(self) -> Mapping[str, Any]:
        """Return no counter."""
        return {}


class Instance(ABC):
    """Engine, live pairs, rules, positions, screens, jobs, cache, bus, and how they are told of the market.

    Those that it is made for bring the feed, and say how they do (``health``, ``stats``). ``writing`` makes the way
    into the store; it is told whom bars that were rebuilt and documents that are durable are for.
    """

    read_again_s: float | None = None
    """How often the watch-list is read again, where others change it too."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        cache: Cache,
        bus: Bus,
        writing: Callable[[Callable[[Sequence[BarBatch]], None], Callable[[Sequence[Document]], None]], Writing],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock
        self.started_ns = clock()
        self.symbols = Symbols()
        self.engine = DataProcessor(self.symbols)
        self.cache = cache
        self.bus = bus
        self.book = PairBook(self.symbols, self.engine, timer=time.perf_counter_ns)
        self.positions = PaperBook(self.symbols)
        self.rules = self.make_rules()
        written = writing(self.adopt, self._kept)
        self.writer, self.buffered, self.records = written.writer, written.store, written.records
        secret = secret_of(settings.webhook_secret, settings.data_dir / "webhook.secret")
        self.courier = Courier(
            self.records, clock, secret=secret, private=settings.alert_private_targets, may_send=written.may_send
        )
        self.journal = self.make_journal([PairTeller(self.book), self.positions, self.rules])
        beside: dict[str, Any] = {"store": self.buffered, "records": store, "bus": self.bus, "live": self.engine}
        again_s = self.read_again_s
        self.watchlist = Watchlist(
            self.book, **beside, note=self.journal.note, told=self.pair_changed, read_again_s=again_s
        )
        desks = written.desks or store
        beside["records"] = desks
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
            records=desks,
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
            shared=written.shared,
        )
        beside = {"records": store, "jobs": self.jobs, "imported": self.imported, "note": self.journal.note}
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
        self.pipeline: Pipeline | None = None
        self.waiting_for = "starting"
        self._counted: dict[str, Any] = {"pairs": self.watchlist, "screens": self.screener, "jobs": self.jobs}
        self._counted |= {"backtests": self.backtests, "paper": self.paper, "journal": self.journal}
        self._counted |= {"alerts": self.alerts, "delivery": self.courier, "bulk": self.bulk}
        self._counted |= {"cache": self.cache, "bus": self.bus, "monitor": self.monitor, "keeping": self.keeping}

    def make_rules(self) -> AlertBook:
        """Return the book of alert rules."""
        return AlertBook(self.symbols, self.engine)

    def make_journal(self, tellers: Sequence[Teller]) -> LiveJournal | NoJournal:
        """Return what keeps the journal of what this instance tells."""
        return LiveJournal(self.symbols, tellers, self.store, started_ns=self.started_ns)

    # -- what runs -----------------------------------------------------------------------------------------------------

    def live_work(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Return what runs beside the feed in every instance, by name."""
        return {"pairs": self.watchlist.run, "monitor": self.monitor.run}

    def desk_work(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Return what runs in one instance of a store only, by name."""
        return {
            "screens": self.screener.run,
            "paper positions": self.paper.run,
            "alerts": self.alerts.run,
            "delivery": self.courier.run,
            "backtest kernels": self.backtests.run,
            "journal": self.journal.run,
            "bulk history": self.bulk.run,
            "store keeping": self.keeping.run,
        }

    async def restore_desk(self) -> None:
        """Take up what records hold of positions, deliveries, rules and runs."""
        await self.paper.restore()
        await self.courier.restore()
        await self.alerts.restore()
        await self.backtests.restore()

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

    def pair_changed(self, key: str) -> None:
        """Hear that a pair of the watch-list was changed here."""
        del key  # nobody else has the list

    # -- bars that are no batch's --------------------------------------------------------------------------------------

    def take_history(self, bars: BarBatch) -> None:
        """Take stored minutes from before our ticks: engine and charts, then pairs, positions, alerts and screens."""
        self.journal.bars_came("history", bars)
        if self.engine.adopt_history(bars):
            self.publisher.publish_history(bars)
        names = [self.symbols[i] for i in set(bars.symbol_id.tolist())]
        self.watchlist.history_came(names)
        self.paper.history_came(names)
        self.alerts.reload(names)
        self.screener.bars_came(bars)

    def imported(self, bars: BarBatch) -> None:
        """Take stored bars that people brought: those of followed symbols as history, of others for screens alone."""
        ours = np.array([self.symbols.find(name) is not None for name in bars.symbols], np.bool_)
        followed = ours[bars.symbol_id] if len(bars) and bars.timeframe == "1m" else np.zeros(len(bars), np.bool_)
        if followed.any():
            self.take_history(bars.take(followed).in_table(self.symbols))
        if not followed.all():
            self.screener.bars_came(bars.take(~followed))

    def adopt(self, bars: Sequence[BarBatch]) -> None:
        """Take bars that the store rebuilt: engine and live pairs, then the screens, which read them again."""
        self.publisher.adopt(bars)
        for batch in bars:
            self.journal.bars_came("rebuilt", batch)
            self.screener.bars_came(batch)

    def _kept(self, documents: Sequence[Document]) -> None:
        """Tell the courier which documents are durable."""
        self.courier.kept(documents)

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
            imported=self.imported,
            clock=self.clock,
            source=lambda: self.settings.source,
            health=self.health,
            stats=self.stats,
            started_ns=self.started_ns,
            waits_for=self.waits_for,
        )

    @abstractmethod
    def health(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the checks of ``/api/health``."""

    def stats(self) -> Mapping[str, Any]:
        """Return the counters of ``/api/stats``."""
        return {
            **{name: dict(part.counters()) for name, part in self._counted.items()},
            "exchange": {"url": self.settings.exchange_ws_url},
            "data_dir": str(self.settings.data_dir.resolve()),
        }

    def waits_for(self) -> str:
        """Return what the instance waits for before it can answer; empty once it can."""
        return self.waiting_for
