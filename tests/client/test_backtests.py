"""Backtests through the client: what the API says, as tables in the right types."""

from __future__ import annotations

from typing import Any

import httpx2
import orjson
import pandas as pd
import pytest

from pairscope.api.backtest_examples import BACKTEST_EXAMPLES
from pairscope.client import Client
from pairscope.errors import ApiRefused, InputError

from .test_clients import Answer, client_of, problem

RUN = BACKTEST_EXAMPLES["/api/backtest"]
SWEEP = BACKTEST_EXAMPLES["/api/backtest/sweep"]


def heard(answers: dict[str, Any]) -> tuple[Client, list[httpx2.Request]]:
    """Return a client, and what is asked through it; ``answers`` by method and path."""
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        document = answers[f"{request.method} {request.url.path}"]
        return httpx2.Response(204) if document is None else httpx2.Response(200, json=document)

    return client_of(answer), asked


def test_a_backtest_is_asked_for_in_the_words_of_the_api_and_comes_back_as_tables() -> None:
    client, asked = heard({"POST /api/backtest": RUN})
    run = client.backtest("ETHUSDT", "BTCUSDT", "5m", start=pd.Timestamp("2026-01-01", tz="UTC"), entry=1.5, stop=None)
    body = orjson.loads(asked[0].content)
    assert body == {
        "y": "ETHUSDT",
        "x": "BTCUSDT",
        "timeframe": "5m",
        "start": "2026-01-01T00:00:00+00:00",
        "entry": 1.5,
    }
    assert run.id == RUN["id"]
    assert run.metrics["sharpe"] == run["metrics"]["sharpe"] == -3.1
    assert run.equity.index[0] == pd.Timestamp("2026-01-01T00:00:00Z")
    assert list(run.equity.columns) == ["equity", "drawdown"]
    assert run.trades["entry_timestamp"].iloc[0] == pd.Timestamp("2026-01-01T00:01:00Z")
    assert run.trades["pnl"].tolist() == [2.31]
    assert run.verdict.startswith("Costs eat the edge. Costs of 10 bps")


def test_a_run_that_takes_long_is_waited_for_longer_than_other_answers() -> None:
    client, asked = heard({"POST /api/backtest": RUN, "GET /api/backtests/7": RUN})
    client.backtest("ETHUSDT", "BTCUSDT")
    client.backtest_run("7")
    waits = [request.extensions["timeout"]["read"] for request in asked]
    assert waits[0] >= 600
    assert waits[1] <= 60


def test_a_run_without_trades_has_an_empty_table_of_them() -> None:
    client, _ = heard({"POST /api/backtest": {**RUN, "trades": []}})
    assert len(client.backtest("ETHUSDT", "BTCUSDT").trades) == 0


def test_a_sweep_is_a_table_of_its_rows_and_draws_heatmaps() -> None:
    client, asked = heard(
        {
            "POST /api/backtest/sweep": SWEEP,
            f"GET /api/backtests/{SWEEP['id']}/heatmap": BACKTEST_EXAMPLES["/api/backtests/{id}/heatmap"],
        }
    )
    run = client.sweep("ETHUSDT", "BTCUSDT", window=[60], entry=[2.0], exit=[0.5])
    assert orjson.loads(asked[0].content)["entry"] == [2.0]
    assert run.rows[["window", "entry", "exit"]].iloc[0].tolist() == [60, 2.0, 0.5]
    drawn = client.heatmap(run.id, "sharpe", "entry", "exit")
    assert drawn.loc[1.5, 0.5] == -3.9
    assert (drawn.index.name, drawn.columns.name) == ("entry", "exit")


def test_kept_runs_are_a_table_of_all_pages() -> None:
    line = BACKTEST_EXAMPLES["/api/backtests"]["backtests"][0]

    def answer(request: httpx2.Request) -> httpx2.Response:
        first = "cursor" not in request.url.params
        assert request.url.params["kind"] == "backtest"
        return httpx2.Response(200, json={"backtests": [{**line, "id": "2" if first else "1"}], "next": first or None})

    table = client_of(answer).backtests(kind="backtest")
    assert table.index.tolist() == ["2", "1"]
    assert table["metrics.sharpe"].tolist() == [-3.1, -3.1]
    assert table["created"].iloc[0] == pd.Timestamp("2026-01-01T10:00:00Z")
    empty = client_of(lambda _: httpx2.Response(200, json={"backtests": [], "next": None})).backtests()
    assert len(empty) == 0
    assert "kind" in empty.columns


def test_a_job_can_be_started_watched_and_cancelled() -> None:
    job = {"id": "7", "status": "running", "done": 1, "total": 10}
    client, asked = heard(
        {"POST /api/backtest/sweep": job, "GET /api/jobs/7": job, "DELETE /api/jobs/7": {**job, "status": "cancelled"}}
    )
    started = client.start_backtest("sweep", y="ETHUSDT", x="BTCUSDT", entry=[1.5, 2.0])
    assert asked[0].url.params["wait"] == "false"
    assert client.job(started["id"])["done"] == 1
    assert client.cancel_job("7")["status"] == "cancelled"


def test_a_run_is_forgotten_on_demand() -> None:
    client, asked = heard({"DELETE /api/backtests/7": None})
    client.delete_backtest("7")
    assert asked[0].method == "DELETE"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (lambda _: problem(422, "entry: must be above exit", loc=["body", "entry"]), InputError, "above exit"),
        (lambda _: problem(409, "the job was cancelled"), ApiRefused, "cancelled"),
    ],
)
def test_a_refusal_keeps_the_servers_words(answer: Answer, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        client_of(answer).backtest("ETHUSDT", "BTCUSDT")
