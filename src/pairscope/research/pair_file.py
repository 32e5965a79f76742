"""Both legs of a pair, and the funding of them, out of anyone's own files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import numpy as np

from pairscope.errors import ForeignFile, InputError, NotEnoughData
from pairscope.market.bars import TIMEFRAMES
from pairscope.market.ticks import F8, I8
from pairscope.research.bars_file import read_long_table
from pairscope.research.closes import iso
from pairscope.research.pair_bars import FundingRate, LegBars, PairBars, pair_bars_from_closes

__all__ = ["pair_of_legs", "read_funding_file", "read_pair_file"]

_WHOLE: Final = ("open", "high", "low")
_NAMED: Final = 12


def read_pair_file(
    path: Path, y: str, x: str, *, timeframe: str | None = None, funding: Sequence[FundingRate] | None = None
) -> PairBars:
    """Return the bars that both symbols have in a file as ``read_bars_file`` takes it, named by ``timeframe``.

    ``open``, ``high`` and ``low`` are used where the file has all three, ``volume`` where it has it. Without a
    timeframe the bars are the file's own: those of the longest timeframe not longer than the least time between two of
    them. A longer one is made of them, an open bar at the end left out. ``InputError`` where a symbol is not in the
    file, ``ForeignFile`` where a bar contradicts itself. O(n log n).
    """
    table = read_long_table(path, ("close",), where_there=(*_WHOLE, "volume"))
    legs = []
    for flag, name in (("y", y), ("x", x)):
        if name not in table.symbols:
            close = get_close_matches(name, table.symbols, 3)
            has = ", ".join(close or table.symbols[:_NAMED]) + (" …" if len(table.symbols) > _NAMED or close else "")
            raise InputError(f"{path.name} has no {name}", loc=flag, hint=f"it has {has}")
        rows = table.place == table.symbols.index(name)
        legs.append((table.times_ns[rows], {column: values[rows] for column, values in table.columns.items()}))
    whole = all(name in table.columns for name in _WHOLE)
    if whole:
        for name, (times, columns) in zip((y, x), legs, strict=True):
            _demand_sound(name, times, columns)
    own = _own_step(legs)
    named = timeframe or next(name for name, length in reversed([*TIMEFRAMES.items()]) if length <= max(own, 10**9))
    if timeframe is not None and own != TIMEFRAMES[timeframe]:
        legs = [_lengthened(times, columns, own, timeframe) for times, columns in legs]
    leg_y, leg_x = ((times, _leg(columns)) for times, columns in legs)
    made = pair_of_legs(leg_y, leg_x, timeframe=named, y=y, x=x, funding=funding)
    return replace(made, source=f"file {path.name}", whole=whole)


def pair_of_legs(
    leg_y: tuple[I8, LegBars],
    leg_x: tuple[I8, LegBars],
    *,
    timeframe: str,
    y: str,
    x: str,
    funding: Sequence[FundingRate] | None = None,
) -> PairBars:
    """Return the bars at the times that both legs have, each given by its open times, ascending, and its bars. O(n).

    ``NotEnoughData`` where they have no time in common.
    """
    clock, at_y, at_x = np.intersect1d(leg_y[0], leg_x[0], assume_unique=True, return_indices=True)
    if not clock.size:
        raise NotEnoughData(f"the pair {y}, {x}, whose bars never open at the same time,", need=2, have=0)
    both = [
        LegBars(*(getattr(leg, field.name)[rows] for field in fields(leg)))
        for (_, leg), rows in ((leg_y, at_y), (leg_x, at_x))
    ]
    closes = pair_bars_from_closes(clock, both[0].close, both[1].close, timeframe=timeframe, y=y, x=x, funding=funding)
    return replace(closes, y=both[0], x=both[1], whole=True)


def read_funding_file(path: Path) -> list[FundingRate]:
    """Return the rates of a file with the columns ``timestamp,symbol,rate`` in any order, CSV or Parquet.

    A rate is a share of the position's value (0.0001 is 1 bp), which the long pays to the short at that time.
    ``ForeignFile`` names row and column of what cannot be read. O(n log n).
    """
    try:
        table = read_long_table(path, ("rate",))
    except ForeignFile as error:
        error.loc = "funding"
        raise
    rates = table.columns["rate"]
    wrong = np.flatnonzero(np.abs(rates) > 1.0)
    if wrong.size:
        row = int(wrong[0])
        raise ForeignFile(
            f"{rates[row]:g} of {table.symbols[table.place[row]]} at {iso(int(table.times_ns[row]))} is no rate",
            loc="funding",
            hint="a share of the position's value: 0.0001 is 1 bp",
        )
    names = [table.symbols[place] for place in table.place.tolist()]
    times_ms = (table.times_ns // 1_000_000).tolist()
    return [FundingRate(*row) for row in zip(names, times_ms, rates.tolist(), strict=True)]


def _own_step(legs: Sequence[tuple[I8, dict[str, F8]]]) -> int:
    """Return the least time between two bars of a leg; a minute where no leg has two."""
    return min((int(np.diff(times).min()) for times, _ in legs if times.size > 1), default=TIMEFRAMES["1m"])


def _lengthened(times: I8, columns: dict[str, F8], own: int, timeframe: str) -> tuple[I8, dict[str, F8]]:
    """Return longer bars, of those that have ended."""
    length = TIMEFRAMES[timeframe]
    if length % own:
        raise InputError(
            f"{timeframe} bars cannot be made of bars that are {own / 1e9:g} s apart",
            loc="timeframe",
            hint="choose a multiple of that",
        )
    opens, first = np.unique(times // length, return_index=True)
    last = np.append(first[1:], times.size) - 1
    ended = (opens + 1) * length <= times[-1] + own
    made = {"close": columns["close"][last]}
    if "open" in columns:
        made["open"] = columns["open"][first]
    for name, join in (("high", np.maximum), ("low", np.minimum), ("volume", np.add)):
        if name in columns:
            made[name] = join.reduceat(columns[name], first)
    return opens[ended] * length, {name: values[ended] for name, values in made.items()}


def _demand_sound(name: str, times: I8, columns: dict[str, F8]) -> None:
    """Refuse a bar whose open, high or low is missing, or whose low and high do not hold its open and close."""
    opened, high, low, close = (columns[column] for column in (*_WHOLE, "close"))
    with np.errstate(invalid="ignore"):
        wrong = ~((low <= opened) & (low <= close) & (high >= opened) & (high >= close) & (low > 0.0))
    if wrong.any():
        row = int(np.argmax(wrong))
        values = ", ".join(f"{column} {columns[column][row]:g}" for column in (*_WHOLE, "close"))
        raise ForeignFile(
            f"{name} at {iso(int(times[row]))} is no bar: {values}",
            loc="bars",
            hint="low must be above 0 and hold open and close together with high; leave the three columns out",
        )


def _leg(columns: dict[str, F8]) -> LegBars:
    """Return a leg's bars; of closes alone every price is the close."""
    close = columns["close"]
    whole = all(name in columns for name in _WHOLE)
    volume = columns.get("volume", np.full(close.size, np.nan))
    opened, high, low = (columns[name] if whole else close for name in _WHOLE)
    return LegBars(opened, high, low, close, volume)
