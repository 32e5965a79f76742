"""What a batch changed, as plain values, and how the pieces of it are put together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pairscope.engine.live_state import MINUTE_NS, LiveState
from pairscope.engine.rolling import RollingStats
from pairscope.market.bars import BarBatch, concat_bars, timeframe_ns
from pairscope.market.ticks import I4, I8, TickBatch, concat_ticks

__all__ = ["Changes", "Updates"]


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
class Changes:
    """What the pieces of one batch have changed so far.

    ``lost`` are rows (symbol, minute) to rebuild, ``closes`` the (symbols, minutes) whose statistics are wanted.
    """

    prices: list[TickBatch] = field(default_factory=list)
    closed: dict[str, list[BarBatch]] = field(default_factory=dict)
    revised: dict[str, list[BarBatch]] = field(default_factory=dict)
    touched: list[I4] = field(default_factory=list)
    late: int = 0
    lost: list[I8] = field(default_factory=list)
    closes: list[tuple[I4, I8]] = field(default_factory=list)

    def updates(self, ticks: TickBatch, state: LiveState) -> Updates:
        """Put the pieces together, as one batch's."""
        prices, touched = ticks, np.empty(0, np.int32)
        if self.touched:
            prices, touched = self.prices[0], self.touched[0]
        if len(self.touched) > 1:
            prices, touched = concat_ticks(self.prices), np.unique(np.concatenate(self.touched))
            newest = np.flatnonzero(prices.trade_id == state.last["last_id"][prices.symbol_id])
            prices = prices.take(newest[np.argsort(prices.symbol_id[newest], kind="stable")])
        return Updates(
            prices=prices.with_watermark(state.watermark_ns),
            closed=_by_timeframe(self.closed),
            revised=_by_timeframe(self.revised),
            touched=touched,
            late=self.late,
            rebuild=_ranges(state, self.lost),
            stats=_statistics(state, self.closes),
            watermark_ns=state.watermark_ns,
        )


def _by_timeframe(batches: dict[str, list[BarBatch]]) -> tuple[BarBatch, ...]:
    """Join what several pieces made, one batch a timeframe, by (symbol, time)."""
    joined = []
    for timeframe in sorted(batches, key=timeframe_ns):
        bars = concat_bars(batches[timeframe])
        if len(batches[timeframe]) > 1:
            bars = bars.take(np.lexsort((bars.ts_open_ns, bars.symbol_id)))
        joined.append(bars)
    return tuple(joined)


def _ranges(state: LiveState, lost: list[I8]) -> tuple[tuple[str, int, int], ...]:
    """Join the minutes to rebuild, neighbours into one range."""
    if not lost:
        return ()
    rows = np.unique(np.concatenate(lost), axis=0)
    breaks = np.flatnonzero((rows[1:, 0] != rows[:-1, 0]) | (rows[1:, 1] != rows[:-1, 1] + 1)) + 1
    return tuple(
        (state.symbols[int(run[0, 0])], int(run[0, 1]) * MINUTE_NS, int(run[-1, 1] + 1) * MINUTE_NS)
        for run in np.split(rows, breaks)
    )


def _statistics(state: LiveState, closes: list[tuple[I4, I8]]) -> RollingStats:
    """Read the statistics as of each close, and as of the last one where older bars were corrected."""
    if state.stale and state.watermark_ns:
        again = np.array(sorted(state.stale), np.int32)
        state.stale.clear()
        closes = [*closes, (again, np.full(again.size, state.minutes.end(state.watermark_ns) - 1, np.int64))]
    if not closes:
        return state.tape.nothing
    return state.tape.read(np.concatenate([s for s, _ in closes]), np.concatenate([m for _, m in closes]))
