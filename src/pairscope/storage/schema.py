"""Numbered migrations: plain SQL files, applied once each, in order, and remembered with a checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources

from pairscope.errors import SchemaMismatch

__all__ = ["Migration", "migrations_of", "pending"]


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: its number, its name, its SQL."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL, as hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations_of(driver: str, read: Callable[[], Sequence[tuple[str, str]]] | None = None) -> list[Migration]:
    """Return a driver's migrations in order, from files called ``<driver>_<number>_<name>.sql``.

    ``read`` gives (file name, text) pairs in place of the package's own files.
    """
    files = (
        read()
        if read
        else [
            (entry.name, entry.read_text("utf-8"))
            for entry in resources.files("pairscope.storage").joinpath("migrations").iterdir()
            if entry.name.endswith(".sql")
        ]
    )
    found = []
    for file, sql in files:
        prefix, number, name = file.removesuffix(".sql").split("_", 2)
        if prefix == driver:
            found.append(Migration(int(number), name, sql))
    return sorted(found, key=lambda m: m.number)


def pending(known: Sequence[Migration], applied: Sequence[tuple[int, str]], *, where: str) -> list[Migration]:
    """Return what is still to be applied, given the (number, checksum) of what was.

    Raises ``SchemaMismatch`` where the store has a migration that is unknown here or differs from ours.
    """
    ours = {m.number: m for m in known}
    for number, checksum in applied:
        if number not in ours:
            raise SchemaMismatch(
                f"{where} has migration {number}, this version knows {max(ours, default=0)}",
                hint="start the newer Pairscope that made it, or give this one another data directory",
            )
        if ours[number].checksum != checksum:
            raise SchemaMismatch(
                f"{where}: migration {number} ({ours[number].name}) is not the one that was applied",
                hint="start the Pairscope that made it, or give this one another data directory",
            )
    done = {number for number, _ in applied}
    return [m for m in known if m.number not in done]
