"""The bus of one process among several: what only one of them works out reaches the listeners of all through Redis."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import orjson
import structlog

from pairscope.errors import CacheUnavailable
from pairscope.ports import Subscription
from pairscope.storage.memory_cache import MemoryBus
from pairscope.storage.redis_client import RedisClient, uninterrupted
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
DEAF_S: Final = 5.0
"""A connection that brings nothing for so long, not even what this process itself says each second, is dead."""
AGAIN_S: Final = 0.5
MAX_TOPICS: Final = 4_096
"""Topics of others whose numbers are remembered, and that are told to a process that has just begun."""

Notice = Callable[[Mapping[str, Any]], None]


class _Said(msgspec.Struct):
    """A message between processes; a value stays the bytes that it was."""

    origin: str = msgspec.field(name="from")
    topic: str = ""
    seq: int = 0
    value: msgspec.Raw = msgspec.Raw(b"null")
    wanted: list[str] | None = None
    new: bool = False
    seqs: dict[str, int] | None = None


class RedisBus:
    """``Bus`` over a bus of this process: ``shared`` topics go to the buses of the others too, with their ``seq``.

    What is published waits for nobody: it is sent beside, at most ``most`` messages wait, and ``dropped`` counts what
    had to go. While Redis is away the listeners of this process hear as ever, and the others afterwards what waited.
    ``start`` begins to hear the others and to learn their numbers, so that whoever publishes next goes on behind them;
    one that could not is heard all the same, under numbers of this process. ``notify`` and ``on_notice`` carry short
    documents between processes.
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
        self._shared_topics: dict[str, None] = {}
        self._last: dict[tuple[str, str], int] = {}
        self._hears_since_s: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._counters = {"heard_total": 0, "unreadable_total": 0, "interruptions_total": 0, "crashes_total": 0}

    async def start(self) -> None:
        """Begin to hear what others publish."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._kept_up(self._listen), name="bus: listen"),
                asyncio.create_task(self._kept_up(self._announce), name="bus: announce"),
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
            self._note(topic)
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

    async def _kept_up(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something for as long as the process lives, again where it ends by a mistake of ours."""
        while True:
            try:
                await work()
            except Exception:  # noqa: BLE001 - a mistake must not leave this process deaf to the others
                self._counters["crashes_total"] += 1
                _log.exception("the bus between processes begins again")
            await asyncio.sleep(AGAIN_S)

    async def _announce(self) -> None:
        """Say every second which shared topics are listened to here; others hear it, and we that we still hear."""
        greeted_s: float | None = None
        while True:
            hears_s = self._hears_since_s
            new = hears_s is None or hears_s != greeted_s
            topics = [topic for topic in self._local.wanted() if self._shared(topic)]
            said = orjson.dumps({"from": self._name, "wanted": topics, "new": new})
            with suppress(CacheUnavailable):  # what cannot be sent is said again in a moment
                await self._client.ask(lambda server, said=said: server.publish(TOPICS, said))  # type: ignore[misc]
                greeted_s = hears_s  # who did not hear yet has missed the answer, and asks for it again
            await asyncio.sleep(ANNOUNCE_S)

    async def _listen(self) -> None:
        """Hear the channels until they cannot be heard."""
        ear = self._client.subscription()
        try:
            await uninterrupted(ear.subscribe(TOPICS, *self._notices))
            self._hears_since_s = heard_s = self._monotonic()
            while self._monotonic() < heard_s + DEAF_S:
                message: Any = await uninterrupted(ear.get_message(timeout=ANNOUNCE_S))
                if message is not None:
                    heard_s = self._monotonic()
                    self._hear(message["channel"].decode(), message["data"])
        except Exception as error:
            if not self._client.is_failure(error):
                raise
        finally:
            self._hears_since_s = None
            self._counters["interruptions_total"] += 1
            await self._client.hang_up(ear)

    def _hear(self, channel: str, message: bytes) -> None:
        try:
            said = msgspec.json.decode(message, type=_Said)
            if said.origin == self._name:
                return
            document = msgspec.json.decode(message, type=dict[str, Any]) if channel != TOPICS else {}
        except msgspec.DecodeError as error:
            self._counters["unreadable_total"] += 1
            _log.warning("a message of another process cannot be read", channel=channel, error=str(error))
            return
        self._counters["heard_total"] += 1
        if channel != TOPICS:
            self._hand_on(channel, document)
        elif said.seqs is not None:
            for topic, seq in said.seqs.items():
                self._note(topic)
                self._local.resume(topic, seq)
        elif said.wanted is not None:
            self._elsewhere[said.origin] = self._monotonic(), frozenset(said.wanted)
            if said.new and self._shared_topics:
                seqs = {topic: self._local.seq(topic) for topic in self._shared_topics}
                self._outbox.put((TOPICS, orjson.dumps({"from": self._name, "seqs": seqs})))
        else:
            self._take(said.origin, said.topic, said.seq, bytes(said.value))

    def _hand_on(self, channel: str, document: Mapping[str, Any]) -> None:
        for hear in self._notices.get(channel, ()):
            try:
                hear(document)
            except Exception:  # noqa: BLE001 - one that cannot follow must not keep the others from hearing
                self._counters["crashes_total"] += 1
                _log.exception("a notice of another process could not be followed", channel=channel)

    def _take(self, origin: str, topic: str, seq: int, value: bytes) -> None:
        """Publish here what another process published, once, under its number where that is a greater one."""
        known = self._last.pop((origin, topic), 0)
        self._last[origin, topic] = max(known, seq)
        if len(self._last) > MAX_TOPICS:
            del self._last[next(iter(self._last))]
        if seq > known:
            self._note(topic)
            self._local.resume(topic, seq - 1)
            self._local.publish(topic, value)

    def _note(self, topic: str) -> None:
        """Remember a shared topic as one that was spoken of lately."""
        self._shared_topics.pop(topic, None)
        self._shared_topics[topic] = None
        if len(self._shared_topics) > MAX_TOPICS:
            del self._shared_topics[next(iter(self._shared_topics))]
