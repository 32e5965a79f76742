"""CSV and JSON lines: every number names its float, no exponent, times as the calendar has them, cells disarmed."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import orjson
import pytest

from pairscope.schemas.encoders import number
from pairscope.transfer.export_table import MISSING, Column, Kind, Table
from pairscope.transfer.export_text import CsvText, JsonText

AWKWARD = [0.0, -0.0, 1e22, 1e23, 123456789012345678.0, 5e-324, 1.7e308, 0.1 + 0.2, 2.0**52, 2.0**53 - 1, 1e-7, -1e-7]


def cells_of(values: np.ndarray) -> list[bytes]:
    return CsvText().rows(Table((Column("x", Kind.DECIMAL, values),))).split(b"\n")[:-1]


def test_a_decimal_is_written_as_the_slow_exact_encoder_writes_it() -> None:
    rng = np.random.default_rng(1)
    sent = np.array(
        [
            float(Decimal(int(u)).scaleb(-int(d)))
            for u, d in zip(rng.integers(0, 10**13, 3000), rng.integers(0, 12, 3000), strict=True)
        ]
    )
    wild = rng.standard_normal(3000) * 10.0 ** rng.integers(-30, 30, 3000)
    values = np.concatenate([AWKWARD, sent, -sent[:100], wild])
    assert cells_of(values) == [number(x) for x in values]


def test_a_decimal_does_not_depend_on_those_before_it() -> None:
    values = np.array([0.00000001, 65000.0, 0.1, 7.0, 12345.678, 0.5])
    assert cells_of(values) == [cells_of(values[i : i + 1])[0] for i in range(values.size)]


def test_a_time_is_written_as_the_calendar_has_it() -> None:
    rng = np.random.default_rng(2)
    edges = [
        datetime(y, m, d, tzinfo=UTC)
        for y in (1970, 1999, 2000, 2024, 2100)
        for m, d in ((1, 1), (2, 28), (3, 1), (12, 31))
    ]
    ms = np.concatenate([[int(t.timestamp() * 1000) for t in edges], rng.integers(0, 9_223_372_036_854, 500)])
    told = CsvText().rows(Table((Column("t", Kind.TIME, ms),))).decode().split()
    assert told == [
        datetime.fromtimestamp(int(at) // 1000, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{int(at) % 1000:03d}Z") for at in ms
    ]


def test_what_is_missing_is_empty_in_csv_and_null_in_json() -> None:
    nothing = np.array([MISSING])
    table = Table(
        (
            Column("n", Kind.INTEGER, nothing),
            Column("x", Kind.DECIMAL, np.array([np.nan])),
            Column("t", Kind.TIME, nothing),
            Column("w", Kind.TEXT, nothing, ("never",)),
            Column("inf", Kind.DECIMAL, np.array([np.inf])),
        )
    )
    assert CsvText().rows(table) == b",,,,\n"
    assert orjson.loads(JsonText().rows(table)) == dict.fromkeys(("n", "x", "t", "w", "inf"))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")'])
def test_a_cell_that_a_spreadsheet_would_take_for_a_formula_is_disarmed(text: str) -> None:
    table = Table((Column("note", Kind.TEXT, np.array([0]), (text,)), Column("n", Kind.DECIMAL, np.array([-1.5]))))
    written = CsvText().head(table) + CsvText().rows(table)
    rows = list(csv.reader(io.StringIO(written.decode(), newline="")))
    assert rows == [["note", "n"], [f"'{text}", "-1.5"]]
    assert orjson.loads(JsonText().rows(table)) == {"note": text, "n": -1.5}


def test_words_with_quotes_commas_and_line_ends_stay_one_cell() -> None:
    words = ('say "a"', "a,b", "two\nlines", "币安人生USDT", "")
    table = Table((Column("w", Kind.TEXT, np.arange(5), words), Column("i", Kind.INTEGER, np.arange(5))))
    rows = list(csv.reader(io.StringIO(CsvText().rows(table).decode(), newline="")))
    assert [row[0] for row in rows] == list(words)
    assert [orjson.loads(line)["w"] for line in JsonText().rows(table).splitlines()] == list(words)


def test_the_smallest_and_largest_integers_are_written() -> None:
    values = np.array([0, 9, 10, -1, 2**63 - 1, -(2**63) + 1, 10**18, 999])
    table = Table((Column("n", Kind.INTEGER, values),))
    assert [int(line) for line in CsvText().rows(table).split()] == values.tolist()
