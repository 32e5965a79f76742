"""The files that belong to a store: those of its archive against the catalogue, and those of its spool."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pairscope.storage.archive_catalogue import ArchivedFile
from pairscope.storage.archive_place import address_of, is_remote, shown
from pairscope.storage.archive_tables import CatalogueRow, Litter
from pairscope.storage.integrity_findings import Finding
from pairscope.storage.integrity_mending import SetAside
from pairscope.storage.spool import Spool

__all__ = ["Shelves", "archive_findings", "spool_findings"]


class Shelves(Protocol):
    """The archive of one store as it is looked at, whatever its tables."""

    @property
    def beside(self) -> Path:
        """The directory of files that have no place of their own; ``Path()`` where each has one."""
        ...

    async def rows(self) -> list[CatalogueRow]:
        """Return the catalogue as stored."""
        ...

    async def faults(self) -> list[dict[str, Any]]:
        """Return what is wrong with files, see ``Upkeep.check_archive``."""
        ...

    async def litter(self) -> list[Litter]:
        """Return the files that may lie there without being part of it."""
        ...

    def name(self, file: ArchivedFile) -> str:
        """Return the symbol that a file is of."""
        ...

    async def uncatalogue(self, file: ArchivedFile) -> None:
        """Take a file out of the catalogue, in one transaction with what counts its rows."""
        ...


async def archive_findings(shelves: Shelves, aside: Callable[[Path], None]) -> list[Finding]:
    """Return catalogued files that are not as written, and files that lie there without being catalogued.

    Nothing is mended where a place does not answer or is empty, as one whose disk is not mounted: its files may be as
    they were, and only the catalogue says what they are. ``aside`` takes files that no read can use.
    """
    beside = shelves.beside
    files = {(row.file.place, row.file.path): row.file for row in await shelves.rows()}
    faults = await shelves.faults()
    away = await asyncio.to_thread(_away, beside, list(files), {(fault["place"], fault["file"]) for fault in faults})
    found = [
        Finding("archive place", f"{shown(place) or beside}: {count} files", place=place)
        for place, count in away.items()
    ]
    for fault in faults:
        file = files[fault["place"], fault["file"]]
        if file.place in away:
            continue

        async def set_aside(file: ArchivedFile = file) -> None:
            await shelves.uncatalogue(file)
            if not is_remote(file.place):
                await asyncio.to_thread(aside, Path(address_of(beside, file.place, file.path)))

        detail, symbol = f"{file.path}: {fault['reason']}", shelves.name(file)
        mend = set_aside if fault["answered"] else None
        found.append(Finding("archive file", detail, symbol, place=file.path, mend=mend))
    known = {Path(address_of(beside, place, path)) for place, path in files if not is_remote(place)}
    expected = {Path(address_of(beside, place, path)) for place, path in await shelves.litter() if not is_remote(place)}
    folders = {Path(address_of(beside, place, "")) for place, _ in files if place and not is_remote(place)}
    folders |= {beside} - {Path()}
    lying = await asyncio.to_thread(lambda: sorted(path for each in folders for path in _files_of(each)))
    orphans = [path for path in lying if path not in known and path not in expected]
    return found + [
        Finding("orphan file", str(path), place=str(path), mend=partial(asyncio.to_thread, aside, path))
        for path in orphans
    ]


def _away(beside: Path, files: list[tuple[str, str]], faulty: set[tuple[str, str]]) -> dict[str, int]:
    """Return the places of which nothing is where it was put, each with how many files the catalogue has there."""
    counts = Counter(place for place, _ in files)
    wrong = Counter(place for place, _ in faulty)
    return {
        place: count
        for place, count in counts.items()
        if wrong[place] == count and (is_remote(place) or _is_bare(Path(address_of(beside, place, ""))))
    }


def _is_bare(folder: Path) -> bool:
    """Whether a directory is not there, or has nothing in it."""
    return not folder.is_dir() or not any(folder.iterdir())


def _files_of(folder: Path) -> Iterator[Path]:
    """Yield the files that lie where an archive has its own: beside those may be what is being written."""
    for kind in ("ticks", "bars"):
        yield from (folder / kind).rglob("*.parquet")


def spool_findings(directory: Path, aside: SetAside) -> list[Finding]:
    """Return the segments of a spool that cannot be read to their end."""
    found = []
    for path, good, size in Spool.torn(directory):

        async def cut(path: Path = path, good: int = good) -> None:
            await asyncio.to_thread(_cut, path, good, aside)

        found.append(Finding("spool", f"{path.name}: {size - good} of {size} bytes", place=path.name, mend=cut))
    return found


def _cut(path: Path, good: int, aside: SetAside) -> None:
    """Set what follows the readable part of a segment aside."""
    rest = path.with_name(path.name + ".torn")
    rest.write_bytes(path.read_bytes()[good:])
    aside.file(rest)
    if good:
        os.truncate(path, good)
    else:
        path.unlink()
