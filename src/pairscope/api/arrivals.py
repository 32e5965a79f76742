"""Connections of the stream that are about to begin: when the process stops, each still gets an answer."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pairscope.api.problems import problem

__all__ = ["Arrivals", "Entrance"]

_DECIDED = frozenset({"websocket.accept", "websocket.close", "websocket.http.response.start"})


class Arrivals:
    """Handshakes under way.

    One that a stopping server cuts off is an error to whoever shares out calls, and a refusal sends the client
    elsewhere: so ``part`` waits for those under way, and who comes later is refused at once.
    """

    def __init__(self) -> None:
        self._under_way: set[object] = set()
        self._none = asyncio.Event()
        self._none.set()
        self.parted = False

    def begin(self) -> object:
        """Count a handshake; return what it is known by."""
        one = object()
        self._under_way.add(one)
        self._none.clear()
        return one

    def decide(self, one: object) -> None:
        """Hear that a handshake has its answer; any number of times."""
        self._under_way.discard(one)
        if not self._under_way:
            self._none.set()

    async def part(self, *, within_s: float) -> None:
        """Let nobody in any more; return once all who were about to come in have their answer, or after a while."""
        self.parted = True
        waiting = asyncio.ensure_future(self._none.wait())
        await asyncio.wait({waiting}, timeout=within_s)
        waiting.cancel()


class Entrance:
    """The layer outside of every other one that sees handshakes begin and end."""

    def __init__(self, app: ASGIApp, *, arrivals: Arrivals) -> None:
        self._app = app
        self._arrivals = arrivals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrivals = self._arrivals
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        if arrivals.parted:
            await problem(503, "the service restarts", headers={"Retry-After": "1"})(scope, receive, send)
            return
        one = arrivals.begin()

        async def deciding(message: Message) -> None:
            await send(message)
            if message["type"] in _DECIDED:
                arrivals.decide(one)

        try:
            await self._app(scope, receive, deciding)
        finally:
            arrivals.decide(one)
