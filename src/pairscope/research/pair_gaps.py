"""What a backtest says of bars that lack trades: which they are, of which leg, and which of its own trades met them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from pairscope.analytics.trades import Trades
from pairscope.market.ticks import B1
from pairscope.research.pair_bars import PairBars

__all__ = ["gap_head", "gap_words", "touched_trades"]

_MS: Final = 1_000_000
_MOST: Final = 1_000
"""Times of bars that a document names of each leg."""


def gap_head(bars: PairBars) -> dict[str, Any]:
    """Return what a document says of bars that lack trades: nothing where none do, or where it is not known.

    Else ``gap`` and, by leg, how many they are and the times of the first thousand.
    """
    lacking = {leg: flags for leg, flags in _legs(bars).items() if flags.any()}
    if not lacking:
        return {}
    legs = {
        leg: {"bars": int(flags.sum()), "timestamps": (bars.times_ns[flags][:_MOST] // _MS).tolist()}
        for leg, flags in lacking.items()
    }
    return {"gap": True, "gap_bars": legs}


def gap_words(head: Mapping[str, Any], y: str, x: str) -> str:
    """Return in words what ``gap_head`` says; empty where it says nothing.

    >>> gap_words({"gap": True, "gap_bars": {"y": {"bars": 2}, "x": {"bars": 1}}}, "ETHUSDT", "BTCUSDT")
    '2 bars of ETHUSDT and 1 of BTCUSDT lack trades, and nothing has filled the holes'
    """
    legs = head.get("gap_bars") or {}
    parts = [(legs[leg]["bars"], name) for leg, name in (("y", y), ("x", x)) if leg in legs]
    if not parts:
        return ""
    (count, name), *others = parts
    told = f"{count:,} bar{'' if count == 1 else 's'} of {name}"
    told += "".join(f" and {n:,} of {other}" for n, other in others)
    lacks = "lacks" if count == 1 and not others else "lack"
    return f"{told} {lacks} trades, and nothing has filled the holes"


def touched_trades(bars: PairBars, first: int, trades: Trades) -> B1:
    """Return which trades met a bar that lacks some, from the bar that decided them to the one that closed them.

    ``bars`` are the bars used, the trades' bars are counted from row ``first`` of them on. O(bars + trades).
    """
    flags = np.zeros(len(bars), np.bool_)
    for lacking in _legs(bars).values():
        flags |= lacking
    until = np.concatenate([[0], np.cumsum(flags)])
    begin = np.clip(first + trades["entry_decided"].astype(np.int64), 0, len(bars))
    end = np.clip(first + trades["exit_bar"].astype(np.int64) + 1, 0, len(bars))
    met: B1 = until[end] > until[begin]
    return met


def _legs(bars: PairBars) -> dict[str, B1]:
    """Return which bars lack trades, by leg, where it is known."""
    return {leg: flags for leg, flags in (("y", bars.gap_y), ("x", bars.gap_x)) if flags is not None}
