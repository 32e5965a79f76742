"""What only the desk answers, handed on to it from whichever replica was asked, body and answer as they flow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, Literal

import httpx2
import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pairscope.api.bulk import FILE_PATH
from pairscope.api.desk_link import NOT_HERE, DeskLink
from pairscope.api.passes import HANDED_ON
from pairscope.api.problems import problem
from pairscope.api.request_log import HEADER, request_id
from pairscope.api.uploads import UPLOAD_PATH
from pairscope.errors import DeskAway

__all__ = ["TOPIC_PATH", "Forwarding", "whose"]

TOPIC_PATH: Final = "/api/topic"
"""Where a replica asks the desk for a topic's current value."""

DESK: Final = (
    "/api/alerts",
    "/api/analytics/screen",
    "/api/backfill",
    "/api/backtest",
    "/api/backtests",
    "/api/bulk",
    "/api/jobs",
    "/api/paper",
    "/api/storage",
    FILE_PATH,
    TOPIC_PATH,
)
"""Paths, with all that lies below them, that the desk answers whatever the method."""
DESK_CHANGES: Final = ("/api/uploads", "/api/watchlist", UPLOAD_PATH)
"""Paths that every replica reads by itself, and that the desk changes."""
HERE: Final = (
    "/api/analytics",
    "/api/export",
    "/api/gaps",
    "/api/health",
    "/api/indicators",
    "/api/monitoring",
    "/api/ohlc",
    "/api/price",
    "/api/recorded",
    "/api/stats",
    "/api/symbols",
    "/api/ticks",
    "/api/volume",
    "/api/ws-ticket",
    "/docs",
    "/metrics",
    "/openapi.json",
)
"""Paths that whoever is asked answers."""

MOST_KEPT: Final = 64 * 1024
"""Bytes of a body that are kept to be sent again, should the desk have moved; of a longer one there is one try."""
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OUR_OWN: Final = frozenset(
    {
        "connection",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "referrer-policy",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-content-type-options",
        "x-frame-options",
        HEADER.lower(),
    }
)
"""Headers of an answer that are this connection's, or that the layers around put in here as well."""
_NOT_HANDED_ON: Final = frozenset(
    {
        "authorization",
        "connection",
        "expect",
        "host",
        "keep-alive",
        "origin",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-api-key",
        HANDED_ON.lower(),
        HEADER.lower(),
    }
)
"""Headers of a request that are this connection's, secret, or already obeyed."""

_log = structlog.get_logger(__name__)


def whose(method: str, path: str) -> Literal["desk", "here"] | None:
    """Return who answers a request; None of a path that nobody knows, which is answered here.

    >>> whose("GET", "/api/alerts/triggered"), whose("GET", "/api/watchlist"), whose("POST", "/api/watchlist")
    ('desk', 'here', 'desk')
    """
    if _under(path, DESK):
        return "desk"
    if _under(path, DESK_CHANGES):
        return "here" if method in _READS else "desk"
    return "here" if _under(path, HERE) else None


class Forwarding:
    """Hands on what is the desk's, inside the gate: who is let in here is let in there, and counted once.

    Nothing is handed on twice: what came from a replica to one that is not the desk is refused, and that one looks
    again for the desk.
    """

    def __init__(self, app: ASGIApp, *, link: DeskLink) -> None:
        self._app = app
        self._link = link

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._link.here or whose(scope["method"], scope["path"]) != "desk":
            await self._app(scope, receive, send)
            return
        if HANDED_ON in Headers(scope=scope):
            answer = problem(503, "this replica is not the desk", kind="desk-away", headers={NOT_HERE: "1"})
            await answer(scope, receive, send)
            return
        await _Handed(scope, receive, send).over(self._link)


class _Handed:
    """One request on its way to the desk and back; it is also the body that its client sends."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.spent = False
        self._kept: list[bytes] = []
        self._scope = scope
        self._receive = receive
        self._send = send
        self._refused: HTTPException | None = None
        self._read = asyncio.Event()

    async def over(self, link: DeskLink) -> None:
        """Answer with what the desk answers; where the client is gone, end there too."""
        working = asyncio.create_task(self._over(link), name="handed on")
        leaving = asyncio.create_task(self._gone(), name="client of what was handed on")
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, leaving):
                if not task.done():
                    task.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            with suppress(asyncio.CancelledError):
                await working

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._kept:  # of an earlier try
            yield piece
        while not self._read.is_set():
            try:
                message = await self._receive()
            except HTTPException as error:  # a layer outside of this one found it too large
                self._refused = error
                raise OSError("refused") from None
            if message["type"] == "http.disconnect":
                raise OSError("the client is gone")
            piece = message.get("body", b"")
            if sum(map(len, self._kept)) + len(piece) > MOST_KEPT:
                self.spent = True
            else:
                self._kept.append(piece)
            if not message.get("more_body", False):
                self._read.set()
            if piece:
                yield piece

    async def _over(self, link: DeskLink) -> None:
        scope = self._scope
        came: Sequence[tuple[bytes, bytes]] = scope["headers"]
        headers = [(name, value) for name, value in came if name.decode("latin-1").lower() not in _NOT_HANDED_ON]
        headers.append((HEADER.lower().encode(), request_id().encode()))
        has_body = any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in came
        )
        if not has_body:
            self._read.set()
        try:
            answer = await link.send(
                scope["method"],
                _target(scope),
                path=scope["path"],
                holder=scope.get("state", {}).get("holder", ""),
                headers=headers,
                body=self if has_body else None,
            )
        except DeskAway as error:
            refusal = (
                problem(503, str(error), kind="desk-away", hint=error.hint, headers={"Retry-After": "2"})
                if self._refused is None
                else problem(self._refused.status_code, str(self._refused.detail), headers=self._refused.headers)
            )
            await refusal(scope, self._receive, self._send)
            return
        try:
            await self._pass_on(answer)
        finally:
            await answer.aclose()

    async def _pass_on(self, answer: httpx2.Response) -> None:
        """Give the client the desk's answer, piece by piece, packed as the desk packed it."""
        headers = [
            (name, value)
            for name, value in answer.headers.raw
            if name.decode("latin-1").lower() not in _OUR_OWN and (name.lower(), value) != (b"vary", b"Origin")
        ]
        await self._send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        try:
            async for piece in answer.aiter_raw():
                await self._send(_piece(piece, more=True))
        except httpx2.HTTPError as error:
            _log.warning("the desk's answer broke off", path=self._scope["path"], error=type(error).__name__)
            raise  # the connection is cut, so that nobody takes what came for the whole
        await self._send(_piece(b"", more=False))

    async def _gone(self) -> None:
        """Wait until the client hangs up; what it sends is read elsewhere."""
        await self._read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _under(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _target(scope: Mapping[str, object]) -> str:
    """Return path and query as they came."""
    raw, query = scope.get("raw_path"), scope.get("query_string", b"")
    path = raw.split(b"?")[0] if isinstance(raw, bytes) else str(scope["path"]).encode()
    return (path + (b"?" + query if isinstance(query, bytes) and query else b"")).decode("latin-1")


def _piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
