"""What every Cache must do."""

from __future__ import annotations


async def test_the_last_value_of_a_key_is_found(make_cache):
    cache = make_cache()
    await cache.put_many({"price:A": b"1", "price:B": b"2"}, 60)
    await cache.put_many({"price:A": b"3"}, 60)
    assert await cache.get("price:A") == b"3"
    assert await cache.get("price:B") == b"2"
    assert await cache.get("price:C") is None


async def test_a_value_is_gone_when_its_time_is_over(make_cache, monkeypatch):
    now = [1000.0]
    cache = make_cache(clock=lambda: now[0])
    await cache.put_many({"short": b"s"}, 5)
    await cache.put_many({"long": b"l"}, 60)
    now[0] += 4.9
    assert await cache.get("short") == b"s"
    now[0] += 0.2
    assert await cache.get("short") is None
    assert await cache.get("long") == b"l"


async def test_writing_a_key_again_starts_its_time_anew(make_cache):
    now = [0.0]
    cache = make_cache(clock=lambda: now[0])
    await cache.put_many({"k": b"1"}, 5)
    now[0] = 4
    await cache.put_many({"k": b"2"}, 5)
    now[0] = 8
    assert await cache.get("k") == b"2"
    await cache.put_many({"k": b"3"}, 60)
    now[0] = 20
    assert await cache.get("k") == b"3"
