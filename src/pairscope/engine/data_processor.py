"""The live state: batches of ticks in, closed and corrected bars, last prices and rolling statistics out.

Deterministic: no clock, no I/O; time is the batches' watermark. All state is two rings of bars (one second, one
minute), of which longer bars and statistics are pure functions, and the last tick of each symbol. So what a store
holds restores it bit for bit, and a late tick takes the same way as a timely one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.engine.ring import BarRing
from pairscope.engine.rolling import RollingStats, StatTape
from pairscope.market.bar_cells import CELL, SYMBOL_STATE, absorb, last_day
from pairscope.market.bars import BarBatch, Origin, cells_from_bars, check_ticks, concat_bars, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I4, I8, TickBatch, concat_ticks

__all__ = ["DataProcessor", "Updates"]

_MINUTE: Final = 60_000_000_000
_SECONDS_KEPT: Final = 600
_MINUTES_KEPT: Final = 1500
_AHEAD_NS: Final = 300_000_000_000
"""How far ticks may lie ahead of the watermark; one that lies further drags the watermark along."""
_DERIVED: Final = {"1s": ("5s", "15s"), "1m": ("3m", "5m", "15m", "30m", "1h", "4h", "1d")}
_INDEX_BITS: Final = 40


@dataclass(frozen=True, slots=True)
class Updates:
    """What a batch changed, as plain values.

    ``prices`` holds the newest tick (by trade id) of each symbol that has a newer one than before. ``closed`` and
    ``revised`` hold one batch a timeframe, by (symbol, time): bars that closed in this call, and bars closed earlier
    that late ticks corrected. ``touched`` are the ids of the symbols that had ticks, ascending. ``late`` counts ticks
    older than the watermark. ``rebuild`` names whole minutes, as (symbol, start_ns, end_ns), whose base bars only
    the store can recompute from its ticks. ``stats`` are the statistics that changed.
    """

    prices: TickBatch
    closed: tuple[BarBatch, ...]
    revised: tuple[BarBatch, ...]
    touched: I4
    late: int
    rebuild: tuple[tuple[str, int, int], ...]
    stats: RollingStats
    watermark_ns: int


@dataclass(slots=True)
class _Changes:
    """What the pieces of one batch have changed so far."""

    prices: list[TickBatch] = field(default_factory=list)
    closed: dict[str, list[BarBatch]] = field(default_factory=dict)
    revised: dict[str, list[BarBatch]] = field(default_factory=dict)
    touched: list[I4] = field(default_factory=list)
    late: int = 0
    rebuild: list[I8] = field(default_factory=list)
    stats: list[tuple[I4, I8]] = field(default_factory=list)


class DataProcessor:
    """One live engine. ``windows`` are the rolling statistics', in one-minute bars. Implements ``ports.LiveView``.

    Kept a symbol: 600 closed one-second and 1,500 closed one-minute bars, 250 kB. ``hurried`` counts the batches
    whose ticks lay more than five minutes ahead of their watermark, which then followed them.

    >>> engine = DataProcessor(Symbols(["BTCUSDT"]))
    >>> engine.on_batch(TickBatch.empty(engine.symbols_table, 1_000)).watermark_ns
    1000
    """

    def __init__(self, symbols: Symbols, *, windows: Sequence[int] = (20, 60, 240, 1440)) -> None:
        if not windows or min(windows) < 1 or max(windows) >= _MINUTES_KEPT:
            raise ValueError(f"windows: each must be 1 to {_MINUTES_KEPT - 1}")
        self._symbols = symbols
        self._seconds = BarRing(symbols, "1s", _DERIVED["1s"], kept=_SECONDS_KEPT, spare=424)
        self._minutes = BarRing(symbols, "1m", _DERIVED["1m"], kept=_MINUTES_KEPT, spare=36)
        self._tape = StatTape(symbols, tuple(windows), kept=_MINUTES_KEPT, slots=_MINUTES_KEPT + 36)
        self._state = np.zeros(0, SYMBOL_STATE)
        self._newest = np.empty((2, 0), np.int64)
        self._day = np.zeros(0, CELL)
        self._day_at = np.empty(0, np.int64)
        self._day_close = np.empty(0)
        self._watermark_ns = 0
        self._batches = 0
        self._stale: set[int] = set()
        self.hurried = 0

    @property
    def symbols_table(self) -> Symbols:
        """The table that every ``symbol_id`` of this engine belongs to."""
        return self._symbols

    def on_batch(self, batch: TickBatch) -> Updates:
        """Take a batch: add its ticks to their bars, then close what its watermark passes. O(ticks + what closed)."""
        ticks = self._own(batch)
        changes = _Changes()
        if len(ticks):
            check_ticks(ticks)
            self._make_room()
            self._take(ticks, changes)
        elif self._watermark_ns == 0:
            self._watermark_ns = ticks.watermark_ns
        self._advance(ticks.watermark_ns, changes)
        return self._updates(ticks, changes)

    # -- what the live view asks --------------------------------------------------------------------------------

    def symbols(self) -> Sequence[str]:
        """Return the symbols that have a tick or a bar."""
        known = min(len(self._symbols), self._newest.shape[1])
        return [self._symbols[i] for i in np.flatnonzero(self._newest[1, :known] >= 0).tolist()]

    def watermark_ns(self) -> int:
        """Return the time up to which everything has been seen; 0 before the first batch."""
        return self._watermark_ns

    def first_own_ns(self, symbol: str) -> int | None:
        """Return the event time of a symbol's first own tick; None before it. O(1)."""
        s = self._symbols.find(symbol)
        if s is None or s >= self._state.size or self._state["first_ns"][s] < 0:
            return None
        return int(self._state["first_ns"][s])

    def price(self, symbol: str) -> Mapping[str, Any] | None:
        """Return a symbol's last price with its 24 h change and volume; None where there is neither tick nor bar. O(1).

        ``timestamp`` is in ms, ``change_24h`` relative to the last close at or before 24 h ago (None where no bar of
        the hour before that is known), ``volume_24h`` in base units over 1,440 minutes, the open one included.
        Before a symbol's first own tick ``price`` is its last close, at that bar's end, and ``size`` None.
        """
        s = self._known(symbol)
        if s is None:
            return None
        minute = self._minutes.end(self._watermark_ns)
        fresh = self._day_at[s] == minute
        volume = last_day(self._minutes.cells, self._day, self._day_at, s, minute, self._newest[1, s])
        if not fresh:
            oldest = self._minutes.oldest(self._watermark_ns)
            self._day_close[s] = self._tape.close_at(s, oldest, minute - 1440)
        of = self._state[s]
        price, size, ts_ns = float(of["last_price"]), float(of["last_size"]), int(of["last_ns"])
        if of["last_id"] < 0:
            newest = int(self._newest[1, s])
            price = float(self._minutes.cells[s, newest % self._minutes.cells.shape[1]]["close"])
            ts_ns = (newest + 1) * _MINUTE
        before = float(self._day_close[s])
        return {
            "symbol": self._symbols[s],
            "price": price,
            "size": size if of["last_id"] >= 0 else None,
            "timestamp": ts_ns // 1_000_000,
            "change_24h": price / before - 1.0 if before > 0 else None,
            "volume_24h": volume,
        }

    def open_bar(self, symbol: str, timeframe: str) -> BarBatch | None:
        """Return the bar of a timeframe that is open now, as a batch of one; None where nothing has traded in it.

        Where a newer bar has begun before the watermark closed an older one, that is the newest.
        """
        s = self._known(symbol)
        if s is None:
            return None
        ring = self._ring_of(timeframe)
        bucket = self._newest_of(ring, s) // (timeframe_ns(timeframe) // ring.step_ns)
        if (bucket + 1) * timeframe_ns(timeframe) <= self._watermark_ns:
            return None
        bars = ring.longer(timeframe, np.array([s], np.int32), np.array([bucket], np.int64))
        return bars if len(bars) else None

    def recent_bars(self, symbol: str, timeframe: str, count: int, *, with_open: bool = False) -> BarBatch:
        """Return up to ``count`` newest closed bars that are kept, oldest first; ``with_open`` adds what is still open.

        That is one bar, or two where a newer one has begun before the watermark closed the older. Kept are ten
        minutes of one-second bars and of what is made of them, and 1,500 minutes of all others.
        """
        s = self._known(symbol)
        if s is None:
            return BarBatch.empty(self._symbols, timeframe)
        ring, length = self._ring_of(timeframe), timeframe_ns(timeframe)
        per = length // ring.step_ns
        newest = self._newest_of(ring, s) // per + 1
        open_from = min(self._watermark_ns // length, newest)
        oldest = -(-ring.oldest(self._watermark_ns) // per)
        buckets = np.arange(oldest, newest if with_open else open_from, dtype=np.int64)
        bars = ring.longer(timeframe, np.full(buckets.size, s, np.int32), buckets)
        closed = int(np.searchsorted(bars.ts_open_ns, open_from * length))
        return bars.take(slice(max(0, closed - count), None))

    # -- bars that others made ----------------------------------------------------------------------------------

    def adopt_history(self, bars: BarBatch) -> int:
        """Take the exchange's one-minute bars where own ones are absent or partial; return how many were taken.

        Partial is a minute not later than the symbol's first own tick. Flat bars of minutes without a trade are left
        out: such a minute has no bar.
        """
        if bars.timeframe != "1m":
            raise ValueError("bars: history must be one-minute bars")
        taken = self._place(self._minutes, self._mine(bars), self._history_wins)
        self._stale.update(np.unique(taken.symbol_id).tolist())
        return len(taken)

    def adopt_bars(self, bars: BarBatch) -> tuple[BarBatch, ...]:
        """Take base bars that the store rebuilt; return every closed bar that changed by it, one batch a timeframe.

        An own bar is replaced only by one of as many trades or more: it may have grown meanwhile.
        """
        if bars.timeframe not in _DERIVED:
            raise ValueError("bars: the store rebuilds base bars")
        ring = self._ring_of(bars.timeframe)
        taken = self._place(ring, self._mine(bars), self._rebuilt_wins)
        closed = taken.take((taken.ts_open_ns + ring.step_ns) <= self._watermark_ns)
        if not len(closed):
            return ()
        if ring is self._minutes:
            self._stale.update(np.unique(closed.symbol_id).tolist())
        return (closed, *self._longer_than(ring, closed.symbol_id, closed.ts_open_ns // ring.step_ns))

    def restore(
        self,
        base_1m: BarBatch,
        base_1s: BarBatch,
        ticks: Iterable[TickBatch],
        *,
        watermark_ns: int,
        first_own_ns: Mapping[str, int],
    ) -> None:
        """Take up a store's state: afterwards this engine equals one that never stopped.

        ``base_1m`` and ``base_1s`` hold the closed bars of the last 1,500 minutes and 600 seconds before the
        watermark (more does no harm), ``ticks`` every tick from the beginning of the watermark's minute on, and,
        where the last price of a symbol that has none there matters, its newest tick. Raises ``ValueError`` on an
        engine that has begun.
        """
        if self._watermark_ns:
            raise ValueError("restore: this engine has begun")
        self._watermark_ns = watermark_ns
        for ring, bars in ((self._minutes, base_1m), (self._seconds, base_1s)):
            mine = self._mine(bars)
            self._place(ring, mine.take(mine.ts_open_ns + ring.step_ns <= watermark_ns), self._always)
        for symbol, first_ns in first_own_ns.items():
            s = self._symbols.id_of(symbol)
            self._make_room()
            self._state["first_ns"][s] = first_ns
        for batch in ticks:
            mine_too = self._own(batch)
            if len(mine_too):
                self._make_room()
                self._absorb(mine_too, _Changes(), self._seconds.end(watermark_ns), self._minutes.end(watermark_ns))

    # -- a batch, step by step ----------------------------------------------------------------------------------

    def _take(self, ticks: TickBatch, changes: _Changes) -> None:
        """Add ticks; where they span more than the rings' room ahead, by time, closing bars on the way."""
        ts = ticks.ts_event_ns
        if self._watermark_ns == 0:
            first = int(ts.min())
            self._watermark_ns = max(min(first, ticks.watermark_ns), first - _AHEAD_NS + 1, 1)
        if int(ts.max()) < self._watermark_ns + _AHEAD_NS:
            self._absorb(ticks, changes, 0, 0)
            return
        ticks = ticks.take(np.argsort(ts, kind="stable"))
        ts = ticks.ts_event_ns
        start = 0
        while start < ts.size:
            end = int(np.searchsorted(ts, self._watermark_ns + _AHEAD_NS))
            if end > start:
                self._absorb(ticks.take(slice(start, end)), changes, 0, 0)
                start = end
                continue
            ahead = int(ts[start])
            wanted = min(ticks.watermark_ns, ahead)
            if wanted + _AHEAD_NS <= ahead:
                self.hurried += 1
                wanted = ahead - _AHEAD_NS + 1
            self._advance(wanted, changes)

    def _absorb(self, ticks: TickBatch, changes: _Changes, from_second: int, from_minute: int) -> None:
        """Add ticks to both rings and note what they corrected."""
        n = len(ticks)
        self._batches += 1
        touched, counts = np.empty(n, np.int32), np.zeros(4, np.int64)
        revised, rebuild = np.empty((2 * n, 3), np.int64), np.empty((n, 2), np.int64)
        limits = np.array(
            [
                self._watermark_ns,
                self._seconds.oldest(self._watermark_ns),
                self._minutes.oldest(self._watermark_ns),
                from_second,
                from_minute,
                self._batches,
            ],
            np.int64,
        )
        absorb(
            ticks.symbol_id,
            ticks.ts_event_ns,
            ticks.trade_id,
            ticks.price,
            ticks.size,
            ticks.buyer_is_maker,
            self._state,
            self._seconds.cells,
            self._minutes.cells,
            self._newest,
            limits,
            touched,
            revised,
            rebuild,
            counts,
        )
        symbols, late, corrected, lost = counts.tolist()
        moved = np.sort(touched[:symbols])
        rows = self._state["last_row"][moved]
        changes.prices.append(ticks.take(rows[rows >= 0]))
        changes.touched.append(moved)
        changes.late += late
        if lost:
            changes.rebuild.append(rebuild[:lost])
        if corrected:
            self._note_revised(revised[:corrected], changes)

    def _note_revised(self, rows: I8, changes: _Changes) -> None:
        """Collect the bars that late ticks corrected, of every timeframe that had closed."""
        for kind, ring in enumerate((self._seconds, self._minutes)):
            keys = np.unique((rows[:, 1] << _INDEX_BITS | rows[:, 2])[rows[:, 0] == kind])
            if not keys.size:
                continue
            symbol_id, index = (keys >> _INDEX_BITS).astype(np.int32), keys & ((1 << _INDEX_BITS) - 1)
            bars = ring.pick(symbol_id, index)
            if ring is self._minutes:
                self._tape.write(bars)
                self._day_at[symbol_id] = -1
                self._stale.update(symbol_id.tolist())
            for batch in (bars, *self._longer_than(ring, symbol_id, index)):
                changes.revised.setdefault(batch.timeframe, []).append(batch)

    def _longer_than(self, ring: BarRing, symbol_id: I4, index: I8) -> list[BarBatch]:
        """Return the closed longer bars that hold any of these base bars and of which every part is still kept."""
        found = []
        for timeframe in ring.derived:
            per = timeframe_ns(timeframe) // ring.step_ns
            keys = np.unique(symbol_id.astype(np.int64) << _INDEX_BITS | index // per)
            bucket = keys & ((1 << _INDEX_BITS) - 1)
            whole = (bucket * per >= ring.oldest(self._watermark_ns)) & (
                (bucket + 1) * per <= ring.end(self._watermark_ns)
            )
            if whole.any():
                found.append(ring.longer(timeframe, (keys[whole] >> _INDEX_BITS).astype(np.int32), bucket[whole]))
        return found

    def _advance(self, watermark_ns: int, changes: _Changes) -> None:
        """Move the watermark on and close what it passes."""
        start_ns = self._watermark_ns
        if watermark_ns <= start_ns:
            return
        self._watermark_ns = watermark_ns
        if start_ns // 1_000_000_000 == watermark_ns // 1_000_000_000:
            return
        for ring, newest in ((self._seconds, self._newest[0]), (self._minutes, self._newest[1])):
            symbol_id, index = ring.closed(newest, start_ns, watermark_ns)
            if ring is self._minutes:
                self._tape.forget(ring.end(start_ns), ring.end(watermark_ns))
            if symbol_id.size:
                bars = ring.pick(symbol_id, index)
                if ring is self._minutes:
                    self._tape.write(bars)
                    changes.stats.append((symbol_id, index))
                    self._stale.difference_update(symbol_id.tolist())
                own = bars.origin == Origin.OWN
                if own.any():
                    changes.closed.setdefault(ring.timeframe, []).append(bars if own.all() else bars.take(own))
            for timeframe in ring.derived:
                longer = ring.closed_longer(timeframe, newest, start_ns, watermark_ns)
                if longer is not None and len(longer):
                    changes.closed.setdefault(timeframe, []).append(longer)

    def _updates(self, ticks: TickBatch, changes: _Changes) -> Updates:
        """Put together what the pieces of a batch changed."""
        nobody = np.empty(0, np.int32)
        prices = concat_ticks(changes.prices) if changes.prices else ticks
        touched = changes.touched[0] if changes.touched else nobody
        if len(changes.touched) > 1:
            touched = np.unique(np.concatenate(changes.touched))
            newest = np.flatnonzero(prices.trade_id == self._state["last_id"][prices.symbol_id])
            prices = prices.take(newest[np.argsort(prices.symbol_id[newest], kind="stable")])
        return Updates(
            prices=prices.with_watermark(self._watermark_ns),
            closed=_by_timeframe(changes.closed),
            revised=_by_timeframe(changes.revised),
            touched=touched,
            late=changes.late,
            rebuild=self._ranges(changes.rebuild),
            stats=self._stats(changes.stats),
            watermark_ns=self._watermark_ns,
        )

    def _stats(self, closes: list[tuple[I4, I8]]) -> RollingStats:
        """Read the statistics as of each close, and as of the last one where older bars were corrected."""
        last = self._minutes.end(self._watermark_ns) - 1
        if self._stale:
            again = np.array(sorted(self._stale), np.int32)
            closes = [*closes, (again, np.full(again.size, last, np.int64))]
            self._stale.clear()
        if not closes:
            return self._tape.read(np.empty(0, np.int32), np.empty(0, np.int64))
        return self._tape.read(np.concatenate([s for s, _ in closes]), np.concatenate([m for _, m in closes]))

    def _ranges(self, lost: list[I8]) -> tuple[tuple[str, int, int], ...]:
        """Join the minutes to rebuild, neighbours into one range."""
        if not lost:
            return ()
        rows = np.unique(np.concatenate(lost), axis=0)
        breaks = np.flatnonzero((rows[1:, 0] != rows[:-1, 0]) | (rows[1:, 1] != rows[:-1, 1] + 1)) + 1
        return tuple(
            (self._symbols[int(run[0, 0])], int(run[0, 1]) * _MINUTE, int(run[-1, 1] + 1) * _MINUTE)
            for run in np.split(rows, breaks)
        )

    # -- rooms and tables ---------------------------------------------------------------------------------------

    def _own(self, batch: TickBatch) -> TickBatch:
        """Return a batch under this engine's symbol table, its columns as the kernels were compiled for them."""
        columns: dict[str, Any] = {name: _plain(getattr(batch, name)) for name in _TICK_COLUMNS}
        if batch.symbols is not self._symbols:
            columns["symbol_id"] = self._ids(batch.symbols)[batch.symbol_id]
        return replace(batch, symbols=self._symbols, void=(), **columns)

    def _ids(self, theirs: Symbols) -> I4:
        return np.array([self._symbols.id_of(name) for name in theirs], np.int32)

    def _mine(self, bars: BarBatch) -> BarBatch:
        """Return bars under this engine's symbol table, with room made for them; flat bars left out."""
        if bars.symbols is not self._symbols:
            ids = self._ids(bars.symbols)[bars.symbol_id]
            columns = {name: getattr(bars, name) for name in _BAR_COLUMNS}
            bars = BarBatch(self._symbols, bars.timeframe, **{**columns, "symbol_id": ids})
        self._make_room()
        return bars.take((bars.close > 0) & ((bars.trades > 0) | (bars.volume > 0)))

    def _make_room(self) -> None:
        """Grow every table to the symbols that there are now."""
        have, need = self._state.size, len(self._symbols)
        if need <= have:
            return
        capacity = max(need, 2 * have)
        for ring in (self._seconds, self._minutes):
            ring.grow(capacity)
        self._tape.grow(capacity)
        more = capacity - have
        fresh = np.zeros(more, SYMBOL_STATE)
        fresh["last_id"] = fresh["first_ns"] = -1
        self._state = np.concatenate([self._state, fresh])
        self._newest = np.concatenate([self._newest, np.full((2, more), -1, np.int64)], axis=1)
        self._day = np.concatenate([self._day, np.zeros(more, CELL)])
        self._day_at = np.concatenate([self._day_at, np.full(more, -1, np.int64)])
        self._day_close = np.concatenate([self._day_close, np.full(more, np.nan)])

    def _place(self, ring: BarRing, bars: BarBatch, wins: Any) -> BarBatch:
        """Put bars into a ring where ``wins`` says so and nothing newer lies; return those that were put there."""
        index = bars.ts_open_ns // ring.step_ns
        cells = cells_from_bars(bars)
        slots = ring.cells.shape[1]
        there = ring.cells[bars.symbol_id, index % slots]
        good = (index >= ring.oldest(self._watermark_ns)) & (there["ordinal"] <= cells["ordinal"])
        good &= (there["ordinal"] != cells["ordinal"]) | wins(bars, cells, there)
        order = np.flatnonzero(good)
        order = order[np.argsort(index[order], kind="stable")]
        taken = bars.take(order)
        ring.cells[taken.symbol_id, index[order] % slots] = cells[order]
        row = 0 if ring is self._seconds else 1
        np.maximum.at(self._newest[row], taken.symbol_id, index[order])
        if ring is self._minutes:
            self._day_at[taken.symbol_id] = -1
            done = (taken.ts_open_ns + ring.step_ns <= self._watermark_ns) | (self._watermark_ns == 0)
            self._tape.write(taken.take(done))
        return taken

    def _history_wins(self, bars: BarBatch, cells: Any, there: Any) -> NDArray[np.bool_]:
        """An exchange bar wins over one that is not own, and over a partial own one."""
        first_ns = self._state["first_ns"][bars.symbol_id]
        partial = (first_ns >= 0) & (bars.ts_open_ns // _MINUTE <= first_ns // _MINUTE)
        answer: NDArray[np.bool_] = (there["origin"] != Origin.OWN) | partial
        return answer

    def _rebuilt_wins(self, bars: BarBatch, cells: Any, there: Any) -> NDArray[np.bool_]:
        """A rebuilt bar wins over another's, and over an own one that it is not behind."""
        ahead = (cells["trades"] > there["trades"]) | (
            (cells["trades"] == there["trades"]) & (cells["revision"] > there["revision"])
        )
        answer: NDArray[np.bool_] = (there["origin"] != Origin.OWN) | (cells["origin"] != Origin.OWN) | ahead
        return answer

    def _always(self, bars: BarBatch, cells: Any, there: Any) -> NDArray[np.bool_]:
        return np.ones(len(bars), np.bool_)

    def _known(self, symbol: str) -> int | None:
        s = self._symbols.find(symbol)
        return None if s is None or s >= self._state.size or self._newest[1, s] < 0 else s

    def _ring_of(self, timeframe: str) -> BarRing:
        return self._seconds if timeframe == "1s" or timeframe in self._seconds.derived else self._minutes

    def _newest_of(self, ring: BarRing, s: int) -> int:
        return int(self._newest[0 if ring is self._seconds else 1, s])


_TICK_COLUMNS = ("symbol_id", "ts_event_ns", "ts_recv_ns", "trade_id", "price", "size", "buyer_is_maker")
_BAR_COLUMNS = tuple(BarBatch.__dataclass_fields__)[2:]


def _plain(column: NDArray[Any]) -> NDArray[Any]:
    """Return a column as a contiguous array of its own where it is not one: other layouts would be compiled anew."""
    return column if column.flags.carray else column.copy()


def _by_timeframe(batches: dict[str, list[BarBatch]]) -> tuple[BarBatch, ...]:
    """Join what several pieces made, one batch a timeframe, by (symbol, time)."""
    joined = []
    for timeframe in sorted(batches, key=timeframe_ns):
        bars = concat_bars(batches[timeframe])
        if len(batches[timeframe]) > 1:
            bars = bars.take(np.lexsort((bars.ts_open_ns, bars.symbol_id)))
        joined.append(bars)
    return tuple(joined)
