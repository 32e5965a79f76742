"""Two whole replicas over one store and one Redis: one is the desk, each answers, and nothing fires twice or never."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.alerts.house import above
from tests.redis_server import RedisServer
from tests.test_desk import Client
from tests.wiring.test_replica import Shard
from websockets.asyncio.client import connect

from pairscope.api.app import ApiOptions, create_app
from pairscope.api.server import make_server
from pairscope.errors import Superseded
from pairscope.market.ticks import TickBatch
from pairscope.process import load_settings
from pairscope.storage.leadership import Leadership
from pairscope.storage.postgres_store import PostgresStore
from pairscope.storage.redis_client import RedisClient
from pairscope.wiring.replica import Replica

DEADLINE_S = 180.0
TTL_S = 60.0
"""Longer than any pause of the machine, behind which either could be the desk."""


class Process:
    """A replica with its API on a port."""

    def __init__(self, folder: Path, store: PostgresStore, redis: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        settings = load_settings(data_dir=folder, redis_url=redis, source="live", screen=(), symbols=("BTCUSDT",))
        self.store = store
        self.replica = Replica(settings, store, Client(redis), name=str(port), address=self.url)
        app = create_app(self.replica.services(), options=ApiOptions(stats_period_s=60.0))
        self.server = make_server(app, host="127.0.0.1", port=port)
        self.tasks = [asyncio.create_task(self.server.serve()), asyncio.create_task(self.replica.run())]

    def price(self) -> float:
        view = self.replica.engine.price("BTCUSDT")
        return 0.0 if view is None else float(view["price"])

    async def die(self) -> None:
        """Do nothing more, and tell nobody."""
        self.tasks[1].cancel()
        self.server.should_exit = True
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def close(self) -> None:
        await self.die()
        await self.replica.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.01)


class House:
    """A shard that trades at the number of each trade, and two replicas."""

    def __init__(self, shard: Shard, one: Process, other: Process, redis: RedisClient) -> None:
        self.shard, self.one, self.other, self._redis = shard, one, other, redis

    async def say(self, count: int = 1) -> None:
        await self.shard.say(count)

    async def lapse(self) -> None:
        """Do what time does to the lock of a desk that is dead."""
        assert await self._redis.ask(lambda server: server.delete("lock:desk")) == 1

    async def fired(self, at: Process) -> list[tuple[int, float]]:
        """What the desk has kept, asked of a replica: number and value, oldest first."""
        async with httpx2.AsyncClient(base_url=at.url, trust_env=False, timeout=60) as api:
            answer = await api.get("/api/alerts/triggered")
            assert answer.status_code == 200, answer.text
            return [(each["seq"], each["value"]) for each in answer.json()["alerts"]][::-1]


@pytest.fixture
async def house(
    tmp_path: Path,
    redis_server: RedisServer,
    postgres_url: str,
    ticks_of: Callable[..., TickBatch],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[House]:
    monkeypatch.setattr("pairscope.wiring.replica.Leadership", partial(Leadership, ttl_s=TTL_S, poll_s=0.05))
    stores: list[Any] = [await PostgresStore.open(postgres_url, pool=4) for _ in range(3)]
    client = RedisClient(redis_server.url)
    shard = Shard(0, "BTCUSDT", stores[0], client, ticks_of, of=1)
    await shard.say(3)
    beating = asyncio.create_task(shard.be())
    one = Process(tmp_path / "one", stores[1], redis_server.url)
    await until(lambda: one.replica.desk.here)
    other = Process(tmp_path / "other", stores[2], redis_server.url)
    await until(lambda: one.price() == other.price() == 3.0)
    yield House(shard, one, other, client)
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    for process in (one, other):
        await process.close()
    await shard.close()
    await client.close()
    await stores[0].close()


async def test_rules_made_at_any_replica_fire_once_are_heard_at_each_and_go_on_when_the_desk_dies(house: House) -> None:
    one, other = house.one, house.other
    async with httpx2.AsyncClient(base_url=other.url, trust_env=False, timeout=60) as api:
        for threshold in (4.5, 6.5, 8.5):
            made = await api.post("/api/alerts", json=above(threshold, once=True))
            assert made.status_code == 201, made.text
        await until(lambda: other.replica.desk._known == one.url)
        async with (
            connect(f"ws{one.url[4:]}/ws/updates") as at_one,
            connect(f"ws{other.url[4:]}/ws/updates") as at_other,
        ):
            for client in (at_one, at_other):
                await client.send(json.dumps({"op": "subscribe", "topics": ["alerts", "jobs"], "since": 0}))
                assert json.loads(await client.recv())["topic"] == "jobs"
            await house.say(2)
            heard = [json.loads(await asyncio.wait_for(client.recv(), 60)) for client in (at_one, at_other)]
            assert [(each["topic"], each["seq"], each["data"]["value"]) for each in heard] == [("alerts", 1, 5.0)] * 2
        assert await house.fired(one) == await house.fired(other) == [(1, 5.0)]
        await one.die()
        await house.say(2)  # while nobody is the desk
        await house.lapse()
        await until(lambda: other.replica.desk.here)
        await house.say(2)
        await until(lambda: other.replica.bus.seq("alerts") == 3)
        assert await house.fired(other) == [(1, 5.0), (2, 7.0), (3, 9.0)]
        assert [alert["status"] for alert in (await api.get("/api/alerts")).json()["alerts"]] == ["done"] * 3


async def test_a_desk_that_stops_hands_over_and_answers_through_the_next_one(house: House) -> None:
    one, other = house.one, house.other
    async with httpx2.AsyncClient(base_url=one.url, trust_env=False, timeout=60) as api:
        assert (await api.post("/api/alerts", json=above(4.5, once=True))).status_code == 201
        await one.replica.desk.close()
        await until(lambda: other.replica.desk.here)
        await house.say(2)
        await until(lambda: other.replica.bus.seq("alerts") == 1)
        answer = await api.get("/api/alerts/triggered")
        assert answer.status_code == 200
        assert [each["value"] for each in answer.json()["alerts"]] == [5.0]


async def test_a_desk_that_stood_still_while_another_became_it_follows_no_rule_and_ends(house: House) -> None:
    one, other = house.one, house.other
    rule = {"y": "ETHUSDT", "x": "BTCUSDT", "hedge": {"method": "ols", "lookback": 60}, "window": 20, "entry": 1.5}
    await one.replica.paper.create(rule)
    await other.replica.term.begin()
    with pytest.raises(Superseded):
        await one.replica.paper.create(rule)
    assert len([key async for key, _ in other.store.scan("paper")]) == 1
    await until(one.tasks[1].done)
