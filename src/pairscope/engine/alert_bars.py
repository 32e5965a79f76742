"""The gauges of bars: what was traded over a window, and how much prices moved, as seconds and bars close.

Volumes move with each second of their symbol that closes and with the end of each bar, volatilities with the end of a
bar that has trades. Longer windows than the engine's rings reach are read from the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final

import numpy as np

from pairscope.engine.alert_bar_group import SECOND_NS, Parts, WatchedBars
from pairscope.engine.alert_bar_tape import BarTape
from pairscope.engine.alert_gauges import Gauge, GaugeKey, GaugeSource, Moment
from pairscope.engine.pairs import Wanted
from pairscope.engine.updates import Updates
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I8
from pairscope.ports import LiveView

__all__ = ["BAR_GAUGES", "BarGauges"]

BAR_GAUGES: Final = ("volume", "volatility")
_SECONDS: Final = 64
_MINUTE_S: Final = 60
_PARTS_KEPT: Final = 1500

_End = tuple[int, int, int, WatchedBars | None]
"""When a second (of no timeframe's) or a slot ends, a number to sort those of one time by, and which one it is."""


class BarGauges(GaugeSource):
    """Feeds volumes and volatilities of every symbol, timeframe and window that a rule asks for.

    >>> from pairscope.engine.data_processor import DataProcessor
    >>> engine = DataProcessor(Symbols())
    >>> source = BarGauges(engine.symbols_table, engine)
    >>> source.add(Gauge(GaugeKey("volatility", "BTCUSDT", timeframe="1d", window=20), lambda *step: None))
    >>> source.lacking(), source.begin_reading(source.lacking()[0])
    ([Wanted(symbol='BTCUSDT', timeframe='1d')], (0, 56))
    """

    def __init__(self, symbols: Symbols, live: LiveView) -> None:
        self._symbols = symbols
        self._live = live
        self._groups: dict[str, WatchedBars] = {}
        self._parts = Parts()
        self._volumes: dict[int, int] = {}

    def handles(self, key: GaugeKey) -> bool:
        """Return whether it is a volume or a volatility."""
        return key.type in BAR_GAUGES

    def add(self, gauge: Gauge) -> None:
        """Feed a gauge from now on."""
        key, symbol_id = gauge.key, self._symbols.id_of(gauge.key.symbol)
        group = self._groups.get(key.timeframe)
        if group is None:
            if not self._groups:
                self._parts.until = self._live.watermark_ns() // SECOND_NS
            made = WatchedBars(key.timeframe, self._symbols, self._parts, self._live.watermark_ns())
            group = self._groups[key.timeframe] = made
        gauge.told = group.rebound
        if group.add(gauge):
            self._volumes[symbol_id] = self._volumes.get(symbol_id, 0) + 1
            self._parts.seconds.need(symbol_id, _SECONDS)
            self._parts.minutes.need(symbol_id, max(1, group.step_ns // SECOND_NS // _MINUTE_S))
            self._take_up(symbol_id)
            group.recount([symbol_id])

    def remove(self, gauge: Gauge) -> None:
        """Feed a gauge no longer."""
        gauge.told = None
        group = self._groups[gauge.key.timeframe]
        group.remove(gauge)
        if not len(group):
            del self._groups[gauge.key.timeframe]
        if gauge.key.type == "volume":
            symbol_id = self._symbols.id_of(gauge.key.symbol)
            self._volumes[symbol_id] -= 1
            if not self._volumes[symbol_id]:
                del self._volumes[symbol_id]
                for tape in (self._parts.seconds, self._parts.minutes):
                    tape.release(tape.row(symbol_id))

    def changed(self, gauge: Gauge) -> None:
        """Feed a gauge with the next batch: a condition has been added to it."""
        self._groups[gauge.key.timeframe].renew(gauge)

    # -- what happens --------------------------------------------------------------------------------------------------

    def on_updates(self, updates: Updates, moment: Moment) -> None:
        """Take what closed and was corrected, and feed what each second and each bar that ended has changed."""
        if not self._groups:
            return
        watermark_ns = updates.watermark_ns
        self._reach(watermark_ns)
        corrected = self._tell(chain(updates.closed, updates.revised))
        for group in self._groups.values():
            group.recount(corrected)
        ends: list[_End] = [((second + 1) * SECOND_NS, 0, second, None) for second in self._seconds(updates)]
        for group in self._groups.values():
            ends += [((slot + 1) * group.step_ns, group.step_ns, slot, group) for slot in group.ends(watermark_ns)]
        closed = {bars.timeframe: bars for bars in updates.closed}.get("1s")
        for _, _, slot, ended in sorted(ends, key=_time):
            if ended is not None:
                ended.close(slot, moment)
            elif closed is not None:
                self._second(slot, closed, moment)
        self._parts.until = max(self._parts.until, watermark_ns // SECOND_NS)
        for group in list(self._groups.values()):
            group.finish(moment)

    def revise(self, batches: Iterable[BarBatch]) -> None:
        """Take closed bars that changed otherwise than by a batch; the next value is that of the corrected bars."""
        corrected = self._tell(batches)
        for group in self._groups.values():
            group.recount(corrected)

    # -- history -------------------------------------------------------------------------------------------------------

    def reload(self, symbols: Iterable[str]) -> None:
        """Have the history of symbols read again: bars changed that the engine does not tell of."""
        known = [s for s in map(self._symbols.find, symbols) if s is not None]
        for symbol_id in known:
            for group in self._groups.values():
                group.tape.drop(symbol_id)
            if symbol_id in self._volumes:
                self._take_up(symbol_id)
        for group in self._groups.values():
            group.recount(known)

    def lacking(self) -> list[Wanted]:
        """Return what has to be read before every gauge can be fed."""
        return [
            Wanted(self._symbols[symbol_id], timeframe)
            for timeframe, group in self._groups.items()
            for symbol_id in group.tape.lacking()
        ]

    def begin_reading(self, wanted: Wanted) -> tuple[int, int] | None:
        """Return from which time on bars are wanted, and how many slots that is; None where no gauge wants them."""
        group = self._groups.get(wanted.timeframe)
        return None if group is None else group.tape.begin(self._symbols.id_of(wanted.symbol), group.next_slot)

    def fill(self, wanted: Wanted, slots: int, bars: BarBatch) -> None:
        """Take the bars that were read."""
        group = self._groups.get(wanted.timeframe)
        if group is not None and group.tape.fill(self._symbols.id_of(wanted.symbol), slots, bars):
            group.filled()

    # -- what is asked -------------------------------------------------------------------------------------------------

    def look(self, gauge: Gauge) -> None:
        """Bring a gauge's value, and why it has none, up to now."""
        self._groups[gauge.key.timeframe].look(gauge)

    def counters(self) -> Mapping[str, Any]:
        """Return how many gauges of bars there are."""
        return {"bar_gauges": sum(len(group) for group in self._groups.values())}

    # -- inside --------------------------------------------------------------------------------------------------------

    def _reach(self, watermark_ns: int) -> None:
        """Let the tapes of parts come to a time; what lies a ring's length before is forgotten."""
        for tape in (self._parts.seconds, self._parts.minutes):
            tape.reach(watermark_ns // tape.step_ns)

    def _tell(self, batches: Iterable[BarBatch]) -> list[int]:
        """Lay bars on the tapes; return the symbols of which parts of open bars were corrected."""
        corrected: set[int] = set()
        for bars in batches:
            group = self._groups.get(bars.timeframe)
            if group is not None:
                group.outdate(*group.tape.tell(bars))
            tape = self._part(bars.timeframe)
            if tape is not None:
                rows, slots = tape.tell(bars)
                late = rows[slots * tape.step_ns < self._parts.until * SECOND_NS]
                corrected.update(tape.symbol_of(row) for row in late.tolist())
        return sorted(corrected)

    def _part(self, timeframe: str) -> BarTape | None:
        """Return the tape of the parts that open bars are made of, where this is one of their timeframes."""
        return {"1s": self._parts.seconds, "1m": self._parts.minutes}.get(timeframe)

    def _take_up(self, symbol_id: int) -> None:
        """Take up the seconds and minutes that the engine keeps of a symbol."""
        name = self._symbols[symbol_id]
        self._reach(self._live.watermark_ns())
        for tape in (self._parts.seconds, self._parts.minutes):
            tape.tell(self._live.recent_bars(name, tape.timeframe, min(tape.slots, _PARTS_KEPT)))

    def _seconds(self, updates: Updates) -> list[int]:
        """Return the seconds to go through, in which something closed of a symbol whose volume is watched."""
        closed = [bars for bars in updates.closed if bars.timeframe == "1s"]
        if not closed or not self._volumes:
            return []
        seconds = np.unique(closed[0].ts_open_ns // SECOND_NS)
        kept = updates.watermark_ns // SECOND_NS - self._parts.seconds.slots
        fresh: list[int] = seconds[(seconds >= self._parts.until) & (seconds > kept)].tolist()
        return fresh

    def _second(self, second: int, closed: BarBatch, moment: Moment) -> None:
        """Let every timeframe take a second that has closed."""
        mine = closed.symbol_id[closed.ts_open_ns == second * SECOND_NS].astype(np.int64)
        theirs: I8 = self._parts.seconds.rows_of(mine)
        followed = theirs >= 0
        self._parts.until = second + 1
        for group in list(self._groups.values()):
            group.second(second, mine[followed], theirs[followed], moment)


def _time(one: _End) -> tuple[int, int]:
    return one[0], one[1]
