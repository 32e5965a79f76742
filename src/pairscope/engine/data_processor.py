"""The live engine: batches of ticks in, closed and corrected bars, last prices and rolling statistics out.

Deterministic: no clock, no I/O; time is the batches' watermark. All state is two rings of bars (one second, one
minute), of which longer bars and statistics are pure functions, and the last tick of each symbol. So what a store
holds restores it bit for bit, and a late tick takes the same way as a timely one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pairscope.engine.adoption import place_history, place_rebuilt, place_stored
from pairscope.engine.live_state import AHEAD_NS, LiveState
from pairscope.engine.live_view import LiveView
from pairscope.engine.ring import distinct
from pairscope.engine.updates import Changes, Updates
from pairscope.errors import InputError
from pairscope.market.bar_cells import absorb
from pairscope.market.bars import BarBatch, Origin, check_ticks
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I8, TickBatch

__all__ = ["DataProcessor", "Updates"]

_SECOND_NS = 1_000_000_000
_NEVER = 1 << 60


class DataProcessor:
    """One live engine; implements ``ports.LiveView``. ``windows`` are the rolling statistics', in one-minute bars.

    Kept a symbol: 600 closed one-second and 1,500 closed one-minute bars, 300 kB. ``hurried`` counts how often ticks
    lay more than five minutes ahead of the watermark, which then followed them; ``inexact`` counts closed base bars
    whose volumes passed the bounds of :mod:`pairscope.market.exact` and were rounded.

    >>> engine = DataProcessor(Symbols(["BTCUSDT"]))
    >>> engine.on_batch(TickBatch.empty(engine.symbols_table, 1_000)).watermark_ns
    1000
    """

    def __init__(self, symbols: Symbols, *, windows: Sequence[int] = (20, 60, 240, 1440)) -> None:
        self._state = LiveState(symbols, windows)
        self._view = LiveView(self._state)
        self._batches = 0
        self.hurried = 0
        self.inexact = 0

    @property
    def symbols_table(self) -> Symbols:
        """The table that every ``symbol_id`` of this engine belongs to."""
        return self._state.symbols

    def on_batch(self, batch: TickBatch) -> Updates:
        """Take a batch: add its ticks to their bars, then close what its watermark passes. O(ticks + what closed).

        The watermark never goes back, and never stays more than five minutes behind the newest tick. Raises
        ``ValueError`` naming the column on a price or size that is not finite and positive; nothing is changed then.
        """
        changes = Changes()
        ticks = self._state.own_ticks(batch)
        if len(ticks):
            check_ticks(ticks)
            self._take(ticks, changes)
        elif self._state.watermark_ns == 0:
            self._state.watermark_ns = ticks.watermark_ns
        self._advance(ticks.watermark_ns, changes)
        return changes.updates(ticks, self._state)

    def adopt_history(self, bars: BarBatch) -> int:
        """Take the exchange's one-minute bars where own ones are absent or partial; return how many were taken.

        Partial is a minute not later than the symbol's first own tick. Flat bars of minutes without a trade are left
        out: such a minute has no bar.
        """
        return len(place_history(self._state, bars))

    def adopt_bars(self, bars: BarBatch) -> tuple[BarBatch, ...]:
        """Take base bars that the store rebuilt; return every closed bar that changed by it, one batch a timeframe.

        An own bar is replaced only by one that it is not ahead of: it may have grown meanwhile.
        """
        return place_rebuilt(self._state, bars)

    def restore(
        self,
        base_1m: BarBatch,
        base_1s: BarBatch,
        ticks: Iterable[TickBatch],
        *,
        watermark_ns: int,
        first_own_ns: Mapping[str, int],
        last_ticks: Iterable[TickBatch] = (),
    ) -> None:
        """Take up a store's state: afterwards this engine equals one that never stopped.

        ``base_1m`` and ``base_1s`` hold the bars of the last 1,500 minutes and 600 seconds before the watermark (more
        does no harm), ``ticks`` every tick from the beginning of the watermark's minute on, each once, and
        ``last_ticks`` the newest tick of symbols that have none there: without it their last price is that of their
        last bar. Raises ``ValueError`` on an engine that has begun.
        """
        state = self._state
        if state.watermark_ns:
            raise InputError("restore: this engine has begun", loc="restore")
        state.watermark_ns = watermark_ns
        for symbol, first_ns in first_own_ns.items():
            s = state.symbols.id_of(symbol)
            state.make_room()
            state.last["first_ns"][s] = first_ns
        place_stored(state, base_1m)
        place_stored(state, base_1s)
        open_from = state.seconds.end(watermark_ns), state.minutes.end(watermark_ns)
        for batches, start in ((last_ticks, (_NEVER, _NEVER)), (ticks, open_from)):
            for batch in batches:
                mine = state.own_ticks(batch)
                check_ticks(mine)
                self._absorb(mine, Changes(), start)

    def symbols(self) -> Sequence[str]:
        """Return the symbols that have a bar."""
        return self._view.symbols()

    def watermark_ns(self) -> int:
        """Return the time up to which everything has been seen; 0 before the first batch."""
        return self._view.watermark_ns()

    def first_own_ns(self, symbol: str) -> int | None:
        """Return the event time of a symbol's first own tick, None before it."""
        return self._view.first_own_ns(symbol)

    def last_trade(self, symbol: str) -> tuple[int, float, int] | None:
        """Return (trade id, price, event time) of a symbol's newest own tick; see :meth:`LiveView.last_trade`."""
        return self._view.last_trade(symbol)

    def price(self, symbol: str) -> Mapping[str, Any] | None:
        """Return a symbol's last price; see :meth:`LiveView.price`."""
        return self._view.price(symbol)

    def open_bar(self, symbol: str, timeframe: str) -> BarBatch | None:
        """Return the bar that is open now, as a batch of one; see :meth:`LiveView.open_bar`."""
        return self._view.open_bar(symbol, timeframe)

    def recent_bars(self, symbol: str, timeframe: str, count: int, *, with_open: bool = False) -> BarBatch:
        """Return the newest closed bars that are kept; see :meth:`LiveView.recent_bars`."""
        return self._view.recent_bars(symbol, timeframe, count, with_open=with_open)

    def _take(self, ticks: TickBatch, changes: Changes) -> None:
        """Add ticks; where they span more than the rings' room ahead, by time, closing bars on the way."""
        state, ts = self._state, ticks.ts_event_ns
        if state.watermark_ns == 0:
            first = int(ts.min())
            state.watermark_ns = max(min(first, ticks.watermark_ns), first - AHEAD_NS + 1, 1)
        if int(ts.max()) < state.watermark_ns + AHEAD_NS:
            self._absorb(ticks, changes)
            return
        ticks = ticks.take(np.argsort(ts, kind="stable"))
        ts = ticks.ts_event_ns
        start = 0
        while start < ts.size:
            end = int(np.searchsorted(ts, state.watermark_ns + AHEAD_NS))
            if end > start:
                self._absorb(ticks.take(slice(start, end)), changes)
                start = end
                continue
            # No tick that is still to be added is older than this one, so that none becomes late by it.
            ahead = int(ts[start])
            wanted = min(ticks.watermark_ns, ahead)
            if wanted + AHEAD_NS <= ahead:
                self.hurried += 1
                wanted = ahead - AHEAD_NS + 1
            self._advance(wanted, changes)

    def _absorb(self, ticks: TickBatch, changes: Changes, open_from: tuple[int, int] = (0, 0)) -> None:
        """Add ticks to both rings, to bars from ``open_from`` on, and note what they corrected."""
        state, n = self._state, len(ticks)
        seconds, minutes, watermark_ns = state.seconds, state.minutes, state.watermark_ns
        self._batches += 1
        touched, counts = np.empty(n, np.int32), np.zeros(4, np.int64)
        revised, rebuild = np.empty((2 * n, 3), np.int64), np.empty((n, 2), np.int64)
        kept = (seconds.oldest(watermark_ns), minutes.oldest(watermark_ns))
        absorb(
            ticks.symbol_id,
            ticks.ts_event_ns,
            ticks.trade_id,
            ticks.price,
            ticks.size,
            ticks.buyer_is_maker,
            state.last,
            seconds.cells,
            minutes.cells,
            seconds.newest,
            minutes.newest,
            np.array([watermark_ns, *kept, *open_from, self._batches], np.int64),
            touched,
            revised,
            rebuild,
            counts,
        )
        symbols, late, corrected, lost = counts.tolist()
        moved = np.sort(touched[:symbols])
        rows = state.last["last_row"][moved]
        changes.prices.append(ticks.take(rows[rows >= 0]))
        changes.touched.append(moved)
        changes.late += late
        if lost:
            changes.lost.append(rebuild[:lost])
        if corrected:
            self._note_revised(revised[:corrected], changes)

    def _note_revised(self, rows: I8, changes: Changes) -> None:
        """Collect the bars that late ticks corrected, of every timeframe that had closed."""
        state = self._state
        for kind, ring in enumerate(state.rings):
            mine = rows[rows[:, 0] == kind]
            if not mine.size:
                continue
            symbol_id, index = distinct(mine[:, 1], mine[:, 2])
            bars = ring.pick(symbol_id, index)
            if ring is state.minutes:
                state.tape.write(bars)
                state.day_at[symbol_id] = -1
                state.stale.update(symbol_id.tolist())
            for batch in (bars, *ring.closed_around(symbol_id, index, state.watermark_ns)):
                changes.revised.setdefault(batch.timeframe, []).append(batch)

    def _advance(self, watermark_ns: int, changes: Changes) -> None:
        """Move the watermark on and close what it passes."""
        state, start_ns = self._state, self._state.watermark_ns
        if watermark_ns <= start_ns:
            return
        state.watermark_ns = watermark_ns
        if start_ns // _SECOND_NS == watermark_ns // _SECOND_NS:
            return
        for ring in state.rings:
            symbol_id, index = ring.closing(start_ns, watermark_ns)
            bars = ring.pick(symbol_id, index) if symbol_id.size else None
            self.inexact += ring.inexact(symbol_id, index)
            if ring is state.minutes:
                state.tape.forget(ring.end(start_ns), ring.end(watermark_ns))
                if bars is not None:
                    state.tape.write(bars)
                    state.stale.difference_update(symbol_id.tolist())
                    changes.closes.append((symbol_id, index))
            if bars is not None:
                own = bars.origin == Origin.OWN
                if own.any():
                    changes.closed.setdefault(ring.timeframe, []).append(bars if own.all() else bars.take(own))
            for timeframe in ring.derived:
                longer = ring.closing_longer(timeframe, start_ns, watermark_ns)
                if longer is not None:
                    changes.closed.setdefault(timeframe, []).append(longer)
