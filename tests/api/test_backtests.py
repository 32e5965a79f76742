"""Backtests over HTTP: what the function for notebooks says of bars read over the API; kept, listed, cancelled."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import io
import json
import time
from concurrent.futures import CancelledError
from typing import Any

import httpx2
import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pairscope import backtester
from pairscope.analytics.backtest import backtest_pair
from pairscope.api.app import create_app
from pairscope.storage.memory_cache import MemoryBus

from .conftest import client_of
from .market import START_MS, Market
from .test_problems import assert_problem

DEADLINE_S = 60.0
PAIR = {"y": "BTCUSDT", "x": "PEPEUSDT"}
RULE = {**PAIR, "hedge": {"method": "ols", "lookback": 30}, "window": 10, "entry": 1.2, "exit": 0.2}


async def made(api: httpx2.AsyncClient, body: dict[str, Any], path: str = "/api/backtest") -> dict[str, Any]:
    answer = await api.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return dict(orjson.loads(answer.content))


async def closes(api: httpx2.AsyncClient, name: str) -> dict[int, float]:
    rows = (await api.get(f"/api/ohlc/{name}", params={"limit": 10_000})).json()["bars"]
    return {row["timestamp"]: row["close"] for row in rows if row["closed"]}


@pytest.mark.parametrize("hedge", [{"method": "ols", "lookback": 30}, {"method": "kalman", "lookback": 20}, 0.4])
async def test_a_backtest_is_that_of_the_function_on_the_bars_that_the_api_gives_out(
    api: httpx2.AsyncClient, hedge: Any
) -> None:
    start, end = START_MS, START_MS + 150 * 60_000
    said = await made(api, {**RULE, "hedge": hedge, "start": start, "end": end, "stop": 4.0, "max_holding": 25})
    y, x = await closes(api, "BTCUSDT"), await closes(api, "PEPEUSDT")
    times = [time for time in sorted(y.keys() & x.keys()) if start <= time < end]
    direct = backtest_pair(
        np.array([y[time] for time in times]),
        np.array([x[time] for time in times]),
        hedge=hedge["method"] if isinstance(hedge, dict) else hedge,
        lookback=hedge["lookback"] if isinstance(hedge, dict) else 1440,
        window=10,
        entry=1.2,
        exit=0.2,
        stop=4.0,
        max_holding=25,
        fee_bps=4,
        slippage_bps=1,
        timestamps=np.array(times) * 1_000_000,
    )
    assert len(direct.trades) > 3
    assert said["equity"]["timestamp"] == times
    np.testing.assert_allclose(said["equity"]["equity"], direct.equity["equity"], rtol=1e-12)
    for name in ("total_return", "trades", "win_rate", "fees", "turnover", "max_drawdown"):
        assert said["metrics"][name] == pytest.approx(direct.metrics[name], rel=1e-9), name
    for told, trade in zip(said["trades"], direct.trades, strict=True):
        assert told["entry_timestamp"] == trade["entry_timestamp"] // 1_000_000
        assert (told["side"], told["reason"]) == (trade["side"], trade["reason"])
        assert told["pnl"] == pytest.approx(trade["pnl"], rel=1e-9)


async def test_bars_before_the_start_are_warm_up_and_nothing_before_it_is_traded(api: httpx2.AsyncClient) -> None:
    start = START_MS + 60 * 60_000
    said = await made(api, {**RULE, "start": start})
    assert said["equity"]["timestamp"][0] == start
    assert said["equity"]["equity"][0] == 10_000.0
    later = START_MS + 90 * 60_000
    entries = [trade["entry_timestamp"] for trade in said["trades"]]
    assert min(entries) < start + 30 * 60_000, "the hedge ratio was known from the start"
    assert min(t["entry_timestamp"] for t in (await made(api, {**RULE, "start": later}))["trades"]) >= later


async def test_without_a_start_it_trades_from_the_first_bar_after_the_warm_up_and_says_when(
    api: httpx2.AsyncClient,
) -> None:
    said = await made(api, RULE)
    assert said["request"]["start"] == said["equity"]["timestamp"][0] == START_MS + 29 * 60_000
    assert said["request"]["end"] is None
    again = await made(api, {**RULE, "start": said["request"]["start"]})
    assert again["metrics"] == said["metrics"]


async def test_what_is_null_is_as_if_it_were_left_out(api: httpx2.AsyncClient) -> None:
    names = ("start", "end", "stop", "max_holding", "notional", "fee_bps", "funding", "fill", "timeframe", "cooldown")
    said = await made(api, {**RULE, **dict.fromkeys(names)})
    assert said["metrics"] == (await made(api, RULE))["metrics"]
    hedged = {**RULE, "hedge": {**RULE["hedge"], "method": None, "beta": None}}
    assert said["metrics"] == (await made(api, hedged))["metrics"]
    assert_problem(await api.post("/api/backtest", json={**RULE, "y": None}), 422)


async def test_what_was_run_is_listed_given_again_and_forgotten_on_demand(api: httpx2.AsyncClient) -> None:
    first = await made(api, RULE)
    second = await made(api, {**RULE, "entry": 1.5})
    listed = (await api.get("/api/backtests")).json()
    assert [line["id"] for line in listed["backtests"]] == [second["id"], first["id"]]
    assert listed["next"] is None
    line = listed["backtests"][1]
    assert (line["y"], line["x"], line["timeframe"], line["kind"]) == ("BTCUSDT", "PEPEUSDT", "1m", "backtest")
    assert line["metrics"] == first["metrics"]
    assert line["request"] == first["request"]
    assert (await api.get(f"/api/backtests/{first['id']}")).json() == first
    assert (await api.delete(f"/api/backtests/{first['id']}")).status_code == 204
    assert_problem(await api.get(f"/api/backtests/{first['id']}"), 404)
    assert_problem(await api.delete(f"/api/backtests/{first['id']}"), 404)
    assert [line["id"] for line in (await api.get("/api/backtests")).json()["backtests"]] == [second["id"]]


async def test_the_list_comes_in_pages_and_by_kind_and_pair(api: httpx2.AsyncClient) -> None:
    ids = [(await made(api, {**RULE, "entry": 1.0 + n / 10}))["id"] for n in range(3)]
    page = (await api.get("/api/backtests", params={"limit": 2, "y": "btcusdt", "kind": "backtest"})).json()
    assert [line["id"] for line in page["backtests"]] == ids[:0:-1]
    rest = (await api.get("/api/backtests", params={"limit": 2, "cursor": page["next"]})).json()
    assert ([line["id"] for line in rest["backtests"]], rest["next"]) == (ids[:1], None)
    assert (await api.get("/api/backtests", params={"y": "PEPEUSDT"})).json()["backtests"] == []
    assert (await api.get("/api/backtests", params={"kind": "sweep"})).json()["backtests"] == []
    assert_problem(await api.get("/api/backtests", params={"kind": "nothing"}), 422)


async def test_who_does_not_wait_is_given_a_job_whose_result_says_where_the_run_is(
    api: httpx2.AsyncClient, market: Market
) -> None:
    answer = await api.post("/api/backtest?wait=false", json=RULE)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/api/jobs/{job['id']}"
    await asyncio.wait_for(market.jobs.wait(job["id"]), DEADLINE_S)
    assert (await api.get(answer.headers["location"])).json()["status"] == "done"
    run = (await api.get(job["result"])).json()
    assert run["id"] == job["id"], "a run is there as soon as its job says done"
    assert run["metrics"]["trades"] == len(run["trades"]) > 0


async def test_a_run_outlives_the_process(market: Market) -> None:
    async with client_of(market) as api:
        run = await made(api, RULE)
    await market.backtests.settled()
    market.backtests = market.new_backtests()
    await market.backtests.restore()
    async with client_of(market) as api:
        assert (await api.get(f"/api/backtests/{run['id']}")).json() == run
        assert [line["id"] for line in (await api.get("/api/backtests")).json()["backtests"]] == [run["id"]]
        other = await made(api, {**RULE, "entry": 2.0})
    assert other["honesty"]["trials"] == 2, "what was tried before stays tried"


async def test_the_trials_of_a_pair_are_the_rules_that_were_tried_on_it(
    api: httpx2.AsyncClient, market: Market
) -> None:
    async def trials(**changes: Any) -> int:
        said = await made(api, {**RULE, **changes})
        await market.backtests.settled()  # kept, and counted
        return int(said["honesty"]["trials"])

    assert [await trials(), await trials(entry=1.3), await trials(entry=1.3), await trials()] == [1, 2, 2, 2]
    assert await trials(entry=1.3, start=START_MS + 3_600_000) == 2, "another time, the same rule"
    assert await trials(y="PEPEUSDT", x="BTCUSDT") == 1


async def test_the_trades_come_as_csv_with_times_that_people_read(api: httpx2.AsyncClient) -> None:
    run = await made(api, RULE)
    answer = await api.get(f"/api/backtests/{run['id']}/trades.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == len(run["trades"])
    assert rows[0]["entry_timestamp"].startswith("2024-08-08T0")
    assert rows[0]["entry_timestamp"].endswith("Z")
    assert [float(row["pnl"]) for row in rows] == [trade["pnl"] for trade in run["trades"]]
    assert_problem(await api.get("/api/backtests/nothing/trades.csv"), 404)


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"y": "NOPEUSD"}, 404, "y"),
    ({"x": "NOPEUSD"}, 404, "x"),
    ({"x": "btcusdt"}, 422, "x"),
    ({"entry": 0.1}, 422, "entry"),
    ({"entry": "NaN"}, 422, "entry"),
    ({"entry": 1e308}, 422, "entry"),
    ({"exit": -1}, 422, "exit"),
    ({"stop": 1.0}, 422, "stop"),
    ({"window": 1}, 422, "window"),
    ({"window": 31}, 422, "window"),
    ({"hedge": {"method": "magic"}}, 422, "method"),
    ({"hedge": {"lookback": 1_000_000_000}}, 422, "lookback"),
    ({"hedge": {"lookback": 5000}}, 422, "lookback"),
    ({"hedge": {"method": "fixed"}}, 422, "beta"),
    ({"hedge": float("1e300")}, 422, "beta"),
    ({"max_holding": 0}, 422, "max_holding"),
    ({"notional": 0}, 422, "notional"),
    ({"fee_bps": -1}, 422, "fee_bps"),
    ({"slippage_bps": 1e6}, 422, "slippage_bps"),
    ({"timeframe": "7m"}, 422, "timeframe"),
    ({"start": "yesterday"}, 422, "start"),
    ({"start": START_MS, "end": START_MS}, 422, "end"),
    ({"gate": "mood"}, 422, "gate"),
    ({"colour": "red"}, 422, "colour"),
    ({"y": None}, 422, "y"),
]


@pytest.mark.parametrize(("change", "status", "loc"), REFUSED, ids=str)
async def test_what_cannot_be_is_refused_by_name(
    api: httpx2.AsyncClient, change: dict[str, Any], status: int, loc: str
) -> None:
    answer = await api.post("/api/backtest", content=orjson.dumps({**RULE, **change}), headers=JSON)
    place = ["body", "hedge", loc] if loc in {"method", "lookback", "beta"} else ["body", loc]
    assert assert_problem(answer, status)["errors"][0]["loc"] == place


@pytest.mark.parametrize("kind", ["sweep", "walk_forward"])
@pytest.mark.parametrize("timeframe", [["1m", "5m"], {"1m": 1}, 5])
async def test_a_timeframe_that_is_none_is_refused(api: httpx2.AsyncClient, kind: str, timeframe: Any) -> None:
    answer = await api.post(f"/api/backtest/{kind}", json={**RULE, "timeframe": timeframe, "entry": [1.2, 2.0]})
    assert assert_problem(answer, 422)["errors"][0]["loc"] == ["body", "timeframe"]


@pytest.mark.parametrize(("name", "value"), [("x", ""), ("y", "a b"), ("cursor", "zz"), ("kind", "foo"), ("limit", 0)])
async def test_a_list_of_runs_that_cannot_be_is_refused_by_name(api: httpx2.AsyncClient, name: str, value: Any) -> None:
    answer = await api.get("/api/backtests", params={name: value})
    assert assert_problem(answer, 422)["errors"][0]["loc"] == ["query", name]


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"y": NaN}', b'"BTCUSDT"', b"\xff"])
async def test_a_body_that_is_none_is_refused(api: httpx2.AsyncClient, body: bytes) -> None:
    assert_problem(await api.post("/api/backtest", content=body, headers=JSON), 422)


async def test_a_range_without_bars_is_refused_with_what_to_do(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/api/backtest", json={**RULE, "start": "2030-01-01", "end": "2030-02-01"})
    problem = assert_problem(answer, 422)
    assert "choose another range" in problem["hint"]
    assert problem["errors"][0]["loc"] == ["body", "start"]


SANE: dict[str, list[Any]] = {
    "hedge": [{"method": m, "lookback": n} for m in ("ols", "huber", "kalman") for n in (3, 20, 179)]
    + [0.0, -2.5, 1e6],
    "window": [2, 5, 20],
    "entry": [0.0, 0.5, 1e-9, 100],
    "exit": [0.0, 0.2, 99],
    "stop": [None, 0.6, 100],
    "max_holding": [None, 1, 1_000_000],
    "cooldown": [0, 7, 1_000_000],
    "rehedge": [None, 0.001, 50],
    "notional": [1e-6, 10_000, 1e12],
    "capital": [None, 1e-6, 1e12],
    "fee_bps": [0, [0, 10_000], 10_000],
    "slippage_bps": [0, [10_000, 0]],
    "slippage_range": [0, 0.5, 1],
    "funding": [True, False],
    "fill": ["next", "open", "same"],
    "price_space": ["log", "linear"],
    "sizing": ["beta", "dollar"],
    "gate": [None, "cointegration", "sentinel"],
    "latency_ms": [None, 0, 60_000],
    "round_steps": [True, False],
    "start": [None, 0, START_MS + 5_400_000, "2024-08-08T01:00:00Z"],
    "end": [None, START_MS + 7_200_000, 9_223_372_036_854],
    "timeframe": ["1m", "5s", "5m", "1d"],
}
INSANE = [None, float("nan"), float("inf"), -1, 10**30, 1e-320, "", "x", [], [[]], {}, True, [1, 2, 3]]


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_whatever_the_numbers_are_the_answer_is_a_result_or_a_refusal(
    played: Market, data: st.DataObject
) -> None:
    names = data.draw(st.sets(st.sampled_from(sorted(SANE)), max_size=6))
    body = {**RULE, **{name: data.draw(st.sampled_from(SANE[name]), label=name) for name in sorted(names)}}
    if data.draw(st.booleans(), label="insane"):
        body[data.draw(st.sampled_from(sorted(SANE)))] = data.draw(st.sampled_from(INSANE))
    path = data.draw(st.sampled_from(["/api/backtest", "/api/backtest/sweep", "/api/backtest/walk_forward"]))
    async with client_of(dataclasses.replace(played, bus=MemoryBus())) as api:
        answer = await api.post(path, content=json.dumps(body), headers=JSON)
    assert answer.status_code in {200, 422}, answer.text
    if answer.status_code == 422:
        assert_problem(answer, 422)


class Endless:
    """Stands in the place of a computation that goes on until it is cancelled."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def __call__(self, *_: Any, cancelled: Any, **__: Any) -> Any:
        self.loop.call_soon_threadsafe(self.began.set)
        while not cancelled():
            time.sleep(0.002)
        self.loop.call_soon_threadsafe(self.ended.set)
        raise CancelledError


async def test_who_waits_and_hangs_up_cancels_the_run(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = Endless()
    monkeypatch.setattr(backtester, "judge_backtest", endless)
    hung_up = asyncio.Event()
    body = [{"type": "http.request", "body": orjson.dumps(RULE), "more_body": False}]

    async def receive() -> Any:
        if body:
            return body.pop()
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        """Nobody hears it."""

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/api/backtest",
        "raw_path": b"/api/backtest",
        "query_string": b"",
        "headers": [(b"host", b"api"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("api", 80),
        "scheme": "http",
    }
    asked = asyncio.create_task(create_app(market.services())(scope, receive, send))
    await asyncio.wait_for(endless.began.wait(), DEADLINE_S)
    hung_up.set()
    await asyncio.wait_for(endless.ended.wait(), DEADLINE_S)
    await asyncio.wait_for(asked, DEADLINE_S)
    assert [view.status for view in market.jobs.views()] == ["cancelled"]
    assert market.backtests.counters()["kept"] == 0


async def test_who_waits_for_a_run_that_somebody_cancels_is_told(
    api: httpx2.AsyncClient, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = Endless()
    monkeypatch.setattr(backtester, "judge_backtest", endless)
    asked = asyncio.create_task(api.post("/api/backtest", json=RULE))
    await asyncio.wait_for(endless.began.wait(), DEADLINE_S)
    (job,) = (await api.get("/api/jobs")).json()["jobs"]
    assert (await api.delete(f"/api/jobs/{job['id']}")).status_code == 200
    assert_problem(await asyncio.wait_for(asked, DEADLINE_S), 409)
    assert (await api.get("/api/backtests")).json()["backtests"] == []
