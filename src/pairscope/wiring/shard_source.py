"""The shards' streams in Redis as a replica's feed wants them: decoded, with the time at which each thing was heard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec
import structlog

from pairscope.replica_feed import Lost
from pairscope.shard_merge import ShardEntry
from pairscope.storage.market_stream import MarketStreamReader, StreamEntry
from pairscope.storage.redis_client import RedisClient
from pairscope.storage.spool import decode_parcel

__all__ = ["StreamSource", "shard_entry"]

_log = structlog.get_logger(__name__)

FRESH_NS: Final = 1_000_000_000
"""What was said so soon behind its newest tick is all that its shard had by then; later it was remembered, or waited.
"""


class StreamSource:
    """``ShardSource`` over Redis, from what the shards said since ``since_ns`` on.

    What cannot be read (a shard of a newer version) is told, counted and taken as lost: the store has it.
    """

    def __init__(self, redis: RedisClient, shards: Sequence[int], *, since_ns: int) -> None:
        self._reader = MarketStreamReader(redis, shards, since_ns=since_ns)
        self.unreadable = 0

    async def entries(self) -> AsyncIterator[ShardEntry | Lost]:
        """Yield for as long as somebody listens."""
        async for said in self._reader.entries():
            if not isinstance(said, StreamEntry):
                yield Lost(said.shard, said.from_ns)
                continue
            try:
                entry = shard_entry(said)
            except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
                self.unreadable += 1
                _log.error("an entry of the market stream cannot be read", shard=said.shard, error=str(error))
                yield Lost(said.shard, said.ts_ns)
            else:
                yield entry


def shard_entry(said: StreamEntry) -> ShardEntry:
    """Return what a shard said, decoded; ``msgspec.DecodeError`` or the errors of a wrong type where it is no such."""
    parcel = decode_parcel(said.payload)
    batch = parcel.batch
    if said.kind == "bars":
        return ShardEntry(said.shard, said.ts_ns, batch, bars=parcel.bars, word=said.word)
    if not len(batch):
        return ShardEntry(said.shard, said.ts_ns, batch, parcel.verdicts)
    first_ns, last_ns = int(batch.ts_recv_ns.min()), int(batch.ts_recv_ns.max())
    until_ns = max(last_ns, said.ts_ns) if said.ts_ns - last_ns < FRESH_NS else last_ns
    return ShardEntry(said.shard, first_ns, batch, parcel.verdicts, until_ns=until_ns)
