"""How tables leave: JSON or Arrow by ``Accept``, and with an ETag where the range is closed."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pairscope import schemas
from pairscope.api.bars import BarPage
from pairscope.market.bars import Origin
from pairscope.market.ticks import B1, TickBatch

__all__ = ["ARROW", "GZIP_FROM", "GZIP_LEVEL", "Kept", "Packing", "bars_answer", "ticks_answer"]

ARROW = "application/vnd.apache.arrow.stream"
GZIP_FROM = 1024
"""Bodies of at least so many bytes are packed for who accepts gzip; the strong ETag of a packed one says so."""

GZIP_LEVEL = 2
_PACKED = "-gzip"
_MANY = 1000
_MS = 1_000_000
_SETTLED_NS = 48 * 3600 * 1_000_000_000
"""The exchange repairs no hole that is older."""


class Kept(Enum):
    """How long an answer may be kept by who asked, as a ``Cache-Control`` header."""

    NOT = "no-store"
    MOMENTS = "private, max-age=5"
    """The range is over; history and repairs may still change it."""
    HOUR = "private, max-age=3600"
    """Older than what the exchange repairs: it changes by uploads only."""

    @classmethod
    def of(cls, end_ns: int, complete_ns: int) -> Kept:
        """Return how long a range may be kept that was read when everything up to ``complete_ns`` was there."""
        if end_ns > complete_ns:
            return cls.NOT
        return cls.HOUR if end_ns <= complete_ns - _SETTLED_NS else cls.MOMENTS


class Packing(GZipMiddleware):
    """Packs big answers for who accepts gzip, leaves files as they are, and costs the small hot ones nothing."""

    _AS_THEY_ARE = ("/api/price/", "/api/health", "/api/export/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(self._AS_THEY_ARE):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)


async def bars_answer(request: Request, symbol: str, page: BarPage, *, gaps: B1, kept: Kept) -> Response:
    """Return a page of bars; ``gaps`` says which of them lack trades, a column where any do."""

    def as_arrow() -> bytes:
        bars = page.bars
        columns = {
            "timestamp": bars.ts_open_ns // _MS,
            **{name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume", "trades", "vwap")},
            "quote_volume": np.where(bars.untold, np.nan, bars.quote_volume),
            "buy_volume": np.where(bars.untold, np.nan, bars.buy_volume),
            "closed": page.closed,
            "origin": [Origin(value).name.lower() for value in bars.origin.tolist()],
            **({"gap": gaps} if gaps.any() else {}),
        }
        return _arrow(columns, {"symbol": symbol, "timeframe": bars.timeframe, "next": page.next_cursor or ""})

    def as_json() -> bytes:
        return schemas.encode_bars(symbol, page.bars, closed=page.closed, next_cursor=page.next_cursor, gaps=gaps)

    kept = kept if page.closed.all() else Kept.NOT
    return await _answer(request, as_json, as_arrow, len(page.bars), page.next_cursor, kept)


async def ticks_answer(
    request: Request, symbol: str, ticks: TickBatch, *, next_cursor: str | None, kept: Kept
) -> Response:
    """Return a page of ticks."""

    def as_arrow() -> bytes:
        columns = {
            "id": ticks.trade_id,
            "timestamp": ticks.ts_event_ns // _MS,
            "price": ticks.price,
            "size": ticks.size,
            "buyer_is_maker": ticks.buyer_is_maker,
        }
        return _arrow(columns, {"symbol": symbol, "next": next_cursor or ""})

    def as_json() -> bytes:
        return schemas.encode_ticks(symbol, ticks, next_cursor=next_cursor)

    return await _answer(request, as_json, as_arrow, len(ticks), next_cursor, kept)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A body as it will be sent, with the digest of what it says."""

    body: bytes
    packed: bool
    digest: str


async def _answer(
    request: Request,
    as_json: Callable[[], bytes],
    as_arrow: Callable[[], bytes],
    rows: int,
    next_cursor: str | None,
    kept: Kept,
) -> Response:
    """Encode what is asked for; what may be kept has an ETag. One without rows may yet be filled, and may not be kept.

    Many rows are encoded and packed in a thread: nobody else waits for them.
    """
    arrow = ARROW in request.headers.get("accept", "")
    accepts_gzip = "gzip" in request.headers.get("accept-encoding", "")

    def encode() -> _Encoded:
        body = as_arrow() if arrow else as_json()
        digest = "" if kept is Kept.NOT else hashlib.blake2b(body, digest_size=12).hexdigest()
        packed = accepts_gzip and len(body) >= GZIP_FROM
        return _Encoded(gzip.compress(body, GZIP_LEVEL, mtime=0) if packed else body, packed, digest)

    encoded = await asyncio.to_thread(encode) if rows > _MANY else encode()
    headers = {"Vary": "Accept, Accept-Encoding", "Cache-Control": kept.value}
    if next_cursor is not None:
        headers["X-Next-Cursor"] = next_cursor
    if kept is not Kept.NOT and rows:
        headers["ETag"] = f'"{encoded.digest}{_PACKED if encoded.packed else ""}"'
        if _matches(encoded.digest, request.headers.get("if-none-match", "")):
            return Response(None, 304, headers)
    elif not rows:
        headers["Cache-Control"] = Kept.NOT.value
    if encoded.packed:
        headers["Content-Encoding"] = "gzip"
    return Response(encoded.body, 200, headers, ARROW if arrow else "application/json")


def _matches(digest: str, asked: str) -> bool:
    """Compare weakly, as If-None-Match wants it: packed or not, it is the same table."""
    candidates = (part.strip().removeprefix("W/").strip('"').removesuffix(_PACKED) for part in asked.split(","))
    return any(part in {"*", digest} for part in candidates)


def _arrow(columns: Mapping[str, np.ndarray | Sequence[str]], metadata: dict[str, str]) -> bytes:
    """Write columns as an Arrow IPC stream; times as UTC timestamps in ms, NaN as null."""
    import pyarrow as pa

    kinds = {"timestamp": pa.timestamp("ms", tz="UTC"), "origin": pa.string()}
    arrays = {name: pa.array(column, kinds.get(name), from_pandas=True) for name, column in columns.items()}
    table = pa.table(arrays).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
