"""Which streams go over which connection, in its address or by message, within what the exchange allows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from pairscope.errors import SubscriptionRefused
from pairscope.feed.wire import TradeStream

__all__ = ["ROUTES", "ConnectionPlan", "plan_connections", "stream_name", "subscribe_frames"]

ROUTES: Final[Mapping[TradeStream, str]] = {"aggTrade": "market", "trade": "public"}
"""The route of each stream. A stream that is asked on another one is agreed to and stays silent for ever."""

MAX_STREAMS: Final = 1024
MAX_NAMES_A_FRAME: Final = 200
MAX_FRAME_BYTES: Final = 4000
MAX_URL_BYTES: Final = 4000
SUBSCRIBE_EVERY_S: Final = 0.25
"""Pause between two messages to the exchange, which bears 10 a second and has been seen to bear only 5."""

_LOWER: Final = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True, slots=True)
class ConnectionPlan:
    """One connection: its address with as many streams as fit into it, and the messages that ask for the rest."""

    url: str
    streams: tuple[str, ...]
    subscribe: tuple[bytes, ...] = ()


def stream_name(symbol: str, stream: TradeStream = "aggTrade") -> str:
    """Return the name of a symbol's stream: only the letters A to Z become small.

    >>> stream_name("BTCUSDT"), stream_name("币安人生USDT", "trade")
    ('btcusdt@aggTrade', '币安人生usdt@trade')
    """
    return f"{symbol.translate(_LOWER)}@{stream}"


def plan_connections(
    ws_url: str, symbols: Sequence[str], *, stream: TradeStream = "aggTrade", streams_per_connection: int = MAX_STREAMS
) -> list[ConnectionPlan]:
    """Spread the streams of symbols over as few connections as the cap allows, in the order given.

    >>> plan_connections("wss://host", ["BTCUSDT"])[0].url
    'wss://host/market/stream?streams=btcusdt@aggTrade'
    """
    if not 1 <= streams_per_connection <= MAX_STREAMS:
        raise SubscriptionRefused(
            f"{streams_per_connection} streams a connection: the exchange takes 1 to {MAX_STREAMS}"
        )
    base = f"{ws_url.rstrip('/')}/{ROUTES[stream]}/stream?streams="
    names = [stream_name(symbol, stream) for symbol in symbols]
    plans = []
    for start in range(0, len(names), streams_per_connection):
        share = names[start : start + streams_per_connection]
        url, taken = base, 0
        for name in share:
            longer = f"{url}{'/' if taken else ''}{quote(name, safe='@')}"
            if taken and len(longer) > MAX_URL_BYTES:
                break
            url, taken = longer, taken + 1
        plans.append(ConnectionPlan(url, tuple(share), tuple(subscribe_frames(share[taken:]))))
    return plans


def subscribe_frames(names: Sequence[str], *, first_request: int = 1) -> list[bytes]:
    """Return the SUBSCRIBE messages for streams, each within the allowed number of names and bytes."""
    frames: list[bytes] = []
    batch: list[str] = []
    size = 0
    for name in names:
        cost = len(name.encode()) + 3
        if batch and (len(batch) == MAX_NAMES_A_FRAME or size + cost > MAX_FRAME_BYTES - 64):
            frames.append(_subscribe(batch, first_request + len(frames)))
            batch, size = [], 0
        batch.append(name)
        size += cost
    if batch:
        frames.append(_subscribe(batch, first_request + len(frames)))
    return frames


def _subscribe(names: Sequence[str], request: int) -> bytes:
    message = {"method": "SUBSCRIBE", "params": list(names), "id": request}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
