"""The pairs of one timeframe that rules watch: stepped as live pairs are, and looked at tick by tick between closes.

They are pairs of their own, apart from the watch-list's, so that a rule may ask for any settings; their records, steps
and figures are those of :class:`PairGroup`, their values the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.engine.alert_gauges import Gauge, GaugeKey, Moment
from pairscope.engine.alert_pair_kernels import LAST, MOMENTS, ZSCORE, scan_pairs
from pairscope.engine.alert_pair_values import (
    Reading,
    drift_history,
    hedge_drift,
    pair_half_life,
    sentinel_level,
    why_missing,
)
from pairscope.engine.pair_group import CATCH_UP, WAITING, PairGroup
from pairscope.engine.pair_kernels import READY
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1, F8, I8, TickBatch
from pairscope.ports import LiveView

__all__ = ["Hit", "WatchedPairs"]

_EVERYTHING: Final = 1 << 60
_MS: Final = 1_000_000
_QUICK: Final = {"spread": LAST, "zscore": ZSCORE}
_FIGURES: Final = {"spread": "last", "zscore": "zscore", "correlation": "correlation"}
_NOTES: Final = 4096


class Hit(NamedTuple):
    """A tick at which a pair is to be looked at: its row, and the pair's place, open slot and last prices."""

    row: int
    place: int
    slot: int
    price_y: float
    price_x: float


class _Need(NamedTuple):
    """A pair as gauges need it: how much more history than for itself, and whether figures of windows are enough."""

    settings: PairSettings
    more: int
    windows_only: bool


class WatchedPairs:
    """Gauges by the pair that they are of. ``scan`` names ticks to look at, ``close`` feeds what a slot has closed."""

    def __init__(self, timeframe: str, symbols: Symbols, live: LiveView) -> None:
        self.group = PairGroup(timeframe, live.watermark_ns())
        self._symbols = symbols
        self._live = live
        self._places: dict[_Need, int] = {}
        self._gauges: dict[int, list[Gauge]] = {}
        self._place_of: dict[Gauge, int] = {}
        self._unfed: dict[Gauge, None] = {}
        self._ids: I8 = np.zeros((0, 2), np.int64)
        self._moments: NDArray[Any] = np.zeros(0, MOMENTS)
        self._bounds: F8 = np.zeros((0, 2, 2))
        self._first: I8 = np.zeros(1, np.int64)
        self._order: I8 = np.zeros(0, np.int64)
        self._last_price: F8 = np.zeros(0)
        self._last_ns: I8 = np.zeros(0, np.int64)
        self._listed = False
        self._begun = False

    def __len__(self) -> int:
        return len(self._gauges)

    # -- gauges --------------------------------------------------------------------------------------------------------

    def add(self, gauge: Gauge) -> None:
        """Feed a gauge from now on."""
        need = need_of(gauge.key)
        place = self._places.get(need)
        if place is None:
            settings = need.settings
            ids = self._symbols.id_of(settings.y), self._symbols.id_of(settings.x)
            place = self.group.add(settings, *ids, more=need.more, windows_only=need.windows_only)
            self._places[need] = place
            self._make_room(place, ids)
            self._gauges[place] = []
            self._listed = False
        self._gauges[place].append(gauge)
        self._place_of[gauge] = place
        self._unfed[gauge] = None
        gauge.reason = why_missing(self.group, place)
        self.rebound(gauge)

    def remove(self, gauge: Gauge) -> None:
        """Feed a gauge no longer, and let its pair go where it was the last one."""
        place = self._place_of.pop(gauge)
        self._gauges[place].remove(gauge)
        self._unfed.pop(gauge, None)
        if gauge.key.type in _QUICK and not gauge.key.closes:
            self._bounds[place, _QUICK[gauge.key.type]] = -np.inf, np.inf
        if not self._gauges[place]:
            del self._gauges[place], self._places[need_of(gauge.key)]
            self.group.remove(place)
            self._listed = False

    def renew(self, gauge: Gauge) -> None:
        """Feed a gauge with the next batch whatever happens: somebody new watches it."""
        self._unfed[gauge] = None

    def rebound(self, gauge: Gauge) -> None:
        """Take up the values between which a gauge need not be fed."""
        if gauge.key.type in _QUICK and not gauge.key.closes:
            place = self._place_of[gauge]
            self._bounds[place, _QUICK[gauge.key.type]] = gauge.low, gauge.high

    # -- ticks ---------------------------------------------------------------------------------------------------------

    def scan(self, batch: TickBatch, in_order: B1) -> Iterator[Hit]:
        """Yield the ticks at which a spread or z-score may pass a boundary, and all later ones of such a pair."""
        group, begin = self.group, 0
        if not self._begun and not (group.pairs["state"] == READY).any():
            return
        if not self._listed:
            self._list_legs()
        size = max(_NOTES, 2 * int(np.diff(self._first).max(initial=0)))
        tick, place, slots = np.empty((3, size), np.int64)
        prices, rows = np.empty((size, 2)), np.empty((2, int(group.pairs["lookback"].max(initial=0)) + 2))
        hot = np.zeros(group.pairs.size, np.int64)
        while begin < len(batch):
            found, begin = scan_pairs(
                batch.symbol_id,
                batch.ts_event_ns,
                batch.price,
                in_order,
                begin,
                group.step_ns,
                self._first,
                self._order,
                self._last_price,
                self._last_ns,
                self._ids,
                group.pairs,
                self._moments,
                group.filters,
                group.fresh,
                group.tape.logs,
                group.tape.closes,
                self._bounds,
                hot,
                rows,
                tick,
                place,
                slots,
                prices,
            )
            columns = (tick[:found], place[:found], slots[:found], prices[:found, 0], prices[:found, 1])
            yield from map(Hit, *(column.tolist() for column in columns))

    def look_at(self, hit: Hit) -> list[tuple[Gauge, float]]:
        """Return what a pair would say if its open bar closed at the prices of a tick, a value a gauge."""
        if hit.place not in self._gauges:
            return []
        record = self.group.provisional(hit.place, hit.slot, hit.price_y, hit.price_x).record[0]
        found = []
        for gauge in self._gauges[hit.place]:
            if gauge.key.type in _QUICK and not gauge.key.closes:
                self._unfed.pop(gauge, None)
                found.append((gauge, float(record[_FIGURES[gauge.key.type]])))
        return found

    # -- closes --------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Compute all pairs anew whose bars have changed."""
        self.group.settle(_EVERYTHING)

    def due(self, watermark_ns: int) -> list[int]:
        """Return the slots to be closed one by one up to a time, in which there are bars; where many are, only the end.

        What lies before the last of many is not looked at: pairs are computed as of the end.
        """
        group, end = self.group, watermark_ns // self.group.step_ns
        if end <= group.next_slot:
            return []
        group.tape.reach(end)
        slots: list[int] = group.tape.filled(group.next_slot, end).tolist()
        return slots if len(slots) <= CATCH_UP else [slots[-1]]

    def close(self, slot: int, moment: Moment) -> None:
        """Close a slot and feed what has moved by it, as of its end."""
        group = self.group
        group.moved.clear()
        group.advance((slot + 1) * group.step_ns)
        self.settle()
        news = []
        for place in group.moved:
            if group.pairs["slot"][place] == slot:
                for gauge in self._gauges[place]:
                    self._unfed.pop(gauge, None)
                    news.append((gauge, self._closed(gauge.key, place)))
        group.moved.clear()
        _feed(news, moment._replace(time_ns=(slot + 1) * group.step_ns))

    def finish(self, moment: Moment) -> None:
        """Come to a watermark, and feed the gauges that are new, or whose history has come, as of now."""
        self.group.advance(moment.watermark_ns)
        self.settle()
        self.group.moved.clear()
        ready = [gauge for gauge in self._unfed if self.group.pairs["state"][self._place_of[gauge]] == READY]
        for gauge in ready:
            del self._unfed[gauge]
        _feed([(gauge, self._now(gauge)) for gauge in ready], moment)

    def look(self, gauge: Gauge) -> None:
        """Bring a gauge's value, and why it has none, up to now; nothing changes by it."""
        gauge.value, gauge.reason = self._now(gauge)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _closed(self, key: GaugeKey, place: int) -> Reading:
        """Return what the newest bar in common says."""
        group = self.group
        if group.pairs["state"][place] == WAITING:
            return Reading(math.nan, "history is being read")
        slot, lookback = int(group.pairs["slot"][place]), int(group.pairs["lookback"][place])
        if slot < max(0, group.next_slot - lookback):
            return Reading(math.nan, f"no bar in common within the last {lookback} bars")
        if key.type == "hedge_drift":
            return hedge_drift(group, place, key.window)
        if key.type == "half_life":
            return pair_half_life(group, place)
        if key.type == "sentinel":
            return sentinel_level(group, place)
        value = float(group.pairs[_FIGURES[key.type]][place])
        return Reading(value, "" if math.isfinite(value) else why_missing(group, place))

    def _now(self, gauge: Gauge) -> Reading:
        """Return what a pair says now: of spread and z-score as of the open bar, where a leg has traded in one."""
        group, key, place = self.group, gauge.key, self._place_of[gauge]
        record = group.pairs[place]
        if key.type not in _QUICK or key.closes or record["state"] != READY or record["slot"] < 0:
            return self._closed(key, place)
        if not self._listed:
            self._list_legs()
        leg_y, leg_x = self._ids[place].tolist()
        prices = float(self._last_price[leg_y]), float(self._last_price[leg_x])
        slot = int(max(self._last_ns[leg_y], self._last_ns[leg_x])) // group.step_ns
        ahead = slot - int(record["slot"])
        if not 0 < ahead <= int(record["lookback"]) or min(prices) <= 0.0:
            return self._closed(key, place)
        value = float(group.provisional(place, slot, *prices).record[0][_FIGURES[key.type]])
        return Reading(value, "" if math.isfinite(value) else why_missing(group, place))

    def _make_room(self, place: int, ids: tuple[int, int]) -> None:
        size = self.group.pairs.size
        more = size - self._moments.size
        if more:
            self._moments = np.concatenate([self._moments, np.zeros(more, MOMENTS)])
            self._bounds = np.concatenate([self._bounds, np.full((more, 2, 2), (-np.inf, np.inf))])
            self._ids = np.concatenate([self._ids, np.zeros((more, 2), np.int64)])
        self._ids[place] = ids
        self._moments[place]["revision"] = -1
        self._bounds[place] = -np.inf, np.inf

    def _list_legs(self) -> None:
        """List the pairs of each symbol, and take up the last prices of symbols that had none."""
        places = np.array(sorted(self._gauges), np.int64)
        legs = self._ids[places].T.ravel()
        both = np.concatenate([places, places])
        by_symbol = np.lexsort((both, legs))
        size = int(legs.max(initial=-1)) + 1
        before = self._order_symbols()
        self._order = both[by_symbol]
        self._first = np.searchsorted(legs[by_symbol], np.arange(size + 1)).astype(np.int64)
        prices, times = np.zeros(size), np.zeros(size, np.int64)
        for symbol_id in np.unique(legs).tolist():
            if symbol_id in before:
                prices[symbol_id], times[symbol_id] = self._last_price[symbol_id], self._last_ns[symbol_id]
            else:
                prices[symbol_id], times[symbol_id] = self._last_trade(self._symbols[symbol_id])
        self._last_price, self._last_ns = prices, times
        self._listed = self._begun = True

    def _order_symbols(self) -> set[int]:
        """Return the symbols whose last prices are followed already."""
        return set(np.flatnonzero(np.diff(self._first)).tolist())

    def _last_trade(self, symbol: str) -> tuple[float, int]:
        """Return a symbol's last price and when it was traded; of one that has only bars the end of the last."""
        view = self._live.price(symbol)
        if view is None:
            return 0.0, 0
        at_ns = int(view["timestamp"]) * _MS
        return float(view["price"]), at_ns if view["size"] is not None else at_ns - 1


def need_of(key: GaugeKey) -> _Need:
    """Return which pair a gauge is of.

    >>> need_of(GaugeKey("hedge_drift", "", "A", "B", "1m", 500, 0, 60, "ols", "log"))[1:]
    (756, True)
    """
    window = key.window
    if key.type in {"half_life", "hedge_drift"}:
        window = min(max(window, 2), key.lookback)
    method, space = key.method, key.price_space
    made = PairSettings(key.y, key.x, key.timeframe, key.lookback, window, method, space)  # type: ignore[arg-type]  # checked words
    more = drift_history(key.window) if key.type == "hedge_drift" else 0
    return _Need(made, more, method != "kalman" and key.type != "sentinel")


def _feed(news: list[tuple[Gauge, Reading]], moment: Moment) -> None:
    """Feed values of one time in the order of their gauges' keys, which is the same after a restart."""
    passing = []
    for gauge, (value, reason) in news:
        gauge.value, gauge.reason = value, reason
        if not (gauge.low < value < gauge.high or math.isnan(value)):
            passing.append((gauge.key, gauge, value))
    passing.sort(key=_key)
    for _, gauge, value in passing:
        gauge.feed(value, moment)


def _key(one: tuple[GaugeKey, Gauge, float]) -> GaugeKey:
    return one[0]
