"""The market-wide screen over HTTP: every pair tested, sorted, filtered and in pages, and what was discovered when."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.catalog import Catalog
from pairscope.api.job_examples import JOB_EXAMPLE
from pairscope.api.jobs import accepted
from pairscope.api.legs import resolve_all, resolve_leg
from pairscope.api.parameters import MAX_LIMIT, Timeframe
from pairscope.api.tables import json_answer
from pairscope.api.touched import ScreenGaps, gaps_told, marked
from pairscope.api.workers import Workers
from pairscope.errors import InputError
from pairscope.market.pairs import MOST_LOOKBACK
from pairscope.ports import Services
from pairscope.ports_research import JobView, ScreenTable, ScreenView

__all__ = ["add_screen"]

Sort = Literal[
    "y", "x", "alpha", "beta", "statistic", "pvalue", "qvalue", "lags", "half_life", "zscore", "spread_std",
    "correlation",
]  # fmt: skip
SymbolName = Annotated[str, Field(description="The exchange's name, in any case.", max_length=200)]
Lookback = Annotated[int, Field(ge=30, le=MOST_LOOKBACK, description="Closed bars that are tested.")]
_ACCEPTED: Mapping[str, Any] = MappingProxyType(
    {
        "description": "It is being computed; `Location` is its job",
        "model": schemas.Job,
        "content": {"application/json": {"example": dict(JOB_EXAMPLE)}},
    }
)
HalfLife = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]


class ScreenQuery(BaseModel):
    """Which screen, and which of its rows."""

    model_config = ConfigDict(extra="forbid")

    timeframe: Timeframe = "1m"
    lookback: Lookback = 1440
    fdr: float = Field(0.05, gt=0, le=1, description="A row with a q-value of at most this is a discovery.")
    control: Literal["bh", "by"] = Field(
        "bh", description="Benjamini and Hochberg's q-values, or Benjamini and Yekutieli's: under any dependence."
    )
    sort: Sort = Field("qvalue", description="Best first: z-scores by size; correlation, deviation, lags descend.")
    only: Literal["all", "discoveries"] = Field("all", description="`discoveries`: no other rows.")
    direction: Literal["both", "best"] = Field("both", description="`best`: of each pair the smaller p-value.")
    symbols: str | None = Field(
        None,
        max_length=4500,
        description="A screen of these alone, 2 to 100 names separated by commas, followed or only stored (uploaded): "
        "of the newest bars that they have. Left out: of all that are followed.",
    )
    symbol: SymbolName | None = Field(None, description="Only pairs with this leg.")
    pair: str | None = Field(None, max_length=200, description="Only this pair, both ways: `ETHUSDT:BTCUSDT`.")
    min_half_life: HalfLife = Field(None, description="Bars.")
    max_half_life: HalfLife = Field(None, description="Bars.")
    min_correlation: float | None = Field(None, ge=-1, le=1, description="Of log returns.")
    sparkline: bool = Field(False, description="true: each row's last 60 z-scores.")
    examine: bool = Field(False, description="true: a second look at discoveries, for a `limit` of at most 200.")
    empirical_null: int | None = Field(
        None,
        ge=1,
        le=200,
        description="Beside it, what so many surrogate markets without a pair offer; takes as many screens.",
    )
    wait: bool = Field(
        True, description="false: where the answer is not there at once, 202 and the job that brings it."
    )
    job: str | None = Field(None, max_length=64, description="The screen that this job computed, and no newer one.")
    limit: int = Field(500, ge=1, le=MAX_LIMIT, description="Rows of a page.")
    cursor: str | None = Field(
        None, max_length=64, description="`next` of the page before; `screen` tells if a newer one has come since."
    )

    def view(self, symbol: str | None, pair: tuple[str, str] | None) -> ScreenView:
        """Return how the screen is looked at; ``InputError`` of a cursor that is none."""
        if self.cursor is not None and not (self.cursor.isascii() and self.cursor.isdecimal()):
            raise InputError("cursor: not one of ours", loc="cursor")
        others = {"timeframe", "lookback", "symbols", "cursor", "symbol", "pair", "empirical_null", "wait", "job"}
        shared = self.model_dump(exclude=others)
        return ScreenView(**shared, symbol=symbol, pair=pair, offset=int(self.cursor or 0))


class HistoryQuery(BaseModel):
    """One direction of a pair, in one of the continuous screens."""

    model_config = ConfigDict(extra="forbid")

    y: SymbolName
    x: SymbolName
    timeframe: Timeframe = "1m"
    lookback: Lookback = 1440


class DiscoveriesQuery(BaseModel):
    """Which events."""

    model_config = ConfigDict(extra="forbid")

    timeframe: Timeframe | None = Field(None, description="Only of screens of this timeframe.")
    lookback: int | None = Field(None, ge=1, le=MOST_LOOKBACK, description="Only of screens of so many bars.")
    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="Events, the newest first.")


def add_screen(app: FastAPI, services: Services, catalog: Catalog, workers: Workers) -> None:
    """Add the routes of the screen."""
    screens = services.screens
    gaps = ScreenGaps(services.store)

    async def legs_of(text: str) -> tuple[str, str]:
        """Return the legs of a pair that is written like a topic's."""
        y, colon, x = text.partition(":")
        if not colon:
            raise InputError("pair: must be two symbols, like ETHUSDT:BTCUSDT", loc="pair")
        return await resolve_leg(catalog, y, "pair"), await resolve_leg(catalog, x, "pair")

    async def found(query: ScreenQuery) -> ScreenTable | JobView:
        """Return the screen, or the job that brings it where nobody wants to wait."""
        timeframe, lookback = query.timeframe, query.lookback
        if query.symbols is not None and query.job is None:
            if query.empirical_null is not None:
                raise InputError("empirical_null: is of the whole market, not of symbols", loc="empirical_null")
            names = await resolve_all(catalog, query.symbols)
            return await (screens.table if query.wait else screens.ask)(timeframe, lookback, names)
        if query.job is not None:
            return await screens.answer(query.job)
        if query.wait:
            if query.empirical_null is not None:
                await screens.null(timeframe, lookback, query.empirical_null)
            return await screens.table(timeframe, lookback)
        if query.empirical_null is not None:
            job = screens.ask_null(timeframe, lookback, query.empirical_null)
            if job is not None:
                return job
        return await screens.ask(timeframe, lookback)

    @app.get(
        "/api/analytics/screen",
        response_model=schemas.ScreenOut,
        responses={202: dict(_ACCEPTED)},
        summary="Every pair of the market, cointegrated or not",
    )
    async def screen(request: Request, query: Annotated[ScreenQuery, Query()]) -> Response:
        """Every ordered pair tested on the newest `lookback` closed bars, with false discoveries controlled.

        A screen that is kept up to date answers at once, any other is computed: a job, which `wait=false` does not
        wait for. Symbols that lack bars, are listed late or do not move are in `excluded`; a row of which a leg's bars
        lack trades has `gap: true`.
        """
        symbol = None if query.symbol is None else await resolve_leg(catalog, query.symbol, "symbol")
        view = query.view(symbol, None if query.pair is None else await legs_of(query.pair))
        table = await found(query)
        if isinstance(table, JobView):
            return accepted(table)

        lacking = gaps_told(await gaps.of(table))

        def compute() -> tuple[bytes, str]:
            body = schemas.encode_screen(marked(table.page(view), lacking))
            return body, f'W/"{blake2b(body, digest_size=12).hexdigest()}"'

        known = tuple(lacking["gaps"]["symbols"].items())
        key = ("screen", table.key, view, tuple((name, part["bars"], part["missing"]) for name, part in known))
        body, tag = await workers.once(key, compute)
        if tag in request.headers.get("if-none-match", ""):
            return Response(None, 304, {"ETag": tag, "Cache-Control": "no-cache"})
        answer = await json_answer(request, workers, body)
        answer.headers.update({"ETag": tag, "Cache-Control": "no-cache"})
        return answer

    @app.get(
        "/api/analytics/screen/history",
        response_model=schemas.PairHistory,
        summary="A pair's q-value in one continuous screen after the other",
    )
    async def history(request: Request, query: Annotated[HistoryQuery, Query()]) -> Response:
        """Kept of pairs that were discovered (q ≤ 0.05), over the last 720 screens."""
        y, x = await resolve_leg(catalog, query.y, "y"), await resolve_leg(catalog, query.x, "x")
        if y == x:
            raise InputError(f"x: a pair needs two different symbols, both are {y}", loc="x")
        document = screens.history(y, x, query.timeframe, query.lookback)
        return await json_answer(request, workers, schemas.encode_screen(document))

    @app.get(
        "/api/analytics/screen/discoveries",
        response_model=schemas.DiscoveriesOut,
        summary="Pairs that entered the discoveries of the continuous screens, and that left",
    )
    async def discoveries(request: Request, query: Annotated[DiscoveriesQuery, Query()]) -> Response:
        """A pair enters with a q-value of at most 0.05 either way, and leaves when both are above 0.1.

        The newest are also the topic `discoveries` of the stream, with every screen.
        """
        document = screens.discoveries(query.limit, timeframe=query.timeframe, lookback=query.lookback)
        return await json_answer(request, workers, schemas.encode_screen(document))
