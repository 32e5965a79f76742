"""Sweeps and walk-forwards over HTTP: each row is a backtest, the table is kept, and more than is sensible refused."""

from __future__ import annotations

from typing import Any

import httpx2
import orjson
import pytest

from .market import START_MS, Market
from .test_backtests import JSON, RULE, made
from .test_problems import assert_problem

GRID = {
    **RULE,
    "hedge": {"method": ["ols", "kalman"], "lookback": [20, 30]},
    "window": [10, 15],
    "entry": [1.0, 1.5],
    "exit": [0.2, 1.2],
    "stop": [None, 3.0],
}


async def swept(api: httpx2.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    return await made(api, body, "/api/backtest/sweep")


async def test_each_row_of_a_sweep_is_the_backtest_of_its_parameters(api: httpx2.AsyncClient) -> None:
    said = await swept(api, {**GRID, "start": START_MS + 3_600_000})
    assert said["skipped"] == 16, "entry 1.0 is not above exit 1.2"
    assert len(said["rows"]) == said["combinations"] == 2 * 2 * 2 * 2 * 2 * 2 - 16
    assert list(said["rows"][0])[:6] == ["method", "lookback", "window", "entry", "exit", "stop"]
    # All share the longest warm-up, so that Kalman's filter begins before that of a shorter one alone.
    alike = [row for row in said["rows"] if (row["method"], row["lookback"]) != ("kalman", 20)]
    for row in alike[::7]:
        hedge = {"method": row["method"], "lookback": row["lookback"]}
        rule = {name: row[name] for name in ("window", "entry", "exit", "stop")}
        alone = await made(api, {**RULE, **rule, "hedge": hedge, "start": START_MS + 3_600_000})
        for name in ("total_return", "sharpe", "trades", "win_rate", "fees", "max_drawdown", "turnover"):
            assert row[name] == pytest.approx(alone["metrics"][name], rel=1e-6), name
    ratios = [row["sharpe"] for row in said["rows"] if row["sharpe"] is not None]
    assert said["best"]["sharpe"] == max(ratios)
    again = await swept(api, said["request"])
    assert again["rows"] == said["rows"], "the request asks for the same again"
    assert 0.0 <= said["pbo"] <= 1.0
    assert 0.0 <= said["deflated_sharpe"] <= 1.0


async def test_only_what_came_as_a_list_is_a_column(api: httpx2.AsyncClient) -> None:
    said = await swept(api, {**RULE, "entry": [1.5], "exit": 0.2, "fee_bps": [[1.0, 2.0], 3.0]})
    assert said["grid"] == {"fee_bps": [[1.0, 2.0], 3.0], "entry": [1.5]} or set(said["grid"]) == {"entry", "fee_bps"}
    assert [row["fee_bps"] for row in said["rows"]] == [[1.0, 2.0], 3.0]
    assert "exit" not in said["rows"][0]
    assert (said["request"]["exit"], said["request"]["hedge"]) == (0.2, {"method": "ols", "lookback": 30})


async def test_a_sweep_of_fixed_hedge_ratios_takes_numbers(api: httpx2.AsyncClient) -> None:
    said = await swept(api, {**RULE, "hedge": [0.5, 1.0]})
    assert [row["beta"] for row in said["rows"]] == [0.5, 1.0]


async def test_a_sweep_is_kept_and_every_rule_of_it_is_a_trial(api: httpx2.AsyncClient, market: Market) -> None:
    said = await swept(api, {**RULE, "entry": [1.0, 1.5, 2.0]})
    assert said["trials"] == 3
    await market.backtests.settled()
    again = await swept(api, {**RULE, "entry": [1.0, 1.5, 2.0]})
    assert again["trials"] == 3
    await market.backtests.settled()
    alone = await made(api, {**RULE, "entry": 1.7})
    assert alone["honesty"]["trials"] == 4
    (line,) = (await api.get("/api/backtests", params={"kind": "sweep", "limit": 1})).json()["backtests"]
    assert (line["combinations"], line["best"]) == (3, again["best"])
    assert "rows" not in line
    assert (await api.get(f"/api/backtests/{again['id']}")).json() == again


async def test_a_heatmap_of_a_kept_sweep_is_a_metric_over_two_parameters(api: httpx2.AsyncClient) -> None:
    said = await swept(api, GRID)
    url = f"/api/backtests/{said['id']}/heatmap"
    drawn = (await api.get(url, params={"metric": "total_return", "a": "entry", "b": "stop"})).json()
    assert drawn["a"] == {"name": "entry", "values": [1.0, 1.5]}
    assert drawn["b"] == {"name": "stop", "values": [None, 3.0]}
    for i, entry in enumerate([1.0, 1.5]):
        for j, stop in enumerate([None, 3.0]):
            cell = [r["total_return"] for r in said["rows"] if (r["entry"], r["stop"]) == (entry, stop)]
            assert drawn["values"][i][j] == pytest.approx(sum(cell) / len(cell))
    best = (await api.get(url, params={"metric": "total_return", "a": "entry", "b": "stop", "best": True})).json()
    cell = [r["total_return"] for r in said["rows"] if (r["entry"], r["stop"]) == (1.5, 3.0)]
    assert best["values"][1][1] == max(cell)
    for params, loc in (
        ({"a": "entry", "b": "entry"}, "b"),
        ({"a": "mood", "b": "exit"}, "a"),
        ({"a": "entry", "b": "exit", "metric": "mood"}, "metric"),
    ):
        assert loc in assert_problem(await api.get(url, params=params), 422)["errors"][0]["loc"]
    other = await made(api, RULE)
    refused = await api.get(f"/api/backtests/{other['id']}/heatmap", params={"a": "entry", "b": "exit"})
    assert_problem(refused, 422)
    assert_problem(await api.get(f"/api/backtests/{said['id']}/trades.csv"), 422)
    assert_problem(await api.get("/api/backtests/nothing/heatmap", params={"a": "entry", "b": "exit"}), 404)


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"y": "NOPEUSD"}, 404, "y"),
    ({"x": "BTCUSDT"}, 422, "x"),
    ({"entry": []}, 422, "entry"),
    ({"entry": [1.0, "NaN"]}, 422, "entry"),
    ({"entry": [1.0], "exit": [1.5]}, 422, "entry"),
    ({"window": [40]}, 422, "window"),
    ({"hedge": {"lookback": [30, 10**9]}}, 422, "lookback"),
    ({"hedge": {"lookback": [30, 5000]}}, 422, "lookback"),
    ({"hedge": {"method": ["ols", "magic"]}}, 422, "method"),
    ({"hedge": {"method": ["ols", "fixed"]}}, 422, "beta"),
    ({"entry": [1 + n / 1000 for n in range(1000)], "max_holding": list(range(1, 100))}, 422, "entry"),
    ({"entry": [1 + n / 1000 for n in range(1001)]}, 422, "entry"),
    ({"rehedge": [0.1], "entry": [1 + n / 1000 for n in range(1000)], "stop": [3.0, 4.0]}, 422, "rehedge"),
    ({"colour": ["red"]}, 422, "colour"),
    ({"start": "2030-01-01"}, 422, "start"),
]


@pytest.mark.parametrize(("change", "status", "loc"), REFUSED, ids=lambda value: str(value)[:40])
async def test_a_grid_that_cannot_be_is_refused_by_name(
    api: httpx2.AsyncClient, change: dict[str, Any], status: int, loc: str
) -> None:
    answer = await api.post("/api/backtest/sweep", content=orjson.dumps({**RULE, **change}), headers=JSON)
    document = assert_problem(answer, status)
    if loc != "start":
        assert loc in document["errors"][0]["loc"]


WALK = {**RULE, "hedge": {"lookback": 20}, "window": [10, 15], "entry": [1.0, 1.5], "folds": 3, "purge": 20}


async def test_a_walk_forward_trades_in_each_test_what_did_best_in_the_training_before_it(
    api: httpx2.AsyncClient,
) -> None:
    said = await made(api, WALK, "/api/backtest/walk_forward")
    assert len(said["folds"]) == 3
    edges = [(fold["train_end"], fold["test_start"], fold["test_end"]) for fold in said["folds"]]
    for (train_end, test_start, _), following in zip(edges, [*edges[1:], None], strict=True):
        assert test_start - train_end == 20 * 60_000, "the purge"
        if following:
            assert following[1] == edges[edges.index((train_end, test_start, _))][2], "tests follow each other"
    for fold in said["folds"]:
        chosen = {name: fold[name] for name in ("window", "entry")}
        body = {name: value for name, value in WALK.items() if name not in ("folds", "purge")}
        trained = await swept(api, {**body, "start": fold["train_start"], "end": fold["train_end"]})
        assert {name: trained["best"][name] for name in chosen} == chosen
        traded = await made(api, {**body, **chosen, "start": fold["test_start"], "end": fold["test_end"]})
        assert fold["out_of_sample"]["total_return"] == pytest.approx(traded["metrics"]["total_return"], abs=1e-12)
    outside = sum(fold["out_of_sample"]["total_return"] for fold in said["folds"])
    assert said["metrics"]["total_return"] == pytest.approx(outside, abs=1e-9)
    assert said["equity"]["timestamp"][0] == edges[0][1]


async def test_a_walk_forward_is_kept_and_counted(api: httpx2.AsyncClient, market: Market) -> None:
    said = await made(api, WALK, "/api/backtest/walk_forward")
    assert (said["trials"], said["combinations"], said["request"]["folds"]) == (4, 4, 3)
    (line,) = (await api.get("/api/backtests", params={"kind": "walk_forward"})).json()["backtests"]
    assert (line["metrics"], line["folds"]) == (said["metrics"], 3)
    assert (await api.get(f"/api/backtests/{said['id']}")).json() == said
    await market.backtests.settled()
    assert (await made(api, RULE))["honesty"]["trials"] == 5


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"folds": 1}, "folds"),
        ({"folds": 10**9}, "folds"),
        ({"folds": 90}, "folds"),
        ({"train": 5000}, "folds"),
        ({"metric": "mood"}, "metric"),
        ({"purge": -1}, "purge"),
        ({"colour": 1}, "colour"),
    ],
)
async def test_a_walk_that_cannot_be_is_refused_by_name(
    api: httpx2.AsyncClient, change: dict[str, Any], loc: str
) -> None:
    document = assert_problem(await api.post("/api/backtest/walk_forward", json={**WALK, **change}), 422)
    assert loc in str(document["errors"]) or loc in document["detail"]
