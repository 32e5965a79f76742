"""The way of a batch: engine, live pairs, the store's writer, the cache, the bus, always in this order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import numpy as np
import structlog

from pairscope import schemas
from pairscope.analytics.indicators import indicators, parse_indicators
from pairscope.engine.data_processor import DataProcessor, Updates
from pairscope.engine.journal import Journal, Teller
from pairscope.engine.pairs import PairBook
from pairscope.engine.paper import PaperBook
from pairscope.market.bars import BASE_TIMEFRAMES, BarBatch, Origin, timeframe_ns
from pairscope.market.continuity import Continuity
from pairscope.market.holes import holes_of, touches
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Bus, Cache, Document, Feed, TickStore
from pairscope.storage.journal import JournalKeeper
from pairscope.storage.parcel import BatchWriter
from pairscope.storage.tick_storage import Store

__all__ = ["LiveJournal", "Pipeline", "Publisher", "TickRate", "warm_start"]

_log = structlog.get_logger(__name__)

MS: Final = 1_000_000
MINUTE_NS: Final = 60_000_000_000
PRICE_TTL_S: Final = 3600.0
INDICATOR_PERIOD_NS: Final = 200_000_000
"""Live indicators are worked out at most five times a second for a topic: they are for the eye."""
PAIR_PERIOD_NS: Final = 200_000_000
"""So are pairs between closes."""
RING_MINUTES: Final = 1500
RING_SECONDS: Final = 600
TOLD_A_BATCH: Final = 40
"""Pairs that are told with one batch; where more have moved, the others wait for the next one, a few milliseconds."""


class Rules(Protocol):
    """Alert rules on the way of a batch: before the engine takes it, after it, and what came of it."""

    def on_ticks(self, batch: TickBatch) -> None: ...

    def on_updates(self, updates: Updates) -> None: ...

    def take(self) -> tuple[Sequence[Document], bool]:
        """Return what is to be stored with the batch, and whether at once."""
        ...

    async def tell(self) -> None:
        """Tell who listens of what came true."""
        ...

    def revise(self, batches: Sequence[BarBatch]) -> None:
        """Take closed bars that changed otherwise than by a batch."""
        ...

    def reload(self, symbols: Iterable[str]) -> None:
        """Have the history of symbols read again."""
        ...


class TickRate:
    """Ticks a second over the last ten seconds of receive time. O(1) a batch."""

    def __init__(self, span_ns: int = 10_000_000_000) -> None:
        self._span_ns = span_ns
        self._recent: deque[tuple[int, int]] = deque()
        self._sum = 0
        self.total = 0

    def add(self, now_ns: int, count: int) -> None:
        """Count ticks that came now."""
        self.total += count
        self._sum += count
        self._recent.append((now_ns, count))
        self._forget(now_ns)

    def per_second(self, now_ns: int) -> float:
        """Return the mean rate over the span, or since the first tick where that is shorter."""
        self._forget(now_ns)
        if not self._recent:
            return 0.0
        span_ns = min(self._span_ns, max(now_ns - self._recent[0][0], 1_000_000_000))
        return self._sum * 1e9 / span_ns

    def _forget(self, now_ns: int) -> None:
        while self._recent and self._recent[0][0] < now_ns - self._span_ns:
            self._sum -= self._recent.popleft()[1]


class Publisher:
    """Turns what the engine says into cache entries and bus messages; encodes only what somebody listens to."""

    def __init__(
        self,
        engine: DataProcessor,
        cache: Cache,
        bus: Bus,
        pairs: PairBook,
        paper: PaperBook | None = None,
        alerts: Rules | None = None,
    ) -> None:
        self._engine = engine
        self._book = pairs
        self._readers = [reader for reader in (pairs, paper, alerts) if reader is not None]
        self._cache = cache
        self._bus = bus
        self._ids: Continuity | None = None
        self._wanted: frozenset[str] = frozenset()
        self._bars: dict[str, list[tuple[str, str]]] = {}
        self._indicators: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {}
        self._pairs: dict[str, list[tuple[str, str]]] = {}
        self._untold: dict[tuple[str, str], bool] = {}
        self._due: dict[str, int] = {}
        self._told: set[str] = set()
        self._owed: dict[str, None] = {}

    def flag_by(self, ids: Continuity) -> None:
        """Let bars that lack trades say so, by the feed's own ledger of ids."""
        self._ids = ids

    async def publish(self, updates: Updates) -> None:
        """Put the new values into the cache, then tell the bus."""
        engine, bus, names = self._engine, self._bus, self._engine.symbols_table
        self._read_interest()
        if len(updates.prices):
            entries: dict[str, bytes] = {}
            seen = zip(updates.prices.symbol_id.tolist(), updates.prices.ts_recv_ns.tolist(), strict=True)
            for symbol_id, ts_recv_ns in seen:
                view = engine.price(names[symbol_id])
                if view is not None:
                    entries[f"price:{view['symbol']}"] = schemas.encode_price({**view, "received": ts_recv_ns // MS})
            await self._cache.put_many(entries, PRICE_TTL_S)
            for topic, value in entries.items():
                if topic in self._wanted:
                    bus.publish(topic, value)
        for batch in updates.closed:
            self.publish_bars(batch, closed=True, revised=False)
        for batch in updates.revised:
            self.publish_bars(batch, closed=True, revised=True)
        if self._bars or self._indicators:
            self._publish_open(updates)
        self._publish_pairs(updates)

    def publish_bars(self, bars: BarBatch, *, closed: bool, revised: bool) -> None:
        """Tell the bus of closed bars that somebody listens to."""
        for i, symbol_id in enumerate(bars.symbol_id.tolist()):
            topic = f"bar:{bars.symbols[symbol_id]}:{bars.timeframe}"
            if topic in self._wanted:
                gap = self._lacks(bars, i)
                self._bus.publish(topic, schemas.encode_bar(bars, i, closed=closed, revised=revised, gap=gap))
                self._told.add(topic)

    def _lacks(self, bars: BarBatch, i: int) -> bool:
        """Whether a hole touches an own bar; next to nothing where the symbol has none."""
        gaps = [] if self._ids is None else self._ids.unrepaired(bars.symbols[int(bars.symbol_id[i])])
        if not gaps or bars.origin[i] != Origin.OWN:
            return False
        holes = holes_of(gap for gap, _ in gaps)
        return bool(touches(holes, bars.ts_open_ns[i : i + 1], timeframe_ns(bars.timeframe))[0])

    def adopt(self, bars: Sequence[BarBatch]) -> None:
        """Let the engine take bars that the store rebuilt, and tell of every closed bar that changed by it.

        Pairs, positions and rules reach further back than the engine: where it has no place for a bar, they read it
        again.
        """
        for batch in bars:
            taken = self._engine.adopt_bars(batch)
            for reader in self._readers:
                reader.revise(taken)
            for changed in taken:
                self.publish_bars(changed, closed=True, revised=True)
            if len(batch) > sum(len(changed) for changed in taken if changed.timeframe == batch.timeframe):
                for reader in self._readers:
                    reader.reload(batch.symbols[i] for i in set(batch.symbol_id.tolist()))

    def publish_history(self, bars: BarBatch) -> None:
        """Tell charts that bars from before theirs have come: the newest of each symbol, marked as revised."""
        last = {int(s): i for i, s in enumerate(bars.symbol_id.tolist())}
        self.publish_bars(bars.take(np.fromiter(last.values(), np.intp)), closed=True, revised=True)

    def _read_interest(self) -> None:
        """Sort the topics that are listened to by symbol, when they have changed."""
        wanted = self._bus.wanted()
        if wanted is self._wanted or wanted == self._wanted:
            return
        self._wanted = wanted
        self._bars, self._indicators, self._pairs = {}, {}, {}
        for topic in wanted:
            kind, _, rest = topic.partition(":")
            symbol, _, rest = rest.partition(":")
            if kind == "bar":
                self._bars.setdefault(symbol, []).append((topic, rest))
            elif kind == "indicators":
                timeframe, _, text = rest.partition(":")
                self._indicators.setdefault(symbol, []).append((topic, timeframe, tuple(text.split(","))))
            elif kind == "pair":
                for leg in (symbol, rest):
                    self._pairs.setdefault(leg, []).append((symbol, rest))
        self._due = {t: due for t, due in self._due.items() if t in wanted}

    def _publish_open(self, updates: Updates) -> None:
        """Tell the bus of open bars that changed, and of the indicators that follow from them.

        A topic that has just told of a closed bar tells of its open one with the next batch: the bus keeps a topic's
        newest value only, and nobody would hear of the close.
        """
        names = self._engine.symbols_table
        moved = dict.fromkeys(names[i] for i in updates.touched.tolist())
        owed, self._owed = self._owed, {}
        told, self._told = self._told, set()
        for symbol in [*moved, *(symbol for symbol in owed if symbol not in moved)]:
            for topic, timeframe in self._bars.get(symbol, ()):
                if topic in told:
                    self._owed[symbol] = None
                    continue
                bar = self._engine.open_bar(symbol, timeframe)
                if bar is not None:
                    gap = self._lacks(bar, 0)
                    self._bus.publish(topic, schemas.encode_bar(bar, 0, closed=False, revised=False, gap=gap))
            for topic, timeframe, wanted in self._indicators.get(symbol, ()):
                if updates.watermark_ns >= self._due.get(topic, 0):
                    self._due[topic] = updates.watermark_ns + INDICATOR_PERIOD_NS
                    self._publish_indicators(topic, symbol, timeframe, wanted)

    def _publish_indicators(self, topic: str, symbol: str, timeframe: str, wanted: Sequence[str]) -> None:
        """Work out a symbol's indicators up to its open bar."""
        bars = self._engine.recent_bars(symbol, timeframe, parse_indicators(wanted).warmup + 1, with_open=True)
        if len(bars):
            closed = int(bars.ts_open_ns[-1]) + timeframe_ns(timeframe) <= self._engine.watermark_ns()
            self._bus.publish(topic, schemas.encode_indicator_update(bars, indicators(bars, wanted), closed=closed))

    def _publish_pairs(self, updates: Updates) -> None:
        """Tell the bus of pairs that stepped, and of those of which a leg moved, at most five times a second.

        A close comes before what is provisional and holds it back: the bus keeps a topic's newest value only.
        """
        for y, x in self._book.moved():
            if f"pair:{y}:{x}" in self._wanted:
                self._untold[y, x] = True
        names = self._engine.symbols_table
        for symbol in (names[i] for i in updates.touched.tolist()) if self._pairs else ():
            for key in self._pairs.get(symbol, ()):
                self._untold.setdefault(key, False)
        left = TOLD_A_BATCH
        for key, closed in list(self._untold.items()):
            topic = f"pair:{key[0]}:{key[1]}"
            if not closed and updates.watermark_ns < self._due.get(topic, 0) and topic in self._wanted:
                continue
            if not left:
                break
            del self._untold[key]
            view = self._book.view(*key, closed=closed) if topic in self._wanted else None
            if view is not None:
                left -= 1
                self._due[topic] = updates.watermark_ns + PAIR_PERIOD_NS
                self._bus.publish(topic, schemas.encode_pair(view))


class LiveJournal:
    """The journal of what this process tells: written down batch by batch, kept behind the ticks that it is about."""

    def __init__(self, symbols: Symbols, tellers: Sequence[Teller], store: Store, *, started_ns: int) -> None:
        self._journal = journal = Journal(symbols, tellers)
        self._keeper = keeper = JournalKeeper(store, stored_ns=store.watermark_ns, started_ns=started_ns)
        self.note = journal.note
        self.run = keeper.run
        self.flush = keeper.flush
        self.close = keeper.close
        self.counters = keeper.counters

    def take(self, batch: TickBatch, updates: Updates) -> Callable[[], None]:
        """Write down what a batch told, where it told anything; to be called once the writer has the batch."""
        entries = self._journal.take(batch, updates)
        return lambda: self._keeper.add(*entries)

    def bars_came(self, kind: str, bars: BarBatch) -> None:
        """Write down that bars came which are no batch's: ``history`` of the exchange, or ``rebuilt`` by the store."""
        for symbol_id in np.unique(bars.symbol_id).tolist():
            times = bars.ts_open_ns[bars.symbol_id == symbol_id]
            end_ns = int(times.max()) + timeframe_ns(bars.timeframe)
            self.note(kind, bars.symbols[symbol_id], bars.timeframe, int(times.min()), end_ns)


class Pipeline:
    """Runs a feed's batches through engine, live pairs, writer, cache and bus until the feed ends."""

    def __init__(
        self,
        feed: Feed,
        engine: DataProcessor,
        writer: BatchWriter,
        publisher: Publisher,
        pairs: PairBook,
        *,
        clock: Callable[[], int],
        screen: Callable[[Updates], None] | None = None,
        journal: Callable[[TickBatch, Updates], Callable[[], None]] | None = None,
        paper: PaperBook | None = None,
        alerts: Rules | None = None,
        timer: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._feed = feed
        self._engine = engine
        self._writer = writer
        self._publisher = publisher
        self._pairs = pairs
        self._clock = clock
        self._screen = screen
        self._journal = journal
        self._paper = paper
        self._alerts = alerts
        self._timer = timer
        self._newest_ns = 0
        self.rate = TickRate()
        self.late = self.batches = 0
        self.last_tick_ns = 0
        self.lag_ns: int | None = None
        """How old the newest tick was when our socket saw it; None before the first."""
        self.busy_ns = 0
        """Time that engine, live pairs, positions and rules have taken for all batches so far."""
        self.published_ns = 0

    async def run(self) -> None:
        """Take every batch its way; ends when the feed does, raises what the engine raises."""
        async for batch in self._feed.batches():
            await self.step(batch)

    async def step(self, batch: TickBatch) -> None:
        """Take one batch its way.

        Rules see its ticks before the engine does; what comes true is stored with them and told without waiting.
        """
        began_ns = self._timer()
        if self._alerts is not None:
            self._alerts.on_ticks(batch)
        updates = self._engine.on_batch(batch)
        self._pairs.take(updates)
        if self._paper is not None:
            self._paper.take(updates)
        documents: Sequence[Document] = ()
        hurry = False
        if self._alerts is not None:
            self._alerts.on_updates(updates)
            documents, hurry = self._alerts.take()
        written = None if self._journal is None else self._journal(batch, updates)
        if self._screen is not None:
            self._screen(updates)
        self.busy_ns += self._timer() - began_ns
        stored = tuple(b for b in (*updates.closed, *updates.revised) if b.timeframe in BASE_TIMEFRAMES)
        await self._writer.put(batch, stored, updates.rebuild, documents=documents, hurry=hurry)
        if written is not None:
            written()
        if self._alerts is not None:
            await self._alerts.tell()
        await self._publisher.publish(updates)
        now_ns = self._clock()
        self.batches += 1
        self.late += updates.late
        self.published_ns = now_ns
        if len(batch):
            self.last_tick_ns = int(np.max(batch.ts_recv_ns))
            newest = int(np.argmax(batch.ts_event_ns))
            if batch.ts_event_ns[newest] >= self._newest_ns:  # an older one was fetched again and says nothing of now
                self._newest_ns = int(batch.ts_event_ns[newest])
                self.lag_ns = int(batch.ts_recv_ns[newest]) - self._newest_ns
        self.rate.add(now_ns, len(batch))

    async def close(self) -> None:
        """End the feed, and with it ``run``."""
        await asyncio.shield(self._feed.close())


async def warm_start(engine: DataProcessor, store: TickStore) -> None:
    """Bring an engine to where the stored ticks end; nothing to do for a new store."""
    watermark_ns = await store.watermark_ns()
    summaries = await store.symbols()
    if not summaries:
        return
    newest_ns = max([watermark_ns, *(s.last_ns for s in summaries)])
    minute_ns = watermark_ns - watermark_ns % MINUTE_NS
    base_1m = await store.base_bars("1m", newest_ns - RING_MINUTES * MINUTE_NS, newest_ns + MINUTE_NS)
    base_1s = await store.base_bars("1s", minute_ns - RING_SECONDS * 1_000_000_000, newest_ns + MINUTE_NS)
    silent = [s for s in summaries if s.tick_count and s.last_ns < minute_ns]
    ticks = [batch async for batch in store.ticks_since(minute_ns)]
    first_own_ns = {s.symbol: s.first_ns for s in summaries if s.tick_count}
    last_ticks = await asyncio.gather(
        *(store.ticks(s.symbol, s.last_ns, s.last_ns + 1, limit=1, newest=True) for s in silent)
    )
    engine.restore(base_1m, base_1s, ticks, watermark_ns=watermark_ns, first_own_ns=first_own_ns, last_ticks=last_ticks)
