"""Alerts over HTTP and on the stream: made, seen, changed, deleted, told; what cannot be is refused by its name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect

from pairscope.alerts import desk as desk_module
from pairscope.errors import StoreUnavailable

from .conftest import client_of, exact
from .market import HOURS, NOT_STORED_MS, START_MS, Market, Sent
from .test_stream import hear, served

END_MS = START_MS + HOURS * 3_600_000
PRICE = {"type": "price", "symbol": "btcusdt", "condition": "above", "threshold": 70000}
PAIR = {"type": "zscore", "y": "pepeusdt", "x": "BTCUSDT", "condition": "crosses_above", "threshold": 2}


def trade(market: Market, price: str, *, n: int, symbol: str = "BTCUSDT") -> tuple[str, Sent]:
    last = market.sent[symbol][-1]
    return symbol, Sent(last.id + n, END_MS + n * 100, type(last.price)(price), last.size, False)


async def fire(market: Market, *prices: str, n: int = 1) -> None:
    """Let BTCUSDT trade at these prices, each in a batch of its own, and the alerts see it; nothing is stored."""
    for i, price in enumerate(prices, n):
        at_ns = (END_MS + i * 100) * 1_000_000
        batch = market.batch([trade(market, price, n=i)], at_ns)
        market.alerts.on_ticks(batch)
        documents, _ = market.alerts.take()
        for collection, key, body in documents:
            assert body is not None
            await market.records.put(collection, key, body)
        await market.alerts.tell()


async def test_an_alert_is_made_seen_changed_and_deleted(api: httpx2.AsyncClient, market: Market) -> None:
    assert exact((await api.get("/api/alerts")).text) == {"alerts": []}
    made = await api.post("/api/alerts", json={**PRICE, "note": "n"})
    assert made.status_code == 201
    said = exact(made.text)
    assert made.headers["location"] == f"/api/alerts/{said['id']}"
    assert said["delivery"] == []
    assert {name: said[name] for name in ("type", "symbol", "condition", "threshold", "once", "cooldown_s")} == {
        **PRICE,
        "symbol": "BTCUSDT",
        "once": False,
        "cooldown_s": 60,
    }
    assert {name: said[name] for name in ("status", "note", "notify", "timeframe", "window", "frequency")} == {
        "status": "active",
        "note": "n",
        "notify": [],
        "timeframe": "1m",
        "window": 60,
        "frequency": "every",
    }
    path = made.headers["location"]
    assert exact((await api.get(path)).text) == {name: value for name, value in said.items() if name != "delivery"}
    changed = exact((await api.patch(path, json={"threshold": 71000, "note": None})).text)
    assert (changed["threshold"], changed["note"], changed["condition"]) == (71000, "", "above")
    paused = exact((await api.patch(path, json={"status": "paused"})).text)
    assert paused["status"] == "paused"
    [listed] = exact((await api.get("/api/alerts")).text)["alerts"]
    assert (listed["id"], listed["status"]) == (said["id"], "paused")
    assert (await api.delete(path)).status_code == 204
    for answer in (await api.get(path), await api.delete(path), await api.patch(path, json={})):
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (404, ["path", "id"])
    assert (await api.post(f"{path}/test")).status_code == 404
    assert exact((await api.get("/api/alerts")).text) == {"alerts": []}


async def test_alerts_are_chosen_by_status_and_symbol(api: httpx2.AsyncClient) -> None:
    ids = [(await api.post("/api/alerts", json=body)).json()["id"] for body in (PRICE, PAIR)]
    both = {"conditions": [{**PRICE, "symbol": "PEPEUSDT", "threshold": 1}, PRICE], "join": "or"}
    ids.append((await api.post("/api/alerts", json=both)).json()["id"])
    await api.patch(f"/api/alerts/{ids[0]}", json={"status": "paused"})

    async def chosen(query: str) -> set[int]:
        return {ids.index(one["id"]) for one in (await api.get(f"/api/alerts?{query}")).json()["alerts"]}

    assert await chosen("") == {0, 1, 2}
    assert await chosen("status=active") == {1, 2}
    assert await chosen("symbol=pepeusdt") == {1, 2}
    assert await chosen("symbol=BTCUSDT&status=paused") == {0}
    assert (await api.get("/api/alerts?status=asleep")).status_code == 422
    assert (await api.get("/api/alerts?colour=red")).status_code == 422


@pytest.mark.parametrize(
    ("changes", "status", "loc"),
    [
        ({"type": "colour"}, 422, ["type"]),
        ({"type": None}, 422, ["type"]),
        ({"condition": "found"}, 422, ["condition"]),
        ({"condition": "beyond"}, 422, ["condition"]),
        ({"condition": None}, 422, ["condition"]),
        ({"threshold": "abc"}, 422, ["threshold"]),
        ({"threshold": "70000"}, 422, ["threshold"]),
        ({"threshold": True}, 422, ["threshold"]),
        ({"threshold": None}, 422, ["threshold"]),
        ({"threshold": [1]}, 422, ["threshold"]),
        ({"symbol": None}, 422, ["symbol"]),
        ({"symbol": "NOPEUSDT"}, 404, ["symbol"]),
        ({"symbol": "a b"}, 422, ["symbol"]),
        ({"symbol": 5}, 422, ["symbol"]),
        ({"y": "PEPEUSDT", "x": "BTCUSDT"}, 422, ["y"]),
        ({**PAIR, "symbol": None, "x": "PEPEUSDT"}, 422, ["x"]),
        ({**PAIR, "symbol": None, "y": None}, 422, ["y"]),
        ({**PAIR, "symbol": None, "x": "nope"}, 404, ["x"]),
        (PAIR, 422, ["symbol"]),
        ({"window": 0}, 422, ["window"]),
        ({"window": 2.5}, 422, ["window"]),
        ({"timeframe": "7m"}, 422, ["timeframe"]),
        ({"cooldown_s": -1}, 422, ["cooldown_s"]),
        ({"once": "yes"}, 422, ["once"]),
        ({"frequency": "often"}, 422, ["frequency"]),
        ({"expires": "tomorrow"}, 422, ["expires"]),
        ({"notify": ["file:///etc/passwd"]}, 422, ["notify"]),
        ({"notify": ["https://127.0.0.1/hook"]}, 422, ["notify"]),
        ({"notify": ["https://h.example.com/"] * 9}, 422, ["notify"]),
        ({"notify": "https://h.example.com/"}, 422, ["notify"]),
        ({"note": "x" * 501}, 422, ["note"]),
        ({"message": "x" * 501}, 422, ["message"]),
        ({"message": "{colour}"}, 422, ["message"]),
        ({"colour": "red"}, 422, ["colour"]),
        ({"conditions": [PRICE, PRICE]}, 422, ["type"]),
        ({"join": "and"}, 422, ["join"]),
    ],
)
async def test_what_cannot_be_an_alert_is_refused_by_its_name(
    api: httpx2.AsyncClient, changes: dict[str, Any], status: int, loc: list[str]
) -> None:
    answer = await api.post("/api/alerts", json={**PRICE, **changes})
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["loc"] == ["body", *loc], answer.text
    assert (await api.get("/api/alerts")).json() == {"alerts": []}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
async def test_a_threshold_that_is_no_number_is_refused(api: httpx2.AsyncClient, number: str) -> None:
    body = json.dumps({**PRICE, "threshold": 0}).replace('"threshold": 0', f'"threshold": {number}')
    answer = await api.post("/api/alerts", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["body", "threshold"]


@pytest.mark.parametrize(
    ("second", "status", "loc"),
    [
        ({"threshold": "abc"}, 422, ["conditions", 1, "threshold"]),
        ({"threshold": None}, 422, ["conditions", 1, "threshold"]),
        ({"symbol": "NOPEUSDT"}, 404, ["conditions", 1, "symbol"]),
        ({"colour": "red"}, 422, ["conditions", 1, "colour"]),
        ({"condition": "lost"}, 422, ["conditions", 1, "condition"]),
    ],
)
async def test_a_condition_among_several_is_refused_by_its_place(
    api: httpx2.AsyncClient, second: dict[str, Any], status: int, loc: list[str | int]
) -> None:
    answer = await api.post("/api/alerts", json={"conditions": [PRICE, {**PRICE, **second}]})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (status, ["body", *loc])


async def test_bodies_of_another_kind_and_one_alert_too_many_are_refused(
    api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await api.post("/api/alerts", content=b"type=price")).status_code == 415
    for body in (b"[]", b"null", b"5", b"{"):
        answer = await api.post("/api/alerts", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422
    monkeypatch.setattr(desk_module, "MOST_ALERTS", 1)
    assert (await api.post("/api/alerts", json=PRICE)).status_code == 201
    answer = await api.post("/api/alerts", json=PRICE)
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "type"])


async def test_a_target_that_does_not_work_is_told_at_once_and_nothing_secret_of_it(api: httpx2.AsyncClient) -> None:
    made = await api.post("/api/alerts", json={**PRICE, "notify": ["https://hooks.example.com/T123/secret-token"]})
    assert made.status_code == 201
    [tried] = made.json()["delivery"]
    assert (tried["ok"], tried["target"]) == (False, made.json()["notify"][0])
    assert tried["error"]
    tested = await api.post(f"{made.headers['location']}/test")
    assert (tested.status_code, tested.json()["test"], tested.json()["delivery"][0]["ok"]) == (200, True, False)
    for text in (made.text, tested.text, (await api.get("/api/alerts")).text, (await api.get("/api/stats")).text):
        assert "secret-token" not in text
    assert "hooks.example.com" in made.text


@pytest.mark.parametrize("changed", [False, True])
async def test_one_that_is_deleted_while_its_target_is_tried_is_not_there(
    api: httpx2.AsyncClient, market: Market, monkeypatch: pytest.MonkeyPatch, *, changed: bool
) -> None:
    tried, answer = asyncio.Event(), asyncio.Event()

    async def slow(target: str, firing: dict[str, Any]) -> dict[str, Any]:
        tried.set()
        await answer.wait()
        return {"target": target, "ok": False, "error": "no answer"}

    monkeypatch.setattr(market.courier, "test", slow)
    body = {"notify": ["https://hooks.example.com/T123"]}
    if changed:
        made = (await api.post("/api/alerts", json=PRICE)).json()
        asking = asyncio.create_task(api.patch(f"/api/alerts/{made['id']}", json=body))
    else:
        asking = asyncio.create_task(api.post("/api/alerts", json={**PRICE, **body}))
    await tried.wait()
    (alert,) = (await api.get("/api/alerts")).json()["alerts"]
    assert (await api.delete(f"/api/alerts/{alert['id']}")).status_code == 204
    answer.set()
    assert ((await asking).status_code, (await api.get("/api/alerts")).json()) == (404, {"alerts": []})


async def test_what_fired_is_told_newest_first_in_pages(api: httpx2.AsyncClient, fresh_market: Market) -> None:
    async with client_of(fresh_market) as api:
        made = (await api.post("/api/alerts", json={**PRICE, "cooldown_s": 0})).json()
        await fire(fresh_market, "69999.9", "70000.1", "70000.0", "70001.0", "69000.0", "70002.5")
        said = exact((await api.get("/api/alerts/triggered")).text)
        assert said["next"] is None
        assert [str(one["value"]) for one in said["alerts"]] == ["70002.5", "70001.0", "70000.1"]
        newest = said["alerts"][0]
        assert (newest["alert_id"], newest["id"], newest["seq"]) == (made["id"], f"{made['id']}-3", 3)
        assert newest["timestamp"] == END_MS + 600
        assert newest["message"] == "BTCUSDT: price 70002.5 is above 70000.0"
        assert newest["deliveries"] == []
        page = (await api.get("/api/alerts/triggered?limit=2")).json()
        assert [one["seq"] for one in page["alerts"]] == [3, 2]
        await fire(fresh_market, "69000.0", "70003.0", n=7)
        rest = (await api.get(f"/api/alerts/triggered?limit=2&cursor={page['next']}")).json()
        assert ([one["seq"] for one in rest["alerts"]], rest["next"]) == ([1], None)

        async def seqs(query: str) -> list[int]:
            answer = await api.get(f"/api/alerts/triggered?{query}")
            assert answer.status_code == 200, answer.text
            return [one["seq"] for one in answer.json()["alerts"]]

        assert await seqs(f"since={END_MS + 400}") == [4, 3, 2]
        assert await seqs(f"since={END_MS + 401}") == [4, 3]
        assert await seqs("since=2") == [4, 3]
        assert await seqs("since=2024-08-08T03:00:00.600Z") == [4, 3]
        assert await seqs("symbol=btcusdt&limit=1") == [4]
        assert await seqs("symbol=PEPEUSDT") == []
        assert await seqs(f"alert_id={made['id']}") == [4, 3, 2, 1]
        assert await seqs("alert_id=other") == []
        assert (await api.delete(f"/api/alerts/{made['id']}")).status_code == 204
        assert await seqs("limit=10") == [4, 3, 2, 1], "what it told stays"


@pytest.mark.parametrize(
    ("query", "loc"),
    [("limit=0", "limit"), ("limit=10001", "limit"), ("cursor=x", "cursor"), ("cursor=-1", "cursor"),
     ("since=yesterday", "since"), ("since=-5", "since"), ("colour=red", "colour")],
)  # fmt: skip
async def test_a_wrong_parameter_of_the_history_is_named(api: httpx2.AsyncClient, query: str, loc: str) -> None:
    answer = await api.get(f"/api/alerts/triggered?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["query", loc])


async def test_a_cursor_beyond_both_ends_gives_what_is_there(fresh_market: Market) -> None:
    async with client_of(fresh_market) as api:
        await api.post("/api/alerts", json={**PRICE, "cooldown_s": 0})
        await fire(fresh_market, "69999.9", "70000.1")
        assert (await api.get("/api/alerts/triggered?cursor=0")).json() == {"alerts": [], "next": None}
        found = (await api.get("/api/alerts/triggered?cursor=99999999999999999")).json()
        assert [one["seq"] for one in found["alerts"]] == [1]


async def test_a_small_price_is_told_without_an_exponent(fresh_market: Market) -> None:
    async with client_of(fresh_market) as api:
        body = {**PRICE, "symbol": "PEPEUSDT", "threshold": 0.000001}
        made = await api.post("/api/alerts", json=body)
        await fire(fresh_market, "65000.0")
        said = exact((await api.get("/api/alerts/triggered")).text)["alerts"][0]
        exact(made.text)
        exact((await api.get("/api/alerts")).text)
    assert str(said["threshold"]) == "0.000001"
    assert said["message"].startswith("PEPEUSDT: price 0.00001")


async def test_a_preview_looks_at_the_stored_past(api: httpx2.AsyncClient, market: Market) -> None:
    low = float(min(one.price for one in market.sent["BTCUSDT"]))
    body = {**PRICE, "condition": "crosses_above", "threshold": low + 0.5, "cooldown_s": 0, "hours": 3}
    said = (await api.post("/api/alerts/preview", json=body)).json()
    assert said["fired"] >= 1
    stored = [one for one in market.sent["BTCUSDT"] if one.timestamp < END_MS - NOT_STORED_MS]
    assert said["values"] == [float(stored[-1].price)]
    assert len(said["times"]) == min(50, said["fired"])
    assert (await api.get("/api/alerts")).json() == {"alerts": []}
    for wrong, loc in (({"hours": 0}, "hours"), ({"hours": 169}, "hours"), ({"threshold": "x"}, "threshold")):
        answer = await api.post("/api/alerts/preview", json={**body, **wrong})
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", loc])
    assert (await api.post("/api/alerts/preview", json={**body, "symbol": "nope"})).status_code == 404


async def subscribe(client: Any, *topics: str, **more: Any) -> None:
    await client.send(json.dumps({"op": "subscribe", "topics": topics, **more}))


async def test_listeners_hear_each_firing_as_the_history_tells_it(fresh_market: Market) -> None:
    async with served(fresh_market) as url, connect(url) as client, client_of(fresh_market) as api:
        await subscribe(client, "alerts", "price:BTCUSDT")
        assert (await hear(client))["topic"] == "price:BTCUSDT"
        await api.post("/api/alerts", json={**PRICE, "cooldown_s": 0})
        await fire(fresh_market, "69999.9", "70000.1", "69999.9", "70000.2")
        heard = [await hear(client) for _ in range(2)]
        assert [(one["topic"], one["seq"], str(one["data"]["value"])) for one in heard] == [
            ("alerts", 1, "70000.1"),
            ("alerts", 2, "70000.2"),
        ]
        [_, first] = exact((await api.get("/api/alerts/triggered")).text)["alerts"]
        assert heard[0]["data"] == {name: value for name, value in first.items() if name != "deliveries"}


async def test_who_was_away_is_sent_what_was_missed_oldest_first_and_then_what_comes(fresh_market: Market) -> None:
    async with served(fresh_market) as url, client_of(fresh_market) as api:
        await api.post("/api/alerts", json={**PRICE, "cooldown_s": 0})
        await fire(fresh_market, *["69999.9", "70000.1"] * 6)
        for newest, since in ((6, 0), (7, 4), (8, 8), (9, 99)):
            missed = list(range(since + 1, newest + 1))
            async with connect(url) as client:
                await subscribe(client, "alerts", since=since)
                await subscribe(client, "price:BTCUSDT")
                heard = [await hear(client) for _ in range(len(missed) + 1)]
                assert [one["seq"] for one in heard[:-1]] == missed
                assert [one["topic"] for one in heard] == ["alerts"] * len(missed) + ["price:BTCUSDT"]
                await fire(fresh_market, "69999.9", "70000.1", n=100 + 10 * newest)
                assert (await hear(client))["seq"] == newest + 1


async def test_who_asks_again_on_the_same_connection_hears_it_again_in_order(fresh_market: Market) -> None:
    async with served(fresh_market) as url, connect(url) as client, client_of(fresh_market) as api:
        await api.post("/api/alerts", json={**PRICE, "cooldown_s": 0})
        await subscribe(client, "alerts", "price:BTCUSDT")
        assert (await hear(client))["topic"] == "price:BTCUSDT"
        await fire(fresh_market, *["69999.9", "70000.1"] * 3)
        assert [(await hear(client))["seq"] for _ in range(3)] == [1, 2, 3]
        await subscribe(client, "alerts", since=1)
        assert [(await hear(client))["seq"] for _ in range(2)] == [2, 3]
        await fire(fresh_market, "69999.9", "70000.1", n=50)
        assert (await hear(client))["seq"] == 4


async def test_who_cannot_be_told_what_was_missed_hears_so_and_misses_nothing_when_it_asks_again(
    fresh_market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: int) -> AsyncIterator[tuple[int, bytes]]:
        await fire(fresh_market, "69999.9", "70000.1", n=50)
        raise StoreUnavailable("the store is away")
        yield

    async with served(fresh_market) as url, connect(url) as client, client_of(fresh_market) as api:
        await api.post("/api/alerts", json={**PRICE, "cooldown_s": 0})
        await fire(fresh_market, *["69999.9", "70000.1"] * 3)
        with monkeypatch.context() as patch:
            patch.setattr(fresh_market.alerts, "missed", away)
            await subscribe(client, "alerts", since=1)
            assert await hear(client) == {"error": "the store is away", "topic": "alerts", "retry": True}
        await subscribe(client, "alerts", since=1)
        assert [(await hear(client))["seq"] for _ in range(3)] == [2, 3, 4]


async def test_a_long_absence_is_caught_up_with_from_the_records(
    fresh_market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(fresh_market) as api:
        await api.post("/api/alerts", json={**PRICE, "cooldown_s": 0, "frequency": "every"})
        made = (await api.get("/api/alerts")).json()["alerts"][0]["id"]
        for _ in range(700):
            await fresh_market.alerts.test(made)
    again = fresh_market.new_alerts()
    again._history._newest = type(again._history._newest)(maxlen=50)
    await again.restore()
    fresh_market.alerts = again
    async with served(fresh_market) as url, connect(url) as client:
        await subscribe(client, "alerts", since=3)
        assert [(await hear(client))["seq"] for _ in range(697)] == list(range(4, 701))


@pytest.mark.parametrize("since", [-1, "5", 1.5, True, [], {}])
async def test_a_since_that_is_no_number_is_complained_of_and_the_connection_stays(market: Market, since: Any) -> None:
    async with served(market) as url, connect(url) as client:
        await subscribe(client, "alerts", since=since)
        assert "since" in (await hear(client))["error"]
        await subscribe(client, "price:BTCUSDT")
        assert (await hear(client))["topic"] == "price:BTCUSDT"
