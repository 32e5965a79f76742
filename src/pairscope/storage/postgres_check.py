"""The server store as it is looked at and mended: a symbol at a time, each in one state of the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pairscope.market.bars import BASE_TIMEFRAMES, BarBatch, Origin, timeframe_ns
from pairscope.market.ticks import TickBatch
from pairscope.storage.archive_catalogue import EVERYWHERE, Catalogue
from pairscope.storage.integrity import check
from pairscope.storage.integrity_embedded import WRONG_BAR, wrong_bars
from pairscope.storage.integrity_files import archive_findings, spool_findings
from pairscope.storage.integrity_findings import Finding
from pairscope.storage.integrity_ids import Look, look_at
from pairscope.storage.integrity_mending import SetAside, count_again
from pairscope.storage.ledger import Ledger
from pairscope.storage.postgres_archive import PostgresArchive
from pairscope.storage.postgres_archive_check import CheckedShelves, set_file_aside
from pairscope.storage.postgres_archive_reading import ArchivedTables, ColdFiles, tables_of
from pairscope.storage.postgres_documents import document_at
from pairscope.storage.postgres_ledger import SharedLedger
from pairscope.storage.postgres_pool import PostgresPool, Session
from pairscope.storage.postgres_tables import PostgresTables
from pairscope.storage.postgres_time import at
from pairscope.storage.postgres_writing import PostgresWriting
from pairscope.storage.reading import gathered
from pairscope.storage.rebuilds import COLLECTION
from pairscope.storage.upkeep import Progress, untold

__all__ = ["Database", "check_database"]

_QUARTER_NS: Final = 15 * 60_000_000_000
_HOUR_NS: Final = 3_600_000_000_000
_BEGIN: Final = -(2**62)
_END: Final = 2**62
_OPENED: Final = '(extract(epoch FROM "timestamp") * 1000000)::bigint * 1000'
_FINITE: Final = "'-Infinity'::float8 < {0} AND {0} < 'Infinity'::float8"
_WRONG_TICK: Final = (
    f"NOT (price > 0 AND size > 0 AND {_FINITE.format('price')} AND {_FINITE.format('size')} "
    "AND \"timestamp\" >= timestamptz 'epoch' AND id >= 0)"
)


async def check_database(
    pool: PostgresPool,
    cold: ColdFiles,
    files: PostgresArchive,
    *,
    repair: bool = False,
    progress: Progress = untold,
    spool: Path | None = None,
) -> Mapping[str, Any]:
    """Look at everything that a database holds, beside all other work; see ``integrity.check``.

    What no read can use any more is set aside in the table ``set_aside``, as JSON; files in ``set-aside`` beside them.
    """
    return await check(await Database.of(pool, cold, files), repair=repair, progress=progress, spool=spool)


class Database:
    """``Subject`` of one database. Made by :meth:`of`."""

    def __init__(self, pool: PostgresPool, cold: ColdFiles, files: PostgresArchive) -> None:
        self._pool = pool
        self._cold = cold
        self._archive = files
        self.set_aside: str | None = None

    @classmethod
    async def of(cls, pool: PostgresPool, cold: ColdFiles, files: PostgresArchive) -> Database:
        """Return a database as it is; what was set aside earlier is known."""
        found = cls(pool, cold, files)
        await found._ask_aside()
        return found

    async def files(self, spool: Path | None) -> tuple[int, list[Finding]]:
        """Return how many files the archive has, and what is wrong with them and with those of a spool."""
        shelves = CheckedShelves(self._pool, self._archive)
        found = await archive_findings(shelves, set_file_aside)
        if spool is not None:
            aside = SetAside(spool.with_name(spool.name + ".aside"))
            found += await asyncio.to_thread(spool_findings, spool, aside)
        return shelves.count, found

    async def names(self) -> list[str]:
        """Return the symbols of the database."""
        rows = await self._pool.read(lambda session: session.rows("SELECT symbol FROM continuity ORDER BY symbol"))
        return [row["symbol"] for row in rows]

    async def wrong_bars(self, timeframe: str) -> tuple[int, list[tuple[str, int]]]:
        """Return how many bars there are of a timeframe, and (symbol, open time) of those that are none."""
        off_grid = f"({_OPENED}) % {timeframe_ns(timeframe)} <> 0"
        wrong_bar = _of_postgres(WRONG_BAR)

        def work(session: Session) -> tuple[int, list[tuple[str, int]]]:
            shared = _looked(session)
            [row] = session.rows("SELECT count(*) AS count FROM resampled_data WHERE timeframe = $1", timeframe)
            stored = session.rows(
                f"SELECT symbol, {_OPENED} AS ns FROM resampled_data WHERE timeframe = $1 "
                f"AND ({wrong_bar} OR {off_grid})",
                timeframe,
            )
            count, wrong = int(row["count"]), [(each["symbol"], int(each["ns"])) for each in stored]
            view = shared.ledger.view()
            if files := view.archive.within(f"bar_{timeframe}", EVERYWHERE):
                tables = ArchivedTables(view.symbols, view.archive, self._cold)
                twice = {
                    (file.symbol_id, ns)
                    for file in files
                    for ns in tables.bars_in_both(session, timeframe, file).tolist()
                }
                with self._cold.lent(files) as connection:
                    archived, bad = wrong_bars(connection, view, timeframe=timeframe)
                count += archived - len(twice)
                wrong += [(view.symbols[symbol_id], ns) for symbol_id, ns in bad if (symbol_id, ns) not in twice]
            return count, wrong

        return await self._pool.read(work, snapshot=True)

    async def look(self, symbol: str) -> Look:
        """Return what the rows of a symbol say, beside its ledger, in one state of the database."""

        def work(session: Session) -> Look:
            ledger = _looked(session, [symbol]).ledger
            tables = tables_of(ledger.symbols, ledger.archive, self._cold)
            return look_at(_Rows(session, ledger, symbol, tables), ledger, symbol)

        return await self._pool.read(work, snapshot=True)

    async def remove_bars(self, timeframe: str, keys: Sequence[tuple[str, int]]) -> None:
        """Remove bars at (symbol, open time), set foreign ones aside, make those of own trades again."""
        by_symbol: dict[str, list[int]] = {}
        for symbol, ns in keys:
            by_symbol.setdefault(symbol, []).append(ns)

        def work(session: Session, writing: PostgresWriting) -> None:
            _keep_aside(session)
            for symbol, opens in by_symbol.items():
                matching = (
                    'symbol = $1 AND timeframe = $2 AND "timestamp" IN '
                    f"(SELECT {at('us')} FROM unnest($3::bigint[]) AS u(us))"
                )
                values = symbol, timeframe, [ns // 1000 for ns in opens]
                session.run(
                    "INSERT INTO set_aside (kind, row) SELECT 'resampled_data', to_jsonb(b) FROM resampled_data AS b "
                    f"WHERE origin <> 0 AND {matching}",
                    *values,
                )
                writing.added_bars -= _count(session.run(f"DELETE FROM resampled_data WHERE {matching}", *values))
                if timeframe in BASE_TIMEFRAMES:
                    _rebuild(writing, symbol, opens)

        await self._write(list(by_symbol), work)
        await self._ask_aside()

    async def remove_ticks(self, look: Look) -> None:
        """Set rows aside that are no trades."""
        await self._write([look.symbol], lambda session, _: _set_ticks_aside(session, look.symbol, _WRONG_TICK))
        await self._ask_aside()

    async def remove_repeats(self, look: Look) -> None:
        """Keep the row of each id that came first; the key allows an id again at another time alone.

        What the archive has stands first.
        """
        ids = sorted(set(look.twice))
        repeated = (
            "id = ANY($2::bigint[]) AND EXISTS (SELECT 1 FROM tick_data AS o WHERE o.symbol = t.symbol AND o.id = t.id "
            'AND o.id = ANY($2::bigint[]) AND (o.received_ns, o."timestamp") < (t.received_ns, t."timestamp"))'
        )

        def work(session: Session, writing: PostgresWriting) -> None:
            archived = _archived_of(writing.ledger.archive, look, ids, self._cold)
            if archived:
                _set_ticks_aside(session, look.symbol, "id = ANY($2::bigint[])", archived)
            _set_ticks_aside(session, look.symbol, repeated, ids)

        await self._write([look.symbol], work)
        await self._ask_aside()

    async def count_again(self, look: Look) -> None:
        """Have the ledger say what the rows said, and what has come since."""
        await self._write([look.symbol], lambda _, writing: count_again(look)(writing))

    async def make_again(self, look: Look, times: Mapping[str, list[int]]) -> None:
        """Make bars again at open times by timeframe, in place of what is stored there."""

        def work(session: Session, writing: PostgresWriting) -> None:
            for timeframe, opens in times.items():
                gone = session.run(
                    'DELETE FROM resampled_data WHERE symbol = $1 AND timeframe = $2 AND "timestamp" IN '
                    f"(SELECT {at('us')} FROM unnest($3::bigint[]) AS u(us))",
                    look.symbol,
                    timeframe,
                    [ns // 1000 for ns in opens],
                )
                writing.added_bars -= _count(gone)
            _rebuild(writing, look.symbol, [ns for opens in times.values() for ns in opens])

        await self._write([look.symbol], work)

    async def _write(self, names: Sequence[str], work: Callable[[Session, PostgresWriting], None]) -> None:
        """Do work in one transaction that holds the rows of symbols."""

        def transaction(session: Session) -> None:
            shared = SharedLedger()
            shared.take(session, names)
            ledger = shared.ledger
            writing = PostgresWriting(session, ledger, tables_of(ledger.symbols, ledger.archive, self._cold))
            work(session, writing)
            shared.save(session, names, added_bars=writing.added_bars)

        await self._pool.write(transaction)

    async def _ask_aside(self) -> None:
        [row] = await self._pool.read(lambda session: session.rows("SELECT to_regclass('set_aside')::text AS name"))
        self.set_aside = None if row["name"] is None else "table set_aside"


class _Rows:
    """``SymbolRows`` of a symbol, under a transaction that sees one moment."""

    def __init__(self, session: Session, ledger: Ledger, symbol: str, tables: PostgresTables) -> None:
        self._session, self._symbol = session, symbol
        self._id = ledger.id_of(symbol)
        self._tables = tables

    def portions(self) -> list[tuple[int, int]]:
        rows = self._tables.counts(self._session, _BEGIN, _QUARTER_NS, symbol=self._symbol)
        return [(low, high) for low, high in gathered(rows, _QUARTER_NS)]

    def ticks(self, low: int, high: int) -> TickBatch:
        found = self._tables.symbol_ticks(self._session, self._id, low, high)
        return found.take(np.lexsort((found.ts_recv_ns, found.trade_id)))

    def bars(self, timeframe: str, low: int, high: int, *, own: bool = False) -> BarBatch:
        found = self._tables.symbol_bars(self._session, timeframe, self._id, low, high, uploads_only=False)
        return found.take(found.origin == Origin.OWN) if own else found

    def bar_span(self, timeframe: str) -> tuple[int, int]:
        return self._tables.bar_span(self._session, timeframe, self._id)

    def voids(self) -> list[int]:
        rows = self._session.rows("SELECT id FROM void_id WHERE symbol = $1 ORDER BY id", self._symbol)
        return [int(row["id"]) for row in rows]

    def pending(self) -> bytes | None:
        return document_at(self._session, COLLECTION, self._symbol)


def _looked(session: Session, names: Sequence[str] | None = None) -> SharedLedger:
    """Return the ledger as it stands in the one state that a transaction sees, which is fixed here."""
    session.run("LOCK TABLE ONLY tick_data IN ACCESS SHARE MODE")  # before: no day goes that this state has
    shared = SharedLedger()
    shared.look(session, names)
    return shared


def _archived_of(archive: Catalogue, look: Look, ids: Sequence[int], cold: ColdFiles) -> list[int]:
    """Return which ids of a symbol's ticks are in the archive."""
    files = [file for file in archive if file.kind == "tick" and file.symbol_id == look.symbol_id]
    if not files:
        return []
    with cold.lent(files) as connection:
        rows = connection.execute(
            f"SELECT DISTINCT a.id FROM {archive.rows_of(files)} WHERE a.id IN (SELECT unnest(?::BIGINT[]))",
            [list(ids)],
        ).fetchall()
    return [number for (number,) in rows]


def _keep_aside(session: Session) -> None:
    session.run("CREATE TABLE IF NOT EXISTS set_aside (at timestamptz DEFAULT now(), kind text, row jsonb)")


def _set_ticks_aside(session: Session, symbol: str, condition: str, *values: Any) -> None:
    """Move a symbol's ticks that a condition selects to where they are set aside."""
    _keep_aside(session)
    session.run(
        f"WITH gone AS (DELETE FROM tick_data AS t WHERE symbol = $1 AND {condition} RETURNING t.*) "
        "INSERT INTO set_aside (kind, row) SELECT 'tick_data', to_jsonb(gone) FROM gone",
        symbol,
        *values,
    )


def _rebuild(writing: PostgresWriting, symbol: str, opens: Sequence[int]) -> None:
    for hour in sorted({ns // _HOUR_NS for ns in opens}):
        writing.rebuild(symbol, hour * _HOUR_NS, (hour + 1) * _HOUR_NS)


def _count(said: str) -> int:
    """Return how many rows a statement says it changed."""
    return int(said.rpartition(" ")[2])


def _of_postgres(condition: str) -> str:
    """Return a condition that uses DuckDB's ``isfinite`` of numbers, which PostgreSQL has for times alone."""
    for name in ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume"):
        condition = condition.replace(f"isfinite({name})", _FINITE.format(name))
    return condition
