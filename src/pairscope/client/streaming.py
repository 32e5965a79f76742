"""The stream of updates as something to loop over, which connects again by itself.

What is said and heard is decided once (:class:`_Talk`); one loop blocks, the other is awaited.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from pairscope.client.problems import error_of
from pairscope.errors import ApiRefused, ApiUnreachable, InputError, PairscopeError

__all__ = ["Update", "updates", "updates_awaited"]

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0
_LARGEST: Final = 64 << 20
_NOT_NOW: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Update:
    """A topic's whole current value. A hole in a topic's ``seq`` means that newer values took the place of others."""

    topic: str
    seq: int
    data: Any


class _Talk:
    """What a client says on each connection, and what it makes of what it hears."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        topics: str | Sequence[str],
        since: int | None,
        patience_s: float,
    ) -> None:
        self.topics = topics.split(",") if isinstance(topics, str) else list(topics)
        self._base_url = base_url
        self._since = since
        self._patience_s = patience_s
        self._lost_at: float | None = None
        self._ever = False
        self._pause_s = _FIRST_PAUSE_S
        self._before: tuple[bool, float | None, float] = (False, None, _FIRST_PAUSE_S)
        self.url = f"ws{base_url.removeprefix('http')}/ws/updates"
        self.options: dict[str, Any] = {
            "additional_headers": {name: headers[name] for name in ("X-API-Key",) if name in headers},
            "max_size": _LARGEST,
            "proxy": None,
        }

    def connected(self) -> str:
        """Note that there is a connection, and return what it is told: alerts behind the last one heard come again."""
        self._before = self._ever, self._lost_at, self._pause_s
        self._ever, self._lost_at = True, None
        said: dict[str, Any] = {"op": "subscribe", "topics": self.topics}
        if self._since is not None:
            said["since"] = self._since
        return json.dumps(said)

    def heard(self, text: str | bytes) -> Update | None:
        """Return the update in a message; None where it is an alert that was heard before.

        ``ApiRefused`` says that a topic cannot be had for now: such a connection counts as none.
        """
        said = json.loads(text)
        if "error" in said:
            words = f"{said['topic']}: {said['error']}" if "topic" in said else said["error"]
            if said.get("retry"):
                self._ever, self._lost_at, self._pause_s = self._before
                raise ApiRefused(words, http_status=503, loc="topics")
            raise InputError(words, loc="topics")
        self._pause_s = _FIRST_PAUSE_S
        update = Update(said["topic"], said["seq"], said["data"])
        if update.topic == "alerts":
            if self._since is not None and update.seq <= self._since:
                return None
            self._since = update.seq
        return update

    def pause(self, error: Exception | None) -> float:
        """Return how long to wait before the next try; raises where there shall be none."""
        refusal = _refusal(error)
        if refusal is not None:
            raise refusal from error
        now = time.monotonic()
        self._lost_at = now if self._lost_at is None else self._lost_at
        if not self._ever or now - self._lost_at > self._patience_s:
            if isinstance(error, ApiRefused):
                raise error
            raise ApiUnreachable(f"no stream at {self._base_url}") from error
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, _LONGEST_PAUSE_S)
        return pause_s


def updates(
    base_url: str, headers: Mapping[str, str], topics: str | Sequence[str], *, since: int | None, patience_s: float
) -> Generator[Update]:
    """Yield what the topics say, for ever."""
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    talk = _Talk(base_url, headers, topics, since, patience_s)
    while True:
        try:
            with connect(talk.url, **talk.options) as socket:
                socket.send(talk.connected())
                for text in socket:
                    update = talk.heard(text)
                    if update is not None:
                        yield update
            error: Exception | None = None
        except (OSError, WebSocketException, ApiRefused) as broken:
            error = broken
        time.sleep(talk.pause(error))


async def updates_awaited(
    base_url: str, headers: Mapping[str, str], topics: str | Sequence[str], *, since: int | None, patience_s: float
) -> AsyncGenerator[Update]:
    """Yield what the topics say, for ever."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    talk = _Talk(base_url, headers, topics, since, patience_s)
    while True:
        try:
            async with connect(talk.url, **talk.options) as socket:
                await socket.send(talk.connected())
                async for text in socket:
                    update = talk.heard(text)
                    if update is not None:
                        yield update
            error: Exception | None = None
        except (OSError, WebSocketException, ApiRefused) as broken:
            error = broken
        await asyncio.sleep(talk.pause(error))


def _refusal(error: Exception | None) -> PairscopeError | None:
    """Return what the API says against being listened to, where asking again will not help."""
    answer = getattr(error, "response", None)
    if answer is None or answer.status_code in _NOT_NOW:
        return None
    return error_of(
        httpx2.Response(answer.status_code, headers=dict(answer.headers.raw_items()), content=bytes(answer.body or b""))
    )
