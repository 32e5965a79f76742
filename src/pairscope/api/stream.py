"""The stream ``/ws/updates``: whole current values with a ``seq``, newest only for who is slow.

A client is two tasks, one that reads its wishes and one that sends what the bus holds for it. The bus conflates what
is not taken, so a client that does not read costs a bounded buffer and, after a while, its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, closing, suppress
from functools import partial
from time import monotonic
from typing import Any

import orjson
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from pairscope.api.options import ApiOptions
from pairscope.api.problems import problem
from pairscope.api.security import SUBPROTOCOL
from pairscope.api.system import StatsView
from pairscope.api.topics import Topics
from pairscope.errors import InputError, PairscopeError
from pairscope.ports import Message, Services

__all__ = ["MAX_MESSAGE", "MOST_NAMED", "PART_S", "READ_AT_MOST", "Stream"]

MAX_MESSAGE = 128 * 1024
"""Bytes of one message: every topic that a connection may have fits into it."""
READ_AT_MOST = 4 * MAX_MESSAGE
"""Bytes of a message that is read at all, if only to be refused; a longer one ends the connection with 1009."""

RESTART, TRY_LATER = 1012, 1013
MOST_NAMED = 4096
"""Topics that one message may name."""
_AT_A_TIME = 32
"""Topics of a message that are seen to before others have their turn."""
ALERTS = "alerts"
_CACHED_ENVELOPES = 4096
_NEARLY = 200
"""Alerts behind the newest: when no more are missing, a client listens, and what comes waits until it has them."""
_NEVER = 1 << 62
_WATCH_S = 1.0
PART_S = 2.0

_log = structlog.get_logger(__name__)


class Envelopes:
    """Builds each message once, however many clients get it."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[int, bytes, str]] = {}

    def of(self, message: Message) -> str:
        """Return a message as clients see it."""
        made = self._made.get(message.topic)
        if made is not None and made[0] == message.seq and made[1] is message.value:
            return made[2]
        text = envelope(message.topic, message.seq, message.value)
        if len(self._made) >= _CACHED_ENVELOPES:
            self._made.clear()
        self._made[message.topic] = (message.seq, message.value, text)
        return text


def envelope(topic: str, seq: int, value: bytes) -> str:
    """Return ``{"topic", "seq", "data"}``."""
    return (b'{"topic":%b,"seq":%d,"data":%b}' % (orjson.dumps(topic), seq, value)).decode()


class _Gone(Exception):
    """The client is not there any more."""


class _Client:
    """One connection."""

    def __init__(self, stream: Stream, websocket: WebSocket) -> None:
        self._stream = stream
        self._websocket = websocket
        self._subscription = stream.services.bus.subscribe()
        self._turn = asyncio.Lock()
        self._told: dict[str, int] = {}
        self.sending_since: float | None = None
        self.ended = False
        self.parting = False
        self.task: asyncio.Task[Any] | None = None

    async def run(self, subprotocol: str | None) -> None:
        """Let the client in and serve it until either side ends it."""
        self.task = asyncio.current_task()
        with closing(self._subscription):
            await self._websocket.accept(subprotocol)
            sender = asyncio.create_task(self._send_updates(), name="stream sender")
            try:
                await self._read_wishes()
            finally:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)

    async def _read_wishes(self) -> None:
        while True:
            event = await self._websocket.receive()
            if event["type"] == "websocket.disconnect":
                return
            raw: str | bytes = event.get("text") or event.get("bytes") or ""
            if len(raw) > MAX_MESSAGE:
                await self._complain(f"a message has at most {MAX_MESSAGE} bytes")
                continue
            try:
                await self._obey(raw)
            except PairscopeError as error:
                await self._complain(error.line(), retry=error.retry)

    async def _obey(self, raw: str | bytes) -> None:
        """Do what one message asks for; every topic that cannot be had gets an answer of its own."""
        try:
            wish = orjson.loads(raw)
        except orjson.JSONDecodeError:
            await self._complain("not JSON")
            return
        act: Callable[[object], Awaitable[None]]
        match wish:
            case {"op": "subscribe", "topics": [*topics]}:
                act = partial(self._subscribe, since=_since(wish.get("since")))
            case {"op": "unsubscribe", "topics": [*topics]}:
                act = self._unsubscribe
            case _:
                await self._complain('expected {"op": "subscribe" or "unsubscribe", "topics": [...]}')
                return
        if len(topics) > MOST_NAMED:
            await self._complain(f"at most {MOST_NAMED} topics a message")
            return
        for n, text in enumerate(topics, 1):
            if n % _AT_A_TIME == 0:
                await asyncio.sleep(0)
            try:
                await act(text)
            except PairscopeError as error:
                await self._complain(str(error), topic=text if isinstance(text, str) else None, retry=error.retry)

    async def _subscribe(self, text: object, *, since: int | None = None) -> None:
        """Listen to a topic and send where it stands; what the bus says later has a greater ``seq``.

        Alerts stand nowhere: those behind ``since`` are sent, oldest first.
        """
        stream = self._stream
        topic = await stream.topics.read(text)
        if len(self._told) >= stream.options.max_topics and topic.name not in self._told:
            await self._complain(f"at most {stream.options.max_topics} topics a connection", topic=topic.name)
            return
        if topic.kind == "alerts" and since is not None:
            try:
                await self._catch_up(since)
            except PairscopeError:  # nothing later may be sent: it would hide what is still missing
                self._subscription.remove([ALERTS])
                self._told.pop(ALERTS, None)
                raise
            return
        async with self._turn:
            self._subscription.add([topic.name])
            seq = self._told[topic.name] = stream.services.bus.seq(topic.name)
            try:
                seq, value = await stream.topics.standing(topic, seq)
            except InputError:
                self._subscription.remove([topic.name])
                del self._told[topic.name]
                raise
            self._told[topic.name] = seq
            if value is not None:
                await self._send(envelope(topic.name, seq, value))

    async def _catch_up(self, since: int) -> None:
        """Send the alerts that a client missed, then listen: first what is long ago, while others may come.

        An alert is in the history before the bus tells of it, so what was sent may be ahead of the bus.
        """
        services, told = self._stream.services, self._told
        self._subscription.remove([ALERTS])
        told[ALERTS] = _NEVER  # what was taken from the bus before comes from the history
        seq, before = min(since, services.bus.seq(ALERTS)), -1
        while services.bus.seq(ALERTS) - seq > _NEARLY and seq > before:
            before = seq
            async with aclosing(services.alerts.missed(seq)) as missing:
                async for missed, value in missing:
                    async with self._turn:
                        await self._send(envelope(ALERTS, missed, value))
                    seq = missed
        async with self._turn:
            self._subscription.add([ALERTS])
            newest = told[ALERTS] = max(services.bus.seq(ALERTS), seq)
            async with aclosing(services.alerts.missed(seq)) as missing:
                async for missed, value in missing:
                    if missed > newest:
                        break  # the bus will tell
                    await self._send(envelope(ALERTS, missed, value))

    async def _unsubscribe(self, text: object) -> None:
        topic = await self._stream.topics.read(text)
        self._subscription.remove([topic.name])
        self._told.pop(topic.name, None)

    async def _send_updates(self) -> None:
        """Send what the bus holds for this client, as fast as the client takes it."""
        of, told = self._stream.envelopes.of, self._told
        while messages := await self._subscription.next():
            async with self._turn:
                for message in messages:
                    if message.seq > told.get(message.topic, message.seq):
                        await self._send(of(message))
            self._stream.sent += len(messages)
        with suppress(RuntimeError):
            if self.parting:
                await self._websocket.close(RESTART, "the service restarts")
            else:
                await self._websocket.close(TRY_LATER, "too slow for the alerts; subscribe again with since")

    def part(self) -> None:
        """Have what the bus holds for this client sent, and then the connection closed so that it comes back."""
        self.parting = True
        self._subscription.close()

    async def _send(self, text: str) -> None:
        self.sending_since = monotonic()
        try:
            await self._websocket.send({"type": "websocket.send", "text": text})
        except (WebSocketDisconnect, OSError):
            raise _Gone from None
        finally:
            self.sending_since = None

    async def _complain(self, reason: str, *, topic: str | None = None, retry: bool = False) -> None:
        """Say why something was not done, and ``"retry": true`` where it may be when it is asked for again."""
        document: dict[str, Any] = {"error": reason}
        if topic is not None:
            document["topic"] = topic[:200]
        if retry:
            document["retry"] = True
        async with self._turn:
            await self._send(orjson.dumps(document).decode())

    def hang_up(self, code: int, reason: str) -> None:
        """End a connection that does not take what it is sent, without waiting for it."""
        abort: Callable[[int, str], None] | None = (
            self._websocket.scope.get("extensions", {}).get("pairscope.hang_up", {}).get("call")
        )
        if abort is not None:
            abort(code, reason)
        self.ended = True
        if self.task is not None:
            self.task.cancel()


class Stream:
    """Every connection of one application, and the tasks that keep them honest."""

    def __init__(self, services: Services, options: ApiOptions, topics: Topics, stats: StatsView) -> None:
        self.services = services
        self.options = options
        self.topics = topics
        self.envelopes = Envelopes()
        self.sent = 0
        self.hung_up = 0
        self._stats = stats
        self._clients: set[_Client] = set()
        self._parted = False

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one connection; the gate has let it in."""
        if len(self._clients) >= self.options.max_clients:
            await websocket.send_denial_response(problem(503, "too many connections"))
            return
        if self._parted:
            await websocket.send_denial_response(problem(503, "the service restarts"))
            return
        offered: Sequence[str] = websocket.scope.get("subprotocols", ())
        client = _Client(self, websocket)
        self._clients.add(client)  # it counts from here on, and whoever parts or closes the stream finds it
        try:
            with suppress(_Gone):
                await client.run(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        except asyncio.CancelledError:
            if not client.ended:
                raise
        finally:
            self._clients.discard(client)

    async def publish_stats(self) -> None:
        """Tell who listens how Pairscope does, for as long as the application lives."""
        while True:
            await asyncio.sleep(self.options.stats_period_s)
            if "stats" not in self.services.bus.wanted():
                continue
            try:
                self.services.bus.publish("stats", await self._stats.encoded())
            except Exception:  # noqa: BLE001 - logged in full; the stream must not fall silent over one bad value
                _log.exception("statistics could not be published")

    async def watch(self) -> None:
        """Hang up on clients that have not taken a message for too long."""
        while True:
            await asyncio.sleep(_WATCH_S)
            limit = monotonic() - self.options.stall_s
            for client in [c for c in self._clients if c.sending_since is not None and c.sending_since < limit]:
                self.hung_up += 1
                client.hang_up(TRY_LATER, "too slow")

    async def part(self) -> None:
        """Let every client go once it has what it is owed: close code 1012, come back elsewhere; no new ones come in.

        Returns when all are gone, within ``PART_S`` seconds; who has not taken it by then is cut off by ``close``.
        """
        self._parted = True
        for client in self._clients:
            client.part()
        tasks = [client.task for client in self._clients if client.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=PART_S)

    async def close(self) -> None:
        """Tell every client that the service restarts."""
        clients = list(self._clients)
        for client in clients:
            client.hang_up(RESTART, "the service restarts")
        await asyncio.gather(*(c.task for c in clients if c.task is not None), return_exceptions=True)

    def counters(self) -> dict[str, float]:
        """Return the numbers of the stream."""
        return {"clients": len(self._clients), "messages_total": self.sent, "hung_up_total": self.hung_up}


def _since(value: object) -> int | None:
    """Return the ``seq`` that a client has heard of last."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError("since: the seq of the last alert that was heard, 0 for all")
    return value
