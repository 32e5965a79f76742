"""A real standby beside a real primary: who answers while it keeps up, lags, falls, and is no standby at all."""

from __future__ import annotations

import asyncio

import pytest
from tests.postgres_server import binaries_of_the_wheel, running

from pairscope.storage.postgres_pool import PostgresPool
from pairscope.storage.postgres_replica import PostgresReplica

DEADLINE_S = 60


@pytest.fixture
async def primary(postgres_url):
    pool = PostgresPool(postgres_url, size=2)
    yield pool
    await pool.close()


@pytest.fixture
def begin(primary):
    def make(url):
        return PostgresReplica(PostgresPool(url, size=2), primary, allowed_s=0.3, look_s=0.05)

    return make


def who(session):
    return "standby" if session.rows("SELECT pg_is_in_recovery() AS standby")[0]["standby"] else "primary"


async def until(replica, expected):
    """Read until the expected server answers."""
    async with asyncio.timeout(DEADLINE_S):
        while await replica.read(who) != expected:
            await asyncio.sleep(0.02)


async def until_said(replica, words):
    """Ask how it does, as health does and without any read, until that is said, or nothing is."""
    async with asyncio.timeout(DEADLINE_S):
        while (said := replica.status().get("reason")) != words and (words is None or words not in (said or "")):
            await asyncio.sleep(0.02)


async def test_a_standby_answers_while_it_keeps_up_and_the_primary_while_it_lags_or_is_gone(
    postgres_server, primary, begin
):
    with running(binaries_of_the_wheel(), standby_of=postgres_server) as standby:
        replica = begin(standby.url("pairscope"))
        try:
            assert await replica.read(who) == "primary", "before anything is known of the standby"
            await until(replica, "standby")
            standby.sql("SELECT pg_wal_replay_pause()")
            await primary.write(lambda session: session.run("INSERT INTO document VALUES ('c', 'k', '')"))
            await until(replica, "primary")
            await until_said(replica, "behind")
            standby.sql("SELECT pg_wal_replay_resume()")
            await until_said(replica, None)
            await until(replica, "standby")
            found = await replica.read(lambda session: session.rows("SELECT key FROM document"))
            assert [row["key"] for row in found] == ["k"]
            standby.stop(kill=True)
            for _ in range(3):
                assert await replica.read(who) == "primary"
            await until_said(replica, "does not answer")
            assert replica.status()["reads"] > 0
        finally:
            await replica.close()


async def test_another_primary_is_no_replica(postgres_url, begin):
    replica = begin(postgres_url)
    try:
        for _ in range(10):
            assert await replica.read(who) == "primary"
            await asyncio.sleep(0.02)
        await until_said(replica, "no standby")
        status = replica.status()
        assert (status["used"], status["lag_s"], status["reads"], status["reads_of_primary"]) == (False, None, 0, 10)
    finally:
        await replica.close()


async def test_a_standby_that_somebody_promotes_is_left_alone(postgres_server, primary, begin):
    with running(binaries_of_the_wheel(), standby_of=postgres_server) as standby:
        replica = begin(standby.url("pairscope"))
        try:
            await until(replica, "standby")
            standby.sql("SELECT pg_promote()")
            await until_said(replica, "no standby")
            assert [await replica.read(who) for _ in range(3)] == ["primary"] * 3
        finally:
            await replica.close()
