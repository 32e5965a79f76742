"""The bars in PostgreSQL: the same questions that the embedded store's tables answer, over one session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pairscope.market.bars import BarBatch, Origin
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I8
from pairscope.storage.bar_merge import BAR_FIELDS, Columns
from pairscope.storage.ledger import NEVER
from pairscope.storage.postgres_time import at, microseconds, nanoseconds, split

__all__ = ["BarSession", "BarTables"]

_KINDS: Final = (
    ("symbol_id", "i4"), ("ts_open_ns", "i8"), ("open", "f8"), ("high", "f8"), ("low", "f8"), ("close", "f8"),
    ("volume", "f8"), ("quote_volume", "f8"), ("buy_volume", "f8"), ("trades", "i8"), ("first_id", "i8"),
    ("last_id", "i8"), ("revision", "i4"), ("origin", "i2"),
)  # fmt: skip
_STORED: Final = tuple(name for name, _ in _KINDS[2:])
_COLUMNS: Final = ("symbol", "timeframe", "timestamp", *_STORED)
_READ: Final = ", ".join(f"b.{name}" for name in _STORED)
_NAMED: Final = "unnest($1::text[]) WITH ORDINALITY AS s(name, place)"


class BarSession(Protocol):
    """What is asked of a connection, see :class:`pairscope.storage.postgres_pool.Session`."""

    def rows(self, sql: str, *values: Any) -> list[Any]: ...

    def run(self, sql: str, *values: Any) -> str: ...

    def copy_in(self, table: str, columns: Sequence[str], rows: bytes) -> None: ...

    def columns(self, sql: str, kinds: Sequence[tuple[str, str]], *values: Any) -> dict[str, NDArray[Any]]: ...


class BarTables:
    """Reads and writes of ``resampled_data``; ``symbols`` gives the ids by which the ledger calls them."""

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols

    # -- writing -------------------------------------------------------------------------------------------------------

    def bars_at(self, session: BarSession, timeframe: str, keys: Mapping[str, NDArray[Any]]) -> Columns:
        """Return the stored bars at (symbol_id, ts_open_ns) keys, with ``row``, the place of the key."""
        ids, times = keys["symbol_id"], keys["ts_open_ns"]
        found = session.columns(
            f'SELECT (i.place - 1)::integer, i.id, b."timestamp", {_READ} '
            "FROM unnest($1::text[], $2::integer[], $3::bigint[]) WITH ORDINALITY AS i(name, id, us, place) "
            'JOIN resampled_data AS b ON b.symbol = i.name AND b.timeframe = $4::text AND b."timestamp" = '
            + at("i.us"),
            (("row", "i4"), *_KINDS),
            self._names(ids),
            ids.tolist(),
            (times // 1000).tolist(),
            timeframe,
        )
        return _with_ns(found)

    def delete_bars(self, session: BarSession, timeframe: str, keys: Mapping[str, NDArray[Any]]) -> None:
        """Remove the bars at (symbol_id, ts_open_ns) keys."""
        session.run(
            "DELETE FROM resampled_data AS b USING unnest($1::text[], $2::bigint[]) AS i(name, us) "
            'WHERE b.symbol = i.name AND b.timeframe = $3 AND b."timestamp" = ' + at("i.us"),
            self._names(keys["symbol_id"]),
            (keys["ts_open_ns"] // 1000).tolist(),
            timeframe,
        )

    def add_bars(self, session: BarSession, timeframe: str, columns: Mapping[str, NDArray[Any]], *, flush: int) -> None:
        """Append bars that are not there yet, by COPY; ``flush`` is the embedded store's."""
        del flush
        session.copy_in("resampled_data", _COLUMNS, self._encoded(timeframe, columns))

    def remove_bars(self, session: BarSession, timeframe: str, symbol_id: int, origin: int) -> list[tuple[int, int]]:
        """Remove a symbol's bars of one origin; return the open time of each and how many own trades it counted."""
        gone = session.rows(
            "DELETE FROM resampled_data WHERE symbol = $1 AND timeframe = $2 AND origin = $3 "
            'RETURNING (extract(epoch FROM "timestamp") * 1000000)::bigint, trades',
            self._symbols[symbol_id],
            timeframe,
            int(origin),
        )
        return [(int(us) * 1000, int(trades)) for us, trades in gone]

    # -- reading -------------------------------------------------------------------------------------------------------

    def bar_span(self, session: BarSession, timeframe: str, symbol_id: int) -> tuple[int, int]:
        """Return the oldest and newest open time of a symbol's bars, ``NEVER`` and -1 where there is none."""
        [(oldest, newest)] = session.rows(
            'SELECT (extract(epoch FROM min("timestamp")) * 1000000)::bigint, '
            '(extract(epoch FROM max("timestamp")) * 1000000)::bigint '
            "FROM resampled_data WHERE symbol = $1 AND timeframe = $2",
            self._symbols[symbol_id],
            timeframe,
        )
        return (NEVER, -1) if oldest is None else (int(oldest) * 1000, int(newest) * 1000)

    def symbol_bars(
        self, session: BarSession, timeframe: str, symbol_id: int, start_ns: int, end_ns: int, *, uploads_only: bool
    ) -> BarBatch:
        """Return a symbol's bars of a range by time, all or those that were uploaded."""
        found = session.columns(
            f'SELECT {symbol_id:d}, b."timestamp", {_READ} FROM resampled_data AS b '
            f'WHERE b.symbol = $1::text AND b.timeframe = $2::text AND b."timestamp" >= {at("$3")} '
            f'AND b."timestamp" < {at("$4")}'
            + (f" AND b.origin = {Origin.UPLOAD:d}" if uploads_only else "")
            + ' ORDER BY b."timestamp"',
            _KINDS,
            self._symbols[symbol_id],
            timeframe,
            _from(start_ns),
            _from(end_ns),
        )
        return self._batch(timeframe, found)

    def base_bars(self, session: BarSession, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        """Return the stored bars of every symbol in a range, by (symbol id, time)."""
        found = session.columns(
            f'SELECT (s.place - 1)::integer, b."timestamp", {_READ} FROM {_NAMED} '
            "JOIN resampled_data AS b ON b.symbol = s.name AND b.timeframe = $2::text "
            f'AND b."timestamp" >= {at("$3")} AND b."timestamp" < {at("$4")} ORDER BY s.place, b."timestamp"',
            _KINDS,
            list(self._symbols),
            timeframe,
            _from(start_ns),
            _from(end_ns),
        )
        return self._batch(timeframe, found)

    def foreign_opens(
        self, session: BarSession, timeframe: str, symbol_id: int, start_ns: int, end_ns: int
    ) -> list[int]:
        """Return the open times of a symbol's bars of a range that are not of own ticks."""
        found = session.rows(
            'SELECT (extract(epoch FROM "timestamp") * 1000000)::bigint FROM resampled_data '
            f'WHERE symbol = $1 AND timeframe = $2 AND "timestamp" >= {at("$3")} AND "timestamp" < {at("$4")} '
            f"AND origin <> {Origin.OWN:d}",
            self._symbols[symbol_id],
            timeframe,
            _from(start_ns),
            _from(end_ns),
        )
        return [int(us) * 1000 for (us,) in found]

    def uploads(self, session: BarSession) -> list[tuple[int, str, int, int, int]]:
        """Return the symbol id, timeframe, number, oldest and newest open time of the bars that were uploaded."""
        found = session.rows(
            'SELECT symbol, timeframe, count(*), (extract(epoch FROM min("timestamp")) * 1000000)::bigint, '
            '(extract(epoch FROM max("timestamp")) * 1000000)::bigint FROM resampled_data '
            f"WHERE origin = {Origin.UPLOAD:d} GROUP BY symbol, timeframe"
        )
        return [
            (symbol_id, timeframe, int(count), int(oldest) * 1000, int(newest) * 1000)
            for symbol, timeframe, count, oldest, newest in found
            if (symbol_id := self._symbols.find(symbol)) is not None
        ]

    def bar_count(self, session: BarSession) -> int:
        """Return how many bars there are. Reads the whole index."""
        [(count,)] = session.rows("SELECT count(*) FROM resampled_data")
        return int(count)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _names(self, symbol_id: NDArray[Any]) -> list[str]:
        return [self._symbols[i] for i in symbol_id.tolist()]

    def _batch(self, timeframe: str, found: dict[str, NDArray[Any]]) -> BarBatch:
        columns = _with_ns(found)
        return BarBatch(self._symbols, timeframe, *(columns[field] for field in BAR_FIELDS))

    def _encoded(self, timeframe: str, columns: Mapping[str, NDArray[Any]]) -> bytes:
        """Return rows in the binary form of COPY: of each column its length and its bytes, most significant first."""
        ids = columns["symbol_id"]
        layout = [("#ts_open_ns", ">i4"), ("ts_open_ns", ">i8")]
        for name, kind in _KINDS[2:]:
            layout += [(f"#{name}", ">i4"), (name, f">{kind}")]
        table = np.empty(ids.size, np.dtype(layout))
        for name, kind in _KINDS[1:]:
            table[f"#{name}"] = int(kind[1])
            table[name] = split(columns[name])[0] if name == "ts_open_ns" else columns[name]
        raw, width = table.tobytes(), table.dtype.itemsize
        head = len(_COLUMNS).to_bytes(2, "big")
        frame = timeframe.encode()
        heads = {}
        for symbol_id in np.unique(ids).tolist():
            symbol = self._symbols[symbol_id].encode()
            heads[symbol_id] = b"".join(
                [head, len(symbol).to_bytes(4, "big"), symbol, len(frame).to_bytes(4, "big"), frame]
            )
        return b"".join(
            part
            for row, symbol_id in enumerate(ids.tolist())
            for part in (heads[symbol_id], raw[row * width : (row + 1) * width])
        )


def _with_ns(found: dict[str, NDArray[Any]]) -> Columns:
    """Give columns as they were read the form that they have here."""
    times: I8 = nanoseconds(found["ts_open_ns"])
    return {**found, "ts_open_ns": times, "origin": found["origin"].astype(np.int8)}


def _from(ns: int) -> int:
    """Return the first microsecond that does not lie before a time."""
    return microseconds(ns + 999)
