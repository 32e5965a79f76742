"""The way from a replica to the desk: one HTTP client that finds the desk's address, and finds it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final, Protocol

import httpx2
import structlog

from pairscope.api.passes import HANDED_ON, Passes
from pairscope.errors import DeskAway
from pairscope.ports_desk import DeskSeat

__all__ = ["NOT_HERE", "Body", "DeskLink"]

NOT_HERE: Final = "X-Pairscope-Not-Here"
"""The header of an answer of who is not the desk any more."""

CONNECT_S: Final = 2.0
READ_S: Final = 600.0
"""The longest silence within an answer: a request may wait for a whole sweep."""
MOST_CONNECTIONS: Final = 256
KEPT_S: Final = 20.0
MOST_WAITING: Final = 256
LOOK_S: Final = 0.2

_log = structlog.get_logger(__name__)

_Headers = Sequence[tuple[bytes, bytes]]


class Body(Protocol):
    """What a client sends, piece by piece, from its beginning each time; ``spent`` once that is gone."""

    spent: bool

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class _Unsure(DeskAway):
    """The desk went away with a request that it may have done already."""


class DeskLink:
    """Sends requests to the desk under a pass, and again where another replica has become the desk meanwhile.

    While there is no desk to be reached a request waits, at most ``wait_s`` seconds long and beside ``MOST_WAITING``
    others. At most ``MOST_CONNECTIONS`` requests are on their way at once; one more waits two seconds for its turn.
    """

    def __init__(
        self,
        seat: DeskSeat,
        passes: Passes,
        *,
        wait_s: float = 0.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._seat = seat
        self._passes = passes
        limits = httpx2.Limits(max_connections=MOST_CONNECTIONS, keepalive_expiry=KEPT_S)
        timeout = httpx2.Timeout(READ_S, connect=CONNECT_S, pool=CONNECT_S)
        self._http = httpx2.AsyncClient(
            limits=limits, timeout=timeout, transport=transport, trust_env=False, default_encoding="utf-8"
        )
        self._http.headers.clear()
        self._wait_s = wait_s
        self._waiting = 0
        self._parted = asyncio.Event()
        self._sent = 0
        self._waited = 0
        self._refused = 0

    @property
    def here(self) -> bool:
        """Whether this replica is the desk itself."""
        return self._seat.here

    async def send(
        self, method: str, target: str, *, path: str, holder: str, headers: _Headers = (), body: Body | None = None
    ) -> httpx2.Response:
        """Return the desk's answer, whose body is still to be read; ``DeskAway`` where there is no desk to be reached.

        ``target`` is path and query as they came, ``path`` the path as it is understood. A long body of which anything
        was sent is not sent again, nor is what may have been done already, unless it asks and changes nothing.
        """
        return await self._send(method, target, path, holder, headers, body, wait_s=self._wait_s)

    async def ask(self, path: str, query: Mapping[str, str]) -> httpx2.Response:
        """Return what the desk answers to a question of this replica's own, read whole; without a wait for a desk."""
        target = f"{path}?{httpx2.QueryParams(query)}" if query else path
        answer = await self._send("GET", target, path, "replica", (), None, wait_s=0.0)
        try:
            await answer.aread()
        except httpx2.HTTPError as error:
            raise DeskAway.of(error) from None
        finally:
            await answer.aclose()
        return answer

    def counters(self) -> dict[str, float]:
        """Return how many requests went to the desk, had to wait for one, wait now, and found none."""
        return {
            "sent_total": self._sent,
            "waited_total": self._waited,
            "waiting": self._waiting,
            "refused_total": self._refused,
        }

    def part(self) -> None:
        """Have nobody wait any more: this process stops, and another replica is asked instead."""
        self._parted.set()

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def _send(
        self,
        method: str,
        target: str,
        path: str,
        holder: str,
        headers: _Headers,
        body: Body | None,
        *,
        wait_s: float,
    ) -> httpx2.Response:
        """Send; again at once where another desk is known by then, else again and again for ``wait_s``."""
        known, waits, until_s = await self._seat.address(), False, 0.0
        try:
            while True:
                try:
                    return await self._try(known, method, target, path, holder, headers, body)
                except DeskAway as away:
                    before, known = known, await self._seat.address(fresh=True)
                    moved = known != before
                    again = body is None or not body.spent
                    if isinstance(away, _Unsure) and method not in {"GET", "HEAD"}:
                        again = False
                    if again and not moved and not waits and wait_s and self._waiting < MOST_WAITING:
                        waits, until_s = True, monotonic() + wait_s
                        self._waiting += 1
                        self._waited += 1
                    if not again or not (moved or (waits and monotonic() < until_s and not self._parted.is_set())):
                        self._refused += 1
                        raise
                if moved:
                    _log.info("another replica is the desk now", desk=known)
                else:
                    await self._pause()
        finally:
            self._waiting -= waits

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._parted.wait()

    async def _try(
        self, address: str, method: str, target: str, path: str, holder: str, headers: _Headers, body: Body | None
    ) -> httpx2.Response:
        if not address:
            raise DeskAway("no replica is the desk now")
        handed = (HANDED_ON.lower().encode(), self._passes.issue(method, path, holder).encode("latin-1", "replace"))
        request = self._http.build_request(
            method, address.rstrip("/") + target, headers=[*headers, handed], content=body
        )
        if body is not None and any(name == b"content-length" for name, _ in headers):
            request.headers.pop("transfer-encoding", None)
        self._sent += 1
        try:
            answer = await self._http.send(request, stream=True)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise DeskAway.of(error) from None
        except (httpx2.HTTPError, OSError) as error:
            raise _Unsure.of(error) from None
        if answer.headers.get(NOT_HERE):
            await answer.aclose()
            raise DeskAway("the replica that was the desk is it no longer")
        return answer
