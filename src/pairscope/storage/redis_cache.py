"""The cache on a Redis server: last values for a while, as hashes where people read them field by field."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pairscope.errors import CacheUnavailable
from pairscope.storage.redis_client import RedisClient
from pairscope.storage.redis_outbox import RedisOutbox

__all__ = ["RedisCache"]

_HASHES: Final = ("price:", "stats:")
"""Keys whose value is an object that is kept as a hash, a field each."""
_AGAIN_S: Final = 0.3
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class _Waiting:
    value: bytes
    ttl_s: float
    ends_s: float


@dataclass(frozen=True, slots=True)
class _Change:
    """A value for the head of a list that keeps ``keep`` of them, or members of a set (``keep`` 0)."""

    key: str
    values: tuple[bytes, ...]
    keep: int


class RedisCache:
    """``Cache`` on Redis. Nobody who writes waits for it: values go out together, all that came meanwhile at once.

    A value that waits is what ``get`` gives. While Redis is away the newest value of each key waits, at most
    ``max_waiting`` keys, until its time is over; ``dropped`` counts the others. Reading then gives None.
    """

    def __init__(
        self, client: RedisClient, *, max_waiting: int = 100_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._max_waiting = max_waiting
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}
        self._changes: RedisOutbox[_Change] = RedisOutbox(self._send_changes, most=10_000)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._counters = {"written_total": 0, "round_trips_total": 0, "dropped_total": 0, "unanswered_reads_total": 0}

    async def put_many(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        """Keep values for ``ttl_s`` seconds, in place of what their keys held."""
        if not values:
            return
        ends_s = self._clock() + ttl_s
        for key, value in values.items():
            self._waiting[key] = _Waiting(value, ttl_s, ends_s)
        while len(self._waiting) > self._max_waiting:
            del self._waiting[next(iter(self._waiting))]
            self._counters["dropped_total"] += 1
        self._idle.clear()
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="redis cache")

    async def get(self, key: str) -> bytes | None:
        """Return a key's value; None where there is none, its time is over, or Redis is away."""
        waiting = self._waiting.get(key)
        if waiting is not None and waiting.ends_s > self._clock():
            return waiting.value
        try:
            if key.startswith(_HASHES):
                fields: Any = await self._client.ask(lambda server: server.hgetall(key), reading=True)
                return _joined(fields) if fields else None
            return await self._client.ask(lambda server: server.get(key), reading=True)
        except CacheUnavailable:
            self._counters["unanswered_reads_total"] += 1
            return None

    async def push(self, key: str, value: bytes, keep: int) -> None:
        """Put a value at the head of a list, which keeps the newest ``keep``."""
        self._changes.put(_Change(key, (value,), keep))

    async def add(self, key: str, members: Sequence[str]) -> None:
        """Put members into a set."""
        if members:
            self._changes.put(_Change(key, tuple(member.encode() for member in members), 0))

    def counters(self) -> Mapping[str, int]:
        """Return what was written and dropped, what waits, and how many reads had no answer."""
        dropped = self._counters["dropped_total"] + self._changes.dropped
        waiting = len(self._waiting) + len(self._changes)
        return {**self._counters, "dropped_total": dropped, "waiting": waiting, "capacity": self._max_waiting}

    async def close(self) -> None:
        """Send what waits, for at most a second, and stop."""
        await self._changes.close()
        if self._task is not None:
            try:
                await asyncio.wait_for(self._idle.wait(), 1.0)
            except TimeoutError:
                self._counters["dropped_total"] += len(self._waiting)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            sent = dict(self._waiting)
            now_s = self._clock()
            due = {key: each for key, each in sent.items() if each.ends_s > now_s}
            try:
                await self._client.ask(lambda server, due=due: _written(server, due))  # type: ignore[misc]
            except CacheUnavailable:
                self._waiting = {key: each for key, each in self._waiting.items() if each.ends_s > self._clock()}
                await asyncio.sleep(_AGAIN_S)
                continue
            self._counters["written_total"] += len(due)
            self._counters["round_trips_total"] += 1
            for key, each in sent.items():
                if self._waiting.get(key) is each:
                    del self._waiting[key]

    async def _send_changes(self, changes: Sequence[_Change]) -> None:
        async def work(server: Any) -> None:
            async with server.pipeline(transaction=False) as pipe:
                for change in changes:
                    if change.keep:
                        pipe.lpush(change.key, *change.values)
                        pipe.ltrim(change.key, 0, change.keep - 1)
                    else:
                        pipe.sadd(change.key, *change.values)
                await pipe.execute()

        await self._client.ask(work)


async def _written(server: Any, values: Mapping[str, _Waiting]) -> None:
    """Write values in one round trip, each with its time."""
    async with server.pipeline(transaction=False) as pipe:
        for key, each in values.items():
            ttl_ms = max(int(each.ttl_s * 1000), 1)
            if key.startswith(_HASHES):
                pipe.hset(key, mapping=_members(each.value))
                pipe.pexpire(key, ttl_ms)
            else:
                pipe.set(key, each.value, px=ttl_ms)
        await pipe.execute()


def _members(value: bytes) -> dict[str, bytes]:
    """Return the members of an object as people read them: text without its quotes where it cannot be mistaken."""
    found = {}
    for name, raw in _MEMBERS.decode(value).items():
        text = bytes(raw)
        if text.startswith(b'"'):
            plain = msgspec.json.decode(text, type=str).encode()
            text = text if _is_json(plain) else plain
        found[name] = text
    return found


def _joined(fields: Mapping[bytes, bytes]) -> bytes:
    """Return the object that ``_members`` took apart."""
    members = (
        msgspec.json.encode(name.decode()) + b":" + (text if _is_json(text) else msgspec.json.encode(text.decode()))
        for name, text in fields.items()
    )
    return b"{" + b",".join(members) + b"}"


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return True
