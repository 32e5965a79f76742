"""The SQL of the archive's bookkeeping: its catalogue, and the files that may lie there without being part of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pairscope.storage.archive_catalogue import ArchivedFile, Catalogue
from pairscope.storage.tables import Connection

__all__ = [
    "CatalogueRow", "add_files", "add_litter", "drop_files", "drop_litter", "litter", "read_catalogue", "read_rows",
]  # fmt: skip

Litter = tuple[str, str]
"""A place and a path in it."""


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """All that the catalogue says of a file."""

    file: ArchivedFile
    first_id: int
    last_id: int
    sha256: str


def read_rows(connection: Connection) -> list[CatalogueRow]:
    """Return the catalogue as stored, by (day, symbol id, kind)."""
    rows = connection.execute(
        "SELECT kind, symbol_id, day, place, path, rows, first_ns, last_ns, first_recv_ns, last_recv_ns, bytes, "
        "first_id, last_id, sha256 FROM archive ORDER BY day, symbol_id, kind"
    ).fetchall()
    return [CatalogueRow(ArchivedFile(*row[:11]), *row[11:]) for row in rows]


def read_catalogue(connection: Connection, beside: Path) -> Catalogue:
    """Return the catalogue that the store holds."""
    return Catalogue.of(beside, (row.file for row in read_rows(connection)))


def add_files(connection: Connection, rows: Sequence[CatalogueRow]) -> list[ArchivedFile]:
    """Enter files in the catalogue and return them as settled."""
    kinds = (
        "VARCHAR", "INTEGER", "INTEGER", "VARCHAR", "VARCHAR", *["BIGINT"] * 8, "VARCHAR",
    )  # fmt: skip
    if rows:
        table = [
            (
                f.kind, f.symbol_id, f.day, f.place, f.path, f.rows, f.first_ns, f.last_ns, f.first_recv_ns,
                f.last_recv_ns, row.first_id, row.last_id, f.bytes, row.sha256,
            )
            for row, f in ((row, row.file) for row in rows)
        ]  # fmt: skip
        values = ", ".join(f"unnest(?::{kind}[])" for kind in kinds)
        connection.execute(
            f"INSERT INTO archive SELECT {values}", [list(column) for column in zip(*table, strict=True)]
        )
    return [replace(row.file, settling=False) for row in rows]


def drop_files(connection: Connection, files: Iterable[ArchivedFile]) -> None:
    """Take files out of the catalogue; from then on they are litter."""
    gone = [(file.place, file.path) for file in files]
    if gone:
        connection.execute(
            "DELETE FROM archive WHERE (place, path) IN (SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]))",
            [[place for place, _ in gone], [path for _, path in gone]],
        )
        add_litter(connection, gone)


def add_litter(connection: Connection, files: Sequence[Litter]) -> None:
    """Note files that may lie in an archive without being part of it."""
    if files:
        connection.execute(
            "INSERT INTO archive_litter SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
            [[place for place, _ in files], [path for _, path in files]],
        )


def drop_litter(connection: Connection, files: Sequence[Litter]) -> None:
    """Forget files that are gone, or part of the archive now."""
    if files:
        connection.execute(
            "DELETE FROM archive_litter WHERE (place, path) IN (SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]))",
            [[place for place, _ in files], [path for _, path in files]],
        )


def litter(connection: Connection) -> list[Litter]:
    """Return the files that may lie in an archive without being part of it."""
    found: list[Litter] = connection.execute("SELECT place, path FROM archive_litter").fetchall()
    return found
