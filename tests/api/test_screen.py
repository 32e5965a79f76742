"""The screen over HTTP: what the function for notebooks says of bars read over the API, or why it says nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import httpx2
import numpy as np
import orjson
import pytest
from starlette.testclient import TestClient

from pairscope.api.app import create_app
from pairscope.api.screen import Sort
from pairscope.research.closes import closes_of
from pairscope.research.moving_screen import load_kernels, screen_closes
from pairscope.research.screen import screen_pairs
from pairscope.research.screen_table import COLUMNS

from .conftest import client_of
from .market import START_MS, Market

NAMES = ["BTCUSDT", "ETHUSDT", "PEPEUSDT", "SOLUSDT"]


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """The kernels are there: who asks while they are compiled is told to come again after some seconds."""
    load_kernels()


async def screen(api: httpx2.AsyncClient, **params: Any) -> dict[str, Any]:
    answer = await api.get("/api/analytics/screen", params=params)
    assert answer.status_code == 200, answer.text
    return dict(orjson.loads(answer.content))


async def refused(api: httpx2.AsyncClient, path: str = "", status: int = 422, **params: Any) -> dict[str, Any]:
    answer = await api.get(f"/api/analytics/screen{path}", params=params)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return dict(answer.json())


class Scripted:
    """Screens over made-up closes: one that is kept up to date, and none that has to be computed."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        walks = np.cumsum(rng.standard_normal((200, 4)), axis=0) * 0.01
        walks[:, 3] = walks[:, 0] + 0.01 * rng.standard_normal(200)
        times = [np.arange(200) * 60_000_000_000] * 4
        self.tables = {1440: screen_closes(closes_of(NAMES, times, list(np.exp(walks).T)), "1m", 1440, number=1)}

    async def table(self, timeframe: str, lookback: int) -> Any:
        return self.tables[lookback]

    def bars_came(self, bars: Any) -> None:
        """Made-up closes change for nobody."""

    def discoveries(self, limit: int = 100, **which: Any) -> Any:
        return {"discoveries": [], "screens": [{"limit": limit, **which}], "next": None}


@pytest.fixture
async def scripted(market: Market) -> Any:
    """A client of the API over scripted screens."""
    market.screens = Scripted()  # type: ignore[assignment]
    async with client_of(market) as client:
        yield client


async def test_the_screen_is_that_of_the_bars_that_the_api_gives_out(api: httpx2.AsyncClient) -> None:
    said = await screen(api, lookback=150, limit=10_000)
    times: list[np.ndarray[Any, Any]] = []
    closes = []
    for name in said["symbols"]:
        rows = (await api.get(f"/api/ohlc/{name}", params={"limit": 1000})).json()["bars"]
        rows = [row for row in rows if row["closed"]][-150:]
        times.append(np.array([row["timestamp"] for row in rows]))
        closes.append([row["close"] for row in rows])
    assert (times[0] == times[1]).all()
    assert said["as_of"] == times[0][-1]
    direct = screen_pairs(np.column_stack(closes), said["symbols"])
    assert (said["universe"], said["tests"], len(said["pairs"])) == (2, 2, 2)
    for row, expected in zip(said["pairs"], direct, strict=True):
        for name, value in expected._asdict().items():
            assert row[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-8)), name
    assert said["elapsed_ms"] > 0
    assert not said["continuous"]
    assert list(said["excluded"]) == ["币安人生USDT"]
    assert said["excluded"]["币安人生USDT"].startswith("lacks ")


async def test_every_contracted_field_is_there_and_what_does_not_exist_is_null(scripted: httpx2.AsyncClient) -> None:
    said = await screen(scripted)
    contracted = {"as_of", "universe", "tests", "elapsed_ms", "pairs"}
    assert contracted | {"family", "fdr", "excluded", "symbols", "discoveries", "next"} <= said.keys()
    assert (said["universe"], said["tests"], said["symbols"]) == (4, 12, NAMES)
    for row in said["pairs"]:
        assert list(row)[:12] == list(COLUMNS)
        assert row["discovery"] == (row["qvalue"] <= said["fdr"])
    assert said["discoveries"] == sum(row["discovery"] for row in said["pairs"]) >= 2
    assert [row["qvalue"] for row in said["pairs"]] == sorted(row["qvalue"] for row in said["pairs"])


async def test_rows_are_sorted_filtered_and_paged_as_asked(scripted: httpx2.AsyncClient) -> None:
    every = (await screen(scripted, sort="zscore"))["pairs"]
    assert [abs(row["zscore"]) for row in every] == sorted((abs(row["zscore"]) for row in every), reverse=True)
    first = await screen(scripted, sort="zscore", limit=7)
    second = await screen(scripted, sort="zscore", limit=7, cursor=first["next"])
    assert first["pairs"] + second["pairs"] == every
    assert second["next"] is None
    found = await screen(scripted, only="discoveries", fdr=0.01, symbol="btcusdt", direction="best")
    assert [{row["y"], row["x"]} for row in found["pairs"]] == [{"BTCUSDT", "SOLUSDT"}]
    assert found["matching"] == 1
    both = await screen(scripted, pair="pepeusdt:btcusdt", fdr=1, examine=True, limit=2)
    assert {(row["y"], row["x"]) for row in both["pairs"]} == {("BTCUSDT", "PEPEUSDT"), ("PEPEUSDT", "BTCUSDT")}
    assert all(row["examination"] for row in both["pairs"])
    shown = await screen(scripted, sparkline=True, examine=True, limit=3)
    assert {len(row["zscores"]) for row in shown["pairs"]} == {60}
    assert shown["pairs"][0]["examination"]["johansen_rank"] >= 1
    assert "zscores" not in every[0]
    assert set(Sort.__args__) == set(COLUMNS)


async def test_who_has_the_answer_already_is_told_so(scripted: httpx2.AsyncClient) -> None:
    first = await scripted.get("/api/analytics/screen")
    again = await scripted.get("/api/analytics/screen", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await scripted.get("/api/analytics/screen?fdr=0.2", headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("loc", "params"),
    [
        ("lookback", {"lookback": 29}),
        ("lookback", {"lookback": 10_001}),
        ("timeframe", {"timeframe": "2m"}),
        ("fdr", {"fdr": 0}),
        ("fdr", {"fdr": "nan"}),
        ("fdr", {"fdr": 1.01}),
        ("limit", {"limit": 0}),
        ("limit", {"limit": 10_001}),
        ("limit", {"limit": 201, "examine": True}),
        ("sort", {"sort": "luck"}),
        ("control", {"control": "none"}),
        ("only", {"only": "some"}),
        ("direction", {"direction": "up"}),
        ("min_half_life", {"min_half_life": -1}),
        ("max_half_life", {"max_half_life": "inf"}),
        ("min_correlation", {"min_correlation": 2}),
        ("cursor", {"cursor": "x"}),
        ("cursor", {"cursor": "-1"}),
        ("cursor", {"cursor": "²"}),
        ("empirical_null", {"empirical_null": 0}),
        ("empirical_null", {"empirical_null": 201}),
        ("pair", {"pair": "BTCUSDT"}),
        ("pair", {"pair": ""}),
        ("wait", {"wait": "perhaps"}),
        ("luck", {"luck": 1}),
    ],
)
async def test_a_bad_parameter_is_named(scripted: httpx2.AsyncClient, loc: str, params: dict[str, Any]) -> None:
    assert (await refused(scripted, **params))["errors"][0]["loc"] == ["query", loc]


async def test_a_page_far_behind_the_end_is_empty(scripted: httpx2.AsyncClient) -> None:
    said = await screen(scripted, cursor="9" * 60)
    assert (said["pairs"], said["next"], said["matching"]) == ([], None, 12)


async def test_an_unknown_symbol_is_not_found(api: httpx2.AsyncClient) -> None:
    said = await refused(api, status=404, symbol="BTCUSD")
    assert "BTCUSDT" in said["detail"]
    await refused(api, "/history", status=404, y="BTCUSDT", x="NOPEUSDT")


async def test_where_too_few_symbols_can_be_tested_it_is_said_what_is_lacking(api: httpx2.AsyncClient) -> None:
    said = await refused(api, timeframe="1h", lookback=30)
    assert "a screen needs two symbols with 30 bars" in said["detail"]


async def test_no_history_is_kept_of_a_screen_that_nobody_keeps_up_to_date(api: httpx2.AsyncClient) -> None:
    said = await refused(api, "/history", y="BTCUSDT", x="PEPEUSDT")
    assert said["errors"][0]["loc"] == ["query", "lookback"]
    assert (await refused(api, "/history", y="BTCUSDT", x="btcusdt"))["errors"][0]["loc"] == ["query", "x"]


async def test_discoveries_are_those_of_the_screens_that_are_asked_for(api: httpx2.AsyncClient, market: Market) -> None:
    assert (await api.get("/api/analytics/screen/discoveries")).json() == {
        "discoveries": [],
        "screens": [],
        "next": None,
    }
    market.screens = Scripted()  # type: ignore[assignment]
    async with client_of(market) as client:
        said = (await client.get("/api/analytics/screen/discoveries?timeframe=5m&lookback=2016&limit=3")).json()
    assert said["screens"] == [{"limit": 3, "timeframe": "5m", "lookback": 2016}]


def test_who_listens_to_discoveries_is_told_where_the_screens_stand(market: Market) -> None:
    with TestClient(create_app(market.services())).websocket_connect("/ws/updates") as socket:
        socket.send_json({"op": "subscribe", "topics": ["discoveries"]})
        told = socket.receive_json()
    assert (told["topic"], told["data"]) == ("discoveries", {"discoveries": [], "screens": [], "next": None})


async def test_many_who_ask_at_once_get_the_same_screen(api: httpx2.AsyncClient) -> None:
    answers = await asyncio.gather(*(api.get("/api/analytics/screen?lookback=60") for _ in range(12)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1


async def ended(api: httpx2.AsyncClient, path: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (job := (await api.get(path)).json())["ended_ms"] is None:
            await asyncio.sleep(0.01)
    return dict(job)


async def test_who_does_not_want_to_wait_gets_the_job_and_then_its_screen(api: httpx2.AsyncClient) -> None:
    asked = {"lookback": 140, "wait": "false"}
    first = await api.get("/api/analytics/screen", params=asked)
    assert (first.status_code, first.headers["location"]) == (202, f"/api/jobs/{first.json()['id']}")
    assert (await api.get("/api/analytics/screen", params=asked)).json()["id"] == first.json()["id"]
    job = await ended(api, first.headers["location"])
    assert (job["status"], job["done"], job["total"]) == ("done", 1, 1)
    said = (await api.get(job["result"])).json()
    assert (said["lookback"], said["tests"]) == (140, 2)
    now = await api.get("/api/analytics/screen", params=asked)
    assert (now.status_code, now.json()["screen"]) == (200, said["screen"])
    assert (await screen(api, lookback=140))["screen"] == said["screen"]


async def test_a_job_that_computed_no_screen_is_not_found(api: httpx2.AsyncClient, market: Market) -> None:
    other = market.jobs.start("backtest", "not a screen", lambda _: None)
    await market.jobs.wait(other.id)
    for job in ("nothing", other.id):
        said = await refused(api, status=404, job=job)
        assert said["type"] == "urn:pairscope:problem:unknown-job"


async def test_what_surrogates_offer_stands_beside_the_screen_once_it_was_asked_for(api: httpx2.AsyncClient) -> None:
    assert (await screen(api, lookback=130))["null"] is None
    first = await api.get("/api/analytics/screen?lookback=130&empirical_null=3&wait=false")
    assert first.status_code == 202
    job = await ended(api, first.headers["location"])
    assert (job["kind"], job["status"], job["done"], job["total"]) == ("null", "done", 3, 3)
    null = (await screen(api, lookback=130, empirical_null=3, fdr=1))["null"]
    assert (null["surrogates"], null["tests"], null["fdr_promised"], null["discoveries"]) == (3, 2, 1, 2)
    assert null["false_promised"] == 2
    assert 0 <= null["false_least"] <= null["false_expected"] <= null["false_most"] <= 2
    waited = (await screen(api, lookback=130, empirical_null=4))["null"]
    assert waited["surrogates"] == 4


async def test_the_newest_bar_and_no_older_answer_is_used(fresh_market: Market) -> None:
    async with client_of(fresh_market) as api:
        before = await screen(api, lookback=100)
        end_ms = START_MS + 3 * 3_600_000
        late = [("BTCUSDT", dataclasses.replace(fresh_market.sent["BTCUSDT"][-1], timestamp=end_ms + 1, id=9_000_000))]
        late += [
            ("PEPEUSDT", dataclasses.replace(fresh_market.sent["PEPEUSDT"][-1], timestamp=end_ms + 2, id=9_000_001))
        ]
        await fresh_market.take(fresh_market.batch(late, (end_ms + 61_000) * 1_000_000))
        after = await screen(api, lookback=100)
    assert before["as_of"] == end_ms - 2 * 60_000
    assert after["as_of"] > before["as_of"]
    assert after["screen"] > before["screen"]


async def test_a_screen_of_named_symbols_is_of_these_alone(api: httpx2.AsyncClient) -> None:
    said = await screen(api, lookback=150, symbols="pepeusdt,BTCUSDT")
    whole = await screen(api, lookback=150)
    assert said["symbols"] == ["BTCUSDT", "PEPEUSDT"] and said["tests"] == 2
    assert said["screen"] != whole["screen"]
    assert "symbols=BTCUSDT,PEPEUSDT" in (await api.get("/api/jobs", params={"kind": "screen"})).text
    for symbols, status in (("BTCUSDT", 422), ("BTCUSDT,BTCUSDT", 422), ("BTCUSDT,NOBODY", 404)):
        await refused(api, symbols=symbols, status=status)
    await refused(api, symbols="BTCUSDT,PEPEUSDT", empirical_null=2)
