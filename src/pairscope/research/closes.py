"""Many symbols' closes on one clock: which bars a market has, and which symbols have (nearly) all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.errors import InputError, NotEnoughData
from pairscope.market.bars import TIMEFRAMES
from pairscope.market.ticks import B1, F8, I8

__all__ = ["FEWEST", "HOLES", "LOST", "Closes", "aligned", "closes_of", "iso", "lengthened"]

HOLES: Final = 0.01
"""Share of the bars looked at that a symbol may lack."""

LOST: Final = 0.10
"""Share of the bars looked at that the holes of all the symbols together may cost."""

FEWEST: Final = 30
"""Common bars below which a test says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Closes:
    """Closes as a table: a row a bar by its open time, a column a symbol, NaN where a symbol has no bar.

    ``excluded`` are symbols that were left out, with the reason; ``asked`` is how many bars were looked at; ``lacking``
    are, by symbol, the open times of bars of which trades are missing, where that is known.
    """

    times_ns: I8
    symbols: tuple[str, ...]
    prices: F8
    excluded: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    asked: int = 0
    lacking: Mapping[str, I8] = field(default_factory=lambda: MappingProxyType({}))

    def __len__(self) -> int:
        """Return how many bars there are."""
        return int(self.times_ns.size)

    def lacking_bars(self) -> dict[str, int]:
        """Return, of the symbols that are there, how many of the bars that are there lack trades; none that lacks 0."""
        counts = {
            name: int(np.isin(self.lacking[name], self.times_ns).sum()) for name in self.symbols if name in self.lacking
        }
        return {name: count for name, count in counts.items() if count}

    def only(self, symbols: Sequence[str]) -> Closes:
        """Return some of the symbols; ``KeyError`` names one that is not there."""
        place = {name: i for i, name in enumerate(self.symbols)}
        return replace(self, symbols=tuple(symbols), prices=self.prices[:, [place[name] for name in symbols]])


def closes_of(symbols: Sequence[str], times_ns: Sequence[I8], closes: Sequence[F8]) -> Closes:
    """Return the table of symbols' bars, each an array of open times and one of closes. O(n log n).

    >>> table = closes_of(["A", "B"], [np.array([0, 60]), np.array([60])], [np.array([1.0, 2.0]), np.array([7.0])])
    >>> table.prices.tolist()
    [[1.0, nan], [2.0, 7.0]]
    """
    clock: I8 = np.unique(np.concatenate([np.empty(0, np.int64), *times_ns]))
    prices = np.full((clock.size, len(symbols)), np.nan)
    for i, (times, values) in enumerate(zip(times_ns, closes, strict=True)):
        prices[np.searchsorted(clock, times), i] = values
    return Closes(clock, tuple(symbols), prices)


def lengthened(closes: Closes, timeframe: str) -> Closes:
    """Return the closes of longer bars: of each the last close in it; one that has not ended is left out. O(T N).

    The table's own bars are as long as the least time between two of them. ``InputError`` where there is no such
    timeframe, or it is not a whole number of those.

    >>> table = closes_of(["A"], [np.arange(0, 300, 60) * 1_000_000_000], [np.arange(5.0)])
    >>> lengthened(table, "3m").prices.tolist()
    [[2.0]]
    """
    length = TIMEFRAMES.get(timeframe)
    if length is None:
        raise InputError(f"there is no timeframe {timeframe!r}", loc="timeframe", hint=f"one of {' '.join(TIMEFRAMES)}")
    if len(closes) < 2:
        return closes
    own = int(np.diff(closes.times_ns).min())
    if own == length:
        return closes
    if length % own:
        raise InputError(
            f"{timeframe} bars cannot be made of bars that are {own / 1e9:g} s apart",
            loc="timeframe",
            hint="choose a multiple of that",
        )
    slot = closes.times_ns // length
    opens, first = np.unique(slot, return_index=True)
    row = np.where(np.isfinite(closes.prices), np.arange(len(closes))[:, None], -1)
    last: NDArray[np.int64] = np.maximum.reduceat(row, first, axis=0)
    prices = np.where(last >= 0, np.take_along_axis(closes.prices, np.maximum(last, 0), axis=0), np.nan)
    ended = (opens + 1) * length <= closes.times_ns[-1] + own
    return replace(closes, times_ns=opens[ended] * length, prices=prices[ended])


def aligned(closes: Closes, lookback: int) -> Closes:
    """Return the closes that can be tested together: no NaN, and who was left out, and why. O(T N).

    The market's bars are the times at which more than half of the symbols have one; the last ``lookback`` of them are
    looked at. A symbol that lacks more than 1 % of these is left out. Of the rest only the bars count that all have: a
    price that is repeated in a hole would be one nobody traded at. So that the holes of many do not cost everybody's
    bars, symbols are taken in from the fullest on, and one whose holes would bring the loss above 10 % is left out too.
    ``NotEnoughData`` where fewer than two symbols or 30 bars remain.

    >>> times = np.arange(40) * 60_000_000_000
    >>> late = np.where(times < times[30], np.nan, 1.0)
    >>> table = Closes(times, ("A", "B", "LATE"), np.column_stack([np.ones(40), np.ones(40), late]))
    >>> (kept := aligned(table, 1440)).symbols, dict(kept.excluded)
    (('A', 'B'), {'LATE': 'begins only at 1970-01-01T00:30:00.000Z'})
    """
    have = np.isfinite(closes.prices)
    rows = np.flatnonzero(2 * have.sum(axis=1) > len(closes.symbols))[-lookback:]
    have = have[rows]
    times = closes.times_ns[rows]
    lacking: NDArray[np.int64] = rows.size - have.sum(axis=0)
    reasons: dict[str, str] = {}
    lost = np.zeros(rows.size, np.bool_)
    kept = []
    for i in np.argsort(lacking, kind="stable"):
        together = lost | ~have[:, i]
        name = closes.symbols[int(i)]
        if lacking[i] > HOLES * rows.size or lacking[i] == rows.size:
            reasons[name] = _hole(have[:, i], times)
        elif together.sum() > LOST * rows.size:
            reasons[name] = (
                f"lacks {lacking[i]:,} of the last {rows.size:,} bars, which would leave the others fewer than "
                f"{1.0 - LOST:.0%} of theirs"
            )
        else:
            lost = together
            kept.append(int(i))
    kept.sort()
    if len(kept) < 2:
        raise _too_few(f"{len(kept)} of {len(closes.symbols)} symbols have nearly all the bars", reasons)
    if rows.size - int(lost.sum()) < FEWEST:
        raise _too_few(f"{len(kept)} symbols have {rows.size - int(lost.sum())} bars in common", {})
    chosen = rows[~lost]
    return Closes(
        closes.times_ns[chosen],
        tuple(closes.symbols[i] for i in kept),
        np.ascontiguousarray(closes.prices[chosen][:, kept]),
        MappingProxyType({**closes.excluded, **{name: reasons[name] for name in closes.symbols if name in reasons}}),
        rows.size,
        closes.lacking,
    )


def iso(ns: int) -> str:
    """Return a time as people read it.

    >>> iso(1_748_964_660_000_000_000)
    '2025-06-03T15:31:00.000Z'
    """
    moment = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns // 1_000_000 % 1000:03d}Z"


def _hole(have: B1, times: I8) -> str:
    """Say what a symbol lacks."""
    there = np.flatnonzero(have)
    if not there.size:
        return f"has none of the last {have.size:,} bars"
    first, last = int(there[0]), int(there[-1])
    if there.size == last - first + 1:
        if last == have.size - 1:
            return f"begins only at {iso(int(times[first]))}"
        if first == 0:
            return f"ends at {iso(int(times[last]))}"
    return f"lacks {have.size - there.size:,} of the last {have.size:,} bars"


def _too_few(what: str, reasons: Mapping[str, str]) -> NotEnoughData:
    """Say what is missing for a screen, with the first reasons."""
    error = NotEnoughData("a screen", need=2, have=0)
    why = "; ".join(f"{name} {reason}" for name, reason in [*reasons.items()][:3])
    error.args = (f"{what}; a screen needs two symbols with {FEWEST} bars{f' ({why})' if why else ''}",)
    error.hint = "try a longer timeframe, a shorter lookback or other symbols"
    return error
