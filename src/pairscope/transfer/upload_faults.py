"""What is wrong with an uploaded file, row by row and column by column: listed up to a limit, counted beyond it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from pairscope.market.ticks import B1, I8

__all__ = ["LISTED", "Fault", "Faults"]

LISTED: Final = 1000
"""Faults that are listed one by one; the others are counted."""


class Fault(NamedTuple):
    """One thing that is wrong: in which data row (from 1), in which column of the file, and why.

    ``row`` is None where the whole file is meant, ``column`` where the whole row is.
    """

    row: int | None
    column: str | None
    reason: str


class Faults:
    """The faults of a table whose rows stand at ``numbers`` of the file; ``bad`` tells which rows have one."""

    def __init__(self, numbers: I8) -> None:
        self.bad: B1 = np.zeros(numbers.size, np.bool_)
        self.total = 0
        self._numbers = numbers
        self._found: list[Fault] = []
        self._unread: set[int] = set()

    @property
    def rows(self) -> int:
        """How many rows of the file have a fault."""
        return int(np.count_nonzero(self.bad)) + len(self._unread)

    def row_at(self, place: int) -> int:
        """Return the number in the file of the row at a place of the table."""
        return int(self._numbers[place])

    def add(self, wrong: B1, column: str, reason: str | Callable[[int], str]) -> None:
        """Note a fault of ``column`` in every row of a mask; a callable says it of the row at that place."""
        places = np.flatnonzero(wrong)
        self.bad |= wrong
        self.total += places.size
        for place in places[:LISTED].tolist():
            said = reason if isinstance(reason, str) else reason(place)
            self._found.append(Fault(int(self._numbers[place]), column, said))

    def add_unread(self, row: int, reason: str) -> None:
        """Note a row of the file that is not even in the table."""
        self.total += 1
        self._unread.add(row)
        if len(self._unread) <= LISTED:
            self._found.append(Fault(row, None, reason))

    def listed(self) -> list[Fault]:
        """Return the first faults by row, those of a row in the order in which they were found."""
        return sorted(self._found, key=lambda fault: fault.row or 0)[:LISTED]
