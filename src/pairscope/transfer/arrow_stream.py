"""An Arrow stream read batch by batch within bounds: no batch is unpacked before it is known what it swells to.

Arrow makes room for what a stream says of itself. What a packed batch says stands in its header (the flatbuffer
``RecordBatch`` of the format's ``Message.fbs``) and before each of its buffers, and is read there first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from pairscope.errors import ForeignFile

__all__ = ["MOST_BYTES", "MOST_ROWS", "record_batches", "stream_schema"]

MOST_BYTES: Final = 256 << 20
"""What one batch may take once it is unpacked."""
MOST_ROWS: Final = 4_000_000
"""Rows that one batch may have."""

_END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_HEADER, _BUFFERS, _PACKING = 2, 2, 3
_ROWS: Final = 0


def stream_schema(source: Any) -> Any:
    """Return the schema that a stream begins with, of a ``pyarrow`` source."""
    import pyarrow as pa

    try:
        return pa.ipc.read_schema(pa.ipc.MessageReader.open_stream(source).read_next_message())
    except (pa.ArrowException, OSError, StopIteration) as error:
        raise _broken(error) from error


def record_batches(source: Any) -> Iterator[Any]:
    """Give the batches of a stream, each checked; ``ForeignFile`` where one is broken, or larger than one may be.

    ``source`` can be read at any place. Of one that lies in memory, or is mapped, only what is packed is copied.
    """
    import pyarrow as pa

    try:
        end = source.read_at(len(_END), max(0, source.size() - len(_END)))
        reader = pa.ipc.MessageReader.open_stream(source)
        schema = pa.ipc.read_schema(reader.read_next_message())
        while True:
            try:
                message = reader.read_next_message()
            except StopIteration:
                if end != _END:  # a download may break off right between two batches
                    raise
                return
            if message.type != "record batch":
                raise ForeignFile(f"the Arrow stream holds a {message.type}", loc="file", hint="save it as Parquet")
            rows, size = _swollen(message)
            if rows > MOST_ROWS or size > MOST_BYTES:
                raise ForeignFile(
                    f"the Arrow stream has a batch of {rows:,} rows and {size:,} bytes",
                    loc="file",
                    hint=f"a batch may have {MOST_ROWS:,} rows and {MOST_BYTES:,} bytes: write smaller ones",
                )
            batch = pa.ipc.read_record_batch(message, schema)
            batch.validate(full=True)
            yield batch
    except (pa.ArrowException, OSError, StopIteration, struct.error) as error:
        raise _broken(error) from error


def _swollen(message: Any) -> tuple[int, int]:
    """Return how many rows a batch has, and how many bytes once it is unpacked, by what it says of itself."""
    head, body = memoryview(message.metadata), memoryview(message.body)
    batch = _target(head, _field(head, _target(head, 0), _HEADER))
    rows_at = _field(head, batch, _ROWS)
    rows = int(struct.unpack_from("<q", head, rows_at)[0]) if rows_at else 0
    if not _field(head, batch, _PACKING):
        return rows, len(body)
    size = 0
    buffers_at = _field(head, batch, _BUFFERS)
    buffers = _target(head, buffers_at) if buffers_at else 0
    count = struct.unpack_from("<I", head, buffers)[0] if buffers_at else 0
    for begin, length in struct.iter_unpack("<qq", head[buffers + 4 : buffers + 4 + 16 * count]):
        if length:
            unpacked = int(struct.unpack_from("<q", body, begin)[0]) if 0 <= begin <= len(body) else -2
            if unpacked < -1:
                raise struct.error("a buffer lies outside its batch")
            size += length if unpacked == -1 else unpacked
    return rows, size


def _target(head: memoryview, at: int) -> int:
    """Return where an offset of a flatbuffer leads."""
    return at + int(struct.unpack_from("<I", head, at)[0])


def _field(head: memoryview, table: int, number: int) -> int:
    """Return where a field of a flatbuffer's table stands, 0 where it is left out."""
    known = table - int(struct.unpack_from("<i", head, table)[0])
    if 4 + 2 * number >= struct.unpack_from("<H", head, known)[0]:
        return 0
    offset = int(struct.unpack_from("<H", head, known + 4 + 2 * number)[0])
    return table + offset if offset else 0


def _broken(error: Exception) -> ForeignFile:
    why = " ".join(str(error).split())[:200] or "it ends too early"
    return ForeignFile(f"the Arrow stream cannot be read: {why}", loc="file", hint="is it whole?")
