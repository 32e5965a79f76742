"""One of several leads: the next one where it goes or dies, nobody else while Redis is away or has forgotten."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
import redis

from pairscope.storage.leadership import Leadership
from pairscope.storage.redis_client import RedisClient, RedisLife


class Client(RedisClient):
    """Of a server that has run for long, where a test does not say how old it is."""

    age_s = 3600.0

    async def life(self):
        return RedisLife((await super().life()).run, self.age_s)


class Candidate:
    """One of several; a lock lasts so long that no pause of the machine ends it, and tests end it where it should."""

    def __init__(self, url, name="desk", *, client=Client, **keywords):
        self.client = client(url)
        self.later_s = 0.0
        keywords = {"ttl_s": 30.0, "poll_s": 0.02, "monotonic": lambda: time.monotonic() + self.later_s, **keywords}
        self.leadership = Leadership(self.client, name, **keywords)
        self.turns = []
        self.task = asyncio.create_task(self.leadership.run(self.gain, self.lose))

    async def gain(self):
        self.turns.append("gain")

    async def lose(self):
        self.turns.append("lose")

    @property
    def leads(self):
        return self.leadership.is_leader

    async def die(self):
        """Stop without letting go of anything."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def end(self):
        await self.leadership.close()
        await self.die()
        await self.client.close()


@pytest.fixture
async def candidates(redis_server):
    made = []

    def stand(**keywords):
        made.append(Candidate(redis_server.url, **keywords))
        return made[-1]

    yield stand
    redis_server.start()
    for each in made:
        await each.end()


async def until(what, within_s=60):
    async with asyncio.timeout(within_s):
        while not what():
            await asyncio.sleep(0.01)


@pytest.fixture
def server(redis_server):
    with redis.Redis.from_url(redis_server.url) as other:
        yield other


def holder(server):
    """Return what stands in the lock, None where it is free or nobody can say."""
    with suppress(redis.RedisError):
        return server.get("lock:desk")


async def test_one_leads_and_the_next_takes_over_when_it_goes(candidates, server):
    first = candidates()
    await until(lambda: first.turns == ["gain"])
    second = candidates()
    await until(lambda: second.client.counters()["asked_total"] > 10)
    assert not second.leads
    await first.leadership.close()
    await until(lambda: second.turns == ["gain"])
    assert first.turns == ["gain"], "who goes by himself knows it"


async def test_one_that_dies_is_followed_when_its_time_is_over(candidates):
    first = candidates(ttl_s=0.6)
    await until(lambda: first.leads)
    second = candidates(ttl_s=0.6)
    await first.die()
    await until(lambda: second.leads)


async def test_while_redis_is_away_the_leader_stays_and_behind_it_takes_its_lock_again(
    candidates, redis_server, server
):
    first = candidates(poll_s=0.5)
    await until(lambda: first.leads)
    second = candidates()  # asks many times before the leader asks again
    await until(lambda: second.leadership._life != "")
    redis_server.stop(kill=True)
    await until(lambda: all(each.leadership.counters()["unanswered_total"] for each in (first, second)))
    assert (first.leads, second.leads) == (True, False)
    redis_server.start()
    await until(lambda: holder(server) and first.client.status()["status"] == "ok")
    assert (first.turns, second.turns) == (["gain"], []), "the lock was forgotten, and the leader took it again"
    await first.die()
    server.delete("lock:desk")
    second.later_s = 61.0
    await until(lambda: second.leads)


async def test_one_that_begins_while_redis_is_away_leaves_the_leader_its_lock(candidates, redis_server, server):
    first = candidates(poll_s=0.5)
    await until(lambda: first.leads)
    redis_server.stop(kill=True)
    second = candidates()
    await until(lambda: second.leadership.counters()["unanswered_total"] > 0)
    redis_server.start()
    await until(lambda: holder(server) and first.client.status()["status"] == "ok")
    assert (first.turns, second.turns) == (["gain"], [])


async def test_one_that_begins_behind_a_redis_that_has_just_begun_leaves_a_leader_the_time_to_come_back(
    candidates, redis_server, server
):
    first = candidates(poll_s=0.5)
    await until(lambda: first.leads)
    await first.die()  # to others it is on the far side of a cut, and leads on
    redis_server.stop(kill=True)
    redis_server.start()
    fresh = candidates(client=RedisClient)
    await until(lambda: fresh.client.counters()["asked_total"] > 10)
    assert (fresh.leads, holder(server)) == (False, None)
    first.task = asyncio.create_task(first.leadership.run(first.gain, first.lose))
    await until(lambda: holder(server))
    fresh.later_s = 61.0
    asked = fresh.client.counters()["asked_total"]
    await until(lambda: fresh.client.counters()["asked_total"] > asked + 3)
    assert (first.turns, fresh.turns) == (["gain"], [])
    await first.leadership.close()
    await until(lambda: fresh.turns == ["gain"])


async def test_a_leader_that_stood_still_too_long_finds_another_and_ends_its_turn(candidates, server):
    first = candidates()
    await until(lambda: first.leads)
    second = candidates()
    await first.die()
    server.delete("lock:desk")
    await until(lambda: second.leads)
    first.task = asyncio.create_task(first.leadership.run(first.gain, first.lose))
    await until(lambda: first.turns == ["gain", "lose"])
    assert (first.leads, second.leads) == (False, True)


async def test_a_leader_that_cannot_lead_ends(candidates, redis_server):
    failing = candidates(name="other")

    async def fail():
        raise ZeroDivisionError

    failing.gain = fail
    await failing.die()
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(failing.leadership.run(fail, failing.lose), 60)


async def test_one_that_goes_while_it_asks_for_its_lock_leaves_it_free(candidates, server):
    for _ in range(20):
        going = candidates(poll_s=0.0)
        await until(lambda going=going: going.leads)
        await going.leadership.close()
        await asyncio.wait_for(going.task, 60)
        assert holder(server) is None
