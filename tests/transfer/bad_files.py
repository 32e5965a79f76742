"""Bad files, each with what is said of it: the rows and columns at fault, or why it cannot be read at all."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet

from pairscope.transfer.upload_unpacking import UploadLimits

NOW_NS: Final = 1_790_000_000 * 10**9  # 2026-09-21
HEAD: Final = "timestamp,open,high,low,close,volume\n"
ROW: Final = "2026-01-01T00:00:00Z,1,2,0.5,1.5,10\n"
NEXT: Final = "2026-01-01T00:01:00Z,1,2,0.5,1.5,10\n"
FOURTH: Final = "2026-01-01T00:03:00Z,1,2,0.5,1.5,10\n"
THIRD: Final = "2026-01-01T00:02:00Z,1,2,0.5,1.5,10\n"


@dataclass(frozen=True)
class Bad:
    """A file; ``faults`` are (row, column) in order, None where it cannot be read; ``words`` stand in what is said."""

    body: Callable[[], bytes]
    words: str
    faults: Sequence[tuple[int, str | None]] | None = None
    symbol: str = "BTCUSDT"
    timeframe: str = "1m"
    limits: UploadLimits = field(default_factory=UploadLimits)


def text(words: str, body: str, *faults: tuple[int, str | None], **more: Any) -> Bad:
    return Bad(body.encode, words, faults or None, **more)


def zipped(members: Mapping[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", packing) as folder:
        for name, body in members.items():
            folder.writestr(name, body)
    return sink.getvalue()


def parquet(columns: Mapping[str, Any]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(dict(columns)), sink)
    return sink.getvalue()


def wide(value: Any) -> dict[str, Any]:
    """Columns of one row, in which the close is another value."""
    ns = 1_767_225_600 * 10**9
    return {"timestamp": [ns], "open": [1.0], "high": [2.0], "low": [0.5], "close": [value], "volume": [1.0]}


def an_object(**changed: Any) -> str:
    row = {"timestamp": 1767225600000, "open": 1, "high": 2, "low": 0.5, "close": 1.5, "volume": 10}
    return json.dumps([row, {**row, "timestamp": 1767225660000, **changed}])


def a_row(**changed: str) -> str:
    """A good row, then one in which some cells are others."""
    cells = dict(zip(HEAD.strip().split(","), NEXT.strip().split(","), strict=True)) | changed
    return HEAD + ROW + ",".join(cells.values()) + "\n"


def swollen_zip() -> bytes:
    """A zip that unpacks to 64 MB of zeros."""
    return zipped({"bars.csv": bytes(64 << 20)})


def many_members() -> bytes:
    return zipped({f"{i}.csv": b"" for i in range(100)})


def with_password() -> bytes:
    """A zip whose member says that it is encrypted."""
    body = bytearray(zipped({"bars.csv": (HEAD + ROW).encode()}))
    body[6] |= 1
    body[body.find(b"PK\x01\x02") + 8] |= 1
    return bytes(body)


def broken_sum() -> bytes:
    body = bytearray(zipped({"bars.csv": (HEAD + ROW).encode()}, zipfile.ZIP_STORED))
    body[body.find(b"2026")] ^= 1
    return bytes(body)


GOOD: Final = (HEAD + ROW).encode()
SMALL: Final = UploadLimits(bytes=1000, rows=3, columns=8, symbols=2, unpacked_bytes=2000)
PLAIN: Final = {
    # Cells
    "a price of zero": text("is zero", a_row(open="0"), (2, "open"), (2, "low")),
    "a negative price": text("is negative", a_row(low="-0.5"), (2, "low")),
    "a negative volume": text("is negative", a_row(volume="-1"), (2, "volume")),
    "NaN": text("is NaN", a_row(close="NaN"), (2, "close")),
    "null": text("is missing", a_row(close="null"), (2, "close")),
    "infinite": text("is infinite", a_row(high="inf"), (2, "high")),
    "an empty cell": text("is missing", a_row(volume=""), (2, "volume")),
    "a cell of blanks": text("is missing", a_row(volume="  "), (2, "volume")),
    "a word": text("'cheap' is no number", a_row(open="cheap"), (2, "open")),
    "digits of another script": text("is no number", a_row(open="１"), (2, "open")),
    "thousands with commas": text("has a comma", a_row(open='"1,000.5"'.replace(".5", "")), (2, "open")),
    "a formula": text("is no number", a_row(open="=1+1"), (2, "open")),
    "a price beyond any": text("is too large", a_row(high="1e16"), (2, "high")),
    "a number beyond floats": text("is too large", a_row(volume="1e999"), (2, "volume")),
    "a high below the low": text("is below the low", a_row(high="0.4", open="0.4", close="0.4"), (2, "high")),
    "a high below the close": text("is below the close", a_row(high="1.2"), (2, "high")),
    "a low above the open": text("is above the open", a_row(low="1.2"), (2, "low")),
    "two things in a row": text("is NaN", a_row(open="nan", volume="-1"), (2, "open"), (2, "volume")),
    "more bought than traded": text(
        "is above the volume",
        HEAD.strip() + ",quote volume,taker buy volume\n" + ROW.strip() + ",15,11\n",
        (1, "taker buy volume"),
    ),
    # Times
    "no time": text("is no time", a_row(timestamp="soon"), (2, "timestamp")),
    "a day that is not": text("is no time", a_row(timestamp="2026-02-30"), (2, "timestamp")),
    "a date as in the States": text("is no time", a_row(timestamp="01/02/2026"), (2, "timestamp")),
    "an empty time": text("is missing", a_row(timestamp=""), (2, "timestamp")),
    "off the grid": text("off the grid of 60 s", a_row(timestamp="2026-01-01T00:01:30Z"), (2, "timestamp")),
    "named by the end": text(
        "looks like the bar's end",
        HEAD + ROW.replace("00:00Z", "00:59.999Z") + NEXT.replace("01:00Z", "01:59.999Z"),
        (1, "timestamp"),
        (2, "timestamp"),
    ),
    "the future": text("is not over yet", a_row(timestamp="2026-12-31T00:00:00Z"), (2, "timestamp")),
    "before 2000": text("lies before 2000", a_row(timestamp="1999-12-31T23:59:00Z"), (2, "timestamp")),
    "the epoch": text("lies before 2000", HEAD + "0,1,2,0.5,1.5,10\n1767225660,1,2,0.5,1.5,10\n", (1, "timestamp")),
    "two units": text(
        "is in ms, most of the file's times are in s",
        HEAD + "1767225600,1,2,1,1,1\n1767225660000,1,2,1,1,1\n1767225720,1,2,1,1,1\n",
        (2, "timestamp"),
    ),
    "ISO among milliseconds": text(
        "most of the file's times are counted",
        HEAD + "1767225600000,1,2,1,1,1\n2026-01-01T00:01:00Z,1,2,1,1,1\n1767225720000,1,2,1,1,1\n",
        (2, "timestamp"),
    ),
    "milliseconds among ISO": text(
        "most of the file's times are ISO 8601", HEAD + ROW + NEXT + "1767225720000,1,2,1,1,1\n", (3, "timestamp")
    ),
    # Order
    "there twice": text("is there twice, first in row 1", HEAD + ROW + ROW, (2, "timestamp")),
    "out of order": text(
        "is earlier than the row before", HEAD + NEXT + THIRD + ROW + FOURTH, (3, "timestamp")
    ),
    "out of backward order": text(
        "in a file that runs backwards", HEAD + FOURTH + NEXT + THIRD + ROW, (3, "timestamp")
    ),
    # Rows
    "a cell too few": text("has 5 cells, not 6", HEAD + ROW + "2026-01-01T00:01:00Z,1,2,0.5,1.5\n", (2, None)),
    "a cell too many": text("has 7 cells, not 6", HEAD + ROW.strip() + ",3\n", (1, None)),
    "a quote that is not closed": text("a quote is not closed", HEAD + ROW + NEXT.replace("0.5", '"0.5'), (2, None)),
    "no symbol in a row": text("is missing", f"symbol,{HEAD},{ROW}", (1, "symbol"), symbol=""),
    "no symbol at all in a row": text("is no symbol", f"symbol,{HEAD}a b,{ROW}", (1, "symbol"), symbol=""),
    # JSON
    "true for a price": text("'true' is no number", an_object(close=True), (2, "close")),
    "an object for a price": text("is no number", an_object(close={"a": 1}), (2, "close")),
    "null in JSON": text("is missing", an_object(close=None), (2, "close")),
    "NaN in JSON": text("is NaN", an_object(close=float("nan")), (2, "close")),
    "no object among objects": text("is no object", an_object().replace("}]", "}, 5]"), (3, None)),
    "a short array": text("has 2 cells, not 6", "[[1767225600000,1,2,0.5,1.5,10],[1767225660000,1]]", (2, None)),
    # Parquet
    "missing in Parquet": Bad(lambda: parquet(wide(None)), "is missing", [(1, "close")]),
    "NaN in Parquet": Bad(lambda: parquet(wide(float("nan"))), "is NaN", [(1, "close")]),
    "a flag in Parquet": Bad(lambda: parquet(wide(True)), "true or false", [(1, "close")]),
}  # fmt: skip
REFUSED: Final = {
    "nothing": Bad(lambda: b"", "is empty"),
    "blanks": Bad(lambda: b" \n\n ", "is empty"),
    "names only": Bad(HEAD.encode, "has no rows"),
    "no close": text("no column for close", "timestamp,open,high,low,volume\n2026-01-01,1,2,1,1\n"),
    "no time at all": text("no column for the time", "open,high,low,close,volume\n1,2,1,1,1\n"),
    "open twice": text("'Open' is there twice", "timestamp,Open,open,high,low,close,volume\n2026-01-01,1,1,2,1,1,1\n"),
    "too few without names": text("have no names and are 4", "1767225600000,1,2,0.5\n"),
    "one column": text("no table", "hello\nworld\n"),
    "no symbol": text("say which symbol", HEAD + ROW, symbol=""),
    "a symbol that is none": text("is no symbol", HEAD + ROW, symbol="../BTC"),
    "no timeframe": text("say how long", HEAD + ROW, timeframe=""),
    "bars of seven minutes": text("most are 420 s apart", HEAD + ROW + ROW.replace("00:00:", "00:07:"), timeframe=""),
    "a timeframe that is none": text("unknown '7m'", HEAD + ROW, timeframe="7m"),
    "UTF-16": Bad(lambda: (HEAD + ROW).encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark": Bad(lambda: (HEAD + ROW).encode("utf-16-le"), "zero bytes"),
    "UTF-32": Bad(lambda: (HEAD + ROW).encode("utf-32"), "UTF-32"),
    "Latin-1": Bad(lambda: (HEAD + ROW + "é" + NEXT).encode("latin-1"), "not UTF-8: byte 0xe9 in line 3"),
    "a workbook": Bad(lambda: zipped({"[Content_Types].xml": b"<x/>"}), "Excel"),
    "an old workbook": Bad(lambda: b"\xd0\xcf\x11\xe0" + bytes(100), "Excel"),
    "a web page": text("web page", "<!DOCTYPE html><html></html>"),
    "a PDF": text("PDF", "%PDF-1.7\n"),
    "broken JSON": text("is no JSON", '[{"timestamp": 1,'),
    "a number in JSON": text("no table", "5"),
    "an empty array": text("holds no rows", "[]"),
    "an array of numbers": text("no row is an object", "[1, 2]"),
    "columns of two lengths": text(
        "not of one length", '{"timestamp":[1767225600000],"open":[1,2],"high":[2],"low":[1],"close":[1],"volume":[1]}'
    ),
    "brackets without end": text("no JSON", "[" * 100_000),
    "brackets in brackets": text("no names and are 1", "[" * 500 + "]" * 500),
    "a column of lists in Parquet": Bad(lambda: parquet(wide([1.0])), "no cells"),
    "bytes in Parquet": Bad(lambda: parquet(wide(b"1.5")), "no cells"),
    "half a Parquet": Bad(lambda: parquet(wide(1.0))[:-100], "cannot be read"),
    "half a gzip": Bad(lambda: gzip.compress(GOOD)[:-12], "ends too early"),
    "a damaged gzip": Bad(lambda: gzip.compress(GOOD)[:12] + b"\xff\xff" + gzip.compress(GOOD)[14:], "damaged"),
    "bytes behind a gzip": Bad(lambda: gzip.compress(GOOD) + b"more", "damaged"),
    "half a zstd": Bad(lambda: pa.compress(GOOD, "zstd", asbytes=True)[:-6], "damaged"),
    "half a zip": Bad(lambda: zipped({"bars.csv": GOOD})[:-30], "ends too early"),
    "a zip with a wrong sum": Bad(broken_sum, "damaged"),
    "a zip with a password": Bad(with_password, "password"),
    "an empty zip": Bad(lambda: zipped({}), "holds 0 files"),
    "a zip of many files": Bad(many_members, "holds 100 files"),
    "a path out of the zip": Bad(lambda: zipped({"../../etc/cron.d/x": GOOD}), "outside"),
    "a path from the root": Bad(lambda: zipped({"/etc/passwd": GOOD}), "outside"),
    "a path of Windows": Bad(lambda: zipped({"C:\\x.csv": GOOD}), "outside"),
    "a gzip of zeros": Bad(lambda: gzip.compress(bytes(64 << 20), 1), "unpack to more than"),
    "a zip of zeros": Bad(swollen_zip, "unpack to more than"),
    "a zstd of zeros": Bad(lambda: pa.compress(bytes(64 << 20), "zstd", asbytes=True), "unpack to more than"),
    "zeros as they are": Bad(lambda: bytes(1 << 20), "zero bytes"),
    "too many bytes": Bad((HEAD + 50 * ROW).encode, "more than 1,000", limits=SMALL),
    "too many rows": Bad((HEAD + 4 * ROW).encode, "more than 3 rows", limits=SMALL),
    "too many rows of Parquet": Bad(
        lambda: parquet({name: each * 4 for name, each in wide(1.0).items()}), "more than 3 rows",
        limits=UploadLimits(rows=3),
    ),
    "too many columns": Bad((HEAD.strip() + ",a,b,c\n").encode, "more than 8 columns", limits=SMALL),
    "too many symbols": Bad(
        f"symbol,{HEAD}A,{ROW}B,{ROW}C,{ROW}".encode, "more than 2 symbols", symbol="", limits=SMALL
    ),
    "a first line without end": Bad(lambda: b"a," * 100_000, "first line"),
}  # fmt: skip
BAD_FILES: Final[Mapping[str, Bad]] = {**PLAIN, **REFUSED}
