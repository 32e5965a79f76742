"""Cells of a file as numbers and times, whatever they were written as; what is neither becomes a fault of its row."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np

from pairscope.errors import ForeignFile
from pairscope.market.ticks import B1, F8, I8
from pairscope.transfer.upload_faults import Faults

__all__ = ["EARLIEST_NS", "Column", "filled", "iso_ns", "numbers", "texts", "times"]

EARLIEST_NS: Final = 946_684_800 * 1_000_000_000
"""2000-01-01: what lies before it is a number that was misread, not a time of a market."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_NS: Final = 9_223_372_036_854_000_000
_UNITS: Final = ("s", "ms", "µs", "ns")
_EDGES: Final = (10**11, 10**14, 10**17)
"""Where the units part: as milliseconds these are 1973, as seconds 5138; a time after 2000 has one reading only."""
_PER_UNIT: Final = (10**9, 10**6, 10**3, 1)
_NUMBER: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_NOTHING: Final = frozenset({"nan", "null", "none", "na", "n/a", "#n/a", "-", "nil"})
_ENDLESS: Final = frozenset({"inf", "infinity"})
_ECHO: Final = 40


class Column(NamedTuple):
    """A column of a file under its own name, as Arrow's array."""

    name: str
    cells: Any

    @classmethod
    def of(cls, name: str, cells: Any) -> Column:
        """Return a column under a name that is short enough to be said in every fault."""
        return cls(name if len(name) <= _ECHO else name[:_ECHO] + "…", cells)


def filled(column: Column) -> Column:
    """Return a column in which 0 stands where a cell is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    name, cells = column
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        empty = pc.equal(pc.utf8_trim_whitespace(pc.fill_null(cells, "")), "")
        return Column(name, pc.if_else(empty, "0", cells))
    if pa.types.is_null(cells.type):
        return Column(name, pa.array(np.zeros(len(cells))))
    counts = pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type)
    return Column(name, pc.fill_null(cells, 0)) if counts else column


def numbers(column: Column, faults: Faults) -> F8:
    """Return a column as float64, each cell the nearest to the decimal that is written; NaN where there is a fault."""
    import pyarrow as pa
    import pyarrow.compute as pc

    name, cells = column
    kind = cells.type
    if pa.types.is_dictionary(kind):
        known = Faults(np.arange(len(cells.dictionary)))
        values = numbers(Column(name, cells.dictionary), known)
        places = _places(cells)
        found = np.where(places >= 0, np.append(values, np.nan)[places], np.nan)
        reasons = {fault.row: fault.reason for fault in known.listed()}
        faults.add(np.isnan(found), name, lambda row: reasons.get(int(places[row]), "is missing"))
        return found
    if pa.types.is_boolean(kind):
        faults.add(np.ones(len(cells), np.bool_), name, "is true or false, no number")
        return np.full(len(cells), np.nan)
    if pa.types.is_null(kind):
        faults.add(np.ones(len(cells), np.bool_), name, "is missing")
        return np.full(len(cells), np.nan)
    if pa.types.is_decimal(kind) or (pa.types.is_floating(kind) and kind != pa.float64()):
        cells = pc.cast(cells, pa.string())  # by the shortest decimal: 0.1 of 32 bits is 0.1
        kind = cells.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _numbers_of_text(name, cells, faults)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ForeignFile(f"the column {name!r} holds {kind}, no numbers", loc="file")
    found = _to_float(pc.cast(cells, pa.float64(), safe=False))
    faults.add(_mask(pc.is_null(cells)), name, "is missing")
    faults.add(_mask(pc.is_valid(cells)) & np.isnan(found), name, "is NaN")
    endless = np.isinf(found)
    faults.add(endless, name, "is infinite")
    return np.where(endless, np.nan, found)


def _numbers_of_text(name: str, cells: Any, faults: Faults) -> F8:
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_trim_whitespace(pc.fill_null(cells, ""))
    plain = pc.match_substring_regex(text, _NUMBER)
    found = _to_float(pc.cast(pc.if_else(plain, text, None), pa.float64()))
    faults.add(~_mask(plain), name, lambda row: _why_no_number(text[row].as_py()))
    endless = np.isinf(found)
    faults.add(endless, name, "is too large")
    return np.where(endless, np.nan, found)


def _why_no_number(text: str) -> str:
    low = text.lower().lstrip("+-")
    if not text:
        return "is missing"
    if text.lower() in _NOTHING or low in _NOTHING:
        return "is NaN" if low == "nan" else f"is missing: {text!r}"
    if low in _ENDLESS:
        return "is infinite"
    if re.fullmatch(r"[+-]?[0-9.]*,[0-9]+", text):
        return f"{text!r} has a comma: decimals are separated by a point, thousands not at all"
    return f"{_short(text)} is no number"


def texts(column: Column, faults: Faults) -> tuple[I8, list[str]]:
    """Return each row's place among the different texts of a column, -1 where it has none, and those texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = column.cells
    if pa.types.is_null(cells.type):
        faults.add(np.ones(len(cells), np.bool_), column.name, "is missing")
        return np.full(len(cells), -1, np.int64), []
    if not pa.types.is_dictionary(cells.type):
        if not (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)):
            raise ForeignFile(f"the column {column.name!r} holds {cells.type}, no text", loc="file")
        cells = pc.dictionary_encode(cells)
    known = [text.strip() if isinstance(text, str) else "" for text in cells.dictionary.to_pylist()]
    places = _places(cells)
    empty = np.append(np.array([not text for text in known], np.bool_), True)
    missing: B1 = empty[places]
    faults.add(missing, column.name, "is missing")
    return np.where(missing, -1, places), known


def times(column: Column, faults: Faults) -> tuple[I8, str]:
    """Return a column as nanoseconds since the epoch, 0 where there is a fault, and how the file writes its times.

    ISO 8601 (without an offset: UTC), or s, ms, µs or ns since the epoch, told apart by magnitude; one for a file.
    Faults: what is no time, is written in another unit than most of the file's, or lies before 2000.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    name, cells = column
    if pa.types.is_dictionary(cells.type):
        cells = pc.cast(cells, cells.type.value_type)
    kind = cells.type
    if pa.types.is_null(kind):
        faults.add(np.ones(len(cells), np.bool_), name, "is missing")
        return np.zeros(len(cells), np.int64), ""
    missing = _mask(pc.is_null(cells))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        unit = {"us": "µs"}.get(kind.unit, kind.unit) if pa.types.is_timestamp(kind) else "date"
        per = dict(zip(_UNITS, _PER_UNIT, strict=True)).get(unit, 10**6)
        cells = pc.cast(cells, pa.date64()) if unit == "date" else cells
        counted = np.asarray(pc.fill_null(pc.cast(cells, pa.int64()), 0), np.int64)
        faults.add(missing, name, "is missing")
        return _bounded(counted, per, ~missing, name, faults), unit
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _times_of_text(name, cells, faults)
    if pa.types.is_integer(kind):
        counted = np.asarray(pc.fill_null(pc.cast(cells, pa.int64(), safe=False), 0), np.int64)
        faults.add(missing, name, "is missing")
        return _counted(counted, ~missing, name, faults)
    if pa.types.is_floating(kind):
        values = _to_float(pc.cast(cells, pa.float64()))
        faults.add(~np.isfinite(values), name, "is missing")
        return _counted(values, np.isfinite(values), name, faults)
    raise ForeignFile(f"the column {name!r} holds {kind}, no times", loc="file")


def _times_of_text(name: str, cells: Any, faults: Faults) -> tuple[I8, str]:
    """Return times that are written as text: digits count units since the epoch, all else is ISO 8601."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_trim_whitespace(pc.fill_null(cells, ""))
    whole = _mask(pc.match_substring_regex(text, r"^([0-9]{1,18}|[1-8][0-9]{18})$"))
    broken = _mask(
        pc.match_substring_regex(text, r"^([0-9]{1,12}\.[0-9]*|[0-9]\.[0-9]+[eE]\+?[0-9]{1,2}|[0-9]{13,16}\.0*)$")
    )
    digits = whole | broken
    if np.count_nonzero(digits) * 2 > len(cells):
        faults.add(~digits, name, lambda row: _why_no_time(text[row].as_py(), counted=True))
        if not broken.any():
            counted = np.asarray(
                pc.fill_null(pc.cast(pc.if_else(pa.array(whole), text, None), pa.int64()), 0), np.int64
            )
            return _counted(counted, digits, name, faults)
        values = _to_float(pc.cast(pc.if_else(pa.array(digits), text, None), pa.float64()))
        return _counted(values, digits, name, faults)
    found, good = _iso_times(text)
    faults.add(~good, name, lambda row: _why_no_time(text[row].as_py(), counted=False))
    early = good & (found < EARLIEST_NS)
    faults.add(early, name, "lies before 2000")
    return np.where(good & ~early, found, 0), "ISO 8601"


def _iso_times(text: Any) -> tuple[I8, B1]:
    """Return times of ISO 8601 and which are such: all at once where none has an offset but UTC's, else one by one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    bare = pc.replace_substring_regex(text, r"(\d)(Z|z|[+]00:?00| ?UTC)$", r"\1")
    try:
        found = np.asarray(pc.cast(pc.cast(bare, pa.timestamp("ns")), pa.int64()), np.int64)
    except pa.ArrowInvalid:
        encoded = pc.dictionary_encode(text)
        known = [iso_ns(each) for each in encoded.dictionary.to_pylist()]
        places = np.asarray(encoded.indices, np.int64)
        good = np.array([ns is not None for ns in known], np.bool_)[places]
        return np.array([ns or 0 for ns in known], np.int64)[places], good
    return found, np.ones(len(text), np.bool_)


def iso_ns(text: str) -> int | None:
    """Return a time of ISO 8601 in nanoseconds since the epoch, None where it is none; without an offset it is UTC.

    >>> iso_ns("2026-01-01 01:00+01:00"), iso_ns("yesterday")
    (1767225600000000000, None)
    """
    spelled = re.sub(r" ?UTC$", "", text.strip())
    if not re.match(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}", spelled):
        return None
    try:
        moment = datetime.fromisoformat(spelled)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    ns = (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    return ns if -_LATEST_NS < ns < _LATEST_NS else None


def _why_no_time(text: str, *, counted: bool) -> str:
    if not text or text.lower() in _NOTHING:
        return "is missing"
    if counted and iso_ns(text) is not None:
        return f"{_short(text)} is ISO 8601, most of the file's times are counted since the epoch"
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", text):
        other = "is counted since the epoch, most of the file's times are ISO 8601"
        return f"{_short(text)} {'is no time' if counted or len(text) < 9 else other}"
    return f"{_short(text)} is no time: ISO 8601, or s, ms, µs or ns since the epoch"


def _counted(values: F8 | I8, good: B1, name: str, faults: Faults) -> tuple[I8, str]:
    """Return times that are counted since the epoch; the unit is that of most of them."""
    if not good.any():
        return np.zeros(values.size, np.int64), ""
    early = good & (values < EARLIEST_NS // 10**9)
    faults.add(early, name, "lies before 2000")
    good = good & ~early
    place = np.searchsorted(np.array(_EDGES), values, side="right")
    unit = int(np.bincount(place[good], minlength=4).argmax()) if good.any() else 1
    strange = good & (place != unit)
    faults.add(strange, name, lambda row: f"is in {_UNITS[place[row]]}, most of the file's times are in {_UNITS[unit]}")
    good = good & ~strange
    if values.dtype.kind == "f":
        micro = np.rint(np.where(good, values, 0.0) * (_PER_UNIT[unit] / 1000.0))
        return _bounded(micro.astype(np.int64), 1000, good, name, faults), _UNITS[unit]
    return _bounded(values.astype(np.int64), _PER_UNIT[unit], good, name, faults), _UNITS[unit]


def _bounded(counted: I8, per: int, good: B1, name: str, faults: Faults) -> I8:
    """Return counts of a unit as nanoseconds, 0 where they are no time after 2000 that 64 bits hold."""
    late = good & (counted > _LATEST_NS // per)
    early = good & (counted < EARLIEST_NS // per)
    faults.add(late, name, "lies behind the year 2262")
    faults.add(early, name, "lies before 2000")
    return np.where(good & ~late & ~early, counted, 0) * per


def _places(cells: Any) -> I8:
    """Return each row's place in a dictionary, -1 where it has none."""
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(cells.indices.cast("int64"), -1), np.int64)


def _to_float(cells: Any) -> F8:
    return np.array(cells.to_numpy(zero_copy_only=False), np.float64)


def _mask(cells: Any) -> B1:
    return np.array(cells.to_numpy(zero_copy_only=False), np.bool_)


def _short(text: str) -> str:
    return repr(text if len(text) <= _ECHO else text[:_ECHO] + "…")
