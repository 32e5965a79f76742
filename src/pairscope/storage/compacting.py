"""A store's file written anew without the room that deleted rows left, and put in its place once it is proved equal."""

from __future__ import annotations

import os
from pathlib import Path

from pairscope.errors import StorageError
from pairscope.storage.tables import Connection

__all__ = ["copy_whole", "put_in_place"]


def copy_whole(connection: Connection, target: Path) -> None:
    """Copy the database that a connection has open into a new file, and compare every table by count and digest.

    Needs room for the copy beside the file. ``StorageError`` where the two differ; the copy is then removed.
    """
    for left in (target, target.with_name(target.name + ".wal")):
        left.unlink(missing_ok=True)
    (source,) = connection.execute("SELECT current_database()").fetchone()
    connection.execute(f"ATTACH '{_quoted(target)}' AS compacted")
    try:
        connection.execute(f'COPY FROM DATABASE "{source}" TO compacted')
        connection.execute("CHECKPOINT compacted")
        tables = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY table_name", [source]
        ).fetchall()
        differ = [
            name
            for (name,) in tables
            if _digest(connection, f'"{source}"."{name}"') != _digest(connection, f'compacted."{name}"')
        ]
    finally:
        connection.execute("DETACH compacted")
    if differ:
        target.unlink(missing_ok=True)
        raise StorageError(f"the compacted copy differs in {', '.join(differ)}; the store stays as it is")


def put_in_place(written: Path, path: Path) -> None:
    """Put a copy in a closed file's place. ``StorageError`` where that left a log, which is not the copy's."""
    if path.with_name(path.name + ".wal").exists():
        raise StorageError(f"{path} left a log when it was closed; the store stays as it is")
    handle = os.open(written, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    written.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _digest(connection: Connection, table: str) -> tuple[object, ...]:
    found: tuple[object, ...] = connection.execute(
        f"SELECT count(*), bit_xor(hash(t)), sum(hash(t)::HUGEINT) FROM {table} AS t"
    ).fetchone()
    return found


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
