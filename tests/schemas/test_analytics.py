"""Documents with columns: NaN is null, prices are plain, times in CSV are ISO; the documents read what is written."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pairscope.schemas import encode_csv, encode_document

FLOATS = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20)


@given(FLOATS)
def test_every_float_comes_back_as_it_was_and_what_is_none_is_null(values: list[float]) -> None:
    column = np.array(values, np.float64)
    expected = [value if np.isfinite(value) else None for value in values]
    for positional in ((), ("x",)):
        said = json.loads(encode_document({}, {"x": column}, positional=positional))
        assert said == {"series": {"x": expected}}
    rows = list(csv.DictReader(io.StringIO(encode_csv({"x": column, "i": np.arange(column.size)}).decode())))
    assert [float(row["x"]) if row["x"] else None for row in rows] == expected


def test_no_price_has_an_exponent() -> None:
    text = encode_document({"last": 1e-7}, {"price": np.array([1.234e-5])}, positional=("price",), more={"next": "1"})
    assert text == b'{"last":0.0000001,"series":{"price":[0.00001234]},"next":"1"}'


def test_times_in_csv_are_iso_with_milliseconds() -> None:
    rows = encode_csv({"timestamp": np.array([1_767_225_600_123]), "price": np.array([0.5])}).splitlines()
    assert rows == [b"timestamp,price", b"2026-01-01T00:00:00.123Z,0.5"]
    assert encode_csv({"timestamp": np.array([], np.int64), "price": np.array([])}) == b"timestamp,price\r\n"
