"""A client's conversation with the exchange: routes, stream names, subscriptions and their replies; sans-I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

__all__ = ["Close", "Limits", "Route", "Session", "parse_target", "route_of"]

Route = Literal["market", "public", "private"]

_MARKET = {
    "aggTrade", "ticker", "miniTicker", "markPrice", "forceOrder", "compositeIndex", "contractInfo", "assetIndex",
    "tradingSession",
}  # fmt: skip
_PUBLIC = {"trade", "bookTicker", "rpiDepth"}
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the exchange puts up with on one connection. Times in seconds."""

    streams: int = 1024
    messages_per_s: int = 10
    message_bytes: int = 4096
    ping_every_s: float = 180.0
    pong_within_s: float = 600.0
    life_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Close:
    """The connection ends with this code and reason."""

    code: int
    reason: str


def route_of(stream: str) -> Route | None:
    """Return the route that delivers a stream; None for a name of no known kind.

    >>> route_of("btcusdt@aggTrade"), route_of("!ticker@arr"), route_of("btcusdt@trade"), route_of("BTCUSDT")
    ('market', 'market', 'public', None)
    """
    kind = stream[1:].partition("@")[0] if stream.startswith("!") else stream.partition("@")[2]
    kind = kind.partition("@")[0]
    if kind in _MARKET or kind.startswith(("kline_", "continuousKline_")):
        return "market"
    return "public" if kind in _PUBLIC or kind.startswith("depth") else None


def parse_target(target: str) -> tuple[Route, bool, list[str]] | None:
    """Return route, framing and streams of a WebSocket's address; None where there is no such endpoint.

    The unrouted ``/ws`` and ``/stream`` take everything and deliver what is public. A segment that is no stream's name
    (as some clients append) is tolerated.

    >>> parse_target("/market/stream?streams=btcusdt@aggTrade/ethusdt@aggTrade")
    ('market', True, ['btcusdt@aggTrade', 'ethusdt@aggTrade'])
    >>> parse_target("/ws/btcusdt@trade")
    ('public', False, ['btcusdt@trade'])
    """
    parts = urlsplit(target)
    segments = [unquote(part) for part in parts.path.split("/") if part]
    route: Route = "public"
    if segments and segments[0] in {"market", "public", "private"}:
        route = segments.pop(0)  # type: ignore[assignment]
    if not segments or segments[0] not in {"ws", "stream"}:
        return None
    named = segments[1:]
    for value in parse_qs(parts.query).get("streams", []):
        named += value.split("/")
    return route, segments[0] == "stream", [name for name in named if "@" in name or name.startswith("!")]


class Session:
    """What one connection is subscribed to, and how it answers.

    ``streams`` keeps the order of subscription; ``version`` grows whenever it or ``combined`` changes.
    """

    def __init__(self, route: Route, *, combined: bool, streams: list[str], limits: Limits) -> None:
        self.route = route
        self.combined = combined
        self.streams = dict.fromkeys(streams)
        self.version = 0
        self._limits = limits
        self._times: deque[float] = deque()

    def wanted(self) -> list[str]:
        """Return the subscribed streams that this route delivers."""
        return [stream for stream in self.streams if route_of(stream) == self.route]

    def overfull(self) -> bool:
        """Return whether more streams are subscribed than allowed."""
        return len(self.streams) > self._limits.streams

    def count_message(self, now_s: float) -> Close | None:
        """Count one incoming message, ping or pong; too many within a second end the connection."""
        times = self._times
        while times and now_s - times[0] >= 1.0:
            times.popleft()
        times.append(now_s)
        return Close(1008, "Too many requests") if len(times) > self._limits.messages_per_s else None

    def receive(self, message: bytes) -> list[bytes | Close]:
        """Return the replies to a text message."""
        if len(message) > self._limits.message_bytes:
            return [Close(3001, "illegal request")]
        try:
            request = msgspec.json.decode(message)
        except msgspec.DecodeError:
            return [_error(3, "Invalid JSON: expected value at line 1 column 1", None)]
        if not isinstance(request, dict):
            return [_error(2, "Invalid request: expected an object", None)]
        number = request.get("id")
        if number is not None and (isinstance(number, bool) or not isinstance(number, int | str)):
            return [_error(2, "Invalid request: request ID must be an unsigned integer", None)]
        if isinstance(number, int) and number < 0:
            return [_error(2, "Invalid request: request ID must be an unsigned integer", None)]
        return self._answer(request, number)

    def _answer(self, request: dict[str, Any], number: int | str | None) -> list[bytes | Close]:
        method, params = request.get("method"), request.get("params", [])
        if method is None:
            return [_error(2, "Invalid request: missing field `method` at line 1 column 1", number)]
        if method not in _METHODS:
            return [
                _error(2, f"Invalid request: unknown variant `{method}`, expected one of {', '.join(_METHODS)}", number)
            ]
        if not isinstance(params, list):
            return [_error(2, "Invalid request: params must be an array", number)]
        if method == "LIST_SUBSCRIPTIONS":
            return [_result(list(self.streams), number)]
        if method in {"SET_PROPERTY", "GET_PROPERTY"}:
            return [self._property(method, params, number)]
        if not params or not all(isinstance(name, str) for name in params):
            return [_error(2, "Invalid request: stream names must be strings", number)]
        self.version += 1
        if method == "UNSUBSCRIBE":
            for name in params:
                self.streams.pop(name, None)
            return [_result(None, number)]
        self.streams.update(dict.fromkeys(params))
        if self.overfull():
            body = {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": number}
            return [msgspec.json.encode(body), Close(1008, "Too many subscriptions")]
        return [_result(None, number)]

    def _property(self, method: str, params: list[Any], number: int | str | None) -> bytes:
        if not params or not isinstance(params[0], str):
            return _error(2, "Invalid request: property name must be a string", number)
        if len(params) > (2 if method == "SET_PROPERTY" else 1):
            return _error(2, "Invalid request: too many parameters", number)
        if params[0] != "combined":
            return _error(0, "Unknown property", number)
        if method == "GET_PROPERTY":
            return _result(self.combined, number)
        if len(params) < 2 or not isinstance(params[1], bool):
            return _error(1, "Invalid value type: expected Boolean", number)
        self.combined = params[1]
        self.version += 1
        return _result(None, number)


def _result(result: Any, number: int | str | None) -> bytes:
    """Return a reply, never wrapped in a stream."""
    return msgspec.json.encode({"result": result, "id": number})


def _error(code: int, text: str, number: int | str | None) -> bytes:
    """Return an error in the documented flat shape."""
    body: dict[str, Any] = {"code": code, "msg": text}
    if number is not None:
        body["id"] = number
    return msgspec.json.encode(body)
