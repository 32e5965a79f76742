"""The cache on a Redis server: last values for a while, as hashes where people read them field by field."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec
import structlog

from pairscope.errors import CacheUnavailable
from pairscope.storage.redis_client import RedisClient
from pairscope.storage.redis_outbox import RedisOutbox

__all__ = ["RedisCache"]

_log = structlog.get_logger(__name__)

_HASHES: Final = ("price:", "stats:")
"""Keys whose value is an object that is kept as a hash, a field each."""
_AGAIN_S: Final = 0.3
EVERY_S: Final = 0.1
"""Values go out so often; of what a key was given meanwhile the last one goes."""
AT_ONCE: Final = 1_000
"""Keys that one script writes: a few milliseconds of Redis, in which it serves nobody else."""
_WRITE: Final = """
for _, each in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key, ttl, value = each[1], each[2], each[3]
  if type(value) == 'string' then
    redis.call('SET', key, value, 'PX', ttl)
  else
    local answer = redis.pcall('HSET', key, unpack(value))
    local failed = type(answer) == 'table' and answer.err
    if failed and not string.find(failed, 'WRONGTYPE') then return answer end
    if failed or redis.call('HLEN', key) ~= #value / 2 then
      redis.call('DEL', key)
      redis.call('HSET', key, unpack(value))
    end
    redis.call('PEXPIRE', key, ttl)
  end
end
"""
"""Writes [key, milliseconds, text or [field, text, ...]] as one, so that nobody sees a hash without its fields.

In one argument, since the driver would spend a microsecond on each of many.
"""
_STARTS_JSON: Final = frozenset(b'"-0123456789tfn[{ \t\r\n')
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
    """``Cache`` on Redis. Nobody who writes waits for it: all that came meanwhile goes out at once, every 0.1 s.

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
        self._hurry = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._script: Any = None
        self._task: asyncio.Task[None] | None = None
        self._counters = {"written_total": 0, "round_trips_total": 0, "dropped_total": 0, "unanswered_reads_total": 0}

    async def put_many(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        """Keep values for ``ttl_s`` seconds, in place of what their keys held."""
        if not values:
            return
        ends_s = self._clock() + ttl_s
        for key, value in values.items():
            self._waiting.pop(key, None)
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
        self._hurry.set()
        await self._changes.close()
        if self._task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._idle.wait()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._counters["dropped_total"] += len(self._waiting)
            self._waiting.clear()

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            began_s = time.monotonic()
            now_s = self._clock()
            self._waiting = {key: each for key, each in self._waiting.items() if each.ends_s > now_s}
            sent = dict(islice(self._waiting.items(), AT_ONCE))
            try:
                await self._client.ask(lambda server, sent=sent: self._written(server, sent))  # type: ignore[misc]
            except CacheUnavailable:
                await asyncio.sleep(_AGAIN_S)
                continue
            self._counters["written_total"] += len(sent)
            self._counters["round_trips_total"] += 1
            for key, each in sent.items():
                if self._waiting.get(key) is each:
                    del self._waiting[key]
            if len(sent) < AT_ONCE:
                await self._rest(began_s + EVERY_S - time.monotonic())

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _written(self, server: Any, values: Mapping[str, _Waiting]) -> None:
        """Write values, each with its time, in one round trip; what is no object where one is due is left out."""
        written: list[bytes] = []
        for key, each in values.items():
            value = _text(each.value)
            if key.startswith(_HASHES):
                try:
                    members = _members(each.value)
                except msgspec.DecodeError:
                    members = []
                if not members:
                    self._counters["dropped_total"] += 1
                    _log.error("what is no object cannot be kept as a hash", key=key)
                    continue
                value = _array([_text(member) for member in members])
            ttl_ms = max(int(each.ttl_s * 1000), 1)
            written.append(_array([_text(key.encode()), b"\xcf" + ttl_ms.to_bytes(8), value]))
        if self._script is None:
            self._script = server.register_script(_WRITE)
        await self._script(args=[_array(written)], client=server)

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


def _text(text: bytes) -> bytes:
    """Return MessagePack's text; Redis does not know its type for bytes, and takes any for text."""
    return b"\xdb" + len(text).to_bytes(4) + text


def _array(items: Sequence[bytes]) -> bytes:
    return b"\xdd" + len(items).to_bytes(4) + b"".join(items)


def _members(value: bytes) -> list[bytes]:
    """Return names and members of an object as people read them: text bare where it cannot be taken for a number."""
    found: list[bytes] = []
    for name, raw in _MEMBERS.decode(value).items():
        text = bytes(raw)
        if text[0] == 34:  # a quote
            plain = msgspec.json.decode(text, type=str).encode()
            text = text if _is_json(plain) else plain
        found += (name.encode(), text)
    return found


def _joined(fields: Mapping[bytes, bytes]) -> bytes:
    """Return the object that ``_members`` took apart."""
    members = (
        msgspec.json.encode(name.decode()) + b":" + (text if _is_json(text) else msgspec.json.encode(text.decode()))
        for name, text in fields.items()
    )
    return b"{" + b",".join(members) + b"}"


def _is_json(text: bytes) -> bool:
    if not text or text[0] not in _STARTS_JSON:
        return False
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return True
