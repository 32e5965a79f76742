"""Ticks, gaps and void ids in PostgreSQL: rows in by binary COPY, rows out as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.gaps import Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I4, I8, TickBatch
from pairscope.storage.ledger import Ledger
from pairscope.storage.postgres_ledger import GAP_FIELDS, gap_of, ranges_of, spelled
from pairscope.storage.postgres_pool import Session
from pairscope.storage.postgres_time import at, microseconds, nanoseconds, split

__all__ = ["TickTables", "copied"]

_COLUMNS: Final = ("symbol", "timestamp", "id", "price", "size", "buyer_is_maker", "received_ns", "rest_ns")
_READ: Final = (
    ("ts", "i8"), ("rest", "i2"), ("received", "i8"), ("id", "i8"), ("price", "f8"), ("size", "f8"), ("maker", "?"),
)  # fmt: skip
_FIELDS: Final = 't."timestamp", t.rest_ns, t.received_ns, t.id, t.price, t.size, t.buyer_is_maker'
_MINUTE_NS: Final = 60_000_000_000


class TickTables:
    """Reads and writes of ``tick_data``, ``gap`` and ``void_id``; ``symbols`` gives the names that ids stand for."""

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols

    def add_symbols(self, session: Session, first: int) -> None:
        """Do nothing: names are stored when their rows are taken."""

    def add_ticks(self, session: Session, batch: TickBatch, ids: I4, *, flush: int, watermark_ns: int) -> None:
        """Append ticks that are new, by symbol."""
        stored = ids[batch.symbol_id]
        order = np.lexsort((batch.trade_id, batch.ts_event_ns, stored))
        stored = stored[order]
        microseconds_, rest = split(batch.ts_event_ns[order])
        values = (
            microseconds_, batch.trade_id[order], batch.price[order], batch.size[order], batch.buyer_is_maker[order],
            batch.ts_recv_ns[order], rest,
        )  # fmt: skip
        asked, place = np.unique(stored, return_inverse=True)
        names = np.array([self._symbols[each].encode() for each in asked.tolist()], np.bytes_)
        session.copy_in("tick_data", _COLUMNS, copied(names, place, values))

    def symbol_ticks(
        self,
        session: Session,
        symbol_id: int,
        start_ns: int,
        end_ns: int,
        *,
        limit: int | None = None,
        newest: bool = False,
        behind: tuple[int, int] | None = None,
        after_id: int | None = None,
    ) -> TickBatch:
        """Return a symbol's ticks of a range by (event time, id), the last ``limit`` of them where ``newest``.

        ``behind`` is a (time, id) that they come after, ``after_id`` an id that theirs are above.
        """
        down = "DESC" if newest else ""
        values: list[Any] = [self._symbols[symbol_id], *_range(start_ns, end_ns)]
        where = f"t.symbol = $1 AND {_within('$2', '$3', '$4', '$5')}"
        if behind is not None:
            where += f' AND (t."timestamp", t.rest_ns, t.id) > ({at("$6")}, $7::smallint, $8::bigint)'
            values += [microseconds(behind[0]), behind[0] % 1000, behind[1]]
        elif after_id is not None:
            where += " AND t.id > $6::bigint"
            values.append(after_id)
        rows = session.columns(
            f"SELECT {_FIELDS} FROM tick_data AS t WHERE {where} "
            f'ORDER BY t."timestamp" {down}, t.rest_ns {down}, t.id {down}'
            + (f" LIMIT {int(limit)}" if limit is not None else ""),
            _READ,
            *values,
        )
        found = self._ticks(rows, np.full(rows["id"].size, symbol_id, np.int32))
        return found.take(slice(None, None, -1)) if newest else found

    def ticks_between(self, session: Session, start_ns: int, end_ns: int) -> TickBatch:
        """Return every symbol's ticks of a range by (event time, id)."""
        rows = session.columns(
            f"SELECT s.symbol_id, {_FIELDS} FROM tick_data AS t JOIN symbol AS s ON s.name = t.symbol "
            f'WHERE {_within("$1", "$2", "$3", "$4")} ORDER BY t."timestamp", t.rest_ns, t.id, s.symbol_id',
            (("symbol", "i4"), *_READ),
            *_range(start_ns, end_ns),
        )
        return self._ticks(rows, self._own(session, rows["symbol"]))

    def received_between(self, session: Session, start_ns: int, end_ns: int) -> TickBatch:
        """Return every symbol's ticks received in a range by receive time."""
        rows = session.columns(
            f"SELECT s.symbol_id, {_FIELDS} FROM tick_data AS t JOIN symbol AS s ON s.name = t.symbol "
            "WHERE t.received_ns >= $1::bigint AND t.received_ns < $2::bigint "
            "ORDER BY t.received_ns, s.symbol_id, t.id",
            (("symbol", "i4"), *_READ),
            start_ns,
            end_ns,
        )
        return self._ticks(rows, self._own(session, rows["symbol"]))

    def counts(
        self, session: Session, start_ns: int, width_ns: int, *, symbol: str | None = None, end_ns: int = 1 << 62
    ) -> list[tuple[int, int]]:
        """Return (span, how many ticks) of spans of event time in a range, in order; ``width_ns`` whole seconds."""
        rows = session.rows(
            f'SELECT floor(extract(epoch FROM "timestamp") / {width_ns // 1_000_000_000})::bigint AS span, '
            f'count(*) AS count FROM tick_data WHERE "timestamp" >= {at("$1")} AND "timestamp" <= {at("$2")} '
            "AND ($3::text IS NULL OR symbol = $3) GROUP BY 1 ORDER BY 1",
            microseconds(start_ns),
            microseconds(end_ns),
            symbol,
        )
        return [(row["span"], row["count"]) for row in rows]

    def counts_received(self, session: Session, start_ns: int, end_ns: int, width_ns: int) -> list[tuple[int, int]]:
        """Return (span, how many ticks) of spans of receive time in a range, in order."""
        return [
            (row["span"], row["count"])
            for row in session.rows(
                "SELECT received_ns / $3::bigint AS span, count(*) AS count FROM tick_data "
                "WHERE received_ns >= $1 AND received_ns < $2 GROUP BY 1 ORDER BY 1",
                start_ns,
                end_ns,
                width_ns,
            )
        ]

    def time_of(self, session: Session, symbol_id: int, trade_id: int, start_ns: int, end_ns: int) -> int | None:
        """Return the event time of a stored tick, looked up in the minutes whose bars hold its id, else everywhere."""
        for low, high in [*self.minutes_of(session, symbol_id, trade_id, start_ns, end_ns), (start_ns, end_ns)]:
            found = self.time_within(session, symbol_id, trade_id, low, high)
            if found is not None:
                return found
        return None

    def minutes_of(
        self, session: Session, symbol_id: int, trade_id: int, start_ns: int, end_ns: int
    ) -> list[tuple[int, int]]:
        """Return the minutes of a range whose stored bars hold an id."""
        rows = session.rows(
            'SELECT (extract(epoch FROM "timestamp") * 1000000)::bigint * 1000 AS low FROM resampled_data '
            "WHERE symbol = $1 AND timeframe = '1m' AND first_id <= $2 AND last_id >= $2 "
            f'AND "timestamp" >= {at("$3")} AND "timestamp" < {at("$4")}',
            self._symbols[symbol_id],
            trade_id,
            microseconds(start_ns - _MINUTE_NS),
            microseconds(end_ns),
        )
        return [(row["low"], row["low"] + _MINUTE_NS) for row in rows]

    def time_within(self, session: Session, symbol_id: int, trade_id: int, low_ns: int, high_ns: int) -> int | None:
        """Return the event time of a stored tick of a range, None where it is not there."""
        found = session.rows(
            'SELECT (extract(epoch FROM "timestamp") * 1000000)::bigint * 1000 + rest_ns AS ns FROM tick_data AS t '
            f"WHERE symbol = $1 AND id = $6 AND {_within('$2', '$3', '$4', '$5')}",
            self._symbols[symbol_id],
            *_range(low_ns, high_ns),
            trade_id,
        )
        return int(found[0]["ns"]) if found else None

    def put_gaps(self, session: Session, gaps: Sequence[tuple[int, Gap, Sequence[tuple[int, int]]]]) -> None:
        """Store gaps with the ranges still missing, in place of what was known of them."""
        rows = [
            (
                g.symbol, g.from_id, g.to_id, g.status, g.missing, g.after_ns, g.before_ns, g.seen_ns, g.ended_ns,
                spelled(ranges),
            )
            for _, g, ranges in gaps
        ]  # fmt: skip
        session.run_many(
            f"INSERT INTO gap ({GAP_FIELDS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "
            "ON CONFLICT (symbol, from_id) DO UPDATE SET to_id = excluded.to_id, status = excluded.status, "
            "missing = excluded.missing, after_ns = excluded.after_ns, before_ns = excluded.before_ns, "
            "seen_ns = excluded.seen_ns, ended_ns = excluded.ended_ns, ranges = excluded.ranges",
            rows,
        )

    def remove_gaps(self, session: Session, keys: Sequence[tuple[int, int]]) -> None:
        """Remove the gaps at (symbol id, from_id) keys."""
        session.run_many(
            "DELETE FROM gap WHERE symbol = $1 AND from_id = $2",
            [(self._symbols[symbol_id], from_id) for symbol_id, from_id in keys],
        )

    def put_voids(self, session: Session, ids: Sequence[tuple[int, int]]) -> None:
        """Store the ids, as (symbol id, id), that the exchange gave to what is no trade, each once."""
        session.run_many(
            "INSERT INTO void_id VALUES ($1, $2) ON CONFLICT DO NOTHING",
            [(self._symbols[symbol_id], number) for symbol_id, number in ids],
        )

    @staticmethod
    def gaps(session: Session, symbol: str | None, *, unrepaired: bool) -> Iterator[tuple[Gap, list[tuple[int, int]]]]:
        """Yield gaps by (symbol, from_id) with the ranges still missing."""
        where = "status <> 'repaired'" if unrepaired else "true"
        rows = session.rows(
            f"SELECT {GAP_FIELDS} FROM gap WHERE {where} AND ($1::text IS NULL OR symbol = $1) "
            'ORDER BY symbol COLLATE "C", from_id',
            symbol,
        )
        for row in rows:
            yield gap_of(row), ranges_of(row["ranges"])

    def save_ledger(self, session: Session, ledger: Ledger) -> None:
        """Do nothing: rows are saved by who took them."""

    def save_watermark(self, session: Session, ledger: Ledger) -> None:
        """Do nothing: the watermark is the store's to keep."""

    def _own(self, session: Session, stored: I4) -> I4:
        """Return our ids of symbols for those of the server."""
        asked, place = np.unique(stored, return_inverse=True)
        if not asked.size:
            return np.empty(0, np.int32)
        rows = session.rows("SELECT symbol_id, name FROM symbol WHERE symbol_id = ANY($1::int[])", asked.tolist())
        names = {row["symbol_id"]: row["name"] for row in rows}
        ids = np.array([self._symbols.id_of(names[each]) for each in asked.tolist()], np.int32)
        found: I4 = ids[place]
        return found

    def _ticks(self, rows: dict[str, NDArray[Any]], symbol_id: I4) -> TickBatch:
        times: I8 = nanoseconds(rows["ts"], rows["rest"])
        return TickBatch(
            self._symbols, symbol_id, times, rows["received"], rows["id"], rows["price"], rows["size"], rows["maker"], 0
        )


def copied(names: NDArray[np.bytes_], place: NDArray[np.intp], columns: Sequence[NDArray[Any]]) -> bytes:
    """Return rows in the binary form of COPY: a name each, by its place in ``names``, then columns of a fixed width.

    Rows whose names are of one length follow each other, in the order that they have here.
    """
    sizes = np.char.str_len(names)[place]
    parts = []
    for size in np.unique(sizes).tolist():
        at_ = slice(None) if sizes.size and (sizes == size).all() else np.flatnonzero(sizes == size)
        fields: list[tuple[str, str]] = [("n", ">i2"), ("lt", ">i4"), ("t", f"S{max(size, 1)}")]
        for k, column in enumerate(columns):
            kind = "u1" if column.dtype == np.bool_ else f">{column.dtype.str[1:]}"
            fields += [(f"l{k}", ">i4"), (f"c{k}", kind)]
        mine = place[at_]
        table = np.empty(mine.size, np.dtype(fields))
        table["n"], table["lt"], table["t"] = len(columns) + 1, size, names[mine]
        for k, column in enumerate(columns):
            table[f"l{k}"], table[f"c{k}"] = column.dtype.itemsize, column[at_]
        parts.append(table.tobytes())
    return b"".join(parts)


def _range(start_ns: int, end_ns: int) -> tuple[int, int, int, int]:
    """Return the parameters of ``_within``: microseconds, and what lies beyond them, of both ends."""
    return microseconds(start_ns), start_ns % 1000, microseconds(end_ns), end_ns % 1000


def _within(low: str, low_rest: str, high: str, high_rest: str) -> str:
    """Return the condition that a tick's event time is in [start, end)."""
    return (
        f't."timestamp" >= {at(low)} AND t."timestamp" <= {at(high)} '
        f'AND NOT (t."timestamp" = {at(low)} AND t.rest_ns < {low_rest}::smallint) '
        f'AND NOT (t."timestamp" = {at(high)} AND t.rest_ns >= {high_rest}::smallint)'
    )
