"""Files of bars as people have them: what is read of the good ones, and what is said of each bad row."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from pairscope.errors import ForeignFile, InputError
from pairscope.market.bars import Origin
from pairscope.transfer.upload_reading import UploadAsked, UploadReading, read_upload, upload_symbol
from pairscope.transfer.upload_unpacking import UploadLimits

from .bad_files import BAD_FILES, HEAD, NOW_NS, ROW, zipped

T0_S = 1_767_225_600  # 2026-01-01T00:00:00Z
ROWS = [(T0_S + 60 * i, f"1.{i}", f"2.{i}", "0.5", f"1.{i}5", f"{10 + i}.001") for i in range(5)]
OWN_NAMES = ("timestamp", "open", "high", "low", "close", "volume")


def read(body: bytes | str, symbol: str = "BTCUSDT", timeframe: str = "1m", **limits: int) -> UploadReading:
    body = body if isinstance(body, bytes) else body.encode()
    return read_upload(body, UploadAsked(symbol, timeframe), now_ns=NOW_NS, limits=UploadLimits(**limits))


def csv_of(time: Callable[[int], Any], names: tuple[str, ...] = OWN_NAMES, mark: str = ",", end: str = "\n") -> str:
    lines = [mark.join(names)] if names else []
    lines += [mark.join([str(time(row[0])), *row[1:]]) for row in ROWS]
    return end.join(lines) + end


def iso(s: int) -> str:
    return datetime.fromtimestamp(s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def objects(**names: str) -> list[dict[str, Any]]:
    return [{names.get(k, k): v for k, v in zip(OWN_NAMES, (1000 * row[0], *row[1:]), strict=True)} for row in ROWS]


def arrays() -> list[list[Any]]:
    return [
        [1000 * row[0], *row[1:], 1000 * row[0] + 59_999, str(Decimal(row[1]) * Decimal(row[5])), 7, "3.5", "4.2", "0"]
        for row in ROWS
    ]


def frame() -> pd.DataFrame:
    table = pd.DataFrame(ROWS, columns=list(OWN_NAMES)).astype(dict.fromkeys(OWN_NAMES[1:], float))
    table["timestamp"] = pd.to_datetime(table["timestamp"], unit="s", utc=True)
    return table


def parquet(table: pd.DataFrame | pa.Table) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table if isinstance(table, pa.Table) else pa.Table.from_pandas(table), sink)
    return sink.getvalue()


def decimal_table() -> pa.Table:
    kind = pa.decimal128(20, 8)
    columns = {name: pa.array([Decimal(row[i]) for row in ROWS], kind) for i, name in enumerate(OWN_NAMES) if i}
    return pa.table({"timestamp": pa.array([row[0] * 10**6 for row in ROWS], pa.timestamp("us")), **columns})


DAILY_NAMES = ("Date", "Open", "High", "Low", "Close", "Volume BTC")
GOOD_FILES: dict[str, Callable[[], bytes | str]] = {
    "ISO 8601": lambda: csv_of(iso),
    "ISO 8601 without an offset": lambda: csv_of(lambda s: iso(s)[:-1].replace("T", " ")),
    "ISO 8601 with another offset": lambda: csv_of(lambda s: iso(s + 3600)[:-1] + "+01:00"),
    "seconds": lambda: csv_of(lambda s: s),
    "broken seconds": lambda: csv_of(lambda s: f"{s}.0"),
    "milliseconds": lambda: csv_of(lambda s: s * 10**3),
    "microseconds": lambda: csv_of(lambda s: s * 10**6),
    "nanoseconds": lambda: csv_of(lambda s: s * 10**9),
    "semicolons, other names": lambda: csv_of(iso, DAILY_NAMES, ";"),
    "tabs, short names": lambda: csv_of(iso, ("t", "O", "H", "L", "C", "V"), "\t"),
    "spelled in full": lambda: csv_of(iso, ("Open time", "OPEN_PRICE", "High", " low ", "<CLOSE>", "Vol.")),
    "line ends of Windows and a mark before": lambda: b"\xef\xbb\xbf" + csv_of(iso, end="\r\n").encode(),
    "line ends of old": lambda: csv_of(iso, end="\r"),
    "blank lines": lambda: "\n\n" + csv_of(iso, end="\n\n"),
    "quotes": lambda: "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in csv_of(iso).split()),
    "no names": lambda: csv_of(lambda s: s * 1000, ()),
    "newest first": lambda: "\n".join([HEAD.strip(), *reversed(csv_of(iso).split()[1:])]),
    "more columns": lambda: csv_of(iso).replace("volume", "volume,note").replace("001\n", "001,x\n"),
    "gzip": lambda: gzip.compress(csv_of(iso).encode()),
    "zip": lambda: zipped({"folder/bars.csv": csv_of(iso).encode(), "__MACOSX/x": b"1"}),
    "zstd": lambda: pa.compress(csv_of(iso).encode(), "zstd", asbytes=True),
    "array of objects": lambda: json.dumps(objects()),
    "array of objects, other names": lambda: json.dumps(objects(timestamp="openTime", volume="v")),
    "a line an object": lambda: "\n".join(map(json.dumps, objects())),
    "object of columns": lambda: json.dumps({name: [row[name] for row in objects()] for name in OWN_NAMES}),
    "arrays of the exchange": lambda: json.dumps(arrays()),
    "arrays of the exchange as lines": lambda: "\n".join(",".join(map(str, row)) for row in arrays()),
    "an answer of our own": lambda: json.dumps({"symbol": "X", "timeframe": "1m", "bars": objects(), "next": None}),
    "pandas' JSON": lambda: frame().set_index("timestamp").to_json(date_format="iso"),
    "pandas' CSV of an index": lambda: frame().rename_axis("").to_csv(index=False),
    "Parquet": lambda: parquet(frame()),
    "Parquet with an index": lambda: parquet(frame().set_index("timestamp")),
    "Parquet of decimals": lambda: parquet(decimal_table()),
    "Parquet of text": lambda: parquet(frame().astype(str)),
}


@pytest.mark.parametrize("name", GOOD_FILES)
def test_a_file_as_people_have_it_is_read_to_the_last_digit(name: str) -> None:
    reading = read(GOOD_FILES[name]())
    bars = reading.bars
    assert (reading.faults, reading.fault_count, reading.rows) == ([], 0, len(ROWS))
    assert bars.ts_open_ns.tolist() == [row[0] * 10**9 for row in ROWS]
    for place, column in enumerate(OWN_NAMES):
        if place:
            assert getattr(bars, column).tolist() == [float(row[place]) for row in ROWS], column
    assert set(bars.origin.tolist()) == {Origin.UPLOAD} and set(bars.trades.tolist()) == {0}
    assert reading.row.tolist() == ([5, 4, 3, 2, 1] if name == "newest first" else [1, 2, 3, 4, 5])


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_told_by_row_and_column_or_refused_in_words(name: str) -> None:
    bad = BAD_FILES[name]
    if bad.faults is None:
        with pytest.raises(InputError, match=bad.words) as refused:
            read_upload(bad.body(), UploadAsked(bad.symbol, bad.timeframe), now_ns=NOW_NS, limits=bad.limits)
        assert refused.value.loc in {"file", "symbol", "timeframe"}
        return
    reading = read_upload(bad.body(), UploadAsked(bad.symbol, bad.timeframe), now_ns=NOW_NS, limits=bad.limits)
    assert [(fault.row, fault.column) for fault in reading.faults] == list(bad.faults)
    assert bad.words in " | ".join(fault.reason for fault in reading.faults)
    assert reading.fault_count == len(bad.faults)
    assert set(reading.row.tolist()).isdisjoint({row for row, _ in bad.faults})
    assert len(reading.bars) == reading.rows - len({row for row, _ in bad.faults})


def test_there_are_fifty_bad_files_and_more() -> None:
    assert len(BAD_FILES) >= 50


def test_faults_are_listed_up_to_a_thousand_and_counted_beyond() -> None:
    rows = "".join(f"{1000 * (T0_S + 60 * i)},0,2,-1,x,1\n" for i in range(2000))
    reading = read(HEAD + rows)
    assert (reading.fault_count, reading.faulty_rows, len(reading.faults)) == (6000, 2000, 1000)
    assert {(f.column, f.reason) for f in reading.faults if f.row == 1} == {
        ("open", "is zero"), ("low", "is negative"), ("close", "'x' is no number")
    }  # fmt: skip
    assert reading.faults[-1].row == 334


def test_a_column_of_symbols_stands_in_for_the_field_and_is_compared_with_it() -> None:
    table = f"symbol,{HEAD}btc/usdt,{ROW}ETHUSDT,{ROW}"
    assert read(table, symbol="").symbols == ("BTCUSDT", "ETHUSDT")
    assert read(f"symbol,{HEAD}BTC/USDT,{ROW}", symbol="btcusdt").symbols == ("BTCUSDT",)
    reading = read(table)
    assert reading.faults == [(2, "symbol", "is ETHUSDT, not BTCUSDT")] and reading.symbols == ("BTCUSDT",)


def test_bars_of_several_symbols_come_by_symbol_and_time_with_the_rows_that_they_stood_in() -> None:
    later = ROW.replace("00:00:00", "00:01:00")
    reading = read(f"symbol,{HEAD}B,{ROW}A,{ROW}B,{later}A,{later}", symbol="")
    assert [reading.bars.symbols[i] for i in reading.bars.symbol_id] == ["B", "B", "A", "A"]
    assert reading.row.tolist() == [1, 3, 2, 4]


def test_the_timeframe_is_the_commonest_distance_where_nobody_says_it() -> None:
    times = [0, 300, 600, 1500, 1800, 2100]
    rows = "".join(f"{T0_S + s},1,2,0.5,1.5,10\n" for s in times)
    assert read(HEAD + rows, timeframe="").bars.timeframe == "5m"
    with pytest.raises(InputError, match="one time only") as refused:
        read(HEAD + f"{T0_S},1,2,0.5,1.5,10\n", timeframe="")
    assert refused.value.loc == "timeframe"


def test_quote_volume_is_told_where_the_file_has_it_and_unknown_where_it_has_not() -> None:
    known = read(f"Date,Open,High,Low,Close,Volume BTC,Volume USDT\n{ROW.strip()},15.5\n")
    assert (known.bars.quote_volume[0], known.bars.vwap[0]) == (15.5, 1.55)
    unknown = read(HEAD + ROW)
    assert unknown.bars.untold.all() and np.isnan(unknown.bars.vwap).all()
    taken = read(json.dumps(arrays()))
    assert taken.bars.buy_volume.tolist() == [3.5] * 5 and not taken.bars.untold.any()


def test_a_text_of_32_bits_is_the_decimal_that_it_stands_for() -> None:
    table = frame()
    table["close"] = np.full(5, 1.7, np.float32)
    assert read(parquet(table)).bars.close.tolist() == [1.7] * 5


@pytest.mark.parametrize("text", ["", "  ", "BTC USDT", "../x", "A" * 41, "BTC,ETH", "-A", "a\nb", "€"])
def test_what_is_no_symbol_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        upload_symbol(text)
    assert refused.value.loc == "symbol"


def test_any_bytes_end_in_bars_or_in_words(rng: np.random.Generator) -> None:
    """Ten mutilations of each good file: no other error comes of any, and no bar that breaks its own rules."""
    for make in GOOD_FILES.values():
        whole = make() if isinstance(make(), bytes) else make().encode()  # type: ignore[union-attr]
        for _ in range(10):
            body = bytearray(whole)
            for _ in range(int(rng.integers(1, 4))):
                at = int(rng.integers(len(body)))
                match int(rng.integers(3)):
                    case 0:
                        body[at] = int(rng.integers(256))
                    case 1:
                        del body[at : at + int(rng.integers(1, 40))]
                    case _:
                        body[at:at] = body[: int(rng.integers(1, 40))]
                if not body:
                    break
            try:
                bars = read(bytes(body)).bars
            except InputError:
                continue
            assert (bars.low > 0).all() and (bars.high >= np.maximum(bars.open, bars.close)).all()
            assert (bars.low <= np.minimum(bars.open, bars.close)).all() and (bars.volume >= 0).all()
            assert (np.diff(bars.ts_open_ns) > 0).all() and (bars.ts_open_ns % (60 * 10**9) == 0).all()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(8)


def test_what_is_packed_by_others_or_twice_is_named() -> None:
    with pytest.raises(ForeignFile, match="bzip2"):
        read(bz2.compress(b"x"))
    with pytest.raises(ForeignFile, match="twice"):
        read(gzip.compress(gzip.compress(b"x")))
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as folder:
        for name in ("a.csv", "b.csv"):
            folder.writestr(name, HEAD + ROW)
    with pytest.raises(ForeignFile, match="holds 2 files"):
        read(sink.getvalue())
