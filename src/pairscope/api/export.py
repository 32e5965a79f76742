"""Exports over HTTP: what is stored leaves as a file, streamed, packed on request, and taken up again at any byte."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, get_args

from fastapi import FastAPI, Path, Query, Request
from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.answers import ARROW
from pairscope.api.catalog import Catalog
from pairscope.api.export_answer import Exports
from pairscope.api.legs import resolve_leg
from pairscope.api.parameters import RangeQuery, Timeframe, check_range
from pairscope.errors import InputError
from pairscope.market.bars import TIMEFRAMES
from pairscope.market.pairs import MOST_LOOKBACK, HedgeMethod, PairSettings, PriceSpace
from pairscope.ports import Services
from pairscope.transfer.export import Export
from pairscope.transfer.export_format import Compression, Format, FormatName
from pairscope.transfer.export_history import History, HistorySource
from pairscope.transfer.export_name import file_name
from pairscope.transfer.export_pair import PairSource
from pairscope.transfer.export_source import BarSource, Source, TickSource

__all__ = ["EXPORT_EXAMPLES", "MOST_SYMBOLS", "add_export"]

MOST_SYMBOLS: Final = 1000
"""Symbols of one file."""

_ABOUT_FORMAT: Final = (
    "CSV has times in ISO 8601, JSON lines in ms; Parquet and Arrow (an IPC stream) as UTC timestamps. Where it is not "
    "named, `Accept` may ask for Arrow."
)
_ABOUT_PACKING: Final = "Of the whole file, or inside it where that is Parquet or Arrow (zstd only)."

_WRITTEN: Final = {
    "csv": "id,timestamp,price,size,buyer_is_maker\n3000001,2026-01-01T00:00:00.123Z,65003.2,0.015,false\n",
    "jsonl": '{"id":3000001,"timestamp":1767225600123,"price":65003.2,"size":0.015,"buyer_is_maker":false}\n',
    "parquet": "PAR1...",
    "arrow": "",
}
_FORMS: Final = (
    *(Format(name) for name in get_args(FormatName)),
    *(Format("csv", compression) for compression in get_args(Compression)[1:]),
)
_CONTENTS: Final = {
    form.media_type.partition(";")[0]: {
        "schema": {"type": "string", "format": "binary"},
        "example": _WRITTEN[form.name] if form.compression == "none" else "",
    }
    for form in _FORMS
}

EXPORT_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        "/api/export/{symbol}/estimate": {
            "rows": 1843212,
            "bytes": 102298266,
            "first_timestamp": 1767225600012,
            "last_timestamp": 1767311999871,
            "filename": "BTCUSDT_tick_20260101T000000Z_20260102T000000Z.csv",
            "exact": False,
        },
    }
)


def _timeframe(value: Any) -> str:
    if value not in {"tick", *TIMEFRAMES}:
        raise ValueError(f"must be one of tick, {', '.join(TIMEFRAMES)}")
    return str(value)


ExportTimeframe = Annotated[
    str, BeforeValidator(_timeframe), WithJsonSchema({"type": "string", "enum": ["tick", *TIMEFRAMES]})
]
Leg = Annotated[str, Path(description="The exchange's name, in any case.")]
Symbols = Annotated[
    str, Path(description="One name or several separated by commas: then `symbol` is the first column.")
]


class _FormatFields(BaseModel):
    """How a file is written."""

    format: FormatName = Field("csv", description=_ABOUT_FORMAT)
    compression: Compression = Field("none", description=_ABOUT_PACKING)


class ExportQuery(RangeQuery, _FormatFields):
    """Which rows leave, and how."""

    timeframe: ExportTimeframe = Field("1m", description="tick: every trade.")
    columns: Literal["contract", "all"] = Field("contract", description="all: everything that is stored of a row.")


class PairExportQuery(RangeQuery, _FormatFields):
    """How a pair is computed, over which bars, and how it is written."""

    timeframe: Timeframe = "1m"
    lookback: int = Field(1440, ge=3, le=MOST_LOOKBACK, description="Closed bars that a hedge ratio is fitted on.")
    window: int = Field(60, ge=2, le=MOST_LOOKBACK, description="Bars of z-score and correlation.")
    method: HedgeMethod = Field("ols", description="Whose hedge ratio makes the spread.")
    price_space: PriceSpace = Field("log", description="Spread in logs of prices, or in prices.")


class HistoryQuery(RangeQuery, _FormatFields):
    """Which time, and how it is written."""


class ExportEstimate(BaseModel):
    """About how large a file would be."""

    rows: int
    bytes: int = Field(description="By the first rows, unless `exact`.")
    first_timestamp: int | None = Field(description="ms; null where there is no row.")
    last_timestamp: int | None = Field(description="ms.")
    filename: str
    exact: bool = Field(description="Whether rows and bytes were counted.")


def add_export(app: FastAPI, services: Services, catalog: Catalog) -> None:
    """Add the routes that stored rows leave by."""
    exports = Exports(services.source)
    file: dict[int | str, dict[str, Any]] = {200: {"content": dict(_CONTENTS)}}

    async def asked(request: Request, symbol: str, query: ExportQuery) -> tuple[Export, str]:
        names = await _names(catalog, symbol)
        start_ns, end_ns = check_range(query)
        written = _format(request, query)
        everything = query.columns == "all"
        source: Source
        if query.timeframe == "tick":
            source = TickSource(services.store, names, start_ns, end_ns, everything=everything)
        else:
            source = BarSource(services.store, names, query.timeframe, start_ns, end_ns, everything=everything)
        return Export(source, written), file_name(names, query.timeframe, start_ns, end_ns, written.ending)

    @app.get(
        "/api/export/{symbol}",
        response_class=Response,
        responses={**file, 206: {"description": "The part of the file that `Range` asked for"}},
        summary="Stored trades or closed bars as a file",
    )
    async def rows(request: Request, symbol: Symbols, query: Annotated[ExportQuery, Query()]) -> Response:
        """Everything that is stored in [start, end), by default all of it. Streamed; `Range` resumes it.

        Columns are `id,timestamp,price,size,buyer_is_maker`, or `timestamp,open,high,low,close,volume,trades`. The ETag
        changes when the rows do: send it as `If-Range`. `X-Source` says live, replay or synthetic.
        """
        return await exports.answer(request, *await asked(request, symbol, query))

    @app.get(
        "/api/export/{symbol}/estimate", response_model=ExportEstimate, summary="How large an export would be, about"
    )
    async def estimate(request: Request, symbol: Symbols, query: Annotated[ExportQuery, Query()]) -> Response:
        """The same parameters; nothing is written but the first rows."""
        export, name = await asked(request, symbol, query)
        found = await exports.estimate(export)
        said = {
            "rows": found.size.rows,
            "bytes": found.bytes,
            "first_timestamp": found.size.first_ms,
            "last_timestamp": found.size.last_ms,
            "filename": name,
            "exact": found.exact and found.size.exact,
        }
        return Response(schemas.plain_json(said), headers={"Cache-Control": "no-store"}, media_type="application/json")

    @app.get(
        "/api/export/pair/{y}/{x}", response_class=Response, responses={**file}, summary="A pair bar by bar as a file"
    )
    async def pair(request: Request, y: Leg, x: Leg, query: Annotated[PairExportQuery, Query()]) -> Response:
        """Hedge ratio, spread, z-score and correlation at each closed bar of [start, end) that both legs have.

        Each value is the one that was known at its bar; `bars` says how many the hedge ratio was fitted on. Kalman is
        the live pair's, as `/api/analytics/pair` gives it with `recursion=live`.
        """
        start_ns, end_ns = check_range(query)
        window = query.window if "window" in query.model_fields_set else min(query.window, query.lookback)
        settings = PairSettings(
            await resolve_leg(catalog, y, "y"), await resolve_leg(catalog, x, "x"), timeframe=query.timeframe,
            lookback=query.lookback, window=window, method=query.method, price_space=query.price_space,
        )  # fmt: skip
        written = _format(request, query)
        export = Export(PairSource(services.store, settings, start_ns, end_ns), written)
        kind = f"pair_{query.timeframe}_{query.method}"
        return await exports.answer(
            request, export, file_name([settings.y, settings.x], kind, start_ns, end_ns, written.ending)
        )

    @app.get(
        "/api/export/history/{kind}", response_class=Response, responses={**file}, summary="What was told and traded"
    )
    async def history(
        request: Request,
        kind: Annotated[History, Path(description="Firings of alerts, trades of kept backtests, trades on paper.")],
        query: Annotated[HistoryQuery, Query()],
    ) -> Response:
        """Of [start, end); the time of a trade is that of its entry. Firings come newest first.

        In CSV a cell of text that a spreadsheet would take for a formula begins with an apostrophe.
        """
        start_ns, end_ns = check_range(query)
        written = _format(request, query)
        export = Export(HistorySource(services.records, kind, start_ns, end_ns), written)
        return await exports.answer(request, export, file_name([], kind, start_ns, end_ns, written.ending))


def _format(request: Request, query: _FormatFields) -> Format:
    """Return how a file is written: as ``format`` says, and where nobody says it, as Arrow for who accepts that."""
    arrow = "format" not in query.model_fields_set and ARROW in request.headers.get("accept", "")
    return Format("arrow" if arrow else query.format, query.compression)


async def _names(catalog: Catalog, text: str) -> list[str]:
    """Return the symbols of a list; ``InputError`` where one is there twice or they are too many."""
    given = [part.strip() for part in text.split(",") if part.strip()] or [text]
    if len(given) > MOST_SYMBOLS:
        raise InputError(f"at most {MOST_SYMBOLS} symbols make one file, there are {len(given)}", loc="symbol")
    names = [await resolve_leg(catalog, part, "symbol") for part in given]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{twice} is there twice", loc="symbol")
    return names
