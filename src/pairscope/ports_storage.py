"""The interface of store keeping: what lies where, what is moved to the archive, what is deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pairscope.ports_research import JobView

__all__ = ["ArchiveRequest", "RetentionRequest", "StoreKeeping"]


@dataclass(frozen=True, slots=True)
class ArchiveRequest:
    """Which days are to be moved to the archive: those that end by ``before_ns``, or that are so many days old.

    Without either it is as the settings have it. ``symbols`` are some, or all where none is named.
    """

    before_ns: int | None = None
    older_than_days: int | None = None
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RetentionRequest:
    """What is to stay: ``days`` whole days, of them what takes at most ``gb``; None: as the settings say, 0: all."""

    days: int | None = None
    gb: float | None = None


class StoreKeeping(Protocol):
    """The life of stored days. Documents have the API's field names; ``InputError`` of what cannot be asked."""

    async def overview(
        self, symbol: str | None = None, start_ns: int | None = None, end_ns: int | None = None
    ) -> Mapping[str, Any]:
        """Return what is kept and where, day by day; a symbol and a range narrow the days."""
        ...

    async def archivable(self, request: ArchiveRequest) -> Mapping[str, Any]:
        """Return what would be moved, and move nothing."""
        ...

    def archive(self, request: ArchiveRequest) -> JobView:
        """Begin to move days to the archive."""
        ...

    async def deletable(self, request: RetentionRequest) -> Mapping[str, Any]:
        """Return what would be deleted, and delete nothing."""
        ...

    def delete(self, request: RetentionRequest) -> JobView:
        """Begin to delete days, oldest first, never the newest."""
        ...

    def compact(self) -> JobView:
        """Begin to write the store's file anew without the room that deleted rows left."""
        ...

    def check(self, *, repair: bool) -> JobView:
        """Begin to look whether all is whole, and with ``repair`` to mend what can be."""
        ...

    async def result(self, id: str) -> Mapping[str, Any]:  # noqa: A002 - what everybody calls it
        """Return what a job came to; waits for it. ``UnknownJob`` where it is not known, or none of these."""
        ...

    def counters(self) -> Mapping[str, Any]:
        """What was moved and deleted, for ``/api/stats``."""
        ...
