"""What a shard says to the replicas and the cache beside its trades: bars, statistics, and that it is alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from pairscope import schemas
from pairscope.engine.rolling import RollingStats
from pairscope.market.bars import BarBatch
from pairscope.market.ticks import TickBatch
from pairscope.ports import Cache
from pairscope.storage.market_stream import MarketStreamWriter
from pairscope.storage.parcel import Parcel
from pairscope.storage.spool import encode_parcel
from pairscope.wiring.statistics_keys import STATISTICS_TTL_S, statistics_entries

__all__ = ["ShardVoice"]

HEARTBEAT_S: Final = 1.0
HEARTBEAT_TTL_S: Final = 10.0
STATISTICS_S: Final = 0.25
MAX_BARS: Final = 1024
"""Batches of bars that wait to be told; the store has them, so of more the oldest are dropped and counted."""


class ShardVoice:
    """Hands on what is told of a shard; ``heartbeat`` gives a key and what is said under it, once a second."""

    def __init__(
        self, stream: MarketStreamWriter, cache: Cache, *, heartbeat: Callable[[], tuple[str, dict[str, Any]]]
    ) -> None:
        self._stream = stream
        self._cache = cache
        self._heartbeat = heartbeat
        self._bars: asyncio.Queue[tuple[str, BarBatch]] = asyncio.Queue(MAX_BARS)
        self._statistics: dict[str, bytes] = {}
        self.dropped = 0

    async def publish(self, parcel: Parcel) -> None:
        """Say a batch, and what came of it."""
        await self._stream.put("batch", encode_parcel(parcel))

    def tell(self, word: str, bars: BarBatch) -> None:
        """Say bars that no batch closed, as soon as may be: ``history`` or ``rebuilt``."""
        if self._bars.full():
            self.dropped += 1
            self._bars.get_nowait()
        self._bars.put_nowait((word, bars))

    async def tell_bars(self) -> None:
        """Say, for ever, the bars that wait."""
        while True:
            word, bars = await self._bars.get()
            await self._stream.put("bars", encode_parcel(Parcel(TickBatch.empty(bars.symbols, 0), (bars,))), word)

    def note_statistics(self, stats: RollingStats) -> None:
        """Keep the statistics of closes for the cache, the newest of each symbol."""
        if len(stats):
            self._statistics |= statistics_entries(stats)

    async def keep_statistics(self) -> None:
        """Put, for ever, noted statistics into the cache."""
        while True:
            await asyncio.sleep(STATISTICS_S)
            entries, self._statistics = self._statistics, {}
            await self._cache.put_many(entries, STATISTICS_TTL_S)

    async def beat(self) -> None:
        """Say once a second that the process lives, and how it does."""
        while True:
            await self.beat_once()
            await asyncio.sleep(HEARTBEAT_S)

    async def beat_once(self) -> None:
        """Say it now."""
        key, said = self._heartbeat()
        await self._cache.put_many({key: schemas.plain_json(said)}, HEARTBEAT_TTL_S)
