"""Jobs over HTTP and the stream: listed, looked at, cancelled; what is not there is a 404."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from pairscope.api.app import create_app
from pairscope.ports_research import JobHandle

from .market import Market
from .test_problems import assert_problem

PATIENCE_S = 60.0


@pytest.fixture
async def running(market: Market) -> AsyncIterator[str]:
    """A job that runs until it is cancelled, of three steps of which one is done; another kind's has ended."""
    begun = threading.Event()

    def work(job: JobHandle) -> None:
        job.progress(1, 3)
        begun.set()
        while not job.cancelled():
            begun.wait(0.01)
        raise CancelledError

    await market.jobs.wait(market.jobs.start("screen", "one that has ended", lambda _: None).id)
    view = market.jobs.start("backtest", "AAA on BBB", work, result="/api/backtests/1")
    assert await asyncio.to_thread(begun.wait, PATIENCE_S)
    yield view.id
    await market.jobs.close()


async def test_a_job_says_how_far_it_is(api: httpx2.AsyncClient, running: str) -> None:
    job = (await api.get(f"/api/jobs/{running}")).json()
    assert job | {"status": "running", "done": 1, "total": 3, "result": "/api/backtests/1"} == job


async def test_jobs_are_listed_newest_first_and_by_kind(api: httpx2.AsyncClient, running: str) -> None:
    jobs = (await api.get("/api/jobs")).json()["jobs"]
    assert [(job["kind"], job["status"]) for job in jobs] == [("backtest", "running"), ("screen", "done")]
    assert [j["id"] for j in (await api.get("/api/jobs", params={"kind": "backtest"})).json()["jobs"]] == [running]
    assert (await api.get("/api/jobs", params={"kind": "sweep"})).json() == {"jobs": []}
    assert_problem(await api.get("/api/jobs", params={"kind": "nothing"}), 422)


async def test_a_cancelled_job_ends_and_cancelling_again_changes_nothing(
    api: httpx2.AsyncClient, market: Market, running: str
) -> None:
    assert (await api.delete(f"/api/jobs/{running}")).status_code == 200
    async with asyncio.timeout(PATIENCE_S):
        while (await api.get(f"/api/jobs/{running}")).json()["status"] != "cancelled":
            await asyncio.sleep(0.01)
    again = await api.delete(f"/api/jobs/{running}")
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")
    assert market.jobs.counters()["cancelled"] == 1


@pytest.mark.parametrize("verb", ["GET", "DELETE"])
async def test_a_job_that_is_not_there_is_a_404_that_says_so(api: httpx2.AsyncClient, verb: str) -> None:
    answer = await api.request(verb, "/api/jobs/nothing")
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (404, "urn:pairscope:problem:unknown-job")
    assert problem["errors"][0]["loc"] == ["path", "id"]


async def test_the_stream_tells_of_jobs_and_refuses_one_that_is_not_there(market: Market) -> None:
    view = market.jobs.start("screen", "a screen", lambda _: None)
    await market.jobs.wait(view.id)

    def talk() -> tuple[Any, Any, Any]:
        with TestClient(create_app(market.services())) as client, client.websocket_connect("/ws/updates") as socket:
            socket.send_json({"op": "subscribe", "topics": [f"job:{view.id}", "jobs", "job:nothing"]})
            return socket.receive_json(), socket.receive_json(), socket.receive_json()

    one, many, refusal = await asyncio.to_thread(talk)
    assert (one["topic"], one["data"]["status"]) == (f"job:{view.id}", "done")
    assert [job["id"] for job in many["data"]["jobs"]] == [view.id]
    assert "nothing" in refusal["error"]
