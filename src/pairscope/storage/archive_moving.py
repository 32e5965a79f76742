"""What moving days to files takes whichever the store: portions of a day, files placed and proved, files removed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import structlog

from pairscope.errors import ConfigError, StorageError
from pairscope.storage.archive_parts import Part
from pairscope.storage.archive_place import Place
from pairscope.storage.archive_tables import CatalogueRow, Litter
from pairscope.storage.upkeep import Moved, Progress

__all__ = ["fault_of", "gathered_days", "move_days", "place_parts", "remove_files"]

_log = structlog.get_logger(__name__)
K = TypeVar("K")

CHUNK_ROWS: Final = 1_000_000
"""Rows of a day that are moved in one go: what their one transaction removes holds up other writes for so long."""
CHUNK_SYMBOLS: Final = 64


def gathered_days(todo: Sequence[tuple[int, K, int]]) -> Iterable[tuple[int, list[K], int]]:
    """Gather (day, symbol, rows) of one day until they are many.

    >>> list(gathered_days([(1, "A", 10), (1, "B", 20), (2, "A", 30)]))
    [(1, ['A', 'B'], 30), (2, ['A'], 30)]
    """
    day, rows = 0, 0
    symbols: list[K] = []
    for at, symbol, count in todo:
        if symbols and (at != day or rows + count > CHUNK_ROWS or len(symbols) == CHUNK_SYMBOLS):
            yield day, symbols, rows
            symbols, rows = [], 0
        day, rows = at, rows + count
        symbols.append(symbol)
    if symbols:
        yield day, symbols, rows


async def move_days(
    todo: Sequence[tuple[int, K, int]],
    move: Callable[[int, list[K]], Awaitable[Sequence[Part]]],
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Moved:
    """Have ``move`` move (day, symbol, rows), some symbols of a day at a time; return how much was moved.

    Cancelled, it ends behind the files under way.
    """
    moved = dict.fromkeys(("days", "ticks", "bars", "files", "bytes"), 0)
    done, total = 0, sum(rows for _, _, rows in todo)
    seen: set[int] = set()
    for day, symbols, rows in gathered_days(todo):
        if cancelled():
            break
        for part in await move(day, symbols):
            seen.add(day)
            moved["ticks" if part.file.kind == "tick" else "bars"] += part.moved
            moved["files"] += 1
            moved["bytes"] += part.file.bytes
        done += rows
        progress(done, total)
    moved["days"] = len(seen)
    return moved


def place_parts(beside: Path, parts: Sequence[Part]) -> None:
    """Put written files where they belong and read them back. ``StorageError`` where one is not as it was written."""
    for part in parts:
        where = Place(beside, part.file.place)
        where.put(part.written, part.file.path)
        if where.sha256(part.file.path) != (part.sha256, part.file.bytes):
            raise StorageError(
                f"{part.file.path} was not placed as it was written", hint="look at the disk under the archive"
            )


def remove_files(beside: Path, files: Sequence[Litter]) -> list[Litter]:
    """Remove files that are no part of the archive; return those that are gone: the others resist, and it is told."""
    gone = []
    for place, path in files:
        try:
            Place(beside, place).remove(path)
        except (OSError, ConfigError, StorageError) as error:
            _log.warning("a file stays in the archive", file=path, error=str(error))
        else:
            gone.append((place, path))
    return gone


def fault_of(place: Place, row: CatalogueRow) -> tuple[str, bool]:
    """Return what is wrong with a file as bytes, nothing where it is as written, and whether its place told of it."""
    try:
        found = place.sha256(row.file.path)
    except FileNotFoundError:
        return "it is not there", True
    except (OSError, ConfigError, StorageError) as error:
        return f"it cannot be read: {error}", False
    return "" if found == (row.sha256, row.file.bytes) else "it is not what was written (SHA-256)", True
