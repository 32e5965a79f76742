"""The days that PostgreSQL has rows of: their tables, and how many rows of each symbol lie in them."""

from __future__ import annotations

from datetime import UTC, datetime

from pairscope.storage.archive_catalogue import DAY_NS
from pairscope.storage.archive_parts import day_of
from pairscope.storage.postgres_pool import Session
from pairscope.storage.postgres_time import at, microseconds

__all__ = [
    "bars_of", "bounds_of", "bytes_a_bar", "is_hypertable", "next_day", "tables_of_days", "ticks_of", "within",
]  # fmt: skip


def tables_of_days(session: Session) -> dict[int, tuple[str, int]]:
    """Return the days that have a table of ticks, each with its name and bytes, whoever made it."""
    if is_hypertable(session):
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


def is_hypertable(session: Session) -> bool:
    """Whether TimescaleDB has the table of ticks: to PostgreSQL it is no partitioned one."""
    return bool(session.rows("SELECT 1 FROM pg_class WHERE oid = 'tick_data'::regclass AND relkind = 'r'"))


def ticks_of(session: Session, *, day: int) -> dict[str, int]:
    """Return how many ticks a day has of each symbol."""
    rows = session.rows(
        f"SELECT symbol, count(*) AS count FROM tick_data WHERE {within('$1', '$2')} GROUP BY symbol", *bounds_of(day)
    )
    return {row["symbol"]: row["count"] for row in rows}


def bytes_a_bar(session: Session) -> float:
    """Return the bytes that a stored bar takes, on average."""
    [row] = session.rows(
        "SELECT pg_total_relation_size('resampled_data') AS bytes, "
        "(SELECT coalesce(sum(bar_count), 0)::bigint FROM continuity) AS bars"
    )
    return float(row["bytes"] / max(row["bars"], 1))


def next_day(session: Session, *, timeframe: str, day: int | None) -> int | None:
    """Return the first day that has bars, from a day on."""
    low = "" if day is None else f' AND "timestamp" >= {at("$2")}'
    [row] = session.rows(
        f'SELECT floor(extract(epoch FROM min("timestamp")) / 86400)::bigint AS day FROM resampled_data '
        f"WHERE timeframe = $1{low}",
        timeframe,
        *([] if day is None else [microseconds(day * DAY_NS)]),
    )
    return None if row["day"] is None else int(row["day"])


def bars_of(session: Session, *, day: int, timeframe: str, uploads: bool) -> dict[str, int]:
    """Return how many bars of a timeframe a day has of each symbol."""
    rows = session.rows(
        f"SELECT symbol, count(*) AS count FROM resampled_data WHERE timeframe = $3 AND {within('$1', '$2')}"
        + ("" if uploads else " AND origin <> 2")
        + " GROUP BY symbol",
        *bounds_of(day),
        timeframe,
    )
    return {row["symbol"]: row["count"] for row in rows}


def bounds_of(day: int) -> tuple[int, int]:
    """Return a day's beginning and end in microseconds since 1970."""
    return microseconds(day * DAY_NS), microseconds((day + 1) * DAY_NS)


def within(low: str, high: str) -> str:
    """Return the condition that a time lies between two parameters in microseconds, the second excluded."""
    return f'"timestamp" >= {at(low)} AND "timestamp" < {at(high)}'
