"""Uploads over HTTP: a file of bars is read, judged row by row and stored whole, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, Final

import orjson
from fastapi import Depends, FastAPI, Query, Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.catalog import Catalog, clean_symbol
from pairscope.api.options import ApiOptions
from pairscope.api.parameters import Timeframe
from pairscope.api.prices import SymbolPath
from pairscope.api.problems import problem
from pairscope.api.workers import Workers
from pairscope.errors import Busy, ForeignFile, InputError
from pairscope.market.bars import TIMEFRAMES, Origin
from pairscope.ports import Services
from pairscope.schemas.uploads import RemovedOut, UploadedOut, UploadOut
from pairscope.transfer.upload_reading import UploadAsked, UploadReading, read_upload
from pairscope.transfer.upload_storing import UPLOADS, UploadOutcome, judge_upload, store_upload, upload_key
from pairscope.transfer.upload_unpacking import UploadLimits

__all__ = ["FORM_BYTES", "UPLOAD_EXAMPLES", "UPLOAD_PATH", "add_uploads"]

UPLOAD_PATH: Final = "/api/upload/ohlc"

FORM_BYTES: Final = 1 << 16
"""What a form may have beside its file."""

_MS: Final = 1_000_000
_AT_ONCE: Final = 4
"""Uploads under way; one of them is read at a time, the others' files lie on the disk."""
_FIELDS: Final = ("symbol", "timeframe", "partial", "preview")
_FIELD_BYTES: Final = 1 << 12
_NAMED: Final = 3
_YES, _NO = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off", ""})

_FORM: Final = MappingProxyType(
    {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "CSV (, ; TAB or |), JSON (array of objects, object of columns, the "
                            "exchange's arrays, a line an object) or Parquet, also in gzip, zip or zstd. Columns by "
                            "their usual names; `timestamp` is the bar's open, ISO 8601 or s, ms, µs, ns.",
                        },
                        "symbol": {"type": "string", "description": "May be left to a column `symbol` of the file."},
                        "timeframe": {
                            "type": "string",
                            "enum": list(TIMEFRAMES),
                            "description": "Left out: the commonest distance of two bars.",
                        },
                        "partial": {"type": "boolean", "description": "Store the good rows whatever the others are."},
                        "preview": {"type": "boolean", "description": "Store nothing, say what would come of it."},
                    },
                },
                "example": {
                    "file": "timestamp,open,high,low,close,volume\n2026-01-01T00:00:00Z,1.5,1.6,1.4,1.55,1200\n",
                    "symbol": "MYCOIN",
                    "timeframe": "1m",
                },
            }
        },
    }
)

UPLOAD_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        UPLOAD_PATH: {
            "inserted": 1438,
            "updated": 2,
            "unchanged": 0,
            "rejected": [],
            "rejected_total": 0,
            "rejected_rows": 0,
            "accepted": True,
            "stored": True,
            "symbols": ["MYCOIN"],
            "timeframe": "1m",
            "rows": 1440,
            "first_timestamp": 1767225600000,
            "last_timestamp": 1767311940000,
            "columns": {"timestamp": "Open time", "open": "Open", "high": "High", "low": "Low", "close": "Close"},
            "time_unit": "ms",
            "preview": [],
        },
        "/api/uploads": [
            {
                "symbol": "MYCOIN",
                "timeframe": "1m",
                "rows": 1440,
                "first_timestamp": 1767225600000,
                "last_timestamp": 1767311940000,
                "uploaded_at": 1767312000123,
                "filename": "mycoin.csv",
            }
        ],
        "/api/uploads/{symbol}": {"symbol": "MYCOIN", "timeframe": None, "removed": 1440},
    }
)


def multipart_only(request: Request) -> None:
    """Refuse a body that does not say that it is a form with a file."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise HTTPException(415, "the body must be multipart/form-data")


def add_uploads(app: FastAPI, services: Services, catalog: Catalog, workers: Workers, options: ApiOptions) -> None:
    """Add the routes of uploads."""
    limits = UploadLimits(bytes=options.max_upload_bytes)
    places, turn = asyncio.Semaphore(_AT_ONCE), asyncio.Lock()

    @app.post(
        UPLOAD_PATH,
        response_model=UploadOut,
        dependencies=[Depends(multipart_only)],
        openapi_extra={"requestBody": dict(_FORM)},
        summary="Upload bars",
    )
    async def upload(request: Request) -> Response:
        """All rows or none, unless `partial`: else 422 with every fault by row and column under `rejected`.

        Bars of a time that own ticks cover are rejected. Longer timeframes are built from what was uploaded.
        """
        if places.locked():
            raise Busy(f"{_AT_ONCE} uploads are under way already")
        async with places, _Form(request) as form, turn:
            return await answer(form)

    async def answer(form: _Form) -> Response:
        body = await form.file.read()
        if len(body) > limits.bytes:
            raise HTTPException(413, f"a file has at most {limits.bytes} bytes")
        asked = UploadAsked(form.text("symbol"), form.text("timeframe"), form.file.filename or "")
        keep_good, preview = form.flag("partial"), form.flag("preview")
        now_ns = services.clock()
        try:
            reading: UploadReading = await workers.run(partial(read_upload, body, asked, now_ns=now_ns, limits=limits))
        except InputError as error:
            return _unreadable(error)
        del body
        store = services.store
        if preview:
            outcome = await judge_upload(store, reading, partial=keep_good)
            return _json({**outcome.document(), "preview": outcome.preview()})
        name = form.file.filename or ""
        outcome = await store_upload(store, reading, partial=keep_good, filename=name, now_ns=now_ns)
        if not outcome.stored:
            return _refused(outcome)
        if len(outcome.bars):
            services.imported(outcome.bars)
        catalog.forget()
        return _json({**outcome.document(), "preview": []})

    @app.get("/api/uploads", response_model=list[UploadedOut], summary="What was uploaded")
    async def many() -> Response:
        """The bars that people brought, by symbol and timeframe."""
        notes = {key: orjson.loads(body) async for key, body in services.records.scan(UPLOADS)}
        rows = []
        for span in await services.store.uploaded():
            note = notes.get(upload_key(span.symbol, span.timeframe), {})
            rows.append(
                {
                    "symbol": span.symbol,
                    "timeframe": span.timeframe,
                    "rows": span.rows,
                    "first_timestamp": span.first_ns // _MS,
                    "last_timestamp": span.last_ns // _MS,
                    "uploaded_at": note.get("uploaded_at"),
                    "filename": note.get("filename"),
                }
            )
        return _json(rows)

    @app.delete("/api/uploads/{symbol}", response_model=RemovedOut, summary="Delete uploaded bars")
    async def remove(
        symbol: SymbolPath,
        timeframe: Annotated[Timeframe | None, Query(description="Of this one only; left out: of all.")] = None,
    ) -> Response:
        """Only what was uploaded goes: own bars and the exchange's stay."""
        name = clean_symbol(symbol)
        spans = [span for span in await services.store.uploaded() if span.symbol == name]
        if not any(timeframe in {None, span.timeframe} for span in spans):
            what = name if timeframe is None else f"{name} of {timeframe}"
            told = f"no bars of {what} were uploaded"
            errors = [{"loc": ["path", "symbol"], "msg": told}]
            return problem(404, told, kind="unknown-upload", title="Unknown upload", errors=errors)
        removed = await services.store.remove_bars(name, timeframe, Origin.UPLOAD)
        for span in spans:
            if timeframe in {None, span.timeframe}:
                await services.records.delete(UPLOADS, upload_key(name, span.timeframe))
        catalog.forget()
        return _json({"symbol": name, "timeframe": timeframe, "removed": removed})


class _Form:
    """A multipart form of one file and few words; what it holds on disk goes when it is left."""

    file: UploadFile

    def __init__(self, request: Request) -> None:
        self._request = request
        self._fields: FormData = FormData()

    async def __aenter__(self) -> _Form:
        try:
            self._fields = await self._request.form(
                max_files=1, max_fields=2 * len(_FIELDS), max_part_size=_FIELD_BYTES
            )
        except HTTPException as error:
            if error.status_code != 400:
                raise
            raise InputError(f"the form cannot be read: {error.detail}", loc="file") from error
        except (ValueError, LookupError) as error:
            raise InputError("the form cannot be read", loc="file") from error
        try:
            self._check()
        except InputError:
            await self._fields.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._fields.close()

    def _check(self) -> None:
        for name in self._fields:
            if name != "file" and name not in _FIELDS:
                raise InputError("there is no such field", loc=name[:40])
            if len(self._fields.getlist(name)) > 1:
                raise InputError("is there twice", loc=name)
        file = self._fields.get("file")
        if not isinstance(file, UploadFile):
            raise InputError("file: the form has no file", loc="file")
        self.file = file

    def text(self, name: str) -> str:
        """Return a word of the form, empty where it is not there."""
        value = self._fields.get(name, "")
        if not isinstance(value, str):
            raise InputError("must be a word, no file", loc=name)
        return value.strip()

    def flag(self, name: str) -> bool:
        """Return a yes or no of the form."""
        word = self.text(name).lower()
        if word not in _YES | _NO:
            raise InputError(f"{name}: must be true or false", loc=name)
        return word in _YES


def _refused(outcome: UploadOutcome) -> Response:
    """Return why nothing of a file was stored, row by row."""
    told = "; ".join(_told(fault._asdict()) for fault in outcome.faults[:_NAMED])
    rows = outcome.faulty_rows
    detail = f"{rows:,} of {outcome.reading.rows:,} rows {'is' if rows == 1 else 'are'} rejected, nothing was stored: "
    more = f"; and {outcome.fault_count - _NAMED:,} more" if outcome.fault_count > _NAMED else ""
    hint = "mend the rows" + (", or send partial=true to store the others" if rows < outcome.reading.rows else "")
    return _with_rejected("rejected-rows", "Rejected rows", detail + told + more, hint, outcome.rejections())


def _unreadable(error: InputError) -> Response:
    """Return why a file could not be read at all."""
    rejected = {"rejected": [{"row": None, "column": None, "reason": str(error)}], "rejected_total": 1}
    kind = "foreign-file" if isinstance(error, ForeignFile) else "bad-parameter"
    errors = [{"loc": ["body", error.loc or "file"], "msg": str(error)}]
    title = "Foreign file" if isinstance(error, ForeignFile) else "Bad parameter"
    return _with_rejected(kind, title, str(error), error.hint, {**rejected, "rejected_rows": 0}, errors)


def _with_rejected(
    kind: str,
    title: str,
    detail: str,
    hint: str,
    rejected: Mapping[str, Any],
    errors: list[dict[str, Any]] | None = None,
) -> Response:
    """Return a 422 that lists rejected rows beside what every problem says."""
    if errors is None:
        errors = [
            {"loc": ["body", "file", *(part for part in (fault["row"], fault["column"]) if part is not None)],
             "msg": fault["reason"]}
            for fault in rejected["rejected"][:20]
        ]  # fmt: skip
    plain = problem(422, detail, kind=kind, title=title, errors=errors, hint=hint)
    document = orjson.loads(plain.body) | dict(rejected)
    return Response(orjson.dumps(document), 422, {"Cache-Control": "no-store"}, plain.media_type)


def _told(fault: Mapping[str, Any]) -> str:
    column = f", column {fault['column']}" if fault["column"] else ""
    return f"row {fault['row']}{column}: {fault['reason']}"


def _json(document: Any) -> Response:
    return Response(schemas.plain_json(document), 200, {"Cache-Control": "no-store"}, "application/json")
