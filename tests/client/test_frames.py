"""Tables as the person wants them: the same rows in pandas, polars and Arrow, exact and with times that know UTC."""

from __future__ import annotations

import sys
from typing import Any

import httpx2
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from pairscope.client import Client
from pairscope.errors import InputError

from .test_clients import bar, client_of

ROWS = [bar(1_700_000_000_000, 0.00001234), bar(1_700_000_060_000, 2)]
TIMES = ["2023-11-14T22:13:20.000+00:00", "2023-11-14T22:14:20.000+00:00"]


def bars_client(**options: Any) -> Client:
    return client_of(lambda _: httpx2.Response(200, json={"bars": ROWS, "next": None}), **options)


def arrow_client(table: pa.Table, **options: Any) -> Client:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    kind = {"Content-Type": "application/vnd.apache.arrow.stream"}
    return client_of(lambda _: httpx2.Response(200, content=bytes(sink.getvalue()), headers=kind), **options)


def test_bars_come_in_the_library_that_the_client_or_the_call_names() -> None:
    api = bars_client(frame="polars")
    table = api.ohlc("PEPEUSDT")
    assert isinstance(table, pl.DataFrame)
    assert table["close"].to_list() == [0.00001234, 2.0]
    assert table["timestamp"].dtype == pl.Datetime("ms", "UTC")
    arrow = api.ohlc("PEPEUSDT", frame="arrow")
    assert isinstance(arrow, pa.Table)
    assert [str(at) for at in arrow["timestamp"].to_pylist()] == [str(pd.Timestamp(at)) for at in TIMES]
    frame = api.ohlc("PEPEUSDT", frame="pandas")
    assert list(frame.index) == [pd.Timestamp(at) for at in TIMES]
    assert str(frame.index.dtype) == "datetime64[us, UTC]"
    assert frame["close"].tolist() == [0.00001234, 2.0]


def test_an_answer_in_arrow_makes_the_same_table_as_one_in_json() -> None:
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    table = pa.table({**columns, "timestamp": pa.array(columns["timestamp"], pa.timestamp("ms", tz="UTC"))})
    table = table.set_column(4, "close", pa.array([float(v) for v in columns["close"]]))
    pd.testing.assert_frame_equal(arrow_client(table).ohlc("PEPEUSDT"), bars_client().ohlc("PEPEUSDT"))


def test_rows_with_other_fields_and_nested_ones_are_a_table_too() -> None:
    rows = [{"id": "a", "conditions": [{"type": "price"}]}, {"id": "b", "last_fired": 1_700_000_000_000}]
    api = client_of(lambda _: httpx2.Response(200, json={"alerts": rows, "next": None}), frame="arrow")
    table = api.alerts()
    assert table["id"].to_pylist() == ["a", "b"]
    assert table["last_fired"].to_pylist()[0] is None
    assert str(table["last_fired"].type) == "timestamp[ms, tz=UTC]"
    mixed = client_of(lambda _: httpx2.Response(200, json=[{"symbol": "A", "what": 1}, {"symbol": "B", "what": "x"}]))
    assert mixed.symbols(frame="arrow")["what"].to_pylist() == ["1", '"x"']


def test_a_matrix_has_its_left_names_as_a_column_outside_pandas() -> None:
    said = {"symbols": ["A", "B"], "matrix": [[1.0, None], [None, 1.0]]}
    table = client_of(lambda _: httpx2.Response(200, json=said), frame="polars").correlation(["A", "B"])
    assert table.to_dict(as_series=False) == {"symbol": ["A", "B"], "A": [1.0, None], "B": [None, 1.0]}


@pytest.mark.parametrize("frame", ["polars", "arrow", "pandas"])
def test_an_empty_answer_has_its_columns_in_every_library(frame: Any) -> None:
    api = client_of(lambda _: httpx2.Response(200, json={"gaps": [], "next": None}), frame=frame)
    table = api.gaps()
    names = table.column_names if frame == "arrow" else list(table.columns)
    assert names[:3] == ["symbol", "from_id", "to_id"]
    assert len(table) == 0


def test_a_library_that_is_not_there_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(InputError, match="pip install polars"):
        bars_client(frame="polars").ohlc("PEPEUSDT")
    with pytest.raises(InputError, match="pandas, polars, arrow; got 'modin'"):
        Client(frame="modin")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="got 'numpy'"):
        bars_client().ohlc("PEPEUSDT", frame="numpy")  # type: ignore[arg-type]
