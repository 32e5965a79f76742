"""What one replica changed and the others take up: the watch-list, and bars that people brought."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import numpy as np
import structlog

from pairscope.errors import StorageError
from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.ports import LiveView, TickStore
from pairscope.watchlist import Watchlist

__all__ = ["CHANNEL", "Notices"]

_log = structlog.get_logger(__name__)

CHANNEL: Final = "records"
MOST_WAITING: Final = 1000
MOST_BARS: Final = 2000
"""Minutes that an engine may have room for, and then some."""
AGAIN_S: Final = 0.5
_WATCHLIST: Final = "watchlist"
_BARS: Final = "bars"


class Notifying(Protocol):
    """What carries short words between processes."""

    def notify(self, channel: str, document: Mapping[str, Any]) -> None: ...

    def on_notice(self, channel: str, hear: Callable[[Mapping[str, Any]], None]) -> None: ...


class Notices:
    """Tells the other replicas what this one changed, and takes up what they changed.

    A word says where to look; what is true is in the store. At most ``MOST_WAITING`` words wait to be looked after,
    the oldest go (``dropped``): the watch-list is read again anyway, and charts read bars from the store.
    """

    def __init__(
        self,
        bus: Notifying,
        watchlist: Callable[[], Watchlist],
        *,
        store: TickStore,
        live: LiveView,
        take: Callable[[BarBatch], None],
    ) -> None:
        self._bus = bus
        self._watchlist = watchlist
        self._store = store
        self._live = live
        self._take = take
        self._waiting: deque[tuple[str, int, int]] = deque()
        self._woken = asyncio.Event()
        self._counters = {"heard_total": 0, "dropped_total": 0}
        bus.on_notice(CHANNEL, self._hear)

    def pair_changed(self, key: str) -> None:
        """Tell of a pair that was put on the watch-list, changed, or taken off it."""
        self._bus.notify(CHANNEL, {"collection": _WATCHLIST, "key": key})

    def imported(self, bars: BarBatch) -> None:
        """Tell of minutes that are in the store now: of each symbol from when to when."""
        if bars.timeframe != "1m":
            return
        for symbol_id in np.unique(bars.symbol_id).tolist():
            times = bars.ts_open_ns[bars.symbol_id == symbol_id]
            span = {"from_ns": int(times.min()), "to_ns": int(times.max()) + timeframe_ns("1m")}
            self._bus.notify(CHANNEL, {"collection": _BARS, "key": bars.symbols[symbol_id], **span})

    async def run(self) -> None:
        """Look after what was heard, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._waiting:
                symbol, start_ns, end_ns = self._waiting[0]
                try:
                    bars = await self._store.bars(symbol, "1m", start_ns, end_ns, limit=MOST_BARS, newest=True)
                except StorageError as error:
                    _log.warning("bars that another replica stored wait for the store", error=str(error))
                    await asyncio.sleep(AGAIN_S)
                    continue
                if self._waiting and self._waiting[0] == (symbol, start_ns, end_ns):
                    self._waiting.popleft()
                if len(bars):
                    self._take(bars)

    def counters(self) -> Mapping[str, int]:
        """Return how many words came and how many went unheeded."""
        return {**self._counters, "waiting": len(self._waiting)}

    def _hear(self, document: Mapping[str, Any]) -> None:
        self._counters["heard_total"] += 1
        if document["collection"] == _WATCHLIST:
            self._watchlist().changed()
        elif document["collection"] == _BARS and document["key"] in self._live.symbols():
            self._waiting.append((str(document["key"]), int(document["from_ns"]), int(document["to_ns"])))
            if len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self._counters["dropped_total"] += 1
            self._woken.set()
