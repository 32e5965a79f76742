"""One client's WebSocket on the replay server: frames in, replies and batches of frames out (the place of picows)."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Protocol

from picows import WSAutoPingStrategy, WSFrame, WSListener, WSMsgType, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from pairscope.feed.replay_faults import ConnectionFaults
from pairscope.feed.replay_streams import Close, Limits, Session

__all__ = ["Connection", "Hub", "accept"]

_QUIET = logging.getLogger("picows.replay")
_LINGER_S = 1.0


class Hub(Protocol):
    """Who wants to know about connections."""

    def joined(self, connection: Connection) -> None: ...

    def changed(self, connection: Connection) -> None: ...

    def left(self, connection: Connection) -> None: ...


class Connection(WSListener):  # type: ignore[misc]
    """A connected client.

    ``unsent`` bytes wait in its socket's buffer; ``ready`` is set while they are below the high-water mark.
    """

    def __init__(self, number: int, hub: Hub, session: Session, faults: ConnectionFaults, limits: Limits) -> None:
        self.number = number
        self.session = session
        self.faults = faults
        self.ready = asyncio.Event()
        self.ready.set()
        self.born_s = time.monotonic()
        self.afflicted_s = math.inf
        """Since when faults that come by the clock befall it: since it and a market that runs were both there."""
        self._hub = hub
        self._limits = limits
        self._transport: WSTransport | None = None
        self._ended = False
        self._pinged_s = self._ponged_s = self.born_s

    @property
    def open(self) -> bool:
        """Whether data can still be sent."""
        return self._transport is not None and not self._ended

    @property
    def unsent(self) -> int:
        return self._transport.underlying_transport.get_write_buffer_size() if self._transport is not None else 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Begin (called by picows)."""
        self._transport = transport
        self._hub.joined(self)
        if self.session.overfull():
            self._reply(Close(1008, "Too many subscriptions"))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """End (called by picows)."""
        self._ended = True
        self.ready.set()
        self._hub.left(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame of the client (called by picows)."""
        if self._ended:
            return
        if frame.msg_type == WSMsgType.CLOSE:
            self._ended = True
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
            return
        refused = self.session.count_message(time.monotonic())
        if refused is not None:
            self._reply(refused)
        elif frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.PONG:
            self._ponged_s = time.monotonic()
        elif frame.msg_type == WSMsgType.TEXT:
            version = self.session.version
            for reply in self.session.receive(frame.get_payload_as_bytes()):
                self._reply(reply)
            if self.session.version != version:
                self._hub.changed(self)

    def pause_writing(self) -> None:
        """Note that the client reads too slowly (called by picows)."""
        self.ready.clear()

    def resume_writing(self) -> None:
        """Note that it has caught up (called by picows)."""
        self.ready.set()

    def _reply(self, reply: bytes | Close) -> None:
        if isinstance(reply, Close):
            self.end(reply.code, reply.reason)
        elif self.open and self._transport is not None:
            self._transport.send(WSMsgType.TEXT, reply)

    def send(self, frames: bytes | memoryview) -> None:
        """Send whole frames, headers included, in one write."""
        if self.open and self._transport is not None:
            self._transport.underlying_transport.write(frames)

    def end(self, code: int, reason: str) -> None:
        """Say goodbye with a close code and drop the connection."""
        transport = self._transport
        if transport is None or self._ended:
            return
        self._ended = True
        self.ready.set()
        transport.send_close(code, reason)
        asyncio.get_running_loop().call_later(_LINGER_S, transport.disconnect, False)
        transport.disconnect()

    def cut(self) -> None:
        """Drop the connection without a word, as a broken line does."""
        if self._transport is not None:
            self._ended = True
            self.ready.set()
            self._transport.disconnect(False)

    def keep(self, now_s: float) -> None:
        """Do what is due by the clock: pings, the end of a connection's life, a cut by request."""
        if not self.open or self._transport is None:
            return
        limits, age_s = self._limits, now_s - self.born_s
        if self.faults.cut_after_s is not None and now_s - self.afflicted_s >= self.faults.cut_after_s:
            self.cut()
        elif age_s >= limits.life_s:
            self.end(1001, "Connection expired")
        elif now_s - self._ponged_s > limits.pong_within_s:
            self.end(1008, "Pong timeout")
        elif now_s - self._pinged_s >= limits.ping_every_s:
            self._pinged_s = now_s
            self._transport.send_ping(str(int(time.time() * 1000)).encode())


def accept(transport: asyncio.Transport, head: bytes, connection: Connection | None) -> None:
    """Hand a socket whose WebSocket handshake was read to picows; without a connection the answer is 404."""
    protocol = WSProtocol(
        host_port=None,
        ws_path=None,
        is_client_side=False,
        ws_listener_factory=lambda request: connection,
        logger=_QUIET,
        disconnect_on_exception=True,
        websocket_handshake_timeout=None,
        enable_auto_ping=False,
        auto_ping_idle_timeout=20,
        auto_ping_reply_timeout=20,
        auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
        enable_auto_pong=False,
        max_frame_size=1 << 20,
        extra_headers=None,
        read_buffer_init_size=32 * 1024,
    )
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    room = protocol.get_buffer(len(head))
    room[: len(head)] = head
    protocol.buffer_updated(len(head))
