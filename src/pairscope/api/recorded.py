"""What is stored, exactly as it is stored: how ``pairscope verify`` reads a store that this process holds.

Not part of the documented API: the packing is that of one version, for a command beside the instance.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final, Literal

from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from pairscope import schemas
from pairscope.api.parameters import MAX_NS, Timeframe
from pairscope.errors import InputError
from pairscope.market.bars import BASE_TIMEFRAMES
from pairscope.ports import Services
from pairscope.schemas.recorded import framed, pack_bars, pack_document, pack_ticks

__all__ = ["add_recorded"]

_PACKED: Final = "application/octet-stream"
_MOST_BARS: Final = 1_000_000
_FOREVER: Final = 1 << 62

Ns = Annotated[int, Field(ge=0, le=_FOREVER)]


class _Range(BaseModel):
    """A range in ns, and a symbol where one is meant."""

    model_config = ConfigDict(extra="forbid")

    start_ns: Ns = 0
    end_ns: Ns = MAX_NS
    symbol: str | None = Field(None, max_length=40)


class _Ticks(_Range):
    by: Literal["event", "received"] = "event"


class _Bars(_Range):
    timeframe: Timeframe = "1m"


def add_recorded(app: FastAPI, services: Services) -> None:
    """Add the routes that verification reads."""
    store = services.store

    @app.get("/api/recorded", include_in_schema=False)
    async def summary() -> Response:
        """Up to when, and of which symbols, something is stored."""
        found = [
            {"symbol": s.symbol, "tick_count": s.tick_count, "first_ns": s.first_ns, "last_ns": s.last_ns}
            for s in await store.symbols()
        ]
        body = schemas.plain_json({"watermark_ns": services.live.watermark_ns(), "symbols": found})
        return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")

    @app.get("/api/recorded/ticks", include_in_schema=False)
    async def ticks(query: Annotated[_Ticks, Query()]) -> Response:
        """Of one symbol, or of all by event or receive time."""

        async def parts() -> AsyncIterator[bytes]:
            if query.symbol is not None:
                found = await store.ticks(query.symbol, query.start_ns, query.end_ns, limit=_FOREVER)
                yield framed(pack_ticks(found))
                return
            batches = (
                store.ticks_received(query.start_ns, query.end_ns)
                if query.by == "received"
                else store.ticks_since(query.start_ns)
            )
            async for batch in batches:
                if query.by == "event" and len(batch) and int(batch.ts_event_ns.min()) >= query.end_ns:
                    return
                yield framed(pack_ticks(batch))

        return StreamingResponse(parts(), media_type=_PACKED)

    @app.get("/api/recorded/bars", include_in_schema=False)
    async def bars(query: Annotated[_Bars, Query()]) -> Response:
        """Of one symbol, or the base bars of all."""
        if query.symbol is not None:
            found = await store.bars(query.symbol, query.timeframe, query.start_ns, query.end_ns, limit=_MOST_BARS)
        elif query.timeframe in BASE_TIMEFRAMES:
            found = await store.base_bars(query.timeframe, query.start_ns, query.end_ns)
        else:
            raise InputError(f"bars of all symbols are of {' or '.join(BASE_TIMEFRAMES)}", loc="timeframe")
        return Response(framed(pack_bars(found)), media_type=_PACKED)

    @app.get("/api/recorded/documents", include_in_schema=False)
    async def documents(
        collection: Literal["journal", "paper", "paper_events", "alert_firings"],
        after: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:
        """Records of a collection by key."""

        async def parts() -> AsyncIterator[bytes]:
            async for key, document in services.records.scan(collection, after):
                yield framed(pack_document(key, document))

        return StreamingResponse(parts(), media_type=_PACKED)
