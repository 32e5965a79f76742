"""How much a symbol trades: who is the aggressor, at which prices, and whether that is usual for the time of day."""

from __future__ import annotations

from math import fsum
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query
from pydantic import Field
from starlette.responses import Response

from pairscope import schemas
from pairscope.analytics.volume import DayVolume, day_volume, volume_profile
from pairscope.api.bars import newest_bars, read_page
from pairscope.api.catalog import Catalog
from pairscope.api.parameters import MAX_LIMIT, RangeQuery, check_range
from pairscope.api.prices import SymbolPath
from pairscope.errors import InputError
from pairscope.market.bars import TIMEFRAMES, BarBatch
from pairscope.ports import Services

__all__ = ["add_volume"]

_MS = 1_000_000
_COVERED = 0.99
_MINUTE_NS = 60_000_000_000
_DAY_NS = 86_400_000_000_000
_DAYS = 7
_MINUTES = _DAYS * 1440 + 1440


class VolumeQuery(RangeQuery):
    """A range, by default the last 24 hours."""

    bins: int = Field(24, ge=1, le=500, description="Bins of the profile by price.")


def add_volume(app: FastAPI, services: Services, catalog: Catalog) -> None:
    """Add the route of the volume analysis."""

    @app.get("/api/volume/{symbol}", response_model=schemas.Volume, summary="Volume: by aggressor, price, usualness")
    async def volume(symbol: SymbolPath, query: Annotated[VolumeQuery, Query()]) -> Response:
        """Over [start, end), by default the last 24 hours; the time of day always compares today, UTC."""
        check_range(query)
        name = await catalog.resolve(symbol)
        now_ns = services.live.watermark_ns() or services.clock()
        end_ns = now_ns if query.end is None else query.end
        start_ns = max(0, end_ns - _DAY_NS) if query.start is None else query.start
        if start_ns >= end_ns:
            raise InputError("start must be earlier than now", loc="start")
        bars = await _finest_bars(services, name, start_ns, end_ns)
        midnight_ns = now_ns // _DAY_NS * _DAY_NS
        minutes = (await newest_bars(services, name, "1m", _MINUTES, now_ns)).bars
        recent = minutes.ts_open_ns >= midnight_ns - _DAYS * _DAY_NS
        day = day_volume(minutes.ts_open_ns[recent], minutes.volume[recent], now_ns)
        document = {
            "symbol": name,
            "start": start_ns // _MS,
            "end": end_ns // _MS,
            "resolution": bars.timeframe,
            **_totals(bars),
            "profile": _profile(bars, query.bins),
            "time_of_day": _time_of_day(day),
        }
        return Response(
            schemas.plain_json(document), headers={"Cache-Control": "no-store"}, media_type="application/json"
        )


async def _finest_bars(services: Services, symbol: str, start_ns: int, end_ns: int) -> BarBatch:
    """Return a range in the finest timeframe that fits a page; seconds only where ticks of our own cover it."""
    span_ns = end_ns - start_ns
    fitting = [name for name, step_ns in TIMEFRAMES.items() if step_ns >= _MINUTE_NS and span_ns <= step_ns * MAX_LIMIT]
    if not fitting:
        raise InputError(f"the range is longer than {MAX_LIMIT} days", loc="start")
    bars = (await read_page(services, symbol, fitting[0], start_ns, end_ns, limit=MAX_LIMIT, cursor=None)).bars
    if span_ns > TIMEFRAMES["1s"] * MAX_LIMIT:
        return bars
    seconds = (await read_page(services, symbol, "1s", start_ns, end_ns, limit=MAX_LIMIT, cursor=None)).bars
    return seconds if fsum(seconds.volume) >= _COVERED * fsum(bars.volume) else bars


def _totals(bars: BarBatch) -> dict[str, Any]:
    total, bought = fsum(bars.volume), fsum(bars.buy_volume)
    return {
        "volume": total,
        "quote_volume": fsum(bars.quote_volume),
        "buy_volume": bought,
        "sell_volume": fsum(bars.volume - bars.buy_volume),
        "buy_share": bought / total if total > 0 else None,
        "trades": int(bars.trades.sum()),
    }


def _profile(bars: BarBatch, bins: int) -> list[dict[str, float]]:
    if not len(bars):
        return []
    low, high = float(np.min(bars.low)), float(np.max(bars.high))
    profile = volume_profile(bars.vwap, bars.volume, bars.buy_volume, low, high, bins)
    columns = (profile.edges[:-1], profile.edges[1:], profile.volume, profile.buy_volume)
    return [
        {"low": a, "high": b, "volume": traded, "buy_volume": bought}
        for a, b, traded, bought in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _time_of_day(day: DayVolume) -> dict[str, Any]:
    document: dict[str, Any] = {
        "today": day.today,
        "mean": day.mean,
        "ratio": day.today / day.mean if day.mean > 0 else None,
        "days": day.days,
        "hours": [
            {"hour": hour, "today": today, "mean": mean}
            for hour, (today, mean) in enumerate(zip(day.hours.tolist(), day.mean_hours.tolist(), strict=True))
        ],
    }
    if not day.days:
        document["reason"] = "needs 1 whole earlier day, has 0"
    return document
