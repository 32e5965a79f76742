"""One of several leads: the next one where it goes or dies, nobody else while Redis is away or has forgotten."""

from __future__ import annotations

import asyncio

import pytest

from pairscope.storage.leadership import Leadership
from pairscope.storage.redis_client import RedisClient


class Candidate:
    def __init__(self, url, name="desk", **keywords):
        self.client = RedisClient(url)
        self.leadership = Leadership(self.client, name, **{"ttl_s": 0.6, "poll_s": 0.05, **keywords})
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


async def test_one_leads_and_the_next_takes_over_when_it_goes(candidates):
    first = candidates()
    await until(lambda: first.turns == ["gain"])
    second = candidates()
    await asyncio.sleep(0.3)
    assert not second.leads
    await first.leadership.close()
    await until(lambda: second.turns == ["gain"])
    assert first.turns == ["gain"], "who goes by himself knows it"


async def test_one_that_dies_is_followed_when_its_time_is_over(candidates):
    first = candidates()
    await until(lambda: first.leads)
    second = candidates()
    await first.die()
    await until(lambda: second.leads)


async def test_while_redis_is_away_the_leader_stays_and_nobody_else_becomes_one(candidates, redis_server):
    first = candidates()
    await until(lambda: first.leads)
    second = candidates()
    await until(lambda: second.leadership._life != "")
    redis_server.stop(kill=True)
    await until(lambda: min(each.leadership.counters()["unanswered_total"] for each in (first, second)) > 20)
    assert (first.leads, second.leads) == (True, False)
    redis_server.start()
    await until(lambda: first.client.status()["status"] == "ok" and second.client.status()["status"] == "ok")
    await asyncio.sleep(2.0)
    assert (first.turns, second.turns) == (["gain"], []), "the lock was forgotten, and the leader took it again"
    await first.die()
    await until(lambda: second.leads)


async def test_a_leader_that_stood_still_too_long_finds_another_and_ends_its_turn(candidates):
    first = candidates()
    await until(lambda: first.leads)
    second = candidates()
    await first.die()
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
