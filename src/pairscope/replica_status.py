"""How an API replica does: its shards by their heartbeats, store and cache, and what it says of them all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog

from pairscope.errors import StorageError
from pairscope.pipeline import Pipeline
from pairscope.ports import Cache, Clock
from pairscope.replica_feed import ReplicaFeed
from pairscope.storage.tick_storage import StoreWriter

__all__ = ["Heartbeats", "StorePulse", "replica_health", "replica_stats"]

_log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
MOST_SHARDS: Final = 64
SILENT_MS: Final = 5_000
"""A heartbeat that is older than this is a shard's that nobody keeps."""
PATIENCE_S: Final = 3.0
_RANK: Final = ("ok", "degraded", "down")


class Heartbeats:
    """What the active process of each shard says of itself every second, read of the cache.

    While the cache is away the last ones are kept: who was active then still is.
    """

    def __init__(self, cache: Cache, *, clock: Clock = time.time_ns) -> None:
        self._cache = cache
        self._clock = clock
        self._heard: dict[int, dict[str, Any]] = {}
        self.count = 0
        """How many shards there are; 0 until one was heard of."""
        self.heard = asyncio.Event()

    async def look(self) -> None:
        """Read what there is now."""
        fresh: dict[int, dict[str, Any]] = {}
        for shard in range(self.count or MOST_SHARDS):
            if (beat := await self._read(shard)) is not None:
                fresh[shard] = beat
                self.count = max(self.count, _count(beat))
            if shard + 1 >= self.count > 0:
                break
        if fresh:
            self.count = _count(max(fresh.values(), key=lambda beat: int(beat.get("at_ms", 0))))
            self.heard.set()
        self._heard = {shard: beat for shard, beat in {**self._heard, **fresh}.items() if shard < self.count}

    async def run(self) -> None:
        """Look once a second until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    def active(self) -> Mapping[int, Mapping[str, Any]]:
        """Return the newest heartbeat of each shard that has one."""
        return self._heard

    def silent(self) -> list[int]:
        """Return the shards of which nothing was heard lately."""
        now_ms = self._clock() // 1_000_000
        return [
            shard for shard in range(self.count) if now_ms - int(self._heard.get(shard, {}).get("at_ms", 0)) > SILENT_MS
        ]

    def total(self, name: str) -> float:
        """Return the sum of a number over the shards."""
        return sum(float(beat.get(name) or 0) for beat in self._heard.values())

    async def _read(self, shard: int) -> dict[str, Any] | None:
        raw = await self._cache.get(f"shard:{shard}")
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw, type=dict[str, Any])
        except msgspec.DecodeError:
            _log.warning("a heartbeat cannot be read", shard=shard)
            return None


class StorePulse:
    """Whether the store answers, asked every second."""

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self._ask = ask
        self._refusal = "it has not been asked yet"

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.feel()
            await asyncio.sleep(LOOK_S)

    async def feel(self) -> None:
        """Ask once."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._ask()
        except TimeoutError:
            self._refusal = f"no answer within {PATIENCE_S:g} s"
        except StorageError as error:
            self._refusal = str(error)
        else:
            self._refusal = ""

    @property
    def answers(self) -> bool:
        """Whether it answered the last time."""
        return not self._refusal

    def status(self) -> dict[str, Any]:
        """Return the store's check; degraded while it is away: live values go on."""
        return {"status": "degraded", "reason": self._refusal} if self._refusal else {"status": "ok"}


def replica_health(
    beats: Heartbeats, feed: ReplicaFeed | None, store: Mapping[str, Any], cache: Mapping[str, Any]
) -> Mapping[str, Mapping[str, Any]]:
    """Return the checks of ``/api/health``: the feed is as bad as the worst shard's, or as our own hearing of them.

    Shards that are silent because the cache is away may well be at work: then the feed is degraded, and not down.
    """
    return {"feed": _feed_check(beats, feed, is_heard=cache.get("status") == "ok"), "store": store, "cache": cache}


def _feed_check(beats: Heartbeats, feed: ReplicaFeed | None, *, is_heard: bool) -> Mapping[str, Any]:
    if feed is None or not beats.count:
        return {"status": "degraded", "reason": "waiting for an ingest process"}
    shards = {str(shard): dict(beat.get("feed", {})) for shard, beat in sorted(beats.active().items())}
    check: dict[str, Any] = {"status": "ok", "shards": shards, "last_batch_age_ms": round(feed.quiet_s() * 1000)}
    reasons: list[tuple[str, str]] = []
    if silent := beats.silent():
        if is_heard:
            status = "down" if len(silent) == beats.count else "degraded"
            reasons.append((status, f"no active ingest process of shard {_listed(silent)}"))
        else:
            reasons.append(
                ("degraded", "no shard is heard of while the cache is away; the market comes from the store")
            )
    for shard, said in shards.items():
        if said.get("status", "down") != "ok":
            reasons.append((said.get("status", "down"), f"shard {shard}: {said.get('reason', 'it says nothing')}"))
    if feed.quiet_s() > SILENT_MS / 1000:
        reasons.append(("degraded", f"nothing came of the market stream for {feed.quiet_s():.0f} s"))
    if reasons:
        check["status"] = max((status for status, _ in reasons), key=_RANK.index)
        check["reason"] = "; ".join(reason for _, reason in reasons)
    return check


def replica_stats(
    beats: Heartbeats, feed: ReplicaFeed | None, pipeline: Pipeline | None, writer: StoreWriter, now_ns: int
) -> Mapping[str, Any]:
    """Return the counters of ``/api/stats`` of what goes from the exchange to a replica: the shards' and our own."""
    heard = dict(feed.counters()) if feed is not None else {}
    written = dict(writer.counters())
    seen_ns = pipeline.last_tick_ns if pipeline is not None else 0
    queues: dict[str, Any] = {"writer": {name: written[name] for name in ("depth", "capacity", "lag_ms")}}
    if heard:
        queues["market_stream"] = {"depth": heard["depth"], "capacity": heard["capacity"]}
    following = {symbol for beat in beats.active().values() for symbol in beat.get("symbols", ())}
    return {
        "rates": {"ticks_per_second": round(pipeline.rate.per_second(now_ns), 1) if pipeline else 0.0},
        "feed": {
            "gaps_pending": int(beats.total("open_gaps")),
            "reconnects": int(beats.total("reconnects")),
            "missing_here": feed.missing() if feed is not None else 0,
        },
        "shards": {str(shard): _brief(beat) for shard, beat in sorted(beats.active().items())},
        "market_stream": heard,
        "reconnects": int(beats.total("reconnects")),
        "queues": queues,
        "writer": written,
        "late_ticks": pipeline.late if pipeline else 0,
        "last_tick_age_ms": max(0, now_ns - seen_ns) // 1_000_000 if seen_ns else None,
        "feed_lag_ms": round(pipeline.lag_ns / 1e6, 3) if pipeline and pipeline.lag_ns is not None else None,
        "engine": {
            "batches_total": pipeline.batches if pipeline else 0,
            "busy_ms_total": round(pipeline.busy_ns / 1e6, 3) if pipeline else 0.0,
        },
        "following": len(following),
    }


def _count(beat: Mapping[str, Any]) -> int:
    """Return how many shards a heartbeat speaks of."""
    return int(str(beat.get("shard", "0/1")).partition("/")[2] or 1)


def _brief(beat: Mapping[str, Any]) -> dict[str, Any]:
    """Return a heartbeat without the names of its symbols."""
    return {name: value for name, value in beat.items() if name != "symbols"}


def _listed(shards: Sequence[int]) -> str:
    return ", ".join(str(shard) for shard in shards)
