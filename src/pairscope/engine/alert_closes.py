"""Closes of closed bars that prices are compared with: the engine's own, or the store's where it keeps too few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import numpy as np

from pairscope.engine.alert_bar_tape import BarTape
from pairscope.engine.alert_gauges import GaugeKey
from pairscope.engine.pairs import Wanted
from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import F8, I8
from pairscope.ports import LiveView

__all__ = ["Closes"]

_SECONDS_NS: Final = 590_000_000_000
_MINUTES_NS: Final = 1_490 * 60_000_000_000
_MINUTE_NS: Final = 60_000_000_000
"""How far back the engine's rings are sure to reach, in bars made of seconds and of minutes."""


class Closes:
    """Closes by gauge. A gauge whose window is longer than the engine's rings reads its history once, and keeps it."""

    def __init__(self, symbols: Symbols, live: LiveView) -> None:
        self._symbols = symbols
        self._live = live
        self._tapes: dict[str, BarTape] = {}
        self._readers: Counter[tuple[str, int]] = Counter()
        self._asked: dict[Wanted, int] = {}

    def add(self, key: GaugeKey) -> None:
        """Take up a gauge."""
        if not _is_long(key):
            return
        s = self._symbols.id_of(key.symbol)
        tape = self._tapes.setdefault(key.timeframe, BarTape(key.timeframe))
        tape.need(s, key.window + 2)
        self._readers[key.timeframe, s] += 1

    def remove(self, key: GaugeKey) -> None:
        """Let a gauge go."""
        if not _is_long(key):
            return
        s = self._symbols.id_of(key.symbol)
        self._readers[key.timeframe, s] -= 1
        if not self._readers[key.timeframe, s]:
            self._tapes[key.timeframe].release(self._tapes[key.timeframe].row(s))

    def of(self, key: GaugeKey) -> tuple[I8, F8]:
        """Return open times and closes of a gauge's newest closed bars, oldest first; none before history was read."""
        if not _is_long(key):
            bars = self._live.recent_bars(key.symbol, key.timeframe, key.window + 2)
            return bars.ts_open_ns, bars.close
        tape = self._tapes[key.timeframe]
        row = tape.row(self._symbols.id_of(key.symbol))
        if not tape.ready(row, key.window + 2):
            return np.empty(0, np.int64), np.empty(0)
        slots = np.arange(max(0, tape.top - tape.slots + 1), tape.top + 1)
        closes = tape.closes[row, slots % tape.slots]
        there = ~np.isnan(closes)
        return slots[there] * tape.step_ns, closes[there]

    def tell(self, bars: BarBatch) -> None:
        """Take bars that closed or were corrected."""
        tape = self._tapes.get(bars.timeframe)
        if tape is not None:
            tape.tell(bars)

    def drop(self, symbol_id: int) -> None:
        """Have a symbol's history read again."""
        for tape in self._tapes.values():
            tape.drop(symbol_id)

    def lacking(self) -> list[Wanted]:
        """Return what has to be read from the store."""
        each: Iterable[tuple[str, BarTape]] = self._tapes.items()
        return [Wanted(self._symbols[s], timeframe) for timeframe, tape in each for s in tape.lacking()]

    def begin(self, wanted: Wanted) -> tuple[int, int] | None:
        """Return from which time on bars are wanted, and how many slots that is; None where nobody wants them."""
        tape = self._tapes.get(wanted.timeframe)
        if tape is None:
            return None
        self._asked[wanted] = next_slot = self._live.watermark_ns() // tape.step_ns
        return tape.begin(self._symbols.id_of(wanted.symbol), next_slot)

    def fill(self, wanted: Wanted, slots: int, bars: BarBatch) -> bool:
        """Take the closed ones of the bars that were read; False where nobody had asked."""
        tape, next_slot = self._tapes.get(wanted.timeframe), self._asked.pop(wanted, 0)
        closed = bars.take(bars.ts_open_ns // timeframe_ns(wanted.timeframe) < next_slot)
        return tape is not None and tape.fill(self._symbols.id_of(wanted.symbol), slots, closed)


def _is_long(key: GaugeKey) -> bool:
    step_ns = timeframe_ns(key.timeframe)
    return (key.window + 2) * step_ns > (_SECONDS_NS if step_ns < _MINUTE_NS else _MINUTES_NS)
