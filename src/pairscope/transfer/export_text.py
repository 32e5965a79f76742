"""CSV and JSON lines: a table as text, some millions of rows a second, each number as the exchange sent it.

CSV (RFC 4180, lines end with a line feed) has times in ISO 8601 and nothing where a value is missing. A cell of text
that a spreadsheet would take for a formula begins with an apostrophe; numbers stay numbers. JSON lines have times in
milliseconds and ``null``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import orjson

from pairscope.market.ticks import F8, I8
from pairscope.schemas.encoders import number
from pairscope.transfer.export_rows import WIDEST, hard_decimals, write_rows
from pairscope.transfer.export_table import MISSING, Column, Kind, Table

__all__ = ["CsvText", "JsonText", "csv_cell"]

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_INTEGER, _DECIMAL, _TIME, _WORD = 0, 1, 2, 3


def csv_cell(text: str) -> str:
    r"""Return a cell of text as CSV has it, disarmed where a spreadsheet would take it for a formula.

    >>> csv_cell("=HYPERLINK(1)"), csv_cell('say "a", b'), csv_cell("BTCUSDT")
    ("'=HYPERLINK(1)", '"say ""a"", b"', 'BTCUSDT')
    """
    safe = f"'{text}" if text.startswith(_FORMULA) else text
    return '"' + safe.replace('"', '""') + '"' if any(c in safe for c in ',"\n\r') else safe


class CsvText:
    """Comma-separated values with a header line."""

    def head(self, table: Table) -> bytes:
        """Return the header line."""
        return ",".join(csv_cell(column.name) for column in table.columns).encode() + b"\n"

    def rows(self, table: Table) -> bytes:
        """Return the rows of a table."""
        commas = [b"", *[b","] * (len(table.columns) - 1)]
        return _written(table, commas, b"\n", missing=b"", word=lambda text: csv_cell(text).encode(), time=_TIME)


class JsonText:
    """One JSON object a line."""

    def head(self, _: Table) -> bytes:
        """Return what stands before the first row: nothing."""
        return b""

    def rows(self, table: Table) -> bytes:
        """Return the rows of a table."""
        names = [orjson.dumps(column.name) + b":" for column in table.columns]
        between = [b"{" + names[0], *(b"," + name for name in names[1:])]
        return _written(table, between, b"}\n", missing=b"null", word=orjson.dumps, time=_INTEGER)


def _written(
    table: Table, between: Sequence[bytes], end: bytes, *, missing: bytes, word: Callable[[str], bytes], time: int
) -> bytes:
    rows = len(table)
    if not rows:
        return b""
    words, size = [missing], 0
    plan: list[tuple[int, int, int]] = []
    whole: list[I8] = []
    decimal: list[F8] = []
    for column in table.columns:
        match column.kind:
            case Kind.DECIMAL:
                hard = _hard_words(column.values, words)
                plan.append((_DECIMAL, len(decimal), -1 if hard is None else len(whole)))
                decimal.append(column.values)
                if hard is not None:
                    whole.append(hard)
                    size += _length(hard[hard >= 0], words)
            case Kind.INTEGER | Kind.TIME:
                plan.append((time if column.kind is Kind.TIME else _INTEGER, len(whole), -1))
                whole.append(column.values)
            case _:
                places = _places(column, words, word)
                plan.append((_WORD, len(whole), -1))
                whole.append(places)
                size += _length(places, words)
    out = np.empty(size + rows * (sum(map(len, between)) + len(end) + WIDEST * len(plan)), np.uint8)
    count = write_rows(
        np.array(plan, np.int64), _stacked(whole, rows, np.int64), _stacked(decimal, rows, np.float64),
        _bytes(b"".join(between) + end), np.cumsum([len(part) for part in between]), _bytes(b"".join(words)),
        np.cumsum([len(each) for each in words]), out,
    )  # fmt: skip
    return out[:count].tobytes()


def _stacked(rows: Sequence[Any], size: int, kind: Any) -> Any:
    return np.array(rows, kind) if rows else np.empty((0, size), kind)


def _bytes(text: bytes) -> Any:
    return np.frombuffer(text, np.uint8)


def _hard_words(values: F8, words: list[bytes]) -> I8 | None:
    """Return which word stands for each number, -1 where its digits can be written; None where all of them can."""
    hard = np.zeros(values.size, np.bool_)
    if not hard_decimals(values, hard):
        return None
    at = np.flatnonzero(hard)
    places = np.full(values.size, -1, np.int64)
    finite = np.isfinite(values[at])
    places[at[~finite]] = 0
    at = at[finite]
    places[at] = np.arange(len(words), len(words) + at.size)
    texts = orjson.dumps(values[at], option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    for cell, x in zip(texts.split(b",") if at.size else (), values[at], strict=True):
        words.append(number(x) if b"e" in cell else cell)
    return places


def _places(column: Column, words: list[bytes], word: Callable[[str], bytes]) -> I8:
    first = len(words)
    if column.kind is Kind.FLAG:
        words += [b"false", b"true"]
    else:
        words += [word(text) for text in column.words]
    return np.where(column.values == MISSING, 0, column.values + first)


def _length(places: I8, words: Sequence[bytes]) -> int:
    return int(np.array([len(each) for each in words], np.int64)[places].sum())
