"""What a shard says, batch by batch, as a stream in Redis that any number of readers follow from where they like."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pairscope.errors import CacheUnavailable
from pairscope.ports import Clock
from pairscope.storage.redis_client import RedisClient
from pairscope.storage.redis_outbox import RedisOutbox

__all__ = ["MarketStreamReader", "MarketStreamWriter", "StreamEntry", "StreamLoss"]

KEPT: Final = 4096
"""Entries that a stream keeps, more or less: a minute and more of a shard that speaks every 25 ms."""
KEPT_BYTES: Final = 64 << 20
"""What they may be together: of a shard that says much Redis keeps fewer, as many as its writer's last made so much."""
MAX_WRITERS: Final = 64
WAITING_BYTES: Final = 64 << 20
"""What waits to be published while Redis is away; the oldest goes first, the store has it."""
BLOCK_MS: Final = 500
READ_AT_ONCE: Final = 100
AGAIN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One thing that a shard said: ``kind`` ``batch`` or ``bars``, with a ``word`` where it needs one.

    ``seq`` counts what one ``writer`` (a process) says; ``ts_ns`` is its clock when it said so.
    """

    shard: int
    writer: str
    seq: int
    kind: str
    word: str
    ts_ns: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class StreamLoss:
    """Something that a shard said behind ``from_ns`` (0: nobody knows since when) did not come."""

    shard: int
    from_ns: int


class MarketStreamWriter:
    """The end of a shard's stream at which it speaks. Nobody waits for Redis: what cannot go yet waits here.

    An entry that is sent again because an answer was lost stands twice; readers know it by its ``seq``.
    """

    def __init__(
        self, client: RedisClient, shard: int, *, clock: Clock = time.time_ns, waiting_bytes: int = WAITING_BYTES
    ) -> None:
        self._client = client
        self._key = stream_key(shard)
        self._clock = clock
        self._writer = secrets.token_hex(6)
        self._seq = 0
        self._sizes: deque[int] = deque(maxlen=KEPT)
        self._bytes = 0
        self._kept = KEPT
        self._outbox: RedisOutbox[Mapping[str, Any]] = RedisOutbox(
            self._send, most=100_000, most_bytes=waiting_bytes, at_once=64, size_of=_size
        )

    async def put(self, kind: str, payload: bytes, word: str = "") -> None:
        """Say something; returns at once."""
        self._seq += 1
        said = {"w": self._writer, "n": self._seq, "k": kind, "d": word, "t": self._clock(), "p": payload}
        self._outbox.put(said)

    def counters(self) -> Mapping[str, int]:
        """Return what was said, what waits and what was dropped."""
        outbox = self._outbox
        return {
            "said_total": self._seq,
            "sent_total": outbox.sent,
            "waiting": len(outbox),
            "dropped_total": outbox.dropped,
        }

    async def close(self) -> None:
        """Send what waits, for at most a second."""
        await self._outbox.close()

    async def _send(self, entries: Sequence[Mapping[str, Any]]) -> None:
        async def work(server: Any) -> None:
            async with server.pipeline(transaction=False) as pipe:
                for entry in entries:
                    pipe.xadd(self._key, dict(entry), maxlen=self._kept, approximate=True)
                await pipe.execute()

        await self._client.ask(work)
        for entry in entries:
            self._weigh(_size(entry))

    def _weigh(self, size: int) -> None:
        """Note an entry of the stream; where ours are too much, only so many of them are kept from now on."""
        if len(self._sizes) == KEPT:
            self._bytes -= self._sizes[0]
        self._sizes.append(size)
        self._bytes += size
        full = len(self._sizes) == KEPT
        while self._bytes > KEPT_BYTES:
            self._bytes -= self._sizes.popleft()
            full = True
        if full:
            self._kept = len(self._sizes)


class MarketStreamReader:
    """Reads the streams of several shards, each in its own order, from what they said since ``since_ns`` on.

    Redis keeps what is not read yet, within its bound; where something was lost (read too late, dropped by its writer,
    gone with a Redis that was restarted) a :class:`StreamLoss` comes in its place, also before the first entry where
    the stream begins later than ``since_ns``.
    """

    def __init__(
        self,
        client: RedisClient,
        shards: Sequence[int],
        *,
        since_ns: int = 0,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._sleep = sleep
        self._at = {stream_key(shard): f"{max(since_ns, 0) // 1_000_000}-0" for shard in shards}
        self._shard_of = {stream_key(shard).encode(): shard for shard in shards}
        self._last: dict[int, dict[str, int]] = {shard: {} for shard in shards}
        self._heard_ns: dict[int, int] = dict.fromkeys(shards, 0)
        self._since_ns = since_ns
        self._unread = set(self._at) if since_ns > 0 else set()
        self._was_away = False
        self._counters = {"entries_total": 0, "losses_total": 0, "repeats_total": 0, "outages_total": 0}

    async def entries(self) -> AsyncIterator[StreamEntry | StreamLoss]:
        """Yield for as long as somebody listens; waits while Redis is away."""
        while True:
            try:
                if self._was_away:
                    await self._find_back()
                    self._was_away = False
                found: Any = await self._client.ask(
                    lambda server: server.xread(dict(self._at), count=READ_AT_ONCE, block=BLOCK_MS)
                )
            except CacheUnavailable:
                self._counters["outages_total"] += not self._was_away
                self._was_away = True
                await self._sleep(AGAIN_S)
                continue
            for key, several in found or ():
                shard = self._shard_of[key]
                if key.decode() in self._unread and several:
                    self._unread.remove(key.decode())
                    if await self._begins_late(key.decode(), int(several[0][1][b"n"])):
                        self._counters["losses_total"] += 1
                        yield StreamLoss(shard, self._since_ns)
                for at, fields in several:
                    self._at[key.decode()] = at.decode()
                    for each in self._judged(shard, fields):
                        yield each

    def counters(self) -> Mapping[str, int]:
        """Return how much was read, lost and read twice, and how often Redis was away."""
        return dict(self._counters)

    def _judged(self, shard: int, fields: Mapping[bytes, bytes]) -> list[StreamEntry | StreamLoss]:
        """Return an entry, behind a loss where its number says so; nothing for one that came before."""
        entry = StreamEntry(
            shard,
            fields[b"w"].decode(),
            int(fields[b"n"]),
            fields[b"k"].decode(),
            fields[b"d"].decode(),
            int(fields[b"t"]),
            fields[b"p"],
        )
        known = self._last[shard]
        last = known.get(entry.writer)
        if last is not None and entry.seq <= last:
            self._counters["repeats_total"] += 1
            return []
        # A writer that begins is at 1; where none was heard before, what it said earlier is from before our time.
        lost = entry.seq != (last + 1 if last is not None else 1) and (last is not None or bool(known))
        before_ns = self._heard_ns[shard]
        known.pop(entry.writer, None)
        known[entry.writer] = entry.seq
        if len(known) > MAX_WRITERS:
            del known[next(iter(known))]
        self._heard_ns[shard] = max(before_ns, entry.ts_ns)
        self._counters["entries_total"] += 1
        if not lost:
            return [entry]
        self._counters["losses_total"] += 1
        return [StreamLoss(shard, before_ns), entry]

    async def _begins_late(self, key: str, first_seq: int) -> bool:
        """Whether what a shard said before the first entry that was read may be lost to us: nothing older is kept."""
        try:
            oldest: Any = await self._client.ask(lambda server: server.xrange(key, count=1))
        except CacheUnavailable:
            return True
        before = bool(oldest) and _order(oldest[0][0].decode())[0] < self._since_ns // 1_000_000
        return first_seq != 1 and not before

    async def _find_back(self) -> None:
        """Begin a stream anew that ends before where we were: another Redis has forgotten what we have read."""
        for key, at in self._at.items():
            newest: Any = await self._client.ask(lambda server, key=key: server.xrevrange(key, count=1))  # type: ignore[misc]
            if not newest or _order(newest[0][0].decode()) < _order(at):
                self._at[key] = "0-0"


def stream_key(shard: int) -> str:
    """Return the key of a shard's stream.

    >>> stream_key(0)
    'market:0'
    """
    return f"market:{shard}"


def _size(entry: Mapping[str, Any]) -> int:
    return len(entry["p"]) + 100


def _order(at: str) -> tuple[int, int]:
    ms, _, number = at.partition("-")
    return int(ms), int(number or 0)
