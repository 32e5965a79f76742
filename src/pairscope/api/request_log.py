"""A name for each request, that its log lines, its answer and its problem carry; and a line when it has ended."""

from __future__ import annotations

import re
import secrets
from time import perf_counter
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEADER", "RequestLog", "request_id"]

HEADER: Final = "X-Request-ID"
SLOW_S: Final = 2.0
"""A request that takes longer is logged as information, like one that failed; every other one as a detail."""

_VALID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_RAW: Final = HEADER.lower().encode()

_log = structlog.get_logger(__name__)


def request_id() -> str:
    """Return the name of the request that is being answered; empty outside of one."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


class RequestLog:
    """Takes a request's name from ``X-Request-ID`` where it is a plain one of at most 64 characters, else makes one.

    Answers say it in the same header. The line at the end has method, route, status, milliseconds and who asked (the
    start of the key's digest, never the key); neither query nor body, which may hold what is nobody's business.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        came = Headers(scope=scope).get(HEADER, "")
        name = came if _VALID.fullmatch(came) else secrets.token_hex(8)
        began, status = perf_counter(), 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_RAW, name.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=name):
            try:
                await self._app(scope, receive, named)
            finally:
                self._tell(scope, status, perf_counter() - began)

    @staticmethod
    def _tell(scope: Scope, status: int, seconds: float) -> None:
        is_http = scope["type"] == "http"
        tell = _log.info if is_http and (status >= 500 or seconds >= SLOW_S) else _log.debug
        tell(
            "request" if is_http else "stream ended",
            method=scope.get("method", "WEBSOCKET"),
            route=getattr(scope.get("route"), "path", None) or scope["path"][:200],
            status=status or None,
            ms=round(seconds * 1000, 1),
            holder=scope.get("state", {}).get("holder") or None,
        )
