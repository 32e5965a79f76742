"""Backtests over HTTP: run one, vary it, walk it forward, and look at those that were run."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import Depends, FastAPI, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.backtest_bodies import BacktestIn, SweepIn, WalkForwardIn
from pairscope.api.backtest_examples import TRADES_EXAMPLE
from pairscope.api.catalog import Catalog, clean_symbol
from pairscope.api.jobs import accepted
from pairscope.api.legs import resolve_leg
from pairscope.api.parameters import MAX_LIMIT
from pairscope.api.tables import CSV
from pairscope.api.watchlist import json_only
from pairscope.api.workers import Workers
from pairscope.errors import InputError, PairscopeError, UnknownRun
from pairscope.ports import Services
from pairscope.ports_research import JobView

__all__ = ["add_backtests"]

_LOOK_S: Final = 0.5
"""So often it is looked whether who waits is still there."""

_COLUMNS: Final = (
    "entry_timestamp", "exit_timestamp", "side", "entry_zscore", "exit_zscore", "beta", "pnl", "return", "fees",
    "reason",
)  # fmt: skip

_OF_HEDGE: Final = ("method", "lookback", "beta")

Kind = Literal["backtest", "sweep", "walk_forward"]
Wait = Annotated[
    bool, Query(description="false: 202 with the job at once; its `result` says where the answer will be.")
]
Id = Annotated[str, Path(max_length=64, description="As the run's document says.")]
Leg = Annotated[str | None, Field(max_length=200)]


class RunsQuery(BaseModel):
    """Which of the kept runs."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind | None = Field(None, description="Only of this kind.")
    y: Leg = Field(None, description="Only of pairs with this dependent symbol.")
    x: Leg = Field(None, description="Only of pairs with this hedging symbol.")
    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="Rows of a page.")
    cursor: str | None = Field(None, pattern=r"^\d{13}-\d{4}$", description="`next` of the page before.")


class HeatmapQuery(BaseModel):
    """Which metric over which parameters."""

    model_config = ConfigDict(extra="forbid")

    metric: str = Field("sharpe", max_length=64, description="A column of the sweep's rows.")
    a: str = Field(max_length=64, description="The parameter down, like `entry`.")
    b: str = Field(max_length=64, description="The parameter across, like `exit`.")
    best: bool = Field(False, description="true: the best over what else varied, in place of the mean.")


@contextmanager
def _as_sent() -> Iterator[None]:
    """Let an error name a field where it stands in the body: what concerns the hedge ratio stands below ``hedge``."""
    try:
        yield
    except PairscopeError as error:
        if error.loc in _OF_HEDGE:
            error.loc = f"hedge.{error.loc}"
        raise


def add_backtests(app: FastAPI, services: Services, catalog: Catalog, workers: Workers) -> None:
    """Add the routes of backtests."""
    backtests, jobs = services.backtests, services.jobs

    async def started(
        request: Request,
        start: Callable[[Mapping[str, Any]], JobView],
        body: BacktestIn | SweepIn,
        wait: bool,  # noqa: FBT001 - the route's own
    ) -> Response:
        """Start what a body asks for and return its answer, or the job."""
        document = body.document()
        document["y"] = await resolve_leg(catalog, body.y, "y")
        document["x"] = await resolve_leg(catalog, body.x, "x")
        with _as_sent():
            view = start(document)
        return await answer(request, view, wait)

    async def answer(request: Request, view: JobView, wait: bool) -> Response:  # noqa: FBT001 - the route's own
        """Return what a job made once it is there, or the job; one whose asker has hung up is cancelled."""
        if not wait:
            return accepted(jobs.view(view.id) or view)
        made = asyncio.ensure_future(jobs.wait(view.id))
        try:
            while not made.done():
                await asyncio.wait({made}, timeout=_LOOK_S)
                if not made.done() and await request.is_disconnected():
                    jobs.cancel(view.id)
            with _as_sent():
                made.result()  # raises what went wrong
            return await whole(request, view.id)
        except asyncio.CancelledError:
            jobs.cancel(view.id)
            raise
        finally:
            made.cancel()

    async def found(run_id: str) -> bytes:
        packed = await backtests.packed(run_id)
        if packed is None:
            raise UnknownRun(run_id)
        return packed

    async def whole(request: Request, run_id: str) -> Response:
        packed = await found(run_id)
        headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed, 200, headers | {"Content-Encoding": "gzip"}, "application/json")
        return Response(await workers.run(lambda: gzip.decompress(packed)), 200, headers, "application/json")

    accepted_too: dict[int | str, dict[str, Any]] = {202: {"model": schemas.Job}}

    @app.post(
        "/api/backtest",
        response_model=schemas.BacktestOut,
        responses=accepted_too,
        dependencies=[Depends(json_only)],
        summary="Trade one rule over a pair's past",
    )
    async def backtest(request: Request, body: BacktestIn, wait: Wait = True) -> Response:  # noqa: FBT002
        """Nothing that a bar uses lies after it, nothing is free; the result is judged, and kept.

        Who waits and hangs up cancels it.
        """
        return await started(request, backtests.backtest, body, wait)

    @app.post(
        "/api/backtest/sweep",
        response_model=schemas.SweepOut,
        responses=accepted_too,
        dependencies=[Depends(json_only)],
        summary="Try many rules on a pair's past",
    )
    async def sweep(request: Request, body: SweepIn, wait: Wait = True) -> Response:  # noqa: FBT002
        """A list wherever a number may vary, at most 50,000 combinations; what makes no sense is left out.

        The more was tried the better the best one looks: `deflated_sharpe` and `pbo` say how much of it is luck.
        """
        return await started(request, backtests.sweep, body, wait)

    @app.post(
        "/api/backtest/walk_forward",
        response_model=schemas.WalkForwardOut,
        responses=accepted_too,
        dependencies=[Depends(json_only)],
        summary="Choose rules in one stretch, trade them in the next, again and again",
    )
    async def walk_forward(request: Request, body: WalkForwardIn, wait: Wait = True) -> Response:  # noqa: FBT002
        """A sweep's body with `folds`: what choosing the best of it would have been worth where it was not chosen."""
        return await started(request, backtests.walk_forward, body, wait)

    @app.get("/api/backtests", response_model=schemas.BacktestRuns, summary="Backtests that were run, the newest first")
    async def runs(query: Annotated[RunsQuery, Query()]) -> Response:
        """A line of each; the oldest of more than 500 are forgotten."""
        legs = (("y", query.y), ("x", query.x))
        y, x = (None if name is None else clean_symbol(name, loc) for loc, name in legs)
        lines = list(backtests.runs(kind=query.kind, y=y, x=x, limit=query.limit + 1, before=query.cursor))
        more = len(lines) > query.limit
        lines = lines[: query.limit]
        body = schemas.encode_document({"backtests": lines, "next": lines[-1]["id"] if more else None})
        return Response(body, 200, {"Cache-Control": "no-store"}, "application/json")

    @app.get(
        "/api/backtests/{id}",
        response_model=schemas.BacktestOut | schemas.SweepOut | schemas.WalkForwardOut,
        summary="One run, whole",
    )
    async def one(request: Request, id: Id) -> Response:  # noqa: A002 - what everybody calls it
        return await whole(request, id)

    @app.get(
        "/api/backtests/{id}/heatmap",
        response_model=schemas.HeatmapOut,
        summary="One metric of a sweep over two parameters",
    )
    async def heatmap(id: Id, query: Annotated[HeatmapQuery, Query()]) -> Response:  # noqa: A002
        """What else varied is averaged over, or with `best=true` its best taken."""
        drawn = await backtests.heatmap(id, query.metric, query.a, query.b, best=query.best)
        return Response(schemas.encode_document(drawn), 200, {"Cache-Control": "no-store"}, "application/json")

    @app.get(
        "/api/backtests/{id}/trades.csv",
        response_class=Response,
        responses={200: {"content": {CSV: {"schema": {"type": "string"}, "example": TRADES_EXAMPLE}}}},
        summary="A backtest's trades as CSV",
    )
    async def trades(id: Id) -> Response:  # noqa: A002
        packed = await found(id)

        def encode() -> bytes:
            document = orjson.loads(gzip.decompress(packed))
            if "trades" not in document:
                raise InputError("id: a sweep has no trades of its own", loc="id", hint="run one of its rows")
            return schemas.encode_trades(document["trades"], _COLUMNS)

        headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="trades-{id}.csv"'}
        return Response(await workers.run(encode), 200, headers, CSV)

    @app.delete("/api/backtests/{id}", status_code=204, summary="Forget a run")
    async def forget(id: Id) -> Response:  # noqa: A002
        """That its rules were tried stays counted."""
        if not await backtests.delete(id):
            raise UnknownRun(id)
        return Response(status_code=204)
