"""The interfaces between the parts: what a feed, a store, records, a cache and a bus must do, and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from pairscope.market.bars import BarBatch, BarOutcomes, Origin
from pairscope.market.continuity import Admission, Continuity, Gap, HeldIds
from pairscope.market.pairs import PairSettings
from pairscope.market.ticks import B1, TickBatch
from pairscope.ports_alerts import Alerts
from pairscope.ports_bulk import BulkHistory
from pairscope.ports_desk import DeskSeat
from pairscope.ports_research import Backtests, Jobs, MarketScreen, PaperPositions
from pairscope.ports_storage import StoreKeeping

__all__ = [
    "Bus",
    "Cache",
    "Clock",
    "Document",
    "Feed",
    "LiveView",
    "Message",
    "Monitoring",
    "PairWatch",
    "Records",
    "Services",
    "StoreStats",
    "Subscription",
    "SymbolSummary",
    "TickStore",
    "UploadedSpan",
]

Clock = Callable[[], int]
"""Nanoseconds since the epoch, UTC."""


class Feed(Protocol):
    """Batches in arrival order, until the source ends or is closed; only ticks that are new (see Continuity)."""

    def batches(self) -> AsyncIterator[TickBatch]: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SymbolSummary:
    """What a store holds of one symbol.

    ``first_ns`` and ``last_ns`` are event times of its first own tick and of its newest; where it has only bars,
    the open times of the oldest and the newest.
    """

    symbol: str
    tick_count: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class UploadedSpan:
    """The uploaded bars of a symbol in one timeframe: how many, and the open times of the oldest and the newest."""

    symbol: str
    timeframe: str
    rows: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """The size of a store: ``ticks`` and ``bars`` rows, ``bytes`` on disk (0 where unknown), ``kind`` for people."""

    kind: str
    ticks: int
    bars: int
    bytes: int
    location: str


class Document(NamedTuple):
    """What a key of a collection is to hold from now on; without a ``body`` the key is removed."""

    collection: str
    key: str
    body: bytes | None


class TickStore(Protocol):
    """Ticks and bars by symbol and time. Appending twice changes nothing.

    Ranges are [start_ns, end_ns). ``newest`` takes the last ``limit`` rows of the range in place of the first;
    rows come oldest first either way. Errors are of the ``StorageError`` family.
    """

    async def append(
        self, batch: TickBatch, bars: Sequence[BarBatch] = (), documents: Sequence[Document] = ()
    ) -> Admission:
        """Store a batch, the bars it closed or revised, the gaps it opened or closed and what came of it for records.

        All in one transaction. Of several ``documents`` of one key the last is kept, in place of what was there;
        so are those of a batch that is appended again.
        """
        ...

    async def add_older(self, batch: TickBatch) -> Admission:
        """Store trades that the live stream did not bring, of a file or a back-fill; bars are made by ``rebuild_bars``.

        New are ids below a symbol's first, in a hole of any status, and above its last. What they leave out between
        themselves and what is held is a gap that is ``unrepairable``, since nobody asks the exchange for it; later ones
        fill it, also what heals an open hole. The batch's watermark raises the store's.
        """
        ...

    async def put_bars(self, bars: BarBatch) -> int:
        """Store bars that no own tick made (history, uploads); return how many rows changed.

        Bars of any timeframe: those longer than the base's are kept beside it. A bar that own ticks cover wholly is
        never replaced.
        """
        ...

    async def put_bars_all(self, batches: Sequence[BarBatch], documents: Sequence[Document] = ()) -> list[BarOutcomes]:
        """Store several batches of bars, and documents, in one transaction: all or nothing. What came of each bar."""
        ...

    async def covered(self, bars: BarBatch) -> B1:
        """Which bars own ticks cover wholly, from their first tick to their newest without a hole."""
        ...

    async def remove_bars(self, symbol: str, timeframe: str | None, origin: Origin) -> int:
        """Remove a symbol's bars of one origin, of one timeframe or of all; return how many.

        Bars of own ticks whose place they took are made again.
        """
        ...

    async def uploaded(self) -> list[UploadedSpan]:
        """What was uploaded, by (symbol, length of timeframe)."""
        ...

    async def kept_timeframes(self, symbol: str) -> tuple[str, ...]:
        """The timeframes under which bars of a symbol are kept, the shortest first. Reads no table."""
        ...

    async def ticks(
        self, symbol: str, start_ns: int, end_ns: int, *, limit: int, after_id: int | None = None, newest: bool = False
    ) -> TickBatch:
        """Ticks of one symbol by (event time, trade id); ``after_id`` continues behind that trade id."""
        ...

    async def bars(
        self, symbol: str, timeframe: str, start_ns: int, end_ns: int, *, limit: int, newest: bool = False
    ) -> BarBatch:
        """Closed bars of any timeframe, oldest first.

        A bar comes of base bars where they make it wholly or where nothing else is kept for it, else of the longest
        uploaded bars that fit into it.
        """
        ...

    async def base_bars(self, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        """Closed base bars (1s or 1m) of every symbol in a range, by (symbol, time): what a warm start reads."""
        ...

    def ticks_since(self, start_ns: int) -> AsyncIterator[TickBatch]:
        """Every symbol's ticks from an event time on, by (event time, trade id), in batches."""
        ...

    def ticks_received(self, start_ns: int, end_ns: int) -> AsyncIterator[TickBatch]:
        """Every symbol's ticks that were received in a range, by receive time, in batches."""
        ...

    async def rebuild_bars(self, symbol: str, start_ns: int, end_ns: int) -> list[BarBatch]:
        """Recompute a symbol's closed base bars from its stored ticks; store and return those that differ."""
        ...

    async def symbols(self) -> list[SymbolSummary]:
        """Every symbol that has ticks or bars."""
        ...

    async def continuity(self) -> Continuity:
        """A fresh ledger that stands where the stored ticks end: what a feed resumes from."""
        ...

    async def gaps(self, symbol: str | None = None, *, unrepaired: bool = False) -> list[Gap]:
        """The gap ledger, by (symbol, from_id); all of it, or what still lacks ids."""
        ...

    async def held(self, symbol: str | None = None) -> list[HeldIds]:
        """The intervals of consecutive trade ids that are stored, by (symbol, from_id). Void ids count as stored."""
        ...

    async def settle_gap(self, gap: Gap) -> None:
        """Write a gap's verdict that no tick brought (unrepairable, or a declared tail)."""
        ...

    async def watermark_ns(self) -> int:
        """The watermark of the last batch appended; 0 in a new store."""
        ...

    async def stats(self) -> StoreStats: ...

    async def close(self) -> None: ...


class Records(Protocol):
    """Named collections of small documents with a key: alert rules, firings, outbox, watchlist, runs, screens."""

    async def put(self, collection: str, key: str, document: bytes, *, replace: bool = True) -> bool:
        """Store a document; with ``replace=False`` a key that is there already stays as it is. True if it was new."""
        ...

    async def put_many(self, documents: Sequence[Document]) -> None:
        """Store documents, the last of each key, and remove the keys of those without a body, in one transaction."""
        ...

    async def get(self, collection: str, key: str) -> bytes | None: ...

    async def delete(self, collection: str, key: str) -> bool: ...

    def scan(self, collection: str, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """Every (key, document) with a key greater than ``after``, by key."""
        ...


class Cache(Protocol):
    """The last value of a key, for a while; lists of what came last, and sets. Never waits for who is slow or away."""

    async def put_many(self, values: Mapping[str, bytes], ttl_s: float) -> None: ...

    async def get(self, key: str) -> bytes | None: ...

    async def push(self, key: str, value: bytes, keep: int) -> None:
        """Put a value at the head of a list, which keeps the newest ``keep``."""
        ...

    async def add(self, key: str, members: Sequence[str]) -> None:
        """Put members into a set."""
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """One topic's whole current value, as JSON; ``seq`` grows by one per topic, so that a hole tells of conflation."""

    topic: str
    seq: int
    value: bytes


class Subscription(Protocol):
    """What one listener hears. Slow listeners get the newest value of a topic only, and a hole in its ``seq``.

    Topics ``alerts`` and ``alerts:…`` are never conflated; a listener that lets more than the stated number of them
    pile up is closed instead.
    """

    def add(self, topics: Sequence[str]) -> None: ...

    def remove(self, topics: Sequence[str]) -> None: ...

    @property
    def topics(self) -> frozenset[str]: ...

    async def next(self) -> Sequence[Message]:
        """Wait until something is there and take all of it, oldest first; empty when the subscription was closed."""
        ...

    def close(self) -> None: ...


class Bus(Protocol):
    """Fan-out of updates. A slow subscriber costs only itself."""

    def publish(self, topic: str, value: bytes) -> int:
        """Hand a topic's whole value to who listens now; never waits. Returns its ``seq``."""
        ...

    def seq(self, topic: str) -> int:
        """The last ``seq`` of a topic; 0 before its first."""
        ...

    def resume(self, topic: str, seq: int) -> None:
        """Go on behind a ``seq`` that an earlier run has told; a smaller one than the topic's last changes nothing."""
        ...

    def wanted(self) -> frozenset[str]:
        """Topics that somebody listens to; a publisher may leave the others out."""
        ...

    def subscribe(self) -> Subscription: ...


class LiveView(Protocol):
    """What the engine knows now; read-only."""

    def symbols(self) -> Sequence[str]: ...

    def price(self, symbol: str) -> Mapping[str, Any] | None:
        """The answer of ``/api/price`` without ``age_ms`` and ``source``; None for a symbol without a price yet."""
        ...

    def open_bar(self, symbol: str, timeframe: str) -> BarBatch | None:
        """The bar that is still open, as a batch of one."""
        ...

    def recent_bars(self, symbol: str, timeframe: str, count: int, *, with_open: bool = False) -> BarBatch:
        """Up to ``count`` newest closed bars, oldest first, also those that the store may not hold yet.

        ``with_open`` adds those that are still open: one, or two while the watermark lags behind a newer one.
        """
        ...

    def watermark_ns(self) -> int: ...


class PairWatch(Protocol):
    """The watch-list of pairs, kept over a restart, and what each pair says now. A pair is (y, x), there once."""

    def entries(self) -> Sequence[PairSettings]:
        """Every pair of the watch-list, by name."""
        ...

    async def put(self, settings: PairSettings) -> bool:
        """Put a pair on the list or change how it is computed; True if it was new. ``InputError`` where it is full."""
        ...

    async def remove(self, y: str, x: str) -> bool:
        """Take a pair off the list; False where it was not on it."""
        ...

    def current(self, y: str, x: str) -> Mapping[str, Any] | None:
        """The document of the ``pair`` topic; None for a pair that is neither on the list nor listened to."""
        ...

    def demand(self, y: str, x: str) -> None:
        """Have a pair computed by the default settings while somebody listens to it, where it is not on the list.

        ``InputError`` where too many such pairs are listened to already.
        """
        ...

    def counters(self) -> Mapping[str, Any]: ...


class Monitoring(Protocol):
    """How the instance has done over the last hour, measure by measure."""

    def join(self, name: str, counters: Callable[[], Mapping[str, Any]]) -> None:
        """Let the counters of a part that the composition root does not see be read too."""
        ...

    def view(self, *, minutes: float = ..., since_ms: int | None = None) -> Mapping[str, Any]:
        """The samples of the last minutes, or of those the ones behind a time: ``/api/monitoring`` without health."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """What the API needs of the rest, handed to it by the composition root."""

    store: TickStore
    records: Records
    cache: Cache
    bus: Bus
    live: LiveView
    pairs: PairWatch
    screens: MarketScreen
    jobs: Jobs
    backtests: Backtests
    paper: PaperPositions
    alerts: Alerts
    bulk: BulkHistory
    keeping: StoreKeeping
    monitor: Monitoring
    imported: Callable[[BarBatch], None]
    """To be told of bars that were stored beside the live stream: uploads, files, back-fills."""
    clock: Clock
    source: Callable[[], str]
    """``live``, ``replay`` or ``synthetic``."""
    health: Callable[[], Mapping[str, Mapping[str, Any]]]
    """The checks of ``/api/health`` by name (feed, store, cache), each with its own ``status`` ok, degraded or down."""
    stats: Callable[[], Mapping[str, Any]]
    """Counters of the running parts for ``/api/stats``: rates, queues, reconnects and the like."""
    started_ns: int
    waits_for: Callable[[], str] = lambda: ""
    """What the instance waits for before requests should be sent to it; empty once it is ready."""
    desk: DeskSeat | None = None
    """Which replica answers what only one of several may; None where there is but one process."""
