"""The cache in Redis: the keys that people read, and nothing that waits for a server that is away."""

from __future__ import annotations

import asyncio

import pytest
import redis

from pairscope.storage.redis_cache import RedisCache
from pairscope.storage.redis_client import RedisClient

PRICE = (
    b'{"symbol":"BTCUSDT","price":67000.10,"size":0.00001234,"timestamp":1722513600123,"change_24h":null,"note":"17"}'
)


@pytest.fixture
async def cache(redis_server):
    client = RedisClient(redis_server.url)
    made = RedisCache(client)
    yield made
    await made.close()
    await client.close()


async def sent(cache):
    async with asyncio.timeout(60):
        while cache.counters()["waiting"]:
            await asyncio.sleep(0.01)


async def test_a_price_is_a_hash_whose_fields_people_read(cache, redis_server):
    await cache.put_many({"price:BTCUSDT": PRICE, "shard:0": b'{"a":1}'}, 3600)
    assert await cache.get("price:BTCUSDT") == PRICE, "what waits is seen"
    await sent(cache)
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as other:
        assert other.hgetall("price:BTCUSDT") == {
            "symbol": "BTCUSDT",
            "price": "67000.10",
            "size": "0.00001234",
            "timestamp": "1722513600123",
            "change_24h": "null",
            "note": '"17"',
        }
        assert 3590 < other.ttl("price:BTCUSDT") <= 3600
        assert other.get("shard:0") == '{"a":1}'
    assert await cache.get("price:BTCUSDT") == PRICE, "to the last digit"
    assert await cache.get("price:NOBODY") is None


async def test_lists_keep_the_newest_and_sets_each_member_once(cache, redis_server):
    for n in range(5):
        await cache.push("alerts:triggered", b"%d" % n, 3)
    await cache.add("symbols", ["BTCUSDT", "币安人生USDT"])
    await cache.add("symbols", ["BTCUSDT"])
    await sent(cache)
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as other:
        assert other.lrange("alerts:triggered", 0, -1) == ["4", "3", "2"]
        assert other.smembers("symbols") == {"BTCUSDT", "币安人生USDT"}


async def test_while_redis_is_away_nobody_waits_and_the_newest_values_arrive_afterwards(cache, redis_server):
    await cache.put_many({"a": b"1"}, 60)
    await sent(cache)
    redis_server.stop(kill=True)
    for n in range(2, 9):
        await cache.put_many({"a": b"%d" % n}, 60)
    await cache.push("l", b"x", 5)
    assert await cache.get("elsewhere") is None
    assert cache.counters()["unanswered_reads_total"] == 1
    redis_server.start()
    await sent(cache)
    assert await cache.get("a") == b"8"
    with redis.Redis.from_url(redis_server.url) as other:
        assert other.get("a") == b"8"
        assert other.lrange("l", 0, -1) == [b"x"]
    assert cache.counters()["dropped_total"] == 0


async def test_what_waits_is_bounded_and_what_went_is_counted(redis_server):
    redis_server.stop(kill=True)
    client = RedisClient(redis_server.url)
    cache = RedisCache(client, max_waiting=3)
    await cache.put_many({f"k{n}": b"v" for n in range(5)}, 60)
    assert cache.counters()["dropped_total"] == 2
    assert [await cache.get(f"k{n}") for n in range(5)] == [None, None, b"v", b"v", b"v"]
    await cache.close()
    await client.close()
    redis_server.start()
