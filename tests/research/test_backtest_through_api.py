"""A run made elsewhere: watched until it ends, cancelled there when it is here, its failure told."""

from __future__ import annotations

from concurrent.futures import CancelledError
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from pairscope.errors import PairscopeError
from pairscope.research.backtest_through_api import run_through_api


class Instance:
    """Answers as the API's client does, each look at the job with the next of some states."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self.states = [{"id": "7", "total": 10, "error": None, **state} for state in states]
        self.cancelled: list[str] = []

    def start_backtest(self, kind: str, **body: Any) -> dict[str, Any]:
        assert (kind, body) == ("backtest", {"y": "A", "x": "B"})
        return {"id": "7", "status": "queued", "done": 0, "total": 0, "error": None}

    def job(self, name: str) -> dict[str, Any]:
        assert name == "7"
        return self.states.pop(0)

    def cancel_job(self, name: str) -> None:
        self.cancelled.append(name)

    def backtest_run(self, name: str) -> Any:
        return SimpleNamespace(document={"id": name})


def run(instance: Any, told: list[tuple[int, int]], stopped: Event | None = None) -> dict[str, Any]:
    return run_through_api(
        instance,
        "backtest",
        {"y": "A", "x": "B"},
        ask=lambda ask: ask(),
        progress=lambda done, total: told.append((done, total)),
        stopped=stopped or Event(),
    )


def test_progress_is_told_until_the_document_is_there() -> None:
    told: list[tuple[int, int]] = []
    instance = Instance(
        {"status": "running", "done": 3}, {"status": "running", "done": 9}, {"status": "done", "done": 10}
    )
    assert run(instance, told) == {"id": "7"}
    assert told == [(0, 1), (3, 10), (9, 10)] and instance.cancelled == []


def test_who_stops_here_cancels_there() -> None:
    stopped = Event()
    stopped.set()
    instance = Instance()
    with pytest.raises(CancelledError):
        run(instance, [], stopped)
    assert instance.cancelled == ["7"]


def test_why_it_failed_is_told() -> None:
    with pytest.raises(PairscopeError, match="there are 9"):
        run(Instance({"status": "failed", "done": 1, "error": "lookback: there are 9"}), [])
    with pytest.raises(PairscopeError, match="cancelled where it ran"):
        run(Instance({"status": "cancelled", "done": 1}), [])
