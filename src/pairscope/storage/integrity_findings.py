"""What is looked at, and what is found: what it is, what it means, and what mends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pairscope.storage.archive import Upkeep
from pairscope.storage.integrity_ids import Look
from pairscope.storage.ledger import LedgerView
from pairscope.storage.tables import Connection
from pairscope.storage.writing import Writing

__all__ = ["Checked", "Finding", "Subject"]

T = TypeVar("T")

_MEANINGS = {
    "archive file": (
        "a file of the archive is gone or is not what was written; reads that need it fail",
        "set the file aside and take its day out of the catalogue; its ids become a hole",
    ),
    "archive place": (
        "no file of an archive is where it was put: reads of its days fail; is its disk mounted, its address right?",
        "bring them back; where they are gone for good, delete their days (POST /api/storage/retention)",
    ),
    "orphan file": (
        "a file lies in the archive that the catalogue does not have; no read sees it",
        "set the file aside",
    ),
    "spool": (
        "what the store refused earlier cannot all be read back; those trades are a hole that the feed repairs",
        "set the unreadable end aside and cut it off",
    ),
    "tick": (
        "a stored trade has no price, size or time that a trade can have",
        "set the rows aside; their ids become a hole",
    ),
    "duplicate": (
        "a trade is stored more than once and counts as often in every sum",
        "keep the one that came first; set aside those that differ from it",
    ),
    "bar": (
        "a stored bar is no bar: prices or volumes that contradict each other, a time off the grid, or there twice",
        "remove it and make it again of stored trades where they cover it; set aside what was uploaded",
    ),
    "hole": (
        "ids are missing that the ledger takes for stored: bars over them pass for whole",
        "enter the hole into the ledger, open: the feed asks for it at the next start",
    ),
    "gap": (
        "the ledger of gaps does not say what is missing",
        "enter what is missing",
    ),
    "ledger": (
        "counts, ids or times of the ledger are not those of the rows: statistics and the feed's resumption are off",
        "count again",
    ),
    "bars differ": (
        "stored bars are not those that the stored trades make",
        "make them again of the trades",
    ),
    "unreadable": (
        "rows cannot be read, so nothing else can be said of them",
        "repair the file that is named with it first",
    ),
}
"""By kind: what a finding means, and what repair does about it."""

_BY_HAND = frozenset({"archive place"})
"""Kinds that people repair."""


class Checked(Protocol):
    """What is asked of a store that is looked at."""

    @property
    def upkeep(self) -> Upkeep: ...

    @property
    def path(self) -> Path: ...

    @property
    def view(self) -> LedgerView: ...

    async def aside(self, work: Callable[[Connection, LedgerView], T]) -> T: ...

    async def within(self, work: Callable[[Writing], T]) -> T: ...


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One thing that is not as it should be; ``mend`` repairs it, None where nothing can.

    ``place`` tells findings of one kind, symbol and date apart.
    """

    kind: str
    detail: str
    symbol: str = ""
    date: str = ""
    place: str = ""
    mend: Callable[[], Awaitable[None]] | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The same for what is found again."""
        return self.kind, self.symbol, self.date, self.place

    def document(self, *, repaired: bool) -> dict[str, Any]:
        """Return the finding for an answer in JSON."""
        means, repair = _MEANINGS[self.kind]
        return {
            "kind": self.kind,
            "symbol": self.symbol or None,
            "date": self.date or None,
            "detail": self.detail,
            "means": means,
            "repair": repair if self.mend is not None or self.kind in _BY_HAND else "nothing can be done here",
            "repaired": repaired,
        }


class Subject(Protocol):
    """A store as it is looked at, and the repairs of what is found; each is a short transaction of its own."""

    @property
    def set_aside(self) -> str | None:
        """Where what no read can use any more was put, None where nothing was."""
        ...

    async def files(self, spool: Path | None) -> tuple[int, list[Finding]]:
        """Return how many files the archive has, and what is wrong with them and with those of a spool."""
        ...

    async def names(self) -> list[str]:
        """Return the symbols of the store."""
        ...

    async def wrong_bars(self, timeframe: str) -> tuple[int, list[tuple[str, int]]]:
        """Return how many bars there are of a timeframe, and (symbol, open time) of those that are none."""
        ...

    async def look(self, symbol: str) -> Look:
        """Return what the rows of a symbol say, beside what the ledger says of it, in one state of the store."""
        ...

    async def remove_bars(self, timeframe: str, keys: Sequence[tuple[str, int]]) -> None:
        """Remove bars at (symbol, open time), set foreign ones aside, make those of own trades again."""
        ...

    async def remove_ticks(self, look: Look) -> None:
        """Set rows aside that are no trades."""
        ...

    async def remove_repeats(self, look: Look) -> None:
        """Keep the first row of each id; set aside those that differ from it."""
        ...

    async def count_again(self, look: Look) -> None:
        """Have the ledger say what the rows said, and what has come since."""
        ...

    async def make_again(self, look: Look, times: Mapping[str, list[int]]) -> None:
        """Make bars again at open times by timeframe, in place of what is stored there."""
        ...
