"""What crosses HTTP and WebSocket: the documents that OpenAPI shows, and the encoders that write the same as bytes.

REST handlers and the publisher of the stream use the same encoders, so that both say the same.
"""

from __future__ import annotations

from pairscope.schemas.documents import (
    Bar,
    Bars,
    Check,
    GapOut,
    Health,
    HourVolume,
    IndicatorSeries,
    Price,
    Problem,
    ProblemItem,
    Stats,
    SymbolOut,
    Tick,
    Ticks,
    TimeOfDay,
    Volume,
    VolumeBin,
    WsTicket,
)
from pairscope.schemas.encoders import (
    encode_bar,
    encode_bars,
    encode_indicator_update,
    encode_indicators,
    encode_price,
    encode_price_update,
    encode_ticks,
    number,
    plain_json,
)
from pairscope.schemas.pairs import LivePair, WatchedPair, WatchlistOut, encode_pair, encode_watched

__all__ = [
    "Bar",
    "Bars",
    "Check",
    "GapOut",
    "Health",
    "HourVolume",
    "IndicatorSeries",
    "LivePair",
    "Price",
    "Problem",
    "ProblemItem",
    "Stats",
    "SymbolOut",
    "Tick",
    "Ticks",
    "TimeOfDay",
    "Volume",
    "VolumeBin",
    "WatchedPair",
    "WatchlistOut",
    "WsTicket",
    "encode_bar",
    "encode_bars",
    "encode_indicator_update",
    "encode_indicators",
    "encode_pair",
    "encode_price",
    "encode_price_update",
    "encode_ticks",
    "encode_watched",
    "number",
    "plain_json",
]
