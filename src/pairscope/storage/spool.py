"""What the store refused, kept on disk in order until it takes it: segments of records, each with its checksum."""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import msgspec
import numpy as np
import structlog

from pairscope.errors import SchemaMismatch, WriterOverflow
from pairscope.market.bars import BarBatch
from pairscope.market.continuity import Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document
from pairscope.storage.parcel import Parcel

__all__ = ["Spool", "decode_parcel", "encode_parcel", "record_of"]

_log = structlog.get_logger(__name__)

_HEAD: Final = struct.Struct("<4sII")
_MAGIC: Final = b"PSP2"
_READABLE: Final = (b"PSP1", _MAGIC)
"""Records of the first form have no documents."""
_TICK_COLUMNS: Final = {
    "symbol_id": np.int32,
    "ts_event_ns": np.int64,
    "ts_recv_ns": np.int64,
    "trade_id": np.int64,
    "price": np.float64,
    "size": np.float64,
    "buyer_is_maker": np.bool_,
}
_BAR_COLUMNS: Final = {
    "symbol_id": np.int32,
    "ts_open_ns": np.int64,
    **dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume", "buy_volume"), np.float64),
    **dict.fromkeys(("trades", "first_id", "last_id"), np.int64),
    "revision": np.int32,
    "origin": np.int8,
}


class _Documents(msgspec.Struct):
    """What a start reads of a record."""

    documents: list[tuple[str, str, bytes | None]] = []


class Spool:
    """Parcels in the order of their arrival, in segment files of a directory, at most ``max_bytes`` of them.

    A parcel is on the disk when ``append`` returns. A torn or garbled tail is cut off when the spool is opened, and
    told; records of a newer version's form are refused (``SchemaMismatch``). One process uses a directory at a time:
    the one that holds the store.
    """

    def __init__(self, directory: Path, *, max_bytes: int, segment_bytes: int = 16 << 20) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._sizes: dict[int, int] = {}
        self._offset = 0
        self._documents: deque[tuple[Document, ...]] = deque()
        self.cut_bytes = 0
        for path in sorted(directory.glob("*.spool")) if directory.is_dir() else ():
            size = self._whole(path)
            if size:
                self._sizes[int(path.stem)] = size
            else:
                path.unlink()

    def __bool__(self) -> bool:
        return bool(self._sizes)

    @property
    def directory(self) -> Path:
        """Where its segments are."""
        return self._directory

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return sum(self._sizes.values()) - self._offset

    def documents(self) -> list[Document]:
        """Return the documents of all parcels, oldest first."""
        return [document for documents in self._documents.copy() for document in documents]

    def append(self, parcel: Parcel) -> None:
        """Put a parcel at the end. Raises ``WriterOverflow`` at the bound, ``OSError`` where the disk refuses."""
        record = record_of(parcel)
        if self.size + len(record) > self._max_bytes:
            raise WriterOverflow(f"the spool holds {self.size} bytes, at most {self._max_bytes}")
        self._directory.mkdir(parents=True, exist_ok=True)
        number = max(self._sizes, default=0)
        if not number or self._sizes[number] >= self._segment_bytes:
            number += 1
        path = self._path(number)
        kept = self._sizes.get(number, 0)
        try:
            with path.open("r+b" if kept else "wb") as file:
                file.seek(kept)
                file.write(record)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            if path.exists():
                os.truncate(path, kept)
            raise
        self._sizes[number] = kept + len(record)
        self._documents.append(parcel.documents)

    def first(self) -> Parcel | None:
        """Return the oldest parcel without taking it away."""
        if not self._sizes:
            return None
        with self._path(min(self._sizes)).open("rb") as file:
            file.seek(self._offset)
            _, length, _ = _HEAD.unpack(file.read(_HEAD.size))
            return decode_parcel(file.read(length))

    def drop_first(self) -> None:
        """Take the oldest parcel away; its segment goes with its last one."""
        number = min(self._sizes)
        with self._path(number).open("rb") as file:
            file.seek(self._offset)
            _, length, _ = _HEAD.unpack(file.read(_HEAD.size))
        self._documents.popleft()
        self._offset += _HEAD.size + length
        if self._offset >= self._sizes[number]:
            self._path(number).unlink()
            del self._sizes[number]
            self._offset = 0

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:010d}.spool"

    @staticmethod
    def torn(directory: Path) -> list[tuple[Path, int, int]]:
        """Return each segment of a directory that cannot be read to its end: how far it can, and how long it is."""
        found = []
        for path in sorted(directory.glob("*.spool")) if directory.is_dir() else ():
            good = 0
            with path.open("rb") as file:
                while len(head := file.read(_HEAD.size)) == _HEAD.size:
                    magic, length, checksum = _HEAD.unpack(head)
                    payload = file.read(length) if magic in _READABLE else b""
                    if len(payload) < length or crc32(payload) != checksum:
                        break
                    good = file.tell()
            if good < path.stat().st_size:
                found.append((path, good, path.stat().st_size))
        return found

    def _whole(self, path: Path) -> int:
        """Return how much of a segment is whole records, cutting off the rest."""
        good = 0
        with path.open("rb") as file:
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                magic, length, checksum = _HEAD.unpack(head)
                if magic not in _READABLE:
                    if magic[:3] == _MAGIC[:3] and magic[3:].isdigit() and magic > _MAGIC:
                        raise SchemaMismatch(
                            f"{path} has records of the form {magic.decode()}, this version knows {_MAGIC.decode()}",
                            hint="start the newer Pairscope that wrote it, or move the file away to go on without it",
                        )
                    break
                payload = file.read(length)
                if len(payload) < length or crc32(payload) != checksum:
                    break
                held = msgspec.msgpack.decode(payload, type=_Documents).documents
                self._documents.append(tuple(Document(*columns) for columns in held))
                good = file.tell()
        torn = path.stat().st_size - good
        if torn:
            _log.warning("spool was cut", path=str(path), lost_bytes=torn, kept_bytes=good)
            self.cut_bytes += torn
            os.truncate(path, good)
        return good


def record_of(parcel: Parcel) -> bytes:
    """Return what a segment holds of a parcel."""
    payload = encode_parcel(parcel)
    return _HEAD.pack(_MAGIC, len(payload), crc32(payload)) + payload


def encode_parcel(parcel: Parcel) -> bytes:
    """Return a parcel as bytes, exactly; see ``decode_parcel``."""
    batch = parcel.batch
    return msgspec.msgpack.encode(
        {
            "symbols": list(batch.symbols),
            "watermark_ns": batch.watermark_ns,
            "void": batch.void,
            "ticks": _columns(batch, _TICK_COLUMNS),
            "bars": [
                {"timeframe": bars.timeframe, "symbols": list(bars.symbols), "columns": _columns(bars, _BAR_COLUMNS)}
                for bars in parcel.bars
            ],
            "rebuild": parcel.rebuild,
            "verdicts": [astuple(gap) for gap in parcel.verdicts],
            "documents": parcel.documents,
        }
    )


def decode_parcel(payload: bytes) -> Parcel:
    """Return the parcel that ``encode_parcel`` wrote, under a table of symbols of its own."""
    held = msgspec.msgpack.decode(payload)
    batch = TickBatch(
        symbols=Symbols(held["symbols"]),
        watermark_ns=held["watermark_ns"],
        void=tuple((symbol_id, trade_id) for symbol_id, trade_id in held["void"]),
        **_arrays(held["ticks"], _TICK_COLUMNS),
    )
    bars = tuple(
        BarBatch(Symbols(part["symbols"]), part["timeframe"], **_arrays(part["columns"], _BAR_COLUMNS))
        for part in held["bars"]
    )
    return Parcel(
        batch,
        bars,
        tuple((symbol, start, end) for symbol, start, end in held["rebuild"]),
        tuple(Gap(*columns) for columns in held["verdicts"]),
        tuple(Document(*columns) for columns in held.get("documents", ())),
    )


def _columns(batch: TickBatch | BarBatch, kinds: dict[str, Any]) -> Sequence[bytes]:
    return [np.ascontiguousarray(getattr(batch, name), kind).tobytes() for name, kind in kinds.items()]


def _arrays(columns: Sequence[bytes], kinds: dict[str, Any]) -> dict[str, Any]:
    return {name: np.frombuffer(raw, kind) for raw, (name, kind) in zip(columns, kinds.items(), strict=True)}
