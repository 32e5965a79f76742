"""Who of several processes does what only one may do: the holder of a lock in Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import structlog

from pairscope.errors import CacheUnavailable
from pairscope.storage.redis_client import RedisClient

__all__ = ["Leadership"]

_log = structlog.get_logger(__name__)

TTL_S: Final = 3.0
"""A lock that its holder does not take again for so long is free."""
POLL_S: Final = 0.4
_AWAY: Final = "away"
"""In place of a server's run while none answers: whichever does next is another one."""

Turn = Callable[[], Awaitable[object]]


class Leadership:
    """One candidate for the lock ``lock:<name>``.

    Who holds it and cannot reach Redis stays the leader; who does not hold it and cannot reach Redis does not become
    one. Behind a Redis that has forgotten its keys (another run of the server) the leader takes its lock again at once,
    and the others wait twice the lock's time before they try. A process that stood still for longer than that finds the
    lock taken and ends its turn; until then there may be two, so what leaders do must bear being done twice. One that
    began while Redis was away, or finds it younger than that, waits too: it cannot know who led before.
    """

    def __init__(
        self,
        client: RedisClient,
        name: str,
        *,
        ttl_s: float = TTL_S,
        poll_s: float = POLL_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._name = name
        self._ttl_s = ttl_s
        self._poll_s = poll_s
        self._monotonic = monotonic
        self._lock = client.lock(f"lock:{name}", ttl_s=ttl_s)
        self._life = ""
        self._wait_until_s = 0.0
        self._turn: asyncio.Future[object] | None = None
        self._closing = False
        self._asking = asyncio.Lock()
        self._counters = {"gained_total": 0, "lost_total": 0, "unanswered_total": 0}
        self.is_leader = False

    async def run(self, on_gain: Turn, on_loss: Turn) -> None:
        """Try for the lock and keep it, until closed; ``on_gain`` and ``on_loss`` run in turn, beside the keeping.

        Raises what they raise: a leader that cannot lead should not hold the lock.
        """
        while not self._closing:
            async with self._asking:
                changed = await self._changes()
            if changed:
                await self._take_turn(on_gain if self.is_leader else on_loss)
            await self._pause()

    async def close(self) -> None:
        """Let go of the lock, so that another takes it at once."""
        self._closing = True
        if self._turn is not None and not self._turn.done():
            self._turn.cancel()
            await asyncio.gather(self._turn, return_exceptions=True)
        async with self._asking:  # what is asked now must not take the lock behind our back
            if self.is_leader:
                self.is_leader = False
                await self._lock.let_go()

    def counters(self) -> Mapping[str, Any]:
        """Return whether this one leads and how often that changed."""
        return {**self._counters, "leads": self.is_leader}

    async def _changes(self) -> bool:
        """Ask for the lock, unless closed; return whether that changed who leads."""
        if self._closing:
            return False
        leads = await self._leads()
        if leads == self.is_leader:
            return False
        self.is_leader = leads
        self._counters["gained_total" if leads else "lost_total"] += 1
        _log.info("leader" if leads else "no longer the leader", of=self._name)
        return True

    async def _leads(self) -> bool:
        """Return whether the lock is ours now; as before where Redis does not say."""
        try:
            if self.is_leader:
                return await self._lock.keep() or await self._lock.take()
            await self._look_at_the_server()
            if self._monotonic() < self._wait_until_s:
                return False
            return await self._lock.take()
        except CacheUnavailable:
            self._counters["unanswered_total"] += 1
            if not self.is_leader:
                self._life = _AWAY
            return self.is_leader

    async def _look_at_the_server(self) -> None:
        """Where another run of the server answers than before, leave its leader the time to take the lock again."""
        patience_s = 2 * self._ttl_s
        run, age_s = await self._client.life()
        if run != self._life and (self._life or age_s < patience_s):
            self._wait_until_s = self._monotonic() + (patience_s if self._life else patience_s - age_s)
        self._life = run

    async def _take_turn(self, turn: Turn) -> None:
        """Begin a turn behind the one before; a leader keeps its lock meanwhile."""
        while self._turn is not None and not self._turn.done():
            await self._pause()
            if self.is_leader:
                with suppress(CacheUnavailable):
                    await self._lock.keep()
        if not self._closing:
            self._turn = asyncio.ensure_future(_awaited(turn))

    async def _pause(self) -> None:
        """Wait for the next look; raise what a turn raised."""
        if self._turn is not None and self._turn.done() and not self._turn.cancelled():
            self._turn.result()
        wait_s = min(self._poll_s, self._ttl_s / 3)
        if self._turn is None or self._turn.done():
            await asyncio.sleep(wait_s)
        else:
            await asyncio.wait({self._turn}, timeout=wait_s)


async def _awaited(turn: Turn) -> object:
    return await turn()
