"""How bars that others made come into the rings: the exchange's history, bars that the store rebuilt or kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pairscope.engine.live_state import MINUTE_NS, LiveState
from pairscope.engine.ring import BarRing
from pairscope.errors import InputError
from pairscope.market.bar_cells import Cells
from pairscope.market.bars import BarBatch, Origin, cells_from_bars
from pairscope.market.ticks import B1

__all__ = ["place_history", "place_rebuilt", "place_stored"]

Wins = Callable[[LiveState, BarBatch, Cells, Cells], B1]
"""Which bars (given as columns and as cells) replace the cells of the same time that are there."""


def place_history(state: LiveState, bars: BarBatch) -> BarBatch:
    """Take the exchange's one-minute bars where own ones are absent or partial; return those that were taken."""
    if bars.timeframe != "1m":
        raise InputError("bars: history must be one-minute bars", loc="bars")
    taken = _place(state, state.minutes, state.own_bars(bars), _history_wins)
    state.stale.update(np.unique(taken.symbol_id).tolist())
    return taken


def place_rebuilt(state: LiveState, bars: BarBatch) -> tuple[BarBatch, ...]:
    """Take base bars that the store rebuilt; return every closed bar that changed by it, one batch a timeframe."""
    if bars.timeframe not in {"1s", "1m"}:
        raise InputError("bars: the store rebuilds base bars", loc="bars")
    ring = state.ring_of(bars.timeframe)
    taken = _place(state, ring, state.own_bars(bars), _rebuilt_wins)
    closed = taken.take(taken.ts_open_ns + ring.step_ns <= state.watermark_ns)
    if not len(closed):
        return ()
    if ring is state.minutes:
        state.stale.update(np.unique(closed.symbol_id).tolist())
    return (closed, *ring.closed_around(closed.symbol_id, closed.ts_open_ns // ring.step_ns, state.watermark_ns))


def place_stored(state: LiveState, bars: BarBatch) -> None:
    """Take base bars as a store kept them; own ones that are still open come from their ticks."""
    ring = state.ring_of(bars.timeframe)
    mine = state.own_bars(bars)
    closed = mine.ts_open_ns + ring.step_ns <= state.watermark_ns
    _place(state, ring, mine.take(closed | (mine.origin != Origin.OWN)), _always_wins)


def _place(state: LiveState, ring: BarRing, bars: BarBatch, wins: Wins) -> BarBatch:
    """Put bars into a ring where ``wins`` says so and nothing newer lies; return those that were put there."""
    index = bars.ts_open_ns // ring.step_ns
    cells, there = cells_from_bars(bars), ring.at(bars.symbol_id, index)
    good = (index >= ring.oldest(state.watermark_ns)) & (there["ordinal"] <= cells["ordinal"])
    good &= (there["ordinal"] != cells["ordinal"]) | wins(state, bars, cells, there)
    order = np.flatnonzero(good)
    order = order[np.argsort(index[order], kind="stable")]
    taken = bars.take(order)
    foreign = (cells["origin"] != Origin.OWN) & (there["ordinal"] == cells["ordinal"])
    counted = there["trades"] if wins is _history_wins else np.maximum(there["trades"], cells["trades"])
    cells["trades"] = np.where(foreign, counted, cells["trades"])  # those that are stored, whoever's the bar
    ring.put(taken.symbol_id, index[order], cells[order])
    if ring is state.minutes:
        state.day_at[taken.symbol_id] = -1
        begun = state.watermark_ns > 0
        state.tape.write(taken.take(taken.ts_open_ns + MINUTE_NS <= state.watermark_ns) if begun else taken)
    return taken


def _history_wins(state: LiveState, bars: BarBatch, cells: Cells, there: Cells) -> B1:
    """An exchange bar wins over one that is not own, and over an own one not later than the symbol's first tick's.

    Volumes that are equal prove that the own bar is whole.
    """
    first_ns = state.last["first_ns"][bars.symbol_id]
    partial = (first_ns >= 0) & (bars.ts_open_ns // MINUTE_NS <= first_ns // MINUTE_NS)
    partial &= bars.volume != there["lots"] / 10.0 ** there["lots_decimals"]
    answer: B1 = (there["origin"] != Origin.OWN) | partial
    return answer


def _rebuilt_wins(state: LiveState, bars: BarBatch, cells: Cells, there: Cells) -> B1:
    """A rebuilt bar wins over another's, and over an own one that it is not behind: own bars only ever grow."""
    level = cells["trades"] == there["trades"]
    ahead = (cells["trades"] > there["trades"]) | (level & (cells["revision"] > there["revision"]))
    answer: B1 = (there["origin"] != Origin.OWN) | (cells["origin"] != Origin.OWN) | ahead
    return answer


def _always_wins(state: LiveState, bars: BarBatch, cells: Cells, there: Cells) -> NDArray[np.bool_]:
    """A stored bar is taken as it is: the engine has only begun."""
    return np.ones(len(bars), np.bool_)
