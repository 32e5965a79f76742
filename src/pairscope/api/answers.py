"""How tables leave: JSON or Arrow by ``Accept``, and with an ETag where the range is closed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pairscope import schemas
from pairscope.api.bars import BarPage
from pairscope.market.bars import Origin
from pairscope.market.ticks import TickBatch
from pairscope.ports import Services

__all__ = ["ARROW", "GZIP_FROM", "Packing", "bars_answer", "ticks_answer"]

ARROW = "application/vnd.apache.arrow.stream"
GZIP_FROM = 1024
"""Bodies of at least so many bytes are packed for who accepts gzip; the strong ETag of a packed one says so."""

_PACKED = "-gzip"
_RECENT_S, _SETTLED_S = 5, 3600
_MS = 1_000_000
_SETTLED_NS = 48 * 3600 * 1_000_000_000
"""The exchange repairs no hole that is older, so what lies further back changes by uploads only."""


class Packing(GZipMiddleware):
    """Packs big answers for who accepts gzip, and costs the small hot ones nothing."""

    _SMALL = ("/api/price/", "/api/health")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(self._SMALL):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def bars_answer(request: Request, services: Services, symbol: str, page: BarPage, *, end_ns: int) -> Response:
    """Return a page of bars."""

    def as_arrow() -> bytes:
        bars = page.bars
        columns = {
            "timestamp": bars.ts_open_ns // _MS,
            **{name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume", "trades", "vwap")},
            "quote_volume": bars.quote_volume,
            "buy_volume": bars.buy_volume,
            "closed": page.closed,
            "origin": [Origin(value).name.lower() for value in bars.origin.tolist()],
        }
        return _arrow(columns, {"symbol": symbol, "timeframe": bars.timeframe, "next": page.next_cursor or ""})

    def as_json() -> bytes:
        return schemas.encode_bars(symbol, page.bars, closed=page.closed, next_cursor=page.next_cursor)

    closed = bool(page.closed.all())
    return _answer(
        request, services, as_json, as_arrow, page.next_cursor, end_ns if closed and len(page.bars) else None
    )


def ticks_answer(
    request: Request, services: Services, symbol: str, ticks: TickBatch, *, next_cursor: str | None, end_ns: int
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

    return _answer(request, services, as_json, as_arrow, next_cursor, end_ns if len(ticks) else None)


def _answer(
    request: Request,
    services: Services,
    as_json: Callable[[], bytes],
    as_arrow: Callable[[], bytes],
    next_cursor: str | None,
    end_ns: int | None,
) -> Response:
    """Encode what is asked for; a range that the watermark has passed may be kept, and asked for again by its ETag.

    For a few seconds only: history and repairs may still change it. One without rows may yet be filled, and is not.
    """
    arrow = ARROW in request.headers.get("accept", "")
    body = as_arrow() if arrow else as_json()
    headers = {"Vary": "Accept"}
    if next_cursor is not None:
        headers["X-Next-Cursor"] = next_cursor
    watermark_ns = services.live.watermark_ns()
    if end_ns is None or end_ns > watermark_ns:
        headers["Cache-Control"] = "no-store"
        return Response(body, 200, headers, ARROW if arrow else "application/json")
    settled = end_ns <= watermark_ns - _SETTLED_NS
    headers["Cache-Control"] = f"private, max-age={_SETTLED_S if settled else _RECENT_S}"
    digest = hashlib.blake2b(body, digest_size=12).hexdigest()
    packed = len(body) >= GZIP_FROM and "gzip" in request.headers.get("accept-encoding", "")
    headers["ETag"] = f'"{digest}{_PACKED if packed else ""}"'
    if _matches(digest, request.headers.get("if-none-match", "")):
        return Response(None, 304, headers)
    return Response(body, 200, headers, ARROW if arrow else "application/json")


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
