"""The columns of a file of trades, a block of rows at a time, whatever form it has; cells are still unjudged.

A form is told by the first bytes. Text is taken as the types that an export writes; a block that does not fit them is
read again as text, so that whoever judges it can name the cell.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from gzip import GzipFile
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import orjson

from pairscope.errors import ForeignFile
from pairscope.transfer.arrow_stream import MOST_BYTES, MOST_ROWS, record_batches, stream_schema
from pairscope.transfer.upload_cells import Column
from pairscope.transfer.upload_json import cells_of

__all__ = ["Block", "TickColumns"]

BLOCK: Final = 8 << 20
"""Bytes of text that are read at once: about 130,000 trades, as many as a page of an export."""
ROWS: Final = 131_072
LONGEST_LINE: Final = 64 << 10
MOST_TEXT: Final = 32 << 30
"""A file of text may unpack to no more."""
MOST_RATIO: Final = 200
"""Times that a file may grow by unpacking, once it is larger than ``RATIO_FROM``; real ones grow about eight times."""
RATIO_FROM: Final = 64 << 20
MOST_COLUMNS: Final = 50

_GZIP, _ZSTD, _PARQUET, _ARROW = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"\xff\xff\xff\xff"
_BOM: Final = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """Rows of a file by column, ``first`` the number of the first; ``unread`` are those that did not fit, and why.

    Where some did not fit nothing is said of the others.
    """

    first: int
    columns: dict[str, Column]
    unread: Sequence[tuple[int, str]] = ()


class TickColumns:
    """A file's columns; ``names`` are all that it has. ``ForeignFile`` of what is no table, or cannot be unpacked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _opened(path) as stream:
            start = stream.read(LONGEST_LINE)
        if start.startswith(_PARQUET):
            self._form, self.names = "parquet", self._of_parquet().schema_arrow.names
        elif start.startswith(_ARROW):
            self._form, self.names = "arrow", stream_schema(_mapped(path)).names
        else:
            self._form, self.names = _begun(start)
        if len(self.names) > MOST_COLUMNS or len(set(self.names)) < len(self.names):
            raise _foreign("the columns are too many, or one is there twice")

    def blocks(self, wanted: Sequence[str]) -> Iterator[Block]:
        """Give the wanted columns a block at a time; memory is that of one block."""
        if self._form in {"csv", "json"}:
            read = _csv_block if self._form == "csv" else _json_block
            row = 1
            for text in self._lines(skip_first=self._form == "csv"):
                block, rows = read(text, row, self.names, wanted)
                yield block
                row += rows
            return
        row = 1
        batches = record_batches(_mapped(self._path)) if self._form == "arrow" else self._row_groups(wanted)
        for batch in batches:
            yield Block(row, {name: Column.of(name, batch.column(name)) for name in wanted})
            row += batch.num_rows

    def _row_groups(self, wanted: Sequence[str]) -> Iterator[Any]:
        import pyarrow as pa

        file = self._of_parquet()
        try:
            yield from file.iter_batches(ROWS, columns=list(wanted), use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise _foreign(f"the Parquet file cannot be read: {_short(error)}", "is it whole?") from error

    def _of_parquet(self) -> Any:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            words = [name for name in parquet.read_schema(_mapped(self._path)).names if name == "symbol"]
            file = parquet.ParquetFile(_mapped(self._path), read_dictionary=words)
        except (pa.ArrowException, OSError) as error:
            raise _foreign(f"the Parquet file cannot be read: {_short(error)}", "is it whole?") from error
        for group in range(file.metadata.num_row_groups):
            said = file.metadata.row_group(group)
            if said.num_rows > MOST_ROWS or said.total_byte_size > MOST_BYTES:
                raise _foreign(
                    f"the Parquet file has a row group of {said.num_rows:,} rows and {said.total_byte_size:,} bytes",
                    f"one may have {MOST_ROWS:,} rows and {MOST_BYTES:,} bytes: write smaller ones",
                )
        return file

    def _lines(self, *, skip_first: bool) -> Iterator[bytes]:
        """Give the file's text in blocks of whole lines."""
        most = min(MOST_TEXT, max(RATIO_FROM, self._path.stat().st_size * MOST_RATIO))
        with _opened(self._path) as stream:
            rest, total, begun = b"", 0, not skip_first
            while piece := stream.read(BLOCK):
                if not total:
                    piece = piece.removeprefix(_BOM)
                total += len(piece)
                if total > most:
                    raise _foreign(f"the file unpacks to more than {most:,} bytes")
                rest += piece
                if not begun:
                    begun, rest = True, rest[rest.find(b"\n") + 1 :] if b"\n" in rest else b""
                cut = rest.rfind(b"\n") + 1
                if cut:
                    yield rest[:cut]
                    rest = rest[cut:]
                elif len(rest) > BLOCK:
                    raise _foreign("the file has a line without an end")
            if rest.strip():
                yield rest


def _begun(start: bytes) -> tuple[str, list[str]]:
    """Return the form of a text and the columns that its first line tells of."""
    line = start.removeprefix(_BOM).partition(b"\n")[0].strip()
    if not line or len(line) > LONGEST_LINE - 4:
        raise _foreign("the file is empty" if not start.strip() else "the file is no table")
    try:
        if line.startswith(b"{"):
            return "json", list(orjson.loads(line))
        return "csv", next(csv.reader([line.decode()]))
    except (ValueError, csv.Error) as error:
        raise _foreign("the file is no table") from error


def _csv_block(text: bytes, row: int, names: Sequence[str], wanted: Sequence[str]) -> tuple[Block, int]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    unread: list[tuple[int, str]] = []

    def unfit(found: Any) -> str:
        unread.append((row + int(found.number) - 1, f"has {found.actual_columns} cells, not {found.expected_columns}"))
        return "skip"

    types = _types(pa.timestamp("ms", tz="UTC"))
    for kinds in (types, dict.fromkeys(types, pa.string())):
        unread.clear()
        try:
            table = arrow_csv.read_csv(
                pa.BufferReader(text),
                read_options=arrow_csv.ReadOptions(
                    column_names=list(names), use_threads=False, block_size=len(text) + 1
                ),
                parse_options=arrow_csv.ParseOptions(invalid_row_handler=unfit),
                convert_options=arrow_csv.ConvertOptions(
                    column_types={name: kinds[name] for name in wanted},
                    include_columns=list(wanted),
                    null_values=[],
                    strings_can_be_null=False,
                    true_values=["true"],
                    false_values=["false"],
                ),
            )
        except pa.ArrowInvalid:
            continue
        return Block(row, _joined(table, wanted), tuple(unread)), table.num_rows + len(unread)
    raise _unreadable(text, row)


def _json_block(text: bytes, row: int, _names: Sequence[str], wanted: Sequence[str]) -> tuple[Block, int]:
    import pyarrow as pa
    from pyarrow import json as arrow_json

    types = _types(pa.int64())
    try:
        table = arrow_json.read_json(
            pa.BufferReader(text),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=pa.schema([(name, types[name]) for name in wanted]), unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowInvalid:
        return _json_lines(text, row, wanted)
    return Block(row, _joined(table, wanted)), table.num_rows


def _json_lines(text: bytes, row: int, wanted: Sequence[str]) -> tuple[Block, int]:
    """Read a block line by line, in which some line is not as it should be."""
    rows, unread = list[dict[str, Any]](), list[tuple[int, str]]()
    lines = [line for line in text.split(b"\n") if line.strip()]
    for number, line in enumerate(lines, row):
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            found = None
        if isinstance(found, dict):
            rows.append(found)
        else:
            unread.append((number, "is no JSON object"))
    columns = {name: Column.of(name, cells_of([each.get(name) for each in rows])) for name in wanted}
    return Block(row, columns, tuple(unread)), len(lines)


def _types(time: Any) -> dict[str, Any]:
    import pyarrow as pa

    return {
        "symbol": pa.string(), "id": pa.int64(), "timestamp": time, "price": pa.float64(), "size": pa.float64(),
        "buyer_is_maker": pa.bool_(),
    }  # fmt: skip


def _joined(table: Any, wanted: Sequence[str]) -> dict[str, Column]:
    import pyarrow as pa

    found = {}
    for name in wanted:
        cells = table.column(name).combine_chunks()
        found[name] = Column.of(name, cells.chunk(0) if isinstance(cells, pa.ChunkedArray) else cells)
    return found


def _unreadable(text: bytes, row: int) -> ForeignFile:
    """Say which row of a block is not even text."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        before = text.count(b"\n", 0, error.start)
        return _foreign(f"row {row + before:,} is not UTF-8")
    return _foreign(f"the rows from {row:,} on cannot be read", "is a quote not closed?")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open what a file holds, unpacked; what is broken in there becomes ``ForeignFile``."""
    import pyarrow as pa

    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start.startswith(_GZIP):
                with GzipFile(fileobj=file) as unpacked:
                    yield unpacked  # type: ignore[misc]  # it is read only
            elif start.startswith(_ZSTD):
                with pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd") as unpacked:
                    yield unpacked
            else:
                yield file
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise _foreign(f"the file cannot be unpacked: {_short(error)}", "is it whole?") from error


def _mapped(path: Path) -> Any:
    import pyarrow as pa

    try:
        return pa.memory_map(str(path))
    except OSError as error:
        raise _foreign(f"the file cannot be read: {_short(error)}") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _foreign(what: str, hint: str = "") -> ForeignFile:
    return ForeignFile(what, loc="file", hint=hint)
