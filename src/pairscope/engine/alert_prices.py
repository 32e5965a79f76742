"""Gauges that move with a symbol's trades: its price, its change over a window, its greatest move within one.

All three never fall as the price rises, so that a symbol has two prices between which nothing can happen; a compiled
scan passes over the ticks between them. What they are compared with are closed bars, as they stood when the batch came.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isnan, nan
from typing import Final, Protocol

import numpy as np

from pairscope.engine.alert_closes import Closes
from pairscope.engine.alert_gauges import Gauge, GaugeKey, GaugeSource, Moment, Note, TickRows
from pairscope.engine.alert_holes import Holes
from pairscope.engine.alert_kernels import (
    HIGH,
    LAST_ID,
    LAST_NS,
    LAST_PRICE,
    LAST_RECV,
    LOW,
    NEVER,
    SINCE_NS,
    TIMEFRAMES_USED,
    UNTIL_NS,
    WATCHED,
    scan_prices,
    symbol_rows,
)
from pairscope.engine.pairs import Wanted
from pairscope.engine.updates import Updates
from pairscope.market.bars import TIMEFRAMES, BarBatch, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import F8, I4, I8, TickBatch
from pairscope.ports import LiveView

__all__ = ["PriceGauges", "TradeView"]

_SLACK: Final = 1e-12
"""Bounds in prices are taken a little too narrow: the value itself decides."""


class TradeView(LiveView, Protocol):
    """A view of the engine that also knows trades by their ids."""

    def last_trade(self, symbol: str) -> tuple[int, float, int] | None:
        """Return (trade id, price, event time) of a symbol's newest own tick."""
        ...


class _Price:
    """The price itself."""

    step_ns = 0

    def __init__(self, gauge: Gauge) -> None:
        self.gauge = gauge

    def refer(self, times: I8, closes: F8, slot: int) -> None:
        """Take the closed bars that it is compared with at ticks of a slot."""

    def value(self, price: float) -> float:
        """Return the gauge's value at a price."""
        return price

    def prices(self, low: float, high: float) -> tuple[float, float]:
        """Return the prices strictly between which the value is strictly between these."""
        return low, high


class _Change(_Price):
    """The price over the close of ``window`` bars ago, less one."""

    def __init__(self, gauge: Gauge) -> None:
        super().__init__(gauge)
        self.step_ns = timeframe_ns(gauge.key.timeframe)
        self.low_close = self.high_close = nan

    def refer(self, times: I8, closes: F8, slot: int) -> None:
        """Take the newest close of a bar that is ``window`` bars older at least."""
        key = self.gauge.key
        at = int(np.searchsorted(times, (slot - key.window) * self.step_ns, side="right")) - 1
        self.low_close = self.high_close = float(closes[at]) if at >= 0 else nan
        if at < 0:
            self.gauge.reason = f"needs a bar of {key.timeframe} that is {key.window} old, has {times.size} bars"

    def value(self, price: float) -> float:
        return (price - self.low_close) / self.low_close

    def prices(self, low: float, high: float) -> tuple[float, float]:
        if isnan(self.low_close):
            return -inf, inf
        return _above(self.low_close, low), _below(self.low_close, high)


class _Moves(_Change):
    """The greater of the price's rise over the lowest close of the last ``window`` bars and fall below the highest."""

    def refer(self, times: I8, closes: F8, slot: int) -> None:
        """Take the closes of the window; where nothing was traded in it, the last one before."""
        key = self.gauge.key
        first, end = np.searchsorted(times, [(slot - key.window) * self.step_ns, slot * self.step_ns]).tolist()
        mine = closes[max(0, min(first, end - 1)) : end]
        self.low_close, self.high_close = (float(mine.min()), float(mine.max())) if mine.size else (nan, nan)
        if not mine.size:
            self.gauge.reason = f"needs a closed bar of {key.timeframe}, has none"

    def value(self, price: float) -> float:
        rise, fall = (price - self.low_close) / self.low_close, (price - self.high_close) / self.high_close
        return rise if rise >= -fall else fall

    def prices(self, low: float, high: float) -> tuple[float, float]:
        lowest, highest = self.low_close, self.high_close
        if isnan(lowest):
            return -inf, inf
        turn = 2.0 * lowest * highest / (lowest + highest)
        most = (turn - lowest) / lowest
        if low >= most:
            least_price = _above(lowest, low)
        else:
            least_price = turn * (1.0 + _SLACK) if low >= -most else _above(highest, low)
        if high > most:
            return least_price, _below(lowest, high)
        return least_price, turn * (1.0 - _SLACK) if high > -most else _below(highest, high)


def _above(close: float, value: float) -> float:
    return close * (1.0 + value) + close * (2.0 + abs(value)) * _SLACK if value > -inf else -inf


def _below(close: float, value: float) -> float:
    return close * (1.0 + value) - close * (2.0 + abs(value)) * _SLACK if value < inf else inf


_BITS: Final = {name: 1 << bit for bit, name in enumerate(TIMEFRAMES)}
_KINDS: Final = {"price": _Price, "price_change": _Change, "moves": _Moves}


class _Symbol:
    """The gauges that one symbol's trades move."""

    def __init__(self, note: Note) -> None:
        self.kinds: dict[Gauge, _Price] = {}
        self.holes = Holes(note)


class PriceGauges(GaugeSource):
    """Feeds ``price``, ``price_change`` and ``moves``, at each tick that is in order, or at closes of bars."""

    def __init__(self, symbols: Symbols, live: TradeView) -> None:
        self._symbols = symbols
        self._live = live
        self._closes = Closes(symbols, live)
        self._whole, self._real = symbol_rows(0)
        self._before: F8 = self._real[:, LAST_PRICE].copy()
        self._known = 0
        self._each: dict[int, _Symbol] = {}
        self._closing: dict[tuple[str, int], dict[Gauge, _Price]] = {}
        self._stale: set[int] = set()
        self._new: dict[int, None] = {}
        self._rows: TickRows | None = None
        self._anew = False
        self._columns: tuple[I4, I8, I8, I8, F8] | None = None
        self.late = 0

    def handles(self, key: GaugeKey) -> bool:
        return key.type in _KINDS

    def add(self, gauge: Gauge) -> None:
        s = self._symbols.id_of(gauge.key.symbol)
        kind = _KINDS[gauge.key.type](gauge)
        if kind.step_ns:
            self._closes.add(gauge.key)
        if gauge.key.closes:
            self._closing.setdefault((gauge.key.timeframe, s), {})[gauge] = kind
            return
        self._each.setdefault(s, _Symbol(gauge.note)).kinds[gauge] = kind

    def remove(self, gauge: Gauge) -> None:
        s = self._symbols.id_of(gauge.key.symbol)
        if gauge.key.type != "price":
            self._closes.remove(gauge.key)
        if gauge.key.closes:
            mine = self._closing[gauge.key.timeframe, s]
            del mine[gauge]
            if not mine:
                del self._closing[gauge.key.timeframe, s]
            return
        each = self._each[s]
        del each.kinds[gauge]
        each.holes.drop(gauge)
        if not each.kinds:
            del self._each[s]
            self._whole[s : s + 1, WATCHED] = 0
        self._stale.add(s)
        self._anew = self._anew or not self._each

    def changed(self, gauge: Gauge) -> None:
        if not gauge.key.closes:
            self._new[self._symbols.id_of(gauge.key.symbol)] = None

    def begin(self, rows: TickRows) -> None:
        if self._anew:  # for a while nobody followed the trades: the engine knows how far they are
            self._whole, self._real = symbol_rows(0)
            self._known, self._anew, self._columns = 0, False, None
        if not self._each:
            return
        b = self._rows_of(rows)
        self._before = self._real[:, LAST_PRICE].copy()
        self._columns = (b.symbol_id, b.trade_id, b.ts_event_ns, b.ts_recv_ns, b.price)
        for s in self._stale:
            self._rebound(s)
        self._stale.clear()
        for s in self._new:
            self._look_at(s)
        self._new.clear()

    def seek(self, start: int) -> int:
        return NEVER if self._columns is None else scan_prices(*self._columns, start, self._whole, self._real)

    def tick(self, row: int) -> None:
        assert self._rows is not None  # noqa: S101 - begin comes first
        b = self._rows.batch
        s, trade_id, time_ns = int(b.symbol_id[row]), int(b.trade_id[row]), int(b.ts_event_ns[row])
        price = float(b.price[row])
        each = self._each[s]
        last_id = int(self._whole[s, LAST_ID])
        if trade_id <= last_id:
            self._take_late(each, trade_id, price, self._rows.moment(row, late=True))
            return
        hole = last_id >= 0 and trade_id > last_id + 1
        if hole:
            each.holes.begin(last_id + 1, trade_id - 1, each.kinds)
        self._whole[s, LAST_ID : LAST_RECV + 1] = trade_id, time_ns, int(b.ts_recv_ns[row])
        self._real[s, LAST_PRICE] = price
        self._feed(s, each, price, self._rows.moment(row))
        if hole:
            each.holes.jumped()

    def on_updates(self, updates: Updates, moment: Moment) -> None:
        self.revise((*updates.closed, *updates.revised))
        if not self._closing:
            return
        for bars in updates.closed:
            step_ns = timeframe_ns(bars.timeframe)
            for row in np.argsort(bars.ts_open_ns, kind="stable").tolist():
                s, open_ns = int(bars.symbol_id[row]), int(bars.ts_open_ns[row])
                mine = self._closing.get((bars.timeframe, s))
                if mine:
                    at = moment._replace(time_ns=open_ns + step_ns, symbol=self._symbols[s])
                    for gauge, kind in mine.items():
                        self._refer(kind, open_ns)
                        gauge.feed(kind.value(float(bars.close[row])), at)

    def revise(self, batches: Iterable[BarBatch]) -> None:
        for bars in batches:
            self._closes.tell(bars)
            there = np.unique(bars.symbol_id[bars.symbol_id < self._known])
            there = there[self._whole[there, TIMEFRAMES_USED] & _BITS[bars.timeframe] > 0]
            self._whole[there, UNTIL_NS] = -NEVER

    def reload(self, symbols: Iterable[str]) -> None:
        for s in (self._symbols.find(name) for name in symbols):
            if s is not None:
                self._closes.drop(s)
                self._refer_anew(s)

    def lacking(self) -> list[Wanted]:
        return self._closes.lacking()

    def begin_reading(self, wanted: Wanted) -> tuple[int, int] | None:
        return self._closes.begin(wanted)

    def fill(self, wanted: Wanted, slots: int, bars: BarBatch) -> None:
        if self._closes.fill(wanted, slots, bars):
            self._new[self._symbols.id_of(wanted.symbol)] = None

    def look(self, gauge: Gauge) -> None:
        s = self._symbols.id_of(gauge.key.symbol)
        if not gauge.key.closes and s < self._known:
            self._show(gauge, s, float(self._real[s, LAST_PRICE]))

    def as_of(self, gauge: Gauge, row: int) -> None:
        s = self._symbols.id_of(gauge.key.symbol)
        if gauge.key.closes or self._rows is None:
            return
        mine = np.flatnonzero((self._rows.batch.symbol_id[: row + 1] == s) & self._rows.in_order[: row + 1])
        prices = self._rows.batch.price
        self._show(gauge, s, float(prices[mine[-1]] if mine.size else self._before[s]))

    def counters(self) -> dict[str, int]:
        return {"late": self.late}

    # -- inside --------------------------------------------------------------------------------------------------------

    def _show(self, gauge: Gauge, s: int, price: float) -> None:
        """Let a gauge show its value at a price, which steps nothing."""
        gauge.value = self._each[s].kinds[gauge].value(price)

    def _rows_of(self, rows: TickRows) -> TickBatch:
        """Take a batch; symbols that are new are looked up in the engine, which has not taken the batch yet."""
        self._rows = rows
        size = len(self._symbols)
        if size > self._whole.shape[0]:
            whole, real = symbol_rows(2 * size)
            whole[: self._known], real[: self._known] = self._whole[: self._known], self._real[: self._known]
            self._whole, self._real = whole, real
        for s in range(self._known, size):
            last = self._live.last_trade(self._symbols[s])
            if last is not None:
                self._whole[s, LAST_ID], self._real[s, LAST_PRICE] = last[:2]
                self._whole[s, LAST_NS] = self._whole[s, LAST_RECV] = last[2]
        self._known = size
        return rows.batch

    def _look_at(self, s: int) -> None:
        """Show conditions that are new the symbol's last trade."""
        each = self._each.get(s)
        if each is None:
            return
        self._whole[s, UNTIL_NS] = -NEVER
        last_id, time_ns, recv_ns = (int(value) for value in self._whole[s, : LAST_RECV + 1])
        if last_id < 0:
            self._rebound(s)
            return
        watermark_ns = 0 if self._rows is None else self._rows.watermark_ns
        moment = Moment(time_ns, recv_ns, watermark_ns, self._symbols[s], last_id)
        self._feed(s, each, float(self._real[s, LAST_PRICE]), moment)

    def _feed(self, s: int, each: _Symbol, price: float, moment: Moment) -> None:
        """Feed a symbol's gauges, and find the prices between which the next need not be looked at."""
        mine = self._whole[s]
        if not mine[SINCE_NS] <= moment.time_ns < mine[UNTIL_NS]:
            self._refer_all(s, each, moment.time_ns)
        for gauge, kind in list(each.kinds.items()):
            gauge.feed(kind.value(price), moment)
        self._rebound(s)

    def _rebound(self, s: int) -> None:
        """Write down the prices strictly between which none of a symbol's gauges has to be fed."""
        each = self._each.get(s)
        self._whole[s, WATCHED] = each is not None
        low, high, used = -inf, inf, 0
        for gauge, kind in each.kinds.items() if each is not None else ():
            used |= _BITS.get(gauge.key.timeframe, 0)
            lowest, highest = kind.prices(gauge.low, gauge.high)
            low, high = max(low, lowest), min(high, highest)
        self._whole[s, TIMEFRAMES_USED] = used
        self._real[s, LOW], self._real[s, HIGH] = low, high

    def _refer_all(self, s: int, each: _Symbol, time_ns: int) -> None:
        """Find the closed bars that gauges are compared with at ticks of a time, and for which times they are those."""
        since_ns, until_ns = -NEVER, NEVER
        for kind in each.kinds.values():
            if kind.step_ns:
                begin_ns = time_ns // kind.step_ns * kind.step_ns
                since_ns, until_ns = max(since_ns, begin_ns), min(until_ns, begin_ns + kind.step_ns)
                self._refer(kind, time_ns)
        self._whole[s, SINCE_NS], self._whole[s, UNTIL_NS] = since_ns, until_ns

    def _refer_anew(self, s: int) -> None:
        if s < self._known and self._whole[s, TIMEFRAMES_USED]:
            self._whole[s, UNTIL_NS] = -NEVER

    def _refer(self, kind: _Price, time_ns: int) -> None:
        if kind.step_ns:
            key = kind.gauge.key
            kind.refer(*self._closes.of(key), time_ns // kind.step_ns)

    def _take_late(self, each: _Symbol, trade_id: int, price: float, moment: Moment) -> None:
        """Show a tick that has come late to the shadows of the hole that it lay in."""
        self.late += 1
        for gauge, kind in each.kinds.items():
            if kind.step_ns:
                self._refer(kind, moment.time_ns)
                self._whole[self._symbols.id_of(moment.symbol), UNTIL_NS] = -NEVER
            each.holes.fill(trade_id, gauge, kind.value(price), moment)
        each.holes.filled(trade_id)
