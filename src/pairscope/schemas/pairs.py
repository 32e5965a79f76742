"""Live pairs as they cross HTTP and WebSocket: documents for OpenAPI, and the encoder that stream and list share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from pairscope.schemas.encoders import number

__all__ = ["LivePair", "WatchedPair", "WatchlistOut", "encode_pair", "encode_watched"]


class _Part(BaseModel):
    """A part of a document; fields may be added, never taken away."""

    model_config = ConfigDict(extra="allow")


class LiveHedge(_Part):
    """A hedge ratio by one method; null where it cannot be computed."""

    alpha: float | None
    beta: float | None
    stderr: float | None = Field(description="Of beta.")
    reason: str | None = Field(None, description="Why there is none.")


class LiveHuber(LiveHedge):
    """Huber's, computed every ten seconds unless it makes the spread."""

    timestamp: int | None = Field(description="Open time of the newest bar in it, ms.")


class LiveOls(LiveHedge):
    """Least squares over the lookback."""

    r_squared: float | None


class LiveKalman(LiveHedge):
    """A Kalman filter over the bars since its anchor."""

    since: int | None = Field(description="Open time of its first bar, ms.")
    n: int = Field(description="Bars that it has seen.")


class LiveHedges(_Part):
    """The hedge ratio by each method."""

    ols: LiveOls
    huber: LiveHuber
    kalman: LiveKalman


class LiveSpread(_Part):
    """The spread under the hedge ratio of the pair's method, over the window."""

    method: Literal["ols", "huber", "kalman"]
    last: float | None
    mean: float | None
    std: float | None
    zscore: float | None


class LiveCorrelation(_Part):
    """Correlation of returns over the window."""

    rolling: float | None
    window: int


class LivePrices(_Part):
    """The prices that the figures were computed with last."""

    y: float | None
    x: float | None


class LiveAges(_Part):
    """How long ago each leg was traded, ms."""

    y: int | None
    x: int | None


class LiveSentinel(_Part):
    """Whether the spread still reverts as it did in training."""

    status: Literal["training", "ok", "warning", "broken", "no verdict"]
    statistic: float | None
    threshold: float | None
    warn_threshold: float | None = None
    since: int | None = Field(description="Since when it watches, ms.")
    tripped: int | None = Field(None, description="Open time of the bar at which it found the pair broken, ms.")
    n: int = Field(0, description="Bars that it has watched.")
    reason: str | None = None


class PairFields(_Part):
    """How a pair is computed."""

    y: str
    x: str
    timeframe: str
    lookback: int = Field(description="Bars that a hedge ratio is fitted on.")
    window: int = Field(description="Bars of z-score and correlation.")
    method: Literal["ols", "huber", "kalman"] = Field(description="Whose hedge ratio makes the spread.")
    price_space: Literal["log", "linear"]
    entry: float
    exit: float


class LivePair(PairFields):
    """What a pair says now."""

    timestamp: int | None = Field(description="Open time of the newest bar in it, ms.")
    closed: bool = Field(description="false: as if the open bar closed now.")
    n: int = Field(description="Bars in common that the hedge ratio is fitted on.")
    hedge_ratio: LiveHedges
    spread: LiveSpread
    correlation: LiveCorrelation
    prices: LivePrices
    ages_ms: LiveAges
    age_ms: int | None = Field(description="Of the leg that was traded longer ago.")
    stale: bool
    stale_leg: Literal["y", "x"] | None
    sentinel: LiveSentinel
    on_watchlist: bool
    reason: str | None = Field(description="What is missing or stale, in words.")


class WatchedPair(PairFields):
    """A pair of the watch-list, and what it says now."""

    live: LivePair | None


class WatchlistOut(_Part):
    """Every pair of the watch-list, by name."""

    pairs: list[WatchedPair]


def encode_pair(view: Mapping[str, Any]) -> bytes:
    """Return a pair's document as JSON: the data of the ``pair`` topic; a number without a value is null.

    >>> encode_pair({"y": "ETHUSDT", "spread": {"zscore": 1e-7}, "n": 3, "reason": None})
    b'{"y":"ETHUSDT","spread":{"zscore":0.0000001},"n":3,"reason":null}'
    """
    return b"{" + b",".join(b'"%b":%b' % (name.encode(), _value(value)) for name, value in view.items()) + b"}"


def encode_watched(settings: Mapping[str, Any], live: Mapping[str, Any] | None) -> bytes:
    """Return an entry of the watch-list as JSON.

    >>> encode_watched({"y": "ETHUSDT", "lookback": 60}, None)
    b'{"y":"ETHUSDT","lookback":60,"live":null}'
    """
    return b'%b,"live":%b}' % (encode_pair(settings)[:-1], b"null" if live is None else encode_pair(live))


def _value(value: Any) -> bytes:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return encode_pair(value)
    return orjson.dumps(value)
