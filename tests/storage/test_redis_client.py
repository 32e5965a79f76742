"""A Redis that is away is told at once, in one word, and found again by itself."""

from __future__ import annotations

import asyncio
import socket

import pytest

from pairscope.errors import CacheUnavailable, ConfigError
from pairscope.storage.redis_client import RedisClient


async def test_it_comes_back_by_itself_where_the_server_does(redis_server):
    client = RedisClient(redis_server.url)
    await client.ask(lambda server: server.set("k", b"1"))
    assert client.status()["status"] == "ok"
    redis_server.stop(kill=True)
    with pytest.raises(CacheUnavailable):
        await client.ask(lambda server: server.get("k"))
    assert client.status()["status"] == "degraded"
    redis_server.start()
    async with asyncio.timeout(60):
        while client.status()["status"] != "ok":
            await client.start()
            await asyncio.sleep(0.05)
    assert await client.ask(lambda server: server.get("k")) is None
    assert client.counters()["outages_total"] == 1
    await client.close()


async def test_a_replica_answers_reads_and_the_server_itself_where_it_is_away(redis_server):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        nobody = f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
    await (client := RedisClient(redis_server.url, replica_url=nobody)).ask(lambda server: server.set("k", b"1"))
    assert await client.ask(lambda server: server.get("k"), reading=True) == b"1"
    assert client.counters()["replica_failures_total"] == 1
    assert client.status()["status"] == "ok"
    await client.close()


async def test_one_that_accepts_and_says_nothing_is_away_and_who_asks_next_hears_at_once():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        now = [0.0]
        client = RedisClient(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", monotonic=lambda: now[0])
        for _ in range(2):
            with pytest.raises(CacheUnavailable):
                await asyncio.wait_for(client.ask(lambda server: server.get("k")), 30)
        assert client.counters()["asked_total"] == 1
        await client.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "redis", ""])
def test_what_is_no_address_is_said_to_be_none(url):
    with pytest.raises(ConfigError, match="not the address of a Redis server") as caught:
        RedisClient(url or "nonsense")
    assert caught.value.loc == "PAIRSCOPE_REDIS_URL"
