"""Telling firings: into the cache and onto the bus, in the order of their numbers, once each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pairscope.alerts.shared_firings import SharedFirings
from pairscope.durations import Durations
from pairscope.ports import Bus, Cache, Clock, Document

__all__ = ["TOPIC", "Announcer"]

TOPIC: Final = "alerts"
CACHED_S: Final = 86_400.0
TRIGGERED: Final = "alerts:triggered"
"""The cache's list of the newest firings, the newest first."""
MOST_TRIGGERED: Final = 1000


class Announcer:
    """Firings that wait to be told: until the next ``tell``, or with ``shared`` until the store has them."""

    def __init__(self, cache: Cache, bus: Bus, clock: Clock, shared: SharedFirings | None = None) -> None:
        self._cache = cache
        self._bus = bus
        self._clock = clock
        self._shared = shared
        self._untold: list[tuple[int, int, str, bytes]] = []
        self._told_after = Durations()
        self._telling = asyncio.Lock()

    def wait(self, seq: int, came_ns: int, key: str, body: bytes) -> None:
        """Have a firing told: its number, when it came, its key in the cache, and itself."""
        if self._shared is not None:
            self._shared.wait(seq, came_ns, key, body)
        else:
            self._untold.append((seq, came_ns, key, body))

    async def tell(self) -> None:
        """Tell who listens of the firings that may be told, in order."""
        async with self._telling:
            untold, self._untold = self._untold, []
            if untold:
                await self._cache.put_many({key: body for _, _, key, body in untold}, CACHED_S)
            for seq, came_ns, _, body in untold:
                await self._cache.push(TRIGGERED, body, MOST_TRIGGERED)
                self._bus.resume(TOPIC, seq - 1)
                self._bus.publish(TOPIC, body)
                self._told_after.add((self._clock() - came_ns) / 1e9)

    async def kept(self, documents: Sequence[Document]) -> None:
        """Tell the firings among documents that are stored now, where they waited for it."""
        if self._shared is not None:
            self._untold += self._shared.stored(documents)
            await self.tell()

    def refused(self, seqs: Sequence[int]) -> None:
        """Tell nothing of firings that another desk has told."""
        if self._shared is not None:
            self._shared.refused(seqs)

    def view(self) -> Mapping[str, Any]:
        """Return how long after they came firings were told."""
        return self._told_after.view()
