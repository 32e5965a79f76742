"""All that the live engine keeps: two rings of bars, the last tick of each symbol, the watermark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.engine.ring import BarRing
from pairscope.engine.rolling import StatTape
from pairscope.errors import InputError
from pairscope.market.bar_cells import CELL, SYMBOL_STATE
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I4, TickBatch

__all__ = ["AHEAD_NS", "MINUTES_KEPT", "MINUTE_NS", "SECONDS_KEPT", "LiveState"]

MINUTE_NS: Final = 60_000_000_000
SECONDS_KEPT: Final = 600
MINUTES_KEPT: Final = 1500
AHEAD_NS: Final = 300_000_000_000
"""How far ticks may lie ahead of the watermark: the rings have spare places for that and a little more."""
_SPARE_SECONDS: Final = 424
_SPARE_MINUTES: Final = 36
_MADE_OF = MappingProxyType({"1s": ("5s", "15s"), "1m": ("3m", "5m", "15m", "30m", "1h", "4h", "1d")})
_TICK_COLUMNS = ("symbol_id", "ts_event_ns", "ts_recv_ns", "trade_id", "price", "size", "buyer_is_maker")


class LiveState:
    """The tables of an engine, a row a symbol. Rows come into being with their symbols.

    ``last`` holds each symbol's newest tick (by trade id), ``newest`` the index of its newest one-second and
    one-minute bar, ``day`` what its last 24 h sum up to and ``day_at`` as of which minute. ``stale`` are symbols whose
    statistics changed otherwise than by a close.
    """

    def __init__(self, symbols: Symbols, windows: Sequence[int]) -> None:
        if not windows or min(windows) < 1 or max(windows) >= MINUTES_KEPT:
            raise InputError(f"windows: each must be 1 to {MINUTES_KEPT - 1}", loc="windows")
        self.symbols = symbols
        self.watermark_ns = 0
        self.seconds = BarRing(symbols, "1s", _MADE_OF["1s"], kept=SECONDS_KEPT, spare=_SPARE_SECONDS)
        self.minutes = BarRing(symbols, "1m", _MADE_OF["1m"], kept=MINUTES_KEPT, spare=_SPARE_MINUTES)
        self.rings = (self.seconds, self.minutes)
        self.tape = StatTape(symbols, windows, kept=MINUTES_KEPT, slots=MINUTES_KEPT + _SPARE_MINUTES)
        self.last: NDArray[Any] = np.zeros(0, SYMBOL_STATE)
        self.day: NDArray[Any] = np.zeros(0, CELL)
        self.day_at = np.empty(0, np.int64)
        self.day_close = np.empty(0)
        self.stale: set[int] = set()

    def make_room(self) -> None:
        """Grow every table to the symbols that there are now."""
        have, need = self.last.size, len(self.symbols)
        if need <= have:
            return
        capacity = max(need, 2 * have)
        more = capacity - have
        for ring in self.rings:
            ring.grow(capacity)
        self.tape.grow(capacity)
        fresh = np.zeros(more, SYMBOL_STATE)
        fresh["last_id"] = fresh["first_ns"] = -1
        self.last = np.concatenate([self.last, fresh])
        self.day = np.concatenate([self.day, np.zeros(more, CELL)])
        self.day_at = np.concatenate([self.day_at, np.full(more, -1, np.int64)])
        self.day_close = np.concatenate([self.day_close, np.full(more, np.nan)])

    def own_ticks(self, batch: TickBatch) -> TickBatch:
        """Return a batch under this engine's symbol table, its columns as the kernels were compiled for them."""
        columns: dict[str, Any] = {name: _plain(getattr(batch, name)) for name in _TICK_COLUMNS}
        if batch.symbols is not self.symbols:
            columns["symbol_id"] = self._ids(batch.symbols)[batch.symbol_id]
        self.make_room()
        return replace(batch, symbols=self.symbols, void=(), **columns)

    def own_bars(self, bars: BarBatch) -> BarBatch:
        """Return bars under this engine's symbol table, without those of an interval in which nothing was traded."""
        if bars.symbols is not self.symbols:
            bars = replace(bars, symbols=self.symbols, symbol_id=self._ids(bars.symbols)[bars.symbol_id])
        self.make_room()
        return bars.take((bars.close > 0) & ((bars.trades > 0) | (bars.volume > 0)))

    def known(self, symbol: str) -> int | None:
        """Return a symbol's id where it has a bar, else None."""
        s = self.symbols.find(symbol)
        return None if s is None or s >= self.last.size or self.minutes.newest[s] < 0 else s

    def ring_of(self, timeframe: str) -> BarRing:
        """Return the ring that bars of a timeframe come from."""
        return self.seconds if timeframe == "1s" or timeframe in self.seconds.derived else self.minutes

    def _ids(self, theirs: Symbols) -> I4:
        return np.array([self.symbols.id_of(name) for name in theirs], np.int32)


def _plain(column: NDArray[Any]) -> NDArray[Any]:
    """Return a contiguous writable column, a copy where it is not: other layouts would be compiled anew."""
    return column if column.flags.carray else column.copy()
