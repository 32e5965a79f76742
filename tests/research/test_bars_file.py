"""Anyone's file of bars: read whatever its order and its times' spelling, or refused by row and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from pairscope.errors import ForeignFile
from pairscope.research.bars_file import read_bars_file
from pairscope.research.closes import aligned

REAL = Path(__file__).parents[3] / "shared" / "data" / "bars" / "um_5m_2025-03.parquet"
HEAD = "timestamp,symbol,close\n"
NS = 1_741_257_000_000_000_000  # 2025-03-06T10:30:00Z


def written(folder: Path, text: str, name: str = "bars.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "time",
    [
        "2025-03-06T10:30:00.000Z",
        "2025-03-06 10:30:00",
        "2025-03-06T11:30:00+01:00",
        "20250306T103000Z",
        "1741257000000",
        " 1741257000000",
    ],
)
def test_a_time_is_iso_or_milliseconds(tmp_path: Path, time: str) -> None:
    path = written(tmp_path, f"{HEAD}{time},aaausdt,1.5\n{time},BBBUSDT,0.00001234\n")
    table = read_bars_file(path)
    assert table.times_ns.tolist() == [NS]
    assert table.symbols == ("AAAUSDT", "BBBUSDT")
    assert table.prices.tolist() == [[1.5, 0.00001234]]


def test_order_case_and_further_columns_do_not_matter(tmp_path: Path) -> None:
    text = '\ufeffvolume,"Close",SYMBOL, timestamp\n7,2,b,1741257060000\n7,3,A,1741257000000\n7,1,b,1741257000000\n'
    table = read_bars_file(written(tmp_path, text))
    assert table.symbols == ("A", "B")
    np.testing.assert_array_equal(table.prices, [[3.0, 1.0], [np.nan, 2.0]])


@pytest.mark.parametrize(
    "kind",
    [pa.timestamp("s"), pa.timestamp("ms", "UTC"), pa.timestamp("us", "Europe/Paris"), pa.timestamp("ns"), pa.int64()],
)
def test_parquet_is_read_whatever_its_unit_of_time(tmp_path: Path, kind: Any) -> None:
    times = pa.array([NS // 1_000_000] * 2, pa.int64()).cast(pa.timestamp("ms"))
    stamps = pa.array([NS // 1_000_000] * 2) if pa.types.is_integer(kind) else times.cast(pa.timestamp(kind.unit))
    columns = {
        "timestamp": stamps.cast(kind),
        "symbol": pa.array(["A", "B"]).dictionary_encode(),
        "close": pa.array([1, 2], pa.int32()),
    }
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "bars.parquet")
    table = read_bars_file(tmp_path / "bars.parquet")
    assert table.times_ns.tolist() == [NS]
    assert table.prices.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is empty"),
        (HEAD, "has no rows"),
        ("timestamp,symbol,price\n1,A,2\n", r"no column close; its columns are timestamp, symbol, price"),
        ("timestamp,symbol,close,close\n1741257000000,A,2,3\n", "column close twice"),
        (HEAD + "1741257000000,A,2\n1741257000000,B\n", "CSV file: .*Expected 3 columns, got 2"),
        (HEAD + "1741257000000,A,2\nsoon,B,2\n", "row 2, column timestamp: 'soon' is no time"),
        (HEAD + "1741257000000,A,2\n1741257000,B,2\n", "row 2, column timestamp: '1741257000' is no time"),
        (HEAD + "1900-01-01,A,2\n", "row 1, column timestamp: '1900-01-01' is no time"),
        (HEAD + "1741257000000,A,2\n,B,2\n", "row 2, column timestamp: '' is no time"),
        (HEAD + "1741257000000,A,2\n1741257000000,,2\n", "row 2, column symbol: is empty"),
        (HEAD + "1741257000000,A,2\n1741257000000,B,two\n", "row 2, column close: 'two' is no finite number"),
        (HEAD + "1741257000000,A,2\n1741257000000,B,\n", "row 2, column close: '' is no finite number"),
        (HEAD + "1741257000000,A,nan\n1741257000000,B,1\n", "row 1, column close: 'nan' is no finite number"),
        (HEAD + "1741257000000,A,2\n1741257000000,B,-inf\n", "row 2, column close: '-inf' is no finite number"),
        (HEAD + "1741257000000,A,2\n1741257000000,B,1\n2025-03-06T10:30,a,2\n", "row 3: A at 2025-03-06T10:30:00.000Z"),
        (HEAD + "1741257000000,A,2\n1741257060000,a,2\n", "one symbol only, A"),
    ],
)
def test_a_bad_file_is_refused_by_row_and_column(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ForeignFile, match=told) as refused:
        read_bars_file(written(tmp_path, text))
    assert refused.value.loc == "bars"
    assert "\n" not in refused.value.line()


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    for path, told in (
        (written(tmp_path, HEAD, "bars.xls"), "neither .csv nor .parquet"),
        (tmp_path / "gone.csv", "there is no file"),
        (written(tmp_path, HEAD, "not.parquet"), "no readable Parquet file"),
    ):
        with pytest.raises(ForeignFile, match=told):
            read_bars_file(path)
    (tmp_path / "latin.csv").write_bytes(HEAD.encode() + b"1741257000000,\xe9,2\n")
    with pytest.raises(ForeignFile, match="no readable CSV"):
        read_bars_file(tmp_path / "latin.csv")


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"timestamp": pa.array([NS // 10**6, NS // 10**9])}, r"row 2, column timestamp: '1741257000' is no time"),
        ({"timestamp": pa.array([NS // 10**6, None])}, "row 2, column timestamp: is missing"),
        ({"timestamp": pa.array([1.5, 2.5])}, "column timestamp: holds double"),
        ({"symbol": pa.array(["A", None])}, "row 2, column symbol: is missing"),
        ({"symbol": pa.array([1, 2])}, "column symbol: holds int64"),
        ({"close": pa.array([1.0, None])}, "row 2, column close: is missing"),
        ({"close": pa.array([1.0, float("nan")])}, "row 2, column close: 'nan' is no finite number"),
    ],
)
def test_bad_parquet_is_refused_by_row_and_column(tmp_path: Path, columns: dict[str, Any], told: str) -> None:
    good = {"timestamp": pa.array([NS // 10**6] * 2), "symbol": pa.array(["A", "B"]), "close": pa.array([1.0, 2.0])}
    pyarrow.parquet.write_table(pa.table({**good, **columns}), tmp_path / "bars.parquet")
    with pytest.raises(ForeignFile, match=told):
        read_bars_file(tmp_path / "bars.parquet")


def test_csv_and_parquet_of_real_bars_are_the_same_table(tmp_path: Path) -> None:
    if not REAL.is_file():
        pytest.skip(f"no real bars at {REAL}")
    columns = ["timestamp", "symbol", "close"]
    table = pyarrow.parquet.read_table(REAL, columns=columns).slice(0, 40_000)
    texts = table.set_column(1, "symbol", table["symbol"].cast(pa.string()))
    pyarrow.csv.write_csv(texts, tmp_path / "bars.csv")
    pyarrow.parquet.write_table(table, tmp_path / "bars.parquet")
    one, other = (read_bars_file(tmp_path / name) for name in ("bars.csv", "bars.parquet"))
    np.testing.assert_array_equal(one.times_ns, other.times_ns)
    np.testing.assert_array_equal(one.prices, other.prices)
    assert np.isfinite(aligned(one, 1440).prices).all()
