"""Ticks, bars and documents exactly as they are stored, packed for a second process that verifies them."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pairscope.errors import ApiRefused
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

__all__ = [
    "framed",
    "pack_bars",
    "pack_document",
    "pack_ticks",
    "unframed",
    "unpack_bars",
    "unpack_document",
    "unpack_ticks",
]

_TICKS: Final = {
    "symbol_id": "<i4", "ts_event_ns": "<i8", "ts_recv_ns": "<i8", "trade_id": "<i8", "price": "<f8", "size": "<f8",
    "buyer_is_maker": "|b1",
}  # fmt: skip
_BARS: Final = {
    "symbol_id": "<i4", "ts_open_ns": "<i8", "open": "<f8", "high": "<f8", "low": "<f8", "close": "<f8",
    "volume": "<f8", "quote_volume": "<f8", "buy_volume": "<f8", "trades": "<i8", "first_id": "<i8",
    "last_id": "<i8", "revision": "<i4", "origin": "|i1",
}  # fmt: skip
_HEAD: Final = struct.Struct("<Q")


class _Table(msgspec.Struct, frozen=True, array_like=True):
    symbols: list[str]
    timeframe: str
    columns: dict[str, bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode_table = msgspec.msgpack.Decoder(_Table).decode
_decode_document = msgspec.msgpack.Decoder(tuple[str, bytes]).decode


def framed(document: bytes) -> bytes:
    """Return a document behind its length.

    >>> framed(b"ab")[8:]
    b'ab'
    """
    return _HEAD.pack(len(document)) + document


async def unframed(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the framed documents of a stream, however it is cut; ``ApiRefused`` where it ends within one."""
    held = bytearray()
    async for piece in pieces:
        held += piece
        while len(held) >= _HEAD.size:
            (size,) = _HEAD.unpack_from(held)
            end = _HEAD.size + size
            if len(held) < end:
                break
            yield bytes(held[_HEAD.size : end])
            del held[:end]
    if held:
        raise ApiRefused("the running Pairscope ended its answer early", http_status=502)


def pack_ticks(batch: TickBatch) -> bytes:
    """Return ticks with all that is stored of them, and the names that their symbols have."""
    return _encode(_Table(list(batch.symbols), "", _packed(batch, _TICKS)))


def unpack_ticks(document: bytes, symbols: Symbols) -> TickBatch:
    """Return ticks under a table of symbols, which grows by the names that it lacks."""
    table = _decode_table(document)
    columns = _columns(table, _TICKS, symbols)
    return TickBatch(symbols, **columns, watermark_ns=0)


def pack_bars(bars: BarBatch) -> bytes:
    """Return bars with all that is stored of them."""
    return _encode(_Table(list(bars.symbols), bars.timeframe, _packed(bars, _BARS)))


def unpack_bars(document: bytes, symbols: Symbols) -> BarBatch:
    """Return bars under a table of symbols, which grows by the names that it lacks."""
    table = _decode_table(document)
    return replace(BarBatch.empty(symbols, table.timeframe), **_columns(table, _BARS, symbols))


def pack_document(key: str, document: bytes) -> bytes:
    """Return a record with its key.

    >>> unpack_document(pack_document("a", b"b"))
    ('a', b'b')
    """
    return _encode((key, document))


def unpack_document(packed: bytes) -> tuple[str, bytes]:
    """Return a record with its key."""
    return _decode_document(packed)


def _packed(batch: Any, kinds: dict[str, str]) -> dict[str, bytes]:
    return {name: np.ascontiguousarray(getattr(batch, name)).astype(kind).tobytes() for name, kind in kinds.items()}


def _columns(table: _Table, kinds: dict[str, str], symbols: Symbols) -> dict[str, Any]:
    columns: dict[str, NDArray[Any]] = {
        name: np.frombuffer(table.columns[name], kind).copy() for name, kind in kinds.items()
    }
    ids = np.array([symbols.id_of(name) for name in table.symbols], np.int32)
    if columns["symbol_id"].size:
        columns["symbol_id"] = ids[columns["symbol_id"]]
    return columns
