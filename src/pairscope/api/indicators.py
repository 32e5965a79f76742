"""Chart indicators over bars, when somebody asks: by the kernels that the stream's come from."""

from __future__ import annotations

import asyncio
from typing import Annotated

import numpy as np
from fastapi import FastAPI, Query, Request
from pydantic import Field
from starlette.responses import Response

from pairscope import schemas
from pairscope.analytics.indicators import IndicatorPlan, indicators, parse_indicators
from pairscope.api.bars import BarPage, live_bars, newest_bars, read_page, warm_page
from pairscope.api.catalog import Catalog
from pairscope.api.parameters import PageQuery, Timeframe, check_range
from pairscope.api.prices import SymbolPath
from pairscope.api.tables import ARROW, Form, arrow_stream, form_of, table_answer
from pairscope.errors import InputError
from pairscope.ports import Services

__all__ = ["MOST_INDICATORS", "add_indicators", "current_indicators", "read_names"]

MOST_INDICATORS = 32
"""Indicators that one question may name."""
_MS = 1_000_000


class IndicatorQuery(PageQuery):
    """A range of bars in pages, and what to compute over it."""

    timeframe: Timeframe = "1m"
    indicators: str = Field("", max_length=1000, description="Names separated by commas, like `sma:20,macd:12:26:9`.")
    names: str = Field("", max_length=1000, description="The same as `indicators`.")


def read_names(text: str) -> tuple[tuple[str, ...], IndicatorPlan]:
    """Read a comma-separated list of indicators; ``InputError`` where there is none, or none of that name."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not 0 < len(names) <= MOST_INDICATORS:
        raise InputError(f"name 1 to {MOST_INDICATORS} indicators, like sma:20,ema:20", loc="indicators")
    return names, parse_indicators(names)


async def current_indicators(services: Services, symbol: str, timeframe: str, names: tuple[str, ...]) -> bytes | None:
    """Return the newest value of each indicator, as the ``indicators`` topic says it; None where there is no bar."""
    page = await live_bars(services, symbol, timeframe, parse_indicators(names).warmup + 1)
    if not len(page.bars):
        return None
    values = await asyncio.to_thread(indicators, page.bars, names)
    return schemas.encode_indicator_update(page.bars, values, closed=bool(page.closed[-1]))


def add_indicators(app: FastAPI, services: Services, catalog: Catalog) -> None:
    """Add the route of chart indicators."""

    @app.get(
        "/api/indicators/{symbol}",
        response_model=schemas.IndicatorSeries,
        responses={200: {"content": {ARROW: {}}}},
        summary="Chart indicators, a value a bar",
    )
    async def series(request: Request, symbol: SymbolPath, query: Annotated[IndicatorQuery, Query()]) -> Response:
        """Over the bars that `/api/ohlc` gives for the same range; bars before it warm them up, null where none are."""
        start_ns, end_ns = check_range(query)
        names, plan = read_names(query.indicators or query.names)
        name = await catalog.resolve(symbol)
        page = await _page(services, name, query, start_ns, end_ns)
        warm = await warm_page(services, page, name, query.timeframe, plan.warmup)
        first = len(warm.bars) - len(page.bars)
        values = await asyncio.to_thread(indicators, warm.bars, names)
        columns = {key: np.asarray(column[first:]) for key, column in values.items()}
        if (form := form_of(request)) is Form.ARROW:
            told = {"timestamp": page.bars.ts_open_ns // _MS, "closed": page.closed, **columns}
            about = {"symbol": name, "timeframe": query.timeframe, "next": page.next_cursor or ""}
            body = await asyncio.to_thread(arrow_stream, told, about)
        else:
            opens = page.bars.ts_open_ns
            body = schemas.encode_indicators(
                name, query.timeframe, opens, page.closed, columns, next_cursor=page.next_cursor
            )
        return table_answer(body, form, page.next_cursor)


async def _page(services: Services, name: str, query: IndicatorQuery, start_ns: int, end_ns: int) -> BarPage:
    if query.newest:
        return await newest_bars(services, name, query.timeframe, query.limit)
    return await read_page(services, name, query.timeframe, start_ns, end_ns, limit=query.limit, cursor=query.cursor)
