"""Jobs over HTTP: long computations, how far each is, and an end to those that nobody needs any more."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import FastAPI, Path, Query
from starlette.responses import Response

from pairscope import schemas
from pairscope.errors import UnknownJob
from pairscope.ports import Services
from pairscope.ports_research import JobView

__all__ = ["accepted", "add_jobs"]

Id = Annotated[str, Path(description="As the job's document says.", max_length=64)]
Kind = Annotated[
    Literal[
        "screen", "null", "backtest", "sweep", "walk_forward",
        "backfill", "exchange", "archive", "retention", "compact", "check",
    ]
    | None,
    Query(description="Only of this kind."),
]  # fmt: skip


def accepted(view: JobView) -> Response:
    """Return the answer 202 of an endpoint whose own answer a job will bring: the job, and where to look after it."""
    headers = {"Location": f"/api/jobs/{view.id}", "Cache-Control": "no-store", "Retry-After": "1"}
    return Response(schemas.encode_job(view), 202, headers, "application/json")


def add_jobs(app: FastAPI, services: Services) -> None:
    """Add the routes of jobs."""
    jobs = services.jobs

    def found(id: str) -> JobView:  # noqa: A002 - what everybody calls it
        view = jobs.view(id)
        if view is None:
            raise UnknownJob(id)
        return view

    @app.get("/api/jobs", response_model=schemas.JobsOut, summary="Long computations, the newest first")
    async def many(kind: Kind = None) -> Response:
        """Those that wait or run and the last 200 that have ended; also the topic `jobs` of the stream."""
        return _json(schemas.encode_jobs(jobs.views(kind)))

    @app.get("/api/jobs/{id}", response_model=schemas.Job, summary="How far a long computation is")
    async def one(id: Id) -> Response:  # noqa: A002
        """Also the topic `job:ID` of the stream."""
        return _json(schemas.encode_job(found(id)))

    @app.delete("/api/jobs/{id}", response_model=schemas.Job, summary="Cancel a long computation")
    async def cancel(id: Id) -> Response:  # noqa: A002
        """It ends when it next comes up for air; one that has ended stays as it is."""
        found(id)
        jobs.cancel(id)
        return _json(schemas.encode_job(found(id)))


def _json(body: bytes) -> Response:
    return Response(body, 200, {"Cache-Control": "no-store"}, "application/json")
