"""What the contract leaves open: bounds, counters and cost of the in-process cache and bus."""

from __future__ import annotations

import time

from pairscope.storage.memory_cache import MemoryBus, MemoryCache


async def test_a_full_cache_lets_go_of_what_would_end_next():
    now = [0.0]
    cache = MemoryCache(max_entries=3, clock=lambda: now[0])
    await cache.put_many({"long": b"1"}, 100)
    await cache.put_many({"short": b"2"}, 10)
    now[0] = 5
    await cache.put_many({"short2": b"3"}, 10)
    await cache.put_many({"new": b"4"}, 50)
    assert [await cache.get(key) for key in ("long", "short", "short2", "new")] == [b"1", None, b"3", b"4"]
    assert (len(cache), cache.evicted) == (3, 1)
    await cache.put_many({"new": b"5"}, 50)
    assert cache.evicted == 1


async def test_what_has_ended_takes_no_room():
    now = [0.0]
    cache = MemoryCache(clock=lambda: now[0])
    await cache.put_many({f"k{k}": b"" for k in range(100)}, 5)
    now[0] = 6
    await cache.put_many({"one": b""}, 60)
    assert (len(cache), cache.evicted) == (1, 0)


async def test_a_put_does_not_look_at_every_entry():
    cache = MemoryCache(max_entries=300_000)
    await cache.put_many({f"k{k}": b"" for k in range(200_000)}, 3600)
    began = time.perf_counter()
    for k in range(2000):
        await cache.put_many({f"k{k}": b"x"}, 3600)
    assert time.perf_counter() - began < 20, "a scan of the entries a put would take minutes"


async def test_a_publication_costs_its_topics_listeners_and_no_others():
    bus = MemoryBus()
    listeners = [bus.subscribe() for _ in range(5000)]
    for k, listener in enumerate(listeners):
        listener.add([f"price:{k}", "stats"])
    best = 60.0
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(2000):
            bus.publish("price:7", b"")
        best = min(best, time.perf_counter() - began)
    assert best < 1, "a walk over all listeners would take many seconds"
    assert len(bus.wanted()) == 5001
    assert bus.wanted() is bus.wanted()


async def test_a_bus_counts_what_it_lets_go():
    bus = MemoryBus(max_waiting_alerts=1)
    listener = bus.subscribe()
    listener.add(["a", "alerts"])
    for _ in range(3):
        bus.publish("a", b"")
    for _ in range(3):
        bus.publish("alerts", b"")
    assert (bus.published, bus.conflated, bus.closed_slow) == (6, 2, 1)
    assert listener.closed


async def test_cache_and_bus_tell_their_numbers():
    cache, bus = MemoryCache(max_entries=2), MemoryBus()
    await cache.put_many({"a": b"1", "b": b"2", "c": b"3"}, 60.0)
    assert cache.counters() == {"entries": 2, "capacity": 2, "evicted_total": 1}
    bus.subscribe().add(["price:A"])
    for value in (b"1", b"2"):
        bus.publish("price:A", value)
    assert bus.counters() == {"topics": 1, "published_total": 2, "conflated_total": 1, "closed_slow_total": 0}
