"""Bulk history over HTTP: back-fills, the exchange's archive files, and what came of each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import Depends, FastAPI, File, Form, Path, Query, UploadFile
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.catalog import clean_symbol
from pairscope.api.job_examples import JOB_EXAMPLE
from pairscope.api.jobs import accepted
from pairscope.api.parameters import Time
from pairscope.api.watchlist import json_only
from pairscope.ports import Services
from pairscope.ports_bulk import BulkRequest
from pairscope.ports_research import JobView
from pairscope.schemas.bulk import BackfillOut, ExchangeFileOut

__all__ = ["BULK_EXAMPLES", "FILE_PATH", "add_bulk"]

FILE_PATH: Final = "/api/upload/exchange"
"""Where files come in that may be larger than other bodies."""

_PIECE: Final = 1 << 20
_BACKFILL: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "kind": "bars", "symbols": ["BTCUSDT", "ETHUSDT"], "since": 1_764_547_200_000, "until": 1_767_225_600_000,
        "stored": 89_280, "requests": 182, "failed": {}, "too_old": None,
    }
)  # fmt: skip
_FILE: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "file": "BTCUSDT-aggTrades-2025-12-31.zip", "symbol": "BTCUSDT", "kind": "trades", "timeframe": None,
        "rows": 1_204_817, "stored": 1_204_816, "repeats": 0, "healed": 4_211, "bars": 87_840, "rejected": 1, "void": 1,
        "without_trades": 0, "reasons": {"size": 1},
        "examples": [{"row": 402, "column": "size", "reason": "no size or no price: its id counts, and nothing else"}],
        "notes": [], "first_timestamp": 1_767_139_200_012, "last_timestamp": 1_767_225_599_871,
    }
)  # fmt: skip
BULK_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {"/api/backfill": dict(_BACKFILL), FILE_PATH: dict(_FILE), "/api/bulk/{id}": dict(_BACKFILL)}
)

_JOB: Final = MappingProxyType(
    {
        **JOB_EXAMPLE, "kind": "backfill", "title": "minutes of BTCUSDT, ETHUSDT", "done": 21_457, "total": 89_280,
        "result": "/api/bulk/9f2c4b7a1d3e5f60",
    }
)  # fmt: skip
_ACCEPTED: Mapping[int | str, Any] = MappingProxyType(
    {
        202: {
            "description": "It goes on; `Location` is its job",
            "model": schemas.Job,
            "content": {"application/json": {"example": dict(_JOB)}},
        }
    }
)

Id = Annotated[str, Path(max_length=64, description="As the job's document says.")]
Wait = Annotated[bool, Query(description="true: the answer in place of 202 with the job.")]


class BackfillIn(BaseModel):
    """What to fetch from the exchange; symbols by name, or the busiest, or all."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"symbols": ["BTCUSDT", "ETHUSDT"], "since": "2025-12-01", "kind": "bars"}]},
    )

    symbols: list[str] = Field([], max_length=1000, description="Names, also as one text with commas.")
    top: int | None = Field(None, ge=1, le=1000, description="The busiest so many by 24 h quote volume.")
    all: bool = Field(False, description="true: every symbol that is traded.")
    since: Time = Field(description="Included: milliseconds since the epoch, or ISO 8601.")
    until: Time | None = Field(None, description="Excluded; now, where it is left out.")
    kind: Literal["bars", "trades"] = Field(
        "bars", description="One-minute bars of any time, or trades of the last 48 hours."
    )

    @field_validator("symbols", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    def request(self) -> BulkRequest:
        """Return it as what carries it out takes it."""
        names = tuple(clean_symbol(name, "symbols") for name in self.symbols)
        return BulkRequest(names, self.since, self.until, self.kind, self.top, self.all)


def add_bulk(app: FastAPI, services: Services) -> None:
    """Add the routes of bulk history."""
    bulk = services.bulk

    async def answer(view: JobView, wait: bool) -> Response:  # noqa: FBT001 - the route's own
        return _json(await bulk.result(view.id)) if wait else accepted(services.jobs.view(view.id) or view)

    @app.post(
        "/api/backfill",
        response_model=BackfillOut,
        responses=dict(_ACCEPTED),
        summary="Fetch history from the exchange",
        dependencies=[Depends(json_only)],
    )
    async def backfill(body: BackfillIn, wait: Wait = False) -> Response:  # noqa: FBT002 - a query parameter
        """What is not stored of a range, behind everything else that the exchange is asked for. A job.

        One that was broken off goes on where it is asked for again: what is stored is not asked for.
        """
        return await answer(bulk.backfill(body.request()), wait)

    @app.post(
        FILE_PATH,
        response_model=ExchangeFileOut,
        responses=dict(_ACCEPTED),
        summary="Read a file of the exchange's archive, or of exported trades",
    )
    async def exchange_file(
        file: Annotated[
            UploadFile,
            File(
                description="aggTrades or klines: a zip of one CSV, or the CSV. Or trades as /api/export writes them."
            ),
        ],
        symbol: Annotated[
            str | None, Form(max_length=200, description="Where the file's name does not say it.")
        ] = None,
        wait: Wait = False,  # noqa: FBT002 - a query parameter
    ) -> Response:
        """Trades fill holes, whatever their verdict; what is stored already stays as it is. A job.

        The file is checked whole before any of it is stored. `file.filename` is the exchange's, like
        `BTCUSDT-aggTrades-2025-12-31.zip`; exported trades are known by their columns, in every format and packing.
        """
        whose = clean_symbol(symbol) if symbol else None
        return await answer(await bulk.take_file(file.filename or "", _pieces(file), symbol=whose), wait)

    @app.get(
        "/api/bulk/{id}", response_model=BackfillOut | ExchangeFileOut, summary="What a back-fill or a file came to"
    )
    async def result(id: Id) -> Response:  # noqa: A002 - what everybody calls it
        """Waits for the job where it has not ended."""
        return _json(await bulk.result(id))


async def _pieces(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(_PIECE):
        yield piece


def _json(document: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(document), 200, {"Cache-Control": "no-store"}, "application/json")
