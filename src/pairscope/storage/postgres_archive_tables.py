"""The archive's bookkeeping in PostgreSQL: its catalogue, in numbered changes, and the files that are no part of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from pairscope.storage.archive_catalogue import ArchivedFile
from pairscope.storage.archive_tables import CatalogueRow, Litter
from pairscope.storage.postgres_pool import Session

__all__ = [
    "ARCHIVE_LOCK", "WAIT_MS", "add_files", "announce", "doom", "drop_files", "drop_litter", "hold_out_readers",
    "litter", "read_rows", "settle",
]  # fmt: skip

ARCHIVE_LOCK: Final = 7_035_284_120
"""The advisory lock of whoever moves or deletes days: one transaction at a time."""

WAIT_MS: Final = 250
"""So long whoever comes waits while earlier reads end; then all go on, and it is tried again."""

_FIELDS: Final = (
    "kind, symbol, day, place, path, rows, first_ns, last_ns, first_recv_ns, last_recv_ns, bytes, first_id, last_id, "
    "sha256"
)


def read_rows(session: Session, id_of: Callable[[str], int], *, since: int = 0) -> list[CatalogueRow]:
    """Return the files that changes above ``since`` have entered, by (day, symbol, kind)."""
    return [
        CatalogueRow(
            ArchivedFile(
                row["kind"], id_of(row["symbol"]), row["day"], row["place"], row["path"], row["rows"], row["first_ns"],
                row["last_ns"], row["first_recv_ns"], row["last_recv_ns"], row["bytes"],
            ),
            row["first_id"], row["last_id"], row["sha256"],
        )
        for row in session.rows(f"SELECT {_FIELDS} FROM archive WHERE version > $1 ORDER BY day, symbol, kind", since)
    ]  # fmt: skip


def add_files(session: Session, rows: Sequence[CatalogueRow], name_of: Callable[[int], str]) -> None:
    """Enter files, each in place of the one of its kind, symbol and day; under ``ARCHIVE_LOCK``."""
    version = _change(session, "archive")
    session.run_many(
        f"INSERT INTO archive ({_FIELDS}, version) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) "
        "ON CONFLICT (symbol, kind, day) DO UPDATE SET place = excluded.place, path = excluded.path, "
        "rows = excluded.rows, first_ns = excluded.first_ns, last_ns = excluded.last_ns, "
        "first_recv_ns = excluded.first_recv_ns, last_recv_ns = excluded.last_recv_ns, first_id = excluded.first_id, "
        "last_id = excluded.last_id, bytes = excluded.bytes, sha256 = excluded.sha256, version = excluded.version",
        [
            (
                f.kind, name_of(f.symbol_id), f.day, f.place, f.path, f.rows, f.first_ns, f.last_ns, f.first_recv_ns,
                f.last_recv_ns, f.bytes, row.first_id, row.last_id, row.sha256, version,
            )
            for row, f in ((row, row.file) for row in rows)
        ],
    )  # fmt: skip


def drop_files(session: Session, files: Iterable[Litter]) -> None:
    """Take files out of the catalogue; from then on they are doomed litter. Under ``ARCHIVE_LOCK``."""
    gone = list(files)
    if not gone:
        return
    version = _change(session, "archive")
    session.run("UPDATE meta SET value = $1 WHERE key = 'archive_gone'", version)
    session.run_many("DELETE FROM archive WHERE place = $1 AND path = $2", gone)
    announce(session, gone, doomed=True)


def _change(session: Session, key: str) -> int:
    [row] = session.rows("UPDATE meta SET value = value + 1 WHERE key = $1 RETURNING value", key)
    return int(row["value"])


def announce(session: Session, files: Sequence[Litter], *, doomed: bool = False) -> None:
    """Note files that are about to be placed, or that are to be removed."""
    session.run_many(
        "INSERT INTO archive_litter (place, path, doomed) VALUES ($1, $2, $3) "
        "ON CONFLICT (place, path) DO UPDATE SET doomed = excluded.doomed",
        [(place, path, doomed) for place, path in files],
    )


def settle(session: Session, files: Sequence[Litter]) -> bool:
    """Take files that were announced for part of the archive; False where one is being removed, or is gone."""
    kept = session.rows(
        "DELETE FROM archive_litter AS l USING unnest($1::text[], $2::text[]) AS f(place, path) "
        "WHERE l.place = f.place AND l.path = f.path AND NOT l.doomed RETURNING 1",
        [place for place, _ in files],
        [path for _, path in files],
    )
    return len(kept) == len(files)


def doom(session: Session, *, older_s: float, files: Sequence[Litter] = ()) -> list[Litter]:
    """Mark litter for removal: files, and whatever was noted so long ago; return all that is to be removed.

    A file that has become part of the archive is litter no more, and is none of them.
    """
    return [
        (row["place"], row["path"])
        for row in session.rows(
            "UPDATE archive_litter AS l SET doomed = true WHERE doomed "
            "OR noted <= clock_timestamp() - $1::float8 * interval '1 second' "
            "OR (place, path) IN (SELECT * FROM unnest($2::text[], $3::text[])) RETURNING place, path",
            older_s,
            [place for place, _ in files],
            [path for _, path in files],
        )
    ]


def drop_litter(session: Session, files: Sequence[Litter]) -> None:
    """Forget files that are gone."""
    session.run_many("DELETE FROM archive_litter WHERE place = $1 AND path = $2", list(files))


def litter(session: Session) -> list[Litter]:
    """Return the files that may lie in an archive without being part of it."""
    return [(row["place"], row["path"]) for row in session.rows("SELECT place, path FROM archive_litter")]


def hold_out_readers(session: Session, *, tries: int = 1) -> None:
    """Wait until nobody reads or writes who has looked at the catalogue before, and let nobody look until the commit.

    Whoever reads or writes holds ``tick_data`` from the statement that looks at the catalogue on: see
    :class:`pairscope.storage.postgres_ledger.SharedLedger`. Raises ``StoreUnavailable`` where that never ends.
    """
    session.rows("SELECT set_config('lock_timeout', $1, true)", f"{WAIT_MS}ms")
    session.run(
        f"DO $$ BEGIN FOR k IN 1..{tries:d} LOOP "
        "BEGIN LOCK TABLE ONLY tick_data IN ACCESS EXCLUSIVE MODE; RETURN; "
        "EXCEPTION WHEN lock_not_available OR deadlock_detected THEN PERFORM pg_sleep(0.3 + random() / 2); END; "
        "END LOOP; "
        "RAISE lock_not_available USING MESSAGE = 'a read takes too long for days to be moved'; END $$"
    )
