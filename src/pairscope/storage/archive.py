"""Old days on their way into the archive and out of it: written, proved equal, placed, and only then removed here."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog

from pairscope.errors import StoreUnavailable
from pairscope.storage.archive_catalogue import KINDS, ArchivedFile
from pairscope.storage.archive_moving import fault_of, move_days, place_parts, remove_files
from pairscope.storage.archive_parts import Part, first_left, movable, of_day, write_parts
from pairscope.storage.archive_place import Place, archive_beside, register_places
from pairscope.storage.archive_tables import (
    add_files,
    add_litter,
    drop_files,
    drop_litter,
    litter,
    read_rows,
)
from pairscope.storage.kept_days import KeptDay, kept_days, used_bytes
from pairscope.storage.ledger import NEVER, LedgerView
from pairscope.storage.tables import Connection
from pairscope.storage.upkeep import Moved, Progress, never, untold
from pairscope.storage.writing import Writing

__all__ = ["Upkeep"]

_log = structlog.get_logger(__name__)
T = TypeVar("T")


class _File(Protocol):
    """What is asked of the store's file."""

    @property
    def path(self) -> Path: ...

    @property
    def view(self) -> LedgerView: ...

    @property
    def upkeep(self) -> Upkeep: ...

    async def aside(self, work: Callable[[Connection, LedgerView], T]) -> T: ...

    async def within(self, work: Callable[[Writing], T]) -> T: ...

    async def earlier_reads_end(self) -> bool: ...

    async def read_ledger_again(self) -> None: ...

    async def compact(self) -> float: ...


def _nothing(_: str) -> None:
    """Stands for whoever looks on."""


class Upkeep:
    """Moves, deletes and checks whole days of one store; one thing at a time. ``on_step`` hears of each step.

    A day's rows are read and written beside all other work; what they replace is removed in one short transaction that
    also enters the files in the catalogue. Whenever the process ends, a row is in the store or in a catalogued file,
    and a read finds it once: a file that no catalogue has is as good as none, and is removed by the next ``sweep``.
    """

    archives = True

    def __init__(self, file: _File, *, on_step: Callable[[str], None] = _nothing) -> None:
        self._file = file
        self._lock = asyncio.Lock()
        self.on_step = on_step
        self._swept = False

    # -- what there is -------------------------------------------------------------------------------------------------

    async def days(
        self,
        symbol: str | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        *,
        uploads: bool = True,
    ) -> list[KeptDay]:
        """Return what is kept of each day and symbol, stored or archived; see ``kept_days``. Counts all stored rows."""
        return await self._file.aside(lambda con, view: kept_days(con, view, symbol, start_ns, end_ns, uploads=uploads))

    @property
    def default_place(self) -> str:
        """Where files go that are given no place."""
        return str(archive_beside(self._file.path))

    def totals(self) -> dict[str, int]:
        """Return how many ``files``, ``bytes``, ``ticks`` and ``bars`` the archive has, from memory."""
        return self._file.view.archive.totals()

    async def used_bytes(self) -> int:
        """Return the bytes of the store's file that hold something, and of its log."""
        return await self._file.aside(lambda con, _: used_bytes(con))

    async def free_bytes(self) -> int:
        """Return the bytes that are free on the disk of the store's file."""
        return (await asyncio.to_thread(shutil.disk_usage, self._file.path.parent)).free

    # -- into the archive ----------------------------------------------------------------------------------------------

    async def archive(
        self,
        before_day: int,
        *,
        symbols: Collection[str] = (),
        place: str = "",
        progress: Progress = untold,
        cancelled: Callable[[], bool] = never,
    ) -> Moved:
        """Move the rows of days before a day, of some symbols or all, to files; return how much that was.

        Uploaded bars stay. A day that is archived already is merged with what came of it since. ``place`` is a
        directory or an address that fsspec knows; without one it is a directory beside the store.
        Cancelled, it ends behind the files under way. Cost: rows are read twice and written once.
        """
        async with self._lock:
            Place(self._file.view.archive.beside, place).demand()
            await self._sweep()
            todo = await self._file.aside(lambda con, view: movable(con, view, before_day, symbols))

            async def move(day: int, ids: Sequence[int]) -> Sequence[Part]:
                write = partial(write_parts, day=day, ids=ids, place=place, scratch=self._scratch())
                parts = await self._file.aside(write)
                if parts:
                    await self._move(parts)
                return parts

            return await move_days(todo, move, progress=progress, cancelled=cancelled)

    async def _move(self, parts: Sequence[Part]) -> None:
        """Place written files, have readers look there, and remove their rows here."""
        self.on_step("written")
        names = [(part.file.place, part.file.path) for part in parts]
        old = [part.prior for part in parts if part.prior is not None]
        self._swept = False
        await self._file.within(lambda writing: add_litter(writing.connection, names))
        self.on_step("announced")
        await asyncio.to_thread(place_parts, self._file.view.archive.beside, parts)
        self.on_step("placed")
        try:
            await self._file.within(lambda writing: _have_read(writing, parts))
            if not await self._file.earlier_reads_end():
                raise StoreUnavailable("a read takes too long for its rows to be moved", hint="they are next time")
            self.on_step("readable")
            await self._file.within(lambda writing: self._settle(writing, parts, old))
        except BaseException:
            await self._file.read_ledger_again()
            raise
        self.on_step("committed")
        self._swept = True
        await self._remove([(file.place, file.path) for file in old])
        self.on_step("cleaned")

    def _settle(self, writing: Writing, parts: Sequence[Part], old: Sequence[ArchivedFile]) -> None:
        """Remove moved rows, enter their files: the one transaction that moves a chunk."""
        ledger, connection = writing.ledger, writing.connection
        if any(ledger.archive.at(*part.file.key) != part.file for part in parts):
            raise StoreUnavailable("the ledger was read again meanwhile", hint="the rows are moved next time")
        flush = max(part.flush for part in parts)
        for kind in KINDS:
            mine = [part for part in parts if part.file.kind == kind]
            if not mine:
                continue
            (count,) = connection.execute(
                f"DELETE FROM {kind} WHERE symbol_id IN (SELECT unnest(?::INTEGER[])) AND flush <= ? AND "
                f"{of_day(kind, mine[0].file.day)}",
                [[part.file.symbol_id for part in mine], flush],
            ).fetchone()
            if count != sum(part.moved for part in mine):
                raise StoreUnavailable("rows changed while they were moved", hint="they are moved next time")
        drop_files(connection, old)
        settled = add_files(connection, [part.row for part in parts])
        drop_litter(connection, [(file.place, file.path) for file in settled])
        writing.save()
        ledger.archive = ledger.archive.changed(settled, ())
        self.on_step("committing")

    # -- out of it -----------------------------------------------------------------------------------------------------

    async def forget(
        self, days: Iterable[int], *, progress: Progress = untold, cancelled: Callable[[], bool] = never
    ) -> Moved:
        """Delete days, oldest first, each in one transaction: ticks and bars, stored and archived; uploads stay.

        Gaps before the first tick that is left of a symbol are forgotten, and the ledger begins there.
        """
        gone = dict.fromkeys(("days", "ticks", "bars", "files", "bytes"), 0)
        async with self._lock:
            await self._sweep()
            todo = sorted(days)
            for k, day in enumerate(todo):
                if cancelled():
                    break
                files, ticks, bars = await self._file.within(partial(self._forget, day=day))
                self.on_step("forgotten")
                if not await self._file.earlier_reads_end():
                    _log.warning("files of the archive are removed later: a read takes long")
                else:
                    await self._remove([(file.place, file.path) for file in files])
                self.on_step("removed")
                gone["days"] += 1
                gone["ticks"] += ticks
                gone["bars"] += bars
                gone["files"] += len(files)
                gone["bytes"] += sum(file.bytes for file in files)
                progress(k + 1, len(todo))
        return gone

    def _forget(self, writing: Writing, *, day: int) -> tuple[list[ArchivedFile], int, int]:
        """Delete a day within a transaction; return its files, and how many ticks and bars it had."""
        ledger, connection = writing.ledger, writing.connection
        files = [file for file in ledger.archive if file.day == day]
        touched: dict[int, int] = {}
        bars = 0
        for file in files:
            touched[file.symbol_id] = touched.get(file.symbol_id, 0) + (file.rows if file.kind == "tick" else 0)
            bars += file.rows if file.kind != "tick" else 0
        for kind in KINDS:
            where = of_day(kind, day)
            for symbol_id, count in connection.execute(
                f"SELECT symbol_id, count(*) FROM {kind} WHERE {where} GROUP BY symbol_id"
            ).fetchall():
                touched[symbol_id] = touched.get(symbol_id, 0) + (count if kind == "tick" else 0)
                bars += count if kind != "tick" else 0
            connection.execute(f"DELETE FROM {kind} WHERE {where}")
        drop_files(connection, files)
        ledger.archive = ledger.archive.changed((), (file.key for file in files))
        left = first_left(connection, sorted(touched))
        for symbol_id, ticks in touched.items():
            first_id, first_ns, oldest = left.get(symbol_id, (None, NEVER, {"1s": NEVER, "1m": NEVER}))
            kept_from = NEVER if first_id is None else first_id
            connection.execute("DELETE FROM gap WHERE symbol_id = ? AND to_id < ?", [symbol_id, kept_from])
            connection.execute("DELETE FROM void_id WHERE symbol_id = ? AND id < ?", [symbol_id, kept_from])
            ledger.forget(ledger.symbols[symbol_id], ticks=ticks, first_id=first_id, first_ns=first_ns, oldest=oldest)
        writing.added_bars -= bars
        writing.save()
        writing.stale = True
        self.on_step("forgetting")
        return files, sum(touched.values()), bars

    # -- looking after it ----------------------------------------------------------------------------------------------

    async def compact(self) -> float:
        """Write the store's file anew without unused room; return for how many seconds reads waited."""
        async with self._lock:
            return await self._file.compact()

    async def check(self, *, repair: bool, progress: Progress = untold, spool: Path | None = None) -> Mapping[str, Any]:
        """Look whether all is whole; see ``check_store``."""
        from pairscope.storage.integrity import check_store

        return await check_store(self._file, repair=repair, progress=progress, spool=spool)

    async def check_archive(self, progress: Progress = untold) -> list[dict[str, Any]]:
        """Read every file of the archive; return ``file`` and ``reason`` of those that are not as catalogued.

        ``answered``: whether its place told of the file at all.
        """
        rows = await self._file.aside(lambda con, _: read_rows(con))
        faults: list[dict[str, Any]] = []
        for k, row in enumerate(rows):
            beside = self._file.view.archive.beside

            reason, answered = await asyncio.to_thread(fault_of, Place(beside, row.file.place), row)
            if not reason:
                reason = await self._file.aside(partial(_counted, file=row.file))
            if reason:
                told = {"file": row.file.path, "place": row.file.place, "reason": reason, "answered": answered}
                faults.append(told)
            progress(k + 1, len(rows))
        return faults

    async def sweep(self) -> int:
        """Remove files that an archive may have without their being part of it; return how many were looked for."""
        async with self._lock:
            return await self._sweep()

    async def _sweep(self) -> int:
        if self._swept:
            return 0
        scratch = self._scratch()
        await asyncio.to_thread(_empty, scratch)
        left = await self._file.aside(lambda con, _: litter(con))
        if left and await self._file.earlier_reads_end():
            await self._remove(left)
        self._swept = True
        return len(left)

    async def _remove(self, files: Sequence[tuple[str, str]]) -> None:
        """Remove files that are no part of the archive any more, and forget them; those that resist stay noted."""
        if not files:
            return
        gone = await asyncio.to_thread(remove_files, self._file.view.archive.beside, files)
        self._swept = self._swept and len(gone) == len(files)
        await self._file.within(lambda writing: drop_litter(writing.connection, gone))

    def _scratch(self) -> Path:
        return self._file.path.with_name(self._file.path.name + ".archiving")


def _have_read(writing: Writing, parts: Sequence[Part]) -> None:
    """Let reads look into files whose rows are still in the store: each row counts once."""
    register_places(writing.connection, {part.file.place for part in parts})
    writing.ledger.archive = writing.ledger.archive.changed((part.file for part in parts), ())


def _counted(connection: Connection, view: LedgerView, file: ArchivedFile) -> str:
    (rows,) = connection.execute(f"SELECT count(*) FROM {view.archive.rows_of([file])}").fetchone()
    return "" if rows == file.rows else f"it has {rows} rows, not {file.rows}"


def _empty(scratch: Path) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    for left in scratch.iterdir():
        left.unlink(missing_ok=True)
