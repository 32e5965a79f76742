"""CSV, Parquet and Arrow streams as columns under their own names, still unread: text stays text, and no row is lost.

Rows that do not even fit into the table are told as faults; ``numbers`` are the places of the others in the file.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from pairscope.errors import ForeignFile
from pairscope.market.ticks import I8
from pairscope.transfer.arrow_stream import record_batches, stream_schema
from pairscope.transfer.upload_cells import Column, iso_ns
from pairscope.transfer.upload_columns import EXCHANGE_ORDER, recognised
from pairscope.transfer.upload_unpacking import UploadLimits

__all__ = [
    "FEWEST", "UploadTable", "check_count", "check_text", "exchange_columns", "table_of_arrow", "table_of_csv",
    "table_of_parquet",
]  # fmt: skip

FEWEST: Final = 6
"""Cells of a row without names: time, open, high, low, close, volume."""

_BOM: Final = b"\xef\xbb\xbf"
_SEPARATORS: Final = (";", "\t", "|", ",")
"""Of those that part the first line into as many cells the first: a comma may be a decimal's."""
_HEAD: Final = 1 << 16
_BLOCK: Final = 4 << 20
_PIECE: Final = 1 << 20
_WHOLE: Final = (11, 12)
"""Cells of a row of the exchange's own bars, without and with the one to ignore."""


@dataclass(frozen=True, slots=True)
class UploadTable:
    """The columns of a file that a bar uses, and which rows of the file they hold.

    ``unread`` are rows that did not fit, with the reason; ``said`` is what the file tells beside its rows (symbol and
    timeframe).
    """

    columns: Mapping[str, Column]
    numbers: I8
    unread: Sequence[tuple[int, str]] = ()
    said: Mapping[str, str] = field(default_factory=dict)


def check_text(body: bytes) -> None:
    """Refuse text that is not UTF-8, naming the line. O(bytes)."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for at in range(0, len(body) + 1, _PIECE):
        try:
            decoder.decode(body[at : at + _PIECE], final=at + _PIECE > len(body))
        except UnicodeDecodeError as error:
            place = min(len(body) - 1, at + error.start)
            line = body.count(b"\n", 0, place) + 1
            raise ForeignFile(
                f"the text is not UTF-8: byte 0x{body[place]:02x} in line {line:,}",
                loc="file",
                hint="save it as UTF-8; it looks like Latin-1 or a code page of Windows",
            ) from None


def check_count(count: int, most: int, what: str) -> None:
    """Refuse more rows or columns than there may be."""
    if count > most:
        raise ForeignFile(f"the file has more than {most:,} {what}", loc="file", hint="send it in parts")


def exchange_columns(count: int) -> dict[str, int]:
    """Return the places of the exchange's own columns in rows of so many cells; ``ForeignFile`` where too few.

    >>> exchange_columns(12)["buy_volume"], "buy_volume" in exchange_columns(7)
    (9, False)
    """
    if count < FEWEST:
        raise ForeignFile(
            f"the columns have no names and are {count}, not {FEWEST} or more",
            loc="file",
            hint="begin with a line like timestamp,open,high,low,close,volume",
        )
    known = EXCHANGE_ORDER if count in _WHOLE else EXCHANGE_ORDER[:FEWEST]
    return {
        name: place
        for place, name in enumerate(known)
        if name in {*EXCHANGE_ORDER[:FEWEST], "quote_volume", "buy_volume"}
    }


def table_of_csv(body: bytes, limits: UploadLimits) -> UploadTable:
    """Return the columns of a CSV, separated by , ; TAB or |, every cell as text.

    Without a line of names they are in the exchange's order.
    """
    import pyarrow as pa
    import pyarrow.csv

    check_text(body)
    check_count(max(body.count(b"\n"), body.count(b"\r")), limits.rows + _HEAD, "lines")
    line, begin, after = _first_line(body)
    separator, cells = _cells_of(line)
    check_count(len(cells), limits.columns, "columns")
    named = not any(_is_value(cell) for cell in cells)
    places = recognised(cells) if named else exchange_columns(len(cells))
    labels = cells if named else [*EXCHANGE_ORDER, *map(str, range(len(cells)))]
    wrong: list[tuple[int, str]] = []

    def unfit(row: Any) -> str:
        quoted = "; a quote is not closed" if row.text.count('"') % 2 else ""
        wrong.append((int(row.number), f"has {row.actual_columns} cells, not {row.expected_columns}{quoted}"))
        return "skip"

    columns = {name: str(place) for name, place in places.items()}
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(pa.py_buffer(body).slice(after if named else begin)),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=_BLOCK, column_names=[str(place) for place in range(len(cells))]
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=separator, newlines_in_values=False, invalid_row_handler=unfit
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(columns.values(), pa.string()),
                include_columns=list(columns.values()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            raise ForeignFile("the file has no rows", loc="file") from error
        why = " ".join(str(error).split())[:200]
        raise ForeignFile(f"the CSV cannot be read: {why}", loc="file", hint="is a quote not closed?") from error
    check_count(table.num_rows + len(wrong), limits.rows, "rows")
    numbers = np.setdiff1d(np.arange(1, table.num_rows + len(wrong) + 1), np.array([row for row, _ in wrong], np.int64))
    read = {
        name: Column.of(labels[places[name]].strip(), table.column(at).combine_chunks()) for name, at in columns.items()
    }
    return UploadTable(read, numbers, wrong)


def _first_line(body: bytes) -> tuple[str, int, int]:
    """Return the first line that is not blank, where it begins and where the next one does."""
    at = len(_BOM) if body.startswith(_BOM) else 0
    while at < len(body):
        ends = [end for mark in (b"\n", b"\r") if (end := body.find(mark, at, at + _HEAD)) >= 0]
        end = min(ends, default=min(len(body), at + _HEAD))
        if not ends and end < len(body):
            raise ForeignFile(f"the first line has more than {_HEAD:,} bytes", loc="file", hint="is this a CSV file?")
        if body[at:end].strip():
            return body[at:end].decode("utf-8"), at, min(end + 1, len(body))
        at = end + 1
    raise ForeignFile("the file is empty", loc="file")


def _cells_of(line: str) -> tuple[str, list[str]]:
    """Return what separates the cells of a line, and the cells; a file of one column is no table of bars."""
    try:
        parted = {mark: next(csv.reader([line], delimiter=mark)) for mark in _SEPARATORS}
    except csv.Error as error:
        raise ForeignFile(f"the first line cannot be read: {error}", loc="file") from error
    mark = max(_SEPARATORS, key=lambda each: len(parted[each]))
    if len(parted[mark]) == 1:
        raise ForeignFile(
            "this is no table: the first line has one cell only", loc="file", hint="cells are separated by , ; TAB or |"
        )
    return mark, [cell.strip() for cell in parted[mark]]


def _is_value(cell: str) -> bool:
    """Whether a cell of the first line is a number or a time, which no column is called."""
    try:
        float(cell)
    except ValueError:
        return iso_ns(cell) is not None
    return cell.strip("+-").lower() not in {"nan", "inf", "infinity"}


def table_of_parquet(body: bytes, limits: UploadLimits) -> UploadTable:
    """Return the columns of a Parquet file, of the types that it has; what a bar does not use is not read."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        source = pa.BufferReader(body)
        about = pyarrow.parquet.read_metadata(source)
        schema = about.schema.to_arrow_schema()
        names = schema.names
        check_count(about.num_rows, limits.rows, "rows")
        check_count(len(names), limits.columns, "columns")
        swollen = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
        check_count(swollen, limits.unpacked_bytes, "unpacked bytes")
        places = recognised(names)
        wanted = {name: names[place] for name, place in places.items()}
        _check_cells(schema, wanted.values())
        # Text is left in its dictionary: one long word a million times over stays one word.
        words = [own for own in wanted.values() if _is_text(schema.field(own).type)]
        table = pyarrow.parquet.ParquetFile(source, read_dictionary=words).read(
            columns=list(wanted.values()), use_threads=False
        )
        columns = {name: Column.of(own, _joined(table.column(own))) for name, own in wanted.items()}
    except (pa.ArrowException, OSError, KeyError, MemoryError) as error:
        why = " ".join(str(error).split())[:200]
        raise ForeignFile(f"the Parquet file cannot be read: {why}", loc="file", hint="is it whole?") from error
    check_count(table.num_rows, limits.rows, "rows")
    return UploadTable(columns, np.arange(1, table.num_rows + 1))


def table_of_arrow(body: bytes, limits: UploadLimits) -> UploadTable:
    """Return the columns of an Arrow stream, of the types that it has; it is unpacked batch by batch within bounds."""
    import pyarrow as pa

    source = pa.BufferReader(body)
    schema = stream_schema(source)
    check_count(len(schema.names), limits.columns, "columns")
    wanted = {name: schema.names[place] for name, place in recognised(schema.names).items()}
    _check_cells(schema, wanted.values())
    parts, rows, swollen = [], 0, 0
    for batch in record_batches(pa.BufferReader(body)):
        parts.append(batch.select(list(wanted.values())))
        rows, swollen = rows + batch.num_rows, swollen + batch.nbytes
        check_count(rows, limits.rows, "rows")
        check_count(swollen, limits.unpacked_bytes, "unpacked bytes")
    table = pa.Table.from_batches(parts, pa.schema([schema.field(own) for own in wanted.values()]))
    columns = {name: Column.of(own, _joined(table.column(own))) for name, own in wanted.items()}
    return UploadTable(columns, np.arange(1, rows + 1))


def _check_cells(schema: Any, names: Iterable[str]) -> None:
    import pyarrow as pa

    for own in names:
        kind = schema.field(own).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise ForeignFile(f"the column {own[:40]!r} holds {kind}, no cells", loc="file")


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _joined(column: Any) -> Any:
    """Return a column in one piece; its type is checked where it is read."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    joined = column.combine_chunks()
    return joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
