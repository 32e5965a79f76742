"""A Redis that is away is told at once, in one word, and found again by itself."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager

import pytest
import redis

from pairscope.errors import CacheUnavailable, ConfigError
from pairscope.storage import redis_client
from pairscope.storage.redis_client import RedisClient, uninterrupted


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
                await asyncio.wait_for(client.ask(lambda server: server.get("k")), 120)
        assert client.counters()["asked_total"] == 1
        await client.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "redis", ""])
def test_what_is_no_address_is_said_to_be_none(url):
    with pytest.raises(ConfigError, match="not the address of a Redis server") as caught:
        RedisClient(url or "nonsense")
    assert caught.value.loc == "PAIRSCOPE_REDIS_URL"


@contextmanager
def configured(url, **settings):
    """The server under other settings for a while."""
    with redis.Redis.from_url(url) as other:
        before = {name: other.config_get(name)[name] for name in settings}
        for name, value in settings.items():
            other.config_set(name, value)
        try:
            yield other
        finally:
            for name, value in before.items():
                other.config_set(name, value)


async def test_one_whose_memory_is_full_refuses_writes_and_answers_what_it_can(redis_server):
    client = RedisClient(redis_server.url)
    await client.ask(lambda server: server.set("k", b"1"))
    with configured(redis_server.url, maxmemory="1"):
        with pytest.raises(CacheUnavailable, match="maxmemory"):
            await client.ask(lambda server: server.set("k", b"2"))
        assert await client.ask(lambda server: server.get("k")) == b"1", "nobody waits for who was refused"
        assert "maxmemory" in client.status()["reason"]
    await client.ask(lambda server: server.set("k", b"3"))
    assert client.counters()["outages_total"] == 0
    await client.close()


async def test_one_that_was_made_a_replica_refuses_writes_and_is_said_to(redis_server):
    client = RedisClient(redis_server.url)
    with redis.Redis.from_url(redis_server.url) as other:
        other.replicaof("127.0.0.1", 1)
        try:
            with pytest.raises(CacheUnavailable, match="read-only replica"):
                await client.ask(lambda server: server.set("k", b"2"))
        finally:
            other.replicaof("NO", "ONE")
    await client.ask(lambda server: server.set("k", b"3"))
    await client.close()


async def test_connections_that_the_server_has_closed_are_made_anew_unseen(redis_server):
    client = RedisClient(redis_server.url)
    await client.ask(lambda server: server.set("k", b"1"))
    with redis.Redis.from_url(redis_server.url) as other:
        other.client_kill_filter(_type="normal", skipme=True)
    async with asyncio.timeout(60):
        while client.counters()["asked_total"] < 10:
            assert await client.ask(lambda server: server.get("k")) == b"1"
    await client.close()


async def test_a_password_is_taken_from_the_address_and_never_told(redis_server):
    with configured(redis_server.url, requirepass="s3cret"):
        right = RedisClient(redis_server.url.replace("redis://", "redis://:s3cret@"))
        assert await right.ask(lambda server: server.ping())
        for password in ("", ":wr0ng@"):
            other = RedisClient(redis_server.url.replace("redis://", f"redis://{password}"))
            with pytest.raises(CacheUnavailable) as caught:
                await other.ask(lambda server: server.get("k"))
            assert "wr0ng" not in str(caught.value) + str(other.status())
            await other.close()
        await right.ask(lambda server: server.config_set("requirepass", ""))
        await right.close()


async def test_more_than_it_has_connections_for_wait_their_turn(redis_server, monkeypatch):
    for patience, value in (("CONNECTIONS", 4), ("ANSWER_S", 60.0), ("CONNECT_S", 60.0)):  # however slow the machine is
        monkeypatch.setattr(redis_client, patience, value)
    client = RedisClient(redis_server.url)
    answers = await asyncio.gather(*(client.ask(lambda server: server.echo(b"x")) for _ in range(50)))
    assert answers == [b"x"] * 50
    with redis.Redis.from_url(redis_server.url) as other:
        assert sum(each["name"] == "pairscope" for each in other.client_list()) == 4
    assert client.counters()["failures_total"] == 0
    await client.close()


async def test_a_cancellation_that_comes_as_the_driver_ends_is_not_lost():
    async def swallow():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "an answer"

    task = asyncio.create_task(uninterrupted(swallow()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
