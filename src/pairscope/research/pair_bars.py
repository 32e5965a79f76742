"""The bars that a backtest trades: both legs on one clock, with the funding that fell due in each bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np

from pairscope.errors import InputError
from pairscope.market.align import common_bars
from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.market.ticks import B1, F8, I8

__all__ = ["FundingRate", "LegBars", "LegTicks", "PairBars", "pair_bars", "pair_bars_from_closes"]


class FundingRate(NamedTuple):
    """What the exchange charged for holding a symbol through an instant: the long pays a positive rate to the short."""

    symbol: str
    time_ms: int
    rate: float


@dataclass(frozen=True, slots=True, eq=False)
class LegBars:
    """One leg's bars; where closes alone are known, ``open``, ``high`` and ``low`` are the close, ``volume`` NaN."""

    open: F8
    high: F8
    low: F8
    close: F8
    volume: F8

    def take(self, rows: slice) -> LegBars:
        """Return some of the bars."""
        return LegBars(*(getattr(self, field.name)[rows] for field in fields(self)))


class LegTicks(NamedTuple):
    """One leg's recorded trades, by time: what orders are filled from where a latency is asked for."""

    times_ns: I8
    prices: F8


@dataclass(frozen=True, slots=True, eq=False)
class PairBars:
    """Both legs' bars of one timeframe, row by row of the same open time ``times_ns``, which ascends.

    ``funding_y`` and ``funding_x`` are rates a bar, None where none are known. ``step_y`` and ``step_x`` are the
    exchange's quantity steps. ``whole`` is False where only closes are known. ``open_gaps`` counts holes in the
    recorded trades within the range; ``gap_y`` and ``gap_x`` say which bars lack trades by them, None where that is not
    known. ``source`` says whose bars these are. ``ticks_y`` and ``ticks_x`` are the trades of the range and somewhat
    beyond, where they were read.
    """

    times_ns: I8
    timeframe: str
    y: LegBars
    x: LegBars
    funding_y: F8 | None = None
    funding_x: F8 | None = None
    step_y: float | None = None
    step_x: float | None = None
    source: str = ""
    open_gaps: int = 0
    whole: bool = True
    ticks_y: LegTicks | None = None
    ticks_x: LegTicks | None = None
    gap_y: B1 | None = None
    gap_x: B1 | None = None

    def __len__(self) -> int:
        """Return how many bars there are."""
        return int(self.times_ns.size)

    def take(self, rows: slice) -> PairBars:
        """Return some of the bars."""
        return replace(
            self,
            times_ns=self.times_ns[rows],
            y=self.y.take(rows),
            x=self.x.take(rows),
            funding_y=None if self.funding_y is None else self.funding_y[rows],
            funding_x=None if self.funding_x is None else self.funding_x[rows],
            gap_y=None if self.gap_y is None else self.gap_y[rows],
            gap_x=None if self.gap_x is None else self.gap_x[rows],
        )


def pair_bars(
    bars_y: BarBatch,
    bars_x: BarBatch,
    *,
    funding: Sequence[tuple[str, int, float]] | None = None,
    step_y: float | None = None,
    step_x: float | None = None,
    source: str = "",
    open_gaps: int = 0,
) -> PairBars:
    """Return the bars that both legs have, each batch one symbol's of one timeframe, by time. O(n log n).

    ``funding`` is a list of (symbol, time in ms, rate), of any symbols: a rate is put on the bar in which its time
    lies, or, where a leg has none there, on the next one. ``InputError`` where timeframes differ.
    """
    both = common_bars(bars_y, bars_x)
    y, x = (LegBars(part.open, part.high, part.low, part.close, part.volume) for part in both)
    times = both[0].ts_open_ns
    names = [batch.symbols[int(batch.symbol_id[0])] if len(batch) else "" for batch in (bars_y, bars_x)]
    return PairBars(
        times,
        bars_y.timeframe,
        y,
        x,
        *_funding_of_both(funding, names, times, bars_y.timeframe),
        step_y=step_y,
        step_x=step_x,
        source=source,
        open_gaps=open_gaps,
    )


def pair_bars_from_closes(
    times_ns: I8,
    close_y: F8,
    close_x: F8,
    *,
    timeframe: str,
    y: str = "",
    x: str = "",
    funding: Sequence[tuple[str, int, float]] | None = None,
    step_y: float | None = None,
    step_x: float | None = None,
    source: str = "",
) -> PairBars:
    """Return the bars of two columns of closes on one clock; rows where either is NaN are left out. O(n).

    >>> times = np.arange(3) * 60_000_000_000
    >>> made = pair_bars_from_closes(times, np.array([1.0, np.nan, 3.0]), np.ones(3), timeframe="1m")
    >>> len(made), made.y.close.tolist()
    (2, [1.0, 3.0])
    """
    there = np.isfinite(close_y) & np.isfinite(close_x)
    times = times_ns[there]
    leg_y, leg_x = (
        LegBars(close, close, close, close, np.full(close.size, np.nan)) for close in (close_y[there], close_x[there])
    )
    return PairBars(
        times,
        timeframe,
        leg_y,
        leg_x,
        *_funding_of_both(funding, [y, x], times, timeframe),
        step_y=step_y,
        step_x=step_x,
        source=source,
        whole=False,
    )


def _funding_of_both(
    funding: Sequence[tuple[str, int, float]] | None, names: Sequence[str], times: I8, timeframe: str
) -> tuple[F8 | None, F8 | None]:
    """Return each leg's rates a bar; None where nothing is known of it."""
    if not funding:
        return None, None
    length = timeframe_ns(timeframe)
    legs = []
    for name in names:
        due = [(time_ms * 1_000_000, rate) for symbol, time_ms, rate in funding if symbol == name]
        rates = np.zeros(times.size)
        for time_ns, rate in due:
            if not np.isfinite(rate) or abs(rate) > 1.0:
                raise InputError(f"funding: {rate} of {name} is no rate", loc="funding")
            row = int(np.searchsorted(times, time_ns, side="right")) - 1
            if row < 0 or time_ns >= times[row] + length:
                # No bar of its own: the next one, unless it came before all bars or after them.
                row = row + 1 if row >= 0 else times.size
            if row < times.size:
                rates[row] += rate
        legs.append(rates if due else None)
    return legs[0], legs[1]
