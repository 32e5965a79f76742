"""Prices, bars, ticks: "now" from the cache and the engine, "then" from the store."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any, cast

import orjson
from fastapi import FastAPI, Path, Query, Request
from fastapi.routing import APIRoute
from pydantic import Field
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.answers import ARROW, Kept, bars_answer, ticks_answer
from pairscope.api.bars import fill_page, newest_bars, read_page
from pairscope.api.catalog import Catalog, clean_symbol
from pairscope.api.parameters import MAX_NS, PageQuery, Timeframe, check_range
from pairscope.errors import CacheUnavailable, InputError
from pairscope.gap_flags import gap_flags
from pairscope.market.bars import Origin, timeframe_ns
from pairscope.ports import Services

__all__ = ["SymbolPath", "add_prices", "current_price"]

_MS = 1_000_000
_QUIET_MS = 60_000

SymbolPath = Annotated[str, Path(description="The exchange's name, in any case.")]


class OhlcQuery(PageQuery):
    """A range of bars in pages."""

    timeframe: Timeframe = "1m"
    fill: bool = Field(False, description="true: a slot without a trade repeats the last close, with volume 0.")


async def current_price(services: Services, symbol: str) -> bytes | None:
    """Return the newest price document of a symbol, by the cache, else by the engine; None where neither has one."""
    try:
        cached = await services.cache.get(f"price:{symbol}")
    except CacheUnavailable:
        cached = None
    if cached is not None:
        return cached
    view = services.live.price(symbol)
    return None if view is None else schemas.encode_price(view)


class DirectRoute(APIRoute):
    """A route that FastAPI describes and does no more for.

    Its endpoint takes the path's parameters as they stand and returns a response of its own; to look for what there is
    to validate costs more than a price does.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint itself."""
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            return cast("Response", await endpoint(**request.path_params))

        return handle


def add_prices(app: FastAPI, services: Services, catalog: Catalog) -> None:
    """Add the routes that answer what the market did."""

    async def price(symbol: SymbolPath) -> Response:
        name = clean_symbol(symbol)
        document, source = await current_price(services, name), services.source()
        if document is None:
            name = await catalog.resolve(name)
            document, source = await _stored_price(services, name)
        said = orjson.loads(document)
        at_ms: int | None = said["timestamp"] if said["received"] is None else said["received"]
        age = b"null" if at_ms is None else b"%d" % max(0, services.clock() // _MS - at_ms)
        body = b'%b,"age_ms":%b,"source":%b}' % (document[:-1], age, orjson.dumps(source))
        return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")

    app.router.add_api_route(
        "/api/price/{symbol}",
        price,
        methods=["GET"],
        response_model=schemas.Price,
        summary="The last trade and its day",
        route_class_override=DirectRoute,
    )

    @app.get("/api/symbols", response_model=list[schemas.SymbolOut], summary="Every symbol followed or stored")
    async def symbols() -> Response:
        stored, followed = await catalog.stored(), services.live.symbols()
        uploaded = await catalog.uploaded()
        now_ms = services.clock() // _MS
        rows = []
        for name in sorted({*stored, *followed}):
            summary, view = stored.get(name), services.live.price(name)
            last = max(summary.last_ns // _MS if summary else 0, int(view["timestamp"]) if view else 0)
            quiet = "quiet" if view is None or now_ms - int(view["timestamp"]) > _QUIET_MS else "live"
            rows.append(
                {
                    "symbol": name,
                    "status": quiet if name in followed else "stored",
                    "last_timestamp": last or None,
                    "tick_count": summary.tick_count if summary else 0,
                    "uploaded": name in uploaded,
                }
            )
        return Response(orjson.dumps(rows), media_type="application/json")

    @app.get(
        "/api/ohlc/{symbol}",
        response_model=schemas.Bars,
        responses={200: {"content": {ARROW: {}}}},
        summary="Bars of any timeframe",
    )
    async def ohlc(request: Request, symbol: SymbolPath, query: Annotated[OhlcQuery, Query()]) -> Response:
        """Bars that open in [start, end), oldest first; without a range the newest, the open one included.

        A bar that lacks trades, because a hole in the ids that nothing has filled touches it, has `gap: true`.
        """
        start_ns, end_ns = check_range(query)
        name = await catalog.resolve(symbol)
        kept = Kept.of(end_ns, services.live.watermark_ns())
        limit, cursor = query.limit, query.cursor
        if query.fill:
            page = await fill_page(
                services,
                name,
                query.timeframe,
                start_ns,
                end_ns,
                limit=limit,
                cursor=cursor,
                newest=query.newest,
            )
        elif query.newest:
            page = await newest_bars(services, name, query.timeframe, limit)
        else:
            page = await read_page(services, name, query.timeframe, start_ns, end_ns, limit=limit, cursor=cursor)
        gaps = await gap_flags(services.store, name, page.bars)
        return await bars_answer(request, name, page, gaps=gaps, kept=kept)

    @app.get(
        "/api/ticks/{symbol}",
        response_model=schemas.Ticks,
        responses={200: {"content": {ARROW: {}}}},
        summary="Raw trades",
    )
    async def ticks(request: Request, symbol: SymbolPath, query: Annotated[PageQuery, Query()]) -> Response:
        """Trades with an event time in [start, end), by (event time, id); without a range the newest."""
        start_ns, end_ns = check_range(query)
        name = await catalog.resolve(symbol)
        limit = query.limit
        if query.newest:
            found = await services.store.ticks(name, 0, MAX_NS, limit=limit, newest=True)
            return await ticks_answer(request, name, found, next_cursor=None, kept=Kept.NOT)
        after_id = None
        if query.cursor is not None:
            at_ns, after_id = _read_cursor(query.cursor)
            start_ns = max(start_ns, at_ns)
        if start_ns >= end_ns:
            raise InputError("a cursor behind the end of the range", loc="cursor")
        kept = Kept.of(end_ns, await services.store.watermark_ns())
        found = await services.store.ticks(name, start_ns, end_ns, limit=limit + 1, after_id=after_id)
        next_cursor = None
        if len(found) > limit:
            found = found.take(slice(0, limit))
            next_cursor = f"{int(found.ts_event_ns[-1]) // _MS}-{int(found.trade_id[-1])}"
        return await ticks_answer(request, name, found, next_cursor=next_cursor, kept=kept)


async def _stored_price(services: Services, symbol: str) -> tuple[bytes, str]:
    """Return what the store knows of a symbol's price, and whose it is; nulls where it holds neither tick nor bar.

    Without a tick it is the close of the newest bar, at that bar's end; of an uploaded one the source is ``upload``.
    """
    newest = await services.store.ticks(symbol, 0, MAX_NS, limit=1, newest=True)
    view: Mapping[str, Any] = {"symbol": symbol}
    if len(newest):
        at_ms = int(newest.ts_event_ns[-1]) // _MS
        view = {"symbol": symbol, "price": newest.price[-1], "size": newest.size[-1], "timestamp": at_ms}
        return schemas.encode_price(view), services.source()
    ended_ns, source = 0, services.source()
    for timeframe in await services.store.kept_timeframes(symbol):
        bars = await services.store.bars(symbol, timeframe, 0, MAX_NS, limit=1, newest=True)
        if len(bars) and (end_ns := int(bars.ts_open_ns[-1]) + timeframe_ns(timeframe)) > ended_ns:
            ended_ns = end_ns
            view = {"symbol": symbol, "price": bars.close[-1], "timestamp": end_ns // _MS}
            source = "upload" if bars.origin[-1] == Origin.UPLOAD else services.source()
    return schemas.encode_price(view), source


def _read_cursor(cursor: str) -> tuple[int, int]:
    at_ms, _, trade_id = cursor.partition("-")
    digits = at_ms + trade_id
    if not (at_ms and trade_id and digits.isascii() and digits.isdigit()):
        raise InputError("not a cursor of this listing; send `next` of the page before", loc="cursor")
    at_ns, after_id = int(at_ms) * _MS, int(trade_id)
    if at_ns > MAX_NS or after_id >= 2**63:
        raise InputError("not a cursor of this listing; send `next` of the page before", loc="cursor")
    return at_ns, after_id
