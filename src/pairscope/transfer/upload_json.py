"""JSON as columns: an array of objects, an object of columns, the exchange's arrays, or a line an object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson

from pairscope.errors import ForeignFile
from pairscope.transfer.upload_cells import Column
from pairscope.transfer.upload_columns import EXCHANGE_ORDER, recognised
from pairscope.transfer.upload_tables import UploadTable, check_count, check_text, exchange_columns
from pairscope.transfer.upload_unpacking import UploadLimits

__all__ = ["cells_of", "table_of_json"]

_WRAPPERS: Final = ("bars", "rows", "records", "data", "result", "candles", "klines", "ohlc", "ohlcv")
_FORMS: Final = "an array of objects, an object of columns, or an array of the exchange's arrays"
_CELLS: Final = 12_000_000
"""Commas that a text may have: each stands for a value that takes memory."""


def table_of_json(body: bytes, limits: UploadLimits) -> UploadTable:
    """Return the columns of a JSON text; an object around its rows may say ``symbol`` and ``timeframe``."""
    check_text(body)
    check_count(body.count(b"{") + body.count(b"["), limits.rows + 1000, "rows")
    check_count(body.count(b","), _CELLS, "cells")
    document = _parsed(body.removeprefix(b"\xef\xbb\xbf"))
    said: dict[str, str] = {}
    if isinstance(document, dict):
        key = next((key for key in _WRAPPERS if isinstance(document.get(key), list | dict)), None)
        if key is not None:
            said = {k: v for k in ("symbol", "timeframe") if isinstance(v := document.get(k), str)}
            document = document[key]
    if isinstance(document, dict):
        return _of_columns(document, limits, said)
    if not isinstance(document, list):
        raise ForeignFile("the JSON holds no rows", loc="file", hint=f"send {_FORMS}")
    check_count(len(document), limits.rows, "rows")
    if document and isinstance(document[0], list):
        return _of_arrays(document, said)
    return _of_objects(document, limits, said)


def _parsed(body: bytes) -> Any:
    """Return the value of a text; NaN and Infinity, which are no JSON, are read all the same, to be told of by row."""
    texts = [body]
    if body.lstrip().startswith(b"{") and b"\n" in body.strip():
        texts.append(b"[" + b",".join(line for line in body.splitlines() if line.strip()) + b"]")
    reasons = []
    for text in texts:
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError as error:
            reasons.append(str(error))
        # Half a character, which orjson refuses, must not come in by the other way.
        if (b"NaN" in text or b"Infinity" in text) and b"\\ud" not in text.lower():
            try:
                return json.loads(text)
            except (ValueError, RecursionError) as error:
                reasons.append(str(error))
    raise ForeignFile(f"the text is no JSON: {reasons[0]}", loc="file")


def _of_objects(rows: Sequence[Any], limits: UploadLimits, said: Mapping[str, str]) -> UploadTable:
    good = [row for row in rows if isinstance(row, dict)]
    if not good:
        raise ForeignFile(
            "the JSON holds no rows" if not rows else "no row is an object", loc="file", hint=f"send {_FORMS}"
        )
    names = list(dict.fromkeys(name for row in good for name in row))
    check_count(len(names), limits.columns, "columns")
    places = recognised(names)
    columns = {
        name: Column.of(names[place], cells_of([row.get(names[place]) for row in good]))
        for name, place in places.items()
    }
    unread = [(n, "is no object") for n, row in enumerate(rows, 1) if not isinstance(row, dict)]
    numbers = np.array([n for n, row in enumerate(rows, 1) if isinstance(row, dict)], np.int64)
    return UploadTable(columns, numbers, unread, said)


def _of_arrays(rows: Sequence[Any], said: Mapping[str, str]) -> UploadTable:
    places = exchange_columns(len(rows[0]))
    most = max(places.values()) + 1
    fits = [isinstance(row, list) and len(row) >= most for row in rows]
    good = [row for row, fit in zip(rows, fits, strict=True) if fit]
    columns = {
        name: Column.of(EXCHANGE_ORDER[place], cells_of([row[place] for row in good])) for name, place in places.items()
    }
    unread = [
        (n, f"has {len(row)} cells, not {len(rows[0])}" if isinstance(row, list) else "is no array")
        for n, (row, fit) in enumerate(zip(rows, fits, strict=True), 1)
        if not fit
    ]
    return UploadTable(columns, np.array([n for n, fit in enumerate(fits, 1) if fit], np.int64), unread, said)


def _of_columns(document: Mapping[str, Any], limits: UploadLimits, said: Mapping[str, str]) -> UploadTable:
    """Return the columns of an object of them, each an array or, as pandas writes them, an object by row."""
    check_count(len(document), limits.columns, "columns")
    held = {name: cells for name, cells in document.items() if isinstance(cells, list | dict)}
    scalars = {name: cells for name, cells in document.items() if name not in held}
    said = {**said, **{k: v for k in ("symbol", "timeframe") if isinstance(v := scalars.get(k), str)}}
    by_row = [cells for cells in held.values() if isinstance(cells, dict)]
    if by_row and all(list(cells) == list(by_row[0]) for cells in by_row):
        held = {"": list(by_row[0]), **{n: list(c.values()) if isinstance(c, dict) else c for n, c in held.items()}}
    names = list(held)
    if not names:
        raise ForeignFile("the JSON holds no rows", loc="file", hint=f"send {_FORMS}")
    wanted = {name: names[place] for name, place in recognised(names).items()}
    lengths = {own: len(held[own]) for own in wanted.values()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{own} {length:,}" for own, length in lengths.items())
        raise ForeignFile(f"the columns are not of one length: {told}", loc="file")
    count = next(iter(lengths.values()))
    check_count(count, limits.rows, "rows")
    columns = {name: Column.of(own, cells_of(list(held[own]))) for name, own in wanted.items()}
    return UploadTable(columns, np.arange(1, count + 1), (), said)


def cells_of(values: list[Any]) -> Any:
    """Return values as Arrow's array: of numbers or of text where all are, else each as the text that it is."""
    import pyarrow as pa

    if not any(isinstance(value, bool) for value in values):  # which Arrow takes for 1 and 0 among numbers
        try:
            array = pa.array(values)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            return pa.array([_spelled(value) for value in values], pa.string())
        kind = array.type
        plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_string, pa.types.is_null)
        if any(is_so(kind) for is_so in plain):
            return array
    return pa.array([_spelled(value) for value in values], pa.string())


def _spelled(value: Any) -> str | None:
    """Return any value of JSON as text."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else ("[…]" if isinstance(value, list) else "{…}")
