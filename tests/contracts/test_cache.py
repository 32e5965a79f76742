"""What every Cache must do."""

from __future__ import annotations


async def test_the_last_value_of_a_key_is_found(cache_home):
    cache = cache_home.cache
    await cache.put_many({"price:A": b'{"n":1}', "price:B": b'{"n":2}'}, 60)
    await cache.put_many({"price:A": b'{"n":3}'}, 60)
    await cache_home.elapse(0)
    assert await cache.get("price:A") == b'{"n":3}'
    assert await cache.get("price:B") == b'{"n":2}'
    assert await cache.get("price:C") is None


async def test_a_value_takes_the_place_of_the_one_before_whole(cache_home):
    cache = cache_home.cache
    for value in (b'{"a":1,"b":"x"}', b'{"a":2,"c":null}'):
        await cache.put_many({"stats:A:60": value}, 60)
        await cache_home.elapse(0)
        assert await cache.get("stats:A:60") == value


async def test_a_value_is_gone_when_its_time_is_over(cache_home):
    cache = cache_home.cache
    await cache.put_many({"short": b"s"}, 50)
    await cache.put_many({"long": b"l"}, 600)
    await cache_home.elapse(10)
    assert await cache.get("short") == b"s"
    await cache_home.elapse(41)
    assert await cache.get("short") is None
    assert await cache.get("long") == b"l"


async def test_writing_a_key_again_starts_its_time_anew(cache_home):
    cache = cache_home.cache
    await cache.put_many({"k": b"1"}, 50)
    await cache_home.elapse(40)
    await cache.put_many({"k": b"2"}, 50)
    await cache_home.elapse(40)
    assert await cache.get("k") == b"2"
    await cache.put_many({"k": b"3"}, 600)
    await cache_home.elapse(200)
    assert await cache.get("k") == b"3"
