"""Old days of PostgreSQL on their way into files: read in one state, proved, placed, removed in one transaction."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from pairscope.errors import ConfigError, StorageError, StoreUnavailable
from pairscope.market.bars import BASE_TIMEFRAMES, Origin
from pairscope.market.symbols import Symbols
from pairscope.storage.archive_catalogue import DAY_NS, KINDS, Catalogue
from pairscope.storage.archive_moving import fault_of, move_days, place_parts, remove_files
from pairscope.storage.archive_parts import Part, write_parts
from pairscope.storage.archive_place import Place, is_remote, register_places
from pairscope.storage.archive_tables import CatalogueRow, Litter
from pairscope.storage.bar_merge import BAR_FIELDS
from pairscope.storage.ledger import LedgerView
from pairscope.storage.postgres_archive_reading import ColdFiles
from pairscope.storage.postgres_archive_tables import (
    ARCHIVE_LOCK,
    add_files,
    announce,
    doom,
    drop_litter,
    hold_out_readers,
    read_rows,
    settle,
)
from pairscope.storage.postgres_ledger import SharedLedger
from pairscope.storage.postgres_pool import PostgresPool, Session
from pairscope.storage.postgres_tables import PostgresTables
from pairscope.storage.postgres_time import at, microseconds
from pairscope.storage.reading import gathered
from pairscope.storage.tables import Connection, Tables
from pairscope.storage.upkeep import Moved, Progress

__all__ = ["PostgresArchive", "demand_place"]

_log = structlog.get_logger(__name__)

LEFTOVER_S: Final = 900.0
"""What was announced so long ago and is no part of the archive is of a run that was broken off."""
_PATIENT: Final = 40
"""How often a move asks to be let in between reads; it holds up nobody in between."""
_QUARTER_NS: Final = 15 * 60_000_000_000
_PARTS: Final = 6
_MEMORY_MB: Final = 512
_SCRATCH: Final = "pairscope-archiving-"
_BESIDE: Final = Path()
"""No file of this archive is without a place."""

_Digests = dict[tuple[str, str], tuple[int, int]]
"""By kind and symbol: how many rows, and what they say, whatever their order."""


@dataclass(frozen=True, slots=True)
class _Exported:
    """Rows of a day of some symbols as they were in one state of the database."""

    view: LedgerView
    ids: list[int]
    digests: _Digests


def _nothing(_: str) -> None:
    """Stands for whoever looks on."""


class PostgresArchive:
    """Moves whole days of one database to files that every process reaches. ``on_step`` hears of each step.

    A day's rows are read in one state beside all other work, written and proved as in the embedded store, and placed.
    One transaction then removes them if they are still what was read, and enters the files in the catalogue. It commits
    when nobody reads by the catalogue before, so a read finds each row once. Whenever a process ends, a row is in the
    tables or in a catalogued file; other files are litter, and removed by a later ``sweep``.
    """

    def __init__(self, pool: PostgresPool, cold: ColdFiles) -> None:
        self._pool = pool
        self._cold = cold
        self._shared = SharedLedger()
        self.on_step: Callable[[str], None] = _nothing
        self.leftover_s = LEFTOVER_S

    # -- into the archive ----------------------------------------------------------------------------------------------

    async def move(
        self,
        todo: Sequence[tuple[int, str, int]],
        *,
        place: str,
        progress: Progress,
        cancelled: Callable[[], bool],
        on_day: Callable[[int], Any],
    ) -> Moved:
        """Move (day, symbol, rows), by day; ``on_day`` is awaited behind each day. Return how much was moved."""

        async def move(day: int, names: Sequence[str]) -> Sequence[Part]:
            with _scratch(place) as scratch:
                exported, parts = await self._written(day, names, place, scratch)
                if parts:
                    await self._move(exported, parts)
            await on_day(day)
            return parts

        return await move_days(todo, move, progress=progress, cancelled=cancelled)

    async def _written(self, day: int, names: Sequence[str], place: str, scratch: Path) -> tuple[_Exported, list[Part]]:
        """Write a day of some symbols into files under ``scratch``, all from one state of the database."""
        from pairscope.storage.duckdb_file import empty_store, telling

        with telling(scratch):
            store = empty_store(scratch / "rows.duckdb", memory_limit_mb=_MEMORY_MB)
        try:
            exported = await self._pool.read(partial(self._export, store=store, day=day, names=names), snapshot=True)

            def write() -> list[Part]:
                with telling(scratch):
                    register_places(store, {file.place for file in exported.view.archive if file.day == day})
                    return write_parts(store, exported.view, day=day, ids=exported.ids, place=place, scratch=scratch)

            return exported, await asyncio.to_thread(write)
        finally:
            store.close()

    def _export(self, session: Session, *, store: Connection, day: int, names: Sequence[str]) -> _Exported:
        """Copy rows into a store of their own, a bounded number at a time."""
        session.run("LOCK TABLE ONLY tick_data IN ACCESS SHARE MODE")  # before the state that is seen is fixed
        self._shared.look(session, names)
        ledger = self._shared.ledger
        digests = {key: said for kind in KINDS for key, said in _said(session, kind, day, names).items()}
        tables, staged = PostgresTables(ledger.symbols), Tables(ledger.symbols, Catalogue())
        ids = [ledger.id_of(name) for name in names]
        own = ledger.ids_of(ledger.symbols)
        low, high = day * DAY_NS, (day + 1) * DAY_NS
        for name, symbol_id in zip(names, ids, strict=True):
            for first, last in gathered(
                tables.counts(session, low, _QUARTER_NS, symbol=name, end_ns=high - 1), _QUARTER_NS
            ):
                batch = tables.symbol_ticks(session, symbol_id, max(first, low), min(last, high))
                staged.add_ticks(store, batch, own, flush=0, watermark_ns=0)
            for timeframe in BASE_TIMEFRAMES:
                bars = tables.symbol_bars(session, timeframe, symbol_id, low, high, uploads_only=False)
                bars = bars.take(bars.origin != Origin.UPLOAD)
                if len(bars):
                    staged.add_bars(store, timeframe, {field: getattr(bars, field) for field in BAR_FIELDS}, flush=0)
        return _Exported(ledger.view(), ids, digests)

    async def _move(self, exported: _Exported, parts: Sequence[Part]) -> None:
        """Place written files, and have them stand for their rows."""
        self.on_step("written")
        names = [(part.file.place, part.file.path) for part in parts]
        old = [(part.prior.place, part.prior.path) for part in parts if part.prior is not None]
        await self._pool.write(lambda session: announce(session, names))
        self.on_step("announced")
        try:
            await asyncio.to_thread(place_parts, _BESIDE, parts)
            self.on_step("placed")
            await self._pool.write(partial(self._settle, exported=exported, parts=parts))
        except StorageError:
            await self._discard(names)
            raise
        self.on_step("committed")
        await self.remove(old)
        self.on_step("cleaned")

    def _settle(self, session: Session, *, exported: _Exported, parts: Sequence[Part]) -> None:
        """Remove moved rows, enter their files: the one transaction that moves them."""
        session.rows("SELECT pg_advisory_xact_lock($1)", ARCHIVE_LOCK)
        name_of, day = exported.view.symbols.__getitem__, parts[0].file.day
        for part in parts:
            kept = _path_at(session, part.file.kind, name_of(part.file.symbol_id), day)
            if kept != (None if part.prior is None else part.prior.path):
                raise StoreUnavailable("another process has moved the same day", hint="the rows are moved next time")
        for kind in KINDS:
            names = [name_of(part.file.symbol_id) for part in parts if part.file.kind == kind]
            gone = _said(session, kind, day, names, delete=True)
            if gone != {key: said for key, said in exported.digests.items() if key[0] == kind and key[1] in names}:
                raise StoreUnavailable("rows changed while they were moved", hint="they are moved next time")
        if not settle(session, [(part.file.place, part.file.path) for part in parts]):
            raise StoreUnavailable("another process clears the archive up", hint="the rows are moved next time")
        announce(session, [(p.prior.place, p.prior.path) for p in parts if p.prior is not None], doomed=True)
        add_files(session, [part.row for part in parts], name_of)
        self.on_step("committing")
        hold_out_readers(session, tries=_PATIENT)

    # -- looking after it ----------------------------------------------------------------------------------------------

    async def sweep(self) -> int:
        """Remove files that an archive may have without their being part of it; return how many were looked for."""
        left = await self._pool.write(lambda session: doom(session, older_s=self.leftover_s))
        await self.remove(left)
        return len(left)

    async def check(self, progress: Progress) -> list[dict[str, Any]]:
        """Read every file of the archive; return those that are not as catalogued, see ``Upkeep.check_archive``."""
        symbols = Symbols()
        rows = await self._pool.read(lambda session: read_rows(session, symbols.id_of))
        faults: list[dict[str, Any]] = []
        for k, row in enumerate(rows):
            reason, answered = await asyncio.to_thread(fault_of, Place(_BESIDE, row.file.place), row)
            reason = reason or await asyncio.to_thread(self._counted, row)
            if reason:
                told = {"file": row.file.path, "place": row.file.place, "reason": reason, "answered": answered}
                faults.append(told)
            progress(k + 1, len(rows))
        return faults

    def _counted(self, row: CatalogueRow) -> str:
        with self._cold.lent([row.file]) as connection:
            (rows,) = connection.execute(f"SELECT count(*) FROM {Catalogue().rows_of([row.file])}").fetchone()
        return "" if rows == row.file.rows else f"it has {rows} rows, not {row.file.rows}"

    async def _discard(self, files: Sequence[Litter]) -> None:
        """Remove files that were announced, but for those that have become part of the archive after all."""
        try:
            asked = set(files)
            left = await self._pool.write(lambda session: doom(session, older_s=self.leftover_s, files=files))
            await self.remove([file for file in left if file in asked])
        except StorageError as error:
            _log.warning("files of the archive are removed later", error=str(error))

    async def remove(self, files: Sequence[Litter]) -> None:
        """Remove doomed files and forget them; those that resist stay noted."""
        if files:
            gone = await asyncio.to_thread(remove_files, _BESIDE, files)
            await self._pool.write(lambda session: drop_litter(session, gone))


def demand_place(place: str) -> None:
    """Raise ``ConfigError`` where files cannot go that every process is to read."""
    if not place:
        raise ConfigError(
            "ARCHIVE_URL is not set: an archive of PostgreSQL lies where every process reaches it",
            loc="archive_url",
            hint="PAIRSCOPE_ARCHIVE_URL names a shared directory, or s3://…",
        )
    Place(_BESIDE, place).demand()


@contextmanager
def _scratch(place: str) -> Iterator[Path]:
    """Lend a directory for what is being written: on the disk of the archive, or, where that is elsewhere, on ours."""
    parent = None
    if not is_remote(place):
        parent = Path(place) / ".archiving"
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(
                f"{place} cannot be written ({error.strerror})", hint="name another place for the archive"
            ) from error
    _clear(Path(tempfile.gettempdir()) if parent is None else parent)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _clear(parent: Path) -> None:
    """Remove what runs have left that were broken off long ago."""
    for folder in parent.glob(_SCRATCH + "*"):
        with suppress(FileNotFoundError):  # another process has ended with it meanwhile
            if time.time() - folder.stat().st_mtime > LEFTOVER_S * 4:
                shutil.rmtree(folder, ignore_errors=True)


def _path_at(session: Session, kind: str, symbol: str, day: int) -> str | None:
    """Return which file the catalogue has of a symbol's day."""
    rows = session.rows("SELECT path FROM archive WHERE symbol = $1 AND kind = $2 AND day = $3", symbol, kind, day)
    return rows[0]["path"] if rows else None


def _said(session: Session, kind: str, day: int, names: Collection[str], *, delete: bool = False) -> _Digests:
    """Return counts and digests of a day's rows that may be archived, by kind and symbol; delete them if asked to."""
    table = "tick_data" if kind == "tick" else "resampled_data"
    which = "" if kind == "tick" else f" AND t.timeframe = '{kind.removeprefix('bar_')}' AND t.origin <> 2"
    where = f't.symbol = ANY($1::text[]) AND t."timestamp" >= {at("$2")} AND t."timestamp" < {at("$3")}{which}'
    fields = "t.symbol, hash_record_extended(t, 0) AS said"
    if delete:
        rows = f"DELETE FROM {table} AS t WHERE {where} RETURNING {fields}"
    else:
        rows = f"SELECT {fields} FROM {table} AS t WHERE {where}"
    found: _Digests = {}
    for part in range(_PARTS):  # of a day of ten million trades each statement is done in time
        for row in session.rows(
            f"WITH r AS ({rows}) SELECT symbol, count(*) AS rows, bit_xor(said) AS said FROM r GROUP BY symbol",
            list(names),
            microseconds(day * DAY_NS + part * DAY_NS // _PARTS),
            microseconds(day * DAY_NS + (part + 1) * DAY_NS // _PARTS),
        ):
            count, said = found.get((kind, row["symbol"]), (0, 0))
            found[kind, row["symbol"]] = count + row["rows"], said ^ row["said"]
    return found
