"""The watch-list over HTTP: put, seen, changed, taken off; whatever cannot be says which field and why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from .conftest import client_of, exact
from .market import Market

PAIR = {"y": "PEPEUSDT", "x": "BTCUSDT", "lookback": 100, "window": 20}


@pytest.fixture
async def api(market: Market) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(market) as client:
        yield client


async def test_a_pair_is_put_on_the_list_and_seen_there_with_what_it_says_now(
    api: httpx2.AsyncClient, market: Market
) -> None:
    assert exact((await api.get("/api/watchlist")).text) == {"pairs": []}
    answer = await api.post("/api/watchlist", json={**PAIR, "y": "pepeusdt"})
    assert answer.status_code == 201
    said = exact(answer.text)
    assert {name: said[name] for name in PAIR} == PAIR
    assert (said["timeframe"], said["method"], said["entry"]) == ("1m", "ols", 2)
    assert said["live"]["reason"].startswith("history is being read")
    await market.pairs.catch_up()
    [listed] = exact((await api.get("/api/watchlist")).text)["pairs"]
    assert (listed["live"]["n"], listed["live"]["on_watchlist"]) == (100, True)
    assert listed["live"]["spread"]["zscore"] is not None
    assert listed == exact((await api.get("/api/watchlist/PEPEUSDT/btcusdt")).text)


async def test_the_same_pair_again_changes_it(api: httpx2.AsyncClient) -> None:
    assert (await api.post("/api/watchlist", json=PAIR)).status_code == 201
    answer = await api.post("/api/watchlist", json={**PAIR, "window": 30})
    assert (answer.status_code, answer.json()["window"]) == (200, 30)
    assert len((await api.get("/api/watchlist")).json()["pairs"]) == 1


async def test_a_change_leaves_the_rest_as_it_is(api: httpx2.AsyncClient) -> None:
    await api.post("/api/watchlist", json={**PAIR, "method": "huber"})
    answer = await api.patch("/api/watchlist/pepeusdt/BTCUSDT", json={"window": 7, "price_space": "linear"})
    said = answer.json()
    assert answer.status_code == 200
    assert (said["window"], said["price_space"], said["method"], said["lookback"]) == (7, "linear", "huber", 100)
    refused = await api.patch("/api/watchlist/pepeusdt/BTCUSDT", json={"lookback": 5})
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["body", "window"])
    assert (await api.get("/api/watchlist/PEPEUSDT/BTCUSDT")).json()["lookback"] == 100


async def test_a_pair_is_taken_off_once(api: httpx2.AsyncClient) -> None:
    await api.post("/api/watchlist", json=PAIR)
    answer = await api.delete("/api/watchlist/PEPEUSDT/BTCUSDT")
    assert (answer.status_code, answer.content) == (204, b"")
    for ask in (api.get, api.delete):
        answer = await ask("/api/watchlist/PEPEUSDT/BTCUSDT")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert "not on the watch-list" in answer.json()["detail"]
    answer = await api.patch("/api/watchlist/PEPEUSDT/BTCUSDT", json={})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "loc"),
    [
        ({"y": "NOSUCHUSDT"}, 404, "y"),
        ({"x": "NOSUCHUSDT"}, 404, "x"),
        ({"x": "pepeusdt"}, 422, "x"),
        ({"x": ""}, 422, "x"),
        ({"x": None}, 422, "x"),
        ({"timeframe": "7m"}, 422, "timeframe"),
        ({"timeframe": "tick"}, 422, "timeframe"),
        ({"lookback": 2}, 422, "lookback"),
        ({"lookback": 10_001}, 422, "lookback"),
        ({"lookback": "many"}, 422, "lookback"),
        ({"window": 101}, 422, "window"),
        ({"window": 1.5}, 422, "window"),
        ({"method": "ridge"}, 422, "method"),
        ({"price_space": "sqrt"}, 422, "price_space"),
        ({"entry": 0.2}, 422, "exit"),
        ({"exit": -1}, 422, "exit"),
        ({"stop": 4}, 422, "stop"),
    ],
)
async def test_a_field_that_cannot_be_is_named(
    api: httpx2.AsyncClient, change: dict[str, Any], status: int, loc: str
) -> None:
    answer = await api.post("/api/watchlist", json={**PAIR, **change})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (status, ["body", loc])
    assert (await api.get("/api/watchlist")).json() == {"pairs": []}


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b"[]", "application/json", 422),
        (b'{"y":"PEPEUSDT","x":"BTCUSDT","entry":NaN}', "application/json", 422),
        (b"y=PEPEUSDT&x=BTCUSDT", "application/x-www-form-urlencoded", 415),
        (b'{"y":"PEPEUSDT","x":"BTCUSDT"}', "text/plain", 415),
        (b'{"y":"PEPEUSDT","x":"BTCUSDT"}', "Application/JSON; charset=utf-8", 201),
    ],
)
async def test_a_body_that_is_not_the_json_asked_for_is_refused(
    api: httpx2.AsyncClient, content: bytes, kind: str, status: int
) -> None:
    answer = await api.post("/api/watchlist", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    if status != 201:
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_full_list_is_refused_with_what_to_do(api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairscope.watchlist.MOST_PAIRS", 1)
    await api.post("/api/watchlist", json=PAIR)
    answer = await api.post("/api/watchlist", json={"y": "BTCUSDT", "x": "PEPEUSDT"})
    assert (answer.status_code, answer.json()["hint"]) == (422, "take one off the list first")
