"""A file that a person sends, read into bars: every row is judged, and every fault of a row is told.

A file runs forwards or backwards in time throughout; a row against that is a fault, and so is a bar's second row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.errors import ForeignFile, InputError
from pairscope.market.bars import TIMEFRAMES, BarBatch, Origin, timeframe_ns
from pairscope.market.symbols import Symbols, normalize_symbol
from pairscope.market.ticks import B1, F8, I8
from pairscope.transfer.export_name import named_by_export
from pairscope.transfer.upload_cells import Column, filled, numbers, texts, times
from pairscope.transfer.upload_faults import Fault, Faults
from pairscope.transfer.upload_json import table_of_json
from pairscope.transfer.upload_tables import UploadTable, table_of_arrow, table_of_csv, table_of_parquet
from pairscope.transfer.upload_unpacking import UploadLimits, unpack

__all__ = ["UploadAsked", "UploadReading", "read_upload", "upload_symbol"]

_LARGEST: Final = 1e15
_SMALLEST: Final = 1e-15
_LARGEST_VOLUME: Final = 1e18
_LONGEST_NAME: Final = 40
_PRICES: Final = ("open", "high", "low", "close")
_BESIDE: Final = ("quote_volume", "buy_volume")
"""What a bar can do without; 0 where it is missing, as in a file that has no such column."""


@dataclass(frozen=True, slots=True)
class UploadAsked:
    """What is said beside the file; an empty word leaves it to the file, then to the name of an export."""

    symbol: str = ""
    timeframe: str = ""
    filename: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class UploadReading:
    """What a file holds: its good rows as bars by (symbol, time), ``row`` of each, and the faults of the others.

    ``faults`` are the first of ``fault_count``, of ``faulty_rows`` rows; ``columns`` tells which of the file's columns
    was taken for what, ``time_unit`` how it writes times.
    """

    bars: BarBatch
    row: I8
    rows: int
    faults: Sequence[Fault]
    fault_count: int
    faulty_rows: int
    columns: Mapping[str, str]
    time_unit: str

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of the good rows, by name."""
        return tuple(sorted({self.bars.symbols[i] for i in np.unique(self.bars.symbol_id).tolist()}))


def upload_symbol(text: str) -> str:
    """Return a symbol in capitals without slashes (``btc/usdt`` is BTCUSDT); ``InputError`` where it can be none.

    >>> upload_symbol(" btc/usdt ")
    'BTCUSDT'
    """
    name = normalize_symbol(text).replace("/", "")
    plain = name.replace("_", "").replace("-", "").replace(".", "")
    if not name or len(name) > _LONGEST_NAME or not plain.isalnum() or not name[0].isalnum():
        raise InputError(f"{text[:60]!r} is no symbol: letters and digits, at most {_LONGEST_NAME}", loc="symbol")
    return name


def read_upload(body: bytes, asked: UploadAsked, *, now_ns: int, limits: UploadLimits) -> UploadReading:
    """Return what a file of bars holds; ``ForeignFile`` where it is none, ``InputError`` where too little is said.

    CSV, JSON, Parquet or an Arrow stream, as it is or in gzip, zip or zstd. A bar is named by its open time.
    ``now_ns`` is the time up to which bars have ended. O(n log n).
    """
    if asked.timeframe and asked.timeframe not in TIMEFRAMES:
        raise InputError(f"unknown {asked.timeframe[:20]!r}, one of {', '.join(TIMEFRAMES)}", loc="timeframe")
    named = upload_symbol(asked.symbol) if asked.symbol else ""
    by_name = named_by_export(asked.filename)
    form, body = unpack(body, limits)
    read = {"csv": table_of_csv, "json": table_of_json, "parquet": table_of_parquet, "arrow": table_of_arrow}
    table = read[form](body, limits)
    if not table.numbers.size and not table.unread:
        raise ForeignFile("the file has no rows", loc="file")
    faults = Faults(table.numbers)
    for row, reason in table.unread:
        faults.add_unread(row, reason)
    stamp, columns = table.columns["timestamp"].name, table.columns
    ts_open_ns, unit = times(columns["timestamp"], faults)
    place, names = _symbols(table, named, by_name.symbol if by_name else "", faults, limits)
    values = {name: numbers(columns[name], faults) for name in (*_PRICES, "volume")}
    beside = {name: numbers(filled(columns[name]), faults) for name in _BESIDE if name in columns}
    _check_prices(values, columns, faults)
    _check_volumes(values["volume"], beside, columns, faults)
    timeframe = asked.timeframe or table.said.get("timeframe", "") or (by_name.kind if by_name else "")
    timeframe = timeframe or _timeframe_of(ts_open_ns, place)
    if timeframe not in TIMEFRAMES:
        raise InputError(f"the file says {timeframe[:20]!r}, one of {', '.join(TIMEFRAMES)}", loc="timeframe")
    _check_times(ts_open_ns, place, timeframe_ns(timeframe), stamp, now_ns, faults)
    good = np.flatnonzero(~faults.bad)
    good = good[np.lexsort((ts_open_ns[good], place[good]))]
    taken = {name: each[good] for name, each in {**values, **beside}.items()}
    return UploadReading(
        bars=_bars(names, timeframe, place[good], ts_open_ns[good], taken),
        row=table.numbers[good],
        rows=table.numbers.size + len(table.unread),
        faults=faults.listed(),
        fault_count=faults.total,
        faulty_rows=faults.rows,
        columns={name: column.name for name, column in columns.items()},
        time_unit=unit,
    )


def _symbols(
    table: UploadTable, named: str, by_name: str, faults: Faults, limits: UploadLimits
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return each row's place among the symbols, -1 where it has none, and the symbols."""
    column = table.columns.get("symbol")
    if column is None:
        said = table.said.get("symbol") or by_name
        name = named or (upload_symbol(said) if said else "")
        if not name:
            raise InputError("say which symbol these bars are of: the file has no column for it", loc="symbol")
        return np.zeros(table.numbers.size, np.int64), (name,)
    place, words = texts(column, faults)
    known: dict[str, int] = {}
    codes, reasons = np.full(len(words) + 1, -1, np.int64), dict[int, str]()
    for code, word in enumerate(words):
        try:
            name = upload_symbol(word)
        except InputError as error:
            reasons[code] = str(error)
            continue
        if named and _bare(name) != _bare(named):
            reasons[code] = f"is {name}, not {named}"
            continue
        codes[code] = known.setdefault(named or name, len(known))
    found = codes[place]
    faults.add((found < 0) & (place >= 0), column.name, lambda row: reasons.get(int(place[row]), "is no symbol"))
    if len(known) > limits.symbols:
        raise ForeignFile(f"the file has more than {limits.symbols:,} symbols", loc="file", hint="send it in parts")
    return found, tuple(known)


def _bare(name: str) -> str:
    return "".join(character for character in name if character.isalnum())


def _check_prices(values: Mapping[str, F8], columns: Mapping[str, Column], faults: Faults) -> None:
    for name in _PRICES:
        price = values[name]
        faults.add(price == 0, columns[name].name, "is zero")
        faults.add(price < 0, columns[name].name, "is negative")
        faults.add(price > _LARGEST, columns[name].name, "is too large for a price")
        faults.add((price > 0) & (price < _SMALLEST), columns[name].name, "is too small for a price")
    high, low = values["high"], values["low"]
    # A NaN compares as false: where a number is missing nothing more is said of it.
    faults.add(high < low, columns["high"].name, "is below the low")
    for name in ("open", "close"):
        faults.add((high < values[name]) & ~(high < low), columns["high"].name, f"is below the {name}")
        faults.add((low > values[name]) & ~(high < low), columns["low"].name, f"is above the {name}")


def _check_volumes(volume: F8, beside: Mapping[str, F8], columns: Mapping[str, Column], faults: Faults) -> None:
    for name, each in (("volume", volume), *beside.items()):
        faults.add(each < 0, columns[name].name, "is negative")
        faults.add(each > _LARGEST_VOLUME, columns[name].name, "is too large for a volume")
    if "buy_volume" in beside:
        more = beside["buy_volume"] > volume * (1 + 1e-12)
        faults.add(more, columns["buy_volume"].name, "is above the volume")


def _timeframe_of(ts_open_ns: I8, place: NDArray[np.int64]) -> str:
    """Return the timeframe of a file that is not told it: the commonest distance of two of its bars."""
    known = (ts_open_ns > 0) & (place >= 0)
    times_ns, places = ts_open_ns[known], place[known]
    order = np.lexsort((times_ns, places))
    steps = np.diff(times_ns[order])[np.diff(places[order]) == 0]
    steps = steps[steps > 0]
    if not steps.size:
        raise InputError("say how long these bars are: the file has one time only", loc="timeframe")
    known_steps, counts = np.unique(steps, return_counts=True)
    least = int(known_steps[counts.argmax()])
    name = next((name for name, length in TIMEFRAMES.items() if length == least), "")
    if not name:
        raise InputError(
            f"say how long these bars are: most are {least / 1e9:g} s apart, which is none of {', '.join(TIMEFRAMES)}",
            loc="timeframe",
        )
    return name


def _check_times(
    ts_open_ns: I8, place: NDArray[np.int64], length: int, column: str, now_ns: int, faults: Faults
) -> None:
    """Find bars that are off the grid, not over yet, against the file's order, or there twice."""
    known: B1 = (ts_open_ns > 0) & (place >= 0)
    off = known & (ts_open_ns % length != 0)
    left = np.unique(ts_open_ns[known] % length)
    closes = left.size == 1 and int(left[0]) in {length - 1_000_000, length - 1_000_000_000, length - 1_000, length - 1}
    also = ": this looks like the bar's end" if closes else ""
    faults.add(off, column, lambda row: f"{_iso(int(ts_open_ns[row]))} is off the grid of {length / 1e9:g} s{also}")
    late = known & (ts_open_ns + length > now_ns)
    faults.add(late, column, lambda row: f"{_iso(int(ts_open_ns[row]))}: this bar is not over yet")
    rows = np.flatnonzero(known)
    rows = rows[np.argsort(place[rows], kind="stable")]
    same = np.diff(place[rows]) == 0
    steps = np.sign(np.diff(ts_open_ns[rows])) * same
    backwards = np.count_nonzero(steps < 0) > np.count_nonzero(steps > 0)
    against = np.zeros(known.size, np.bool_)
    against[rows[1:][steps == (1 if backwards else -1)]] = True
    word = "later than the row before it, in a file that runs backwards" if backwards else "earlier than the row before"
    faults.add(against, column, f"is {word}")
    order = rows[np.lexsort((rows, ts_open_ns[rows], place[rows]))]
    again = (np.diff(place[order]) == 0) & (np.diff(ts_open_ns[order]) == 0)
    first_of = np.zeros(known.size, np.int64)
    starts = np.maximum.accumulate(np.where(np.append(False, again), 0, np.arange(order.size)))
    first_of[order] = order[starts] if order.size else order
    twice = np.zeros(known.size, np.bool_)
    twice[order[1:][again]] = True
    faults.add(
        twice,
        column,
        lambda row: f"{_iso(int(ts_open_ns[row]))} is there twice, first in row {faults.row_at(int(first_of[row]))}",
    )


def _bars(
    names: Sequence[str], timeframe: str, place: NDArray[np.int64], ts_open_ns: I8, values: Mapping[str, F8]
) -> BarBatch:
    """Return columns as bars of origin ``UPLOAD``; ``trades`` counts trades of ours, so it is 0."""
    n = place.size
    none = np.full(n, -1, np.int64)
    unknown = np.zeros(n)
    return BarBatch(
        symbols=Symbols(names),
        timeframe=timeframe,
        symbol_id=place.astype(np.int32),
        ts_open_ns=ts_open_ns,
        open=values["open"],
        high=values["high"],
        low=values["low"],
        close=values["close"],
        volume=values["volume"],
        quote_volume=values.get("quote_volume", unknown),
        buy_volume=values.get("buy_volume", unknown.copy()),
        trades=np.zeros(n, np.int64),
        first_id=none,
        last_id=none.copy(),
        revision=np.zeros(n, np.int32),
        origin=np.full(n, int(Origin.UPLOAD), np.int8),
    )


def _iso(ns: int) -> str:
    return str(np.datetime64(ns, "ns").astype("datetime64[ms]" if ns % 1_000_000 == 0 else "datetime64[ns]")) + "Z"
