"""What waits for the store: parcels in the order of their arrival, and the oldest of them in hand for a flush."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple

from pairscope.market.ticks import TickBatch
from pairscope.ports import Clock
from pairscope.storage.parcel import Parcel, joined, last_of_each

__all__ = ["Waiting"]

MAX_DOCUMENTS: Final = 100_000
"""Documents that may wait before there is no more room: unlike ticks they are never dropped for want of it."""


class _Entry(NamedTuple):
    number: int
    since_ns: int
    parcel: Parcel


class Waiting:
    """Parcels from ``put`` until ``let_go``; a flush takes the oldest in hand, up to about ``flush_rows`` ticks.

    They are ripe at ``flush_rows`` ticks, when the oldest is ``flush_ns`` old, or as soon as somebody is in a hurry.
    There is room for ``max_batches`` of them; the caller waits for it.
    """

    def __init__(self, *, clock: Clock, max_batches: int, flush_rows: int, flush_ns: int) -> None:
        self._clock = clock
        self._flush_rows = flush_rows
        self._flush_ns = flush_ns
        self._queue: deque[_Entry] = deque()
        self._hand: list[_Entry] = []
        self._promises: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._last = 0
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
    def is_full(self) -> bool:
        """Whether as many parcels wait as may."""
        return len(self) >= self.max_batches

    @property
    def has_room(self) -> bool:
        """Whether one more may be put."""
        return not self.is_full and self.documents < MAX_DOCUMENTS

    @property
    def is_ripe(self) -> bool:
        """Whether it is time to take something in hand."""
        return bool(self._queue) and (self._hurry or self.rows >= self._flush_rows or self.ripens_ns() <= self._clock())

    def ripens_ns(self) -> int:
        """When the oldest in the queue will be old enough; there must be one."""
        return self._queue[0].since_ns + self._flush_ns

    def lag_ns(self) -> int:
        """The age of the oldest."""
        oldest = self._hand or self._queue
        return max(self._clock() - oldest[0].since_ns, 0) if oldest else 0

    def put(self, parcel: Parcel, *, hurry: bool = False) -> bool:
        """Put a parcel behind the others; True where it is the first in the queue."""
        self._hurry |= hurry
        self._last += 1
        self._queue.append(_Entry(self._last, self._clock(), parcel))
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
                batch = self._queue[0].parcel.batch
                if self._hand and (
                    rows + len(batch) > self._flush_rows or batch.symbols is not self._hand[0].parcel.batch.symbols
                ):
                    break
                rows += len(batch)
                self._hand.append(self._queue.popleft())
            self.rows -= rows
        return joined([entry.parcel for entry in self._hand])

    def let_go(self) -> int:
        """Forget what is in hand, which is durable, and return how many parcels it was."""
        while self._promises and self._promises[0][0] <= self._hand[-1].number:
            _, promise = self._promises.popleft()
            if not promise.done():
                promise.set_result(None)
        return self._forget()

    def drop(self, *, keep_documents: bool) -> int:
        """Give up what is in hand and return how many parcels it was; its documents may stay, before all others."""
        held = self._hand
        count = self._forget()
        documents = last_of_each(each for entry in held for each in entry.parcel.documents) if keep_documents else ()
        if documents:
            symbols = (self._queue[0] if self._queue else held[-1]).parcel.batch.symbols
            kept = Parcel(TickBatch.empty(symbols, 0), documents=documents)
            self._queue.appendleft(held[-1]._replace(parcel=kept))
            self.documents += len(documents)
        return count

    def promise(self) -> asyncio.Future[None]:
        """Return a future that is done when all that was put is durable."""
        promise = asyncio.get_running_loop().create_future()
        self._promises.append((self._last, promise))
        return promise

    def break_promises(self, error: Exception) -> None:
        """Let those who wait for what was put know that it is not durable."""
        while self._promises:
            _, promise = self._promises.popleft()
            if not promise.done():
                promise.set_exception(error)

    def parcels(self) -> list[Parcel]:
        """Return all, oldest first."""
        return [entry.parcel for entry in (*self._hand, *self._queue)]

    def _forget(self) -> int:
        count = len(self._hand)
        self.documents -= sum(len(entry.parcel.documents) for entry in self._hand)
        self._hand = []
        self._hurry &= bool(self._queue)
        return count
