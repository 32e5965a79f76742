"""The live market with all that stands behind a feed: engine, pairs, writer, journal and a real store on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pairscope.alerts import AlertDesk
from pairscope.delivery import Courier
from pairscope.engine.alerts import AlertBook
from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.journal import PairTeller
from pairscope.engine.pairs import PairBook
from pairscope.engine.paper import PaperBook
from pairscope.feed.synthetic import ORIGIN_S, SyntheticMarket
from pairscope.market.bars import BarBatch
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.paper import PaperTrader
from pairscope.pipeline import LiveJournal, Pipeline, Publisher, warm_start
from pairscope.research.alert_preview import AlertPreview
from pairscope.storage.buffered_records import BufferedRecords
from pairscope.storage.buffered_store import BufferedStore
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.memory_cache import MemoryBus, MemoryCache
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter
from pairscope.watchlist import Watchlist

MINUTE = 60_000_000_000
SECOND = 1_000_000_000
START_NS = (ORIGIN_S + 90_000 * 60) * SECOND
LATENESS_NS = 300_000_000


def synthetic_ticks(*, seed: int, symbols: int, rate: float, seconds: int) -> TickBatch:
    """Return a stretch of the synthetic market in the order of its event times."""
    market = SyntheticMarket(seed=seed, symbols=symbols, ticks_per_second=rate)
    trades = market.trades(START_NS, START_NS + seconds * SECOND)
    price = np.array([10.0**listing.price_decimals for listing in market.listings])
    size = np.array([10.0**listing.size_decimals for listing in market.listings])
    times = trades.event_ms * 1_000_000
    return TickBatch(
        Symbols(market.symbols),
        trades.symbol_id.astype(np.int32),
        times,
        times + 20_000_000,
        trades.agg_id,
        trades.price / price[trades.symbol_id],
        trades.size / size[trades.symbol_id],
        trades.buyer_is_maker,
        0,
    )


def as_it_came(
    ticks: TickBatch, *, seed: int, flush_ns: int, late: float = 0.0, most_late_s: float = 0.0
) -> list[TickBatch]:
    """Cut ticks into batches as a feed flushes them, some ticks later than they should be."""
    rng = np.random.default_rng(seed)
    delay = np.where(rng.random(len(ticks)) < late, rng.random(len(ticks)) * most_late_s * 1e9, 0.0).astype(np.int64)
    recv_ns = ticks.ts_recv_ns + delay
    order = np.argsort(recv_ns, kind="stable")
    ticks = replace(ticks.take(order), ts_recv_ns=recv_ns[order])
    cuts = np.flatnonzero(np.diff(ticks.ts_recv_ns // flush_ns)) + 1
    batches, newest = [], 0
    for rows in np.split(np.arange(len(ticks)), cuts):
        batch = ticks.take(rows)
        newest = max(newest, int(batch.ts_event_ns.max()))
        batches.append(batch.with_watermark(newest - LATENESS_NS))
    return batches


class Script:
    """A feed of given batches."""

    def __init__(self, batches: Iterable[TickBatch]) -> None:
        self._batches = batches

    async def batches(self) -> AsyncIterator[TickBatch]:
        for batch in self._batches:
            yield batch

    async def close(self) -> None:
        return


class Screens:
    """Stands for the screens: ``events`` are what they found and lost, oldest first."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []

    def discoveries(self, limit: int = 20) -> Mapping[str, Any]:
        return {"discoveries": self.events[::-1][:limit]}


class LiveHouse:
    """One process's life over a store: opened, fed, and closed or left as a crash leaves it."""

    def __init__(self, store: DuckDBStore, folder: Path, symbols: Symbols, *, now_ns: int) -> None:
        self.store = store
        self.symbols = symbols
        self.now_ns = now_ns
        self.engine = DataProcessor(symbols)
        self.book = PairBook(symbols, self.engine)
        self.bus = MemoryBus()
        self.positions = PaperBook(symbols)
        self.rules = AlertBook(symbols, self.engine)
        self.screens = Screens()
        self.rates: dict[str, list[tuple[str, int, float]]] = {}
        self.writer = StoreWriter(
            store,
            spool=Spool(folder / "spool", max_bytes=1 << 20),
            on_revised=self.adopt,
            on_kept=lambda documents: self.courier.kept(documents),  # noqa: PLW0108 - it is made behind the writer
        )
        tellers = [PairTeller(self.book), self.positions, self.rules]
        self.journal = LiveJournal(symbols, tellers, store, started_ns=now_ns)
        self.watchlist = Watchlist(
            self.book,
            store=BufferedStore(store, self.writer),
            records=store,
            bus=self.bus,
            live=self.engine,
            note=self.journal.note,
        )
        self.paper = PaperTrader(
            self.positions,
            store=BufferedStore(store, self.writer),
            records=store,
            bus=self.bus,
            live=self.engine,
            clock=lambda: now_ns,
            note=self.journal.note,
        )
        buffered, records, cache = BufferedStore(store, self.writer), BufferedRecords(store, self.writer), MemoryCache()
        self.courier = Courier(records, lambda: now_ns, secret="whsec_" + "c2Vj" * 8)
        self.alerts = AlertDesk(
            self.rules,
            store=buffered,
            records=records,
            cache=cache,
            bus=self.bus,
            live=self.engine,
            pairs=self.watchlist,
            screens=self.screens,  # type: ignore[arg-type]  # of the port the desk asks for this alone
            courier=self.courier,
            preview=AlertPreview(store=buffered, live=self.engine),
            funding=self.funding,
            clock=lambda: now_ns,
            note=self.journal.note,
        )
        self.publisher = Publisher(self.engine, cache, self.bus, self.book, self.positions, self.alerts)

    async def funding(self, symbol: str, _start_ns: int, _end_ns: int) -> Sequence[tuple[str, int, float]]:
        return self.rates.get(symbol, [])

    @classmethod
    async def open(cls, path: Path, symbols: Symbols, *, now_ns: int = 1) -> LiveHouse:
        house = cls(await DuckDBStore.open(path, threads=1), path.parent, symbols, now_ns=now_ns)
        await house.writer.start()
        await warm_start(house.engine, house.store)
        house.journal.note("start", "", "", house.engine.watermark_ns(), now_ns)
        await house.watchlist.restore()
        await house.watchlist.catch_up()
        await house.paper.restore()
        await house.paper.catch_up()
        await house.alerts.restore()
        await house.alerts.look()
        return house

    async def watch(self, pairs: Iterable[PairSettings]) -> None:
        for pair in pairs:
            await self.watchlist.put(pair)
        await self.watchlist.catch_up()

    async def history(self, bars: BarBatch) -> None:
        """Take the exchange's bars as the backend does, when what they are about has long been stored."""
        await self.writer.drain()
        await self.store.put_bars(bars)
        self.journal.bars_came("history", bars)
        self.engine.adopt_history(bars)
        self.watchlist.history_came(self.symbols[i] for i in set(bars.symbol_id.tolist()))
        self.paper.history_came([self.symbols[i] for i in set(bars.symbol_id.tolist())])
        self.alerts.reload([self.symbols[i] for i in set(bars.symbol_id.tolist())])
        await self.catch_up()

    async def catch_up(self) -> None:
        """Read what pairs, paper positions and alerts lack, as they do beside the feed."""
        await self.watchlist.catch_up()
        await self.paper.catch_up()
        await self.alerts.look()

    def adopt(self, bars: Sequence[BarBatch]) -> None:
        self.publisher.adopt(bars)
        for batch in bars:
            self.journal.bars_came("rebuilt", batch)

    async def feed(self, batches: Sequence[TickBatch], *, settle_every: int = 40) -> None:
        """Take batches their way; pairs that lack history read it now and then, as the watch-list does."""
        pipeline = Pipeline(
            Script(batches), self.engine, self.writer, self.publisher, self.book, clock=lambda: 0,
            journal=self.journal.take, paper=self.positions, alerts=self.alerts,
        )  # fmt: skip
        for i, batch in enumerate(batches):
            await pipeline.step(batch)
            if i % settle_every == settle_every - 1:
                await self.catch_up()
                await self.journal.flush()

    async def close(self) -> None:
        await self.paper.close()
        self.alerts.close()
        await self.writer.close()
        await self.journal.close()
        await self.store.close()

    async def crash(self) -> None:
        """End as a killed process does: what waits in memory is gone."""
        self.alerts.close()
        await self.writer.drain()
        await self.writer.close()
        await self.store.close()
