"""The gauges of pairs: spread and z-score at each tick of a leg, everything else as bars close.

Deterministic: a value between closes is a function of closed bars and of the two last prices (ADR 0025). Of a pair by
Huber's hedge ratio, which takes too long for that, spread and z-score move at closes only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final

from pairscope.engine.alert_gauges import Gauge, GaugeKey, GaugeSource, Moment, TickRows
from pairscope.engine.alert_pair_group import Hit, WatchedPairs
from pairscope.engine.pairs import Wanted
from pairscope.engine.updates import Updates
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.ports import LiveView

__all__ = ["PAIR_GAUGES", "PairGauges"]

PAIR_GAUGES: Final = ("zscore", "spread", "correlation", "hedge_drift", "half_life", "sentinel")


class PairGauges(GaugeSource):
    """Feeds the gauges of every pair that a rule asks for, each with settings of its own.

    >>> from pairscope.engine.data_processor import DataProcessor
    >>> engine = DataProcessor(Symbols())
    >>> source = PairGauges(engine.symbols_table, engine)
    >>> key = GaugeKey("zscore", "", "ETHUSDT", "BTCUSDT", "1m", 60, 0, 1440, "ols", "log")
    >>> gauge = Gauge(key, lambda watch, before, edge, value, moment: None)
    >>> source.add(gauge)
    >>> gauge.reason, [wanted.symbol for wanted in source.lacking()]
    ('history is being read', ['ETHUSDT', 'BTCUSDT'])
    """

    def __init__(self, symbols: Symbols, live: LiveView) -> None:
        self._symbols = symbols
        self._live = live
        self._groups: dict[str, WatchedPairs] = {}
        self._rows: TickRows | None = None
        self._hits: list[tuple[Hit, WatchedPairs]] = []
        self._at: list[int] = []
        self._looked = 0

    def handles(self, key: GaugeKey) -> bool:
        """Return whether it is a pair's value."""
        return key.type in PAIR_GAUGES

    def add(self, gauge: Gauge) -> None:
        """Feed a gauge from now on."""
        timeframe = gauge.key.timeframe
        group = self._groups.get(timeframe)
        if group is None:
            group = self._groups[timeframe] = WatchedPairs(timeframe, self._symbols, self._live)
        group.add(gauge)
        gauge.told = group.rebound

    def remove(self, gauge: Gauge) -> None:
        """Feed a gauge no longer."""
        gauge.told = None
        group = self._groups[gauge.key.timeframe]
        group.remove(gauge)
        if not len(group):
            del self._groups[gauge.key.timeframe]

    def changed(self, gauge: Gauge) -> None:
        """Feed a gauge with the next batch: a condition has been added to it."""
        self._groups[gauge.key.timeframe].renew(gauge)

    # -- ticks ---------------------------------------------------------------------------------------------------------

    def begin(self, rows: TickRows) -> None:
        """Find the ticks of a batch at which a pair has to be looked at. O(ticks · pairs of their symbols)."""
        self._rows, self._hits, self._at = rows, [], []
        if not self._groups or not len(rows.batch):
            return
        for group in self._groups.values():
            self._hits += [(hit, group) for hit in group.scan(rows.batch, rows.in_order)]
        if len(self._groups) > 1:
            self._hits.sort(key=_row)
        self._at = [hit.row for hit, _ in self._hits]

    def seek(self, start: int) -> int:
        """Return the first row from ``start`` on at which a pair has to be looked at."""
        at = bisect_left(self._at, start)
        return self._at[at] if at < len(self._at) else 1 << 62

    def tick(self, row: int) -> None:
        """Feed the spreads and z-scores that this tick moves."""
        if self._rows is None:
            return
        moment = self._rows.moment(row)
        values: list[tuple[Gauge, float]] = []
        for hit, group in self._hits[bisect_left(self._at, row) : bisect_left(self._at, row + 1)]:
            self._looked += 1
            values += group.look_at(hit)
        for gauge, value in sorted(values, key=_key) if len(values) > 1 else values:
            gauge.feed(value, moment)

    # -- bars ----------------------------------------------------------------------------------------------------------

    def on_updates(self, updates: Updates, moment: Moment) -> None:
        """Step every pair through what has closed, and feed what it says at each close."""
        if not self._groups:
            return
        for bars in chain(updates.closed, updates.revised):
            if bars.timeframe in self._groups:
                self._groups[bars.timeframe].group.tell(bars)
        closes = []
        for group in self._groups.values():
            group.settle()
            step_ns = group.group.step_ns
            closes += [((slot + 1) * step_ns, step_ns, slot, group) for slot in group.due(updates.watermark_ns)]
        closes.sort(key=_time)
        for _, _, slot, group in closes:
            group.close(slot, moment)
        for group in list(self._groups.values()):
            group.finish(moment)

    def revise(self, batches: Iterable[BarBatch]) -> None:
        """Take closed bars that changed otherwise than by a batch; the next value is that of the corrected bars."""
        for bars in batches:
            group = self._groups.get(bars.timeframe)
            if group is not None:
                group.group.tell(bars)
                group.settle()

    # -- history -------------------------------------------------------------------------------------------------------

    def reload(self, symbols: Iterable[str]) -> None:
        """Have the history of symbols read again: bars changed that the engine does not tell of."""
        known = [s for s in map(self._symbols.find, symbols) if s is not None]
        for group in self._groups.values():
            for symbol_id in known:
                group.group.drop(symbol_id)

    def lacking(self) -> list[Wanted]:
        """Return what has to be read before every pair can be told."""
        return [
            Wanted(self._symbols[symbol_id], timeframe)
            for timeframe, group in self._groups.items()
            for symbol_id in group.group.lacking()
        ]

    def begin_reading(self, wanted: Wanted) -> tuple[int, int] | None:
        """Return from which time on bars are wanted, and how many slots that is; None where no pair wants them."""
        group = self._groups.get(wanted.timeframe)
        return None if group is None else group.group.begin(self._symbols.id_of(wanted.symbol))

    def fill(self, wanted: Wanted, slots: int, bars: BarBatch) -> None:
        """Take the bars that were read; pairs whose legs are both there are computed at once."""
        group = self._groups.get(wanted.timeframe)
        if group is not None:
            group.group.fill(self._symbols.id_of(wanted.symbol), slots, bars)
            group.settle()

    # -- what is asked -------------------------------------------------------------------------------------------------

    def look(self, gauge: Gauge) -> None:
        """Bring a gauge's value, and why it has none, up to now."""
        self._groups[gauge.key.timeframe].look(gauge)

    def counters(self) -> Mapping[str, Any]:
        """Return how many pairs are followed, and how often one was looked at exactly between closes."""
        groups = self._groups.values()
        return {
            "pairs": sum(len(group) for group in groups),
            "pair_steps": sum(group.group.steps for group in groups),
            "pair_looks": self._looked,
        }


def _row(one: tuple[Hit, WatchedPairs]) -> int:
    return one[0].row


def _time(one: tuple[int, int, int, WatchedPairs]) -> tuple[int, int]:
    return one[0], one[1]


def _key(one: tuple[Gauge, float]) -> GaugeKey:
    return one[0].key
