"""A day of a symbol as one Parquet file, written from what the store and an earlier file have, and read back."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from urllib.parse import quote

from pairscope.errors import StorageError
from pairscope.storage.archive_catalogue import DAY_NS, KINDS, ArchivedFile, fields_of
from pairscope.storage.archive_place import sha256_of
from pairscope.storage.archive_tables import CatalogueRow
from pairscope.storage.ledger import NEVER, LedgerView
from pairscope.storage.tables import Connection

__all__ = ["Part", "date_of", "day_of", "first_left", "movable", "of_day", "write_parts"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Part:
    """A file that was written and proved, and is not placed yet.

    ``moved`` rows of it are the store's, appended by the flush ``flush`` at the latest; the others are of ``prior``.
    """

    row: CatalogueRow
    written: Path
    moved: int
    flush: int
    prior: ArchivedFile | None

    @property
    def file(self) -> ArchivedFile:
        """The file as reads must know it."""
        return self.row.file

    @property
    def sha256(self) -> str:
        """Its SHA-256, as hex."""
        return self.row.sha256


def date_of(day: int) -> str:
    """Return a day by its date.

    >>> date_of(20000)
    '2024-10-04'
    """
    return (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")


def day_of(date: datetime) -> int:
    """Return the number of a date's day, from 1970 on.

    >>> day_of(datetime(2024, 10, 4, tzinfo=UTC))
    20000
    """
    return (date - _EPOCH).days


def of_day(kind: str, day: int) -> str:
    """Return the condition that holds for a day's rows of a table, without uploaded bars."""
    time = "ts_event_ns" if kind == "tick" else "ts_open_ns"
    uploads = "" if kind == "tick" else " AND origin <> 2"
    return f"{time} >= {day * DAY_NS} AND {time} < {(day + 1) * DAY_NS}{uploads}"


def movable(
    connection: Connection, view: LedgerView, before_day: int, symbols: Collection[str]
) -> list[tuple[int, int, int]]:
    """Return (day, symbol id, rows) of what the store has before a day and an archive may take, oldest first."""
    parts = []
    for kind in KINDS:
        time = "ts_event_ns" if kind == "tick" else "ts_open_ns"
        uploads = "" if kind == "tick" else " AND origin <> 2"
        parts.append(f"SELECT {time} // {DAY_NS} AS day, symbol_id FROM {kind} WHERE {time} < ?{uploads}")
    high = before_day * DAY_NS
    rows = connection.execute(
        f"SELECT day, symbol_id, count(*) FROM ({' UNION ALL '.join(parts)}) GROUP BY ALL ORDER BY ALL",
        [high] * len(KINDS),
    ).fetchall()
    wanted = {view.find(symbol) for symbol in symbols}
    return [row for row in rows if not symbols or row[1] in wanted]


def write_parts(
    connection: Connection, view: LedgerView, *, day: int, ids: Sequence[int], place: str, scratch: Path
) -> list[Part]:
    """Write a day of some symbols into files under ``scratch``, all from one state of the store."""
    connection.execute("BEGIN")
    try:
        found = (_write(connection, view, (kind, at, day), place, scratch) for at in ids for kind in KINDS)
        return [part for part in found if part is not None]
    finally:
        connection.execute("ROLLBACK")


def _write(
    connection: Connection, view: LedgerView, key: tuple[str, int, int], place: str, scratch: Path
) -> Part | None:
    """Write one file; None where the store has no row of it."""
    kind, symbol_id, day = key
    own = f"symbol_id = {symbol_id} AND {of_day(kind, day)}"
    moved, flush = connection.execute(f"SELECT count(*), max(flush) FROM {kind} WHERE {own}").fetchone()
    if not moved:
        return None
    prior = view.archive.at(*key)
    order = "id" if kind == "tick" else "ts_open_ns"
    fields = ", ".join(fields_of(kind))
    rows = f"SELECT {fields} FROM {kind} WHERE {own}"
    if prior is not None:
        rows += (
            f" UNION ALL SELECT {fields} FROM {view.archive.rows_of([prior])} "
            f"WHERE a.{order} NOT IN (SELECT {order} FROM {kind} WHERE {own})"
        )
    scratch.mkdir(parents=True, exist_ok=True)
    written = scratch / f"{kind}-{symbol_id}-{day}.parquet"
    name = str(written).replace("'", "''")
    connection.execute(
        f"COPY ({rows} ORDER BY {order}) TO '{name}' (FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2)"
    )
    back = f"SELECT {fields} FROM read_parquet('{name}', hive_partitioning = false)"
    if _digest(connection, rows, fields) != _digest(connection, back, fields):
        raise StorageError(f"{written} does not read back as it was written", hint="look at the disk")
    file, first_id, last_id = _described(connection, back, key, written, place, view.symbols[symbol_id])
    with written.open("rb") as handle:
        os.fsync(handle.fileno())
    return Part(CatalogueRow(file, first_id, last_id, sha256_of(written)), written, moved, flush, prior)


def _described(
    connection: Connection,
    rows: str,
    key: tuple[str, int, int],
    written: Path,
    place: str,
    symbol: str,
) -> tuple[ArchivedFile, int, int]:
    """Return what the catalogue says of a written file."""
    kind, symbol_id, day = key
    time, received = ("ts_event_ns", "ts_recv_ns") if kind == "tick" else ("ts_open_ns", "ts_open_ns")
    low, high = ("id", "id") if kind == "tick" else ("first_id", "last_id")
    spans: list[int]
    count, *spans = connection.execute(
        f"SELECT count(*), min({time}), max({time}), min({received}), max({received}), min({low}), max({high}) "
        f"FROM ({rows})"
    ).fetchone()
    folder = "ticks" if kind == "tick" else f"bars/timeframe={kind.removeprefix('bar_')}"
    path = f"{folder}/date={date_of(day)}/symbol={quote(symbol, safe='')}/{token_hex(10)}.parquet"
    times = spans[0], spans[1], spans[2], spans[3]
    size = written.stat().st_size
    file = ArchivedFile(kind, symbol_id, day, place, path, count, *times, size, settling=True)
    return file, spans[4], spans[5]


def first_left(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[int | None, int, dict[str, int]]]:
    """Return first trade id, its time and the oldest bars by timeframe of symbols that have rows left."""
    found: dict[int, tuple[int | None, int, dict[str, int]]] = {}

    def known(symbol_id: int) -> tuple[int | None, int, dict[str, int]]:
        return found.get(symbol_id, (None, NEVER, {"1s": NEVER, "1m": NEVER}))

    mine = "symbol_id IN (SELECT unnest(?::INTEGER[]))"
    for symbol_id, first_id, first_ns in connection.execute(
        f"SELECT symbol_id, min(id), arg_min(ts_event_ns, id) FROM tick WHERE {mine} GROUP BY symbol_id UNION ALL "
        f"SELECT symbol_id, min(first_id), arg_min(first_ns, first_id) FROM archive WHERE kind = 'tick' AND {mine} "
        "GROUP BY symbol_id",
        [ids, ids],
    ).fetchall():
        before, _, oldest = known(symbol_id)
        if before is None or first_id < before:
            found[symbol_id] = first_id, first_ns, oldest
    for timeframe in ("1s", "1m"):
        for symbol_id, oldest_ns in connection.execute(
            f"SELECT symbol_id, min(ts_open_ns) FROM bar_{timeframe} WHERE {mine} GROUP BY symbol_id UNION ALL "
            f"SELECT symbol_id, min(first_ns) FROM archive WHERE kind = 'bar_{timeframe}' AND {mine} "
            "GROUP BY symbol_id",
            [ids, ids],
        ).fetchall():
            first_id, first_ns, oldest = known(symbol_id)
            found[symbol_id] = first_id, first_ns, {**oldest, timeframe: min(oldest[timeframe], oldest_ns)}
    return found


def _digest(connection: Connection, rows: str, fields: str) -> tuple[object, ...]:
    """Return a count and digests of rows that do not depend on their order."""
    found: tuple[object, ...] = connection.execute(
        f"SELECT count(*), bit_xor(hash({fields})), sum(hash({fields})::HUGEINT) FROM ({rows})"
    ).fetchone()
    return found
