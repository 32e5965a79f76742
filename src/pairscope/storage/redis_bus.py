"""The bus of one process among several: what only one of them works out reaches the listeners of all through Redis."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import orjson
import structlog

from pairscope.ports import Subscription
from pairscope.storage.memory_cache import MemoryBus
from pairscope.storage.redis_client import RedisClient
from pairscope.storage.redis_outbox import RedisOutbox

__all__ = ["RedisBus"]

_log = structlog.get_logger(__name__)

TOPICS: Final = "topics"
"""The channel on which processes hand shared topics to each other, and say which of them they listen to."""
ALERTS: Final = "alerts"
"""The channel on which whoever likes hears each alert as it is told."""
ANNOUNCE_S: Final = 1.0
WANTED_S: Final = 5.0
"""So long what another process listens to is remembered without hearing of it again."""
AGAIN_S: Final = 0.5

Notice = Callable[[Mapping[str, Any]], None]


class _Said(msgspec.Struct):
    """A message between processes; a value stays the bytes that it was."""

    origin: str = msgspec.field(name="from")
    topic: str = ""
    seq: int = 0
    value: msgspec.Raw = msgspec.Raw(b"null")
    wanted: list[str] | None = None


class RedisBus:
    """``Bus`` over a bus of this process: ``shared`` topics go to the buses of the others too, with their ``seq``.

    What is published waits for nobody: it is sent beside, at most ``most`` messages wait, and ``dropped`` counts what
    had to go. While Redis is away the listeners of this process hear as ever, and the others afterwards what waited.
    ``start`` begins to hear the others. ``notify`` and ``on_notice`` carry short documents between processes.
    """

    def __init__(
        self,
        local: MemoryBus,
        client: RedisClient,
        shared: Callable[[str], bool],
        *,
        most: int = 10_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._local = local
        self._client = client
        self._shared = shared
        self._monotonic = monotonic
        self._name = secrets.token_hex(6)
        self._outbox: RedisOutbox[tuple[str, bytes]] = RedisOutbox(self._send, most=most)
        self._notices: dict[str, list[Notice]] = {}
        self._elsewhere: dict[str, tuple[float, frozenset[str]]] = {}
        self._wanted: tuple[frozenset[str], frozenset[str], frozenset[str]] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._counters = {"heard_total": 0, "unreadable_total": 0, "interruptions_total": 0}

    async def start(self) -> None:
        """Begin to hear what others publish."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._listen(), name="bus: listen"),
                asyncio.create_task(self._announce(), name="bus: announce"),
            ]

    async def close(self) -> None:
        """Send what waits, and hear no more."""
        await self._outbox.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    # -- Bus -----------------------------------------------------------------------------------------------------------

    def publish(self, topic: str, value: bytes) -> int:
        """Hand a topic's whole value to who listens here and, where it is shared, elsewhere; returns its ``seq``."""
        seq = self._local.publish(topic, value)
        if self._shared(topic):
            document = {"from": self._name, "topic": topic, "seq": seq, "value": orjson.Fragment(value)}
            self._outbox.put((TOPICS, orjson.dumps(document)))
            if topic == ALERTS:
                self._outbox.put((ALERTS, value))
        return seq

    def seq(self, topic: str) -> int:
        """The last ``seq`` of a topic, whoever published it; 0 before its first."""
        return self._local.seq(topic)

    def resume(self, topic: str, seq: int) -> None:
        """Go on behind a ``seq`` that was told before."""
        self._local.resume(topic, seq)

    def wanted(self) -> frozenset[str]:
        """Topics that are listened to here or, of the shared ones, elsewhere; the same object until that changes."""
        here = self._local.wanted()
        now_s = self._monotonic()
        gone = [name for name, (heard_s, _) in self._elsewhere.items() if heard_s < now_s - WANTED_S]
        for name in gone:
            del self._elsewhere[name]
        elsewhere = frozenset().union(*(topics for _, topics in self._elsewhere.values()))
        if self._wanted is None or self._wanted[0] is not here or self._wanted[1] != elsewhere:
            self._wanted = here, elsewhere, here | elsewhere if elsewhere else here
        return self._wanted[2]

    def subscribe(self) -> Subscription:
        """Return a subscription that hears nothing yet."""
        return self._local.subscribe()

    def counters(self) -> Mapping[str, int]:
        """Return what the bus of this process counts, and what went to the others and came from them."""
        sent = {"sent_total": self._outbox.sent, "waiting": len(self._outbox), "dropped_total": self._outbox.dropped}
        return {**self._local.counters(), **sent, **self._counters}

    # -- notices -------------------------------------------------------------------------------------------------------

    def notify(self, channel: str, document: Mapping[str, Any]) -> None:
        """Tell the other processes something short on a channel of its own, like ``records``."""
        self._outbox.put((channel, orjson.dumps({**document, "from": self._name})))

    def on_notice(self, channel: str, hear: Notice) -> None:
        """Have what others tell on a channel handed to ``hear``; to be called before ``start``."""
        self._notices.setdefault(channel, []).append(hear)

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _send(self, messages: Sequence[tuple[str, bytes]]) -> None:
        async def work(server: Any) -> None:
            async with server.pipeline(transaction=False) as pipe:
                for channel, message in messages:
                    pipe.publish(channel, message)
                await pipe.execute()

        await self._client.ask(work)

    async def _announce(self) -> None:
        """Say which shared topics are listened to here, when that changes and every now and then."""
        while True:
            topics = sorted(topic for topic in self._local.wanted() if self._shared(topic))
            if topics or self._wanted is None:
                with suppress(Exception):  # what cannot be sent is said again in a moment
                    await self._client.ask(
                        lambda server, topics=topics: server.publish(  # type: ignore[misc]
                            TOPICS, orjson.dumps({"from": self._name, "wanted": topics})
                        )
                    )
            await asyncio.sleep(ANNOUNCE_S)

    async def _listen(self) -> None:
        """Hear the channels, for as long as the process lives."""
        while True:
            ear = self._client.subscription()
            try:
                await ear.subscribe(TOPICS, *self._notices)
                while True:
                    message: Any = await ear.get_message(ignore_subscribe_messages=True, timeout=1.0)
                    if message is not None:
                        self._hear(message["channel"].decode(), message["data"])
            except Exception as error:
                if not self._client.is_failure(error):
                    raise
                self._counters["interruptions_total"] += 1
            finally:
                with suppress(Exception):
                    await ear.aclose()
            await asyncio.sleep(AGAIN_S)

    def _hear(self, channel: str, message: bytes) -> None:
        try:
            said = msgspec.json.decode(message, type=_Said)
            if said.origin == self._name:
                return
            if channel != TOPICS:
                document = msgspec.json.decode(message, type=dict[str, Any])
                for hear in self._notices.get(channel, ()):
                    hear(document)
            elif said.wanted is not None:
                self._elsewhere[said.origin] = self._monotonic(), frozenset(said.wanted)
            else:
                self._take(said.topic, said.seq, bytes(said.value))
        except msgspec.DecodeError as error:
            self._counters["unreadable_total"] += 1
            _log.warning("a message of another process cannot be read", channel=channel, error=str(error))
            return
        self._counters["heard_total"] += 1

    def _take(self, topic: str, seq: int, value: bytes) -> None:
        """Publish here what another process published, under its ``seq``; what is older than we know is left out."""
        if seq > self._local.seq(topic):
            self._local.resume(topic, seq - 1)
            self._local.publish(topic, value)
