"""Columns to what the exchange sends: aggTrade frames by the thousand, and the rows of its REST answers; sans-I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairscope.feed.agg_trades import AggTrades, Klines, Listing, decimal_text
from pairscope.market.kernel import kernel
from pairscope.market.ticks import I4, I8

__all__ = ["AggTradeEncoder", "agg_trade_rows", "kline_payload", "kline_rows", "stream_symbol", "text_frame", "wrap"]

U1 = NDArray[np.uint8]

_AFTER_ID = (b',"p":"', b'","q":"', b'","nq":"', b'","f":', b',"l":', b',"T":', b',"m":true', b',"m":false', b',"st":1')
_PARTS = np.frombuffer(bytearray(b"".join(_AFTER_ID)), np.uint8)
_ENDS = np.cumsum([0] + [len(part) for part in _AFTER_ID])


def stream_symbol(symbol: str) -> str:
    """Return a symbol as it is written in a stream's name: lower case, nothing else changed.

    >>> stream_symbol("币安人生USDT")
    '币安人生usdt'
    """
    return symbol.lower()


def wrap(stream: str, payload: bytes) -> bytes:
    """Return a payload as a combined connection carries it."""
    return b'{"stream":"' + stream.encode() + b'","data":' + payload + b"}"


def text_frame(payload: bytes) -> bytes:
    """Return a whole WebSocket text frame, as a server sends it (RFC 6455: not masked).

    >>> text_frame(b"{}").hex()
    '81027b7d'
    """
    n = len(payload)
    if n < 126:
        return bytes((0x81, n)) + payload
    if n < 65_536:
        return b"\x81\x7e" + n.to_bytes(2, "big") + payload
    return b"\x81\x7f" + n.to_bytes(8, "big") + payload


@kernel
def _copy(source: U1, start: int, end: int, out: U1, at: int) -> int:  # pragma: no cover - compiled
    """Append bytes."""
    for i in range(start, end):
        out[at] = source[i]
        at += 1
    return at


@kernel
def _digits(value: int, decimals: int, out: U1, at: int) -> int:  # pragma: no cover - compiled
    """Append a non-negative integer count of 10**-decimals in decimal notation."""
    width = 1
    rest = value // 10
    while rest > 0:
        width += 1
        rest //= 10
    width = max(width, decimals + 1)
    end = at + width + (1 if decimals > 0 else 0)
    i = end - 1
    for k in range(width):
        if k == decimals and decimals > 0:
            out[i] = 46
            i -= 1
        out[i] = 48 + value % 10
        value //= 10
        i -= 1
    return end


@kernel
def _frames(
    rows: I8,
    symbol_id: I4,
    event_ms: I8,
    trade_ms: I8,
    agg_id: I8,
    first_id: I8,
    last_id: I8,
    price: I8,
    size: I8,
    net_size: I8,
    maker: NDArray[np.bool_],
    decimals: I8,
    heads: U1,
    head_ends: I8,
    parts: U1,
    ends: I8,
    combined: int,
    stamped: int,
    out: U1,
    offsets: I8,
) -> None:  # pragma: no cover - compiled
    """Write one WebSocket text frame a row; ``heads`` holds, twice a symbol, what stands before and after ``E``."""
    at = whole = rows.size - rows.size  # 0, and not a literal: each literal argument would be compiled for itself
    for k in range(rows.size):
        i = rows[k]
        s = symbol_id[i]
        offsets[k] = at
        begin = at + 4
        at = _copy(heads, head_ends[2 * s], head_ends[2 * s + 1], out, begin)
        at = _digits(event_ms[i], whole, out, at)
        at = _copy(heads, head_ends[2 * s + 1], head_ends[2 * s + 2], out, at)
        at = _digits(agg_id[i], whole, out, at)
        at = _copy(parts, ends[0], ends[1], out, at)
        at = _digits(price[i], decimals[s, 0], out, at)
        at = _copy(parts, ends[1], ends[2], out, at)
        at = _digits(size[i], decimals[s, 1], out, at)
        if net_size[i] >= 0:
            at = _copy(parts, ends[2], ends[3], out, at)
            at = _digits(net_size[i], decimals[s, 1], out, at)
        at = _copy(parts, ends[3], ends[4], out, at)
        at = _digits(first_id[i], whole, out, at)
        at = _copy(parts, ends[4], ends[5], out, at)
        at = _digits(last_id[i], whole, out, at)
        at = _copy(parts, ends[5], ends[6], out, at)
        at = _digits(trade_ms[i], whole, out, at)
        at = _copy(parts, ends[6], ends[7], out, at) if maker[i] else _copy(parts, ends[7], ends[8], out, at)
        if stamped:
            at = _copy(parts, ends[8], ends[9], out, at)
        for _ in range(2 if combined else 1):
            out[at] = 125
            at += 1
        n = at - begin
        out[begin - 4] = 0x81
        if n < 126:
            out[begin - 3] = n
            at = _copy(out, begin, at, out, begin - 2)
        else:
            out[begin - 3] = 126
            out[begin - 2] = n >> 8
            out[begin - 1] = n & 255
    offsets[rows.size] = at


class AggTradeEncoder:
    """Writes aggTrade frames for the listed symbols, combined or raw, WebSocket header included; about 100 ns each.

    ``stamped`` adds ``st`` (1: USD-M), which recordings from before the merge of both futures markets do not have.
    """

    def __init__(self, listings: Sequence[Listing], *, stamped: bool) -> None:
        self._stamped = stamped
        self._decimals = np.array([[x.price_decimals, x.size_decimals] for x in listings], np.int64).reshape(-1, 2)
        self._heads = tuple(self._heads_of(listings, combined=combined) for combined in (False, True))
        longest = max((len(x.symbol.encode()) for x in listings), default=0)
        self._most = 4 + 2 * longest + sum(len(part) for part in _AFTER_ID) + 2 * 64 + 8 * 24

    @staticmethod
    def _heads_of(listings: Sequence[Listing], *, combined: bool) -> tuple[U1, I8]:
        """Return what stands before and after the event time, for every symbol, with the ends of each piece."""
        pieces = []
        for listing in listings:
            stream = stream_symbol(listing.symbol) + "@aggTrade"
            head = '{"e":"aggTrade","E":'
            pieces.append((f'{{"stream":"{stream}","data":{head}' if combined else head).encode())
            pieces.append(f',"s":"{listing.symbol}","a":'.encode())
        return np.frombuffer(bytearray(b"".join(pieces)), np.uint8), np.cumsum([0] + [len(piece) for piece in pieces])

    def frames(self, trades: AggTrades, rows: I8, *, combined: bool) -> tuple[U1, I8]:
        """Return the frames of the given rows, one after the other, and where each begins (with the end, last)."""
        heads, ends = self._heads[combined]
        out = np.empty(rows.size * self._most, np.uint8)
        offsets = np.empty(rows.size + 1, np.int64)
        _frames(
            rows,
            trades.symbol_id,
            trades.event_ms,
            trades.trade_ms,
            trades.agg_id,
            trades.first_id,
            trades.last_id,
            trades.price,
            trades.size,
            trades.net_size,
            trades.buyer_is_maker,
            self._decimals,
            heads,
            ends,
            _PARTS,
            _ENDS,
            int(combined),
            int(self._stamped),
            out,
            offsets,
        )
        return out[: offsets[-1]], offsets


def agg_trade_rows(trades: AggTrades, listing: Listing) -> list[dict[str, Any]]:
    """Return the rows of ``GET /fapi/v1/aggTrades``."""
    price_decimals, size_decimals = listing.price_decimals, listing.size_decimals
    rows = []
    for agg_id, price, size, net, first, last, t, maker in zip(
        trades.agg_id.tolist(),
        trades.price.tolist(),
        trades.size.tolist(),
        trades.net_size.tolist(),
        trades.first_id.tolist(),
        trades.last_id.tolist(),
        trades.trade_ms.tolist(),
        trades.buyer_is_maker.tolist(),
        strict=True,
    ):
        row = {"a": agg_id, "p": decimal_text(price, price_decimals), "q": decimal_text(size, size_decimals)}
        if net >= 0:
            row["nq"] = decimal_text(net, size_decimals)
        rows.append(row | {"f": first, "l": last, "T": t, "m": maker})
    return rows


def kline_rows(klines: Klines, listing: Listing, step_ms: int) -> list[list[Any]]:
    """Return the rows of ``GET /fapi/v1/klines``, twelve values each."""
    p, q = listing.price_decimals, listing.size_decimals
    return [
        [
            row[0],
            decimal_text(row[1], p),
            decimal_text(row[2], p),
            decimal_text(row[3], p),
            decimal_text(row[4], p),
            decimal_text(row[5], q),
            row[0] + step_ms - 1,
            decimal_text(row[6], p + q),
            row[9],
            decimal_text(row[7], q),
            decimal_text(row[8], p + q),
            "0",
        ]
        for row in klines.table().tolist()
    ]


def kline_payload(
    klines: Klines, i: int, listing: Listing, *, interval: str, step_ms: int, event_ms: int, closed: bool
) -> dict[str, Any]:
    """Return the ``kline`` event of one kline."""
    p, q = listing.price_decimals, listing.size_decimals
    open_ms, first, high, low, last, volume, quote, bought, paid, n, f, last_id = klines.table()[i].tolist()
    return {
        "e": "kline",
        "E": event_ms,
        "s": listing.symbol,
        "k": {
            "t": open_ms,
            "T": open_ms + step_ms - 1,
            "s": listing.symbol,
            "i": interval,
            "f": f,
            "L": last_id,
            "o": decimal_text(first, p),
            "c": decimal_text(last, p),
            "h": decimal_text(high, p),
            "l": decimal_text(low, p),
            "v": decimal_text(volume, q),
            "n": n,
            "x": closed,
            "q": decimal_text(quote, p + q),
            "V": decimal_text(bought, q),
            "Q": decimal_text(paid, p + q),
            "B": "0",
        },
    }
