"""Where files of the archive lie: a directory, or whatever fsspec reaches; each is placed whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

from pairscope.errors import ConfigError, PairscopeError, StoreUnavailable

__all__ = [
    "Place",
    "address_of",
    "archive_beside",
    "is_remote",
    "lasting_place",
    "register_places",
    "sha256_of",
    "shown",
]

_CHUNK: Final = 1 << 20


class _Registers(Protocol):
    """What is asked of a DuckDB connection that shall read from elsewhere."""

    def register_filesystem(self, filesystem: Any, /) -> None: ...

    def list_filesystems(self) -> list[str]: ...


def is_remote(place: str) -> bool:
    """Whether a place is anything else than a directory of this machine.

    >>> is_remote("s3://bucket/ticks"), is_remote("/srv/ticks"), is_remote("file:///srv/ticks"), is_remote("")
    (True, False, False, False)
    """
    scheme, mark, _ = place.partition("://")
    return bool(mark) and scheme not in {"file", "local"}


def shown(place: str) -> str:
    """Return a place as people may see it, without the password that an address can have.

    >>> shown("s3://key:secret@bucket/ticks"), shown("/srv/ticks")
    ('s3://…@bucket/ticks', '/srv/ticks')
    """
    scheme, mark, rest = place.partition("://")
    host, slash, path = rest.partition("/")
    return place if "@" not in host else f"{scheme}{mark}…@{host.rpartition('@')[2]}{slash}{path}"


def lasting_place(place: str) -> str:
    """Return a place as whoever comes later finds it, from any working directory; "" stays: beside the store.

    ``ConfigError`` where files would be gone with this process.

    >>> lasting_place("file:///srv/ticks"), lasting_place("s3://bucket/ticks"), lasting_place("/srv/../ticks")
    ('/srv/ticks', 's3://bucket/ticks', '/ticks')
    """
    if place.partition("://")[0] in {"memory", "data"} and "://" in place:
        raise ConfigError(
            f"an archive at {shown(place)} ends with the process that writes it",
            loc="archive_url",
            hint="name a directory, or an address that lasts",
        )
    return str(_directory(Path(), place).expanduser().resolve()) if place and not is_remote(place) else place


def archive_beside(store: Path) -> Path:
    """Return the directory of a store's archive where no place is set: a market that was made up has one of its own.

    >>> archive_beside(Path("/data/pairscope.duckdb")), archive_beside(Path("/data/synthetic.duckdb"))
    (PosixPath('/data/archive'), PosixPath('/data/archive-synthetic'))
    """
    return store.with_name("archive" if store.stem == "pairscope" else f"archive-{store.stem}")


def address_of(beside: Path, place: str, path: str) -> str:
    """Return under which address a file is read; without a place it lies in ``beside``.

    >>> address_of(Path("/data/archive"), "", "ticks/a.parquet")
    '/data/archive/ticks/a.parquet'
    >>> address_of(Path("/data/archive"), "s3://bucket/", "ticks/a.parquet")
    's3://bucket/ticks/a.parquet'
    """
    return f"{place.rstrip('/')}/{path}" if is_remote(place) else str(_directory(beside, place) / path)


def _directory(beside: Path, place: str) -> Path:
    return Path(place.partition("://")[2] if "://" in place else place) if place else beside


def _filesystem(place: str) -> Any:
    """Return fsspec's file system of a place. ``ConfigError`` where what reaches it is not installed."""
    import fsspec  # type: ignore[import-untyped]  # it has no types

    scheme = place.partition("://")[0]
    try:
        return fsspec.filesystem(scheme)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"the archive at {shown(place)} cannot be reached: {error}",
            loc="archive_url",
            hint=f"install fsspec's part for {scheme}://, or name a directory",
        ) from error


def register_places(connection: _Registers, places: Iterable[str]) -> None:
    """Let a connection read from places. ``ConfigError`` where what reaches one is not installed."""
    known = set(connection.list_filesystems())
    for place in places:
        scheme = place.partition("://")[0]
        if is_remote(place) and scheme not in known:
            connection.register_filesystem(_filesystem(place))
            known.add(scheme)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _reached(place: str) -> Iterator[Any]:
    """Hold for work with fsspec's file system of a place, whose errors have no common kind: each is told as ours."""
    filesystem = _filesystem(place)
    try:
        yield filesystem
    except (FileNotFoundError, PairscopeError):
        raise
    except Exception as error:
        raise StoreUnavailable(f"the archive at {shown(place)} does not answer: {error}") from error


class Place:
    """One archive's files, by their paths in it. ``StoreUnavailable`` where it is elsewhere and does not answer."""

    def __init__(self, beside: Path, place: str) -> None:
        self._beside = beside
        self._place = place

    def demand(self) -> None:
        """Raise ``ConfigError`` where what reaches the place is not installed."""
        if is_remote(self._place):
            _filesystem(self._place)

    def put(self, written: Path, path: str) -> None:
        """Move a file of this machine to its path; it is there whole or not at all, also after a power cut."""
        if is_remote(self._place):
            with _reached(self._place) as filesystem:
                filesystem.put_file(str(written), self._address(path))
            written.unlink()
            return
        target = Path(self._address(path))
        try:
            _put(written, target)
        except OSError as error:
            raise StoreUnavailable(
                f"{target} cannot be written ({error.strerror})",
                hint="free some space on that disk, or name another place for the archive",
            ) from error

    def sha256(self, path: str) -> tuple[str, int]:
        """Return the SHA-256 of a file as read back, and its bytes. ``FileNotFoundError`` where it is gone."""
        if not is_remote(self._place):
            file = Path(self._address(path))
            return sha256_of(file), file.stat().st_size
        digest, size = hashlib.sha256(), 0
        with _reached(self._place) as filesystem, filesystem.open(self._address(path), "rb") as file:
            while block := file.read(_CHUNK):
                digest.update(block)
                size += len(block)
        return digest.hexdigest(), size

    def remove(self, path: str) -> None:
        """Remove a file, its unfinished copy and the folders that it leaves empty; nothing where it is not there."""
        address = self._address(path)
        if is_remote(self._place):
            with suppress(FileNotFoundError), _reached(self._place) as filesystem:
                filesystem.rm_file(address)
            return
        target = Path(address)
        target.unlink(missing_ok=True)
        target.with_name(target.name + ".part").unlink(missing_ok=True)
        for folder in (target.parent, target.parent.parent):
            with suppress(OSError):
                folder.rmdir()

    def _address(self, path: str) -> str:
        return address_of(self._beside, self._place, path)


def _put(written: Path, target: Path) -> None:
    """Move a file to where it belongs, also to another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        written.replace(target)
    except OSError:  # another disk: beside its name first, so that the name stands for a whole file
        part = target.with_name(target.name + ".part")
        shutil.copyfile(written, part)
        _sync(part)
        part.replace(target)
        written.unlink()
    for folder in (target.parent, target.parent.parent, target.parent.parent.parent):
        _sync(folder)


def _sync(path: Path) -> None:
    """Have the disk hold what was written."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
