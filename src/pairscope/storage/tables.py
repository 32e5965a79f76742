"""The SQL of the embedded store: rows in, rows out, over one connection; knows no thread and no transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pairscope.market.bars import BASE_TIMEFRAMES, TIMEFRAMES, BarBatch, Origin
from pairscope.market.continuity import Gap, GapStatus
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I4, TickBatch
from pairscope.storage.archive_catalogue import DAY_NS, EVERYWHERE, Catalogue, Reach
from pairscope.storage.bar_merge import BAR_FIELDS
from pairscope.storage.ledger import NEVER, Ledger

__all__ = ["Connection", "Tables"]

_TICK_FIELDS = ("symbol_id", "ts_event_ns", "ts_recv_ns", "id", "price", "size", "buyer_is_maker")
_BARS = ", ".join(BAR_FIELDS)
_TICKS = ", ".join(_TICK_FIELDS)

Columns = Mapping[str, NDArray[Any]]


class Connection(Protocol):
    """What is asked of a DuckDB connection or cursor."""

    def execute(self, query: str, parameters: object = None, /) -> Any: ...


def _run_over(connection: Connection, sql: str, incoming: Columns, parameters: Sequence[Any] = ()) -> Any:
    """Run a statement that reads ``incoming`` as a table: DuckDB finds the arrays by the name of this argument."""
    if not incoming:
        raise ValueError("incoming: needs at least one column")
    return connection.execute(sql, list(parameters))


class Tables:
    """Reads and writes of the tables; what is read of ticks and bars includes ``archive``.

    ``symbols`` gives the names that stored ids stand for.
    """

    def __init__(self, symbols: Symbols, archive: Catalogue) -> None:
        self._symbols = symbols
        self._archive = archive
        self.ticks_from = archive.ticks_from
        self.bars_from = archive.bars_from

    def add_symbols(self, connection: Connection, first: int) -> None:
        """Store the names of the ids from ``first`` on."""
        names = list(self._symbols)[first:]
        if names:
            connection.execute(
                "INSERT INTO symbol SELECT unnest(?::INTEGER[]), unnest(?::VARCHAR[])",
                [list(range(first, first + len(names))), names],
            )

    def add_ticks(self, connection: Connection, batch: TickBatch, ids: I4, *, flush: int, watermark_ns: int) -> None:
        """Append ticks, sorted by symbol, in the order of arrival within each."""
        stored = ids[batch.symbol_id]
        order = np.argsort(stored, kind="stable")
        n = order.size
        _run_over(
            connection,
            "INSERT INTO tick SELECT * FROM incoming",
            {
                "symbol_id": stored[order],
                "id": batch.trade_id[order],
                "ts_event_ns": batch.ts_event_ns[order],
                "ts_recv_ns": batch.ts_recv_ns[order],
                "price": batch.price[order],
                "size": batch.size[order],
                "buyer_is_maker": batch.buyer_is_maker[order],
                "flush": np.full(n, flush, np.int64),
                "watermark_ns": np.full(n, watermark_ns, np.int64),
            },
        )

    def bars_at(self, connection: Connection, timeframe: str, keys: Columns) -> dict[str, NDArray[Any]]:
        """Return the stored bars at (symbol_id, ts_open_ns) keys, with ``row``, the place of the key."""
        times = keys["ts_open_ns"]
        fields = ", ".join(f"b.{field}" for field in BAR_FIELDS)
        found: dict[str, NDArray[Any]] = _run_over(
            connection,
            f"SELECT i.row, {fields} FROM {self.bars_from(timeframe, _reach_of(keys))} AS b JOIN incoming AS i "
            "ON b.symbol_id = i.symbol_id AND b.ts_open_ns = i.ts_open_ns WHERE b.ts_open_ns BETWEEN ? AND ?",
            {**keys, "row": np.arange(times.size)},
            [int(times.min()), int(times.max())],
        ).fetchnumpy()
        return found

    def delete_bars(self, connection: Connection, timeframe: str, keys: Columns) -> None:
        """Remove the bars at (symbol_id, ts_open_ns) keys."""
        times = keys["ts_open_ns"]
        _run_over(
            connection,
            f"DELETE FROM bar_{timeframe} AS b USING incoming AS i WHERE b.symbol_id = i.symbol_id "
            "AND b.ts_open_ns = i.ts_open_ns AND b.ts_open_ns BETWEEN ? AND ?",
            keys,
            [int(times.min()), int(times.max())],
        )

    def remove_bars(self, connection: Connection, timeframe: str, symbol_id: int, origin: int) -> list[tuple[int, int]]:
        """Remove a symbol's bars of one origin; return the open time of each and how many own trades it counted."""
        removed: list[tuple[int, int]] = connection.execute(
            f"DELETE FROM bar_{timeframe} WHERE symbol_id = ? AND origin = ? RETURNING ts_open_ns, trades",
            [symbol_id, int(origin)],
        ).fetchall()
        return removed

    def bar_span(self, connection: Connection, timeframe: str, symbol_id: int) -> tuple[int, int]:
        """Return the oldest and newest open time of a symbol's bars, ``NEVER`` and -1 where there is none."""
        oldest, newest = connection.execute(
            f"SELECT min(ts_open_ns), max(ts_open_ns) FROM {self.bars_from(timeframe, Reach(symbol_id))} "
            "WHERE symbol_id = ?",
            [symbol_id],
        ).fetchone()
        return (NEVER, -1) if oldest is None else (int(oldest), int(newest))

    def add_bars(self, connection: Connection, timeframe: str, columns: Columns, *, flush: int) -> None:
        """Append bars that are not there yet."""
        n = columns["symbol_id"].size
        _run_over(
            connection,
            f"INSERT INTO bar_{timeframe} SELECT * FROM incoming",
            {**{field: columns[field] for field in BAR_FIELDS}, "flush": np.full(n, flush, np.int64)},
        )

    def put_gaps(self, connection: Connection, gaps: Sequence[tuple[int, Gap, Sequence[tuple[int, int]]]]) -> None:
        """Store gaps with the ranges still missing, in place of what was known of them."""
        if not gaps:
            return
        rows = [
            (symbol_id, g.from_id, g.to_id, g.status, g.missing, g.after_ns, g.before_ns, g.seen_ns, g.ended_ns, left)
            for symbol_id, g, left in ((at, gap, _spelled(ranges)) for at, gap, ranges in gaps)
        ]
        kinds = ("INTEGER", "BIGINT", "BIGINT", "VARCHAR", *["BIGINT"] * 5, "VARCHAR")
        values = ", ".join(f"unnest(?::{kind}[])" for kind in kinds)
        connection.execute(
            f"INSERT OR REPLACE INTO gap SELECT {values}", [list(column) for column in zip(*rows, strict=True)]
        )

    def remove_gaps(self, connection: Connection, keys: Sequence[tuple[int, int]]) -> None:
        """Remove the gaps at (symbol_id, from_id) keys."""
        for symbol_id, from_id in keys:
            connection.execute("DELETE FROM gap WHERE symbol_id = ? AND from_id = ?", [symbol_id, from_id])

    def put_voids(self, connection: Connection, ids: Sequence[tuple[int, int]]) -> None:
        """Store the ids, as (symbol_id, id), that the exchange gave to what is no trade, each once."""
        connection.execute(
            "INSERT INTO void_id SELECT DISTINCT * FROM (SELECT unnest(?::INTEGER[]), unnest(?::BIGINT[])) AS v(s, n) "
            "WHERE NOT EXISTS (SELECT 1 FROM void_id AS o WHERE o.symbol_id = v.s AND o.id = v.n)",
            [list(column) for column in zip(*ids, strict=True)],
        )

    def gaps(self, connection: Connection, where: str = "true") -> Iterator[tuple[Gap, list[tuple[int, int]]]]:
        """Yield gaps by (symbol, from_id) with the ranges still missing."""
        rows = connection.execute(
            "SELECT s.name, from_id, to_id, status, missing, after_ns, before_ns, seen_ns, ended_ns, ranges "
            f"FROM gap JOIN symbol AS s USING (symbol_id) WHERE {where} ORDER BY s.name, from_id"
        ).fetchall()
        for symbol, from_id, to_id, status, missing, after_ns, before_ns, seen_ns, ended_ns, ranges in rows:
            known: GapStatus = status
            gap = Gap(symbol, from_id, to_id, known, missing, after_ns, before_ns, seen_ns, ended_ns)
            yield gap, [(int(low), int(high)) for low, high in (part.split("-") for part in ranges.split())]

    def bar_count(self, connection: Connection) -> int:
        """Return how many bars there are, stored or archived; each once."""
        found = self._archive.totals()["bars"]
        for timeframe in TIMEFRAMES:
            table = f"bar_{timeframe}"
            found += int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
            if not self._archive or timeframe not in BASE_TIMEFRAMES:
                continue
            days = connection.execute(f"SELECT DISTINCT symbol_id, ts_open_ns // {DAY_NS} FROM {table}").fetchall()
            both = [file for day in days if (file := self._archive.at(table, *day)) is not None]
            if both:
                found -= int(
                    connection.execute(
                        f"SELECT count(*) FROM {self._archive.rows_of(both)} "
                        f"JOIN {table} AS t ON t.symbol_id = a.symbol_id AND t.ts_open_ns = a.ts_open_ns"
                    ).fetchone()[0]
                )
        return found

    def save_ledger(self, connection: Connection, ledger: Ledger) -> None:
        """Write the ledger as it stands, so that a start need not read further back."""
        connection.execute("DELETE FROM continuity")
        _run_over(connection, "INSERT INTO continuity SELECT * FROM incoming", ledger.rows())
        connection.execute("UPDATE meta SET value = ? WHERE key = 'flush'", [ledger.flush])
        self.save_watermark(connection, ledger)

    def save_watermark(self, connection: Connection, ledger: Ledger) -> None:
        """Write the watermark where no tick carries it."""
        connection.execute("UPDATE meta SET value = ? WHERE key = 'watermark_ns'", [ledger.watermark_ns])

    def ticks(
        self,
        connection: Connection,
        where: str,
        parameters: Sequence[Any],
        *,
        reach: Reach = EVERYWHERE,
        order: str = "",
        limit: int | None = None,
    ) -> TickBatch:
        """Return the ticks that a condition selects, none beyond ``reach``, under the watermark 0."""
        rows = connection.execute(
            f"SELECT {_TICKS} FROM {self.ticks_from(reach)} WHERE {where}{_tail(order, limit)}", list(parameters)
        ).fetchnumpy()
        return TickBatch(
            self._symbols,
            rows["symbol_id"],
            rows["ts_event_ns"],
            rows["ts_recv_ns"],
            rows["id"],
            rows["price"],
            rows["size"],
            rows["buyer_is_maker"],
            0,
        )

    def bars(
        self,
        connection: Connection,
        timeframe: str,
        where: str,
        parameters: Sequence[Any],
        *,
        reach: Reach = EVERYWHERE,
        order: str,
        limit: int | None = None,
    ) -> BarBatch:
        """Return the base bars that a condition selects, none beyond ``reach``."""
        rows = connection.execute(
            f"SELECT {_BARS} FROM {self.bars_from(timeframe, reach)} WHERE {where}{_tail(order, limit)}",
            list(parameters),
        ).fetchnumpy()
        return BarBatch(self._symbols, timeframe, *(rows[field] for field in BAR_FIELDS))

    def symbol_ticks(self, connection: Connection, symbol_id: int, start_ns: int, end_ns: int) -> TickBatch:
        """Return a symbol's ticks of a range, in no order."""
        where = "symbol_id = ? AND ts_event_ns >= ? AND ts_event_ns < ?"
        reach = Reach(symbol_id, start_ns, end_ns)
        return self.ticks(connection, where, (symbol_id, start_ns, end_ns), reach=reach)

    def symbol_bars(
        self, connection: Connection, timeframe: str, symbol_id: int, start_ns: int, end_ns: int, *, uploads_only: bool
    ) -> BarBatch:
        """Return a symbol's bars of a range by time, all or those that were uploaded."""
        where = "symbol_id = ? AND ts_open_ns >= ? AND ts_open_ns < ?"
        where += f" AND origin = {Origin.UPLOAD:d}" if uploads_only else ""
        reach = Reach(symbol_id, start_ns, end_ns)
        return self.bars(connection, timeframe, where, (symbol_id, start_ns, end_ns), reach=reach, order="ts_open_ns")

    def base_bars(self, connection: Connection, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        """Return the stored bars of every symbol in a range, by (symbol id, time)."""
        where, reach = "ts_open_ns >= ? AND ts_open_ns < ?", Reach(None, start_ns, end_ns)
        return self.bars(connection, timeframe, where, (start_ns, end_ns), reach=reach, order="symbol_id, ts_open_ns")

    def foreign_opens(
        self, connection: Connection, timeframe: str, symbol_id: int, start_ns: int, end_ns: int
    ) -> list[int]:
        """Return the open times of a symbol's bars of a range that are not of own ticks; none that is archived."""
        found = connection.execute(
            f"SELECT ts_open_ns FROM bar_{timeframe} WHERE symbol_id = ? AND ts_open_ns >= ? AND ts_open_ns < ? "
            f"AND origin <> {Origin.OWN:d}",
            [symbol_id, start_ns, end_ns],
        ).fetchall()
        return [ts_open_ns for (ts_open_ns,) in found]

    def uploads(self, connection: Connection) -> list[tuple[int, str, int, int, int]]:
        """Return the symbol id, timeframe, number, oldest and newest open time of the bars that were uploaded."""
        found = []
        for timeframe in TIMEFRAMES:
            rows = connection.execute(
                f"SELECT symbol_id, count(*), min(ts_open_ns), max(ts_open_ns) FROM bar_{timeframe} "
                "WHERE origin = ? GROUP BY symbol_id",
                [int(Origin.UPLOAD)],
            ).fetchall()
            found += [(symbol_id, timeframe, count, oldest, newest) for symbol_id, count, oldest, newest in rows]
        return found

    def unrepaired(self, connection: Connection, symbol_id: int) -> list[Gap]:
        """Return the gaps of a symbol that lack ids, by their first."""
        return [gap for gap, _ in self.gaps(connection, f"status <> 'repaired' AND symbol_id = {symbol_id:d}")]


def _tail(order: str, limit: int | None) -> str:
    return (f" ORDER BY {order}" if order else "") + ("" if limit is None else f" LIMIT {limit}")


def _reach_of(keys: Columns) -> Reach:
    """Return how far (symbol_id, ts_open_ns) keys reach."""
    ids, times = keys["symbol_id"], keys["ts_open_ns"]
    one = int(ids[0]) if ids.size and (ids == ids[0]).all() else None
    return Reach(one, int(times.min()), int(times.max()) + 1)


def _spelled(ranges: Sequence[tuple[int, int]]) -> str:
    return " ".join(f"{low}-{high}" for low, high in ranges)
