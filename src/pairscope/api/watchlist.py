"""The watch-list over HTTP: which pairs are computed live, by which settings, and what each says now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, FastAPI, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.catalog import Catalog, clean_symbol
from pairscope.api.parameters import Timeframe
from pairscope.errors import InputError, NotWatched
from pairscope.market.pairs import MOST_LOOKBACK, PairSettings
from pairscope.ports import Services

__all__ = ["add_watchlist", "json_only"]

AT_ONCE: Final = 16
Y = Annotated[str, Path(description="The dependent symbol, in any case.")]
X = Annotated[str, Path(description="The hedging symbol, in any case.")]
Lookback = Annotated[int, Field(ge=3, le=MOST_LOOKBACK, description="Bars that the hedge ratio is fitted on.")]
Window = Annotated[int, Field(ge=2, le=MOST_LOOKBACK, description="Bars of z-score and correlation.")]
Method = Annotated[Literal["ols", "huber", "kalman"], Field(description="Whose hedge ratio makes the spread.")]
Space = Annotated[Literal["log", "linear"], Field(description="Whether the spread is one of logs or of prices.")]
Threshold = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False, description="A z-score, to draw a line at.")]


class PairIn(BaseModel):
    """A pair to watch."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"y": "ETHUSDT", "x": "BTCUSDT", "timeframe": "1m", "lookback": 1440}]},
    )

    y: str = Field(max_length=40, description="The dependent symbol.")
    x: str = Field(max_length=40, description="The hedging symbol.")
    timeframe: Timeframe = "1m"
    lookback: Lookback = 1440
    window: Window = 60
    method: Method = "ols"
    price_space: Space = "log"
    entry: Threshold = 2.0
    exit: Threshold = 0.5


class PairChange(BaseModel):
    """What to change of a pair; what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"lookback": 600, "method": "kalman"}]})

    timeframe: Timeframe = "1m"
    lookback: Lookback = 1440
    window: Window = 60
    method: Method = "ols"
    price_space: Space = "log"
    entry: Threshold = 2.0
    exit: Threshold = 0.5


def json_only(request: Request) -> None:
    """Refuse a body that does not say that it is JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "the body must be application/json")


def add_watchlist(app: FastAPI, services: Services, catalog: Catalog) -> None:
    """Add the routes of the watch-list."""
    pairs = services.pairs

    def found(y: str, x: str) -> PairSettings:
        key = clean_symbol(y), clean_symbol(x)
        for settings in pairs.entries():
            if (settings.y, settings.x) == key:
                return settings
        raise NotWatched(*key)

    async def resolve(name: str, loc: str) -> str:
        try:
            return await catalog.resolve(name)
        except InputError as error:
            error.loc = loc
            raise

    def entry(settings: PairSettings) -> bytes:
        return schemas.encode_watched(asdict(settings), pairs.current(settings.y, settings.x))

    @app.get("/api/watchlist", response_model=schemas.WatchlistOut, summary="The watched pairs and what they say now")
    async def watchlist() -> Response:
        """By name; `live` is what the `pair` topic of the stream says."""
        parts = []
        for i, settings in enumerate(pairs.entries()):
            if i % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)  # a long list lets others through
            parts.append(entry(settings))
        return _json(b'{"pairs":[%b]}' % b",".join(parts))

    @app.post(
        "/api/watchlist",
        response_model=schemas.WatchedPair,
        status_code=201,
        responses={200: {"model": schemas.WatchedPair}},
        dependencies=[Depends(json_only)],
        summary="Watch a pair, or change how it is computed",
    )
    async def watch(body: PairIn) -> Response:
        """201 for a pair that is new on the list, 200 for one that was there; kept over a restart."""
        fields = body.model_dump()
        fields["y"], fields["x"] = await resolve(body.y, "y"), await resolve(body.x, "x")
        settings = PairSettings(**fields)
        new = await pairs.put(settings)
        return _json(entry(settings), 201 if new else 200)

    @app.get("/api/watchlist/{y}/{x}", response_model=schemas.WatchedPair, summary="One watched pair")
    async def one(y: Y, x: X) -> Response:
        return _json(entry(found(y, x)))

    @app.patch(
        "/api/watchlist/{y}/{x}",
        response_model=schemas.WatchedPair,
        dependencies=[Depends(json_only)],
        summary="Change how a watched pair is computed",
    )
    async def change(y: Y, x: X, body: PairChange) -> Response:
        """What the body leaves out stays as it is."""
        changes: Mapping[str, Any] = body.model_dump(exclude_unset=True)
        settings = replace(found(y, x), **changes)
        await pairs.put(settings)
        return _json(entry(settings))

    @app.delete("/api/watchlist/{y}/{x}", status_code=204, summary="Watch a pair no longer")
    async def forget(y: Y, x: X) -> Response:
        settings = found(y, x)
        await pairs.remove(settings.y, settings.x)
        return Response(status_code=204)


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, {"Cache-Control": "no-store"}, "application/json")
