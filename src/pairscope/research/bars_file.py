"""Anyone's own numbers in long form, ``timestamp,symbol,close`` in CSV or Parquet, as columns or a table of closes.

What cannot be read is refused with its row and column, counted from 1 without the header; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from pairscope.errors import ForeignFile
from pairscope.market.symbols import normalize_symbol
from pairscope.market.ticks import F8, I8
from pairscope.research.closes import Closes, iso

__all__ = ["COLUMNS", "LongTable", "read_bars_file", "read_long_table"]

COLUMNS: Final = ("timestamp", "symbol", "close")
"""What a file must have; what else it has is passed over."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_MS, _LATEST_MS = 10**11, 9_223_372_036_854
"""Whole numbers outside (1973 to 2262) are seconds, or micro- or nanoseconds, not the milliseconds they should be."""


@dataclass(frozen=True, slots=True, eq=False)
class LongTable:
    """The rows of a file, by symbol and time: ``place`` is each row's symbol in ``symbols``, which ascend by name."""

    times_ns: I8
    place: NDArray[np.int64]
    symbols: tuple[str, ...]
    columns: Mapping[str, F8]


def read_bars_file(path: Path) -> Closes:
    """Return the closes of a file: CSV (``.csv``) or Parquet (``.parquet``), a row a bar of a symbol, in any order.

    ``timestamp`` is the bar's open time, ISO 8601 (without an offset: UTC) or milliseconds since the epoch, in Parquet
    a timestamp, too. Symbols are put into upper case. ``ForeignFile`` names row and column of what is missing, no time,
    no finite number or there twice. O(n log n).
    """
    table = read_long_table(path, ("close",))
    if len(table.symbols) < 2:
        raise _refused(f"has one symbol only, {table.symbols[0]}", hint="a pair takes two")
    clock, slot = np.unique(table.times_ns, return_inverse=True)
    prices = np.full((clock.size, len(table.symbols)), np.nan)
    prices[slot, table.place] = table.columns["close"]
    return Closes(clock, table.symbols, prices)


def read_long_table(path: Path, numbers: Sequence[str], *, where_there: Sequence[str] = ()) -> LongTable:
    """Return ``timestamp``, ``symbol`` and columns of numbers of a file as ``read_bars_file`` takes it.

    The columns ``where_there`` are read where the file has them; in these, and only these, a missing number is NaN.
    Raises what ``read_bars_file`` does. O(n log n).
    """
    table = _read(path)
    names = [name.strip().lower() for name in table.column_names]
    needed = ("timestamp", "symbol", *numbers)
    form = f"a row like {','.join(needed)}"
    for name in (*needed, *(name for name in where_there if name in names)):
        if names.count(name) != 1:
            has = ", ".join(table.column_names) or "none"
            what = f"has no column {name}" if name not in names else f"has the column {name} twice"
            raise _refused(f"{what}; its columns are {has}", hint=form)
    if not table.num_rows:
        raise _refused("has no rows", hint=form)
    stamps, symbols = (table.column(names.index(name)).combine_chunks() for name in ("timestamp", "symbol"))
    times_ns = _times(stamps)
    place, known = _symbols(symbols)
    columns = {name: _numbers(table.column(names.index(name)).combine_chunks(), name) for name in numbers}
    for name in where_there:
        if name in names:
            columns[name] = _numbers(table.column(names.index(name)).combine_chunks(), name, gaps=True)
    order = np.lexsort((times_ns, place))
    twice = (np.diff(place[order]) == 0) & (np.diff(times_ns[order]) == 0)
    if twice.any():
        row = int(min(max(order[i], order[i + 1]) for i in np.flatnonzero(twice)))
        raise _refused(f"row {row + 1}: {known[place[row]]} at {iso(int(times_ns[row]))} is there twice")
    return LongTable(
        times_ns[order], place[order], tuple(known), {name: values[order] for name, values in columns.items()}
    )


def _read(path: Path) -> Any:
    """Return the file as a table of Arrow's; of CSV every cell is text."""
    if path.suffix.lower() not in {".csv", ".parquet"}:
        raise _refused(f"{path.name} is neither .csv nor .parquet")
    if not path.is_file():
        raise _refused(f"there is no file {path}")
    try:
        if path.suffix.lower() == ".parquet":
            return pyarrow.parquet.read_table(path)
        with path.open(encoding="utf-8-sig") as file:
            columns = file.readline().rstrip("\r\n").split(",")
        text = dict.fromkeys((name.strip('"') for name in columns), pa.string())
        return pyarrow.csv.read_csv(
            path,
            convert_options=pyarrow.csv.ConvertOptions(column_types=text, strings_can_be_null=False),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=False),
        )
    except (OSError, UnicodeDecodeError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        kind = "Parquet" if path.suffix.lower() == ".parquet" else "CSV"
        why = "it is empty" if not path.stat().st_size else " ".join(str(error).split())
        raise _refused(f"{path.name} is no readable {kind} file: {why}") from error


def _times(column: Any) -> I8:
    """Return open times in nanoseconds."""
    _demand_all(column, "timestamp")
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        times: I8 = np.asarray(column.cast(pa.timestamp("ns")).cast(pa.int64()), np.int64)
        return times
    if pa.types.is_integer(kind):
        times_ms: I8 = np.asarray(column, np.int64)
        wrong = np.flatnonzero((times_ms < _EARLIEST_MS) | (times_ms > _LATEST_MS))
        if wrong.size:
            raise _no_time(int(wrong[0]), str(times_ms[wrong[0]]))
        return times_ms * 1_000_000
    read: I8 = _by_value(column, "timestamp", _time_ns, _no_time)
    return read


def _symbols(column: Any) -> tuple[NDArray[np.int64], list[str]]:
    """Return each row's place among the symbols, and the symbols by name."""
    _demand_all(column, "symbol")

    def spelled(text: str) -> str:
        if not (name := normalize_symbol(text)):
            raise ValueError(text)
        return name

    codes, names = _coded(column, "symbol", spelled, lambda row, _: _refused(f"row {row + 1}, column symbol: is empty"))
    known, place = np.unique(names, return_inverse=True)
    return place[codes].astype(np.int64), known.tolist()


def _numbers(column: Any, name: str, *, gaps: bool = False) -> F8:
    """Return a column as numbers; with ``gaps`` a missing one is NaN."""
    if not gaps:
        _demand_all(column, name)
    wrong_at = partial(_no_number, name=name)

    def number(text: str | None) -> float:
        return float("nan") if gaps and not (text or "").strip() else float(text or "")

    try:
        values: F8 = np.array(pc.cast(column, pa.float64()), np.float64)
    except pa.ArrowException:
        values = _by_value(column, name, number, wrong_at).astype(np.float64)
    wrong = np.flatnonzero(np.isinf(values) if gaps else ~np.isfinite(values))
    if wrong.size:
        raise wrong_at(int(wrong[0]), str(column[int(wrong[0])].as_py()))
    return values


def _by_value(column: Any, name: str, read: Callable[[str], Any], wrong: Callable[[int, str], ForeignFile]) -> Any:
    """Return what ``read`` makes of each row's text, reading every text once."""
    codes, values = _coded(column, name, read, wrong)
    return np.array(values)[codes]


def _coded(
    column: Any, name: str, read: Callable[[str], Any], wrong: Callable[[int, str], ForeignFile]
) -> tuple[NDArray[np.int64], Sequence[Any]]:
    """Return each row's place among the different texts, and what ``read`` makes of those; ``wrong`` of the first."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise _refused(f"column {name}: holds {column.type}, which is not understood")
    encoded = column.fill_null("").dictionary_encode()
    codes = np.asarray(encoded.indices, np.int64)
    values = []
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            values.append(read(text))
        except ValueError:
            raise wrong(int(np.argmax(codes == code)), text) from None
    return codes, values


def _time_ns(text: str) -> int:
    """Return a time that is written as milliseconds or as ISO 8601."""
    text = text.strip()
    if re.fullmatch(r"[+-]?[0-9]+", text):
        if not _EARLIEST_MS <= int(text) <= _LATEST_MS:
            raise ValueError(text)
        return int(text) * 1_000_000
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    ns = (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    if not 0 <= ns <= _LATEST_MS * 1_000_000:
        raise ValueError(text)
    return ns


def _demand_all(column: Any, name: str) -> None:
    """Refuse a column in which a value is missing."""
    if column.null_count:
        row = int(np.argmax(np.asarray(column.is_null(), np.bool_)))
        raise _refused(f"row {row + 1}, column {name}: is missing")


def _no_time(row: int, text: str) -> ForeignFile:
    return _refused(
        f"row {row + 1}, column timestamp: {text!r} is no time",
        hint="ISO 8601, or milliseconds since the epoch, between 1970 and 2262",
    )


def _no_number(row: int, text: str, name: str) -> ForeignFile:
    return _refused(f"row {row + 1}, column {name}: {text!r} is no finite number")


def _refused(what: str, *, hint: str = "") -> ForeignFile:
    return ForeignFile(what, loc="bars", hint=hint)
