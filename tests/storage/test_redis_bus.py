"""What one process publishes reaches the listeners of the others, under one numbering, and who listens for alerts."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio

from pairscope.storage.memory_cache import MemoryBus
from pairscope.storage.redis_bus import RedisBus
from pairscope.storage.redis_client import RedisClient


def shared(topic):
    return topic.split(":")[0] in {"alerts", "jobs", "job"}


async def until(what):
    async with asyncio.timeout(60):
        while not what():
            await asyncio.sleep(0.01)


@pytest.fixture
async def processes(redis_server):
    """Buses of as many processes as are asked for, which hear each other."""
    made = []

    async def begin(hear=None):
        client = RedisClient(redis_server.url)
        bus = RedisBus(MemoryBus(), client, shared)
        if hear is not None:
            bus.on_notice("records", hear)
        made.append((client, bus))
        await bus.start()
        return bus

    yield begin
    redis_server.start()
    for client, bus in made:
        await bus.close()
        await client.close()


async def heard(desk, other):
    """Two processes that are known to hear each other."""
    listener = other.subscribe()
    listener.add(["jobs"])
    await until(lambda: "jobs" in desk.wanted())
    return listener


async def test_a_shared_topic_is_heard_elsewhere_under_its_number_and_others_are_not(processes):
    desk, other = await processes(), await processes()
    listener = await heard(desk, other)
    listener.add(["price:BTCUSDT"])
    desk.resume("jobs", 40)
    desk.publish("price:BTCUSDT", b"1")
    desk.publish("jobs", b'{"price":0.00000000120, "n":1e-7}')
    (message,) = await asyncio.wait_for(listener.next(), 60)
    assert (message.topic, message.seq, message.value) == ("jobs", 41, b'{"price":0.00000000120, "n":1e-7}')


async def test_who_becomes_the_one_that_publishes_goes_on_behind_the_last_number(processes):
    desk, other = await processes(), await processes()
    await heard(desk, other)
    for _ in range(3):
        desk.publish("alerts", b"{}")
    await until(lambda: other.seq("alerts") == 3)
    assert other.publish("alerts", b"{}") == 4


async def test_alerts_are_told_on_the_channel_of_their_name(processes, redis_server):
    desk = await processes()
    async with redis.asyncio.Redis.from_url(redis_server.url) as outsider, outsider.pubsub() as ear:
        await ear.subscribe("alerts")
        assert (await ear.get_message(timeout=60))["type"] == "subscribe"
        desk.publish("alerts", b'{"id":"a-1"}')
        message = await ear.get_message(timeout=60)
    assert message["data"] == b'{"id":"a-1"}'


async def test_what_nobody_listens_to_any_more_is_wanted_no_longer(processes):
    desk, other = await processes(), await processes()
    listener = await heard(desk, other)
    listener.close()
    await until(lambda: "jobs" not in desk.wanted())
    assert desk.wanted() is desk.wanted()


async def test_notices_reach_the_others_and_not_oneself(processes):
    mine, theirs = [], []
    one, other = await processes(mine.append), await processes(theirs.append)
    await heard(one, other)
    one.notify("records", {"collection": "watchlist", "key": "a"})
    await until(lambda: theirs)
    assert [(n["collection"], n["key"]) for n in theirs] == [("watchlist", "a")]
    assert mine == []


async def test_listeners_here_hear_on_while_redis_is_away_and_those_elsewhere_afterwards(processes, redis_server):
    desk, other = await processes(), await processes()
    far = await heard(desk, other)
    near = desk.subscribe()
    near.add(["alerts"])
    far.add(["alerts"])
    redis_server.stop(kill=True)
    desk.publish("alerts", b"1")
    assert [m.value for m in await asyncio.wait_for(near.next(), 60)] == [b"1"]
    redis_server.start()
    await until(lambda: other.counters()["interruptions_total"] > 0)

    async def again():
        async with asyncio.timeout(60):
            while True:
                desk.publish("alerts", b"2")
                if other.seq("alerts"):
                    return
                await asyncio.sleep(0.1)

    await again()
    assert (await asyncio.wait_for(far.next(), 60))[-1].value in {b"1", b"2"}


async def test_one_that_has_just_begun_learns_the_numbers_of_what_it_has_not_heard(processes):
    desk, other = await processes(), await processes()
    await heard(desk, other)
    for _ in range(3):
        desk.publish("jobs", b"1")
    await until(lambda: other.seq("jobs") == 3)
    young = await processes()
    await until(lambda: young.seq("jobs") == 3)


async def test_one_whose_numbers_are_behind_is_heard_all_the_same_and_once(processes, redis_server):
    listening = await processes()
    desk = await processes()
    listener = await heard(desk, listening)
    listening.resume("jobs", 50)
    desk.publish("jobs", b'"a"')
    (message,) = await asyncio.wait_for(listener.next(), 60)
    assert (message.seq, message.value) == (51, b'"a"')
    again = b'{"from":"x","topic":"jobs","seq":1,"value":%s}'
    async with redis.asyncio.Redis.from_url(redis_server.url) as outsider:
        for value in (b'"b"', b'"b"'):  # sent again, since an answer was lost
            await outsider.publish("topics", again % value)
        await outsider.publish("topics", again.replace(b":1,", b":2,") % b'"c"')
    await until(lambda: listening.seq("jobs") >= 53)
    assert listening.seq("jobs") == 53


async def test_a_notice_that_cannot_be_followed_leaves_the_bus_hearing(processes):
    heard_of = []

    def hear(notice):
        heard_of.append(notice["key"])
        raise ZeroDivisionError

    desk, other = await processes(), await processes(hear)
    await heard(desk, other)
    for key in ("a", "b"):
        desk.notify("records", {"key": key})
    await until(lambda: heard_of == ["a", "b"])
    assert other.counters()["crashes_total"] == 2
