"""Who opens a connection of the stream at a process that stops gets an answer, early or late."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from pairscope.api.arrivals import Arrivals, Entrance


class Caller:
    """One handshake, and what it was answered."""

    def __init__(self, entrance: Entrance) -> None:
        self.answers: list[str] = []
        scope: Scope = {"type": "websocket", "extensions": {"websocket.http.response": {}}}
        self.task = asyncio.create_task(entrance(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        return {"type": "websocket.connect"}

    async def _send(self, message: Any) -> None:
        self.answers.append(f"{message['type']} {message.get('status', '')}".strip())


async def test_a_handshake_under_way_is_answered_before_the_process_stops_and_a_later_one_is_refused() -> None:
    looked, over, begun = asyncio.Event(), asyncio.Event(), 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal begun
        begun += 1
        await looked.wait()
        await send({"type": "websocket.accept"})
        await over.wait()

    arrivals = Arrivals()
    entrance = Entrance(app, arrivals=arrivals)
    early = Caller(entrance)
    await asyncio.sleep(0)
    parting = asyncio.create_task(arrivals.part(within_s=60))
    await asyncio.sleep(0)
    late = Caller(entrance)
    await late.task
    assert late.answers[0] == "websocket.http.response.start 503"
    assert not parting.done(), "one still has no answer"
    looked.set()
    await asyncio.wait_for(parting, 60)
    assert (early.answers, begun) == (["websocket.accept"], 1)
    over.set()
    await early.task


async def test_who_never_decides_holds_a_stop_up_for_a_while_only() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    arrivals = Arrivals()
    stuck = Caller(Entrance(app, arrivals=arrivals))
    await asyncio.sleep(0)
    await asyncio.wait_for(arrivals.part(within_s=0.01), 60)
    assert not stuck.task.done()
    stuck.task.cancel()
