"""Old days in PostgreSQL: counted where they lie, deleted by dropping their partition, looked after by VACUUM."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from pairscope.errors import InputError, StoreUnavailable
from pairscope.market.bars import BASE_TIMEFRAMES
from pairscope.storage.archive_parts import day_of
from pairscope.storage.kept_days import KeptDay
from pairscope.storage.ledger import NEVER
from pairscope.storage.postgres_ledger import SharedLedger
from pairscope.storage.postgres_pool import PostgresPool, Session
from pairscope.storage.postgres_schema import DAY_NS
from pairscope.storage.postgres_time import at, microseconds
from pairscope.storage.upkeep import Moved, Progress, never, untold

__all__ = ["PostgresUpkeep"]

_log = structlog.get_logger(__name__)
T = TypeVar("T")

WAIT_MS: Final = 1000
"""So long a drop waits for reads of its table, and whoever comes behind waits for it; then all go on, and it again."""
TRIES: Final = 30
BARS_OF: Final = 16
"""Symbols whose bars of a day are deleted in one transaction, which holds their rows of the ledger."""
NEAREST: Final = 200
"""Ticks among which the lowest id of a symbol is looked for: where a range begins, ids may come in another order."""
_LOCK: Final = 7_035_284_120
"""The advisory lock of whoever deletes a day."""
_DAY: Final = 'floor(extract(epoch FROM "timestamp") / 86400)::bigint'
_BASE: Final = "timeframe IN ('1s', '1m')"
_NONE: Final = {"files": 0, "bytes": 0, "ticks": 0, "bars": 0}


class PostgresUpkeep:
    """``DaysKept`` on one database; several processes may do it at once. Nothing is archived: dumps of the server are.

    ``on_dropped`` is told that partitions are gone.
    """

    archives = False
    default_place = ""

    def __init__(self, pool: PostgresPool, *, on_dropped: Callable[[], None]) -> None:
        self._pool = pool
        self._on_dropped = on_dropped
        self._lock = asyncio.Lock()

    # -- what there is -------------------------------------------------------------------------------------------------

    def totals(self) -> Mapping[str, int]:
        """Return that no file is archived."""
        return _NONE

    async def days(
        self,
        symbol: str | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        *,
        uploads: bool = True,
    ) -> list[KeptDay]:
        """Return what is kept of each day and symbol, by (day, symbol).

        Cost: a look at the index of each day's partition and of its bars, a query a day. ``stored_bytes`` is a share of
        the partition and of the bars' table by rows.
        """
        low = None if start_ns is None else start_ns // DAY_NS
        high = None if end_ns is None else -(-end_ns // DAY_NS)
        counts: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        sizes: dict[int, float] = {}
        for day, (_, size) in (await self._pool.read(_tables_of_days)).items():
            if (low is not None and day < low) or (high is not None and day >= high):
                continue
            rows = await self._pool.read(partial(_ticks_of, day=day))
            sizes[day] = size / max(sum(rows.values()), 1)
            for name, count in rows.items():
                counts[day, name][0] += count
        a_bar = await self._pool.read(_bytes_a_bar)
        for k, timeframe in enumerate(BASE_TIMEFRAMES, 1):
            from_day: int | None = low
            while (day_ := await self._pool.read(partial(_next_day, timeframe=timeframe, day=from_day))) is not None:
                if high is not None and day_ >= high:
                    break
                found = await self._pool.read(partial(_bars_of, day=day_, timeframe=timeframe, uploads=uploads))
                for name, count in found.items():
                    counts[day_, name][k] += count
                from_day = day_ + 1
        return [
            _kept(day, name, each, int(each[0] * sizes.get(day, 0) + (each[1] + each[2]) * a_bar))
            for (day, name), each in sorted(counts.items())
            if symbol in {None, name}
        ]

    async def used_bytes(self) -> int:
        """Return the bytes of the database."""
        rows = await self._pool.read(
            lambda session: session.rows("SELECT pg_database_size(current_database()) AS size")
        )
        return int(rows[0]["size"])

    async def free_bytes(self) -> int | None:
        """Return None: the server does not say."""
        return None

    # -- out of it -----------------------------------------------------------------------------------------------------

    async def archive(
        self,
        before_day: int,
        *,
        symbols: Collection[str] = (),
        place: str = "",
        progress: Progress = untold,
        cancelled: Callable[[], bool] = never,
    ) -> Moved:
        """Refuse: the days of a server are in its backups."""
        del before_day, symbols, place, progress, cancelled
        raise InputError(
            "days in PostgreSQL are not archived",
            hint="back the server up (docs/operations.md); old days are deleted by retention",
        )

    async def forget(
        self, days: Iterable[int], *, progress: Progress = untold, cancelled: Callable[[], bool] = never
    ) -> Moved:
        """Delete days, oldest first: the partition of a day in one transaction with the ledger, then its bars.

        Gaps before the first tick that is left of a symbol are forgotten, and the ledger begins there. Broken off in
        between, a day is left that has bars alone; they go when it is asked again. A partition that is read all the
        time raises ``StoreUnavailable`` after half a minute.
        """
        gone = dict.fromkeys(("days", "ticks", "bars", "files", "bytes"), 0)
        async with self._lock:
            todo = sorted(days)
            for k, day in enumerate(todo):
                if cancelled():
                    break
                ticks, size = await self._patiently(partial(_drop_ticks, day=day))
                self._on_dropped()
                gone["ticks"] += ticks
                gone["bytes"] += size
                names = await self._pool.read(partial(_names_of_bars, day=day))
                for low in range(0, len(names), BARS_OF):
                    part = names[low : low + BARS_OF]
                    gone["bars"] += await self._patiently(partial(_drop_bars, day=day, names=part))
                gone["days"] += 1
                progress(k + 1, len(todo))
        return gone

    async def _patiently(self, work: Callable[[Session], T]) -> T:
        """Do work in a transaction; again where it had to wait too long for others."""
        for _ in range(TRIES - 1):
            try:
                return await self._pool.write(work)
            except StoreUnavailable as error:
                _log.info("a day to delete is in use, once more", error=str(error))
                await asyncio.sleep(1.0)
        return await self._pool.write(work)

    # -- looking after it ----------------------------------------------------------------------------------------------

    async def compact(self) -> float:
        """Have the server use the room of deleted rows again and count anew for its plans; no read waits for it.

        Room at the end of tables goes back to the disk; that of a dropped day has gone already.
        """
        async with self._lock:
            await self._pool.outside("VACUUM (ANALYZE)")
        return 0.0

    async def sweep(self) -> int:
        """Return that there is nothing to clear away: what is deleted is deleted in transactions."""
        return 0

    async def check(self, *, repair: bool, progress: Progress = untold, spool: Path | None = None) -> Mapping[str, Any]:
        """Look whether all is whole; see ``check_database``."""
        from pairscope.storage.postgres_check import check_database

        return await check_database(self._pool, repair=repair, progress=progress, spool=spool)


def _kept(day: int, name: str, rows: Sequence[int], size: int) -> KeptDay:
    ticks, seconds, minutes = rows
    return KeptDay(day, name, ticks, seconds, minutes, ticks, seconds + minutes, size, 0, 0)


# -- what there is -----------------------------------------------------------------------------------------------------


def _tables_of_days(session: Session) -> dict[int, tuple[str, int]]:
    """Return the days that have a table of ticks, each with its name and bytes, whoever made it."""
    if _is_hypertable(session):
        rows = session.rows(
            "SELECT (extract(epoch FROM c.range_start) / 86400)::bigint AS day, d.total_bytes AS bytes, "
            "format('%I.%I', c.chunk_schema, c.chunk_name) AS name FROM timescaledb_information.chunks AS c "
            "JOIN chunks_detailed_size('tick_data') AS d USING (chunk_schema, chunk_name) "
            "WHERE c.hypertable_name = 'tick_data' ORDER BY 1"
        )
        return {int(row["day"]): (row["name"], int(row["bytes"])) for row in rows}
    found = {}
    for row in session.rows(
        "SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes FROM pg_inherits AS i "
        "JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = 'tick_data'::regclass ORDER BY c.relname"
    ):
        date = datetime.strptime(row["name"].removeprefix("tick_data_"), "%Y%m%d").replace(tzinfo=UTC)
        found[day_of(date)] = (row["name"], int(row["bytes"]))
    return found


def _is_hypertable(session: Session) -> bool:
    """Whether TimescaleDB has the table of ticks: to PostgreSQL it is no partitioned one."""
    return bool(session.rows("SELECT 1 FROM pg_class WHERE oid = 'tick_data'::regclass AND relkind = 'r'"))


def _ticks_of(session: Session, *, day: int) -> dict[str, int]:
    """Return how many ticks a day has of each symbol."""
    rows = session.rows(
        f"SELECT symbol, count(*) AS count FROM tick_data WHERE {_within('$1', '$2')} GROUP BY symbol", *_of(day)
    )
    return {row["symbol"]: row["count"] for row in rows}


def _bytes_a_bar(session: Session) -> float:
    [row] = session.rows(
        "SELECT pg_total_relation_size('resampled_data') AS bytes, "
        "(SELECT coalesce(sum(bar_count), 0)::bigint FROM continuity) AS bars"
    )
    return float(row["bytes"] / max(row["bars"], 1))


def _next_day(session: Session, *, timeframe: str, day: int | None) -> int | None:
    """Return the first day that has bars, from a day on."""
    low = "" if day is None else f' AND "timestamp" >= {at("$2")}'
    [row] = session.rows(
        f'SELECT floor(extract(epoch FROM min("timestamp")) / 86400)::bigint AS day FROM resampled_data '
        f"WHERE timeframe = $1{low}",
        timeframe,
        *([] if day is None else [microseconds(day * DAY_NS)]),
    )
    return None if row["day"] is None else int(row["day"])


def _bars_of(session: Session, *, day: int, timeframe: str, uploads: bool) -> dict[str, int]:
    rows = session.rows(
        f"SELECT symbol, count(*) AS count FROM resampled_data WHERE timeframe = $3 AND {_within('$1', '$2')}"
        + ("" if uploads else " AND origin <> 2")
        + " GROUP BY symbol",
        *_of(day),
        timeframe,
    )
    return {row["symbol"]: row["count"] for row in rows}


# -- what goes ---------------------------------------------------------------------------------------------------------


def _drop_ticks(session: Session, *, day: int) -> tuple[int, int]:
    """Drop a day's partition, and have the ledger begin behind it; return how many ticks and bytes went.

    Writes to that day wait from the count on; all else waits for the drop alone.
    """
    session.rows("SELECT pg_advisory_xact_lock($1)", _LOCK)
    name, size = _tables_of_days(session).get(day, ("", 0))
    if not name:
        return 0, 0
    session.run(f"SET LOCAL lock_timeout = '{WAIT_MS}ms'")
    session.run(f"LOCK TABLE {name} IN SHARE MODE")
    ticks = _ticks_of(session, day=day)
    shared = SharedLedger()
    shared.take(session, ticks)
    left = _first_left(session, day, list(ticks))
    view = shared.ledger.view()
    before: list[tuple[str, int]] = []
    for symbol, count in ticks.items():
        first_id, first_ns = left.get(symbol, (None, NEVER))
        symbol_id = shared.ledger.id_of(symbol)
        oldest = {timeframe: view.bar_span(symbol_id, timeframe)[0] for timeframe in BASE_TIMEFRAMES}
        shared.ledger.forget(symbol, ticks=count, first_id=first_id, first_ns=first_ns, oldest=oldest)
        before.append((symbol, NEVER if first_id is None else first_id))
    session.run_many("DELETE FROM gap WHERE symbol = $1 AND to_id < $2", before)
    session.run_many("DELETE FROM void_id WHERE symbol = $1 AND id < $2", before)
    shared.save(session, ticks)
    if _is_hypertable(session):
        session.rows(f"SELECT drop_chunks('tick_data', newer_than => {at('$1')}, older_than => {at('$2')})", *_of(day))
    else:
        session.run(f"DROP TABLE {name}")
    return sum(ticks.values()), size


def _first_left(session: Session, day: int, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return first trade id of each symbol outside a day, and its time; a symbol without ticks there is not in it."""
    rows = session.rows(
        "SELECT n.name, f.id, f.ns FROM unnest($3::text[]) AS n(name), LATERAL (SELECT e.id, "
        '(extract(epoch FROM e."timestamp") * 1000000)::bigint * 1000 + e.rest_ns AS ns FROM ('
        '(SELECT id, "timestamp", rest_ns FROM tick_data WHERE symbol = n.name AND "timestamp" < '
        f'{at("$1")} ORDER BY "timestamp", id LIMIT {NEAREST}) UNION ALL '
        '(SELECT id, "timestamp", rest_ns FROM tick_data WHERE symbol = n.name AND "timestamp" >= '
        f'{at("$2")} ORDER BY "timestamp", id LIMIT {NEAREST})) AS e ORDER BY e.id LIMIT 1) AS f',
        *_of(day),
        list(names),
    )
    return {row["name"]: (row["id"], row["ns"]) for row in rows}


def _names_of_bars(session: Session, *, day: int) -> list[str]:
    """Return the symbols that have bars of a day that go with it."""
    rows = session.rows(
        f"SELECT DISTINCT symbol FROM resampled_data WHERE {_BASE} AND {_within('$1', '$2')} AND origin <> 2 "
        "ORDER BY symbol",
        *_of(day),
    )
    return [row["symbol"] for row in rows]


def _drop_bars(session: Session, *, day: int, names: Sequence[str]) -> int:
    """Delete the bars of a day of some symbols, all but uploaded ones; return how many."""
    shared = SharedLedger()
    shared.take(session, names)
    done = session.run(
        f"DELETE FROM resampled_data WHERE symbol = ANY($3::text[]) AND {_BASE} AND {_within('$1', '$2')} "
        "AND origin <> 2",
        *_of(day),
        list(names),
    )
    for row in session.rows(
        'SELECT n.name, t.timeframe, (SELECT (extract(epoch FROM min("timestamp")) * 1000000)::bigint * 1000 '
        "FROM resampled_data AS b WHERE b.symbol = n.name AND b.timeframe = t.timeframe) AS oldest, "
        '(SELECT (extract(epoch FROM max("timestamp")) * 1000000)::bigint * 1000 FROM resampled_data AS b '
        "WHERE b.symbol = n.name AND b.timeframe = t.timeframe) AS newest "
        "FROM unnest($1::text[]) AS n(name), unnest($2::text[]) AS t(timeframe)",
        list(names),
        list(BASE_TIMEFRAMES),
    ):
        oldest, newest = (NEVER, -1) if row["oldest"] is None else (row["oldest"], row["newest"])
        shared.ledger.set_bar_span(row["timeframe"], shared.ledger.id_of(row["name"]), oldest, newest)
    count = int(done.rpartition(" ")[2])
    shared.save(session, names, added_bars=-count)
    return count


def _of(day: int) -> tuple[int, int]:
    """Return a day's beginning and end in microseconds since 1970."""
    return microseconds(day * DAY_NS), microseconds((day + 1) * DAY_NS)


def _within(low: str, high: str) -> str:
    return f'"timestamp" >= {at(low)} AND "timestamp" < {at(high)}'
