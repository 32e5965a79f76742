"""Bars: their columns, their timeframes, and how bars become longer bars."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pairscope.market.symbols import Symbols
from pairscope.market.ticks import F8, I4, I8

__all__ = ["BASE_TIMEFRAMES", "TIMEFRAMES", "BarBatch", "Origin", "timeframe_ns"]

_S = 1_000_000_000
TIMEFRAMES: MappingProxyType[str, int] = MappingProxyType(
    {
        "1s": _S,
        "5s": 5 * _S,
        "15s": 15 * _S,
        "1m": 60 * _S,
        "3m": 180 * _S,
        "5m": 300 * _S,
        "15m": 900 * _S,
        "30m": 1800 * _S,
        "1h": 3600 * _S,
        "4h": 14400 * _S,
        "1d": 86400 * _S,
    }
)
"""Every timeframe with its length in nanoseconds; a bar opens at a multiple of it since the epoch, UTC."""

BASE_TIMEFRAMES = ("1s", "1m")
"""What a store keeps: 5s and 15s follow from 1s, everything longer from 1m."""


class Origin(IntEnum):
    """Whose bar it is. A bar of own ticks replaces the exchange's or an uploaded one, never the other way round."""

    OWN = 0
    EXCHANGE = 1
    UPLOAD = 2


def timeframe_ns(timeframe: str) -> int:
    """Return the length of a timeframe in nanoseconds; ``KeyError`` where there is no such timeframe.

    >>> timeframe_ns("1m")
    60000000000
    """
    return TIMEFRAMES[timeframe]


@dataclass(frozen=True, slots=True, eq=False)
class BarBatch:
    """Bars of one timeframe as columns, in the order stated by whoever made them.

    A bar is named by ``ts_open_ns`` and covers [ts_open_ns, ts_open_ns + timeframe). ``open`` is the price of its
    lowest trade id, ``close`` of its highest, whatever the order of arrival. ``volume``, ``buy_volume`` (aggressor
    bought) in base units and ``quote_volume`` in quote units are exact decimal sums, rounded once to float64.
    ``first_id`` and ``last_id`` are -1 where the bar is not made of own ticks. ``revision`` counts how often a closed
    bar was corrected. ``origin`` holds values of :class:`Origin`.
    """

    symbols: Symbols
    timeframe: str
    symbol_id: I4
    ts_open_ns: I8
    open: F8
    high: F8
    low: F8
    close: F8
    volume: F8
    quote_volume: F8
    buy_volume: F8
    trades: I8
    first_id: I8
    last_id: I8
    revision: I4
    origin: NDArray[np.int8]

    def __len__(self) -> int:
        return int(self.symbol_id.size)

    @property
    def vwap(self) -> F8:
        """Volume-weighted average price; NaN where nothing was traded."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.volume > 0, self.quote_volume / self.volume, np.nan)
