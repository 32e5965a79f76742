"""The schema in PostgreSQL: migrations one after the other, and a partition for each day that trades come of."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from pairscope.errors import SchemaMismatch
from pairscope.storage.postgres_pool import PostgresPool, Session
from pairscope.storage.schema import migrations_of, pending

__all__ = ["DAY_NS", "Partitions", "days_of", "migrate"]

_log = structlog.get_logger(__name__)

DAY_NS: Final = 86_400 * 1_000_000_000
AHEAD: Final = 2
"""Days that are made before anything comes of them."""
_LOCK: Final = 7_035_284_119
"""The advisory lock under which the schema changes: one process at a time."""


async def migrate(pool: PostgresPool) -> None:
    """Bring the schema up to date. ``SchemaMismatch`` where another program or a newer version made it.

    All in one transaction under a lock: of several processes that start together one does it, and one that is broken
    off leaves nothing.
    """

    def work(session: Session) -> None:
        session.rows("SELECT pg_advisory_xact_lock($1)", _LOCK)
        tables = {
            row["table_name"]
            for row in session.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        }
        if "tick_data" in tables and "migration" not in tables:
            raise SchemaMismatch("PostgreSQL: tick_data is another program's", hint="name another database")
        session.run("CREATE TABLE IF NOT EXISTS migration (number integer PRIMARY KEY, name text, checksum text)")
        applied = [(row["number"], row["checksum"]) for row in session.rows("SELECT number, checksum FROM migration")]
        for migration in pending(migrations_of("postgres"), applied, where="the database"):
            session.run(migration.sql)
            if migration.number == 1:
                _give_to_timescale(session)
            session.run(
                "INSERT INTO migration VALUES ($1, $2, $3)", migration.number, migration.name, migration.checksum
            )

    await pool.write(work)


def days_of(times_ns: Iterable[int]) -> set[int]:
    """Return the days since 1970 of times.

    >>> sorted(days_of([0, DAY_NS, DAY_NS + 1]))
    [0, 1]
    """
    return {int(time_ns) // DAY_NS for time_ns in times_ns}


def _attach(session: Session, name: str, low: str, high: str) -> None:
    """Make a day and put it under ``tick_data``: made that way nobody who reads or writes another day waits for it."""
    session.run(
        f"CREATE TABLE {name} (LIKE tick_data INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING CONSTRAINTS); "
        f"ALTER TABLE tick_data ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}')"
    )


def _give_to_timescale(session: Session) -> None:
    """Hand the new and empty table of ticks to TimescaleDB where its extension was made in this database before.

    It then makes the days itself, and compresses those that are a week old where its edition can.
    """
    if not session.rows("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"):
        return
    session.run(
        "CREATE TABLE whole (LIKE tick_data INCLUDING ALL EXCLUDING INDEXES); DROP TABLE tick_data; "
        "ALTER TABLE whole RENAME TO tick_data; "
        'ALTER TABLE tick_data ADD PRIMARY KEY (symbol, "timestamp", id); '
        'CREATE INDEX tick_data_times ON tick_data USING brin ("timestamp", received_ns) '
        "WITH (pages_per_range = 32, autosummarize = on); "
        "SELECT create_hypertable('tick_data', 'timestamp', chunk_time_interval => interval '1 day', "
        "create_default_indexes => false)"
    )
    session.run(
        "DO $$ BEGIN ALTER TABLE tick_data SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol', "
        "timescaledb.compress_orderby = 'timestamp, id'); "
        "PERFORM add_compression_policy('tick_data', interval '7 days'); "
        "EXCEPTION WHEN feature_not_supported THEN NULL; END $$"
    )
    told = (
        "SELECT 1 FROM timescaledb_information.hypertables WHERE hypertable_name = 'tick_data' AND compression_enabled"
    )
    if not session.rows(told):
        _log.warning("this edition of TimescaleDB does not compress")


class Partitions:
    """The days of ``tick_data`` that are known to be there; a day that is not is made before its trades are written."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._known: set[int] = set()

    async def make(self, days: set[int], *, now_ns: int = 0) -> None:
        """Make days, and those that come next by the clock, where they are not there."""
        today = now_ns // DAY_NS
        wanted = days | ({today + k for k in range(AHEAD + 1)} if now_ns else set())
        lacking = sorted(wanted - self._known)
        if not lacking:
            return

        def work(session: Session) -> None:
            session.rows("SELECT pg_advisory_xact_lock($1)", _LOCK)
            if session.rows("SELECT relkind = 'r' AS whole FROM pg_class WHERE oid = 'tick_data'::regclass")[0][
                "whole"
            ]:
                return  # TimescaleDB makes days itself
            for day in lacking:
                low = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
                high = low + timedelta(days=1)
                name = f"tick_data_{low:%Y%m%d}"
                if session.rows("SELECT to_regclass($1) IS NULL AS lacks", name)[0]["lacks"]:
                    _attach(session, name, low.isoformat(), high.isoformat())

        await self._pool.write(work)
        self._known |= set(lacking)

    def forget(self) -> None:
        """Look again next time: days may have been dropped."""
        self._known.clear()
