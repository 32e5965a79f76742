"""Parquet and Arrow, written page by page: what is finished leaves, so that no file is ever held whole.

Times are ``timestamp[ms, UTC]``, decimals float64, words strings; what is missing is null. A page is a row group of
Parquet and a record batch of an Arrow stream. Both pack their columns inside, so that every reader opens the file.
"""

from __future__ import annotations

from typing import Any, Final

from pairscope.transfer.export_table import MISSING, Column, Kind, Table

__all__ = ["ArrowStream", "ParquetFile", "arrow_table"]

_LEVEL: Final = {"gzip": 4, "zstd": 3}


def arrow_table(table: Table) -> Any:
    """Return a table as ``pyarrow.Table``.

    >>> import numpy as np
    >>> arrow_table(Table((Column("timestamp", Kind.TIME, np.array([0])),))).schema.field(0).type
    TimestampType(timestamp[ms, tz=UTC])
    """
    import pyarrow as pa

    return pa.table({column.name: _array(column) for column in table.columns})


def _array(column: Column) -> Any:
    import pyarrow as pa

    values = column.values
    match column.kind:
        case Kind.DECIMAL:
            return pa.array(values, pa.float64(), from_pandas=True)
        case Kind.FLAG:
            return pa.array(values == 1, pa.bool_(), mask=values == MISSING)
        case Kind.TEXT:
            return pa.array(column.words, pa.string()).take(pa.array(values, pa.int64(), mask=values == MISSING))
        case kind:
            whole = pa.int64() if kind is Kind.INTEGER else pa.timestamp("ms", tz="UTC")
            return pa.array(values, pa.int64(), mask=values == MISSING).cast(whole)


class _Sink:
    """A file that is written to and never read: what was written is taken away piece by piece."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Take in bytes; the writer may use its buffer again."""
        part = bytes(data)
        self._parts.append(part)
        self._size += len(part)
        return len(part)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        """Return what was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


class ParquetFile:
    """One Parquet file; its directory stands at the end, so that it can only be written from its beginning on."""

    independent = False

    def __init__(self, compression: str) -> None:
        self._compression = compression
        self._sink = _Sink()
        self._writer: Any = None

    def first(self, table: Table) -> bytes:
        """Return the beginning of the file with the first rows."""
        from pyarrow import parquet

        content = arrow_table(table)
        self._writer = parquet.ParquetWriter(
            self._sink, content.schema, compression=self._compression, compression_level=_LEVEL.get(self._compression)
        )
        return self._put(content)

    def more(self, table: Table) -> bytes:
        """Return further rows, as a row group."""
        return self._put(arrow_table(table))

    def end(self) -> bytes:
        """Return the file's directory."""
        self._writer.close()
        return self._sink.take()

    def _put(self, content: Any) -> bytes:
        if len(content):
            self._writer.write_table(content, row_group_size=len(content))
        return self._sink.take()


class ArrowStream:
    """One Arrow IPC stream."""

    independent = True

    def __init__(self, compression: str) -> None:
        self._compression = None if compression == "none" else compression

    def first(self, table: Table) -> bytes:
        """Return the schema with the first rows."""
        return self._written(table)

    def more(self, table: Table) -> bytes:
        """Return further rows, as a record batch: what a stream of them alone holds behind its schema."""
        content = arrow_table(table)
        return self._written(table)[content.schema.serialize().size :] if len(content) else b""

    def end(self) -> bytes:
        """Return the mark of the end."""
        return b"\xff\xff\xff\xff\x00\x00\x00\x00"

    def _written(self, table: Table) -> bytes:
        import pyarrow as pa

        content, sink = arrow_table(table), _Sink()
        with pa.ipc.new_stream(
            pa.PythonFile(sink, "w"), content.schema, options=pa.ipc.IpcWriteOptions(compression=self._compression)
        ) as writer:
            writer.write_table(content, max_chunksize=max(len(content), 1))
        return sink.take().removesuffix(self.end())
