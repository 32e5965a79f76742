"""Long computations as jobs: one at a time of a kind, in threads that give way; each tells how far it is and can end.

A job waits for its turn, may read from the store first, then works in a thread. Whoever wants its answer waits for it
or comes back; what nobody asks for any more is forgotten.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from time import monotonic
from traceback import clear_frames
from typing import Any, Final

import orjson
import structlog

from pairscope.errors import Busy, JobCancelled, PairscopeError, UnknownJob
from pairscope.ports import Bus, Clock
from pairscope.ports_research import JobHandle, JobStatus, JobView
from pairscope.research.background import quiet_threads

__all__ = ["TOPIC", "JobBoard"]

TOPIC: Final = "jobs"
"""Topic that tells of every job; ``job:ID`` tells of one."""

MOST_WAITING: Final = 8
"""Jobs of a kind that may wait for their turn."""

REMEMBERED: Final = 200
"""Ended jobs that are still known."""

ANSWERS: Final = 2
"""Newest jobs of a kind that are done whose answers are still there: they may be large."""

TOLD: Final = 50
"""Newest jobs in a message of the topic."""

TELL_S: Final = 0.2
"""A job's steps are told at most so often."""

_MS: Final = 1_000_000
_log = structlog.get_logger(__name__)


class _Job:
    """One job; what its work is given. ``tell`` is called in the event loop."""

    def __init__(self, view: JobView, work: Callable[[JobHandle], Any], tell: Callable[[_Job], None]) -> None:
        loop = asyncio.get_running_loop()
        self.id, self.kind, self.title, self.result = view.id, view.kind, view.title, view.result
        self.created_ms = view.created_ms
        self.status: JobStatus = "queued"
        self.steps = (0, 0)
        self.started_ms: int | None = None
        self.ended_ms: int | None = None
        self.error: str | None = None
        self.work = work
        self.read: Callable[[], Awaitable[object]] | None = None
        self.reading: asyncio.Future[object] | None = None
        self.answer: asyncio.Future[Any] = loop.create_future()
        self.ending = False
        self.told_s = 0.0
        self._loop = loop
        self._tell = tell
        self._pending = False

    def progress(self, done: int, total: int) -> None:
        """Note how far the work is, and have it told soon."""
        self.steps = (done, total)
        if not self._pending:
            self._pending = True
            with suppress(RuntimeError):  # a loop that has ended hears nothing more
                self._loop.call_soon_threadsafe(self._soon)

    def cancelled(self) -> bool:
        """Whether the work should end."""
        return self.ending

    def view(self) -> JobView:
        """Return where it stands."""
        done, total = self.steps
        return JobView(
            self.id,
            self.kind,
            self.title,
            self.status,
            done,
            total,
            self.created_ms,
            self.started_ms,
            self.ended_ms,
            self.error,
            self.result,
        )

    def _soon(self) -> None:
        self._loop.call_later(max(0.0, self.told_s + TELL_S - monotonic()), self._now)

    def _now(self) -> None:
        self._pending = False
        if self.status == "running":  # an end has told all there was
            self._tell(self)


class JobBoard:
    """``Jobs`` in one event loop.

    ``most_waiting`` of a kind wait at most, who comes beyond that is told to come again; ``remembered`` ended jobs are
    known, the answers of the last few of each kind are kept. ``bus`` is told of every change, of steps at most five
    times a second a job.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        clock: Clock,
        most_waiting: int = MOST_WAITING,
        remembered: int = REMEMBERED,
        threads: Callable[[int, str], ThreadPoolExecutor] = quiet_threads,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._most_waiting = most_waiting
        self._remembered = remembered
        self._threads = threads
        self._jobs: dict[str, _Job] = {}
        self._waiting: dict[str, deque[_Job]] = {}
        self._running: dict[str, tuple[_Job, asyncio.Task[None]]] = {}
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._counts: Counter[str] = Counter()
        self._closed = False

    # -- Jobs ----------------------------------------------------------------------------------------------------------

    def start(
        self,
        kind: str,
        title: str,
        work: Callable[[JobHandle], Any],
        *,
        result: str | None = None,
        id: str | None = None,  # noqa: A002 - what everybody calls it
        read: Callable[[], Awaitable[object]] | None = None,
    ) -> JobView:
        """Have work done when its turn has come; ``Busy`` where too many of its kind wait. See ``Jobs``."""
        known = None if id is None else self._jobs.get(id)
        if known is not None and known.ended_ms is None:
            return known.view()
        queue = self._waiting.setdefault(kind, deque())
        if self._closed or len(queue) >= self._most_waiting:
            self._counts["refused"] += 1
            raise Busy(f"{len(queue)} jobs of the kind {kind} wait already", hint="wait for one of them, or cancel it")
        name = id or secrets.token_hex(8)
        now_ms = self._clock() // _MS
        job = _Job(JobView(name, kind, title, "queued", 0, 0, now_ms, None, None, None, result), work, self._tell)
        job.read = read
        self._jobs.pop(name, None)  # what starts anew is the newest again
        self._jobs[name] = job
        self._counts["started"] += 1
        queue.append(job)
        self._tell(job)
        self._next(kind)
        return job.view()

    async def wait(self, id: str) -> Any:  # noqa: A002
        """Return a job's answer, or raise what it raised; who stops waiting stops nothing."""
        job = self._jobs.get(id)
        if job is None or job.answer.cancelled():
            raise UnknownJob(id)
        return await asyncio.shield(job.answer)

    def view(self, id: str) -> JobView | None:  # noqa: A002
        """Return where a job stands; None where it is not known."""
        job = self._jobs.get(id)
        return None if job is None else job.view()

    def views(self, kind: str | None = None) -> list[JobView]:
        """Return every known job of a kind, or of all, the newest first."""
        return [job.view() for job in reversed(self._jobs.values()) if kind in {None, job.kind}]

    def cancel(self, id: str) -> bool:  # noqa: A002
        """Have a job end as soon as it can; False where it has ended or is not known."""
        job = self._jobs.get(id)
        if job is None or job.ended_ms is not None:
            return False
        job.ending = True
        queue = self._waiting[job.kind]
        if job in queue:
            queue.remove(job)
            self._end(job, "cancelled")
        elif job.reading is not None:
            job.reading.cancel()
        return True

    def counters(self) -> Mapping[str, Any]:
        """Return how many jobs wait, run and have ended how."""
        names = ("started", "done", "failed", "cancelled", "refused")
        return {
            "queued": sum(map(len, self._waiting.values())),
            "running": len(self._running),
            **{name: self._counts[name] for name in names},
        }

    # -- life ----------------------------------------------------------------------------------------------------------

    def document(self) -> Mapping[str, Any]:
        """Return the newest jobs: what the topic says."""
        return {"jobs": [asdict(view) for view in self.views()[:TOLD]]}

    async def close(self) -> None:
        """Take nothing more, cancel what waits and what runs, and see it off."""
        self._closed = True
        for job in list(self._jobs.values()):
            self.cancel(job.id)
        tasks = [task for _, task in self._running.values()]
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=1.0)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _next(self, kind: str) -> None:
        """Begin the job of a kind whose turn has come, where none is under way."""
        queue = self._waiting[kind]
        if kind not in self._running and queue:
            job = queue.popleft()
            job.status, job.started_ms, job.told_s = "running", self._clock() // _MS, monotonic()
            self._running[kind] = job, asyncio.create_task(self._run(job), name=f"job {kind}")
            self._tell(job)

    async def _run(self, job: _Job) -> None:
        """Do a job to its end, whatever that is, and begin the next."""
        try:
            if job.read is not None and not job.ending:
                job.reading = asyncio.ensure_future(job.read())
                await job.reading
                job.reading = None
            if job.ending:
                raise CancelledError
            pool = self._pools.get(job.kind) or self._pools.setdefault(job.kind, self._threads(1, f"job-{job.kind}"))
            answer = await asyncio.get_running_loop().run_in_executor(pool, job.work, job)
        except (asyncio.CancelledError, CancelledError):
            self._end(job, "cancelled")
        except PairscopeError as error:
            self._end(job, "failed", error=error)
        except Exception as error:  # noqa: BLE001 - logged in full and counted; the next job has its turn all the same
            _log.exception("a job failed", kind=job.kind, title=job.title)
            self._end(job, "failed", error=error)
        else:
            self._end(job, "done", answer=answer)
        finally:
            del self._running[job.kind]
            if not self._closed:
                self._next(job.kind)

    def _end(self, job: _Job, status: JobStatus, *, answer: Any = None, error: Exception | None = None) -> None:
        """Note how a job ended, give its answer to who waits, tell, and forget what is old."""
        job.status, job.ended_ms = status, self._clock() // _MS
        job.work, job.read, job.reading = _nothing, None, None  # what they hold may be large
        self._counts[status] += 1
        if status == "cancelled":
            error = JobCancelled(f"the job {job.title!r} was cancelled")
        elif error is not None:
            told = isinstance(error, PairscopeError)
            job.error = str(error) if told else "something unexpected happened; the log tells what"
        if error is None:
            job.answer.set_result(answer)
        else:
            clear_frames(error.__traceback__)  # what they hold may be large
            job.answer.set_exception(error)
            job.answer.exception()  # looked at: where nobody waits, nobody is warned
        self._tell(job)
        self._forget(job.kind)

    def _forget(self, kind: str) -> None:
        """Let go of answers and of jobs that are old."""
        ended = [job for job in self._jobs.values() if job.ended_ms is not None]
        for job in [job for job in ended if job.kind == kind and job.status == "done"][:-ANSWERS]:
            job.answer = job.answer.get_loop().create_future()
            job.answer.cancel()
        for job in ended[: max(0, len(ended) - self._remembered)]:
            del self._jobs[job.id]

    def _tell(self, job: _Job) -> None:
        """Tell who listens where a job stands."""
        job.told_s = monotonic()
        wanted = self._bus.wanted()
        if f"job:{job.id}" in wanted:
            self._bus.publish(f"job:{job.id}", orjson.dumps(job.view()))
        if TOPIC in wanted:
            self._bus.publish(TOPIC, orjson.dumps(self.document()))


def _nothing(_: JobHandle) -> None:
    """Stands in the place of work that is done."""
