"""Jobs: one at a time of a kind, told how far they are, ended on request, and forgotten at last."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError
from time import monotonic
from typing import Any

import orjson
import pytest

from pairscope.errors import Busy, InputError, JobCancelled, UnknownJob
from pairscope.ports_research import JobHandle, JobView
from pairscope.research.jobs import ANSWERS, TELL_S, JobBoard
from pairscope.storage.memory_cache import MemoryBus

PATIENCE_S = 60.0


class Gate:
    """Work that says that it has begun, and goes on until it is let go or cancelled."""

    def __init__(self, answer: Any = None) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()
        self.answer = answer

    def __call__(self, job: JobHandle) -> Any:
        self.begun.set()
        while not self.open.wait(0.01):
            if job.cancelled():
                raise CancelledError
        return self.answer

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, PATIENCE_S)


@pytest.fixture
async def board() -> AsyncIterator[JobBoard]:
    board = JobBoard(MemoryBus(), clock=lambda: 1_700_000_000_000_000_000, most_waiting=2, remembered=6)
    yield board
    await board.close()


def seen(board: JobBoard, job: JobView) -> JobView:
    view = board.view(job.id)
    assert view is not None
    return view


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def test_who_waits_gets_the_answer_and_the_view_tells_where_the_job_stands(board):
    gate = Gate(answer=42)
    job = board.start("screen", "a screen", gate, result="/api/x")
    await gate.has_begun()
    now = seen(board, job)
    assert (now.status, now.done, now.total, now.ended_ms) == ("running", 0, 0, None)
    gate.open.set()
    assert await board.wait(job.id) == 42
    then = seen(board, job)
    assert (then.status, then.kind, then.title, then.result) == ("done", "screen", "a screen", "/api/x")
    assert then.created_ms == then.started_ms == then.ended_ms == 1_700_000_000_000


async def test_one_of_a_kind_runs_at_a_time_and_another_kind_does_not_wait_for_it(board):
    first, second, other = Gate(), Gate(), Gate()
    jobs = [board.start(kind, kind, gate) for kind, gate in (("a", first), ("a", second), ("b", other))]
    await first.has_begun()
    await other.has_begun()
    assert [seen(board, job).status for job in jobs] == ["running", "queued", "running"]
    assert not second.begun.is_set()
    first.open.set()
    await second.has_begun()
    assert seen(board, jobs[0]).status == "done"
    assert board.counters()["running"] == 2


async def test_too_many_that_wait_are_refused_and_counted(board):
    gate = Gate()
    for _ in range(3):
        board.start("a", "a", gate)
    with pytest.raises(Busy, match="2 jobs"):
        board.start("a", "a", gate)
    assert board.counters()["refused"] == 1
    assert board.start("b", "b", gate).status == "running"


async def test_a_job_that_waits_or_runs_is_not_started_twice_under_the_same_id(board):
    gate = Gate(1)
    job = board.start("a", "a", gate, id="same")
    assert board.start("a", "a", Gate(2), id="same").id == job.id == "same"
    assert len(board.views()) == 1
    gate.open.set()
    assert await board.wait("same") == 1
    again = Gate(3)
    again.open.set()
    board.start("a", "a", again, id="same")
    assert await board.wait("same") == 3


async def test_a_running_job_ends_when_it_comes_up_for_air_after_it_was_cancelled(board):
    gate = Gate()
    job = board.start("a", "a", gate)
    await gate.has_begun()
    assert board.cancel(job.id)
    with pytest.raises(JobCancelled):
        await board.wait(job.id)
    assert seen(board, job).status == "cancelled"
    assert not board.cancel(job.id)
    assert board.counters()["cancelled"] == 1


async def test_a_waiting_job_that_is_cancelled_never_begins(board):
    first, second = Gate(), Gate()
    board.start("a", "a", first)
    job = board.start("a", "a", second)
    assert board.cancel(job.id)
    assert seen(board, job).status == "cancelled"
    first.open.set()
    await until(lambda: board.counters()["running"] == 0)
    assert not second.begun.is_set()


async def test_reading_comes_before_the_work_and_can_be_cancelled(board):
    held, order = asyncio.Event(), []

    async def read() -> None:
        order.append("read")
        await held.wait()

    job = board.start("a", "a", lambda _: order.append("work"), read=read)
    other = board.start("a", "a", lambda _: order.append("other"))
    await until(lambda: order == ["read"])
    assert board.cancel(job.id)
    with pytest.raises(JobCancelled):
        await board.wait(job.id)
    await board.wait(other.id)
    held.set()
    third = board.start("a", "a", lambda _: order.append("work"), read=read)
    await board.wait(third.id)
    assert order == ["read", "other", "read", "work"]


async def test_an_error_reaches_who_waits_and_the_view_says_it_in_words(board):
    def refuse(_: JobHandle) -> None:
        raise InputError("entry: must be above exit", loc="entry")

    job = board.start("a", "a", refuse)
    with pytest.raises(InputError, match="above exit"):
        await board.wait(job.id)
    assert (seen(board, job).status, seen(board, job).error) == ("failed", "entry: must be above exit")


async def test_a_bug_in_the_work_fails_its_job_alone_and_tells_nothing_of_the_inside(board):
    job = board.start("a", "a", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await board.wait(job.id)
    assert "division" not in (seen(board, job).error or "")
    assert await board.wait(board.start("a", "a", lambda _: "well").id) == "well"


async def test_who_stops_waiting_does_not_stop_the_job(board):
    gate = Gate("kept")
    job = board.start("a", "a", gate)
    waiter = asyncio.create_task(board.wait(job.id))
    await gate.has_begun()
    waiter.cancel()
    gate.open.set()
    assert await board.wait(job.id) == "kept"


async def test_old_answers_are_let_go_and_old_jobs_forgotten(board):
    jobs = []
    for number in range(8):
        jobs.append(board.start("a", "a", lambda _, number=number: number))
        await board.wait(jobs[-1].id)
    assert await board.wait(jobs[-ANSWERS].id) == len(jobs) - ANSWERS
    with pytest.raises(UnknownJob):
        await board.wait(jobs[-ANSWERS - 1].id)
    assert [view.id for view in board.views()] == [job.id for job in reversed(jobs[-6:])]
    assert board.view(jobs[0].id) is None


async def test_every_change_is_told_and_the_last_step_of_many_is_among_them():
    bus = MemoryBus()
    board = JobBoard(bus, clock=lambda: 0)
    hearing = bus.subscribe()
    hearing.add(["job:one", "jobs"])
    gate = Gate()

    def work(job: JobHandle) -> None:
        for done in range(1, 301):
            job.progress(done, 300)
            threading.Event().wait(0.001)
        gate(job)

    began_s = monotonic()
    board.start("a", "a", work, id="one")
    heard: list[dict[str, Any]] = []

    async def hear(condition: Callable[[dict[str, Any]], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not heard or not condition(heard[-1]):
                messages = await hearing.next()
                heard.extend(orjson.loads(m.value) for m in messages if m.topic == "job:one")

    await hear(lambda job: job["done"] == 300)
    assert bus.seq("job:one") <= (monotonic() - began_s) / TELL_S + 3, "three hundred steps are few messages"
    assert heard[-1]["status"] == "running"
    gate.open.set()
    await hear(lambda job: job["status"] == "done")
    assert heard[-1]["total"] == 300
    await board.close()


async def test_what_nobody_listens_to_is_not_told():
    bus = MemoryBus()
    board = JobBoard(bus, clock=lambda: 0)
    await board.wait(board.start("a", "a", lambda job: job.progress(1, 1)).id)
    assert bus.published == 0
    await board.close()


async def test_a_board_that_closes_cancels_what_waits_and_what_runs():
    board = JobBoard(MemoryBus(), clock=lambda: 0)
    gate = Gate()
    jobs = [board.start("a", "a", gate) for _ in range(2)]
    await gate.has_begun()
    await board.close()
    assert [seen(board, job).status for job in jobs] == ["cancelled", "cancelled"]
    with pytest.raises(Busy):
        board.start("a", "a", gate)
