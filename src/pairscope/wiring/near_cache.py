"""The cache of a replica: prices it knows by itself, all else is what the processes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pairscope.ports import Cache
from pairscope.storage.memory_cache import MemoryCache

__all__ = ["NearCache"]

OWN: Final = "price:"
"""Keys that a shard's process writes for all and each replica works out again for itself."""


class NearCache:
    """``Cache`` in which prices stay in this process: a round trip to Redis would bring the same value, later.

    A price that this process has not seen is asked of the shared cache.
    """

    def __init__(self, shared: Cache) -> None:
        self._shared = shared
        self._own = MemoryCache()

    async def put_many(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        """Keep values for ``ttl_s`` seconds, in place of what their keys held."""
        own = {key: value for key, value in values.items() if key.startswith(OWN)}
        if own:
            await self._own.put_many(own, ttl_s)
        if len(own) < len(values):
            await self._shared.put_many({key: value for key, value in values.items() if key not in own}, ttl_s)

    async def get(self, key: str) -> bytes | None:
        """Return a key's value, None where there is none or its time is over."""
        value = await self._own.get(key) if key.startswith(OWN) else None
        return value if value is not None else await self._shared.get(key)

    async def push(self, key: str, value: bytes, keep: int) -> None:
        """Put a value at the head of a list of at most ``keep``."""
        await self._shared.push(key, value, keep)

    async def add(self, key: str, members: Sequence[str]) -> None:
        """Add members to a set."""
        await self._shared.add(key, members)

    def counters(self) -> Mapping[str, Any]:
        """Return what the cache of this process counts."""
        return self._own.counters()
