"""From a file to a store that can be gone on with: whole, in this version's schema, its ledger read from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pairscope.errors import SchemaMismatch
from pairscope.market.bars import BASE_TIMEFRAMES, TIMEFRAMES, Origin
from pairscope.market.gaps import HeldGap
from pairscope.market.id_ranges import clipped
from pairscope.storage.duckdb_errors import damaged
from pairscope.storage.ledger import NEVER, Ledger
from pairscope.storage.schema import migrations_of, pending
from pairscope.storage.tables import Connection, Tables

__all__ = ["check_whole", "migrate", "read_ledger"]

_HeldGaps = list[HeldGap]

_NO_BARS: Final = (NEVER, -1)
_NO_TICKS: Final = (-1, -1, NEVER, 0, 0)
_NOTHING_SAVED: Final = (True, *_NO_TICKS, *_NO_BARS, *_NO_BARS)


def check_whole(connection: Connection, path: Path) -> None:
    """Refuse a file that ends too early now, and not when somebody reads it, and one that is no database at all.

    A file may be shorter than its blocks for a good reason, so it is read through where it is.
    """
    if connection.execute("SELECT path FROM duckdb_databases() WHERE NOT internal").fetchone() == (None,):
        raise damaged(path, "it is no DuckDB database")
    (need,) = connection.execute("SELECT block_size * total_blocks FROM pragma_database_size()").fetchone()
    if path.stat().st_size < need:
        for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            connection.execute(f'SELECT bit_xor(hash(t)) FROM "{table}" AS t').fetchone()


def migrate(connection: Connection, path: Path) -> None:
    """Bring a file's schema up to date. Raises ``SchemaMismatch`` where another program or a newer version made it."""
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if tables and "migration" not in tables:
        raise SchemaMismatch(f"{path} is a DuckDB file of something else", hint="name another file or data directory")
    connection.execute("CREATE TABLE IF NOT EXISTS migration (number INTEGER, name VARCHAR, checksum VARCHAR)")
    applied = connection.execute("SELECT number, checksum FROM migration").fetchall()
    for migration in pending(migrations_of("duckdb"), applied, where=str(path)):
        connection.execute("BEGIN")
        connection.execute(migration.sql)
        connection.execute(
            "INSERT INTO migration VALUES (?, ?, ?)", [migration.number, migration.name, migration.checksum]
        )
        connection.execute("COMMIT")


def read_ledger(connection: Connection) -> Ledger:
    """Return the ledger that stands where the stored rows end. Costs the rows since it was last saved."""
    ledger = Ledger()
    for (name,) in connection.execute("SELECT name FROM symbol ORDER BY symbol_id").fetchall():
        ledger.id_of(name)
    ledger.saved_symbols = len(ledger.symbols)
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    since = meta["flush"]
    gaps = _unrepaired(connection, ledger)
    saved = _by_symbol(
        connection,
        "SELECT symbol_id, live, first_id, next_id, first_ns, last_ns, tick_count, oldest_1s_ns, newest_1s_ns, "
        "oldest_1m_ns, newest_1m_ns FROM continuity",
    )
    ticks = _by_symbol(
        connection,
        "SELECT symbol_id, min(id), max(id) + 1, arg_min(ts_event_ns, id), max(ts_event_ns), count(*) "
        "FROM tick WHERE flush > ? GROUP BY symbol_id",
        since,
    )
    bars = [
        _by_symbol(
            connection,
            f"SELECT symbol_id, min(ts_open_ns), max(ts_open_ns) FROM bar_{timeframe} WHERE flush > ? "
            "GROUP BY symbol_id",
            since if timeframe in BASE_TIMEFRAMES else -1,
        )
        for timeframe in TIMEFRAMES
    ]
    for symbol_id, name in enumerate(ledger.symbols):
        _resume(
            ledger,
            name,
            saved.get(symbol_id, _NOTHING_SAVED),
            ticks.get(symbol_id, _NO_TICKS),
            [spans.get(symbol_id, _NO_BARS) for spans in bars],
            gaps.get(name, []),
        )
    ledger.uploaded_seconds = frozenset(
        _by_symbol(connection, "SELECT DISTINCT symbol_id FROM bar_1s WHERE origin = ?", int(Origin.UPLOAD))
    )
    ledger.flush, ledger.watermark_ns = _last_flush(connection, since, meta["watermark_ns"])
    return ledger


def _resume(
    ledger: Ledger,
    name: str,
    saved: tuple[int, ...],
    ticks: tuple[int, ...],
    bars: Sequence[tuple[int, ...]],
    gaps: _HeldGaps,
) -> None:
    """Take up one symbol from what was saved of it and from what its rows since then say."""
    live, first_id, next_id, first_ns, last_ns, count, *spans = saved
    later_first_id, later_id, later_first_ns, later_last_ns, later_count = ticks
    newest_ns = max(last_ns, later_last_ns)
    kept = {timeframe: (spans[2 * k], spans[2 * k + 1]) for k, timeframe in enumerate(BASE_TIMEFRAMES)}
    ledger.resume(
        name,
        first_ns=first_ns if count else later_first_ns,
        last_ns=newest_ns,
        tick_count=count + later_count,
        spans={
            timeframe: (min(oldest, later[0]), max(newest, later[1]))
            for timeframe, later in zip(TIMEFRAMES, bars, strict=True)
            for oldest, newest in [kept.get(timeframe, _NO_BARS)]
        },
    )
    following = max(next_id, later_id)
    first_id = first_id if first_id >= 0 else later_first_id
    # Of a gap that begins in rows that were deleted for their age, the part that follows them is left.
    gaps = [(gap, clipped(ranges, first_id if gap.to_id >= first_id else -1, gap.to_id)) for gap, ranges in gaps]
    if following >= 0:
        ledger.continuity.resume(
            name,
            first_id=first_id,
            next_id=following,
            last_ns=newest_ns,
            live=bool(live),
            gaps=gaps,
        )


def _unrepaired(connection: Connection, ledger: Ledger) -> dict[str, _HeldGaps]:
    """Return the gaps that lack ticks, by symbol."""
    found: dict[str, _HeldGaps] = {}
    for gap, ranges in Tables(ledger.symbols, ledger.archive).gaps(connection, "status <> 'repaired'"):
        found.setdefault(gap.symbol, []).append((gap, ranges))
    return found


def _last_flush(connection: Connection, since: int, watermark_ns: int) -> tuple[int, int]:
    """Return the number of the last flush that stored rows, and the newest watermark."""
    flush, newest_ns = connection.execute(
        "SELECT max(flush), max(watermark_ns) FROM tick WHERE flush > ?", [since]
    ).fetchone()
    flushes = [since, flush or 0]
    for timeframe in TIMEFRAMES:
        (flush,) = connection.execute(f"SELECT max(flush) FROM bar_{timeframe} WHERE flush > ?", [since]).fetchone()
        flushes.append(flush or 0)
    return max(flushes), max(watermark_ns, newest_ns or 0)


def _by_symbol(connection: Connection, sql: str, *parameters: Any) -> dict[int, tuple[int, ...]]:
    """Return rows of integers by their first column."""
    rows: list[tuple[int, ...]] = connection.execute(sql, list(parameters)).fetchall()
    return {row[0]: row[1:] for row in rows}
