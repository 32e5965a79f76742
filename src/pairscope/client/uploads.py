"""A person's own bars going in through the API: files, tables of any library, and the exchange's archive files."""

from __future__ import annotations

import io
import json
from collections.abc import Generator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from pairscope.client.asking import Ask, Caller, Steps, call, changed, file_ask, read, segment, written
from pairscope.client.frames import FrameKind, table_of
from pairscope.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UploadCalls"]

PATIENCE_S: Final = 600.0
"""So long is waited for an upload to be read and stored."""

_COLUMNS: Final = ("symbol", "timeframe", "rows", "first_timestamp", "last_timestamp", "uploaded_at", "filename")
_TIMES: Final = ("first_timestamp", "last_timestamp", "uploaded_at")


class UploadCalls(Caller):
    """What comes in from outside."""

    @call
    def upload(
        self,
        source: Any,
        symbol: str | None = None,
        timeframe: str | None = None,
        *,
        partial: bool = False,
        preview: bool = False,
        filename: str | None = None,
    ) -> Steps[dict[str, Any]]:
        """Store bars of one's own and return what became of them.

        That is ``inserted``, ``updated``, ``unchanged`` and ``rejected``. ``source`` is the path of a CSV, JSON or
        Parquet file, such a file's content, or a table of pandas, polars or Arrow. Nothing is stored unless every row
        is good, or ``partial``; with ``preview`` nothing is, and the answer says how the file is read. ``InputError``
        where it is refused: its ``problem["rejected"]`` lists every fault by row and column.
        """
        fields = {"symbol": symbol, "timeframe": timeframe, "partial": partial or None, "preview": preview or None}
        with _opened(source, filename) as (name, content):
            ask = file_ask("/api/upload/ohlc", name, content, fields, timeout=PATIENCE_S)
            return dict((yield from changed(ask)).json())

    @call
    def uploads(self, *, frame: FrameKind | None = None) -> Steps[pd.DataFrame]:
        """Return what was uploaded, a row a symbol and timeframe."""
        rows = yield from read("/api/uploads")
        return table_of(self.kind(frame), rows, columns=_COLUMNS, times=_TIMES)

    @call
    def remove_upload(self, symbol: str, timeframe: str | None = None) -> Steps[dict[str, Any]]:
        """Take uploaded bars out again: of one timeframe, or all of a symbol's."""
        answer = yield from changed(Ask("DELETE", f"/api/uploads/{segment(symbol)}", written({"timeframe": timeframe})))
        return dict(answer.json()) if answer.content else {}

    @call
    def import_exchange(
        self, source: Any, symbol: str | None = None, *, filename: str | None = None
    ) -> Steps[dict[str, Any]]:
        """Start reading a file of trades, one of the exchange's archive or an export's, and return its job.

        ``wait`` brings what became of it. ``filename`` is needed where ``source`` is content: the exchange's names say
        what is inside.
        """
        with _opened(source, filename) as (name, content):
            answer = yield from changed(
                file_ask("/api/upload/exchange", name, content, {"symbol": symbol}, timeout=PATIENCE_S)
            )
        return dict(answer.json())


@contextmanager
def _opened(source: Any, filename: str | None) -> Generator[tuple[str, bytes | BinaryIO]]:
    """Give the name and the content of what is to be sent, open for as long as it is."""
    if isinstance(source, str | PathLike):
        path = Path(fspath(source)).expanduser()
        try:
            file = path.open("rb")
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}", loc="source") from error
        with file:
            yield filename or path.name, file
    elif isinstance(source, bytes | bytearray):
        yield filename or "upload", bytes(source)
    elif isinstance(source, io.IOBase):
        yield filename or Path(str(getattr(source, "name", "upload"))).name, source  # type: ignore[misc]  # binary, as asked
    elif isinstance(source, list | dict):
        yield filename or "upload.json", json.dumps(source).encode()
    else:
        yield filename or "upload.parquet", _as_parquet(source)


def _as_parquet(table: Any) -> bytes:
    """Write a table of any library, exact to the last digit; an index that says the time becomes a column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if hasattr(table, "to_arrow"):
        table = table.to_arrow()
    elif hasattr(table, "reset_index"):
        named = table.index.name is not None or str(table.index.dtype).startswith("datetime")
        table = pa.Table.from_pandas(table.reset_index(names=table.index.name or "timestamp") if named else table)
    if not isinstance(table, pa.Table):
        raise InputError(f"source: a path, bytes, or a table; got {type(table).__name__}", loc="source")
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(None), sink)
    return bytes(sink.getvalue())
