"""What is computed of closed bars when somebody asks: of one symbol, of a pair, of many symbols' correlations."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, Literal

import numpy as np
from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pairscope import schemas
from pairscope.analytics.correlation_report import Closes, correlation_report
from pairscope.analytics.pair_report import RawTrades, pair_report, pair_rows
from pairscope.analytics.report_parts import Report
from pairscope.analytics.symbol_report import symbol_report
from pairscope.api.catalog import Catalog
from pairscope.api.leg_ages import LegAges
from pairscope.api.legs import (
    Leg,
    closed_bars,
    closed_before,
    common_closed_bars,
    newest_ticks,
    resolve_all,
    resolve_leg,
)
from pairscope.api.parameters import Time, Timeframe
from pairscope.api.tables import ARROW, Form, arrow_stream, digest_of, form_of, json_answer, table_answer
from pairscope.api.touched import gaps_told, touched_symbols
from pairscope.api.workers import Workers
from pairscope.errors import NotEnoughData
from pairscope.market.bars import timeframe_ns
from pairscope.market.pairs import MOST_LOOKBACK, HedgeMethod, PairSettings, PriceSpace, Recursion
from pairscope.ports import Services

__all__ = ["add_analytics"]


_MS: Final = 1_000_000
_INDICATOR_WARMUP: Final = 300
_STRETCH_NS: Final = 15 * 60_000_000_000
_MOST_TRADES: Final = 20_000
_SHARE: Final = 0.9
_FEW: Final = 250
_DEEPEST: Final = 4
_MOST_ROWS: Final = 400_000
_PRICES: Final = ("price_y", "price_x")

SymbolName = Annotated[str, Field(description="The exchange's name, in any case.", max_length=200)]
EndTime = Annotated[Time | None, Field(description="Only bars that have closed by then; by default all that have.")]
Lookback = Annotated[int, Field(ge=3, le=MOST_LOOKBACK, description="Closed bars that fits and tests look at.")]


class WindowQuery(BaseModel):
    """What every question names: the timeframe, and up to when."""

    model_config = ConfigDict(extra="forbid")

    timeframe: Timeframe = "1m"
    end: EndTime = None


class SymbolQuery(WindowQuery):
    """One symbol."""

    symbol: SymbolName
    window: int = Field(60, ge=2, le=MOST_LOOKBACK, description="Closes that level and z-score are of.")
    lookback: Lookback = 1440


class PairQuery(WindowQuery):
    """One pair, and how it is computed."""

    y: SymbolName
    x: SymbolName
    window: int = Field(
        60,
        ge=2,
        le=MOST_LOOKBACK,
        description="Bars of z-score and rolling correlation; where it is left out at most the lookback.",
    )
    lookback: Lookback = 1440
    method: HedgeMethod = Field("ols", description="Whose hedge ratio makes the spread.")
    price_space: PriceSpace = Field("log", description="Spread in logs of prices, or in prices.")

    def settings(self, y: str, x: str) -> PairSettings:
        """Return the pair's settings; a window that was not asked for gives way to a shorter lookback."""
        window = self.window if "window" in self.model_fields_set else min(self.window, self.lookback)
        return PairSettings(
            y,
            x,
            timeframe=self.timeframe,
            lookback=self.lookback,
            window=window,
            method=self.method,
            price_space=self.price_space,
        )


class PairReportQuery(PairQuery):
    """One pair, whole."""

    series: bool = Field(False, description="true: every figure at each bar of the lookback too.")
    recursion: Recursion = Field(
        "lookback",
        description="Where the Kalman filter begins: with the lookback, or where the `pair` topic's began, so that "
        "series, document and stream are one. The sentinel always begins where the topic's does.",
    )


class CorrelationQuery(WindowQuery):
    """Several symbols."""

    symbols: str = Field(description="2 to 100 names separated by commas.", max_length=4500)
    window: int = Field(60, ge=3, le=MOST_LOOKBACK, description="Returns that a correlation is of.")
    kind: Literal["pearson", "spearman"] = Field("pearson", description="Of returns, or of their ranks.")


def add_analytics(app: FastAPI, services: Services, catalog: Catalog, workers: Workers) -> None:
    """Add the routes of what is computed on demand."""
    ages = LegAges(services)

    @app.get("/api/analytics/symbol", response_model=schemas.SymbolAnalytics, summary="One symbol: moments and tests")
    async def symbol_analytics(request: Request, query: Annotated[SymbolQuery, Query()]) -> Response:
        """Of closed bars: level and z-score of the last `window`, returns and tests of the last `lookback`."""
        name = await resolve_leg(catalog, query.symbol, "symbol")
        count = max(query.lookback, query.window) + _INDICATOR_WARMUP
        bars = await closed_bars(services, name, query.timeframe, count, closed_before(query.timeframe, query.end))
        if not len(bars):
            raise _too_few("symbol", f"{name} has no closed {query.timeframe} bar", 1, 0)

        def compute() -> bytes:
            report = symbol_report(bars, lookback=query.lookback, window=query.window)
            head = {"symbol": name, "timeframe": query.timeframe, "as_of": int(bars.ts_open_ns[-1]) // _MS}
            return schemas.encode_document({**head, **report.document, "reasons": report.reasons})

        key = ("symbol", name, query.timeframe, query.lookback, query.window, digest_of(bars.ts_open_ns, bars.close))
        used = bars.take(slice(-max(query.lookback, query.window), None))
        told = gaps_told(await touched_symbols(services.store, {name: used}))
        return await json_answer(request, workers, await workers.once(key, compute), told)

    @app.get(
        "/api/analytics/pair",
        response_model=schemas.PairAnalytics,
        responses={200: {"content": {ARROW: {}}}},
        summary="One pair: hedge ratios, spread, tests",
    )
    async def pair_analytics(request: Request, query: Annotated[PairReportQuery, Query()]) -> Response:
        """Of the newest `lookback` closed bars that both legs have; Arrow gives the series."""
        settings = query.settings(await resolve_leg(catalog, query.y, "y"), await resolve_leg(catalog, query.x, "x"))
        form = form_of(request)
        series = query.series or form is Form.ARROW
        end_ns = closed_before(query.timeframe, query.end)
        count = (3 if query.recursion == "live" else 2) * settings.lookback
        legs = await common_closed_bars(services, settings.y, settings.x, settings.timeframe, count, end_ns)
        _demand_common(settings, legs)
        key = (
            "pair",
            settings,
            series,
            query.recursion,
            form,
            digest_of(legs[0].ts_open_ns, legs[0].close, legs[1].close),
        )
        trades = None if workers.has(key) else await _raw_trades(services, settings, legs)

        def compute() -> tuple[bytes, list[str]]:
            rows = pair_rows(legs[0].close, legs[1].close, settings.price_space)
            slots = legs[0].ts_open_ns // timeframe_ns(settings.timeframe)
            report = pair_report(*rows, settings, slots=slots, recursion=query.recursion, series=series, trades=trades)
            columns = _series(report, legs) if series else None
            if form is Form.ARROW:
                return arrow_stream(columns or {}, {"y": settings.y, "x": settings.x}), []
            body = schemas.encode_document(_pair_document(settings, legs, report), columns, positional=_PRICES)
            return body, _warnings(settings, legs, report)

        body, warnings = await workers.once(key, compute)
        if form is Form.ARROW:
            return table_answer(body, form)
        now = await ages.of(settings, legs, query.end)
        used = (leg.take(slice(-settings.lookback, None)) for leg in legs)
        told = gaps_told(await touched_symbols(services.store, dict(zip((settings.y, settings.x), used, strict=True))))
        now |= {"gaps": told["gaps"], "warnings": [*warnings, *told["warnings"], *now["warnings"]]}
        return await json_answer(request, workers, body, now)

    @app.get(
        "/api/analytics/correlation", response_model=schemas.CorrelationMatrix, summary="Correlations of many symbols"
    )
    async def correlation(request: Request, query: Annotated[CorrelationQuery, Query()]) -> Response:
        """Of the last `window` log returns of each pair, over the closed bars that the two have in common."""
        names = await resolve_all(catalog, query.symbols)
        end_ns = closed_before(query.timeframe, query.end)
        least = query.window + 1
        count = max(least, min(_DEEPEST * least, _MOST_ROWS // len(names)))
        legs = await asyncio.gather(*(closed_bars(services, name, query.timeframe, count, end_ns) for name in names))
        found = [Closes(name, bars.ts_open_ns, bars.close) for name, bars in zip(names, legs, strict=True)]
        if not any(leg.close.size > 1 for leg in found):
            raise _too_few("symbols", "closed bars of a symbol", 2, max(leg.close.size for leg in found))

        def compute() -> bytes:
            report = correlation_report(found, window=query.window, kind=query.kind)
            known = np.isfinite(report.matrix)
            document = {
                "symbols": names,
                "timeframe": query.timeframe,
                "window": query.window,
                "kind": query.kind,
                "n": int(report.counts[known].min()) if known.any() else None,
                "as_of": max(int(leg.ts_open_ns[-1]) // _MS for leg in found if leg.close.size),
                "order": report.order,
                "reasons": report.reasons,
            }
            rows = [[value if np.isfinite(value) else None for value in row] for row in report.matrix.tolist()]
            return schemas.encode_document(document | {"matrix": rows, "counts": report.counts})

        parts = [part for leg in found for part in (leg.ts_open_ns, leg.close)]
        key = ("correlation", tuple(names), query.timeframe, query.window, query.kind, digest_of(*parts))
        used = {name: bars.take(slice(-least, None)) for name, bars in zip(names, legs, strict=True)}
        told = gaps_told(await touched_symbols(services.store, used))
        return await json_answer(request, workers, await workers.once(key, compute), told)


def _too_few(loc: str, what: str, need: int, have: int) -> NotEnoughData:
    error = NotEnoughData(f"{loc}: {what}:", need=need, have=have)
    error.loc = loc
    return error


def _demand_common(settings: PairSettings, legs: tuple[Leg, Leg]) -> None:
    """Refuse a pair of which nothing can be computed."""
    if len(legs[0]) < 3:
        what = f"closed {settings.timeframe} bars that {settings.y} and {settings.x} have in common"
        raise _too_few("x", what, 3, len(legs[0]))


async def _raw_trades(services: Services, settings: PairSettings, legs: tuple[Leg, Leg]) -> RawTrades:
    """Return both legs' trades of the quarter of an hour before the newest bar used closed."""
    end_ns = int(legs[0].ts_open_ns[-1]) + timeframe_ns(settings.timeframe)
    start_ns = max(0, end_ns - _STRETCH_NS)
    y, x = await asyncio.gather(
        *(newest_ticks(services, name, start_ns, end_ns, _MOST_TRADES) for name in (settings.y, settings.x))
    )
    return RawTrades(y, x)


def _pair_document(settings: PairSettings, legs: tuple[Leg, Leg], report: Report) -> dict[str, Any]:
    """Return the document of a pair with what only who knows the bars' times can say."""
    times = legs[0].ts_open_ns
    document = report.document
    head = {name: getattr(settings, name) for name in ("y", "x", "timeframe", "lookback", "window", "price_space")}
    head |= {"as_of": int(times[-1]) // _MS, "from": int(times[-document["n"]]) // _MS}
    return {**head, **document, "reasons": report.reasons}


def _series(report: Report, legs: tuple[Leg, Leg]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the columns of a report with their times and prices; a row is a bar."""
    n = report.document["n"]
    times = {"timestamp": legs[0].ts_open_ns[-n:] // _MS}
    prices = {"price_y": legs[0].close[-n:], "price_x": legs[1].close[-n:]}
    return {**times, **report.series, **prices}


def _warnings(settings: PairSettings, legs: tuple[Leg, Leg], report: Report) -> list[str]:
    """Say in sentences what a trader should know before trusting the numbers."""
    times = legs[0].ts_open_ns[-settings.lookback :]
    slots = int(times[-1] - times[0]) // timeframe_ns(settings.timeframe) + 1
    told = []
    if times.size < settings.lookback:
        told.append(f"There are {times.size} common bars, fewer than the {settings.lookback} asked for.")
    if times.size < _FEW:
        told.append(f"With {times.size} bars the tests have little power: that they find nothing proves nothing.")
    if times.size < _SHARE * slots:
        share = f"{times.size / slots:.0%}"
        told.append(
            f"Both legs traded in only {share} of the bars: the rest is left out, and bars are not evenly spaced."
        )
    if report.document["sentinel"]["status"] == "broken":
        told.append("The spread has stopped reverting: this may be no pair any more, whatever the z-score says.")
    if report.document["sentinel"]["status"] == "warning":
        told.append("The spread reverts less than it did: the sentinel warns.")
    return told
