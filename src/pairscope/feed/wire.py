"""Exchange messages to columns, without a socket: frames in, a ``TickBatch`` out, and a count of all that was left out.

The other direction is in :mod:`pairscope.feed.wire_encode`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import repeat
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta, Struct

from pairscope.errors import MalformedFrame
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

__all__ = [
    "REJECTS",
    "AggTradeRow",
    "Decoder",
    "Frame",
    "Reply",
    "Shutdown",
    "Signal",
    "TradeStream",
    "agg_trades_batch",
    "decode_agg_trades",
]

Frame: TypeAlias = bytes | bytearray | memoryview
TradeStream = Literal["aggTrade", "trade"]

REJECTS: Final = (
    "malformed",
    "not_finite",
    "out_of_range",
    "not_positive",
    "off_book",
    "coin_margined",
    "not_followed",
    "time_apart",
)
"""Why a frame of the followed stream brought no tick."""

LARGEST: Final = 1e12
"""No price and no size of this market comes near it; beyond it exact volumes would no longer fit."""
TIME_APART_MS: Final = 60_000
"""How far the event time of a message may lie from the time of its trade."""

_Id = Annotated[int, Meta(ge=0, lt=1 << 62)]
_Ms = Annotated[int, Meta(ge=0, lt=9_000_000_000_000)]


@dataclass(frozen=True, slots=True)
class Reply:
    """The exchange's answer to a control message; ``code`` is 0 where it agrees."""

    request: int | str | None
    result: Any = None
    code: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The server is about to close: connect again at once."""


Signal: TypeAlias = Reply | Shutdown


class _AggTrade(Struct, tag_field="e", tag="aggTrade", gc=False):
    E: _Ms
    s: str
    a: _Id
    p: float
    q: float
    l: _Id  # noqa: E741 - the exchange's name
    T: _Ms
    m: bool
    st: int = 1


class _Trade(Struct, tag_field="e", tag="trade", gc=False, rename={"a": "t"}):
    E: _Ms
    s: str
    a: _Id
    p: float
    q: float
    T: _Ms
    m: bool
    X: str = "MARKET"
    st: int = 1

    @property
    def l(self) -> int:  # noqa: E743 - the exchange's name
        return self.a


class _CombinedAggTrade(Struct, gc=False):
    data: _AggTrade


class _CombinedTrade(Struct, gc=False):
    data: _Trade


_DECODERS: Final[dict[str, tuple[type[Struct], type[Struct]]]] = {
    "aggTrade": (_CombinedAggTrade, _AggTrade),
    "trade": (_CombinedTrade, _Trade),
}
_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Decoder:
    """Turns the frames of any number of connections into columns, in the order in which they are fed.

    ``follow`` names the symbols to keep (default: those in the table now). A frame that cannot be used is counted in
    ``rejected`` by reason and never raises; what is no trade is counted in ``ignored``. An id whose size or price is
    zero, or that was printed off the book, is void: it goes along in the batch so that its absence makes no hole.
    The other rejects leave a hole, which REST may fill with better numbers. About 1 µs a frame.

    >>> decoder = Decoder(Symbols(["BTCUSDT"]))
    >>> decoder.feed(b'{"e":"aggTrade","E":1700000000100,"s":"BTCUSDT","a":5,"p":"42000.10","q":"0.5","f":1,"l":2,'
    ...              b'"T":1700000000000,"m":true}', 1700000000200000000)
    >>> batch = decoder.take(0)
    >>> batch.trade_id.tolist(), batch.price.tolist(), batch.ts_event_ns.tolist()
    ([5], [42000.1], [1700000000000000000])
    """

    def __init__(
        self, symbols: Symbols, follow: Iterable[str] | None = None, *, stream: TradeStream = "aggTrade"
    ) -> None:
        self.symbols = symbols
        self.frames = 0
        self.ignored = 0
        self.rejected: Counter[str] = Counter()
        combined, bare = _DECODERS[stream]
        self._stream = stream
        self._type: type[Any] = bare
        self._combined: Callable[[Frame], Any] = msgspec.json.Decoder(combined, strict=False).decode
        self._bare: Callable[[Frame], Any] = msgspec.json.Decoder(bare, strict=False).decode
        self._ids: dict[str, int] = {}
        self._last_raw: list[int] = []
        self._void: list[tuple[int, int]] = []
        self.follow(symbols if follow is None else follow)
        self._clear()

    def follow(self, names: Iterable[str]) -> None:
        """Keep the ticks of more symbols."""
        for name in names:
            symbol_id = self.symbols.id_of(name)
            self._ids[self.symbols[symbol_id]] = symbol_id
            self._last_raw += [-1] * (symbol_id + 1 - len(self._last_raw))

    def last_raw_id(self, symbol: str) -> int:
        """Return the newest raw trade id (``l``) seen of a symbol, -1 before the first: what a tail is judged by."""
        symbol_id = self._ids.get(symbol)
        return -1 if symbol_id is None else self._last_raw[symbol_id]

    def __len__(self) -> int:
        return len(self._trade_id)

    def feed(self, frame: Frame, ts_recv_ns: int) -> Signal | None:
        """Take in one frame; return what it asks of its connection, if it is no trade. Never raises."""
        signals = self.feed_all((frame,), ts_recv_ns)
        return signals[0] if signals else None

    def feed_all(self, frames: Sequence[Frame], ts_recv_ns: int) -> list[Signal]:
        """Take in frames that came at one moment; return what they ask of their connection. Never raises.

        One loop for all of them: at a quarter of a million frames a second a call a frame is what costs most.
        """
        self.frames += len(frames)
        combined, id_of, last_raw, trades = self._combined, self._ids.get, self._last_raw, self._stream == "trade"
        put_symbol_id, put_event_ms, put_trade_id = self._put_symbol_id, self._put_ts_event, self._put_trade_id
        put_price, put_size, put_side = self._put_price, self._put_size, self._put_side
        signals: list[Signal] = []
        held = len(self._trade_id)
        for frame in frames:
            try:
                t = combined(frame).data
            except _UNDECODABLE:
                t = self._otherwise(frame)
                if t is None:
                    continue
                if isinstance(t, Reply | Shutdown):
                    signals.append(t)
                    continue
            symbol_id = id_of(t.s)
            if symbol_id is None or t.st == 2:
                self.rejected["not_followed" if symbol_id is None else "coin_margined"] += 1
                continue
            price, size, event_ms, last = t.p, t.q, t.T, t.l
            if not (
                0.0 < price < LARGEST and 0.0 < size < LARGEST and -TIME_APART_MS <= t.E - event_ms <= TIME_APART_MS
            ) or (trades and t.X != "MARKET"):
                self._reject(t, symbol_id)
                continue
            if last > last_raw[symbol_id]:  # noqa: PLR1730 - max() would cost a call a frame
                last_raw[symbol_id] = last
            put_symbol_id(symbol_id)
            put_event_ms(event_ms)
            put_trade_id(t.a)
            put_price(price)
            put_size(size)
            put_side(t.m)
        self._ts_recv_ns.extend(repeat(ts_recv_ns, len(self._trade_id) - held))
        return signals

    def take(self, watermark_ns: int) -> TickBatch:
        """Return what was fed since the last time as one batch, and begin anew. O(ticks), a copy of the columns."""
        batch = TickBatch(
            self.symbols,
            np.array(self._symbol_id, np.int32),
            np.array(self._ts_event_ms, np.int64) * 1_000_000,
            np.array(self._ts_recv_ns, np.int64),
            np.array(self._trade_id, np.int64),
            np.array(self._price, np.float64),
            np.array(self._size, np.float64),
            np.array(self._side, np.bool_),
            watermark_ns,
            tuple(self._void),
        )
        self._clear()
        return batch

    def _clear(self) -> None:
        """Begin new columns; lists, because an ``array`` takes twice as long to append to."""
        self._symbol_id: list[int] = []
        self._ts_event_ms: list[int] = []
        self._ts_recv_ns: list[int] = []
        self._trade_id: list[int] = []
        self._price: list[float] = []
        self._size: list[float] = []
        self._side: list[bool] = []
        self._void.clear()
        self._put_symbol_id = self._symbol_id.append
        self._put_ts_event = self._ts_event_ms.append
        self._put_trade_id = self._trade_id.append
        self._put_price = self._price.append
        self._put_size = self._size.append
        self._put_side = self._side.append

    def _reject(self, t: Any, symbol_id: int) -> None:
        """Count a well-formed trade that must not be used, and keep its id where it stands for no trade."""
        reason = "off_book" if getattr(t, "X", "MARKET") != "MARKET" else _unusable(t.p, t.q)
        if reason in {"off_book", "not_positive"}:
            self._void.append((symbol_id, t.a))
            self._last_raw[symbol_id] = max(self._last_raw[symbol_id], t.l)
        self.rejected[reason or "time_apart"] += 1

    def _otherwise(self, frame: Frame) -> Any:
        """Read a frame that is no combined trade: a bare one, a signal, nothing of use."""
        try:
            return self._bare(frame)
        except _UNDECODABLE:
            return self._examine(frame)

    def _examine(self, frame: Frame) -> Any:
        """Find out what a frame is that was no plain trade: a signal, nothing of use, or a trade after all."""
        try:
            message = msgspec.json.decode(frame)
        except _UNDECODABLE:
            self.rejected["malformed"] += 1
            return None
        if isinstance(message, dict) and isinstance(message.get("data"), dict | list):
            message = message["data"]
        if not isinstance(message, dict):
            self.ignored += 1
            return None
        inner = message.get("event")
        kind = message.get("e", inner.get("e") if isinstance(inner, dict) else None)
        if kind == "serverShutdown":
            return Shutdown()
        if kind == self._stream:
            try:
                return msgspec.convert(message, self._type, strict=False)
            except msgspec.ValidationError:
                self.rejected["malformed"] += 1
        elif kind is None:
            signal = _reply(message)
            if signal is not None:
                return signal
            self.ignored += 1
        else:
            self.ignored += 1
        return None


def _unusable(price: float, size: float) -> str:
    """Name what is wrong with a price and size; empty where nothing is."""
    if not (np.isfinite(price) and np.isfinite(size)):
        return "not_finite"
    if price <= 0 or size <= 0:
        return "not_positive"
    return "out_of_range" if price >= LARGEST or size >= LARGEST else ""


def _reply(message: dict[str, Any]) -> Reply | None:
    """Read a control message's answer in each shape that was seen; None where it is none."""
    request = message.get("id")
    if not isinstance(request, int | str):
        request = None
    error = message.get("error", message if "code" in message else None)
    if isinstance(error, dict):
        code = error.get("code")
        text = str(error.get("msg", ""))
        return Reply(request, code=code if isinstance(code, int) and code else -1, message=text)
    return Reply(request, message.get("result")) if "result" in message else None


class AggTradeRow(Struct, frozen=True, gc=False):
    """One aggregate trade as REST gives it: id, price, size, newest raw trade id, time in ms, buyer is maker."""

    a: _Id
    p: float
    q: float
    l: _Id  # noqa: E741 - the exchange's name
    T: _Ms
    m: bool


_rest_page: Callable[[bytes], list[AggTradeRow]] = msgspec.json.Decoder(list[AggTradeRow], strict=False).decode
_rest_rows: Callable[[bytes], list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw], strict=False).decode
_rest_row: Callable[[msgspec.Raw], AggTradeRow] = msgspec.json.Decoder(AggTradeRow, strict=False).decode


def decode_agg_trades(body: bytes) -> list[AggTradeRow]:
    """Read a page of ``/fapi/v1/aggTrades``, leaving out rows that are broken.

    Raises ``MalformedFrame`` where the body is no such page.
    """
    try:
        return _rest_page(body)
    except _UNDECODABLE:
        pass  # one row of it is broken, or all is: the slower way tells which
    try:
        raw = _rest_rows(body)
    except _UNDECODABLE as error:
        raise MalformedFrame(f"no page of aggregate trades: {error}") from error
    found = []
    for row in raw:
        with suppress(*_UNDECODABLE):
            found.append(_rest_row(row))
    return found


def agg_trades_batch(rows: Sequence[AggTradeRow], symbols: Symbols, symbol: str, ts_recv_ns: int) -> TickBatch:
    """Turn rows of REST into the columns of the stream, without a watermark.

    A row that cannot be used is void: the exchange itself has no better numbers for its id.
    """
    symbol_id = symbols.id_of(symbol)
    good = [row for row in rows if not _unusable(row.p, row.q)]
    return TickBatch(
        symbols,
        np.full(len(good), symbol_id, np.int32),
        np.array([row.T for row in good], np.int64) * 1_000_000,
        np.full(len(good), ts_recv_ns, np.int64),
        np.array([row.a for row in good], np.int64),
        np.array([row.p for row in good], np.float64),
        np.array([row.q for row in good], np.float64),
        np.array([row.m for row in good], np.bool_),
        0,
        tuple((symbol_id, row.a) for row in rows if _unusable(row.p, row.q)),
    )
