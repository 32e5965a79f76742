"""Gauges of silence: the seconds since a symbol's last trade, at each whole second that the watermark passes."""

from __future__ import annotations

from bisect import bisect_left
from math import inf

import numpy as np

from pairscope.engine.alert_gauges import Gauge, GaugeKey, GaugeSource, Moment, TickRows
from pairscope.engine.updates import Updates
from pairscope.market.symbols import Symbols
from pairscope.ports import LiveView

__all__ = ["SilenceGauges"]

_SECOND_NS = 1_000_000_000
_MS = 1_000_000


class SilenceGauges(GaugeSource):
    """Feeds ``staleness``; a second is judged by the trades before it, also where newer ones have come by then."""

    def __init__(self, symbols: Symbols, live: LiveView) -> None:
        self._symbols = symbols
        self._live = live
        self._gauges: dict[int, Gauge] = {}
        self._times: dict[int, list[int]] = {}
        self._watched = np.zeros(0, np.bool_)
        self._new: set[int] = set()
        self._second = -1

    def handles(self, key: GaugeKey) -> bool:
        return key.type == "staleness"

    def add(self, gauge: Gauge) -> None:
        s = self._symbols.id_of(gauge.key.symbol)
        self._gauges[s] = gauge
        self._times[s] = []
        self._new.add(s)
        self._mark()

    def remove(self, gauge: Gauge) -> None:
        s = self._symbols.id_of(gauge.key.symbol)
        del self._gauges[s], self._times[s]
        self._mark()

    def begin(self, rows: TickRows) -> None:
        if not self._gauges:
            return
        self._look_up()
        batch = rows.batch
        mine = np.flatnonzero(batch.symbol_id < self._watched.size)
        mine = mine[self._watched[batch.symbol_id[mine]]]
        for s, time_ns in zip(batch.symbol_id[mine].tolist(), batch.ts_event_ns[mine].tolist(), strict=True):
            self._times[s].append(time_ns)

    def on_updates(self, updates: Updates, moment: Moment) -> None:
        second = updates.watermark_ns // _SECOND_NS
        before, self._second = self._second, second
        if not self._gauges or second <= before:
            return
        self._look_up()
        for s, gauge in sorted(self._gauges.items(), key=lambda item: self._symbols[item[0]]):
            times = sorted(self._times.get(s, ()))
            if not times:
                gauge.reason = "no trade yet"
                continue
            first = before + 1 if before >= 0 else second
            self._go(gauge, times, first, second, moment._replace(symbol=self._symbols[s]))
            if s in self._gauges:
                self._times[s] = times[max(0, bisect_left(times, second * _SECOND_NS) - 1) :]

    def _go(self, gauge: Gauge, times: list[int], first: int, last: int, moment: Moment) -> None:
        """Feed the seconds from ``first`` to ``last`` at which something may change, and the last one."""
        second = first
        while second <= last:
            at = bisect_left(times, second * _SECOND_NS) - 1
            if at < 0:
                second += 1
                continue
            # Until the next trade silence grows by a second a second, so the next bound says when to look again.
            traded_ns = times[at]
            end = last if at + 1 == len(times) else min(last, times[at + 1] // _SECOND_NS)
            while True:
                gauge.feed(_silence(second, traded_ns), moment._replace(time_ns=second * _SECOND_NS))
                if second >= end:
                    break
                second = end if gauge.high > _silence(end, traded_ns) else _reaches(gauge.high, traded_ns, second + 1)
            second = end + 1

    def _look_up(self) -> None:
        """Begin with the last trade that the engine knows of symbols that are new here."""
        for s in self._new & self._gauges.keys():
            view = self._live.price(self._symbols[s])
            if view is not None:
                self._times[s].insert(0, int(view["timestamp"]) * _MS)
        self._new.clear()

    def _mark(self) -> None:
        self._watched = np.zeros(max(self._gauges, default=-1) + 1, np.bool_)
        self._watched[list(self._gauges)] = True


def _reaches(bound: float, traded_ns: int, least: int) -> int:
    """Return the first second from ``least`` on at which the silence since a trade is ``bound`` at least."""
    second = least
    if bound > -inf:
        second = max(least, (traded_ns + int(bound * _SECOND_NS)) // _SECOND_NS - 1)
        while _silence(second, traded_ns) < bound:
            second += 1
    return second


def _silence(second: int, time_ns: int) -> float:
    return (second * _SECOND_NS - time_ns) / _SECOND_NS
