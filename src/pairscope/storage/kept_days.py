"""What is kept of each day and symbol, in the store and in the archive, counted in one pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pairscope.storage.archive_catalogue import DAY_NS, KINDS
from pairscope.storage.ledger import LedgerView
from pairscope.storage.tables import Connection

__all__ = ["KeptDay", "deletable", "kept_days", "used_bytes"]

_PLACES = {(True, False): "store", (False, True): "archive", (True, True): "both"}


@dataclass(frozen=True, slots=True)
class KeptDay:
    """A day of one symbol: rows here and there. ``stored_bytes`` is an estimate: its rows' share of the file."""

    day: int
    symbol: str
    ticks: int
    bars_1s: int
    bars_1m: int
    stored_ticks: int
    stored_bars: int
    stored_bytes: int
    archived_bytes: int
    archived_rows: int

    @property
    def where(self) -> str:
        """``store``, ``archive`` or ``both``."""
        return _PLACES[self.stored_ticks + self.stored_bars > 0, self.archived_rows > 0]

    @property
    def bytes(self) -> int:
        """Bytes here and there."""
        return self.stored_bytes + self.archived_bytes


def kept_days(
    connection: Connection,
    view: LedgerView,
    symbol: str | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
    *,
    uploads: bool = True,
) -> list[KeptDay]:
    """Return every day of every symbol that has rows, by (day, symbol). Reads two columns of the store's tables.

    Without ``uploads`` uploaded bars do not count: they are neither archived nor deleted for their age.
    Rows of a bar that was corrected after it was archived count twice until its day is archived again.
    """
    low = -(2**63) if start_ns is None else start_ns // DAY_NS * DAY_NS
    high = 2**63 - 1 if end_ns is None else -(-end_ns // DAY_NS) * DAY_NS
    asked = None if symbol is None else view.find(symbol)
    if symbol is not None and asked is None:
        return []
    mine = "true" if asked is None else f"symbol_id = {asked}"
    stored: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    archived: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for k, kind in enumerate(KINDS):
        time = "ts_event_ns" if kind == "tick" else "ts_open_ns"
        whose = "true" if uploads or kind == "tick" else "origin <> 2"
        for day, symbol_id, count in connection.execute(
            f"SELECT {time} // {DAY_NS} AS day, symbol_id, count(*) FROM {kind} "
            f"WHERE {mine} AND {whose} AND {time} >= ? AND {time} < ? GROUP BY ALL",
            [low, high],
        ).fetchall():
            stored[day, symbol_id][k] += count
    for file in view.archive:
        if low <= file.day * DAY_NS < high and asked in {None, file.symbol_id}:
            there = archived[file.day, file.symbol_id]
            there[KINDS.index(file.kind)] += file.rows
            there[3] += file.bytes
    a_row = used_bytes(connection) / max(_rows(connection), 1)
    found = []
    for day, symbol_id in stored.keys() | archived.keys():
        here, there = stored.get((day, symbol_id), [0, 0, 0]), archived.get((day, symbol_id), [0, 0, 0, 0])
        ticks, seconds, minutes = (here[k] + there[k] for k in range(3))
        rows = sum(here)
        name, stored_bytes = view.symbols[symbol_id], int(rows * a_row)
        found.append(
            KeptDay(day, name, ticks, seconds, minutes, here[0], rows - here[0], stored_bytes, there[3], sum(there[:3]))
        )
    return sorted(found, key=lambda kept: (kept.day, kept.symbol))


def deletable(days: Sequence[KeptDay], *, before_day: int, oldest_day: int, spare_bytes: int | None) -> list[int]:
    """Return the days to delete, oldest first, of those before ``before_day``, which are never all that is kept.

    Those before ``oldest_day`` go for their age. Of the others the oldest go until what is left takes no more than
    ``spare_bytes``, if that is given.
    """
    sizes: dict[int, int] = defaultdict(int)
    for kept in days:
        sizes[kept.day] += kept.bytes
    left = sum(sizes.values())
    gone = []
    for day in sorted(sizes):
        if day >= before_day or not (day < oldest_day or (spare_bytes is not None and left > spare_bytes)):
            break
        gone.append(day)
        left -= sizes[day]
    return gone


def used_bytes(connection: Connection) -> int:
    """Return the bytes of the store's file that hold something, and of the log beside it, where the newest rows are."""
    (used,) = connection.execute("SELECT block_size * used_blocks FROM pragma_database_size()").fetchone()
    (path,) = connection.execute("SELECT path FROM duckdb_databases() WHERE NOT internal").fetchone()
    log = Path(f"{path}.wal")
    return int(used) + (log.stat().st_size if log.exists() else 0)


def _rows(connection: Connection) -> int:
    counts = " + ".join(f"(SELECT count(*) FROM {kind})" for kind in KINDS)
    return int(connection.execute(f"SELECT {counts}").fetchone()[0])
