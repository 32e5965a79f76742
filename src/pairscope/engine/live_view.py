"""What can be asked of the live engine at any moment: last prices, open bars, recent bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pairscope.engine.live_state import MINUTE_NS, LiveState
from pairscope.market.bar_cells import last_day
from pairscope.market.bars import BarBatch, timeframe_ns

__all__ = ["LiveView"]

_DAY_MINUTES = 1440


class LiveView:
    """The answers of an engine; implements ``ports.LiveView``. Reads only."""

    def __init__(self, state: LiveState) -> None:
        self._state = state

    def symbols(self) -> Sequence[str]:
        """Return the symbols that have a bar."""
        state = self._state
        return [state.symbols[i] for i in np.flatnonzero(state.minutes.newest >= 0).tolist()]

    def watermark_ns(self) -> int:
        """Return the time up to which everything has been seen; 0 before the first batch."""
        return self._state.watermark_ns

    def first_own_ns(self, symbol: str) -> int | None:
        """Return the event time of a symbol's first own tick, None before it."""
        s = self._state.known(symbol)
        first_ns = -1 if s is None else int(self._state.last["first_ns"][s])
        return first_ns if first_ns >= 0 else None

    def last_trade(self, symbol: str) -> tuple[int, float, int] | None:
        """Return (trade id, price, event time) of a symbol's newest own tick by id, None before it. O(1)."""
        s = self._state.known(symbol)
        last = None if s is None else self._state.last[s]
        if last is None or last["last_id"] < 0:
            return None
        return int(last["last_id"]), float(last["last_price"]), int(last["last_ns"])

    def price(self, symbol: str) -> Mapping[str, Any] | None:
        """Return a symbol's last price with its 24 h change and volume; None where there is neither tick nor bar. O(1).

        ``timestamp`` is in ms, ``change_24h`` relative to the last close at or before 24 h ago (None where no bar of
        the hour before that is known), ``volume_24h`` in base units over 1,440 minutes, the open one included.
        Before a symbol's first own tick ``price`` is its last close, at that bar's end, and ``size`` None.
        """
        state = self._state
        s = state.known(symbol)
        if s is None:
            return None
        minutes = state.minutes
        newest = minutes.newest.item(s)
        minute = minutes.end(state.watermark_ns) if state.watermark_ns else newest + 1
        if state.day_at.item(s) != minute:
            state.day_close[s] = state.tape.close_at(s, max(0, minute - minutes.kept), minute - _DAY_MINUTES)
        volume = last_day(minutes.cells, state.day, state.day_at, s, minute, newest)
        last = state.last[s].item()
        price, size, ts_ns, last_id = last[:4]
        if last_id < 0:
            price, size = float(minutes.cells["close"][s, newest % minutes.cells.shape[1]]), None
            ts_ns = (newest + 1) * MINUTE_NS
        before = state.day_close.item(s)
        return {
            "symbol": state.symbols[s],
            "price": price,
            "size": size,
            "timestamp": ts_ns // 1_000_000,
            "change_24h": price / before - 1.0 if before > 0 else None,
            "volume_24h": volume,
        }

    def open_bar(self, symbol: str, timeframe: str) -> BarBatch | None:
        """Return the bar of a timeframe that is open now, as a batch of one; None where nothing has traded in it.

        Where a newer bar has begun before the watermark closed an older one, that is the newest.
        """
        s = self._state.known(symbol)
        if s is None or self._state.watermark_ns == 0:
            return None
        ring, length = self._state.ring_of(timeframe), timeframe_ns(timeframe)
        bucket = ring.newest.item(s) * ring.step_ns // length
        if (bucket + 1) * length <= self._state.watermark_ns:
            return None
        bars = ring.longer(timeframe, np.array([s], np.int32), np.array([bucket], np.int64))
        return bars if len(bars) else None

    def recent_bars(self, symbol: str, timeframe: str, count: int, *, with_open: bool = False) -> BarBatch:
        """Return up to ``count`` newest closed bars that are kept, oldest first; ``with_open`` adds what is still open.

        That is one bar, or two where a newer one has begun before the watermark closed the older. Kept are ten
        minutes of one-second bars and of what is made of them, and 1,500 minutes of all others.
        """
        state = self._state
        s = state.known(symbol)
        if s is None:
            return BarBatch.empty(state.symbols, timeframe)
        ring, length = state.ring_of(timeframe), timeframe_ns(timeframe)
        per = length // ring.step_ns
        newest = ring.newest.item(s) // per + 1
        open_from = min(state.watermark_ns // length, newest)
        oldest = -(-ring.oldest(state.watermark_ns) // per)
        buckets = np.arange(oldest, newest if with_open else open_from, dtype=np.int64)
        bars = ring.longer(timeframe, np.full(buckets.size, s, np.int32), buckets)
        closed = int(np.searchsorted(bars.ts_open_ns, open_from * length))
        return bars.take(slice(max(0, closed - count), None))
