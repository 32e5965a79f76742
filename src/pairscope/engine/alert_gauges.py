"""A gauge: one stream of values that any number of conditions watch, and what may feed it.

Conditions lie in two heaps by the nearest value at which each may change, so that a value which passes none of them
costs one comparison, and one that passes k of them k machine steps, however many watch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import inf, isnan, nan
from typing import Any, Final, NamedTuple

from pairscope.engine.alert_machine import UNSEEN, Sides, bounds_of, step_of
from pairscope.engine.pairs import Wanted
from pairscope.engine.updates import Updates
from pairscope.market.alert_conditions import AlertCondition
from pairscope.market.alert_terms import PAIR_TYPES
from pairscope.market.bars import BarBatch
from pairscope.market.ticks import B1, TickBatch

__all__ = ["ABSENT", "Gauge", "GaugeKey", "GaugeSource", "Moment", "Note", "TickRows", "Watch", "gauge_key"]

ABSENT: Final = -1
"""In a notebook: the condition was not there yet."""
_BARS: Final = ("moves", "price_change", "volume", "volatility")


class Moment(NamedTuple):
    """When a gauge had a value.

    ``time_ns`` is event time: the tick's, the close of the bar (its open time and length), a whole second, an event's.
    ``recv_ns`` is when that tick came, else when the newest tick known by then had. ``watermark_ns`` is how far the
    book's time was. ``symbol`` is whose tick it was, ``Y:X`` for an event of the screen, empty at closes of pairs.
    """

    time_ns: int
    recv_ns: int
    watermark_ns: int
    symbol: str = ""
    trade_id: int = -1
    late: bool = False


class GaugeKey(NamedTuple):
    """Which stream of values it is; fields that its type does not depend on are empty, so that gauges are shared.

    ``type`` is a rule's type, or ``moves`` for a price's move over a window. ``closes``: only values at closes of bars
    of ``timeframe`` are wanted.
    """

    type: str
    symbol: str = ""
    y: str = ""
    x: str = ""
    timeframe: str = ""
    window: int = 0
    baseline: int = 0
    lookback: int = 0
    method: str = ""
    price_space: str = ""
    closes: bool = False


def gauge_key(condition: AlertCondition, *, closes: bool = False) -> GaugeKey:
    """Return which stream of values a condition watches.

    >>> gauge_key(AlertCondition("price", "above", 5.0, symbol="BTCUSDT", window=20))
    GaugeKey(type='price', symbol='BTCUSDT', y='', x='', timeframe='', window=0, baseline=0, lookback=0, method='', \
price_space='', closes=False)
    """
    c = condition
    if c.type in PAIR_TYPES:
        return GaugeKey(c.type, "", c.y, c.x, c.timeframe, c.window, 0, c.lookback, c.method, c.price_space, closes)
    type_ = "moves" if c.condition == "moves" else c.type
    if type_ in _BARS:
        return GaugeKey(type_, c.symbol, "", "", c.timeframe, c.window, c.baseline or 0, closes=closes)
    return GaugeKey(type_, c.symbol, timeframe=c.timeframe if closes else "", closes=closes)


@dataclass(slots=True, eq=False)
class Watch:
    """A condition of a rule on a gauge. ``order`` is its place among all: (rule id, index); ``version`` grows.

    ``kept``: it goes on from where it stood before a restart.
    """

    order: tuple[str, int]
    condition: AlertCondition
    sides: Sides
    phase: int = UNSEEN
    kept: bool = False
    version: int = 0


Note = Callable[[Watch, int, bool, float, Moment], None]
"""Is told of each step: the watch, the phase before, whether it has come true, the value, and when."""

_Entry = tuple[float, int, tuple[str, int], Watch]


@dataclass(slots=True, eq=False)
class Gauge:
    """One stream of values. Whoever feeds it may leave out values strictly between ``low`` and ``high``.

    ``reason`` says why there is no value while ``value`` is NaN. ``saved`` are notebooks for holes in the stream: the
    phase of each watch as it was before its first change since a notebook was put there, ``ABSENT`` for a newer watch.
    ``told`` is called when the bounds have changed.

    >>> from pairscope.engine.alert_machine import sides_of
    >>> steps = []
    >>> gauge = Gauge(GaugeKey("price", "BTCUSDT"), lambda watch, before, edge, value, moment: steps.append(edge))
    >>> above = AlertCondition("price", "above", 100.0, symbol="BTCUSDT")
    >>> gauge.add(Watch(("a", 0), above, sides_of(above)))
    >>> for price in (99.0, 99.5, 101.0):
    ...     gauge.feed(price, Moment(0, 0, 0))
    >>> steps, gauge.low
    ([False, True], 100.0)
    """

    key: GaugeKey
    note: Note
    value: float = nan
    reason: str = "no value yet"
    low: float = -inf
    high: float = inf
    saved: list[dict[Watch, int]] = field(default_factory=list)
    told: Callable[[Gauge], None] | None = None
    _watches: dict[Watch, None] = field(default_factory=dict)
    _ups: list[_Entry] = field(default_factory=list)
    _downs: list[_Entry] = field(default_factory=list)

    def feed(self, value: float, moment: Moment) -> None:
        """Take a value; NaN is none and changes nothing. O(watches whose bounds it passes · log of all)."""
        self.value = value
        if self.low < value < self.high or isnan(value):
            return
        passed: list[Watch] = []
        for heap, sign in ((self._ups, 1.0), (self._downs, -1.0)):
            reached = sign * value
            while heap and (heap[0][0] <= reached or heap[0][1] != heap[0][3].version):
                _, version, _, watch = heappop(heap)
                if version == watch.version:
                    watch.version += 1
                    passed.append(watch)
        passed.sort(key=_order)
        for watch in passed:
            before = watch.phase
            watch.phase, edge = step_of(watch.sides, before, value)
            if watch.phase != before:
                for notebook in self.saved:
                    notebook.setdefault(watch, before)
            self._push(watch)
            self.note(watch, before, edge, value, moment)
        self._rebound()

    def add(self, watch: Watch) -> None:
        """Let a condition watch; the next value is looked at, whatever it is."""
        self._watches[watch] = None
        for notebook in self.saved:
            notebook[watch] = ABSENT
        watch.version += 1
        self._push(watch, nan)
        self._rebound()

    def remove(self, watch: Watch) -> None:
        """Let a condition watch no longer."""
        self._watches.pop(watch, None)
        watch.version += 1
        self._rebound()

    def watches(self) -> Iterable[Watch]:
        """Return the conditions that watch."""
        return self._watches.keys()

    def __len__(self) -> int:
        return len(self._watches)

    def _push(self, watch: Watch, value: float | None = None) -> None:
        low, high = bounds_of(watch.sides, watch.phase, self.value if value is None else value)
        if high < inf:
            heappush(self._ups, (high, watch.version, watch.order, watch))
        if low > -inf:
            heappush(self._downs, (-low, watch.version, watch.order, watch))

    def _rebound(self) -> None:
        """Find the bounds anew; entries that no longer count leave the heaps at the top, or when they are too many."""
        room = 2 * len(self._watches) + 64
        for heap in (self._ups, self._downs):
            if len(heap) > room:
                heap[:] = [entry for entry in heap if entry[1] == entry[3].version]
                heapify(heap)
            while heap and heap[0][1] != heap[0][3].version:
                heappop(heap)
        before = self.low, self.high
        self.high = self._ups[0][0] if self._ups else inf
        self.low = -self._downs[0][0] if self._downs else -inf
        if self.told is not None and before != (self.low, self.high):
            self.told(self)


def _order(watch: Watch) -> tuple[str, int]:
    return watch.order


class TickRows(NamedTuple):
    """A batch under the book's symbol table, and how far the book's time was before it.

    ``in_order`` says of each tick whether its trade id is above the newest of its symbol that had come before.
    """

    batch: TickBatch
    watermark_ns: int
    in_order: B1

    def moment(self, row: int, *, late: bool = False) -> Moment:
        """Return the moment of a tick."""
        b = self.batch
        name = b.symbols[int(b.symbol_id[row])]
        ids = int(b.trade_id[row])
        return Moment(int(b.ts_event_ns[row]), int(b.ts_recv_ns[row]), self.watermark_ns, name, ids, late)


class GaugeSource:
    """Feeds the gauges of some types. What a source does not need it leaves as it is here.

    The book asks in this order. Before the engine takes a batch: ``begin`` with its rows; then, tick by tick, each
    source says by ``seek`` which row it has to look at next, and the book lets those whose row is the lowest look
    (``tick``), so that values of all sources come in the ticks' order. After the engine and the live pairs have taken
    the batch: ``on_updates``, with a moment that has the batch's watermark and the newest receive time; values of
    closes are fed in the order of their times. Everything that a value at a tick depends on beside the ticks before
    it must change in ``on_updates`` (where something closed), ``revise``, ``fill`` or ``on_event`` only: a replay has
    the same batches only where something was told.
    """

    def handles(self, key: GaugeKey) -> bool:
        """Return whether gauges of this key are this source's."""
        return False

    def add(self, gauge: Gauge) -> None:
        """Feed a gauge from now on."""

    def remove(self, gauge: Gauge) -> None:
        """Feed a gauge no longer."""

    def changed(self, gauge: Gauge) -> None:
        """Hear that a condition has been added to a gauge or taken away, so that its bounds have changed."""

    def begin(self, rows: TickRows) -> None:
        """Take a batch of ticks, which is gone through by ``seek`` and ``tick``."""

    def seek(self, start: int) -> int:
        """Return the first row from ``start`` on that has to be looked at, the number of rows where there is none."""
        return 1 << 62

    def tick(self, row: int) -> None:
        """Feed what this tick moves."""

    def on_updates(self, updates: Updates, moment: Moment) -> None:
        """Feed what closes, corrected bars and time move."""

    def look(self, gauge: Gauge) -> None:
        """Bring a gauge's value, or the reason why it has none, up to now: somebody looks at it."""

    def as_of(self, gauge: Gauge, row: int) -> None:
        """Bring a gauge's value up to a row of the batch that is gone through, where that is cheap to know."""

    def on_event(
        self, kind: str, name: str, value: float, moment: Moment, *, timeframe: str = "", lookback: int = 0
    ) -> None:
        """Feed what an event moves: ``funding`` of a symbol, ``found`` or ``lost`` of a pair Y:X."""

    def revise(self, batches: Iterable[BarBatch]) -> None:
        """Take closed bars that changed otherwise than by a batch."""

    def reload(self, symbols: Iterable[str]) -> None:
        """Have the history of symbols read again."""

    def lacking(self) -> list[Wanted]:
        """Return what has to be read from the store."""
        return []

    def begin_reading(self, wanted: Wanted) -> tuple[int, int] | None:
        """Return from which time on bars are wanted and how many slots that is; None where they are not wanted here.

        What closes after this call is newer than what will be read, and is kept over it.
        """
        return None

    def fill(self, wanted: Wanted, slots: int, bars: BarBatch) -> None:
        """Take the bars that were read."""

    def counters(self) -> Mapping[str, Any]:
        """Return what this source counts."""
        return {}
