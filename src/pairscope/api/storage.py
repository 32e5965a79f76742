"""The life of stored days over HTTP: what lies where, archive, retention, compaction and check."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

import orjson
from fastapi import Depends, FastAPI, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.catalog import Catalog
from pairscope.api.jobs import accepted
from pairscope.api.legs import resolve_leg
from pairscope.api.parameters import RangeQuery, Time, check_range
from pairscope.api.watchlist import json_only
from pairscope.ports import Services
from pairscope.ports_storage import ArchiveRequest, RetentionRequest
from pairscope.schemas.storage import PlanOut, StorageOut

__all__ = ["STORAGE_EXAMPLES", "add_storage"]

_DAY: Mapping[str, Any] = MappingProxyType(
    {
        "date": "2025-12-01", "symbol": "BTCUSDT", "ticks": 1_204_817, "bars_1s": 79_204, "bars_1m": 1440,
        "bytes": 9_812_403, "where": "archive",
    }
)  # fmt: skip
_PLAN: Mapping[str, Any] = MappingProxyType(
    {
        "days": 1, "ticks": 1_204_817, "bars": 80_644, "bytes": 9_812_403,
        "rows": [{"date": "2025-12-01", "symbol": "BTCUSDT", "ticks": 1_204_817, "bytes": 9_812_403}],
    }
)  # fmt: skip
_MOVED: Mapping[str, Any] = MappingProxyType(
    {"days": 1, "ticks": 1_204_817, "bars": 80_644, "files": 3, "bytes": 9_812_403}
)
_JOB: Mapping[str, Any] = MappingProxyType(
    {
        "id": "0123456789abcdef", "kind": "compact", "title": "compact the store", "status": "running", "done": 0,
        "total": 0, "created_ms": 1_767_225_600_000, "started_ms": 1_767_225_600_001, "ended_ms": None, "error": None,
        "result": "/api/storage/result/0123456789abcdef",
    }
)  # fmt: skip
STORAGE_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        "/api/storage": {
            "kind": "DuckDB", "location": "data/pairscope.duckdb", "bytes": 1_306_525_696, "used_bytes": 1_104_936_960,
            "free_bytes": 214_748_364_800, "ticks": 81_204_817, "bars": 3_204_117,
            "archive": {"url": "data/archive", "files": 60, "bytes": 412_090_112, "ticks": 61_204_817, "bars": 204_117},
            "retention": {"days": 90, "gb": 0}, "archive_after_days": 7, "days": [dict(_DAY)],
        },
        "/api/storage/archive": dict(_PLAN), "/api/storage/retention": dict(_PLAN),
        "/api/storage/result/{id}": dict(_MOVED), "/api/storage/compact": dict(_JOB), "/api/storage/check": dict(_JOB),
    }
)  # fmt: skip

_ACCEPTED: Final[Mapping[int | str, Any]] = MappingProxyType({202: {"description": "Its job", "model": schemas.Job}})

Id = Annotated[str, Path(max_length=64, description="As the job's document says.")]
DryRun = Annotated[bool, Field(description="true: say what would be, and change nothing.")]


class StorageQuery(RangeQuery):
    """Which days."""

    symbol: str | None = Field(None, max_length=200, description="Only of this symbol; in any case.")


class ArchiveIn(BaseModel):
    """Which days to archive; without either time as the settings have it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"older_than_days": 7, "dry_run": True}]})

    before: Time | None = Field(None, description="Days that end by this date: `2026-01-31`, or milliseconds.")
    older_than_days: int | None = Field(
        None, ge=0, le=100_000, description="Or: days before today by more than so many."
    )
    symbols: list[str] | None = Field(None, max_length=1000, description="Some; left out: all.")
    dry_run: DryRun = False


class RetentionIn(BaseModel):
    """What is kept; what is left out is as the settings have it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"days": 90, "dry_run": True}]})

    days: int | None = Field(None, ge=0, le=100_000, description="Today and so many whole days before it; 0: all.")
    gb: float | None = Field(
        None, ge=0, le=1e9, allow_inf_nan=False, description="Gigabytes (10⁹ bytes) of store and archive; 0: any."
    )
    dry_run: DryRun = False


class CheckIn(BaseModel):
    """Whether to mend what can be."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"repair": False}]})

    repair: bool = Field(False, description="true: mend what can be.")


def add_storage(app: FastAPI, services: Services, catalog: Catalog) -> None:
    """Add the routes of the life of stored days."""
    keeping = services.keeping

    @app.get("/api/storage", response_model=StorageOut, summary="What is kept where, day by day")
    async def overview(query: Annotated[StorageQuery, Query()]) -> Response:
        """Days are UTC; a symbol and a range narrow `days`, not the totals. It counts all stored rows."""
        check_range(query)
        symbol = None if query.symbol is None else await resolve_leg(catalog, query.symbol, "symbol")
        return _json(await keeping.overview(symbol, query.start, query.end))

    @app.post(
        "/api/storage/archive",
        response_model=PlanOut,
        responses=dict(_ACCEPTED),
        summary="Move old days to the archive",
        dependencies=[Depends(json_only)],
    )
    async def archive(body: ArchiveIn) -> Response:
        """They are answered for as before. 202 with a job; a dry run answers at once."""
        symbols = [await resolve_leg(catalog, name, "symbols") for name in body.symbols or ()]
        request = ArchiveRequest(body.before, body.older_than_days, tuple(symbols))
        return _json(await keeping.archivable(request)) if body.dry_run else accepted(keeping.archive(request))

    @app.post(
        "/api/storage/retention",
        response_model=PlanOut,
        responses=dict(_ACCEPTED),
        summary="Delete old days",
        dependencies=[Depends(json_only)],
    )
    async def retention(body: RetentionIn) -> Response:
        """Whole days, the oldest first, stored and archived; uploaded bars stay. 202 with a job; a dry run answers."""
        request = RetentionRequest(body.days, body.gb)
        return _json(await keeping.deletable(request)) if body.dry_run else accepted(keeping.delete(request))

    @app.post(
        "/api/storage/compact",
        response_model=schemas.Job,
        responses=dict(_ACCEPTED),
        summary="Give unused room of the store's file back",
    )
    async def compact() -> Response:
        """Needs as much room again meanwhile; new ticks wait in the spool, reads wait for some milliseconds."""
        return accepted(keeping.compact())

    @app.post(
        "/api/storage/check",
        response_model=schemas.Job,
        responses=dict(_ACCEPTED),
        summary="Check whether all that is kept is whole",
        dependencies=[Depends(json_only)],
    )
    async def check(body: CheckIn) -> Response:
        """Ids, bars against ticks, and the archive's checksums; `repair` mends what can be."""
        return accepted(keeping.check(repair=body.repair))

    @app.get("/api/storage/result/{id}", response_model=dict[str, Any], summary="What such a job came to")
    async def result(id: Id) -> Response:  # noqa: A002 - what everybody calls it
        """Waits for it."""
        return _json(await keeping.result(id))


def _json(document: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(document), 200, {"Cache-Control": "no-store"}, "application/json")
