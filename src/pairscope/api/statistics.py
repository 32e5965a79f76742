"""A symbol or a pair bar by bar, in pages: price, return, volume, volatility, spread, z-score, correlation."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, Literal

import numpy as np
from fastapi import FastAPI, Query, Request
from numpy.typing import NDArray
from pydantic import Field
from starlette.responses import Response

from pairscope import schemas
from pairscope.analytics.pair_recursions import anchored_kalman
from pairscope.analytics.pair_report import pair_rows
from pairscope.analytics.pair_series import HUBER_COST, HedgeSeries, huber_series, least_bars, pair_columns
from pairscope.analytics.symbol_report import symbol_columns
from pairscope.api.bars import read_page
from pairscope.api.catalog import Catalog
from pairscope.api.legs import Leg, closed_bars, common_closed_bars, resolve_leg
from pairscope.api.parameters import MAX_NS, PageQuery, Timeframe, check_range
from pairscope.api.tables import ARROW, CSV, Form, arrow_stream, form_of, json_answer, table_answer
from pairscope.api.touched import gaps_told, touched_symbols
from pairscope.api.workers import Workers
from pairscope.errors import InputError, NotEnoughData, NumericalError
from pairscope.market.align import common_bars
from pairscope.market.anchors import offset_of
from pairscope.market.bars import timeframe_ns
from pairscope.market.pairs import MOST_LOOKBACK, HedgeMethod, PairSettings, PriceSpace
from pairscope.market.ticks import F8, I8
from pairscope.ports import Services

__all__ = ["add_statistics"]

_MS: Final = 1_000_000
_SPARSE: Final = 8
_PRICES: Final = ("price", "price_x", "volume", "volume_x")
_CSV_EXAMPLE: Final = (
    "timestamp,price,return,volume,volatility,mean,std,zscore\r\n"
    "2026-01-01T00:00:00.000Z,65003.2,0.0003,12.345,0.43,64990.4,21.7,0.59\r\n"
)
_PAIR: Final = ("spread", "zscore", "correlation", "beta")

Columns = dict[str, NDArray[Any]]


class StatisticsQuery(PageQuery):
    """A symbol, or a pair, in pages of closed bars."""

    symbol: str | None = Field(None, description="The exchange's name, in any case.", max_length=200)
    y: str | None = Field(None, description="Of a pair, in place of `symbol`.", max_length=200)
    x: str | None = Field(None, description="Of a pair, in place of `symbol`.", max_length=200)
    timeframe: Timeframe = "1m"
    window: int = Field(60, ge=2, le=MOST_LOOKBACK, description="Bars of volatility, z-score and correlation.")
    lookback: int = Field(1440, ge=3, le=MOST_LOOKBACK, description="Bars that a pair's hedge ratio is fitted on.")
    method: HedgeMethod = Field(
        "ols",
        description="Whose hedge ratio makes a pair's spread; the Kalman filter begins where the `pair` topic's does.",
    )
    price_space: PriceSpace = Field("log", description="Spread in logs of prices, or in prices.")
    format: Literal["json", "csv", "arrow"] | None = Field(None, description="In place of `Accept`.")


def add_statistics(app: FastAPI, services: Services, catalog: Catalog, workers: Workers) -> None:
    """Add the route of the table."""

    @app.get(
        "/api/analytics/statistics",
        response_model=schemas.StatisticsTable,
        responses={200: {"content": {ARROW: {}, CSV: {"schema": {"type": "string"}, "example": _CSV_EXAMPLE}}}},
        summary="A symbol or a pair bar by bar",
    )
    async def statistics(request: Request, query: Annotated[StatisticsQuery, Query()]) -> Response:
        """Closed bars that open in [start, end), oldest first; without a range the newest. Also CSV and Arrow.

        How many bars of the page lack trades is in `gaps`, and in the header `X-Gap-Bars` of the other forms.
        """
        start_ns, end_ns = check_range(query)
        form = form_of(request, query.format, csv=True)
        names = await _names(catalog, query)
        legs, next_cursor = await _page(services, names, query, start_ns, end_ns)
        rows = len(legs[0])
        _demand_few(query, rows)
        back = 0 if len(names) == 1 else 2 * query.lookback if query.method == "kalman" else query.lookback
        warm = max(query.window + 1, back)
        begin_ns = int(legs[0].ts_open_ns[0]) if rows else 0
        before = await _newest(services, names, query.timeframe, warm, begin_ns) if rows else legs
        window = query.window if "window" in query.model_fields_set else min(query.window, query.lookback)
        settings = _settings(names, query, window)
        head = {"symbol": names[0]} if len(names) == 1 else {"y": names[0], "x": names[1]}
        lacking = await touched_symbols(services.store, dict(zip(names, legs, strict=True)))

        def compute() -> bytes:
            columns = _columns(before, legs, settings, window)
            if form is Form.ARROW:
                return arrow_stream(columns, {**head, "timeframe": query.timeframe, "next": next_cursor or ""})
            if form is Form.CSV:
                return schemas.encode_csv(columns)
            said = {**head, "timeframe": query.timeframe, "window": window, "lookback": query.lookback}
            said |= {"method": query.method, "price_space": query.price_space} if settings is not None else {}
            return schemas.encode_document(said, columns, positional=_PRICES, more={"next": next_cursor})

        body = await workers.run(compute)
        told = gaps_told(lacking)
        if form is not Form.JSON:
            return table_answer(body, form, next_cursor, gap_bars=told["gaps"]["bars"])
        for name, touched in lacking.items():
            told["gaps"]["symbols"][name]["timestamps"] = (touched.times_ns // _MS).tolist()
        return await json_answer(request, workers, body, told)


async def _names(catalog: Catalog, query: StatisticsQuery) -> tuple[str, ...]:
    """Return one symbol, or the two of a pair."""
    if query.symbol is not None and query.y is None and query.x is None:
        return (await resolve_leg(catalog, query.symbol, "symbol"),)
    if query.symbol is not None:
        raise InputError("symbol: name either a symbol or a pair (y and x)", loc="symbol")
    if query.y is None:
        raise InputError("y: name a symbol, or y and x of a pair", loc="y" if query.x is not None else "symbol")
    if query.x is None:
        raise InputError("x: a pair needs y and x", loc="x")
    return await resolve_leg(catalog, query.y, "y"), await resolve_leg(catalog, query.x, "x")


def _settings(names: tuple[str, ...], query: StatisticsQuery, window: int) -> PairSettings | None:
    if len(names) == 1:
        return None
    return PairSettings(
        names[0],
        names[1],
        timeframe=query.timeframe,
        lookback=query.lookback,
        window=window,
        method=query.method,
        price_space=query.price_space,
    )


def _demand_few(query: StatisticsQuery, rows: int) -> None:
    """Refuse a page whose Huber fits, one a row, would keep everybody waiting."""
    most = max(1, HUBER_COST // query.lookback)
    if query.method == "huber" and query.symbol is None and rows > most:
        raise InputError(
            f"limit: at most {most} rows a page by method=huber with a lookback of {query.lookback}", loc="limit"
        )


async def _newest(
    services: Services, names: tuple[str, ...], timeframe: str, count: int, end_ns: int = MAX_NS
) -> tuple[Leg, ...]:
    """Return the newest closed bars before a time: of a symbol, or those that both legs have."""
    if len(names) == 1:
        return (await closed_bars(services, names[0], timeframe, count, end_ns),)
    return await common_closed_bars(services, names[0], names[1], timeframe, count, end_ns)


async def _page(
    services: Services, names: tuple[str, ...], query: StatisticsQuery, start_ns: int, end_ns: int
) -> tuple[tuple[Leg, ...], str | None]:
    """Return a page of closed bars and where the next begins."""
    if query.newest:
        return await _newest(services, names, query.timeframe, query.limit), None
    cursor = query.cursor
    for last in (*(False,) * (_SPARSE - 1), True):
        pages = await asyncio.gather(
            *(
                read_page(services, name, query.timeframe, start_ns, end_ns, limit=query.limit, cursor=cursor)
                for name in names
            )
        )
        # A leg's page that ends before the other's ends them both: what comes after is the next page's.
        more = [int(page.next_cursor) * _MS for page in pages if page.next_cursor is not None]
        until_ns = min(more, default=MAX_NS)
        legs = [page.bars.take(page.closed & (page.bars.ts_open_ns < until_ns)) for page in pages]
        found: tuple[Leg, ...] = (legs[0],) if len(legs) == 1 else common_bars(legs[0], legs[1])
        cursor = str(until_ns // _MS) if more else None
        if len(found[0]) or cursor is None or last:
            break
    return found, cursor


def _columns(before: tuple[Leg, ...], legs: tuple[Leg, ...], settings: PairSettings | None, window: int) -> Columns:
    """Return the table of the page: computed with the bars before it, which are then left out."""
    rows = len(legs[0])
    columns: Columns = {"timestamp": legs[0].ts_open_ns // _MS}
    closes = [np.concatenate([past.close, leg.close]) for past, leg in zip(before, legs, strict=True)]
    for suffix, leg, past, close in zip(("", "_x"), legs, before, closes, strict=False):
        volume = np.concatenate([past.volume, leg.volume])
        found = symbol_columns(close, volume, window=window, step_ns=timeframe_ns(leg.timeframe))
        kept = ("price", "return", "volume", "volatility") if settings is not None else tuple(found)
        columns |= {f"{name}{suffix}": found[name] for name in kept}
    if settings is not None:
        try:
            spaced = pair_rows(closes[0], closes[1], settings.price_space)
            times = np.concatenate([before[0].ts_open_ns, legs[0].ts_open_ns])
            ratio = _hedge(spaced, times // timeframe_ns(settings.timeframe), settings, spaced[0].size - rows)
            pair = pair_columns(*spaced, lookback=settings.lookback, window=window, hedge=ratio)
        except (InputError, NotEnoughData, NumericalError):
            # Too few bars, or a leg that did not move: there is a table of prices all the same.
            pair = {name: np.full(closes[0].size, np.nan) for name in _PAIR}
        columns |= {name: pair[name] for name in _PAIR}
    return {name: column[-rows:] if rows else column[:0] for name, column in columns.items()}


def _hedge(rows: tuple[F8, F8], slots: I8, settings: PairSettings, first: int) -> HedgeSeries | None:
    """Return the hedge ratio of each row from the first of a page on; None for that of least squares."""
    lookback, least = settings.lookback, least_bars(settings.lookback, settings.window)
    if settings.method == "huber":
        return huber_series(*rows, lookback, least=least, first=first)
    if settings.method == "kalman":
        offset = offset_of(settings.key, lookback)
        found = anchored_kalman(*rows, slots, lookback=lookback, offset=offset, least=least)
        return HedgeSeries(found.alphas, found.betas, np.where(np.isfinite(found.betas), found.n, 0))
    return None
