"""Cache and bus in process: the last value of a key for a while, and updates to whoever listens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from pairscope.ports import Message

__all__ = ["MAX_WAITING_ALERTS", "MemoryBus", "MemoryCache", "MemorySubscription"]

MAX_WAITING_ALERTS = 1_000
"""Alerts that may wait for one listener; with one more its subscription is closed."""


class MemoryCache:
    """``Cache`` as dictionaries, one a time to live, each in the order in which its entries end.

    At ``max_entries`` the entry that would end next makes room, and ``evicted`` counts it. Every call costs O(keys
    asked) and what has expired, amortised. To be used from one thread.
    """

    def __init__(self, *, max_entries: int = 100_000, clock: Callable[[], float] = monotonic) -> None:
        self._max_entries = max_entries
        self._clock = clock
        self._classes: dict[float, dict[str, tuple[float, bytes]]] = {}
        self._home: dict[str, float] = {}
        self._lists: dict[str, deque[bytes]] = {}
        self._sets: dict[str, set[str]] = {}
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._home)

    async def put_many(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        """Keep values for ``ttl_s`` seconds, in place of what their keys held."""
        now = self._clock()
        self._expire(now)
        ends = now + ttl_s
        for key, value in values.items():
            self._forget(key)
            if len(self._home) >= self._max_entries:
                self._evict()
            self._classes.setdefault(ttl_s, {})[key] = (ends, value)
            self._home[key] = ttl_s

    async def get(self, key: str) -> bytes | None:
        """Return a key's value, None where there is none or its time is over."""
        home = self._home.get(key)
        if home is None:
            return None
        ends, value = self._classes[home][key]
        return value if ends > self._clock() else None

    async def push(self, key: str, value: bytes, keep: int) -> None:
        """Put a value at the head of a list, which keeps the newest ``keep``."""
        held = self._lists.get(key)
        if held is None or held.maxlen != keep:
            held = self._lists[key] = deque(held or (), keep)
        held.appendleft(value)

    async def add(self, key: str, members: Sequence[str]) -> None:
        """Put members into a set."""
        self._sets.setdefault(key, set()).update(members)

    def listed(self, key: str) -> Sequence[bytes]:
        """Return a list, the newest first."""
        return list(self._lists.get(key, ()))

    def members(self, key: str) -> frozenset[str]:
        """Return a set."""
        return frozenset(self._sets.get(key, ()))

    def counters(self) -> Mapping[str, int]:
        """Return how many entries there are and may be, and how many had to go before their time."""
        return {"entries": len(self._home), "capacity": self._max_entries, "evicted_total": self.evicted}

    def _forget(self, key: str) -> None:
        home = self._home.pop(key, None)
        if home is None:
            return
        entries = self._classes[home]
        del entries[key]
        if not entries:
            del self._classes[home]

    def _expire(self, now: float) -> None:
        for entries in list(self._classes.values()):
            while entries:
                key, (ends, _) = next(iter(entries.items()))
                if ends > now:
                    break
                self._forget(key)

    def _evict(self) -> None:
        heads = (next(iter(entries.items())) for entries in self._classes.values())
        key, _ = min(heads, key=lambda head: head[1][0])
        self._forget(key)
        self.evicted += 1


class MemorySubscription:
    """What one listener of a :class:`MemoryBus` hears. Made by ``MemoryBus.subscribe``."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._topics: frozenset[str] = frozenset()
        self._waiting: dict[str | tuple[str, int], Message] = {}
        self._alerts = 0
        self._awaited: asyncio.Future[None] | None = None
        self.closed = False

    @property
    def topics(self) -> frozenset[str]:
        """What is listened to."""
        return self._topics

    def add(self, topics: Sequence[str]) -> None:
        """Listen to topics from now on."""
        if not self.closed:
            new = frozenset(topics) - self._topics
            self._topics |= new
            self._bus._enlist(self, new)

    def remove(self, topics: Sequence[str]) -> None:
        """Stop listening to topics; what waits of them is let go."""
        gone = frozenset(topics) & self._topics
        self._topics -= gone
        self._bus._dismiss(self, gone)
        for key in [key for key, message in self._waiting.items() if message.topic in gone]:
            del self._waiting[key]
            self._alerts -= isinstance(key, tuple)

    async def next(self) -> Sequence[Message]:
        """Wait until something is there and take all of it, oldest first; empty when the subscription was closed."""
        while not self._waiting and not self.closed:
            self._awaited = asyncio.get_running_loop().create_future()
            try:
                await self._awaited
            finally:
                self._awaited = None
        taken = list(self._waiting.values())
        self._waiting = {}
        self._alerts = 0
        return taken

    def close(self) -> None:
        """Stop listening; ``next`` returns what still waits, then nothing."""
        if not self.closed:
            self.closed = True
            self._bus._dismiss(self, self._topics)
            self._topics = frozenset()
            self._wake()

    def _offer(self, message: Message, *, conflate: bool) -> bool:
        """Take a message; False where it pushed out an older one of its topic."""
        key: str | tuple[str, int] = message.topic if conflate else (message.topic, message.seq)
        pushed_out = self._waiting.pop(key, None)
        self._waiting[key] = message
        if not conflate:
            self._alerts += 1
            if self._alerts > self._bus.max_waiting_alerts:
                self._waiting.clear()
                self.close()
        self._wake()
        return pushed_out is None

    def _wake(self) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)


class MemoryBus:
    """``Bus`` in one event loop. ``publish`` is called from the loop's thread and costs O(listeners of the topic).

    A listener that has not taken a topic's last value gets the newer one in its place (``conflated`` counts them);
    alerts are kept whole, up to ``max_waiting_alerts``, beyond which the subscription is closed (``closed_slow``).
    """

    def __init__(self, *, max_waiting_alerts: int = MAX_WAITING_ALERTS) -> None:
        self.max_waiting_alerts = max_waiting_alerts
        self.published = 0
        self.conflated = 0
        self.closed_slow = 0
        self._seq: dict[str, int] = {}
        self._listeners: dict[str, dict[MemorySubscription, None]] = {}
        self._wanted: frozenset[str] | None = frozenset()

    def publish(self, topic: str, value: bytes) -> int:
        """Hand a topic's whole value to who listens now; never waits. Returns its ``seq``."""
        seq = self._seq[topic] = self._seq.get(topic, 0) + 1
        self.published += 1
        listeners = self._listeners.get(topic)
        if listeners:
            message = Message(topic, seq, value)
            conflate = not (topic == "alerts" or topic.startswith("alerts:"))
            for listener in list(listeners):
                self.conflated += not listener._offer(message, conflate=conflate)
                self.closed_slow += listener.closed
        return seq

    def seq(self, topic: str) -> int:
        """The last ``seq`` of a topic; 0 before its first."""
        return self._seq.get(topic, 0)

    def resume(self, topic: str, seq: int) -> None:
        """Go on behind a ``seq`` that an earlier run has told; a smaller one than the topic's last changes nothing."""
        self._seq[topic] = max(self.seq(topic), seq)

    def wanted(self) -> frozenset[str]:
        """Topics that somebody listens to; the same object until that changes."""
        if self._wanted is None:
            self._wanted = frozenset(self._listeners)
        return self._wanted

    def subscribe(self) -> MemorySubscription:
        """Return a subscription that hears nothing yet."""
        return MemorySubscription(self)

    def counters(self) -> Mapping[str, int]:
        """Return what was published, what a newer value took the place of, and who was closed for being slow."""
        return {
            "topics": len(self._listeners),
            "published_total": self.published,
            "conflated_total": self.conflated,
            "closed_slow_total": self.closed_slow,
        }

    def _enlist(self, listener: MemorySubscription, topics: frozenset[str]) -> None:
        for topic in topics:
            held = self._listeners.get(topic)
            if held is None:
                held = self._listeners[topic] = {}
                self._wanted = None
            held[listener] = None

    def _dismiss(self, listener: MemorySubscription, topics: frozenset[str]) -> None:
        for topic in topics:
            held = self._listeners.get(topic, {})
            held.pop(listener, None)
            if not held and self._listeners.pop(topic, None) is not None:
                self._wanted = None
