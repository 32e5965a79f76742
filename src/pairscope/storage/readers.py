"""Who reads the store now: counted, so that what readers may still look at is taken away only behind them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["LEAVE_S", "Readers"]

LEAVE_S: Final = 5.0
"""How long reads may take to end before a broken connection is closed under them."""


class Readers:
    """Counts reads by the age in which they began. For many threads."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._age = 0
        self._active: Counter[int] = Counter()
        self._shut = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold for one read; waits while the file is being changed for another."""
        with self._change:
            self._change.wait_for(lambda: not self._shut)
            age = self._age
            self._active[age] += 1
        try:
            yield
        finally:
            with self._change:
                self._active[age] -= 1
                if not self._active[age]:
                    del self._active[age]
                self._change.notify_all()

    def wait_for_earlier(self, timeout_s: float) -> bool:
        """Wait until every read that has begun by now is over; False where one is not in time. Holds nobody up."""
        with self._change:
            self._age += 1
            age = self._age
            return self._change.wait_for(lambda: all(began >= age for began in self._active), timeout_s)

    def wait_until_none(self, timeout_s: float) -> bool:
        """Wait until nobody reads; False where somebody still does in the end."""
        with self._change:
            return self._change.wait_for(lambda: not self._active, timeout_s)

    @contextmanager
    def nobody(self, timeout_s: float) -> Iterator[bool]:
        """Let no read begin, and hold once those under way are over; gives False where one is not in time."""
        with self._change:
            self._shut = True
            empty = self._change.wait_for(lambda: not self._active, timeout_s)
        try:
            yield empty
        finally:
            with self._change:
                self._shut = False
                self._change.notify_all()
