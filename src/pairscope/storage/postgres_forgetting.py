"""What goes with an old day in PostgreSQL: its partition, its bars and its files, each with the ledger's word of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pairscope.market.bars import BASE_TIMEFRAMES
from pairscope.storage.archive_catalogue import ArchivedFile
from pairscope.storage.archive_tables import Litter
from pairscope.storage.ledger import NEVER
from pairscope.storage.postgres_archive_reading import ArchivedTables, ColdFiles
from pairscope.storage.postgres_archive_tables import ARCHIVE_LOCK, WAIT_MS, drop_files, hold_out_readers
from pairscope.storage.postgres_days import bounds_of, is_hypertable, tables_of_days, ticks_of, within
from pairscope.storage.postgres_ledger import SharedLedger
from pairscope.storage.postgres_pool import Session
from pairscope.storage.postgres_time import at

__all__ = ["drop_bars", "drop_empty", "drop_ticks", "names_of_bars"]

NEAREST = 200
"""Ticks among which the lowest id of a symbol is looked for: where a range begins, ids may come in another order."""
_BASE = "timeframe IN ('1s', '1m')"


def drop_ticks(session: Session, *, day: int) -> tuple[int, int, list[Litter]]:
    """Drop a day's partition and its files of ticks, and have the ledger begin behind it.

    Returns how many ticks and bytes went, and the files, which are to be removed. Writes to that day wait from the
    count on; all else waits for the drop alone.
    """
    session.rows("SELECT pg_advisory_xact_lock($1)", ARCHIVE_LOCK)
    name, size = tables_of_days(session).get(day, ("", 0))
    files = session.rows("SELECT symbol, place, path, rows, bytes FROM archive WHERE day = $1 AND kind = 'tick'", day)
    if not name and not files:
        return 0, 0, []
    session.run(f"SET LOCAL lock_timeout = '{WAIT_MS}ms'")
    ticks: dict[str, int] = defaultdict(int)
    if name:
        session.run(f"LOCK TABLE {name} IN SHARE MODE")
        ticks.update(ticks_of(session, day=day))
    for file in files:
        ticks[file["symbol"]] += file["rows"]
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
    gone = [(file["place"], file["path"]) for file in files]
    drop_files(session, gone)
    if gone:
        hold_out_readers(session)
    if name:
        _drop(session, name, day)
    return sum(ticks.values()), size + sum(file["bytes"] for file in files), gone


def drop_empty(session: Session, *, day: int) -> bool:
    """Drop a day's partition where no row is left in it; False where there is none, or a late trade has come."""
    session.rows("SELECT pg_advisory_xact_lock($1)", ARCHIVE_LOCK)
    name, _ = tables_of_days(session).get(day, ("", 0))
    if not name or is_hypertable(session):
        return False
    session.run(f"SET LOCAL lock_timeout = '{WAIT_MS}ms'")
    session.run(f"LOCK TABLE {name} IN SHARE MODE")
    if session.rows(f"SELECT 1 FROM {name} LIMIT 1"):
        return False
    _drop(session, name, day)
    return True


def _drop(session: Session, name: str, day: int) -> None:
    if is_hypertable(session):
        session.rows(
            f"SELECT drop_chunks('tick_data', newer_than => {at('$1')}, older_than => {at('$2')})", *bounds_of(day)
        )
    else:
        session.run(f"DROP TABLE {name}")


def _first_left(session: Session, day: int, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return first trade id of each symbol outside a day, and its time; a symbol without ticks there is not in it."""
    rows = session.rows(
        "SELECT n.name, f.id, f.ns FROM unnest($3::text[]) AS n(name), LATERAL (SELECT * FROM (SELECT e.id, "
        '(extract(epoch FROM e."timestamp") * 1000000)::bigint * 1000 + e.rest_ns AS ns FROM ('
        '(SELECT id, "timestamp", rest_ns FROM tick_data WHERE symbol = n.name AND "timestamp" < '
        f'{at("$1")} ORDER BY "timestamp", id LIMIT {NEAREST}) UNION ALL '
        '(SELECT id, "timestamp", rest_ns FROM tick_data WHERE symbol = n.name AND "timestamp" >= '
        f'{at("$2")} ORDER BY "timestamp", id LIMIT {NEAREST})) AS e UNION ALL '
        "SELECT first_id, first_ns FROM archive WHERE symbol = n.name AND kind = 'tick' AND day <> $4) AS o "
        "ORDER BY o.id LIMIT 1) AS f",
        *bounds_of(day),
        list(names),
        day,
    )
    return {row["name"]: (row["id"], row["ns"]) for row in rows}


def names_of_bars(session: Session, *, day: int) -> list[str]:
    """Return the symbols that have bars of a day that go with it."""
    rows = session.rows(
        f"SELECT symbol FROM resampled_data WHERE {_BASE} AND {within('$1', '$2')} AND origin <> 2 "
        "UNION SELECT symbol FROM archive WHERE kind <> 'tick' AND day = $3 ORDER BY symbol",
        *bounds_of(day),
        day,
    )
    return [row["symbol"] for row in rows]


def drop_bars(session: Session, *, day: int, names: Sequence[str], cold: ColdFiles) -> tuple[int, list[Litter], int]:
    """Delete the bars of a day of some symbols, stored and archived, all but uploaded ones.

    Returns how many there were, each once, the files, which are to be removed, and their bytes.
    """
    session.rows("SELECT pg_advisory_xact_lock($1)", ARCHIVE_LOCK)
    shared = SharedLedger()
    shared.take(session, names)
    ledger = shared.ledger
    files = [
        file
        for name in names
        for timeframe in BASE_TIMEFRAMES
        if (file := ledger.archive.at(f"bar_{timeframe}", ledger.id_of(name), day)) is not None
    ]
    tables = ArchivedTables(ledger.symbols, ledger.archive, cold)
    twice = sum(_in_both(session, tables, file) for file in files)
    done = session.run(
        f"DELETE FROM resampled_data WHERE symbol = ANY($3::text[]) AND {_BASE} AND {within('$1', '$2')} "
        "AND origin <> 2",
        *bounds_of(day),
        list(names),
    )
    gone = [(file.place, file.path) for file in files]
    drop_files(session, gone)
    ledger.archive = ledger.archive.changed((), [file.key for file in files])
    left = ArchivedTables(ledger.symbols, ledger.archive, cold)
    for name in names:
        symbol_id = ledger.id_of(name)
        for timeframe in BASE_TIMEFRAMES:
            ledger.set_bar_span(timeframe, symbol_id, *left.bar_span(session, timeframe, symbol_id))
    count = int(done.rpartition(" ")[2]) + sum(file.rows for file in files) - twice
    shared.save(session, names, added_bars=-count)
    if gone:
        hold_out_readers(session)
    return count, gone, sum(file.bytes for file in files)


def _in_both(session: Session, tables: ArchivedTables, file: ArchivedFile) -> int:
    """Return how many bars a file has that go with the table's as well."""
    return int(tables.bars_in_both(session, file.kind.removeprefix("bar_"), file).size)
