"""Jobs: waited for to the end, with their way told, and their errors raised."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from pairscope.client import Client
from pairscope.errors import ApiRefused, ApiUnreachable, JobCancelled

from .test_clients import client_of
from .test_clients_both import awaited_client_of

RUNNING = {
    "id": "7",
    "kind": "backfill",
    "title": "Back-fill",
    "status": "running",
    "done": 1,
    "total": 3,
    "error": None,
}
DONE = {**RUNNING, "status": "done", "done": 3, "result": "/api/jobs/7/result"}


class Server:
    """A job that goes from one document to the next whenever it is looked at."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self._documents = list(documents)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/result"):
            return httpx2.Response(200, json={"stored": 42})
        return httpx2.Response(200, json=self._documents.pop(0) if len(self._documents) > 1 else self._documents[0])


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("pairscope.client.clients.time", SimpleNamespace(sleep=slept.append, monotonic=time.monotonic))
    return slept


def test_waiting_tells_each_step_once_and_returns_what_was_found(pauses: list[float]) -> None:
    seen: list[int] = []
    api = client_of(Server(RUNNING, RUNNING, {**RUNNING, "done": 2}, DONE))
    assert api.wait(RUNNING, progress=lambda job: seen.append(job["done"])) == {"stored": 42}
    assert seen == [1, 2, 3]
    assert len(pauses) == 3
    plain = client_of(Server({**DONE, "result": None}))
    assert plain.wait("7")["status"] == "done"


async def test_the_awaited_client_waits_without_blocking() -> None:
    async with awaited_client_of(Server(RUNNING, DONE)) as api:
        assert await api.wait("7") == {"stored": 42}


@pytest.mark.parametrize(
    ("document", "kind", "words"),
    [
        ({"status": "failed", "error": "the exchange refused"}, ApiRefused, "the exchange refused"),
        ({"status": "cancelled"}, JobCancelled, "Back-fill was cancelled"),
    ],
)
def test_a_job_that_came_to_nothing_is_an_error(document: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        client_of(Server({**RUNNING, **document})).wait("7")


def test_who_waits_no_longer_is_told_that_it_goes_on(pauses: list[float]) -> None:
    with pytest.raises(ApiUnreachable, match="not done after 0 s") as error:
        client_of(Server(RUNNING)).wait("7", timeout_s=0)
    assert "goes on" in error.value.line()


def test_jobs_are_a_table(pauses: list[float]) -> None:
    job = {**DONE, "created_ms": 1_767_225_600_000, "started_ms": None, "ended_ms": None}
    api: Client = client_of(lambda _: httpx2.Response(200, json={"jobs": [job]}))
    table = api.jobs()
    assert table.loc["7", "status"] == "done"
    assert str(table["created_ms"].iloc[0]) == "2026-01-01 00:00:00+00:00"
