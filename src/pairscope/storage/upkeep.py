"""What looks after the days of a store, whichever it is: counts, archives, deletes, compacts and checks them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pairscope.ports import TickStore
from pairscope.storage.kept_days import KeptDay

__all__ = ["DaysKept", "Moved", "Progress", "StoreOfDays", "never", "untold"]

Moved = dict[str, int]
"""How many ``days``, ``ticks``, ``bars``, ``files`` and ``bytes`` were moved or deleted."""

Progress = Callable[[int, int], object]
"""Hears of how much is done of how much."""


def untold(_: int, __: int) -> None:
    """Stand for whoever is told how far it is."""


def never() -> bool:
    """Stand for whoever may cancel."""
    return False


class DaysKept(Protocol):
    """The upkeep of one store. Days count from 1970, UTC; uploaded bars are neither archived nor deleted for age."""

    archives: bool
    """Whether days can be moved to an archive."""

    @property
    def default_place(self) -> str:
        """Where files go that are given no place; "" where they must be given one."""
        ...

    def totals(self) -> Mapping[str, int]:
        """Return how many ``files``, ``bytes``, ``ticks`` and ``bars`` the archive has, from memory."""
        ...

    async def days(
        self,
        symbol: str | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        *,
        uploads: bool = True,
    ) -> list[KeptDay]:
        """Return what is kept of each day and symbol, by (day, symbol). Counts all rows."""
        ...

    async def used_bytes(self) -> int:
        """Return the bytes that hold something."""
        ...

    async def free_bytes(self) -> int | None:
        """Return the bytes that are free on the store's disk, None where it does not say."""
        ...

    async def archive(
        self,
        before_day: int,
        *,
        symbols: Collection[str] = (),
        place: str = "",
        progress: Progress = untold,
        cancelled: Callable[[], bool] = never,
    ) -> Moved:
        """Move the days before a day to files. ``InputError`` where the store does not archive.

        ``ConfigError`` where files need a place and are given none.
        """
        ...

    async def forget(
        self, days: Iterable[int], *, progress: Progress = untold, cancelled: Callable[[], bool] = never
    ) -> Moved:
        """Delete days, oldest first, wherever their rows are."""
        ...

    async def compact(self) -> float:
        """Give back the room that deleted rows left; return for how many seconds reads waited."""
        ...

    async def sweep(self) -> int:
        """Clear away what an interrupted run left; return how much was looked for."""
        ...

    async def check(self, *, repair: bool, progress: Progress = untold, spool: Path | None = None) -> Mapping[str, Any]:
        """Look whether all is whole, and with ``repair`` mend what can be; see ``integrity.check``."""
        ...


class StoreOfDays(TickStore, Protocol):
    """A store whose days can be looked after."""

    @property
    def upkeep(self) -> DaysKept: ...
