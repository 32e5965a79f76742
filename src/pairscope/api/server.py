"""The application on a socket: uvicorn, with the limits that the stream needs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from pairscope.api.stream import READ_AT_MOST
from pairscope.errors import ConfigError

__all__ = ["make_server"]

_PING_S = 20.0
_GRACE_S = 2.0


class _Protocol(WebSocketsSansIOProtocol):
    """Lets the application end a connection whose client does not read.

    ASGI has no word for it: a close waits until the client takes what was sent before, which is never.
    """

    def handle_connect(self, event: Any) -> None:
        """Add the extension to the scope before the application sees it."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions: Any = self.scope["extensions"]
            extensions["pairscope.hang_up"] = {"call": self._hang_up}

    def _hang_up(self, code: int, reason: str) -> None:
        """Send a close frame behind whatever waits, and drop the connection if it does not get through."""
        if self.close_sent or self.transport.is_closing():
            return
        self.stop_keepalive()
        self.conn.send_close(code, reason)
        self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_timer = self.loop.call_later(_GRACE_S, self.transport.abort)


class _Server(uvicorn.Server):
    """Leaves the process's signals and its end to whoever runs it.

    uvicorn raises signals again after its end, which would kill us, and leaves the process where it cannot start.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen; ``ConfigError`` where that cannot be, of which uvicorn has logged the reason."""
        try:
            await super().startup(sockets)
        except SystemExit:
            where = f"{self.config.host}:{self.config.port}"
            raise ConfigError(f"nothing can be served on {where}", hint="look for who has the port by now") from None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def make_server(app: FastAPI, *, host: str, port: int, log_level: str = "warning", grace_s: int = 2) -> uvicorn.Server:
    """Return a server that is ready to serve; port 0 takes a free one.

    Messages to the stream are limited, not compressed (the same bytes go to everyone) and pinged; a request
    line and its headers are limited by the parser. On exit, requests in flight get ``grace_s`` seconds; to set
    ``should_exit`` or to call ``handle_exit`` is up to the caller: signals are not captured.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level=log_level,
        access_log=False,
        ws=_Protocol,
        ws_max_size=READ_AT_MOST,
        ws_ping_interval=_PING_S,
        ws_ping_timeout=_PING_S,
        ws_per_message_deflate=False,
        server_header=False,
        timeout_graceful_shutdown=grace_s,
    )
    return _Server(config)
