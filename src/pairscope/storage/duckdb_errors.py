"""What DuckDB says, in the terms of the error tree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pairscope.errors import SchemaMismatch, StorageError, StoreDamaged, StoreLocked, StoreUnavailable

__all__ = ["damaged", "translated"]

_HOLDER: Final = re.compile(r"held in (?P<program>.+?) \(PID (?P<pid>\d+)\)")
_IN_USE: Final = ("Could not set lock", "with a different configuration")
_DAMAGE: Final = (
    "Corrupt database file",
    "Corrupt WAL file",
    "Failure while replaying WAL",
    "is not a valid DuckDB database",
    "Could not read enough bytes",
)
_SQL: Final = re.compile(r" LINE \d+: .*")
_GONE: Final = re.compile(r'No files found that match the pattern "(?P<file>[^"]+)"')
_PARQUET: Final = (".parquet", "TProtocolException", "Parquet file", "bitpacked", "Decompression failure")
_NEWER: Final = "can only read"
_FULL: Final = ("No space left on device", "File too large", "Disk quota exceeded")
_PLACE: Final = ("Is a directory", "No such file", "Permission denied", "Read-only file system")
_LOOK: Final = "`pairscope doctor --store` names every file that is not as it was written"
_PASSING: Final = {"OperationalError", "FatalException", "InternalError", "OutOfMemoryException", "OSError"}


def translated(error: Exception, path: Path) -> StorageError:
    """Return the error of the tree that stands for one of DuckDB's or of the operating system's, about a file."""
    said = _SQL.sub("", " ".join(str(error).split()))
    if isinstance(error, OSError):
        said = error.strerror or said
    if any(words in said for words in _IN_USE):
        held = _HOLDER.search(said)
        who = f"process {held['pid']} ({Path(held['program']).name})" if held else "this same process"
        return StoreLocked(
            f"{path} is held by {who}", hint="stop that Pairscope, or give this one a --data-dir of its own"
        )
    if _NEWER in said:
        return SchemaMismatch(f"{path} was written by a newer DuckDB ({said})", hint="install that version, or a newer")
    if any(words in said for words in _FULL):
        return StoreUnavailable(f"{path} cannot grow ({said})", hint="free some space on that disk")
    if gone := _GONE.search(said):
        return StoreUnavailable(f"{gone['file']} is not there, a file of the archive of {path}", hint=_LOOK)
    archived = any(words in said for words in _PARQUET)
    if not archived and any(words in said for words in _DAMAGE):
        return damaged(path, said)
    if archived or type(error).__name__ == "Error":
        return StoreUnavailable(f"a file of the archive of {path} cannot be read ({said})", hint=_LOOK)
    if any(words in said for words in _PLACE):
        return StoreUnavailable(f"{path} cannot be opened ({said})", hint="choose another place with --data-dir")
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & _PASSING:
        return StoreUnavailable(f"{path}: {said}")
    return StorageError(f"{path}: {said}")


def damaged(path: Path, why: str) -> StoreDamaged:
    """Return the error for a file that cannot be read, with what to do about it."""
    aside = f"for f in {path}*; do mv $f $f.damaged; done"
    return StoreDamaged(
        f"{path} is damaged ({why})",
        hint=f"nothing was changed; put a copy in its place, or set it aside and start anew: `{aside}`",
    )
