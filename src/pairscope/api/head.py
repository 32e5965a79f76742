"""HEAD gets the headers that GET would get, on every path that answers GET."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Heads"]


class Heads:
    """Asks the routes for GET and keeps the body back; a file that would follow piece by piece is not written."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        try:
            await self._app({**scope, "method": "GET"}, receive, _headers_of(send))
        except _ToldError:
            return


class _ToldError(Exception):
    """Raised into whoever writes a body: the headers were all that was asked for."""


def _headers_of(send: Send) -> Send:
    async def headers_only(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if message.get("more_body", False):
            raise _ToldError

    return headers_only
