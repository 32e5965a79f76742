"""The exchange's request weight: a fixed window a clock minute, shared out by priority."""

from __future__ import annotations

import asyncio
import itertools
from bisect import insort
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Final

__all__ = ["HISTORY_SHARE", "Priority", "WeightBudget"]

_MINUTE_NS: Final = 60_000_000_000
HISTORY_SHARE: Final = 0.75
"""What old bars may use of the budget; the rest is kept for repairs."""
_LOOK_EVERY_S: Final = 0.2
_QUEUE_S: Final = 0.01


class Priority(IntEnum):
    """Whose request goes first: what a person or the connection waits for, then repairs, then history."""

    URGENT = 0
    REPAIR = 1
    HISTORY = 2


class WeightBudget:
    """Lets requests go as long as their weights fit into the minute, the most urgent first, else makes them wait.

    ``limit`` is what we allow ourselves of the exchange's 2,400 a minute and address. What the exchange reports in
    its header counts when it is more than what we think, since others may share the address.
    """

    def __init__(
        self, limit: int, *, clock: Callable[[], int], sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self.limit = limit
        self._clock = clock
        self._sleep = sleep
        self._window = -1
        self._used = 0
        self._tickets = itertools.count()
        self._waiting: list[tuple[int, int]] = []

    @property
    def used(self) -> int:
        """Weight used in this minute."""
        self._turn()
        return self._used

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def window(self) -> int:
        """The number of this minute."""
        return self._clock() // _MINUTE_NS

    async def spend(self, weight: int, priority: Priority) -> None:
        """Wait until a request of this weight may go, and count it."""
        ticket = (int(priority), next(self._tickets))
        insort(self._waiting, ticket)
        try:
            while (delay_s := self._delay_s(ticket, weight)) > 0:
                await self._sleep(min(delay_s, _LOOK_EVERY_S))
        finally:
            self._waiting.remove(ticket)
        self._used += weight

    def report(self, used: int, *, window: int) -> None:
        """Take note of what the exchange counts, for a request sent in minute ``window``."""
        self._turn()
        if window == self._window:
            self._used = max(self._used, used)

    def _turn(self) -> None:
        if self.window != self._window:
            self._window, self._used = self.window, 0

    def _delay_s(self, ticket: tuple[int, int], weight: int) -> float:
        """Return how long to wait before looking again; 0 where the request may go."""
        self._turn()
        if self._waiting[0] != ticket:
            return _QUEUE_S
        allowed = self.limit * (HISTORY_SHARE if ticket[0] == Priority.HISTORY else 1.0)
        if self._used + weight <= allowed or self._used == 0:
            return 0.0
        return (_MINUTE_NS - self._clock() % _MINUTE_NS) / 1e9 + 0.001
