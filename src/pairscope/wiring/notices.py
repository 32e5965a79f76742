"""What one replica changed and the others take up: the watch-list, and bars that people brought."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final, Protocol

import msgspec
import numpy as np
import structlog

from pairscope.errors import StorageError
from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.ports import Clock, Document, LiveView, Records, TickStore
from pairscope.watchlist import Watchlist

__all__ = ["CHANNEL", "COLLECTION", "Notices"]

_log = structlog.get_logger(__name__)

CHANNEL: Final = "records"
COLLECTION: Final = "imported_bars"
"""A document for each import of the last hour, by its time: what a word that got lost would have said."""
MOST_WAITING: Final = 1000
MOST_BARS: Final = 2000
"""Minutes that an engine may have room for, and then some."""
AGAIN_S: Final = 0.5
LOOK_S: Final = 30.0
KEPT_NS: Final = 3_600_000_000_000
BEFORE_NS: Final = 10_000_000_000
"""Imports from so long before the start are taken up too: the engine may have read its minutes before them."""
_WATCHLIST: Final = "watchlist"
_BARS: Final = "bars"


class Notifying(Protocol):
    """What carries short words between processes."""

    def notify(self, channel: str, document: Mapping[str, Any]) -> None: ...

    def on_notice(self, channel: str, hear: Callable[[Mapping[str, Any]], None]) -> None: ...


class _Import(msgspec.Struct, frozen=True):
    """Minutes that are in the store now: of each symbol from when to when."""

    spans: list[tuple[str, int, int]]


class Notices:
    """Tells the other replicas what this one changed, and takes up what they changed.

    A word says where to look; what is true is in the store. Words of bars stand in the records too, for an hour, and
    are read there every ``look_s``: who did not hear one, since Redis was away, finds it. At most ``MOST_WAITING``
    spans wait to be looked after, and as many imports to be written down; the oldest go (``dropped``): charts read
    bars from the store anyway, and the watch-list is read again by itself.
    """

    def __init__(
        self,
        bus: Notifying,
        watchlist: Callable[[], Watchlist],
        *,
        store: TickStore,
        records: Records,
        live: LiveView,
        take: Callable[[BarBatch], None],
        clock: Clock,
        look_s: float = LOOK_S,
    ) -> None:
        self._bus = bus
        self._watchlist = watchlist
        self._store = store
        self._records = records
        self._live = live
        self._take = take
        self._clock = clock
        self._look_s = look_s
        self._waiting: deque[tuple[str, int, int]] = deque()
        self._unwritten: deque[Document] = deque()
        self._since = f"{clock() - BEFORE_NS:020d}"
        self._known: set[str] = set()
        self._look_due_s = 0.0
        self._woken = asyncio.Event()
        self._counters = {"heard_total": 0, "read_total": 0, "dropped_total": 0}
        bus.on_notice(CHANNEL, self._hear)

    def pair_changed(self, key: str) -> None:
        """Tell of a pair that was put on the watch-list, changed, or taken off it."""
        self._bus.notify(CHANNEL, {"collection": _WATCHLIST, "key": key})

    def imported(self, bars: BarBatch) -> None:
        """Tell of minutes that are in the store now, and write it down beside."""
        if bars.timeframe != "1m" or not len(bars):
            return
        spans: list[tuple[str, int, int]] = []
        for symbol_id in np.unique(bars.symbol_id).tolist():
            times = bars.ts_open_ns[bars.symbol_id == symbol_id]
            spans.append((bars.symbols[symbol_id], int(times.min()), int(times.max()) + timeframe_ns("1m")))
        key = f"{self._clock():020d}-{secrets.token_hex(4)}"
        for symbol, start_ns, end_ns in spans:
            told = {"collection": _BARS, "key": symbol, "from_ns": start_ns, "to_ns": end_ns, "import": key}
            self._bus.notify(CHANNEL, told)
        self._unwritten.append(Document(COLLECTION, key, msgspec.json.encode(_Import(spans))))
        self._bound(self._unwritten)
        self._woken.set()

    async def run(self) -> None:
        """Look after what was heard and what is written, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._look_due_s - monotonic())):
                    await self._woken.wait()
            self._woken.clear()
            try:
                await self._write_down()
                if monotonic() >= self._look_due_s:
                    await self._read()
                    self._look_due_s = monotonic() + self._look_s
                await self._look_after()
            except StorageError as error:
                _log.warning("bars that a replica stored wait for the store", error=str(error))
                self._woken.set()
                await asyncio.sleep(AGAIN_S)

    def counters(self) -> Mapping[str, int]:
        """Return how many words came, how many were found in the records, and how many went unheeded."""
        return {**self._counters, "waiting": len(self._waiting), "unwritten": len(self._unwritten)}

    def _hear(self, document: Mapping[str, Any]) -> None:
        self._counters["heard_total"] += 1
        if document["collection"] == _WATCHLIST:
            self._watchlist().changed()
        elif document["collection"] == _BARS:
            self._known.add(str(document.get("import", "")))
            self._await(str(document["key"]), int(document["from_ns"]), int(document["to_ns"]))

    def _await(self, symbol: str, start_ns: int, end_ns: int) -> None:
        if symbol in self._live.symbols():
            self._waiting.append((symbol, start_ns, end_ns))
            self._bound(self._waiting)
            self._woken.set()

    def _bound(self, waiting: deque[Any]) -> None:
        if len(waiting) > MOST_WAITING:
            waiting.popleft()
            self._counters["dropped_total"] += 1

    async def _write_down(self) -> None:
        while self._unwritten:
            document = self._unwritten[0]
            await self._records.put_many([document])
            self._known.add(document.key)
            if self._unwritten and self._unwritten[0] is document:
                self._unwritten.popleft()

    async def _read(self) -> None:
        """Take up imports that nobody told of here, and forget those of long ago."""
        written = [entry async for entry in self._records.scan(COLLECTION)]
        known, self._known = self._known, {key for key, _ in written}
        oldest = f"{self._clock() - KEPT_NS:020d}"
        if gone := [Document(COLLECTION, key, None) for key, _ in written if key < oldest]:
            await self._records.put_many(gone)
        for key, body in written:
            if key >= self._since and key not in known:
                self._counters["read_total"] += 1
                for span in msgspec.json.decode(body, type=_Import).spans:
                    self._await(*span)

    async def _look_after(self) -> None:
        while self._waiting:
            symbol, start_ns, end_ns = self._waiting[0]
            bars = await self._store.bars(symbol, "1m", start_ns, end_ns, limit=MOST_BARS, newest=True)
            if self._waiting and self._waiting[0] == (symbol, start_ns, end_ns):
                self._waiting.popleft()
            if len(bars):
                self._take(bars)
