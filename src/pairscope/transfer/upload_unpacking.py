"""What a file holds once it is unpacked, and of which form that is; a file that would swell beyond bounds is refused.

The form is told by the first bytes, never by the name. One layer of gzip, zip or zstd is taken off.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from pairscope.errors import ForeignFile

__all__ = ["Form", "Unpacked", "UploadLimits", "unpack"]

Form = Literal["csv", "json", "parquet", "arrow"]

_GZIP, _ZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"PAR1"
_ARROW: Final = b"\xff\xff\xff\xff"
_ZIP_END: Final = b"PK\x05\x06"
_FOREIGN: Final = (
    (b"\xff\xfe\x00\x00", "it is UTF-32 text", "save it as UTF-8"),
    (b"\x00\x00\xfe\xff", "it is UTF-32 text", "save it as UTF-8"),
    (b"\xff\xfe", "it is UTF-16 text", "save it as UTF-8"),
    (b"\xfe\xff", "it is UTF-16 text", "save it as UTF-8"),
    (b"\xd0\xcf\x11\xe0", "it is an Excel workbook", "save the sheet as CSV"),
    (b"%PDF", "it is a PDF", "save the table as CSV"),
    (b"ARROW1", "it is an Arrow file", "save it as Parquet"),
    (b"BZh", "it is packed by bzip2", "pack it by gzip, zip or zstd"),
    (b"\xfd7zXZ", "it is packed by xz", "pack it by gzip, zip or zstd"),
    (b"7z\xbc\xaf", "it is packed by 7-Zip", "pack it by gzip, zip or zstd"),
    (b"Rar!", "it is packed by RAR", "pack it by gzip, zip or zstd"),
    (b"SQLite format", "it is a database", "save the table as CSV or Parquet"),
)
_PIECE: Final = 1 << 20
_FREE: Final = 4 << 20
"""What any file may swell to, whatever the ratio: small tables of few different rows pack well."""
_MEMBERS: Final = 64
_DIRECTORY: Final = 1 << 20
_PACKINGS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How much one file may hold; ``ratio`` is unpacked bytes for each byte that was sent."""

    bytes: int = 64 << 20
    unpacked_bytes: int = 256 << 20
    json_bytes: int = 64 << 20
    ratio: int = 100
    rows: int = 2_000_000
    columns: int = 200
    symbols: int = 1000


class Unpacked(NamedTuple):
    """The bytes of one table, and their form."""

    form: Form
    body: bytes


def unpack(body: bytes, limits: UploadLimits) -> Unpacked:
    """Return the table of a file as it was before it was packed; ``ForeignFile`` says why there is none. O(bytes).

    >>> unpack(b"timestamp,open", UploadLimits()).form
    'csv'
    """
    if not body:
        raise _foreign("the file is empty")
    if len(body) > limits.bytes:
        raise _foreign(f"the file has {len(body):,} bytes, more than {limits.bytes:,}")
    packing = _packing_of(body)
    if packing is not None:
        body = _gathered(packing(body), packed=len(body), limits=limits)
        if not body:
            raise _foreign("the packed file is empty")
        if _packing_of(body) is not None:
            raise _foreign("the file is packed twice", hint="unpack it once")
    form = _form_of(body)
    if form == "json" and len(body) > limits.json_bytes:
        raise _foreign(
            f"JSON may have at most {limits.json_bytes:,} bytes, this has {len(body):,}", hint="send CSV or Parquet"
        )
    return Unpacked(form, body)


def _packing_of(body: bytes) -> Callable[[bytes], Iterator[bytes]] | None:
    """Return what unpacks a file, None where it is not packed."""
    if body.startswith(_GZIP):
        return _from_gzip
    if body.startswith((_ZIP, _ZIP_END)):
        return _from_zip
    return _from_zstd if body.startswith(_ZSTD) else None


def _form_of(body: bytes) -> Form:
    """Return the form of unpacked bytes by how they begin; ``ForeignFile`` names what is no table."""
    if body.startswith(_PARQUET):
        return "parquet"
    if body.startswith(_ARROW):
        return "arrow"
    for start, what, hint in _FOREIGN:
        if body.startswith(start):
            raise _foreign(f"this is neither CSV nor JSON nor Parquet: {what}", hint=hint)
    if b"\x00" in body:
        raise _foreign(
            "this is neither CSV nor JSON nor Parquet: it holds zero bytes", hint="is it UTF-16, or damaged?"
        )
    begin = body[:_PIECE].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not begin:
        raise _foreign("the file is empty")
    if begin.startswith(b"<"):
        raise _foreign("this is neither CSV nor JSON nor Parquet: it is a web page", hint="download the file itself")
    return "json" if begin.startswith((b"[", b"{")) else "csv"


def _gathered(pieces: Iterator[bytes], *, packed: int, limits: UploadLimits) -> bytes:
    """Return all pieces as one; ends as soon as they are more than may be."""
    most = min(limits.unpacked_bytes, max(_FREE, packed * limits.ratio))
    whole = bytearray()
    for piece in pieces:
        whole += piece
        if len(whole) > most:
            raise _foreign(
                f"{packed:,} packed bytes unpack to more than {most:,}", hint="send it in parts, or not packed"
            )
    return bytes(whole)


def _from_gzip(body: bytes) -> Iterator[bytes]:
    member = zlib.decompressobj(31)
    try:
        for at in range(0, len(body), _PIECE):
            rest = body[at : at + _PIECE]
            while rest:
                if member.eof:
                    member = zlib.decompressobj(31)
                yield member.decompress(rest, _PIECE)
                rest = member.unconsumed_tail or member.unused_data
            while not member.eof and (piece := member.decompress(b"", _PIECE)):
                yield piece
    except zlib.error as error:
        raise _foreign(f"the gzip file is damaged: {error}") from error
    if not member.eof:
        raise _foreign("the gzip file ends too early")


def _from_zstd(body: bytes) -> Iterator[bytes]:
    import pyarrow as pa

    try:
        with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
            while piece := stream.read(_PIECE):
                yield piece
    except (OSError, pa.ArrowException) as error:
        raise _foreign(f"the zstd file is damaged: {error}") from error


def _from_zip(body: bytes) -> Iterator[bytes]:
    _check_directory(body)
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as folder, folder.open(_table_of(folder)) as file:
            while piece := file.read(_PIECE):
                yield piece
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, ForeignFile):
            raise
        raise _foreign(f"the zip file is damaged: {error}") from error


def _check_directory(body: bytes) -> None:
    """Refuse a zip file of very many members before its list of them is read."""
    end = body.rfind(_ZIP_END, max(0, len(body) - 66_000))
    if end < 0 or end + 22 > len(body):
        raise _foreign("the zip file ends too early")
    members = int.from_bytes(body[end + 10 : end + 12], "little")
    size = int.from_bytes(body[end + 12 : end + 16], "little")
    if members > _MEMBERS or size > _DIRECTORY:
        raise _foreign(f"the zip file holds {members:,} files", hint="pack the one table alone")


def _table_of(folder: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the only file of a zip; what desktops add beside it does not count."""
    names = folder.namelist()
    if "[Content_Types].xml" in names:
        raise _foreign(
            "this is neither CSV nor JSON nor Parquet: it is an Excel workbook", hint="save the sheet as CSV"
        )
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or ":" in name or not name.isprintable():
            raise _foreign(f"the zip file names a path outside itself: {name[:80]!r}")
    files = [
        member
        for member in folder.infolist()
        if not member.is_dir() and not member.filename.startswith("__MACOSX/") and ".DS_Store" not in member.filename
    ]
    if len(files) != 1:
        raise _foreign(f"the zip file holds {len(files)} files, not one", hint="pack the one table alone")
    if files[0].flag_bits & 1:
        raise _foreign("the zip file asks for a password")
    if files[0].compress_type not in _PACKINGS:
        raise _foreign("the zip file is packed in a way that is not read here", hint="pack it as usual, by deflate")
    return files[0]


def _foreign(what: str, *, hint: str = "") -> ForeignFile:
    return ForeignFile(what, loc="file", hint=hint)
