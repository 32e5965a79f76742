"""The volumes and volatilities of one timeframe that rules watch, as tables beside the tape that they read.

A volume is what was traded in the newest ``window`` bars, the open one up to the newest second that has closed; at the
end of a bar that one counts in full and none is open. Bars without a trade count as nothing traded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.engine.alert_bar_kernels import (
    VOLATILITY,
    VOLUME,
    add_units,
    read_volatilities,
    read_volumes,
    recount,
)
from pairscope.engine.alert_bar_tape import BarTape
from pairscope.engine.alert_gauges import Gauge, GaugeKey, Moment
from pairscope.market.bars import timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I8

__all__ = ["SECOND_NS", "Parts", "WatchedBars"]

SECOND_NS: Final = 1_000_000_000
_MINUTE_NS: Final = 60 * SECOND_NS
_YEAR_NS: Final = 365 * 86_400 * SECOND_NS
_CATCH_UP: Final = 64
"""Bars' ends that are looked at one by one; where more pass at once, only the last of them."""
_READING: Final = "history is being read"


class Parts:
    """The seconds and minutes that open bars are made of, shared by all timeframes; ``until`` is the first to come."""

    def __init__(self) -> None:
        self.seconds = BarTape("1s")
        self.minutes = BarTape("1m")
        self.until = 0


class WatchedBars:
    """Gauges of one timeframe. ``second`` and ``close`` feed what a second's, and a bar's, end has changed."""

    def __init__(self, timeframe: str, symbols: Symbols, parts: Parts, watermark_ns: int) -> None:
        self.step_ns = timeframe_ns(timeframe)
        self.tape = BarTape(timeframe)
        self.next_slot = watermark_ns // self.step_ns
        self.tape.reach(self.next_slot)
        self._symbols = symbols
        self._parts = parts
        self._gauges: dict[Gauge, int] = {}
        self._at: dict[Gauge, int] = {}
        self._unfed: dict[Gauge, None] = {}
        self._known: set[Gauge] = set()
        self._volumes: NDArray[Any] = np.zeros(0, VOLUME)
        self._volatilities: NDArray[Any] = np.zeros(0, VOLATILITY)
        self._volume_gauges: list[Gauge] = []
        self._volatility_gauges: list[Gauge] = []
        self._first_volume: I8 = np.zeros(1, np.int64)
        self._first_volatility: I8 = np.zeros(1, np.int64)
        self._open: I8 = np.zeros((3, 0), np.int64)  # units, decimals and whether anything was traded, by row
        self._rows: I8 = np.zeros(0, np.int64)
        self._laid_out = False

    def __len__(self) -> int:
        return len(self._gauges)

    # -- gauges --------------------------------------------------------------------------------------------------------

    def add(self, gauge: Gauge) -> bool:
        """Feed a gauge from now on; return whether its open bar's parts have to be there (``recount`` after that)."""
        row = self.tape.need(self._symbols.id_of(gauge.key.symbol), history_of(gauge.key))
        self._gauges[gauge] = row
        self._unfed[gauge] = None
        self._laid_out = False
        gauge.reason = _READING
        return gauge.key.type == "volume"

    def remove(self, gauge: Gauge) -> None:
        """Feed a gauge no longer, and let its symbol's row go where it was the last one."""
        row = self._gauges.pop(gauge)
        self._unfed.pop(gauge, None)
        self._known.discard(gauge)
        self._laid_out = False
        if row not in self._gauges.values():
            self.tape.release(row)

    def renew(self, gauge: Gauge) -> None:
        """Feed a gauge with the next batch whatever happens: somebody new watches it."""
        self._unfed[gauge] = None

    def rebound(self, gauge: Gauge) -> None:
        """Take up the values between which a gauge need not be fed."""
        if self._laid_out and gauge in self._at:
            table = self._volumes if gauge.key.type == "volume" else self._volatilities
            table["low"][self._at[gauge]], table["high"][self._at[gauge]] = gauge.low, gauge.high

    def filled(self) -> None:
        """Have everything summed up again: history came."""
        self._laid_out = False

    def outdate(self, rows: I8, slots: I8) -> None:
        """Have the volumes of rows summed up again of which bars that had closed were corrected."""
        changed = rows[slots < self.next_slot]
        if changed.size and self._laid_out:
            self._volumes["as_of"][np.isin(self._volumes["row"], changed)] = -1

    def recount(self, symbol_ids: Iterable[int]) -> None:
        """Sum up again what has been traded of symbols in the open bar."""
        self._make_room()
        parts = self._parts
        start_s = self.next_slot * self.step_ns // SECOND_NS
        for symbol_id in symbol_ids:
            row, second, minute = (
                int(tape.rows_of(np.array([symbol_id]))[0]) for tape in (self.tape, parts.seconds, parts.minutes)
            )
            if row >= 0 and second >= 0:
                self._open[:, row] = recount(
                    parts.seconds.units[second],
                    int(parts.seconds.decimals[second]),
                    parts.seconds.closes[second],
                    parts.minutes.units[minute],
                    int(parts.minutes.decimals[minute]),
                    parts.minutes.closes[minute],
                    start_s,
                    max(parts.until, start_s),
                )

    # -- time ----------------------------------------------------------------------------------------------------------

    def ends(self, watermark_ns: int) -> list[int]:
        """Return the slots whose ends are to be looked at up to a time: the last of many."""
        end = watermark_ns // self.step_ns
        if end - self.next_slot > _CATCH_UP:
            self.next_slot = end - 1
            self._volumes["as_of"] = -1
            self._open[:] = 0
        return list(range(self.next_slot, end))

    def second(self, second: int, symbol_ids: I8, theirs: I8, moment: Moment) -> None:
        """Take a second that has closed, with a trade of each of these symbols, and feed the volumes that it moves."""
        self._lay_out()
        rows = self.tape.rows_of(symbol_ids)
        mine = rows >= 0
        if not mine.any() or second * SECOND_NS // self.step_ns != self.next_slot:
            return
        rows, seconds = rows[mine], self._parts.seconds
        add_units(self._open[0], self._open[1], rows, seconds.units, seconds.decimals, theirs[mine], second)
        self._open[2, rows] = 1
        counts = self._first_volume[rows + 1] - self._first_volume[rows]
        ids = np.repeat(self._first_volume[rows] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        self._feed_volumes(ids, self.next_slot, moment._replace(time_ns=(second + 1) * SECOND_NS), at_close=0)

    def close(self, slot: int, moment: Moment) -> None:
        """Close a slot and feed what that moves."""
        self._lay_out()
        self.tape.reach(slot + 1)
        moment = moment._replace(time_ns=(slot + 1) * self.step_ns)
        there = self._rows[self.tape.has(self._rows, slot)]
        self._open[0, there] = self.tape.units[there, slot % self.tape.slots]
        self._open[1, there] = self.tape.decimals[there]
        self._open[2, there] = 1
        self.next_slot = slot + 1
        self._feed_volumes(np.arange(self._volumes.size), slot, moment, at_close=1)
        self._open[:] = 0
        self._feed_volatilities(there, slot, moment)

    def finish(self, moment: Moment) -> None:
        """Feed the gauges that are new, or whose history has come, as of now."""
        for gauge in sorted(self._unfed, key=_key):
            if gauge in self._unfed and self._ready(gauge):
                del self._unfed[gauge]
                self.look(gauge)
                gauge.feed(gauge.value, moment._replace(symbol=gauge.key.symbol))

    def look(self, gauge: Gauge) -> None:
        """Bring a gauge's value, and why it has none, up to now; nothing changes by it."""
        self._lay_out()
        gauge.value, gauge.reason = math.nan, _READING
        if gauge not in self._at:
            return
        if gauge.key.type == "volume":
            gauge.value, gauge.reason = self._volume_now(self._at[gauge])
        else:
            gauge.value, gauge.reason = self._volatility_now(self._at[gauge])

    # -- inside --------------------------------------------------------------------------------------------------------

    def _ready(self, gauge: Gauge) -> bool:
        """Return whether a gauge's history is there, or was: while it is read again, values go on."""
        return gauge in self._known or self.tape.ready(self._gauges[gauge], history_of(gauge.key))

    def _make_room(self) -> None:
        more = self.tape.closes.shape[0] - self._open.shape[1]
        if more:
            self._open = np.concatenate([self._open, np.zeros((3, more), np.int64)], axis=1)

    def _lay_out(self) -> None:
        """Lay the gauges whose history is there into tables: by row, and within a row by window."""
        if self._laid_out:
            return
        self._make_room()
        ready = sorted((gauge for gauge in self._gauges if self._ready(gauge)), key=self._place)
        self._known.update(ready)
        self._rows = np.unique(np.array([self._gauges[gauge] for gauge in ready], np.int64))
        self._volume_gauges = [gauge for gauge in ready if gauge.key.type == "volume"]
        self._volatility_gauges = [gauge for gauge in ready if gauge.key.type != "volume"]
        self._volumes = self._table(self._volume_gauges, VOLUME)
        self._volumes["as_of"] = -1
        self._volumes["baseline"] = [gauge.key.baseline for gauge in self._volume_gauges]
        self._volumes["closes"] = [int(gauge.key.closes) for gauge in self._volume_gauges]
        self._volatilities = self._table(self._volatility_gauges, VOLATILITY)
        rows = np.arange(self._open.shape[1] + 1)
        self._first_volume = np.searchsorted(self._volumes["row"], rows).astype(np.int64)
        self._first_volatility = np.searchsorted(self._volatilities["row"], rows).astype(np.int64)
        self._at = {gauge: i for gauges in (self._volume_gauges, self._volatility_gauges)
                    for i, gauge in enumerate(gauges)}  # fmt: skip
        self._laid_out = True

    def _place(self, gauge: Gauge) -> tuple[int, GaugeKey]:
        return self._gauges[gauge], gauge.key

    def _table(self, gauges: list[Gauge], dtype: np.dtype[Any]) -> NDArray[Any]:
        table = np.zeros(len(gauges), dtype)
        table["row"] = [self._gauges[gauge] for gauge in gauges]
        table["window"] = [gauge.key.window for gauge in gauges]
        table["low"] = [gauge.low for gauge in gauges]
        table["high"] = [gauge.high for gauge in gauges]
        table["value"] = math.nan
        return table

    def _feed_volumes(self, ids: I8, slot: int, moment: Moment, *, at_close: int) -> None:
        if not ids.size:
            return
        tape, found = self.tape, np.empty(ids.size, np.int64)
        units, decimals, traded = self._open
        count = read_volumes(
            self._volumes, ids, slot, tape.units, tape.decimals, tape.since, units, decimals, traded, at_close, found
        )
        self._feed(self._volumes, self._volume_gauges, found[:count], moment)

    def _feed_volatilities(self, rows: I8, slot: int, moment: Moment) -> None:
        if not rows.size or not self._volatilities.size:
            return
        found = np.empty(self._volatilities.size, np.int64)
        count = self._read_volatilities(self._volatilities, self._first_volatility, rows, slot, found)
        self._feed(self._volatilities, self._volatility_gauges, found[:count], moment)

    def _read_volatilities(self, table: NDArray[Any], first: I8, rows: I8, slot: int, found: I8) -> int:
        tape = self.tape
        return read_volatilities(table, first, rows, slot, tape.slots, tape.logs, _YEAR_NS / self.step_ns, found)

    def _feed(self, table: NDArray[Any], gauges: list[Gauge], found: I8, moment: Moment) -> None:
        """Feed values of one time in the order of their gauges' keys, which is the same after a restart."""
        values = zip(found.tolist(), table["value"][found].tolist(), strict=True)
        for gauge, value in sorted(((gauges[i], value) for i, value in values), key=_key_of):
            self._unfed.pop(gauge, None)
            gauge.feed(value, moment._replace(symbol=gauge.key.symbol))

    def _volume_now(self, at: int) -> tuple[float, str]:
        """Return a volume as of the newest second in which anything closed: of the open bar, or of the last one."""
        one = self._volumes[at : at + 1].copy()
        row, window, baseline = int(one["row"][0]), int(one["window"][0]), int(one["baseline"][0])
        slot, tape, opened = self.next_slot, self.tape, self._open
        if not opened[2, row] or one["closes"][0]:
            slot -= 1
            opened = np.zeros_like(opened)
            there = tape.has(np.array([row]), slot)
            opened[:, row] = tape.units[row, slot % tape.slots], tape.decimals[row], int(there[0])
        one["as_of"] = -1
        units, decimals, traded = opened
        first, found = np.zeros(1, np.int64), np.empty(1, np.int64)
        read_volumes(one, first, slot, tape.units, tape.decimals, tape.since, units, decimals, traded, 1, found)
        value = float(one["value"][0])
        if not math.isnan(value):
            return value, ""
        if baseline and int(one["before"][0]) == 0:
            return value, f"nothing is known to have been traded in the {baseline} bars before the window"
        return value, f"no bar is known from the beginning of the {window + baseline} bars that it needs"

    def _volatility_now(self, at: int) -> tuple[float, str]:
        one = self._volatilities[at : at + 1].copy()
        row, window = int(one["row"][0]), int(one["window"][0])
        one["row"] = 0
        first = np.array([0, 1])
        tape, found = self.tape, np.empty(1, np.int64)
        logs = tape.logs[row : row + 1]
        read_volatilities(
            one, first, np.zeros(1, np.int64), self.next_slot - 1, tape.slots, logs, _YEAR_NS / self.step_ns, found
        )
        value = float(one["value"][0])
        return value, "" if not math.isnan(value) else f"needs {window + 1} bars, has {int(one['seen'][0])}"


def history_of(key: GaugeKey) -> int:
    """Return how many slots of history a gauge needs: twice what it reads, for symbols that do not trade in each.

    >>> history_of(GaugeKey("volume", "BTCUSDT", window=1)), history_of(GaugeKey("volatility", "BTCUSDT", window=60))
    (66, 136)
    """
    return 2 * (key.window + key.baseline) + (64 if key.type == "volume" else 16)


def _key(gauge: Gauge) -> GaugeKey:
    return gauge.key


def _key_of(one: tuple[Gauge, float]) -> GaugeKey:
    return one[0].key
