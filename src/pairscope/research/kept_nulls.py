"""The market's own nulls: made once a day of the continuous screens and when asked for, as jobs that give way, kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Executor, Future
from functools import partial
from typing import Final, ParamSpec, TypeVar

import orjson
import structlog

from pairscope.errors import StorageError
from pairscope.ports import Records
from pairscope.ports_research import JobHandle, Jobs, JobView
from pairscope.research.background import quiet_threads
from pairscope.research.market_null import MarketNull, market_null, null_from
from pairscope.research.standing import Standing

__all__ = ["COLLECTION", "KIND", "KeptNulls"]

COLLECTION: Final = "screen_nulls"
KIND: Final = "null"
DAY_MS: Final = 86_400_000
AGAIN_MS: Final = 600_000
"""A market that has grown by a quarter gets another null the same day, after so long at the earliest."""

GROWN: Final = 1.25
MOST_KEPT: Final = 32
NICENESS: Final = 15

P = ParamSpec("P")
R = TypeVar("R")
_log = structlog.get_logger(__name__)


class KeptNulls:
    """The newest null of each screen, kept over a restart. To be used from one event loop.

    ``daily`` surrogate markets a continuous screen and UTC day, by the market's own time; 0 for none. They are screened
    in one thread of very low priority, which stands still while ``free`` is not set.
    """

    def __init__(self, jobs: Jobs, records: Records, *, daily: int, free: threading.Event) -> None:
        self.daily = daily
        self.refused = 0
        self._jobs = jobs
        self._records = records
        self._pool = quiet_threads(1, "screen-null", niceness=NICENESS)
        self._free = free
        self._closing = threading.Event()
        self._nulls: dict[str, MarketNull] = {}
        self._tried: dict[str, int] = {}
        self._waiting: dict[str, asyncio.Task[None]] = {}

    def of(self, timeframe: str, lookback: int) -> MarketNull | None:
        """Return the newest null of a screen."""
        return self._nulls.get(_name(timeframe, lookback))

    def enough(self, timeframe: str, lookback: int, surrogates: int, now_ms: int) -> bool:
        """Whether a screen's null has so many surrogates and is less than a day old."""
        null = self.of(timeframe, lookback)
        return null is not None and null.surrogates >= surrogates and null.as_of_ms > now_ms - DAY_MS

    def due(self, standing: Standing) -> bool:
        """Whether a continuous screen should have a new null: it has none of this UTC day, or its market has grown."""
        if not self.daily:
            return False
        name = _name(standing.timeframe, standing.lookback)
        null, day = self._nulls.get(name), standing.as_of_ms // DAY_MS
        if null is None or null.as_of_ms // DAY_MS < day:
            return self._tried.get(name) != day
        grown = standing.head.tests > GROWN * null.tests
        return grown and standing.as_of_ms >= null.as_of_ms + AGAIN_MS

    def ask(
        self, timeframe: str, lookback: int, surrogates: int, standing: Callable[[], Awaitable[Standing]]
    ) -> JobView:
        """Have a null made; ``standing`` gives the screen of whose closes. The same twice is one job."""
        name = _name(timeframe, lookback)
        closes = []

        async def read() -> None:
            found = await standing()
            self._tried[name] = found.as_of_ms // DAY_MS
            closes.append(found.closes)

        def work(job: JobHandle) -> MarketNull:
            gone = partial(self._gone, job)
            giving_way = _GivingWay(self._pool, self._free, gone)
            return market_null(
                closes[0],
                timeframe,
                lookback,
                surrogates=surrogates,
                executor=giving_way,
                progress=job.progress,
                cancelled=gone,
            )

        view = self._jobs.start(
            KIND,
            f"{surrogates} surrogate markets of {lookback:,} {timeframe} bars",
            work,
            result=f"/api/analytics/screen?timeframe={timeframe}&lookback={lookback}&empirical_null={surrogates}",
            id=f"null-{timeframe}-{lookback}-{surrogates}",
            read=read,
        )
        if view.id not in self._waiting:
            self._waiting[view.id] = asyncio.create_task(self._await(view.id), name="null")
        return view

    async def made(self, job: str) -> MarketNull:
        """Wait for a job of ``ask`` and keep what it made; raises what it raised."""
        null: MarketNull = await self._jobs.wait(job)
        name = _name(null.timeframe, null.lookback)
        if self._nulls.get(name) is not null:
            self._nulls.pop(name, None)
            self._nulls[name] = null
            await self._keep(name, null)
        return null

    async def restore(self) -> None:
        """Take up the nulls as they were kept; what cannot be read is made anew in its time."""
        try:
            async for name, document in self._records.scan(COLLECTION):
                try:
                    self._nulls[name] = null_from(orjson.loads(document))
                except (LookupError, TypeError, ValueError):
                    _log.warning("a kept null cannot be read", screen=name)
        except StorageError as error:
            _log.warning("the nulls of screens cannot be read", error=str(error))

    @property
    def kept(self) -> int:
        """Of how many screens a null is known."""
        return len(self._nulls)

    def close(self) -> None:
        """Take nothing more; what is under way ends at its next tile."""
        self._closing.set()
        for task in self._waiting.values():
            task.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _await(self, job: str) -> None:
        """Keep what a job makes, whoever asked for it; who waits is told what went wrong."""
        try:
            await self.made(job)
        except Exception as error:  # noqa: BLE001 - the job says it, the board counts it
            _log.info("no null of a screen was made", reason=str(error))
        finally:
            self._waiting.pop(job, None)

    async def _keep(self, name: str, null: MarketNull) -> None:
        try:
            await self._records.put(COLLECTION, name, orjson.dumps(null.document()))
            while len(self._nulls) > MOST_KEPT:
                oldest = next(iter(self._nulls))
                del self._nulls[oldest]
                await self._records.delete(COLLECTION, oldest)
        except StorageError as error:
            self.refused += 1
            _log.warning("the null of a screen could not be kept", screen=name, error=str(error))

    def _gone(self, job: JobHandle) -> bool:
        return self._closing.is_set() or job.cancelled()


class _GivingWay(Executor):
    """An executor whose every piece of work waits until the way is free."""

    def __init__(self, pool: Executor, free: threading.Event, gone: Callable[[], bool]) -> None:
        self._pool = pool
        self._free = free
        self._gone = gone

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Have something done when it is this thread's turn and nobody else needs the processor."""
        return self._pool.submit(self._in_turn, partial(fn, *args, **kwargs))

    def _in_turn(self, work: Callable[[], R]) -> R:
        while not self._free.wait(0.1):
            if self._gone():
                raise CancelledError
        return work()


def _name(timeframe: str, lookback: int) -> str:
    return f"{timeframe}:{lookback}"
