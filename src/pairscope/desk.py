"""The desk: what only one of several replicas does, taken up with the lock and laid down with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

import structlog

from pairscope.errors import StorageError, Superseded
from pairscope.ports import Cache

__all__ = ["Desk", "DeskWork", "Leads", "Reign", "shared_topic"]

KEY: Final = "desk"
"""The cache's key of the address at which replicas reach the desk."""
KNOWN_S: Final = 10.0
TELL_S: Final = 1.0
AGAIN_S: Final = 0.5
REST_S: Final = 10.0
"""A desk that cannot lay down its work within so long leaves that to the end of its process."""

_SHARED: Final = frozenset({"alerts", "discoveries", "jobs", "job", "paper"})

_log = structlog.get_logger(__name__)


def shared_topic(topic: str) -> bool:
    """Whether only the desk works out a topic, and every replica tells it.

    >>> shared_topic("alerts"), shared_topic("job:12"), shared_topic("price:BTCUSDT")
    (True, True, False)
    """
    return topic.partition(":")[0] in _SHARED


class Leads(Protocol):
    """A lock that one process of several holds."""

    is_leader: bool

    async def run(self, on_gain: Callable[[], Awaitable[object]], on_loss: Callable[[], Awaitable[object]]) -> None: ...

    async def close(self) -> None: ...

    def counters(self) -> Mapping[str, Any]: ...


class Reign(Protocol):
    """The word under which a desk writes, see ``storage.desk_store.Term``."""

    async def begin(self) -> None: ...

    def end(self) -> None: ...


class DeskWork(Protocol):
    """What the desk does, made in every replica and at rest in all but one."""

    async def overhear(self) -> None:
        """Know where what the desk tells stands, without being it."""
        ...

    async def restore(self) -> None:
        """Take up what records hold, as a start behind a crash does."""
        ...

    def runs(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What is to run while the desk is here, by name."""
        ...

    def open(self) -> None:
        """Judge what came lately, then every batch."""
        ...

    def shut(self) -> None:
        """Judge no more."""
        ...

    async def rest(self) -> None:
        """End what was begun and write what has come of it; nothing runs any more."""
        ...


class Desk:
    """Becomes the desk when the lock is ours, and says where the desk is when it is another's.

    ``run`` ends with an error where what the desk does ends, and with ``Superseded`` once another is the desk: this
    process has then laid down its work, and is to be started again as one that waits. ``address`` is how others reach
    this replica.
    """

    def __init__(self, leadership: Leads, work: DeskWork, reign: Reign, cache: Cache, *, address: str) -> None:
        self._leadership = leadership
        self._work = work
        self._reign = reign
        self._cache = cache
        self._address = address
        self._known = ""
        self._here = False
        self._taken_up = False
        self._group: asyncio.TaskGroup | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._over = asyncio.Event()

    # -- DeskSeat ------------------------------------------------------------------------------------------------------

    @property
    def here(self) -> bool:
        """Whether this replica is the desk, and works as such."""
        return self._here and self._leadership.is_leader

    async def address(self, *, fresh: bool = False) -> str:
        """Return where the desk is reached: the last that was heard of it, also while the cache is away."""
        if self.here:
            return self._address
        if fresh or not self._known:
            await self._look()
        return self._known

    # -- life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Try for the lock, work while it is ours, and know where the desk is, until closed."""
        await self._while_refused(self._work.overhear)
        async with asyncio.TaskGroup() as group:
            self._group = group
            beside = [
                group.create_task(self._tell(), name="where the desk is"),
                group.create_task(self._until_over(), name="end of the desk"),
            ]
            await self._leadership.run(self._promote, self._retire)
            for task in beside:
                task.cancel()

    async def close(self) -> None:
        """Lay down the work and the lock, so that another replica takes both up at once."""
        await self._lay_down()
        await self._leadership.close()

    def superseded(self) -> None:
        """Hear that another is the desk, before the lock says so: judge and write nothing more."""
        if self._taken_up:
            self._work.shut()
        self._here = False
        self._over.set()

    def counters(self) -> Mapping[str, Any]:
        """Return whether the desk is here, and how often the lock came and went."""
        return {**self._leadership.counters(), "leads": self.here}

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _promote(self) -> None:
        """Become the desk: first so that nobody else can write, then from what is written."""
        self._taken_up = True
        await self._while_refused(self._reign.begin)
        await self._while_refused(self._work.restore)
        if self._group is None or not (self._taken_up and self._leadership.is_leader):
            return  # laid down meanwhile
        self._work.open()
        for name, run in self._work.runs().items():
            self._tasks.append(self._group.create_task(run(), name=name))
        self._here = True
        await self._say()
        _log.info("this replica is the desk", address=self._address)

    async def _retire(self) -> None:
        await self._lay_down()
        self._over.set()

    async def _lay_down(self) -> None:
        """End in order: judge no more, stop what runs, write what has come of it, and be nobody's desk."""
        self._here = False
        if not self._taken_up:
            return
        self._taken_up = False
        self._work.shut()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(REST_S):
                await self._work.rest()
        except (StorageError, TimeoutError) as error:
            _log.error("the desk could not lay down its work in order", error=str(error) or type(error).__name__)
        self._reign.end()

    async def _until_over(self) -> None:
        """End the process once another is the desk: what was taken up is taken up anew by one that starts."""
        await self._over.wait()
        await self._lay_down()
        raise Superseded("another replica is the desk now")

    async def _tell(self) -> None:
        """Say where the desk is while it is here, else hear it, for ever."""
        while True:
            if self.here:
                await self._say()
            else:
                await self._look()
            await asyncio.sleep(TELL_S)

    async def _say(self) -> None:
        self._known = self._address
        await self._cache.put_many({KEY: self._address.encode()}, KNOWN_S)

    async def _look(self) -> None:
        heard = await self._cache.get(KEY)
        if heard is not None and heard.decode() != self._address:
            self._known = heard.decode()

    async def _while_refused(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask the store again while it refuses for the moment."""
        while True:
            try:
                await ask()
                return
            except StorageError as error:
                if not error.retry:
                    raise
                _log.warning("the desk waits for the store", error=str(error))
            await asyncio.sleep(AGAIN_S)
