"""What every Bus must do: newest value for the slow, alerts whole, one numbering a topic."""

from __future__ import annotations

import asyncio

import pytest


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, 120)


async def test_a_listener_hears_its_topics_and_no_others(make_bus):
    bus = make_bus()
    listener = bus.subscribe()
    listener.add(["price:A", "price:B"])
    bus.publish("price:A", b"1")
    bus.publish("price:C", b"2")
    bus.publish("price:B", b"3")
    assert [(m.topic, m.seq, m.value) for m in await soon(listener.next())] == [
        ("price:A", 1, b"1"),
        ("price:B", 1, b"3"),
    ]


async def test_a_slow_listener_gets_the_newest_value_and_a_hole_in_seq(make_bus):
    bus = make_bus()
    slow, quick = bus.subscribe(), bus.subscribe()
    for listener in (slow, quick):
        listener.add(["price:A", "price:B"])
    heard = []
    for k in range(5):
        bus.publish("price:A", str(k).encode())
        heard += await soon(quick.next())
    bus.publish("price:B", b"b")
    assert [m.seq for m in heard] == [1, 2, 3, 4, 5]
    assert [(m.topic, m.seq, m.value) for m in await soon(slow.next())] == [("price:A", 5, b"4"), ("price:B", 1, b"b")]


@pytest.mark.parametrize("topic", ["alerts", "alerts:BTCUSDT"])
async def test_alerts_are_never_conflated(make_bus, topic):
    bus = make_bus()
    listener = bus.subscribe()
    listener.add([topic, "price:A"])
    for k in range(4):
        bus.publish(topic, str(k).encode())
        bus.publish("price:A", str(k).encode())
    got = await soon(listener.next())
    assert [m.seq for m in got if m.topic == topic] == [1, 2, 3, 4]
    assert [m.seq for m in got if m.topic == "price:A"] == [4]


async def test_a_listener_that_lets_too_many_alerts_pile_up_is_closed_and_alone(make_bus):
    bus = make_bus(max_waiting_alerts=3)
    slow, quick = bus.subscribe(), bus.subscribe()
    for listener in (slow, quick):
        listener.add(["alerts"])
    for k in range(5):
        bus.publish("alerts", str(k).encode())
        assert len(await soon(quick.next())) == 1
    assert list(await soon(slow.next())) == []
    assert list(await soon(slow.next())) == []
    bus.publish("alerts", b"x")
    assert len(await soon(quick.next())) == 1


async def test_taking_the_alerts_makes_room_for_more(make_bus):
    bus = make_bus(max_waiting_alerts=2)
    listener = bus.subscribe()
    listener.add(["alerts"])
    for _ in range(5):
        bus.publish("alerts", b"1")
        bus.publish("alerts", b"2")
        assert len(await soon(listener.next())) == 2
    bus.publish("alerts", b"1")
    listener.remove(["alerts"])
    listener.add(["alerts"])
    bus.publish("alerts", b"2")
    bus.publish("alerts", b"3")
    assert [m.value for m in await soon(listener.next())] == [b"2", b"3"]


async def test_seq_grows_by_one_a_topic_whoever_listens(make_bus):
    bus = make_bus()
    assert bus.seq("price:A") == 0
    assert [bus.publish("price:A", b"") for _ in range(3)] == [1, 2, 3]
    assert bus.publish("price:B", b"") == 1
    assert (bus.seq("price:A"), bus.seq("price:B")) == (3, 1)


async def test_a_bus_knows_which_topics_somebody_wants(make_bus):
    bus = make_bus()
    one, two = bus.subscribe(), bus.subscribe()
    assert bus.wanted() == frozenset()
    one.add(["a", "b"])
    two.add(["b", "c"])
    assert bus.wanted() == one.topics | two.topics == {"a", "b", "c"}
    one.remove(["a", "b", "never"])
    assert bus.wanted() == {"b", "c"}
    assert one.topics == frozenset()
    two.close()
    assert bus.wanted() == frozenset()


async def test_a_removed_topic_is_not_heard_even_if_it_waited(make_bus):
    bus = make_bus()
    listener = bus.subscribe()
    listener.add(["a", "b"])
    bus.publish("a", b"1")
    bus.publish("b", b"1")
    listener.remove(["a"])
    bus.publish("a", b"2")
    assert [m.topic for m in await soon(listener.next())] == ["b"]


async def test_a_waiting_listener_wakes_once_for_many_messages(make_bus):
    bus = make_bus()
    listener = bus.subscribe()
    listener.add([f"t{k}" for k in range(50)])
    waiting = asyncio.create_task(listener.next())
    await asyncio.sleep(0)
    for k in range(50):
        bus.publish(f"t{k}", b"")
    assert len(await soon(waiting)) == 50


async def test_closing_wakes_who_waits(make_bus):
    bus = make_bus()
    listener = bus.subscribe()
    listener.add(["a"])
    waiting = asyncio.create_task(listener.next())
    await asyncio.sleep(0)
    listener.close()
    listener.close()
    assert list(await soon(waiting)) == []
    listener.add(["a"])
    assert bus.wanted() == frozenset()


async def test_a_listener_that_gave_up_waiting_misses_nothing(make_bus):
    bus = make_bus()
    listener = bus.subscribe()
    listener.add(["alerts"])
    waiting = asyncio.create_task(listener.next())
    await asyncio.sleep(0)
    waiting.cancel()
    bus.publish("alerts", b"1")
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [m.value for m in await soon(listener.next())] == [b"1"]


async def test_a_topic_goes_on_behind_what_an_earlier_run_has_told(make_bus):
    bus = make_bus()
    listener = bus.subscribe()
    listener.add(["alerts"])
    bus.resume("alerts", 41)
    assert bus.seq("alerts") == 41
    assert bus.publish("alerts", b"1") == 42
    bus.resume("alerts", 7)
    assert bus.publish("alerts", b"2") == 43
    assert [m.seq for m in await soon(listener.next())] == [42, 43]
    assert bus.publish("price:A", b"") == 1
