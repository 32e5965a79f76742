"""The book of alerts: every rule that is followed, stepped tick by tick, and what has come true since somebody asked.

Deterministic: no clock, no I/O. A tick is judged by the ticks before it and by what stood when its batch came, so that
the same ticks, cut into batches anywhere, fire the same rules at the same ticks (ADR 0025).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isnan, nan
from typing import Any, Final

import numpy as np

from pairscope.engine.alert_bars import BarGauges
from pairscope.engine.alert_events import EventGauges
from pairscope.engine.alert_gauges import Gauge, GaugeKey, GaugeSource, Moment, TickRows, Watch, gauge_key
from pairscope.engine.alert_kernels import in_order
from pairscope.engine.alert_kernels import warm_up as warm_scans
from pairscope.engine.alert_machine import NEAR, UNSEEN, distance_of, holds, sides_of
from pairscope.engine.alert_pairs import PairGauges
from pairscope.engine.alert_prices import PriceGauges, TradeView
from pairscope.engine.alert_staleness import SilenceGauges
from pairscope.engine.alert_standing import Edge, Standing, standing_of
from pairscope.engine.alert_warm_up import warm_up as warm_gauges
from pairscope.engine.journal import Values, digests
from pairscope.engine.pairs import Wanted
from pairscope.engine.updates import Updates
from pairscope.market.alert_rules import AlertFiring, AlertRule, AlertState
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I4, I8, TickBatch

__all__ = ["ALERTS_KIND", "AlertBook", "warm_up"]

ALERTS_KIND: Final = "alerts"
_REMEMBERED: Final = 64

_Said = tuple[str, int, int, float]


class AlertBook:
    """Every alert rule by its id; a ``Teller`` of the journal. ``live`` is the engine before it takes a batch.

    A batch costs its ticks once and the conditions whose bounds they pass, however many rules there are. With
    ``remember`` it can say ``again`` what it said since it was last asked, and of the last firings before.

    >>> from pairscope.engine.data_processor import DataProcessor
    >>> engine = DataProcessor(Symbols(["BTCUSDT"]))
    >>> book = AlertBook(engine.symbols_table, engine)
    >>> fields = {"type": "price", "symbol": "BTCUSDT", "condition": "above", "threshold": 100}
    >>> book.put(AlertRule.from_document("a", fields))
    >>> book.view("a")["reason"], book.firings()
    ('no value yet', [])
    """

    kind = ALERTS_KIND

    def __init__(self, symbols: Symbols, live: TradeView, *, remember: bool = False) -> None:
        self._symbols = symbols
        self._live = live
        self._remember = remember
        self._rules: dict[str, Standing] = {}
        self._gauges: dict[GaugeKey, Gauge] = {}
        self._sources: list[GaugeSource] = [
            PriceGauges(symbols, live),
            SilenceGauges(symbols, live),
            PairGauges(symbols, live),
            BarGauges(symbols, live),
            EventGauges(symbols, live),
        ]
        self._expiring: set[str] = set()
        self._pending: list[tuple[Watch, Edge]] = []
        self._moment = Moment(0, 0, 0)
        self._firings: list[AlertFiring] = []
        self._changed: dict[str, None] = {}
        self._told: list[_Said] = []
        self._said: dict[str, list[_Said]] = {}
        self._newest: I8 = np.empty(0, np.int64)
        self._ranks: I4 = np.empty(0, np.int32)
        self._watermark_ns = 0
        self._recv_ns = 0
        self._row = -1
        self._counts = {"firings": 0, "suppressed": 0, "storms": 0, "late": 0}

    # -- rules ---------------------------------------------------------------------------------------------------------

    def put(self, rule: AlertRule, state: AlertState | None = None) -> None:
        """Follow a rule, as if new or from where it stood; one of the same id is replaced. O(conditions · log)."""
        self.remove(rule.id)
        watches = tuple(Watch((rule.id, i), one, sides_of(one)) for i, one in enumerate(rule.conditions))
        made = self._rules[rule.id] = standing_of(rule, watches, state)
        if made.status != "active":
            return
        for watch in watches:
            key = gauge_key(watch.condition, closes=rule.at_closes)
            gauge = self._gauges.get(key)
            if gauge is None:
                gauge = self._gauges[key] = Gauge(key, self._note)
                self._source(key).add(gauge)
            gauge.add(watch)
            made.gauges.append(gauge)
            self._source(key).changed(gauge)
        if rule.expires_ns is not None:
            self._expiring.add(rule.id)

    def remove(self, rule_id: str) -> bool:
        """Follow a rule no longer; False where it was not followed."""
        gone = self._rules.pop(rule_id, None)
        if gone is None:
            return False
        self._release(gone)
        self._changed.pop(rule_id, None)
        self._said.pop(rule_id, None)
        return True

    def rules(self) -> list[AlertRule]:
        """Return the rules that are followed, by id."""
        return [self._rules[key].rule for key in sorted(self._rules)]

    def state(self, rule_id: str) -> AlertState:
        """Return how a rule stands; ``KeyError`` where it is not followed."""
        return self._rules[rule_id].state()

    def knows(self, rule_id: str) -> bool:
        """Return whether a rule is followed."""
        return rule_id in self._rules

    # -- what happens --------------------------------------------------------------------------------------------------

    def on_ticks(self, batch: TickBatch) -> None:
        """Take a batch's ticks, before the engine does. O(ticks + conditions whose bounds they pass)."""
        if len(batch):
            self._recv_ns = max(self._recv_ns, int(batch.ts_recv_ns.max()))
        if not self._gauges:
            self._newest = self._newest[:0]
            return
        rows = self._rows(batch)
        size = len(rows.batch)
        for source in self._sources:
            source.begin(rows)
        self._settle()
        if not size:
            return
        heads = [source.seek(0) for source in self._sources]
        row = min(heads)
        while row < size:
            self._row = row
            for i, source in enumerate(self._sources):
                if heads[i] == row:
                    source.tick(row)
            self._settle()
            heads = [source.seek(row + 1) if heads[i] == row else heads[i] for i, source in enumerate(self._sources)]
            row = min(heads)
        self._row = -1

    def on_updates(self, updates: Updates) -> None:
        """Take what closed, was corrected, and the time, after the engine has taken the batch."""
        self._watermark_ns = max(self._watermark_ns, updates.watermark_ns)
        moment = Moment(self._watermark_ns, self._recv_ns, self._watermark_ns)
        for source in self._sources:
            source.on_updates(updates, moment)
            self._settle()
        for rule_id in sorted(self._expiring):
            standing = self._rules[rule_id]
            expires_ns = standing.rule.expires_ns
            if expires_ns is not None and expires_ns <= self._watermark_ns:
                standing.expire()
                self._tell((rule_id, expires_ns, 0, nan))
                self._end(standing)

    def on_event(
        self, kind: str, name: str, value: float, time_ns: int, timeframe: str = "", lookback: int = 0
    ) -> None:
        """Take an event: ``funding`` of a symbol, ``found`` or ``lost`` of a pair Y:X by the screen."""
        moment = Moment(time_ns, self._recv_ns, self._watermark_ns, name)
        for source in self._sources:
            source.on_event(kind, name, value, moment, timeframe=timeframe, lookback=lookback)
            self._settle()

    def revise(self, batches: Iterable[BarBatch]) -> None:
        """Take closed bars that changed otherwise than by a batch."""
        found = list(batches)
        for source in self._sources:
            source.revise(found)

    def reload(self, symbols: Iterable[str]) -> None:
        """Have the history of symbols read again: bars changed that the engine does not tell of."""
        found = list(symbols)
        for source in self._sources:
            source.reload(found)

    # -- history -------------------------------------------------------------------------------------------------------

    def lacking(self) -> list[Wanted]:
        """Return what has to be read before every gauge can have a value."""
        return list(dict.fromkeys(wanted for source in self._sources for wanted in source.lacking()))

    def begin(self, wanted: Wanted) -> tuple[int, int] | None:
        """Return from which time on bars are wanted, and how many slots that is; None where nobody wants them now."""
        asked = [found for source in self._sources if (found := source.begin_reading(wanted)) is not None]
        if not asked:
            return None
        return min(start_ns for start_ns, _ in asked), max(slots for _, slots in asked)

    def fill(self, wanted: Wanted, slots: int, bars: BarBatch) -> None:
        """Take the bars that were read."""
        for source in self._sources:
            source.fill(wanted, slots, bars)

    # -- what is asked -------------------------------------------------------------------------------------------------

    def firings(self) -> list[AlertFiring]:
        """Return what has come true since this was last asked, in order."""
        firings, self._firings = self._firings, []
        return firings

    def changed(self) -> list[str]:
        """Return the ids of rules whose state has changed since this was last asked, by id."""
        changed, self._changed = self._changed, {}
        return sorted(changed)

    def told(self) -> Values:
        """Return the firings and ends of rules since the batch before."""
        told, self._told = self._told, []
        return _values(told)

    def again(self, keys: Sequence[str]) -> Values:
        """Return what these rules said of late."""
        rows = [said for key in dict.fromkeys(keys) for said in self._said.get(key, ())]
        for key in keys:
            del self._said.get(key, [])[:-_REMEMBERED]
        return _values(rows)

    def view(self, rule_id: str) -> Mapping[str, Any] | None:
        """Return what a rule watches now; None where it is not followed.

        ``values`` of its conditions, their ``distance`` to where each comes true next (or, once it has come true, of
        a crossing to its other side), whether each ``holds``, and the ``reason`` why a value is None.
        """
        standing = self._rules.get(rule_id)
        if standing is None:
            return None
        for gauge in standing.gauges:
            self._source(gauge.key).look(gauge)
        values = [gauge.value for gauge in standing.gauges] or [nan] * len(standing.watches)
        pairs = list(zip(standing.watches, values, strict=True))
        reasons = dict.fromkeys(gauge.reason for gauge in standing.gauges if isnan(gauge.value))
        return {
            "values": [None if isnan(value) else value for value in values],
            "distance": [_number(distance_of(watch.sides, watch.phase, value)) for watch, value in pairs],
            "holds": [holds(watch.phase) for watch in standing.watches],
            "reason": standing.reason or "; ".join(reasons),
        }

    def counters(self) -> Mapping[str, int]:
        """Return how many rules and gauges there are, and what came of them."""
        return {"rules": len(self._rules), "gauges": len(self._gauges), **self._counts}

    # -- inside --------------------------------------------------------------------------------------------------------

    def _rows(self, batch: TickBatch) -> TickRows:
        """Return a batch under this book's symbols, in the order in which its ticks came, with what is in order."""
        if batch.symbols is not self._symbols:
            ids = np.array([self._symbols.id_of(name) for name in batch.symbols], np.int32)
            batch = replace(batch, symbols=self._symbols, symbol_id=ids[batch.symbol_id])
        size = len(self._symbols)
        if size > self._newest.size:
            last = [self._live.last_trade(name) for name in list(self._symbols)[self._newest.size :]]
            fresh = [-1 if one is None else one[0] for one in last]
            self._newest = np.concatenate([self._newest, np.array(fresh, np.int64)])
            names = np.array(list(self._symbols))
            self._ranks = np.argsort(np.argsort(names)).astype(np.int32)
        if len(batch) > 1 and not (np.diff(batch.ts_recv_ns) > 0).all():
            batch = batch.take(np.lexsort((batch.trade_id, self._ranks[batch.symbol_id], batch.ts_recv_ns)))
        columns = ("symbol_id", "ts_event_ns", "ts_recv_ns", "trade_id", "price")
        plain = {name: np.require(getattr(batch, name), requirements=["C", "W"]) for name in columns}
        batch = replace(batch, **plain)
        ordered = np.empty(len(batch), np.bool_)
        in_order(batch.symbol_id, batch.trade_id, self._newest, ordered)
        return TickRows(batch, self._watermark_ns, ordered)

    def _source(self, key: GaugeKey) -> GaugeSource:
        return next((source for source in self._sources if source.handles(key)), _NOBODY)

    def _note(self, watch: Watch, before: int, edge: bool, value: float, moment: Moment) -> None:  # noqa: FBT001 - a Note
        """Take a step of a condition; what it comes to is seen when all steps of its moment have been taken."""
        if self._pending and _differ(moment, self._moment):
            after, watch.phase = watch.phase, before  # what came true earlier knows nothing of this step yet
            self._settle()
            watch.phase = after
        self._moment = moment
        if (
            not moment.late
            and watch.phase != before
            and (watch.sides.crossing or (before, watch.phase) != (UNSEEN, NEAR))
        ):
            self._changed[watch.order[0]] = None
        if edge:
            self._pending.append((watch, (watch.order[1], value)))

    def _settle(self) -> None:
        """See what the edges of a moment come to, rule by rule."""
        if not self._pending:
            return
        pending, self._pending = sorted(self._pending, key=lambda step: step[0].order), []
        edges: dict[str, list[Edge]] = {}
        for watch, edge in pending:
            edges.setdefault(watch.order[0], []).append(edge)
        for rule_id, mine in edges.items():
            standing = self._rules[rule_id]
            before = standing.suppressed, standing.storms
            for gauge in standing.gauges if len(standing.watches) > 1 else ():
                source = self._source(gauge.key)
                if self._row < 0:
                    source.look(gauge)
                else:
                    source.as_of(gauge, self._row)
            for firing in standing.take(mine, self._moment):
                self._firings.append(firing)
                self._counts["firings"] += 1
                self._counts["late"] += firing.late
                self._tell((rule_id, firing.time_ns, _digest(firing), firing.value))
            self._counts["suppressed"] += standing.suppressed - before[0]
            self._counts["storms"] += standing.storms - before[1]
            self._changed[rule_id] = None
            if standing.status != "active":
                self._end(standing)

    def _end(self, standing: Standing) -> None:
        """Step a rule no longer that is paused or done."""
        self._release(standing)
        self._changed[standing.rule.id] = None

    def _release(self, standing: Standing) -> None:
        """Take a rule's conditions from their gauges; a gauge that nobody watches is fed no longer."""
        self._expiring.discard(standing.rule.id)
        for watch, gauge in zip(standing.watches, standing.gauges, strict=False):
            gauge.remove(watch)
            source = self._source(gauge.key)
            source.changed(gauge)
            if not len(gauge) and self._gauges.pop(gauge.key, None) is not None:
                source.remove(gauge)
        standing.gauges.clear()

    def _tell(self, said: _Said) -> None:
        self._told.append(said)
        if self._remember:
            self._said.setdefault(said[0], []).append(said)


def warm_up() -> None:
    """Compile the kernels of alerts, so that no batch waits for them. Seconds at the first start."""
    warm_scans()
    warm_gauges()


class _Nobody(GaugeSource):
    """Feeds nothing: a type that no source knows."""

    def handles(self, key: GaugeKey) -> bool:
        return True

    def add(self, gauge: Gauge) -> None:
        gauge.reason = f"{gauge.key.type} is not known here"

    def remove(self, gauge: Gauge) -> None:
        """Have nothing to forget."""


_NOBODY: Final = _Nobody()


def _differ(one: Moment, other: Moment) -> bool:
    return one.time_ns != other.time_ns or one.trade_id != other.trade_id or one.late != other.late


def _digest(firing: AlertFiring) -> int:
    """Return a digest of what a firing is: not of when it came, nor of how far time was then."""
    whole = [firing.number, firing.time_ns, firing.trade_id, firing.condition, firing.late, firing.storm]
    columns = [np.array([value]) for value in (*map(int, whole), firing.value, firing.threshold)]
    return int(digests(columns, 1)[0])


def _number(value: float) -> float | None:
    return None if isnan(value) else value


def _values(rows: Sequence[_Said]) -> Values:
    return Values(
        [row[0] for row in rows],
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.uint64),
        np.array([row[3] for row in rows], np.float64),
    )
