"""Paper positions over HTTP: followed, seen with the check, heard of, deleted; what cannot be is refused by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from pairscope.api.catalog import Catalog
from pairscope.api.system import StatsView
from pairscope.api.topics import Topics
from pairscope.errors import UnknownRule

from .conftest import client_of, exact
from .market import Market

RULE = {"y": "pepeusdt", "x": "BTCUSDT", "hedge": {"method": "ols", "lookback": 60}, "window": 20, "entry": 1.5}


@pytest.fixture
async def api(market: Market) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(market) as client:
        yield client


async def test_a_rule_is_followed_seen_and_deleted(api: httpx2.AsyncClient, market: Market) -> None:
    assert exact((await api.get("/api/paper")).text) == {"positions": []}
    made = await api.post("/api/paper", json=RULE)
    assert made.status_code == 201
    said = exact(made.text)
    assert (said["y"], said["x"], said["timeframe"], said["trades_closed"]) == ("PEPEUSDT", "BTCUSDT", "1m", 0)
    assert (said["waiting"], said["timestamp"], said["position"], said["zscore"]) == (True, None, None, None)
    await market.paper.catch_up()
    seen = exact((await api.get(f"/api/paper/{said['id']}")).text)
    assert (seen["waiting"], seen["trades"], seen["equity"]) == (False, [], 10_000)
    assert seen["check"] == {"bars": 0, "trades": 0, "equal": None, "differences": [], "reason": "no bars yet"}
    assert exact((await api.get(f"/api/paper/{said['id']}?check=false")).text)["check"] is None
    [listed] = exact((await api.get("/api/paper")).text)["positions"]
    assert listed["id"] == said["id"]
    assert (await api.delete(f"/api/paper/{said['id']}")).status_code == 204
    for verb in (api.get, api.delete):
        gone = await verb(f"/api/paper/{said['id']}")
        assert (gone.status_code, gone.json()["errors"][0]["loc"][-1]) == (404, "id")
    assert exact((await api.get("/api/paper")).text) == {"positions": []}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("start", 1_700_000_000_000), ("end", 1_700_000_000_000), ("fill", "same"), ("latency_ms", 50),
        ("gate", "cointegration"), ("funding", True), ("entry", 0.1), ("x", "PEPEUSDT"), ("window", 1),
    ],
)  # fmt: skip
async def test_what_cannot_be_followed_is_refused_by_its_name(api: httpx2.AsyncClient, field: str, value: Any) -> None:
    answer = await api.post("/api/paper", json={**RULE, field: value})
    assert answer.status_code == 422
    assert field in str(answer.json()["errors"][0]["loc"]) or field == "entry"
    assert exact((await api.get("/api/paper")).text) == {"positions": []}


async def test_an_unknown_symbol_and_a_body_of_another_kind_are_refused(api: httpx2.AsyncClient) -> None:
    assert (await api.post("/api/paper", json={**RULE, "y": "NOPEUSDT"})).status_code == 404
    assert (await api.post("/api/paper", content=b"y=1")).status_code == 415


async def test_a_rule_is_a_topic_of_the_stream(market: Market) -> None:
    catalog, services = Catalog(market.services()), market.services()
    topics = Topics(services, catalog, StatsView(services))
    made = await market.paper.create(RULE)
    topic = await topics.read(f"paper:{made['id']}")
    said = await topics.current(topic)
    assert said is not None
    assert exact(said.decode())["id"] == made["id"]
    with pytest.raises(UnknownRule):
        await topics.read("paper:none")
