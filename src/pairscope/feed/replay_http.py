"""One port for both: a connection speaks HTTP/1.1 until it asks for a WebSocket, then it is handed over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import cast

import httptools

from pairscope.feed.replay_rest import Answer

__all__ = ["HttpFront"]

Respond = Callable[[str, str], Awaitable[Answer]]
Upgrade = Callable[[asyncio.Transport, bytes], None]

_HEAD_BYTES = 16 * 1024
_WAITING = 64


class HttpFront(asyncio.Protocol):
    """Answers requests one after the other through ``respond``; a WebSocket handshake goes, whole, to ``upgrade``.

    A head of more than 16 KiB, more than 64 requests waiting, or what is no HTTP ends the connection.
    """

    def __init__(self, respond: Respond, upgrade: Upgrade, live: set[HttpFront]) -> None:
        self._respond = respond
        self._upgrade = upgrade
        self._live = live
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._url = b""
        self._waiting: asyncio.Queue[tuple[str, str, bool]] = asyncio.Queue(_WAITING)
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._live.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._live.discard(self)
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Read requests; stop reading at a handshake."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._head += data
        if len(self._head) > _HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._live.discard(self)
            if self._task is not None:
                self._task.cancel()
            self._upgrade(transport, self._head)
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST)

    def on_message_begin(self) -> None:
        """Begin a request (called by the parser)."""
        self._url = b""

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target (called by the parser)."""
        self._url += url

    def on_message_complete(self) -> None:
        """Take a whole request (called by the parser)."""
        if self._parser.should_upgrade():
            return
        self._head = b""
        request = (
            self._parser.get_method().decode(),
            self._url.decode("utf-8", "replace"),
            self._parser.should_keep_alive(),
        )
        try:
            self._waiting.put_nowait(request)
        except asyncio.QueueFull:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        """Answer what waits, in order."""
        while True:
            method, target, keep_alive = await self._waiting.get()
            answer = await self._respond(method, target)
            if self._transport is None or self._transport.is_closing():
                return
            self._transport.write(_response(answer, keep_alive=keep_alive))
            if not keep_alive:
                self._transport.close()
                return

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer with a bare status and close."""
        if self._transport is not None:
            self._transport.write(_response(Answer(status, b"", {}), keep_alive=False))
            self._transport.close()


def _response(answer: Answer, *, keep_alive: bool) -> bytes:
    """Return the bytes of a response."""
    headers = {
        "Content-Type": answer.content_type,
        "Content-Length": str(len(answer.body)),
        "Connection": "keep-alive" if keep_alive else "close",
    } | answer.headers
    status = answer.status
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + answer.body
