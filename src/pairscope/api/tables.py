"""How computed columns leave: JSON, Arrow or CSV, big ones packed beside the event loop."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from enum import Enum
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.answers import ARROW, GZIP_LEVEL
from pairscope.api.workers import Workers

__all__ = ["ARROW", "CSV", "Form", "arrow_stream", "digest_of", "form_of", "json_answer", "table_answer"]

CSV: Final = "text/csv"
_BIG: Final = 65_536


class Form(Enum):
    """What a table is sent as; the value is its media type."""

    JSON = "application/json"
    ARROW = ARROW
    CSV = CSV


def form_of(request: Request, asked: str | None = None, *, csv: bool = False) -> Form:
    """Return the form that is asked for: by ``format``, else by ``Accept``; JSON where neither names another."""
    accept = request.headers.get("accept", "")
    if asked is not None:
        return Form[asked.upper()]
    if ARROW in accept:
        return Form.ARROW
    return Form.CSV if csv and CSV in accept else Form.JSON


def digest_of(*columns: NDArray[Any]) -> bytes:
    """Return a digest of columns: who has the same one was computed from the same numbers."""
    digest = blake2b(digest_size=16)
    for column in columns:
        digest.update(np.ascontiguousarray(column).data)
        digest.update(b"%d" % column.size)
    return digest.digest()


def arrow_stream(columns: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return columns as an Arrow IPC stream; ``timestamp`` (ms) as UTC timestamps, NaN as null."""
    import pyarrow as pa

    kinds = {"timestamp": pa.timestamp("ms", tz="UTC")}
    arrays = {name: pa.array(column, kinds.get(name), from_pandas=True) for name, column in columns.items()}
    table = pa.table(arrays).replace_schema_metadata(dict(metadata))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


async def json_answer(
    request: Request, workers: Workers, body: bytes, more: Mapping[str, Any] | None = None
) -> Response:
    """Return a JSON object with more fields put behind; a big one is packed in a thread for who accepts gzip."""
    if more:
        body = body[:-1] + b"," + schemas.plain_json(more)[1:]
    headers = {"Cache-Control": "no-store", "Vary": "Accept, Accept-Encoding"}
    if len(body) >= _BIG and "gzip" in request.headers.get("accept-encoding", ""):
        whole = body
        body = await workers.run(lambda: gzip.compress(whole, GZIP_LEVEL, mtime=0))
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type=Form.JSON.value)


def table_answer(body: bytes, form: Form, next_cursor: str | None = None, *, gap_bars: int = 0) -> Response:
    """Return a table that is encoded already; ``gap_bars`` of its rows stand on bars that lack trades."""
    headers = {"Cache-Control": "no-store", "Vary": "Accept, Accept-Encoding"}
    if next_cursor is not None:
        headers["X-Next-Cursor"] = next_cursor
    if gap_bars:
        headers["X-Gap-Bars"] = str(gap_bars)
    return Response(body, headers=headers, media_type=form.value)
