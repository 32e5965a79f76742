"""A table on its way out: a page of rows as named columns, of the few kinds that every format can write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.bars import BarBatch, Origin
from pairscope.market.ticks import B1, I8, TickBatch

__all__ = ["MISSING", "Column", "Kind", "Table", "bar_table", "joined", "table_of_records", "tick_table"]

MISSING: Final = int(np.iinfo(np.int64).min)
"""An integer, a time or a word that is not there; a decimal that is not there is NaN."""

_MS: Final = 1_000_000
_FLAGS: Final = ("false", "true")
_ORIGINS: Final = tuple(origin.name.lower() for origin in Origin)


class Kind(IntEnum):
    """What the values of a column are."""

    INTEGER = 0
    DECIMAL = 1
    TIME = 2
    """Milliseconds since the epoch."""
    TEXT = 3
    """Places in ``words``, which people may have written."""
    FLAG = 4
    """Places in ``("false", "true")``."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Values of one kind: float64 for decimals, int64 for all else."""

    name: str
    kind: Kind
    values: NDArray[Any]
    words: Sequence[str] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Columns of one length."""

    columns: tuple[Column, ...]

    def __len__(self) -> int:
        return int(self.columns[0].values.size)

    def head(self, rows: int) -> Table:
        """Return the first rows."""
        return Table(tuple(replace(column, values=column.values[:rows]) for column in self.columns))


def joined(tables: Sequence[Table]) -> Table:
    """Return tables of the same columns as one, in order; words of a column that differ are joined too.

    >>> one = Table((Column("n", Kind.INTEGER, np.array([1])),))
    >>> joined([one, one]).columns[0].values.tolist()
    [1, 1]
    """
    if len(tables) == 1:
        return tables[0]
    columns = []
    for same in zip(*(table.columns for table in tables), strict=True):
        words: list[str] = []
        parts = []
        for column in same:
            shift = 0
            if column.kind is Kind.TEXT:
                shift = len(words)
                words.extend(column.words)
            parts.append(np.where(column.values == MISSING, MISSING, column.values + shift) if shift else column.values)
        columns.append(Column(same[0].name, same[0].kind, np.concatenate(parts), tuple(words) or same[0].words))
    return Table(tuple(columns))


def tick_table(ticks: TickBatch, symbol: str | None, *, everything: bool = False) -> Table:
    """Return trades of one symbol as ``id,timestamp,price,size,buyer_is_maker``.

    With a ``symbol`` it comes first; ``everything`` adds ``received``, when the trade reached us.
    """
    columns = [
        _integers("id", ticks.trade_id),
        _times("timestamp", ticks.ts_event_ns),
        Column("price", Kind.DECIMAL, ticks.price),
        Column("size", Kind.DECIMAL, ticks.size),
        _flags("buyer_is_maker", ticks.buyer_is_maker),
    ]
    if everything:
        columns.append(_times("received", ticks.ts_recv_ns))
    return _named(columns, symbol, len(ticks))


def bar_table(bars: BarBatch, symbol: str | None, *, gaps: B1 | None = None) -> Table:
    """Return bars of one symbol as ``timestamp,open,high,low,close,volume,trades``.

    With a ``symbol`` it comes first. With ``gaps``, which bars lack trades, everything else that is stored of a bar
    follows, and they come last.
    """
    columns = [
        _times("timestamp", bars.ts_open_ns),
        *(Column(name, Kind.DECIMAL, getattr(bars, name)) for name in ("open", "high", "low", "close", "volume")),
        _integers("trades", bars.trades),
    ]
    if gaps is not None:
        columns += [
            Column("vwap", Kind.DECIMAL, bars.vwap),
            *(
                Column(name, Kind.DECIMAL, np.where(bars.untold, np.nan, getattr(bars, name)))
                for name in ("quote_volume", "buy_volume")
            ),
            *(_integers(name, _known(getattr(bars, name))) for name in ("first_id", "last_id")),
            _integers("revision", bars.revision),
            Column("origin", Kind.TEXT, bars.origin.astype(np.int64), _ORIGINS),
            _flags("gap", gaps),
        ]
    return _named(columns, symbol, len(bars))


def table_of_records(fields: Sequence[tuple[str, Kind]], records: Sequence[Callable[[str], Any]]) -> Table:
    """Return documents as a table; each is asked for its fields by name, None is missing.

    >>> table = table_of_records([("note", Kind.TEXT), ("value", Kind.DECIMAL)], [{"note": "up", "value": 2}.get])
    >>> table.columns[0].words, table.columns[1].values.tolist()
    (('up',), [2.0])
    """
    columns = []
    for name, kind in fields:
        cells = [record(name) for record in records]
        if kind is Kind.DECIMAL:
            values: NDArray[Any] = np.array([np.nan if c is None else float(c) for c in cells], np.float64)
            columns.append(Column(name, kind, values))
        elif kind is Kind.TEXT:
            words = tuple(dict.fromkeys(str(c) for c in cells if c is not None))
            place = {word: at for at, word in enumerate(words)}
            columns.append(Column(name, kind, _int64(MISSING if c is None else place[str(c)] for c in cells), words))
        else:
            columns.append(Column(name, kind, _int64(MISSING if c is None else int(c) for c in cells)))
    return Table(tuple(columns))


def _int64(values: Any) -> I8:
    return np.fromiter(values, np.int64)


def _named(columns: list[Column], symbol: str | None, rows: int) -> Table:
    if symbol is None:
        return Table(tuple(columns))
    return Table((Column("symbol", Kind.TEXT, np.zeros(rows, np.int64), (symbol,)), *columns))


def _integers(name: str, values: NDArray[Any]) -> Column:
    return Column(name, Kind.INTEGER, values.astype(np.int64, copy=False))


def _times(name: str, ns: I8) -> Column:
    return Column(name, Kind.TIME, ns // _MS)


def _flags(name: str, values: NDArray[np.bool_]) -> Column:
    return Column(name, Kind.FLAG, values.astype(np.int64), _FLAGS)


def _known(ids: I8) -> I8:
    return np.where(ids < 0, MISSING, ids)
