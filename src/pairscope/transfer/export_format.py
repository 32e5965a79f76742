"""The formats that stored rows leave in: how each is called, packed, and written page by page.

Text is packed page by page into members that stand alone (gzip, RFC 1952 § 2.2; Zstandard frames): readers take them as
one file, and any page can be written without those before it.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, get_args

from pairscope.errors import InputError
from pairscope.transfer.export_arrow import ArrowStream, ParquetFile
from pairscope.transfer.export_table import Table
from pairscope.transfer.export_text import CsvText, JsonText

__all__ = ["Compression", "Encoder", "Format", "FormatName"]

FormatName = Literal["csv", "parquet", "arrow", "jsonl"]
Compression = Literal["none", "gzip", "zstd"]

_GZIP_LEVEL: Final = 4
_ZSTD_LEVEL: Final = 3
_PACKED: Final = {"gzip": (".gz", "application/gzip"), "zstd": (".zst", "application/zstd")}
_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
_ENDINGS: Final = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet", "arrow": ".arrows"}


class Encoder(Protocol):
    """Writes one file, a page at a time. ``independent``: a page is the same bytes whatever was written before it."""

    @property
    def independent(self) -> bool: ...

    def first(self, table: Table) -> bytes:
        """Return the beginning of the file with its first rows, of which there may be none."""
        ...

    def more(self, table: Table) -> bytes:
        """Return further rows."""
        ...

    def end(self) -> bytes:
        """Return what ends the file."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """A format and how it is packed; ``InputError`` names what cannot be.

    >>> Format("csv", "gzip").ending, Format("parquet", "gzip").ending
    ('.csv.gz', '.parquet')
    """

    name: FormatName = "csv"
    compression: Compression = "none"

    def __post_init__(self) -> None:
        """Refuse what nobody can read."""
        if self.name not in get_args(FormatName):
            raise InputError(f"format: must be one of {', '.join(get_args(FormatName))}", loc="format")
        if self.compression not in get_args(Compression):
            raise InputError(f"compression: must be one of {', '.join(get_args(Compression))}", loc="compression")
        if self.name == "arrow" and self.compression == "gzip":
            raise InputError(
                "compression: Arrow streams are packed by zstd only", loc="compression", hint="send zstd, or none"
            )

    @property
    def ending(self) -> str:
        """How a file's name ends."""
        return _ENDINGS[self.name] + (_PACKED[self.compression][0] if self._packs else "")

    @property
    def media_type(self) -> str:
        """What a file is, for HTTP."""
        return _PACKED[self.compression][1] if self._packs else _TYPES[self.name]

    def encoder(self) -> Encoder:
        """Return what writes one file."""
        match self.name:
            case "parquet":
                return ParquetFile(self.compression)
            case "arrow":
                return ArrowStream(self.compression)
            case name:
                return _Text(CsvText() if name == "csv" else JsonText(), self.compression)

    @property
    def _packs(self) -> bool:
        """Whether the file is packed as a whole; Parquet and Arrow pack their columns inside."""
        return self.compression != "none" and self.name in {"csv", "jsonl"}


class _Text:
    independent = True

    def __init__(self, text: CsvText | JsonText, compression: Compression) -> None:
        self._text = text
        self._compression = compression

    def first(self, table: Table) -> bytes:
        # One member with the rows behind it: a file of one page is one member.
        return self._packed(self._text.head(table) + self._text.rows(table))

    def more(self, table: Table) -> bytes:
        return self._packed(self._text.rows(table)) if len(table) else b""

    def end(self) -> bytes:
        return b""

    def _packed(self, text: bytes) -> bytes:
        match self._compression:
            case "gzip":
                return gzip.compress(text, _GZIP_LEVEL, mtime=0)
            case "zstd":
                import pyarrow as pa

                codec: Any = pa.Codec("zstd", compression_level=_ZSTD_LEVEL)
                return bytes(codec.compress(text, asbytes=True))
            case _:
                return text
