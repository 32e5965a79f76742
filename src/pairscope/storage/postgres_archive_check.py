"""The archive of PostgreSQL as it is looked at: its catalogue against its files, and what takes a file out of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pairscope.market.symbols import Symbols
from pairscope.storage.archive_catalogue import ArchivedFile
from pairscope.storage.archive_tables import CatalogueRow, Litter
from pairscope.storage.integrity_mending import SetAside
from pairscope.storage.postgres_archive import PostgresArchive
from pairscope.storage.postgres_archive_tables import (
    ARCHIVE_LOCK,
    drop_files,
    drop_litter,
    hold_out_readers,
    litter,
    read_rows,
)
from pairscope.storage.postgres_ledger import SharedLedger
from pairscope.storage.postgres_pool import PostgresPool, Session
from pairscope.storage.upkeep import untold

__all__ = ["CheckedShelves", "set_file_aside"]


class CheckedShelves:
    """``Shelves`` of one database; ``count`` is how many files the catalogue had when it was read."""

    def __init__(self, pool: PostgresPool, archive: PostgresArchive) -> None:
        self._pool = pool
        self._archive = archive
        self._symbols = Symbols()
        self.beside = Path()
        self.count = 0

    async def rows(self) -> list[CatalogueRow]:
        """Return the catalogue as stored."""
        found = await self._pool.read(lambda session: read_rows(session, self._symbols.id_of))
        self.count = len(found)
        return found

    async def faults(self) -> list[dict[str, Any]]:
        """Return what is wrong with files."""
        return await self._archive.check(untold)

    async def litter(self) -> list[Litter]:
        """Return the files that may lie there without being part of it."""
        return await self._pool.read(litter)

    def name(self, file: ArchivedFile) -> str:
        """Return the symbol that a file is of."""
        return self._symbols[file.symbol_id]

    async def uncatalogue(self, file: ArchivedFile) -> None:
        """Take a file out of the catalogue, with what counts its bars; those of ticks are counted again."""
        name, lost = self.name(file), (file.place, file.path)

        def work(session: Session) -> None:
            session.rows("SELECT pg_advisory_xact_lock($1)", ARCHIVE_LOCK)
            shared = SharedLedger()
            shared.take(session, [name])
            drop_files(session, [lost])
            drop_litter(session, [lost])
            shared.save(session, [name], added_bars=0 if file.kind == "tick" else -file.rows)
            hold_out_readers(session)

        await self._pool.write(work)


def set_file_aside(path: Path) -> None:
    """Move a file of an archive to the folder ``set-aside`` of its place; nothing where it is not there."""
    root = next(parent.parent for parent in path.parents if parent.name in {"ticks", "bars"})
    SetAside(root / "set-aside").file(path)
