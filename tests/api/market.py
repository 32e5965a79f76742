"""A small market whose every trade is known as the decimals that were sent, in a real store and a real engine."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from tests.alerts.notebook import Notebook

from pairscope.alerts import AlertDesk
from pairscope.backtester import Backtester
from pairscope.delivery import Courier
from pairscope.engine.alerts import AlertBook
from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.pairs import PairBook
from pairscope.engine.paper import PaperBook
from pairscope.feed.bulk_history import BulkLoader
from pairscope.feed.rest import ExchangeRest
from pairscope.market.bars import BASE_TIMEFRAMES, BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.monitor import Monitor
from pairscope.paper import PaperTrader
from pairscope.ports import Services
from pairscope.research.alert_preview import AlertPreview
from pairscope.research.jobs import JobBoard
from pairscope.screener import Screener
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.keeping import Lifecycle, StoreKeeper
from pairscope.storage.memory_cache import MemoryBus, MemoryCache
from pairscope.watchlist import Watchlist

MS = 1_000_000
START_MS = 1_723_075_200_000  # 2024-08-08T00:00:00Z
HOURS = 3
NOT_STORED_MS = 5_000  # the newest trades are in the engine and not yet in the store


@dataclass(frozen=True)
class Sent:
    """One trade as the exchange sent it."""

    id: int
    timestamp: int
    price: Decimal
    size: Decimal
    buyer_is_maker: bool


def trades_of(seed: int, *, mean_gap_ms: float, price: str, step: str, lot: str, most: int) -> list[Sent]:
    """A walk on the price grid; several trades may share a millisecond."""
    dice = random.Random(seed)
    grid, unit = Decimal(step), Decimal(lot)
    at, level, found = START_MS, int(Decimal(price) / grid), []
    end = START_MS + HOURS * 3_600_000
    number = 1000 * seed
    while True:
        at += int(dice.expovariate(1 / mean_gap_ms)) if dice.random() < 0.9 else 0
        if at >= end:
            return found
        level = max(1, level + dice.choice((-1, 0, 0, 1)))
        found.append(Sent(number, at, level * grid, dice.randint(1, most) * unit, dice.random() < 0.5))
        number += 1


def history() -> dict[str, list[Sent]]:
    """A busy symbol, one whose prices need eight decimals, and a thin one whose name is outside ASCII."""
    return {
        "BTCUSDT": trades_of(1, mean_gap_ms=1500, price="65000.1", step="0.1", lot="0.001", most=2000),
        "PEPEUSDT": trades_of(2, mean_gap_ms=4000, price="0.00001234", step="0.00000001", lot="1", most=9_000_000),
        "币安人生USDT": trades_of(3, mean_gap_ms=300_000, price="0.0831", step="0.0001", lot="1", most=500),
    }


async def no_address(host: str, port: int) -> list[str]:
    """Stands for a resolver that knows no name: nothing is sent anywhere."""
    raise OSError(f"{host} is not known")


async def no_funding(symbol: str, start_ns: int, end_ns: int) -> list[tuple[str, int, float]]:
    """Stands for an exchange that tells no rate."""
    return []


async def nothing() -> None:
    """Stands for what compiles kernels in another process."""


@dataclass
class Market:
    """What the API is given, and what is true."""

    sent: Mapping[str, Sequence[Sent]]
    symbols: Symbols
    engine: DataProcessor
    store: Any
    folder: Path
    cache: Any = field(default_factory=MemoryCache)
    bus: Any = field(default_factory=MemoryBus)
    source: str = "synthetic"
    checks: dict[str, Any] = field(
        default_factory=lambda: {name: {"status": "ok"} for name in ("feed", "store", "cache")}
    )
    counters: dict[str, Any] = field(
        default_factory=lambda: {"rates": {"ticks_per_second": 1.5}, "queues": {"writer": 3}, "reconnects": 2}
    )
    now_ns: int = (START_MS + HOURS * 3_600_000) * MS
    records: Notebook = field(init=False, default_factory=Notebook)
    book: PairBook = field(init=False)
    pairs: Watchlist = field(init=False)
    screens: Screener = field(init=False)
    jobs: JobBoard = field(init=False)
    backtests: Backtester = field(init=False)
    positions: PaperBook = field(init=False)
    paper: PaperTrader = field(init=False)
    rules: AlertBook = field(init=False)
    courier: Courier = field(init=False)
    alerts: AlertDesk = field(init=False)
    monitor: Monitor = field(init=False)
    rest: ExchangeRest = field(init=False)
    bulk: BulkLoader = field(init=False)
    keeping: StoreKeeper = field(init=False)

    def __post_init__(self) -> None:
        self.book = PairBook(self.symbols, self.engine)
        self.pairs = Watchlist(self.book, store=self.store, records=self.records, bus=self.bus, live=self.engine)
        self.jobs = JobBoard(self.bus, clock=lambda: self.now_ns)
        self.backtests = self.new_backtests()
        self.positions = PaperBook(self.symbols)
        self.paper = PaperTrader(
            self.positions,
            store=self.store,
            records=self.records,
            bus=self.bus,
            live=self.engine,
            clock=lambda: self.now_ns,
        )
        self.monitor = Monitor(
            lambda: self.counters,
            health=lambda: self.checks,
            store=self.store,
            machine=lambda: {"cpu_percent": 12.5},
            clock=lambda: self.now_ns,
        )
        self.screens = Screener(
            (), store=self.store, records=self.records, bus=self.bus, live=self.engine, jobs=self.jobs, prepare=nothing
        )

        self.courier = Courier(self.records, lambda: self.now_ns, secret="whsec_" + "c2Vj" * 8, resolve=no_address)
        self.alerts = self.new_alerts()
        self.rest = ExchangeRest(
            "http://exchange", clock=lambda: self.now_ns, transport=httpx2.MockTransport(self.no_symbols)
        )
        self.bulk = BulkLoader(
            rest=self.rest,
            store=self.store,
            records=self.records,
            jobs=self.jobs,
            imported=self.screens.bars_came,
            clock=lambda: self.now_ns,
            directory=self.folder / "incoming",
        )
        self.keeping = StoreKeeper(
            self.store,
            jobs=self.jobs,
            clock=lambda: self.now_ns,
            lifecycle=Lifecycle(archive_url=str(self.folder / "archive"), retention_days=400),
        )

    def no_symbols(self, request: httpx2.Request) -> httpx2.Response:
        """Answer as an exchange does that trades nothing."""
        bodies: dict[str, Any] = {"time": {"serverTime": self.now_ns // MS}, "exchangeInfo": {"symbols": []}}
        return httpx2.Response(200, json=bodies.get(request.url.path.removeprefix("/fapi/v1/"), []))

    def new_alerts(self) -> AlertDesk:
        """What a process begins with."""
        self.rules = AlertBook(self.symbols, self.engine)
        return AlertDesk(
            self.rules,
            store=self.store,
            records=self.records,
            cache=self.cache,
            bus=self.bus,
            live=self.engine,
            pairs=self.pairs,
            screens=self.screens,
            courier=self.courier,
            preview=AlertPreview(store=self.store, live=self.engine),
            funding=no_funding,
            clock=lambda: self.now_ns,
        )

    def new_backtests(self) -> Backtester:
        """What a process begins with."""
        return Backtester(
            store=self.store,
            live=self.engine,
            records=self.records,
            jobs=self.jobs,
            clock=lambda: self.now_ns,
            source=lambda: self.source,
            prepare=lambda _: nothing(),
        )

    def services(self) -> Services:
        return Services(
            store=self.store,
            records=self.records,
            cache=self.cache,
            bus=self.bus,
            live=self.engine,
            pairs=self.pairs,
            screens=self.screens,
            jobs=self.jobs,
            backtests=self.backtests,
            paper=self.paper,
            alerts=self.alerts,
            bulk=self.bulk,
            keeping=self.keeping,
            monitor=self.monitor,
            imported=self.screens.bars_came,
            clock=lambda: self.now_ns,
            source=lambda: self.source,
            health=lambda: self.checks,
            stats=lambda: self.counters,
            started_ns=self.now_ns - 60_000_000_000,
        )

    def batch(self, trades: Sequence[tuple[str, Sent]], watermark_ns: int) -> TickBatch:
        ts = np.array([t.timestamp * MS for _, t in trades], np.int64)
        return TickBatch(
            self.symbols,
            np.array([self.symbols.id_of(name) for name, _ in trades], np.int32),
            ts,
            ts + 5 * MS,
            np.array([t.id for _, t in trades], np.int64),
            np.array([float(t.price) for _, t in trades]),
            np.array([float(t.size) for _, t in trades]),
            np.array([t.buyer_is_maker for _, t in trades], np.bool_),
            watermark_ns,
        )

    async def take(self, batch: TickBatch, *, stored: bool = True) -> Sequence[BarBatch]:
        """Do with a batch what the pipeline does."""
        self.alerts.on_ticks(batch)
        updates = self.engine.on_batch(batch)
        self.book.take(updates)
        self.alerts.on_updates(updates)
        documents, _ = self.alerts.take()
        closed = [bars for bars in (*updates.closed, *updates.revised) if bars.timeframe in BASE_TIMEFRAMES]
        if stored:
            await self.store.append(batch, closed)
        for collection, key, body in documents:
            if body is not None:
                await self.records.put(collection, key, body)
        await self.alerts.tell()
        return updates.closed


async def open_market(folder: Path, store: Any = None) -> Market:
    """Play the whole history, ten minutes a batch, the last seconds into the engine only; into an embedded store."""
    sent = history()
    symbols = Symbols(sent)
    if store is None:
        store = await DuckDBStore.open(folder / "market.duckdb", threads=1)
    else:
        await store.prepare()
    market = Market(sent, symbols, DataProcessor(symbols), store, folder)
    trades = sorted(
        ((name, t) for name, ts in sent.items() for t in ts), key=lambda item: (item[1].timestamp, item[1].id)
    )
    step = 600_000
    end = START_MS + HOURS * 3_600_000
    edges = [*range(START_MS + step, end, step), end - NOT_STORED_MS, end]
    begin = START_MS
    for edge in edges:
        part = [item for item in trades if begin <= item[1].timestamp < edge]
        await market.take(market.batch(part, edge * MS - 300 * MS), stored=edge < end)
        begin = edge
    return market


def bars_by_hand(trades: Sequence[Sent], length_ms: int) -> dict[int, dict[str, Any]]:
    """Bars from the decimals that were sent, by the definition: open of the lowest id, close of the highest."""
    bars: dict[int, dict[str, Any]] = {}
    for trade in sorted(trades, key=lambda t: t.id):
        at = trade.timestamp // length_ms * length_ms
        bar = bars.setdefault(
            at,
            {
                "timestamp": at,
                "open": trade.price,
                "high": trade.price,
                "low": trade.price,
                "volume": Decimal(0),
                "quote_volume": Decimal(0),
                "buy_volume": Decimal(0),
                "trades": 0,
            },
        )
        bar["high"], bar["low"] = max(bar["high"], trade.price), min(bar["low"], trade.price)
        bar["close"] = trade.price
        bar["volume"] += trade.size
        bar["quote_volume"] += trade.size * trade.price
        bar["buy_volume"] += Decimal(0) if trade.buyer_is_maker else trade.size
        bar["trades"] += 1
    return bars
