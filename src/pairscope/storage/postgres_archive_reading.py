"""Ticks and bars of PostgreSQL and of its archive as one market: rows of the tables, and rows of files beside them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.errors import ConfigError, StorageError, StoreUnavailable
from pairscope.market.bars import BASE_TIMEFRAMES, BarBatch, concat_bars
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I8, TickBatch, concat_ticks
from pairscope.storage.archive_catalogue import ArchivedFile, Catalogue, Reach
from pairscope.storage.archive_place import register_places, shown
from pairscope.storage.bar_merge import Columns
from pairscope.storage.postgres_pool import Session
from pairscope.storage.postgres_tables import PostgresTables
from pairscope.storage.tables import Connection, Tables

__all__ = ["ArchivedTables", "ColdFiles", "tables_of"]

_MEMORY_MB: Final = 512
_MINUTE_NS: Final = 60_000_000_000
_SHARED: Final = "PAIRSCOPE_ARCHIVE_URL must be reachable under that name by every process: a shared volume, or s3://…"


class ColdFiles:
    """Lends connections that read files of the archive: to a store in memory whose own tables are empty.

    So what is asked of the embedded store's tables is asked of the files alone, by the same SQL.
    """

    def __init__(self) -> None:
        self._opening = threading.Lock()
        self._connection: Any = None

    @contextmanager
    def lent(self, files: Iterable[ArchivedFile]) -> Iterator[Connection]:
        """Lend a connection that reaches the places of files. ``StoreUnavailable`` where this process does not."""
        from pairscope.storage.duckdb_file import empty_store, telling

        places = {file.place for file in files}
        where = ", ".join(sorted(shown(place) for place in places))
        try:
            with telling(Path(where)):
                with self._opening:
                    if self._connection is None:
                        self._connection = empty_store(None, memory_limit_mb=_MEMORY_MB)
                    register_places(self._connection, places)
                    cursor = self._connection.cursor()
                with cursor:
                    yield cursor
        except (StorageError, ConfigError) as error:
            raise StoreUnavailable(f"the archive at {where} cannot be read from here: {error}", hint=_SHARED) from error

    def close(self) -> None:
        """Let go of what was opened. Twice does nothing."""
        with self._opening:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def tables_of(symbols: Symbols, archive: Catalogue, cold: ColdFiles) -> PostgresTables:
    """Return the tables as of a catalogue."""
    return ArchivedTables(symbols, archive, cold) if archive else PostgresTables(symbols)


class ArchivedTables(PostgresTables):
    """What is read of ticks and base bars includes the files of ``archive``.

    No tick lies in both. Of a bar that does the table's is the one that counts: it was corrected later. Rows are
    written to and removed from the tables alone.
    """

    def __init__(self, symbols: Symbols, archive: Catalogue, cold: ColdFiles) -> None:
        super().__init__(symbols)
        self._archive = archive
        self._cold = cold
        self._files = Tables(symbols, archive)

    # -- ticks ---------------------------------------------------------------------------------------------------------

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
        """Return a symbol's ticks of a range by (event time, id); reads no more days than ``limit`` needs."""
        found = super().symbol_ticks(
            session, symbol_id, start_ns, end_ns, limit=limit, newest=newest, behind=behind, after_id=after_id
        )
        low = start_ns if behind is None else max(start_ns, behind[0])
        files = self._archive.within("tick", Reach(symbol_id, low, end_ns))
        if not files:
            return found
        where, values = "symbol_id = ? AND ts_event_ns >= ? AND ts_event_ns < ?", [symbol_id, low, end_ns]
        if behind is not None:
            where, values = f"{where} AND (ts_event_ns > ? OR id > ?)", [*values, *behind]
        elif after_id is not None:
            where, values = f"{where} AND id > ?", [*values, after_id]
        parts, held = [found], 0
        with self._cold.lent(files) as connection:
            for file in sorted(files, key=lambda file: file.day, reverse=newest):
                if limit is not None and (held >= limit or _lies_beyond(file, found, limit, newest=newest)):
                    break
                part = self._files.ticks(
                    connection,
                    where,
                    values,
                    reach=Reach(symbol_id, file.first_ns, file.last_ns + 1),
                    order="ts_event_ns DESC, id DESC" if newest else "ts_event_ns, id",
                    limit=limit,
                )
                parts.append(part)
                held += len(part)
        whole = concat_ticks(parts)
        whole = whole.take(np.lexsort((whole.trade_id, whole.ts_event_ns)))
        if limit is None or len(whole) <= limit:
            return whole
        return whole.take(slice(len(whole) - limit, None) if newest else slice(limit))

    def ticks_between(self, session: Session, start_ns: int, end_ns: int) -> TickBatch:
        """Return every symbol's ticks of a range by (event time, id)."""
        found = super().ticks_between(session, start_ns, end_ns)
        cold = self._cold_ticks("ts_event_ns", Reach(None, start_ns, end_ns))
        if not len(cold):
            return found
        whole = concat_ticks([found, cold])
        return whole.take(np.lexsort((self._places(session)[whole.symbol_id], whole.trade_id, whole.ts_event_ns)))

    def received_between(self, session: Session, start_ns: int, end_ns: int) -> TickBatch:
        """Return every symbol's ticks received in a range by receive time."""
        found = super().received_between(session, start_ns, end_ns)
        cold = self._cold_ticks("ts_recv_ns", Reach(None, start_ns, end_ns, received=True))
        if not len(cold):
            return found
        whole = concat_ticks([found, cold])
        return whole.take(np.lexsort((whole.trade_id, self._places(session)[whole.symbol_id], whole.ts_recv_ns)))

    def counts(
        self, session: Session, start_ns: int, width_ns: int, *, symbol: str | None = None, end_ns: int = 1 << 62
    ) -> list[tuple[int, int]]:
        """Return (span, how many ticks) of spans of event time in a range, in order."""
        found = super().counts(session, start_ns, width_ns, symbol=symbol, end_ns=end_ns)
        symbol_id = None if symbol is None else self._symbols.find(symbol)
        if symbol is not None and symbol_id is None:
            return found
        return _added(found, self._cold_counts("ts_event_ns", Reach(symbol_id, start_ns, end_ns + 1), width_ns))

    def counts_received(self, session: Session, start_ns: int, end_ns: int, width_ns: int) -> list[tuple[int, int]]:
        """Return (span, how many ticks) of spans of receive time in a range, in order."""
        found = super().counts_received(session, start_ns, end_ns, width_ns)
        return _added(found, self._cold_counts("ts_recv_ns", Reach(None, start_ns, end_ns, received=True), width_ns))

    def time_of(self, session: Session, symbol_id: int, trade_id: int, start_ns: int, end_ns: int) -> int | None:
        """Return the event time of a tick, looked up in the minutes whose bars hold its id, else everywhere."""
        minutes = self.minutes_of(session, symbol_id, trade_id, start_ns, end_ns)
        reach = Reach(symbol_id, start_ns - _MINUTE_NS, end_ns)
        if files := self._archive.within("bar_1m", reach):
            with self._cold.lent(files) as connection:
                rows = connection.execute(
                    f"SELECT ts_open_ns FROM {self._files.bars_from('1m', reach)} WHERE symbol_id = ? "
                    "AND first_id <= ? AND last_id >= ? AND ts_open_ns >= ? AND ts_open_ns < ?",
                    [symbol_id, trade_id, trade_id, reach.low_ns, end_ns],
                ).fetchall()
            minutes += [(at, at + _MINUTE_NS) for (at,) in rows]
        for low, high in [*minutes, (start_ns, end_ns)]:
            for look in (self._cold_time, self.time_within):
                found = look(session, symbol_id, trade_id, low, high)
                if found is not None:
                    return found
        return None

    def _cold_time(self, _: Session, symbol_id: int, trade_id: int, low_ns: int, high_ns: int) -> int | None:
        reach = Reach(symbol_id, low_ns, high_ns)
        if not (files := self._archive.within("tick", reach)):
            return None
        with self._cold.lent(files) as connection:
            found = connection.execute(
                f"SELECT ts_event_ns FROM {self._files.ticks_from(reach)} "
                "WHERE symbol_id = ? AND id = ? AND ts_event_ns >= ? AND ts_event_ns < ?",
                [symbol_id, trade_id, low_ns, high_ns],
            ).fetchone()
        return None if found is None else int(found[0])

    def _cold_ticks(self, time: str, reach: Reach) -> TickBatch:
        """Return the archived ticks of every symbol within reach, in no order."""
        if not (files := self._archive.within("tick", reach)):
            return TickBatch.empty(self._symbols, 0)
        with self._cold.lent(files) as connection:
            values = (reach.low_ns, reach.high_ns)
            return self._files.ticks(connection, f"{time} >= ? AND {time} < ?", values, reach=reach)

    def _cold_counts(self, time: str, reach: Reach, width_ns: int) -> list[tuple[int, int]]:
        if not (files := self._archive.within("tick", reach)):
            return []
        with self._cold.lent(files) as connection:
            rows: list[tuple[int, int]] = connection.execute(
                f"SELECT {time} // ? AS span, count(*) FROM {self._files.ticks_from(reach)} "
                f"WHERE {time} >= ? AND {time} < ? GROUP BY span",
                [width_ns, reach.low_ns, reach.high_ns],
            ).fetchall()
            return rows

    def _places(self, session: Session) -> I8:
        """Return by symbol id the number that the server has given to it: the same in every process."""
        numbers = {row["name"]: row["symbol_id"] for row in session.rows("SELECT name, symbol_id FROM symbol")}
        return np.array([numbers.get(name, -1) for name in self._symbols], np.int64)

    # -- bars ----------------------------------------------------------------------------------------------------------

    def bars_at(self, session: Any, timeframe: str, keys: Mapping[str, NDArray[Any]]) -> Columns:
        """Return the bars at (symbol_id, ts_open_ns) keys, with ``row``, the place of the key."""
        found = super().bars_at(session, timeframe, keys)
        ids, times = keys["symbol_id"], keys["ts_open_ns"]
        low, high = int(times.min()), int(times.max()) + 1
        files = [
            file
            for symbol_id in np.unique(ids).tolist()
            for file in self._archive.within(f"bar_{timeframe}", Reach(symbol_id, low, high))
        ]
        if not files:
            return found
        with self._cold.lent(files) as connection:
            cold = self._files.bars_at(connection, timeframe, keys)
        alone = ~np.isin(cold["row"], found["row"])
        return {
            name: np.concatenate([values, cold[name][alone].astype(values.dtype)]) for name, values in found.items()
        }

    def bar_span(self, session: Any, timeframe: str, symbol_id: int) -> tuple[int, int]:
        """Return the oldest and newest open time of a symbol's bars, ``NEVER`` and -1 where there is none."""
        oldest, newest = super().bar_span(session, timeframe, symbol_id)
        for file in self._archive.within(f"bar_{timeframe}", Reach(symbol_id)):
            oldest, newest = min(oldest, file.first_ns), max(newest, file.last_ns)
        return oldest, newest

    def symbol_bars(
        self, session: Any, timeframe: str, symbol_id: int, start_ns: int, end_ns: int, *, uploads_only: bool
    ) -> BarBatch:
        """Return a symbol's bars of a range by time, all or those that were uploaded: they are never archived."""
        found = super().symbol_bars(session, timeframe, symbol_id, start_ns, end_ns, uploads_only=uploads_only)
        files = [] if uploads_only else self._archive.within(f"bar_{timeframe}", Reach(symbol_id, start_ns, end_ns))
        if not files:
            return found
        with self._cold.lent(files) as connection:
            cold = self._files.symbol_bars(connection, timeframe, symbol_id, start_ns, end_ns, uploads_only=False)
        return _with_cold(found, cold)

    def base_bars(self, session: Any, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        """Return the bars of every symbol in a range, by (symbol id, time)."""
        found = super().base_bars(session, timeframe, start_ns, end_ns)
        if not (files := self._archive.within(f"bar_{timeframe}", Reach(None, start_ns, end_ns))):
            return found
        with self._cold.lent(files) as connection:
            cold = self._files.base_bars(connection, timeframe, start_ns, end_ns)
        return _with_cold(found, cold)

    def bar_count(self, session: Any) -> int:
        """Return how many bars there are, stored or archived; each once. Reads the whole index."""
        found = super().bar_count(session) + self._archive.totals()["bars"]
        for timeframe in BASE_TIMEFRAMES:
            found -= sum(self.bars_in_both(session, timeframe, file).size for file in self._archive)
        return found

    def bars_in_both(self, session: Any, timeframe: str, file: ArchivedFile) -> I8:
        """Return the open times of a file's bars that the table has as well; none where it is of another timeframe."""
        if file.kind != f"bar_{timeframe}":
            return np.empty(0, np.int64)
        reach = file.symbol_id, file.first_ns, file.last_ns + 1
        stored = super().symbol_bars(session, timeframe, *reach, uploads_only=False)
        if not len(stored):
            return np.empty(0, np.int64)
        with self._cold.lent([file]) as connection:
            archived = self._files.symbol_bars(connection, timeframe, *reach, uploads_only=False)
        found: I8 = np.intersect1d(stored.ts_open_ns, archived.ts_open_ns)
        return found


def _lies_beyond(file: ArchivedFile, found: TickBatch, limit: int, *, newest: bool) -> bool:
    """Whether a read that has its ``limit`` of ticks already ends before a file's."""
    if len(found) < limit:
        return False
    return file.last_ns < int(found.ts_event_ns[0]) if newest else file.first_ns > int(found.ts_event_ns[-1])


def _with_cold(found: BarBatch, cold: BarBatch) -> BarBatch:
    """Return stored bars with the archived ones that they do not stand for, by (symbol id, time)."""
    if not len(cold):
        return found
    whole = concat_bars([found, cold])
    archived = np.arange(len(whole)) >= len(found)
    order = np.lexsort((archived, whole.ts_open_ns, whole.symbol_id))
    whole = whole.take(order)
    again = np.zeros(len(whole), np.bool_)
    again[1:] = (whole.ts_open_ns[1:] == whole.ts_open_ns[:-1]) & (whole.symbol_id[1:] == whole.symbol_id[:-1])
    return whole.take(~again)


def _added(stored: Sequence[tuple[int, int]], archived: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans with the counts of both."""
    if not archived:
        return list(stored)
    counts = dict(stored)
    for span, count in archived:
        counts[span] = counts.get(span, 0) + count
    return sorted(counts.items())
