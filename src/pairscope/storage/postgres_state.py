"""What a PostgreSQL server says of itself and of our tables in it, before anything is opened: nothing is changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from pairscope.storage.postgres_pool import PostgresPool, Session
from pairscope.storage.schema import migrations_of, pending

__all__ = ["ServerState", "state_of"]

_ASKED: Final = (
    "SELECT current_database() AS name, current_setting('server_version') AS version, "
    "current_setting('server_version_num')::integer / 10000 AS major, pg_is_in_recovery() AS standby, "
    "current_setting('fsync') = 'on' AS durable, pg_database_size(current_database()) AS bytes, "
    "current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer AS most, "
    "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used, "
    "to_regclass('migration') IS NOT NULL AS made, to_regclass('continuity') IS NOT NULL AS counted, "
    "extract(epoch FROM clock_timestamp())::double precision AS now_s"
)


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server and one database of it. ``ahead_s``: its clock less ours; ``pending``: names of migrations to come."""

    database: str
    version: str
    major: int
    ahead_s: float
    standby: bool
    durable: bool
    connections: int
    used: int
    bytes: int
    made: bool
    pending: tuple[str, ...]
    ticks: int
    bars: int


async def state_of(url: str, *, name: str = "PAIRSCOPE_DATABASE_URL") -> ServerState:
    """Ask the server of an address; ``name`` is the setting that it is of.

    ``SchemaMismatch`` where a newer Pairscope made the tables, ``StorageError`` or ``ConfigError`` where it does not
    let us in.
    """
    pool = PostgresPool(url, size=1, name=name)
    try:
        return await pool.read(_state)
    finally:
        await pool.close()


def _state(session: Session) -> ServerState:
    before_s = time.time()
    [row] = session.rows(_ASKED)
    ahead_s = row["now_s"] - (before_s + time.time()) / 2
    applied = session.rows("SELECT number, checksum FROM migration") if row["made"] else []
    lacking = pending(migrations_of("postgres"), [(each["number"], each["checksum"]) for each in applied], where="it")
    ticks, bars = 0, 0
    if row["counted"]:
        sums = "SELECT coalesce(sum(tick_count), 0)::bigint, coalesce(sum(bar_count), 0)::bigint FROM continuity"
        [(ticks, bars)] = [tuple(each) for each in session.rows(sums)]
    return ServerState(
        row["name"],
        row["version"].split()[0],
        row["major"],
        ahead_s,
        row["standby"],
        row["durable"],
        row["most"],
        row["used"],
        row["bytes"],
        row["made"],
        tuple(f"{each.number} ({each.name})" for each in lacking),
        ticks,
        bars,
    )
