"""What waits for the store: parcels in the order of their arrival, and the oldest of them in hand for a flush."""

from __future__ import annotations

from collections import deque
from typing import Final

from pairscope.market.ticks import TickBatch
from pairscope.ports import Clock
from pairscope.storage.parcel import Parcel, joined, last_of_each

__all__ = ["Waiting"]

MAX_DOCUMENTS: Final = 100_000
"""Documents that may wait before there is no more room: unlike ticks they are never dropped for want of it."""


class Waiting:
    """Parcels from ``put`` until ``let_go``; a flush takes the oldest in hand, up to about ``flush_rows`` ticks.

    They are ripe at ``flush_rows`` ticks, when the oldest is ``flush_ns`` old, or as soon as somebody is in a hurry.
    There is room for ``max_batches`` of them; the caller waits for it.
    """

    def __init__(self, *, clock: Clock, max_batches: int, flush_rows: int, flush_ns: int) -> None:
        self._clock = clock
        self._flush_rows = flush_rows
        self._flush_ns = flush_ns
        self._queue: deque[tuple[int, Parcel]] = deque()
        self._hand: list[tuple[int, Parcel]] = []
        self._hurry = False
        self.max_batches = max_batches
        self.rows = 0
        self.documents = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._hand)

    @property
    def in_hand(self) -> bool:
        """Whether a flush has taken something that it has not let go of."""
        return bool(self._hand)

    @property
    def has_room(self) -> bool:
        """Whether one more may be put."""
        return len(self) < self.max_batches and self.documents < MAX_DOCUMENTS

    @property
    def is_ripe(self) -> bool:
        """Whether it is time to take something in hand."""
        return bool(self._queue) and (self._hurry or self.rows >= self._flush_rows or self.ripens_ns() <= self._clock())

    def ripens_ns(self) -> int:
        """When the oldest in the queue will be old enough; there must be one."""
        return self._queue[0][0] + self._flush_ns

    def lag_ns(self) -> int:
        """The age of the oldest."""
        oldest = self._hand or self._queue
        return max(self._clock() - oldest[0][0], 0) if oldest else 0

    def put(self, parcel: Parcel, *, hurry: bool = False) -> bool:
        """Put a parcel behind the others; True where it is the first in the queue."""
        self._hurry |= hurry
        self._queue.append((self._clock(), parcel))
        self.rows += len(parcel.batch)
        self.documents += len(parcel.documents)
        return len(self._queue) == 1

    def hurry(self) -> None:
        """Let all that is there be ripe."""
        self._hurry = True

    def take(self) -> Parcel:
        """Return what is in hand as one parcel; where the hand is empty, the oldest of the queue first go into it."""
        if not self._hand:
            rows = 0
            while self._queue:
                batch = self._queue[0][1].batch
                if self._hand and (
                    rows + len(batch) > self._flush_rows or batch.symbols is not self._hand[0][1].batch.symbols
                ):
                    break
                rows += len(batch)
                self._hand.append(self._queue.popleft())
            self.rows -= rows
        return joined([parcel for _, parcel in self._hand])

    def let_go(self, *, keep_documents: bool = False) -> int:
        """Forget what is in hand and return how many parcels it was; its documents may stay, before all others."""
        count, held = len(self._hand), self._hand
        self._hand = []
        self.documents -= sum(len(parcel.documents) for _, parcel in held)
        documents = last_of_each(each for _, parcel in held for each in parcel.documents) if keep_documents else ()
        if documents:
            behind = self._queue[0][1].batch if self._queue else held[-1][1].batch
            self._queue.appendleft((held[0][0], Parcel(TickBatch.empty(behind.symbols, 0), documents=documents)))
            self.documents += len(documents)
        if not self._queue:
            self._hurry = False
        return count

    def parcels(self) -> list[Parcel]:
        """Return all, oldest first."""
        return [parcel for _, parcel in (*self._hand, *self._queue)]
